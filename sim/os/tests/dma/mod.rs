//! IOMMU groups, IOVAs and DMA mapping: worked examples, properties, and what booted kernels gave out.

mod groups;
