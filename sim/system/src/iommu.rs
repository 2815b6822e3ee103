//! The kernel's DMA layer on a booted machine: which IOMMU it drives, and what devices are told.
//!
//! The layer itself is [`peerbus_os::dma`]. Here it is started on a machine and meets its registers: domains become
//! entries of [`peerbus_machine::registers::IommuTables`], by which the fabric translates. Whoever maps memory for a
//! device asks [`Booted`](crate::boot::Booted), whatever the memory is and whether or not an IOMMU translates.
//!
//! Facts about IOMMUs that no machine description has are assumed here, each where it is used.
//!
//! `map` is the mapping, `writes` what a mapping writes while a run is under way.

mod map;
mod writes;

use peerbus_machine::registers::DomainNumber;
use peerbus_os::dma::{Dma, DmaSettings, FlushTimer, GroupNumber, Iommu, IommuTables, TableFull};
use peerbus_os::parameters::IommuSwitch;
use peerbus_os::{Rules, Tree};
use peerbus_units::{CpuAddr, Iova, Picos, Range};

pub use map::{BarMemory, MapError, Mapping, Preview};
pub(crate) use map::{in_context, map_bar, map_list, map_memory, pieces, unmap};
pub(crate) use writes::TableWrites;

use crate::boot::Hardware;
use crate::kernel::{Firmware, IommuMode, KernelSettings};

fn domain(group: GroupNumber) -> DomainNumber {
    DomainNumber(group.0)
}

impl IommuTables for Hardware {
    fn attach(&mut self, segment: u32, requester: u16, group: Option<GroupNumber>) {
        self.iommu_mut().attach(segment, requester, group.map(domain));
    }

    fn map(&mut self, group: GroupNumber, iova: Range<Iova>, to: CpuAddr) -> Result<(), TableFull> {
        self.iommu_mut().map(domain(group), iova, to);
        Ok(())
    }

    fn unmap(&mut self, group: GroupNumber, iova: Range<Iova>) {
        self.iommu_mut().unmap(domain(group), iova);
    }

    /// No IOMMU of the fabric keeps a translation that its table has no more: there is nothing to forget.
    fn flush(&mut self, _: GroupNumber) {}
}

/// Bits of address that an Intel unit's tables cover: four levels. Assumed; newer units can have five (57 bits), small
/// and emulated ones three (39).
const INTEL_WIDTH: u32 = 48;
/// Last address that the IOMMU of a machine that is no PC covers: four levels of 4 KiB pages. Assumed.
const OTHER_LAST: Iova = Iova((1 << 48) - 1);
/// log2 of the smallest page of any of them.
const PAGE_SHIFT: u32 = 12;
/// Class of a function that is an IOMMU, without programming interface.
const IOMMU_CLASS: u32 = 0x0806;

/// The machine's IOMMUs, if its kernel uses them.
fn iommu(tree: &Tree, settings: &KernelSettings, firmware: Firmware) -> Option<Iommu> {
    if !settings.iommu_in_use(firmware).is_on() {
        return None;
    }
    let intel = settings.parameters().iommu.intel == Some(IommuSwitch::On);
    let own = tree.iter().filter(|(_, function)| function.class >> 8 == IOMMU_CLASS).map(|(index, _)| index);
    Some(match firmware {
        Firmware { pc: false, .. } => Iommu::other(PAGE_SHIFT, OTHER_LAST),
        Firmware { amd: true, .. } if !intel => Iommu::amd(own.collect()),
        Firmware { .. } => Iommu::intel(INTEL_WIDTH),
    })
}

/// Length of a kernel's tick: builds of distributions have HZ=250. Assumed.
const TICK: Picos = Picos(4_000_000_000);

/// What the command line and the settings tell the DMA layer. Builds for other machines than PCs flush strictly.
fn dma_settings(settings: &KernelSettings, firmware: Firmware) -> DmaSettings {
    let mut dma = DmaSettings::with_parameters(&settings.parameters().iommu);
    dma.domains.pass_through = Some(settings.iommu_in_use(firmware) == IommuMode::Passthrough);
    dma.domains.built_strict = !firmware.pc;
    dma.timer = FlushTimer::Ticks { tick: TICK };
    dma
}

/// Starts the DMA layer once functions are found and ACS is programmed. All drivers set 64-bit masks.
pub(crate) fn start(
    tree: &Tree,
    registers: &mut Hardware,
    rules: &Rules,
    settings: &KernelSettings,
    firmware: Firmware,
) -> Dma {
    let dma_settings = dma_settings(settings, firmware);
    let iommu = iommu(tree, settings, firmware);
    if settings.parameters().iommu.small_pages {
        registers.iommu_mut().use_small_pages();
    }
    let mut dma = match &iommu {
        Some(iommu) => Dma::probe(tree, registers, &rules.dma, iommu, &dma_settings),
        None => Dma::without_iommu(tree, &rules.dma, &dma_settings),
    };
    for (function, _) in tree.iter() {
        if let Some(device) = dma.device_mut(function) {
            (device.mask, device.coherent_mask) = (u64::MAX, u64::MAX);
        }
    }
    if let Some(iommu) = &iommu {
        dma.attach(tree, &dma_settings.quirks, registers);
        dma.enable_ats(tree, registers, iommu.driver, settings.parameters().pci.no_ats);
    }
    dma
}
