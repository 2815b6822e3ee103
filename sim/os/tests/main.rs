//! The crate's decisions against worked examples and against recordings of booted kernels.
#![allow(clippy::disallowed_methods, reason = "tests read recordings and the number of cases from outside")]

mod bars;
mod enumeration;
mod fake;
mod p2p;
mod p2p_recorded;
mod placement;
mod properties;
mod recordings;
