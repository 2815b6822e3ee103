//! The memory management for device memory: recordings of the kernel's test device, the kernel's own tests, and random
//! operations against a plain model.

pub mod bench;
mod checker;
mod drivers;
mod frames;
mod invariants;
mod line;
mod machine;
mod model;
mod owners;
pub mod platform;
mod races;
mod random;
mod replay;
mod scale;
mod selftests;
mod selftests_basic;
mod selftests_huge;
mod selftests_two;
