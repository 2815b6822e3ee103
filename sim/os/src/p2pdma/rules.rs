//! [`P2pdmaRules`]: in what the kernels differ when they provide and use peer-to-peer memory.

use super::MapType;

/// Facts about one kernel's peer-to-peer code. The table of host bridges is apart, in [`crate::Rules`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct P2pdmaRules {
    /// Every memory BAR of a function is a provider from the function's first initialisation on, with the bus offset
    /// of that moment. Otherwise each registration is, with the offset of its own moment.
    pub bars_are_providers: bool,
    /// The pool is made by the first registration. Otherwise together with the function's state.
    pub pool_is_lazy: bool,
    /// Among the map types is one for pages that are no peer memory; it moves the numbers of the others up.
    pub map_type_none: bool,
    /// User space can map peer memory through a file of the provider, and block queues can pin such pages.
    pub user_mappings: bool,
    /// References of a page of peer memory that nobody uses.
    pub resting_references: u32,
    /// Each number drawn to choose among equal providers is as likely as any other. Otherwise small differences
    /// remain, as the product of a 32-bit number with the count leaves them.
    pub unbiased_draw: bool,
    /// `e` and `d` are booleans, too (enable, disable).
    pub enable_is_boolean: bool,
    /// The driver of an NVMe controller tries to register a memory buffer only if its BAR's start and its size are multiples of
    /// 2 MiB. Otherwise it tries whatever there is.
    pub memory_buffers_are_checked: bool,
    /// Exporters may share BAR memory without page structs: providers for dma-buf, VFIO's dma-bufs.
    pub physical_dma_bufs: bool,
    /// amdgpu gives compressed buffers to no peer.
    pub compressed_buffers_stay_private: bool,
    /// amdgpu gives memory to peers only while the GPU is awake.
    pub sleeping_exporters_stay_private: bool,
    /// An importer of dma-bufs may do without a callback for invalidation.
    pub invalidation_is_optional: bool,
}

impl P2pdmaRules {
    /// Linux 6.1.192.
    pub const LINUX_6_1: P2pdmaRules = P2pdmaRules {
        bars_are_providers: false,
        pool_is_lazy: false,
        map_type_none: false,
        user_mappings: false,
        resting_references: 1,
        unbiased_draw: false,
        enable_is_boolean: false,
        memory_buffers_are_checked: false,
        physical_dma_bufs: false,
        compressed_buffers_stay_private: false,
        sleeping_exporters_stay_private: false,
        invalidation_is_optional: false,
    };

    /// Linux 6.12.117.
    pub const LINUX_6_12: P2pdmaRules =
        P2pdmaRules { user_mappings: true, unbiased_draw: true, ..P2pdmaRules::LINUX_6_1 };

    /// Linux 7.3.4.
    pub const LINUX_7_3: P2pdmaRules = P2pdmaRules {
        bars_are_providers: true,
        pool_is_lazy: true,
        map_type_none: true,
        resting_references: 0,
        enable_is_boolean: true,
        memory_buffers_are_checked: true,
        physical_dma_bufs: true,
        compressed_buffers_stay_private: true,
        sleeping_exporters_stay_private: true,
        invalidation_is_optional: true,
        ..P2pdmaRules::LINUX_6_12
    };

    /// The kernel's number of a map type; `None` is the type never calculated.
    pub const fn map_type_number(&self, map_type: Option<MapType>) -> u32 {
        let number = match map_type {
            None => return 0,
            Some(MapType::NotSupported) => 1,
            Some(MapType::BusAddr) => 2,
            Some(MapType::ThruHostBridge) => 3,
        };
        if self.map_type_none { number + 1 } else { number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_types_have_the_kernels_numbers() {
        let numbers = |rules: P2pdmaRules| {
            [None, Some(MapType::NotSupported), Some(MapType::BusAddr), Some(MapType::ThruHostBridge)]
                .map(|map_type| rules.map_type_number(map_type))
        };
        assert_eq!(numbers(P2pdmaRules::LINUX_6_1), [0, 1, 2, 3]);
        assert_eq!(numbers(P2pdmaRules::LINUX_6_12), [0, 1, 2, 3]);
        assert_eq!(numbers(P2pdmaRules::LINUX_7_3), [0, 2, 3, 4]);
    }
}
