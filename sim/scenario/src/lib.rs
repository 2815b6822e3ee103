//! Scenario files: which machine, which kernel, which workloads, and what is expected of them.
//!
//! Modules in reading order: [`mod@file`] (the shape people write), [`mod@load`] (from a text to what runs, with
//! every problem found), [`expect`] (conditions), [`measured`] (values measured elsewhere),
//! [`run`] (making the runs), [`result`] (what became of them),
//! [`codes`] (what can be wrong), [`schema`].

pub mod codes;
pub mod expect;
pub mod file;
pub mod load;
pub mod measured;
pub mod result;
pub mod run;
pub mod schema;

pub use load::{Loaded, Provider, Sweep, load};
pub use result::{Cell, Expectation, ScenarioResult};
pub use run::{CellInput, assemble, cells, run_cell};
