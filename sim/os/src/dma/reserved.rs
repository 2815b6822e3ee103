//! Addresses that no translated domain gives out, and how far a domain reaches.
//!
//! What is *not* reserved matters as much: neither memory, nor the I/O APIC, nor configuration space, nor the firmware
//! at the top of 4 GiB. So the first IOVA on a PC is 0xfffff000.

use alloc::vec::Vec;

use peerbus_units::{Address, BusAddr, Iova, Range};

use crate::pci::{FunctionIndex, HostBridge, ResourceKind, Tree};

/// Why an IOMMU driver reserves a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReservedKind {
    /// Firmware uses the memory behind the same address.
    Direct,
    /// Not to be used.
    Reserved,
    /// Writes there are interrupts to the hardware.
    Msi,
    /// Writes there become interrupts by a mapping that the kernel makes when needed: not kept free.
    SoftwareMsi,
}

/// A range an IOMMU driver names for some functions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReservedRegion {
    /// First and last address.
    pub range: Range<Iova>,
    /// Why.
    pub kind: ReservedKind,
    /// The functions it concerns, with all that lies below those that are bridges; `None`: every function.
    pub scope: Option<Vec<FunctionIndex>>,
}

impl ReservedRegion {
    /// Where x86 interrupt messages go, on Intel and AMD: `fee00000–feefffff`.
    pub fn interrupts() -> ReservedRegion {
        ReservedRegion::everywhere(0xfee0_0000, 0xfeef_ffff, ReservedKind::Msi)
    }

    /// What AMD's HyperTransport uses: `fd00000000–ffffffffff`.
    pub fn hyper_transport() -> ReservedRegion {
        ReservedRegion::everywhere(0xfd_0000_0000, 0xff_ffff_ffff, ReservedKind::Reserved)
    }

    /// The 16 MiB that Intel's work-around for floppy drives maps for ISA bridges.
    pub fn floppy(isa_bridges: Vec<FunctionIndex>) -> ReservedRegion {
        let region = ReservedRegion::everywhere(0, 0xff_ffff, ReservedKind::Direct);
        ReservedRegion { scope: Some(isa_bridges), ..region }
    }

    fn everywhere(first: u64, last: u64, kind: ReservedKind) -> ReservedRegion {
        let range = Range::new(Iova(first), Iova(last));
        ReservedRegion { range: range.expect("first lies below last"), kind, scope: None }
    }

    fn concerns(&self, tree: &Tree, function: FunctionIndex) -> bool {
        let path = || core::iter::successors(Some(function), |at| tree.upstream(*at));
        self.scope.as_ref().is_none_or(|scope| path().any(|at| scope.contains(&at)))
    }
}

/// What a domain keeps free whose first device is `function`: the memory windows of its host bridge as seen on the
/// bus, everything outside `inbound` (what the host bridge lets through to memory; empty: everything, as on a PC), and
/// what the IOMMU's driver names. Later devices of the group change nothing.
pub fn reserved_ranges(
    tree: &Tree,
    function: FunctionIndex,
    inbound: &[Range<BusAddr>],
    regions: &[ReservedRegion],
) -> Vec<Range<Iova>> {
    let mut reserved = windows(tree.host_bridge_of(function));
    reserved.extend(outside(inbound));
    let named = regions.iter().filter(|region| region.kind != ReservedKind::SoftwareMsi);
    reserved.extend(named.filter(|region| region.concerns(tree, function)).map(|region| region.range));
    reserved
}

fn windows(host: &HostBridge) -> Vec<Range<Iova>> {
    let memory = host.windows.iter().filter(|window| window.kind != ResourceKind::Io);
    memory.filter_map(|window| Range::sized(Iova(window.bus.0), window.cpu.size())).collect()
}

/// The gaps between and around `inbound`.
fn outside(inbound: &[Range<BusAddr>]) -> Vec<Range<Iova>> {
    let mut gaps: Vec<_> = if inbound.is_empty() {
        Vec::new()
    } else {
        Range::new(Iova(0), Iova(u64::MAX)).into_iter().collect()
    };
    for through in inbound {
        let hole = Range::new(Iova(through.first().0), Iova(through.last().raw()));
        let cut = |gap: Range<Iova>| {
            let (below, above) = hole.map_or((Some(gap), None), |hole| gap.without(hole));
            [below, above]
        };
        gaps = gaps.into_iter().flat_map(cut).flatten().collect();
    }
    gaps
}

/// Last address an Intel IOMMU translates, for an adjusted guest width of `width` bits: all of them by second-level
/// tables, half of them by first-level tables.
pub fn intel_aperture_end(width: u32, first_level: bool) -> Iova {
    last_of(if first_level { width.saturating_sub(1) } else { width })
}

/// Last address an AMD IOMMU translates: all of 64 bits by version 1 tables; by version 2 tables, which are the CPU's
/// of `width` bits, half of them.
pub fn amd_aperture_end(version_2_width: Option<u32>) -> Iova {
    version_2_width.map_or(Iova(u64::MAX), |width| last_of(width.saturating_sub(1)))
}

fn last_of(bits: u32) -> Iova {
    Iova(1u64.checked_shl(bits).map_or(u64::MAX, |size| size - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apertures_end_where_tables_do() {
        assert_eq!(intel_aperture_end(39, false), Iova(0x7f_ffff_ffff));
        assert_eq!(intel_aperture_end(48, true), Iova(0x7fff_ffff_ffff));
        assert_eq!(intel_aperture_end(64, false), Iova(u64::MAX));
        assert_eq!(amd_aperture_end(None), Iova(u64::MAX));
        assert_eq!(amd_aperture_end(Some(48)), Iova(0x7fff_ffff_ffff));
    }

    #[test]
    fn what_the_host_bridge_does_not_let_through_is_a_gap() {
        let bus = |first, last| Range::new(BusAddr(first), BusAddr(last)).unwrap();
        let iova = |first, last| Range::new(Iova(first), Iova(last)).unwrap();
        assert_eq!(outside(&[]), []);
        let found = outside(&[bus(0x1_0000, 0x1_ffff), bus(0x4000, 0x4fff)]);
        assert_eq!(found, [iova(0, 0x3fff), iova(0x5000, 0xffff), iova(0x2_0000, u64::MAX)]);
    }
}
