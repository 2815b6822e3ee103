//! Joins the two halves: boots the operating system on the machine, asks it for addresses, and hands them to the
//! fabric.
//!
//! Modules in reading order: [`kernel`] (how the operating system is configured), [`boot`] (it comes up), [`iommu`] (its
//! DMA layer), [`plan`] (who got which addresses), [`p2p`] (who may send to whom), [`mod@why`] (why, and what would change
//! it), [`replay`] (recorded calls), [`workload`], [`peer_memory`],
//! [`shared_virtual`] and [`shared_buffer`] (what a run does), [`aperture`] and
//! [`ntb`] (how devices are set up for it), `expand` (the flows it makes), [`page_structs`] (what the page structs of device
//! memory take), [`device_memory`] (whether there is room for them), [`space`] (what can run out), [`run`] (it runs), [`outcome`] (what it found out).

pub mod aperture;
pub mod boot;
pub mod device_memory;
pub mod event;
pub mod expand;
pub mod iommu;
pub mod kernel;
pub mod ntb;
pub mod outcome;
pub mod p2p;
mod page;
pub mod page_structs;
pub mod peer_memory;
pub mod plan;
pub mod replay;
mod resource;
pub mod run;
pub mod shared_buffer;
pub mod shared_virtual;
pub mod space;
pub mod why;
pub mod workload;
