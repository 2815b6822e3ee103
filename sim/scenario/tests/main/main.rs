//! Tests of scenario files from outside: texts in, diagnostics, runs and expectations out.
#![allow(clippy::disallowed_methods)] // the cases of `broken.txt` and the number of property cases are read here

mod broken;
mod catalogue;
mod conditions;
mod measured;
mod mutation;
mod notation;
mod runs;
mod support;
mod sweeps;
mod validation;
