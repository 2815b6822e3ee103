//! [`Profile`]: which kernel to be, and [`Rules`]: what that means, as plain facts.
//!
//! A profile is turned into rules once, at the start. Everything else in this crate reads rules; nothing
//! compares versions.

use core::fmt;
use core::str::FromStr;

use crate::device_private::PrivateDesign;
use crate::dma::DmaRules;
use crate::iomem::{DirectMapTrim, IoMemRules};
use crate::p2pdma::P2pdmaRules;
use crate::pagemap::PageMapRules;

/// A kernel generation whose decisions are reproduced.
#[allow(non_camel_case_types, reason = "the names are those of the files and the command line: Linux_6_12")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Profile {
    /// Linux 6.1.192 (longterm).
    Linux_6_1,
    /// Linux 6.12.117 (longterm).
    Linux_6_12,
    /// Linux 7.3.4.
    Linux_7_3,
}

impl Profile {
    /// All profiles, oldest first.
    pub const ALL: [Profile; 3] = [Profile::Linux_6_1, Profile::Linux_6_12, Profile::Linux_7_3];

    /// The name used in files: `Linux_6_12`.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Linux_6_1 => "Linux_6_1",
            Profile::Linux_6_12 => "Linux_6_12",
            Profile::Linux_7_3 => "Linux_7_3",
        }
    }

    /// The facts in which this kernel differs from others, changed by `options`.
    pub fn rules(self, options: RulesOptions) -> Rules {
        let base = Rules {
            profile: self,
            host_bridge_allow_list: ALLOWED_6_1,
            window_sizing: WindowSizing::Cumulative,
            relaxed_window_tail: false,
            alignment_orders: 24,
            optional_roms_and_empty_windows: false,
            io_windows_count_required_twice: false,
            tail_below_alignment: false,
            unplaced_windows_stay: false,
            optional_may_fail: false,
            prefetch_spare_moves: true,
            bar_resizing: BarResizing::ExactKind,
            redirect_disable_keeps_firmware_word: false,
            p2pdma: P2pdmaRules::LINUX_6_1,
            dma: DmaRules::LINUX_6_1,
            iomem: IoMemRules::LINUX_6_1,
            pagemap: PageMapRules::LINUX_6_1,
            config_acs: false,
            acs_set_with_dma: false,
            acs_capability_kept: false,
            device_tree_requests_acs: false,
            also_listed: options.also_listed,
        };
        let rules = match self {
            Profile::Linux_6_1 => base,
            Profile::Linux_6_12 => Rules {
                relaxed_window_tail: true,
                redirect_disable_keeps_firmware_word: true,
                p2pdma: P2pdmaRules::LINUX_6_12,
                dma: DmaRules::LINUX_6_12,
                iomem: IoMemRules::LINUX_6_12,
                pagemap: PageMapRules::LINUX_6_12,
                config_acs: true,
                ..base
            },
            Profile::Linux_7_3 => Rules {
                host_bridge_allow_list: ALLOWED_7_3,
                window_sizing: WindowSizing::Head,
                alignment_orders: 28,
                optional_roms_and_empty_windows: true,
                io_windows_count_required_twice: true,
                tail_below_alignment: true,
                unplaced_windows_stay: true,
                optional_may_fail: true,
                prefetch_spare_moves: false,
                bar_resizing: BarResizing::WindowInUse,
                redirect_disable_keeps_firmware_word: true,
                p2pdma: P2pdmaRules::LINUX_7_3,
                dma: DmaRules::LINUX_7_3,
                iomem: IoMemRules::LINUX_7_3,
                pagemap: PageMapRules::LINUX_7_3,
                config_acs: true,
                acs_set_with_dma: true,
                acs_capability_kept: true,
                device_tree_requests_acs: true,
                ..base
            },
        };
        let direct_map_trim = options.direct_map_trim.unwrap_or(rules.iomem.direct_map_trim);
        let private_design = options.private_design.unwrap_or(rules.pagemap.private_design);
        Rules {
            host_bridge_allow_list: options.host_bridge_allow_list.unwrap_or(rules.host_bridge_allow_list),
            iomem: IoMemRules { direct_map_trim, ..rules.iomem },
            pagemap: PageMapRules {
                faster_initialisation: options.faster_page_structs,
                ..rules.pagemap.with(private_design)
            },
            ..rules
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no known profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseProfileError;

impl fmt::Display for ParseProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown kernel profile; expected Linux_6_1, Linux_6_12 or Linux_7_3")
    }
}

impl core::error::Error for ParseProfileError {}

impl FromStr for Profile {
    type Err = ParseProfileError;

    fn from_str(text: &str) -> Result<Profile, ParseProfileError> {
        Profile::ALL.into_iter().find(|profile| profile.name() == text).ok_or(ParseProfileError)
    }
}

/// Changes to a profile, for questions such as "what if this host bridge were listed".
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RulesOptions {
    /// Another table of host bridges that forward peer-to-peer traffic.
    pub host_bridge_allow_list: Option<&'static [AllowedHostBridge]>,
    /// When x86 shortens the direct map: patch levels of one generation differ.
    pub direct_map_trim: Option<DirectMapTrim>,
    /// Where memory that only a device can reach has its page frames. Posted series are no profile of their own.
    pub private_design: Option<PrivateDesign>,
    /// Page structs are initialised in the faster way that was posted in 2026.
    pub faster_page_structs: bool,
    /// Rows in front of the table: a pair of functions asks about two host bridges at most.
    pub also_listed: [Option<AllowedHostBridge>; 2],
}

/// How a kernel derives the size and alignment of a bridge's memory window from its contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WindowSizing {
    /// 6.x: the alignment grows with the cumulated contents; the size is rounded up to the alignment.
    Cumulative,
    /// 7.x: the alignment is that of the largest content, lowered while smaller contents can fill the room
    /// in front of it; the size is rounded up to the window granule only.
    Head,
}

/// How a kernel makes room for a BAR that gets another size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BarResizing {
    /// 6.x: windows of exactly the BAR's kind are released; a function on a root bus cannot be resized; any
    /// failure undoes it; a BAR that is not listed counts as not resizable.
    ExactKind,
    /// 7.x: the windows in use above the BAR are released; on a root bus everything is assigned in place; only
    /// failures of required resources of the BAR's type undo it.
    WindowInUse,
}

/// Everything in which the reproduced kernels differ, as facts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Where these facts come from; for reports, never for decisions.
    pub profile: Profile,
    /// Host bridges that forward between their root ports, in the order the kernel searches them.
    pub host_bridge_allow_list: &'static [AllowedHostBridge],
    /// Rows that are searched before it; none in any kernel as released.
    pub also_listed: [Option<AllowedHostBridge>; 2],
    /// Size and alignment of memory windows.
    pub window_sizing: WindowSizing,
    /// A window that would not fit into the already assigned window above it with its preferred alignment is
    /// sized without rounding.
    pub relaxed_window_tail: bool,
    /// Number of power-of-two alignments from 1 MiB that can be sized; a larger one disables the resource.
    pub alignment_orders: u32,
    /// Disabled expansion ROMs and windows without required content may stay unassigned without the bus being
    /// tried again. SR-IOV BARs are optional in every kernel.
    pub optional_roms_and_empty_windows: bool,
    /// The extended size of an I/O window adds the rounded required size to contents below 1 KiB.
    pub io_windows_count_required_twice: bool,
    /// What remains of a memory size beyond a multiple of its alignment may lie below the aligned address.
    pub tail_below_alignment: bool,
    /// An unplaced bridge window keeps its size and type, marked unset; otherwise it is cleared.
    pub unplaced_windows_stay: bool,
    /// An optional resource that fails is no reason to try its bus again as long as nothing is wished for, and
    /// it stays out when its bus is tried again for another reason.
    pub optional_may_fail: bool,
    /// A bridge without a prefetchable window keeps the hot-plug space of that window in the other one.
    pub prefetch_spare_moves: bool,
    /// Resizable BARs.
    pub bar_resizing: BarResizing,
    /// `pci=disable_acs_redir` starts from the word firmware left, dropping what an IOMMU request added.
    pub redirect_disable_keeps_firmware_word: bool,
    /// Providers of peer-to-peer memory and their users.
    pub p2pdma: P2pdmaRules,
    /// IOMMU groups, IOVA allocation and DMA mapping.
    pub dma: DmaRules,
    /// The tree of physical addresses, and the search for unused ones.
    pub iomem: IoMemRules,
    /// Page structs of device memory.
    pub pagemap: PageMapRules,
    /// `pci=config_acs` exists.
    pub config_acs: bool,
    /// ACS control words are set when DMA is configured for a function, which every binding of a driver does again;
    /// otherwise once, when the function is found.
    pub acs_set_with_dma: bool,
    /// The ACS capability word is read once, at enumeration, and corrected for models that promise too much.
    pub acs_capability_kept: bool,
    /// On machines described by a device tree, ACS is set as if an IOMMU driver had asked, with or without an IOMMU.
    pub device_tree_requests_acs: bool,
}

/// One row of the table of host bridges that may forward peer-to-peer traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllowedHostBridge {
    /// Vendor id of the function that stands for the host bridge.
    pub vendor: u16,
    /// Its device id; `None` matches every device of the vendor.
    pub device: Option<u16>,
    /// Both functions must lie below this same host bridge.
    pub same_host_bridge: bool,
}

const fn listed(vendor: u16, device: u16) -> AllowedHostBridge {
    AllowedHostBridge { vendor, device: Some(device), same_host_bridge: false }
}

const fn same(vendor: u16, device: u16) -> AllowedHostBridge {
    AllowedHostBridge { vendor, device: Some(device), same_host_bridge: true }
}

const INTEL: u16 = 0x8086;
const GOOGLE: u16 = 0x1ae0;
const NVIDIA: u16 = 0x10de;

/// 6.1.192 and 6.12.117: Xeon E5 / Core i7, Xeon E7 v3 / E5 v3, Skylake-E, later Xeons.
const ALLOWED_6_1: &[AllowedHostBridge] = &[
    same(INTEL, 0x3c00),
    same(INTEL, 0x3c01),
    same(INTEL, 0x2f00),
    same(INTEL, 0x2f01),
    listed(INTEL, 0x2030),
    listed(INTEL, 0x2031),
    listed(INTEL, 0x2032),
    listed(INTEL, 0x2033),
    listed(INTEL, 0x2020),
    listed(INTEL, 0x09a2),
];

/// 7.3.4: adds Intel's integrated accelerators (DSA, IAX, QAT), Google's SoCs and NVIDIA's CPUs.
const ALLOWED_7_3: &[AllowedHostBridge] = &[
    same(INTEL, 0x3c00),
    same(INTEL, 0x3c01),
    same(INTEL, 0x2f00),
    same(INTEL, 0x2f01),
    listed(INTEL, 0x2030),
    listed(INTEL, 0x2031),
    listed(INTEL, 0x2032),
    listed(INTEL, 0x2033),
    listed(INTEL, 0x2020),
    listed(INTEL, 0x09a2),
    listed(INTEL, 0x0b25),
    listed(INTEL, 0x0cfe),
    listed(INTEL, 0x11fb),
    listed(INTEL, 0x1212),
    listed(INTEL, 0x1216),
    listed(INTEL, 0x4940),
    listed(INTEL, 0x4942),
    listed(INTEL, 0x4944),
    listed(INTEL, 0x4946),
    listed(INTEL, 0x4948),
    AllowedHostBridge { vendor: GOOGLE, device: None, same_host_bridge: false },
    listed(NVIDIA, 0x2f95),
    listed(NVIDIA, 0x2f96),
    listed(NVIDIA, 0x2f97),
    listed(NVIDIA, 0x2f98),
];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_round_trip() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse(), Ok(profile));
            assert_eq!(profile.rules(RulesOptions::default()).profile, profile);
        }
        for text in ["", "linux_6_12", "Linux_5_15"] {
            assert_eq!(text.parse::<Profile>(), Err(ParseProfileError));
        }
    }
}
