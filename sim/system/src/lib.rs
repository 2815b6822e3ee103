//! Joins the two halves: boots the operating system on the machine, asks it for addresses, and hands them to the
//! fabric.
//!
//! Modules in reading order: [`kernel`] (how the operating system is configured), [`boot`] (it comes up), [`plan`]
//! (who got which addresses), [`p2p`] (who may send to whom), [`outcome`] (what a run found out), [`workload`]
//! (what it did).

pub mod boot;
pub mod expand;
pub mod kernel;
pub mod outcome;
pub mod p2p;
pub mod plan;
mod resource;
pub mod workload;
