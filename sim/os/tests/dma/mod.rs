//! IOMMU groups, IOVAs and DMA mapping: worked examples, properties, and what booted kernels gave out.

mod attach;
mod domains;
mod groups;
mod iova;
mod mapping;
pub mod recorded;
mod search;
