//! The crate's decisions against worked examples and against recordings of booted kernels.
#![allow(clippy::disallowed_methods, reason = "tests read recordings and the number of cases from outside")]

mod bars;
mod boots;
mod enumeration;
mod fake;
mod firmware;
mod p2p_recorded;
mod p2pdma;
mod placement;
mod properties;
mod recordings;
mod rescan;
