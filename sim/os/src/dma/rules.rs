//! [`DmaRules`]: in what the kernels differ when they group functions and map memory for DMA.

/// Facts about one kernel's IOMMU and DMA layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DmaRules {
    /// Full magazines of freed IOVAs kept per size, beyond those of the CPUs. `None`: any number, thinned by a
    /// worker while there are more of them than CPUs.
    pub depot_limit: Option<usize>,
    /// A device that once found no IOVA below 4 GiB never asks for one there again. Otherwise every call asks.
    pub low_preference_ends: bool,
    /// The mapping of one range sees whose page it maps and never bounces peer-to-peer memory. Otherwise it sees
    /// an address and the attribute that says it is MMIO, and bounces what has not that attribute.
    pub peer_pages_never_bounce: bool,
    /// Small unaligned heap buffers of a device without cache coherence are bounced.
    pub small_buffers_bounce: bool,
    /// A caller can reserve IOVAs first and link memory to them later.
    pub two_step_mapping: bool,
    /// Mapping operations of another layer may say that they know peer-to-peer memory.
    pub flagged_operations_know_peers: bool,
    /// A bridge to conventional PCI can be marked as one that adds no requester id.
    pub bridges_without_alias: bool,
    /// Two drivers' wishes for the domain of one group that contradict each other end in pass-through. Otherwise in
    /// the global type.
    pub contradiction_means_identity: bool,
    /// Intel: a unit that cannot pass through translates. Otherwise a 1:1 table stands in.
    pub no_pass_through_means_translated: bool,
    /// AMD: a device is passed through only if ATS and page requests are usable beside PASID.
    pub amd_identity_needs_ats_and_pri: bool,
    /// AMD: the driver itself asks for translation of untrusted devices.
    pub amd_translates_untrusted: bool,
}

impl DmaRules {
    /// Linux 6.1.192.
    pub const LINUX_6_1: DmaRules = DmaRules {
        depot_limit: Some(32),
        low_preference_ends: false,
        peer_pages_never_bounce: true,
        small_buffers_bounce: false,
        two_step_mapping: false,
        flagged_operations_know_peers: true,
        bridges_without_alias: false,
        contradiction_means_identity: false,
        no_pass_through_means_translated: false,
        amd_identity_needs_ats_and_pri: true,
        amd_translates_untrusted: false,
    };

    /// Linux 6.12.117.
    pub const LINUX_6_12: DmaRules = DmaRules {
        depot_limit: None,
        low_preference_ends: true,
        small_buffers_bounce: true,
        flagged_operations_know_peers: false,
        contradiction_means_identity: true,
        no_pass_through_means_translated: true,
        amd_identity_needs_ats_and_pri: false,
        amd_translates_untrusted: true,
        ..DmaRules::LINUX_6_1
    };

    /// Linux 7.3.4.
    pub const LINUX_7_3: DmaRules = DmaRules {
        peer_pages_never_bounce: false,
        two_step_mapping: true,
        bridges_without_alias: true,
        ..DmaRules::LINUX_6_12
    };
}
