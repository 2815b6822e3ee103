//! What a machine is: parts, the tree of PCI functions, and everything software can program.
//!
//! Modules in reading order: [`part`] (data sheets), [`model`] (a machine with every reference resolved), and
//! `registers` (configuration space).

pub mod file;
mod memory_map;
pub mod model;
pub mod part;
pub mod registers;

pub use model::{FunctionIndex, Machine};
pub use registers::Registers;
