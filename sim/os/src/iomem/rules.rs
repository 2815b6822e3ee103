//! [`IoMemRules`]: what differs between kernels in physical address space.

/// Distance between the places where the search for unused physical addresses looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FreeRegionStep {
    /// Up to 6.6: the size of the request.
    Size,
    /// From 6.7: the alignment, a memory section.
    Alignment,
}

/// When x86 shortens the direct map to what memory needs, so that randomisation has more room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirectMapTrim {
    /// Up to 6.14.
    Always,
    /// 6.15 and what was back-ported from it: only in kernels without peer-to-peer DMA.
    WithoutPeerToPeer,
    /// 6.19 and what was back-ported from it: only in kernels without device memory zones.
    WithoutZoneDevice,
}

/// The facts of one kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoMemRules {
    /// Distance between candidates for an unused range.
    pub free_region_step: FreeRegionStep,
    /// The upward search for an unused range begins at the alignment when the range it searches begins lower.
    pub ascending_from_alignment: bool,
    /// When x86 shortens the direct map. The profiles name patch levels that have the newest rule.
    pub direct_map_trim: DirectMapTrim,
    /// arm64 moves the linear map of physical memory at random.
    pub arm64_randomised_linear_map: bool,
    /// arm64 limits unused ranges to the end of the linear map; otherwise to the configured physical width.
    pub arm64_limit_is_linear_map: bool,
    /// Levels of `/proc/iomem` that are indented further than those above. In recordings of 7.3 no more than 6 occur.
    pub indented_levels: usize,
}

impl IoMemRules {
    /// 6.1.192.
    pub const LINUX_6_1: IoMemRules = IoMemRules {
        free_region_step: FreeRegionStep::Size,
        ascending_from_alignment: false,
        direct_map_trim: DirectMapTrim::WithoutZoneDevice,
        arm64_randomised_linear_map: true,
        arm64_limit_is_linear_map: false,
        indented_levels: 5,
    };
    /// 6.12.117.
    pub const LINUX_6_12: IoMemRules = IoMemRules {
        free_region_step: FreeRegionStep::Alignment,
        ascending_from_alignment: true,
        arm64_limit_is_linear_map: true,
        ..IoMemRules::LINUX_6_1
    };
    /// 7.3.4.
    pub const LINUX_7_3: IoMemRules =
        IoMemRules { arm64_randomised_linear_map: false, indented_levels: 8, ..IoMemRules::LINUX_6_12 };
}
