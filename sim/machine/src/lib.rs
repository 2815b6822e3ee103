//! What a machine is: parts, the tree of PCI functions, and everything software can program.
//!
//! Modules in reading order: [`part`] (data sheets), [`catalogue`] (the shipped ones), [`model`] (a machine with
//! every reference resolved), [`mod@file`] (the shape people write), [`load`] and [`mod@lower`] (from a file to a machine,
//! with [`diagnostic`]s), and [`registers`] (configuration space).

pub mod catalogue;
pub mod codes;
mod config;
mod cxl;
pub mod diagnostic;
pub mod file;
mod firmware;
pub mod import;
pub mod load;
pub mod lower;
mod memory_map;
pub mod model;
pub mod part;
pub mod registers;
mod rewire;
pub mod schema;
pub mod synthetic;

pub use catalogue::Catalogue;
pub use cxl::{CxlMemory, CxlProblem};
pub use diagnostic::{Code, Diagnostic, Severity};
pub use lower::{load_machine, lower};
pub use model::{FunctionIndex, Machine};
pub use registers::Registers;
pub use synthetic::synthetic;
