//! Tests of the machine crate from outside: files in, machines and diagnostics out.
#![allow(clippy::disallowed_methods)] // shipped files and the number of property cases are read here, not below

mod broken;
mod catalogue;
mod codes;
mod lowering;
mod property;
mod schema;
mod shipped;
