//! The kernel's DMA layer on a booted machine: which IOMMU it drives, and what devices are told.
//!
//! The layer itself is [`peerbus_os::dma`]. Here it is started on a machine and meets its registers: domains become
//! entries of [`peerbus_machine::registers::IommuTables`], by which the fabric translates. Whoever maps memory for a
//! device asks [`Booted`], whatever the memory is and whether or not an IOMMU translates.
//!
//! Facts about IOMMUs that no machine description has are assumed here, each where it is used.

use std::fmt;

use peerbus_machine::model::FunctionIndex;
use peerbus_machine::registers::DomainNumber;
use peerbus_os::dma::{
    Attributes, Call, Context, Dma, DmaError, DmaKind, DmaSettings, DmaWork, GroupNumber, Iommu, IommuTables,
    Mapped, Memory, NoBounce, PeerType, PeerTypes, ProviderId, Segment, TableFull, Translations,
};
use peerbus_os::parameters::IommuSwitch;
use peerbus_os::pci::ResourceRef;
use peerbus_os::{MapType, Rules, Tree, pci};
use peerbus_units::{Address, Bytes, CpuAddr, DmaAddr, Iova, Range};

use crate::boot::{Booted, Hardware};
use crate::kernel::{Firmware, IommuPolicy, KernelSettings};

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

/// What the command line and the settings tell the DMA layer. Builds for other machines than PCs flush strictly.
fn dma_settings(settings: &KernelSettings, firmware: Firmware) -> DmaSettings {
    let mut dma = DmaSettings::with_parameters(&settings.parameters().iommu);
    dma.domains.pass_through = Some(settings.iommu_in_use(firmware) == IommuPolicy::Passthrough);
    dma.domains.built_strict = !firmware.pc;
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
    let mut dma = match &iommu {
        Some(iommu) => Dma::probe(tree, registers, &rules.dma, iommu, &dma_settings),
        None => Dma::without_iommu(tree, &rules.dma, &dma_settings),
    };
    for (function, _) in tree.iter() {
        if let Some(device) = dma.device_mut(function) {
            (device.mask, device.coherent_mask) = (u64::MAX, u64::MAX);
        }
    }
    if iommu.is_some() {
        dma.attach(tree, &dma_settings.quirks, registers);
    }
    dma
}

/// Why memory could not be mapped for a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// The operating system did not find the device.
    NotFound,
    /// The DMA layer refused.
    Dma(DmaError),
    /// The device would have to be given several addresses, and its engine takes one.
    Scattered,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::NotFound => f.write_str("the operating system did not find the device"),
            MapError::Dma(error) => error.fmt(f),
            MapError::Scattered => f.write_str("it is not in one piece for the device"),
        }
    }
}

impl std::error::Error for MapError {}

/// Memory mapped for a device, to be given back with [`Booted::unmap`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "a mapping that is dropped stays mapped"]
pub struct Mapping {
    /// What the device is given: the address of the first byte.
    pub address: DmaAddr,
    /// What kind of address that is.
    pub kind: DmaKind,
    /// Bytes from there on.
    pub length: Bytes,
    client: pci::FunctionIndex,
    mapped: Mapped,
}

/// The memory behind a BAR, and the way a client has to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BarMemory {
    range: Range<CpuAddr>,
    peer: PeerType,
}

impl BarMemory {
    /// CPU addresses of the BAR.
    pub fn range(&self) -> Range<CpuAddr> {
        self.range
    }

    /// Its first `length` bytes, or all of it, as a scatter list.
    fn list(&self, length: Bytes) -> Vec<Memory> {
        let memory = |(at, length)| Memory::peer(PROVIDER, at, length);
        pieces(self.range.first(), length.min(self.range.size())).map(memory).collect()
    }
}

/// The only provider of a list: its memory is that of one BAR.
const PROVIDER: ProviderId = ProviderId(0);

/// Longest entry of a scatter list. Lengths have 32 bits; a power of two keeps entries from crossing the multiples of
/// 4 GiB that no segment may cross, hence lists in one piece.
const LONGEST: u64 = 2 << 30;

/// `length` bytes from `first` on in entries of a scatter list.
fn pieces(first: CpuAddr, length: Bytes) -> impl Iterator<Item = (CpuAddr, Bytes)> {
    let starts = (0..length.0.div_ceil(LONGEST)).map(|number| number * LONGEST);
    starts.filter_map(move |start| Some((first.checked_add(start)?, Bytes((length.0 - start).min(LONGEST)))))
}

/// The answer about [`PROVIDER`], known before.
struct Known(PeerType);

impl PeerTypes for Known {
    fn peer_type(&mut self, _: ProviderId, _: pci::FunctionIndex) -> PeerType {
        self.0
    }
}

const NO_PEER: PeerType = PeerType { map_type: MapType::NotSupported, bus_offset: 0 };

/// Runs `action` as a call into the DMA layer. Bounce buffers would have to be copied by a CPU, which nothing simulates:
/// there are none, and what would need one is refused.
fn call<T>(
    tables: &mut dyn IommuTables,
    peer: PeerType,
    action: impl FnOnce(&mut Context<'_>) -> Result<T, DmaError>,
) -> Result<T, MapError> {
    let mut peers = Known(peer);
    let (call, work) = (Call::default(), DmaWork::default());
    let mut context = Context { call, work, tables, bounce: &mut NoBounce, peers: &mut peers };
    action(&mut context).map_err(MapError::Dma)
}

/// Maps `list` for `client`, who takes one address.
fn map(
    dma: &mut Dma,
    tables: &mut dyn IommuTables,
    client: pci::FunctionIndex,
    list: &[Memory],
    peer: PeerType,
) -> Result<Mapping, MapError> {
    let mapped = call(tables, peer, |context| dma.map_list(client, list, Attributes::default(), context))?;
    match joined(&mapped.segments) {
        Some((address, kind, length)) => Ok(Mapping { address, kind, length, client, mapped }),
        None => {
            call(tables, peer, |context| dma.unmap(client, mapped, context))?;
            Err(MapError::Scattered)
        }
    }
}

/// First address, kind and length of segments that follow each other without a gap.
fn joined(segments: &[Segment]) -> Option<(DmaAddr, DmaKind, Bytes)> {
    let first = segments.first()?;
    let mut length = 0u64;
    for segment in segments {
        let next = first.address.checked_add(length);
        if segment.kind != first.kind || next != Some(segment.address) {
            return None;
        }
        length = length.checked_add(segment.length.0)?;
    }
    Some((first.address, first.kind, Bytes(length)))
}

impl Booted {
    /// Memory of `bar` of `provider` for a client whose way to it is `map_type`; `None` when the BAR has no address.
    pub fn bar_memory(&self, map_type: MapType, provider: FunctionIndex, bar: usize) -> Option<BarMemory> {
        let provider = self.os_function(provider)?;
        let resource = self.tree[provider].resources.get(bar).filter(|resource| resource.flags.is_mem())?;
        let range = resource.range()?;
        let bus = self.tree.bus_address(ResourceRef { function: provider, number: bar });
        if map_type == MapType::BusAddr && bus.is_none() {
            return None;
        }
        let bus_offset = bus.map_or(0, |bus| bus.0.wrapping_sub(range.first().0));
        Some(BarMemory { range, peer: PeerType { map_type, bus_offset } })
    }

    /// Maps the first `length` bytes of a BAR, or all of it if it is smaller, for `client`.
    ///
    /// # Errors
    ///
    /// As the DMA layer says; nothing is mapped then.
    pub fn map_bar(
        &mut self,
        client: FunctionIndex,
        memory: &BarMemory,
        length: Bytes,
    ) -> Result<Mapping, MapError> {
        let client = self.os_function(client).ok_or(MapError::NotFound)?;
        map(&mut self.dma, &mut self.registers, client, &memory.list(length), memory.peer)
    }

    /// Maps `length` bytes of the machine's own memory for `client`.
    ///
    /// # Errors
    ///
    /// As the DMA layer says; nothing is mapped then.
    pub fn map_memory(
        &mut self,
        client: FunctionIndex,
        at: CpuAddr,
        length: Bytes,
    ) -> Result<Mapping, MapError> {
        let client = self.os_function(client).ok_or(MapError::NotFound)?;
        let list: Vec<Memory> = pieces(at, length).map(|(at, length)| Memory::ram(at, length)).collect();
        map(&mut self.dma, &mut self.registers, client, &list, NO_PEER)
    }

    /// Undoes a mapping.
    ///
    /// # Errors
    ///
    /// It is not mapped (any more).
    pub fn unmap(&mut self, mapping: Mapping) -> Result<(), MapError> {
        let (dma, registers) = (&mut self.dma, &mut self.registers);
        call(registers, NO_PEER, |context| dma.unmap(mapping.client, mapping.mapped, context))
    }
}

/// What mapping one page would give, for many pairs, each as if it were the first to map anything since the machine
/// came up: an answer does not depend on the answers before.
#[derive(Debug)]
pub struct Preview<'a> {
    booted: &'a Booted,
    /// For mappings that leave no trace: bus addresses, and devices that no IOMMU translates.
    scratch: Dma,
}

impl<'a> Preview<'a> {
    /// Previews on a booted machine.
    pub fn new(booted: &'a Booted) -> Preview<'a> {
        Preview { booted, scratch: booted.dma.clone() }
    }

    /// Address and kind for the first page of a BAR.
    ///
    /// # Errors
    ///
    /// As the DMA layer says.
    pub fn first_page(
        &mut self,
        client: pci::FunctionIndex,
        memory: &BarMemory,
    ) -> Result<(DmaAddr, DmaKind), MapError> {
        let traceless = memory.peer.map_type == MapType::BusAddr || !self.booted.dma.is_translated(client);
        let mut alone = None;
        let dma = match traceless {
            true => &mut self.scratch,
            false => alone.insert(self.booted.dma.alone(client)),
        };
        let mut tables = Translations::default();
        let mapping = map(dma, &mut tables, client, &memory.list(Bytes(1 << PAGE_SHIFT)), memory.peer)?;
        Ok((mapping.address, mapping.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_cover_memory_without_gaps() {
        let check = |length: u64, expect: &[(u64, u64)]| {
            let found: Vec<_> =
                pieces(CpuAddr(0x1000), Bytes(length)).map(|(at, size)| (at.0, size.0)).collect();
            assert_eq!(found, expect, "{length:#x}");
        };
        check(0, &[]);
        check(0x10, &[(0x1000, 0x10)]);
        check(LONGEST, &[(0x1000, LONGEST)]);
        check(LONGEST + 1, &[(0x1000, LONGEST), (0x1000 + LONGEST, 1)]);
    }

    #[test]
    fn segments_join_where_they_meet_and_are_of_one_kind() {
        let segment =
            |address, length, kind| Segment { address: DmaAddr(address), length: Bytes(length), kind };
        let check = |segments: &[Segment], expect: Option<(u64, u64)>| {
            let found = joined(segments).map(|(address, _, length)| (address.0, length.0));
            assert_eq!(found, expect, "{segments:?}");
        };
        let (iova, cpu) = (DmaKind::Iova, DmaKind::Cpu);
        check(&[], None);
        check(&[segment(0x1000, 0x10, iova)], Some((0x1000, 0x10)));
        check(&[segment(0x1000, 0x1000, iova), segment(0x2000, 5, iova)], Some((0x1000, 0x1005)));
        check(&[segment(0x1000, 0x1000, iova), segment(0x3000, 5, iova)], None);
        check(&[segment(0x1000, 0x1000, iova), segment(0x2000, 5, cpu)], None);
        check(&[segment(u64::MAX, 1, cpu), segment(0, 1, cpu)], None);
    }
}
