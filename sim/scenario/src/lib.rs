//! Scenario files: which machine, which kernel, which workloads, and what is expected of them.

pub mod result;

pub use result::{Cell, Expectation, ScenarioResult};
