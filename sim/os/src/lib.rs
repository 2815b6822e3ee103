//! What an operating system runs: PCI resources and peer-to-peer resolution, deciding exactly as Linux does.
//!
//! This is not a model of an operating system's behaviour but an implementation with the same inputs and the same
//! outputs. Names follow the kernel's. It sees hardware only through [`ConfigSpace`], never waits and never asks
//! the time, and could be linked into a real driver.
//!
//! Modules in reading order: [`profile`] (which kernel), [`config_space`] (the hardware), [`pci`] (enumeration and
//! addresses), `p2pdma` (who may talk to whom, and at which address).
#![no_std]
extern crate alloc;

pub mod config_space;
pub mod pci;
pub mod profile;

pub use config_space::{ConfigSpace, Width};
pub use profile::{Profile, Rules};
