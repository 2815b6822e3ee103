//! What an operating system runs: PCI enumeration and address assignment, and the decision whether two PCI
//! functions may talk to each other directly.
//!
//! Same inputs, same outputs as Linux for the kernels named in [`Profile`]; names follow the kernel's. The
//! crate sees hardware through [`ConfigSpace`] alone, never waits, and never asks the time. What differs
//! between kernels is a fact in [`Rules`]; no algorithm looks at a version.
//!
//! * [`parameters`]: the kernel command line;
//! * [`pci`]: enumeration, BAR and bridge-window sizing, assignment, ACS, payload sizes, CPU ↔ bus addresses;
//! * [`dma`]: IOMMU groups and domains, IOVA allocation, direct and translated mapping;
//! * [`iomem`]: the tree of physical addresses, and the search for unused ones;
//! * [`p2pdma`]: map type, distance and DMA address of peer-to-peer transfers; providers of peer memory;
//! * [`dma_buf`]: buffers shared between drivers, without page structs;
//! * [`pagemap`]: page structs for memory of devices;
//! * [`device_private`]: page frames for memory that only a device can reach, in two designs;
//! * [`hmm_dma`]: pages of a range fault, mapped for a device;
//! * [`peer_vma`]: device memory mapped into another device, under the exporter's control;
//! * [`mm`]: address spaces, page tables, page frames; [`notifier`]: what devices know of them;
//! * [`migrate`]: pages to device memory and back; [`hmm`]: ranges of pages for devices;
//! * [`test_device`]: the driver that tests the three; [`drivers`]: those of GPUs, and what uses peer memory;
//! * [`pool`]: the general-purpose pool allocator.
#![no_std]
extern crate alloc;

mod config;
pub mod device_private;
pub mod dma;
pub mod dma_buf;
pub mod drivers;
mod gaps;
pub mod hmm;
pub mod hmm_dma;
pub mod iomem;
pub mod migrate;
pub mod mm;
pub mod notifier;
pub mod p2pdma;
pub mod pagemap;
pub mod parameters;
pub mod pci;
pub mod peer_vma;
pub mod pool;
mod profile;
pub mod test_device;

pub use config::{ConfigAccess, ConfigSpace, Width};
pub use p2pdma::{CpuIdentity, CpuVendor, MapType, Reason, Resolution};
pub use parameters::Parameters;
pub use pci::{BootOptions, HostBridge, ResourceKind, Tree, WhyNot, Window, boot};
pub use profile::{
    AllowedHostBridge, BarResizing, ParseProfileError, Profile, Rules, RulesOptions, WindowSizing,
};
