//! The crate's decisions against worked examples and against recordings of booted kernels.
#![allow(clippy::disallowed_methods, reason = "tests read recordings and the number of cases from outside")]
#![allow(
    clippy::print_stdout,
    reason = "figures of agreement and reasons for skipping belong in the output of a run"
)]

mod acs;
mod bars;
mod boots;
mod causes;
mod device_private;
mod dma;
mod dma_buf;
mod effects;
mod enabling;
mod enumeration;
mod fake;
mod firmware;
mod freestanding;
mod hmm;
mod hmm_dma;
mod hostile;
mod hotplug;
mod iomem;
mod listing;
mod mps;
mod named_cases;
mod nvme;
mod p2p_recorded;
mod p2pdma;
mod pagemap;
mod peer_vma;
mod physical_width;
mod placement;
mod pool;
mod properties;
mod random;
mod realloc;
mod rebar;
mod recordings;
mod rescan;
mod sriov;
mod windows;
