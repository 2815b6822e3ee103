//! Joins the two halves: boots the operating system on the machine, asks it for addresses, and hands them to the
//! fabric.
//!
//! Modules in reading order: [`outcome`] (what a run found out), [`workload`] (what it did).

pub mod expand;
pub mod outcome;
pub mod workload;
