//! Mapping memory for devices: of BARs and of the machine itself, for a whole run, for one transfer, or only to see what a
//! device would be given.

use std::fmt;

use peerbus_machine::model::FunctionIndex;
use peerbus_os::dma::{
    Attributes, Call, Context, Dma, DmaError, DmaKind, DmaWork, IommuTables, Mapped, Memory, NoBounce,
    NoPeers, PeerType, PeerTypes, ProviderId, Segment, Translations,
};
use peerbus_os::pci::ResourceRef;
use peerbus_os::{MapType, pci};
use peerbus_units::{Address, Bytes, CpuAddr, DmaAddr, Picos, Range};

use super::PAGE_SHIFT;
use crate::boot::Booted;

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

impl Mapping {
    /// For whom it is.
    pub(crate) fn client(&self) -> pci::FunctionIndex {
        self.client
    }
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

    /// Its `length` bytes behind the first `from`, or all that there are, as a scatter list.
    fn list(&self, from: Bytes, length: Bytes) -> Vec<Memory> {
        let memory = |(at, length)| Memory::peer(PROVIDER, at, length);
        let left = Bytes(self.range.size().0.saturating_sub(from.0));
        let first = self.range.first().checked_add(from.0);
        first.into_iter().flat_map(|first| pieces(first, length.min(left))).map(memory).collect()
    }
}

/// The only provider of a list: its memory is that of one BAR.
const PROVIDER: ProviderId = ProviderId(0);

/// Longest entry of a scatter list. Lengths have 32 bits; a power of two keeps entries from crossing the multiples of
/// 4 GiB that no segment may cross, hence lists in one piece.
const LONGEST: u64 = 2 << 30;

/// `length` bytes from `first` on in entries of a scatter list.
pub(crate) fn pieces(first: CpuAddr, length: Bytes) -> impl Iterator<Item = (CpuAddr, Bytes)> {
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

/// A call into the DMA layer at `now`. Bounce buffers would have to be copied by a CPU, which nothing simulates: there are
/// none, and what would need one is refused.
fn call<T>(
    tables: &mut dyn IommuTables,
    peers: &mut dyn PeerTypes,
    now: Picos,
    action: impl FnOnce(&mut Context<'_>) -> Result<T, DmaError>,
) -> Result<T, MapError> {
    in_context(tables, peers, now, action).map_err(MapError::Dma)
}

/// The same for whatever calls the DMA layer by itself.
pub(crate) fn in_context<T>(
    tables: &mut dyn IommuTables,
    peers: &mut dyn PeerTypes,
    now: Picos,
    action: impl FnOnce(&mut Context<'_>) -> T,
) -> T {
    let (call, work) = (Call { now, cpu: 0 }, DmaWork::default());
    action(&mut Context { call, work, tables, bounce: &mut NoBounce, peers })
}

/// Maps `list` for `client`, who takes one address.
///
/// # Errors
///
/// As the DMA layer says; nothing is mapped then.
pub(crate) fn map_list(
    dma: &mut Dma,
    tables: &mut dyn IommuTables,
    client: pci::FunctionIndex,
    list: &[Memory],
    peers: &mut dyn PeerTypes,
    now: Picos,
) -> Result<Mapping, MapError> {
    let map = |context: &mut Context<'_>| dma.map_list(client, list, Attributes::default(), context);
    let mapped = call(tables, peers, now, map)?;
    match joined(&mapped.segments) {
        Some((address, kind, length)) => Ok(Mapping { address, kind, length, client, mapped }),
        None => {
            call(tables, peers, now, |context| dma.unmap(client, mapped, context))?;
            Err(MapError::Scattered)
        }
    }
}

/// Maps `length` bytes behind the first `from` of a BAR, or all that there are, for `client`.
///
/// # Errors
///
/// As the DMA layer says; nothing is mapped then.
pub(crate) fn map_bar(
    dma: &mut Dma,
    tables: &mut dyn IommuTables,
    client: pci::FunctionIndex,
    memory: &BarMemory,
    (from, length): (Bytes, Bytes),
    now: Picos,
) -> Result<Mapping, MapError> {
    map_list(dma, tables, client, &memory.list(from, length), &mut Known(memory.peer), now)
}

/// Maps `length` bytes of the machine's own memory for `client`.
///
/// # Errors
///
/// As the DMA layer says; nothing is mapped then.
pub(crate) fn map_memory(
    dma: &mut Dma,
    tables: &mut dyn IommuTables,
    client: pci::FunctionIndex,
    (at, length): (CpuAddr, Bytes),
    now: Picos,
) -> Result<Mapping, MapError> {
    let list: Vec<Memory> = pieces(at, length).map(|(at, length)| Memory::ram(at, length)).collect();
    map_list(dma, tables, client, &list, &mut NoPeers, now)
}

/// Undoes a mapping.
///
/// # Errors
///
/// It is not mapped (any more).
pub(crate) fn unmap(
    dma: &mut Dma,
    tables: &mut dyn IommuTables,
    mapping: Mapping,
    now: Picos,
) -> Result<(), MapError> {
    call(tables, &mut NoPeers, now, |context| dma.unmap(mapping.client, mapping.mapped, context))
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

    /// Maps the `length` bytes of a BAR behind the first `from`, or all that there are, for `client`.
    ///
    /// # Errors
    ///
    /// As the DMA layer says; nothing is mapped then.
    pub fn map_bar(
        &mut self,
        client: FunctionIndex,
        memory: &BarMemory,
        from: Bytes,
        length: Bytes,
    ) -> Result<Mapping, MapError> {
        let client = self.os_function(client).ok_or(MapError::NotFound)?;
        map_bar(&mut self.dma, &mut self.registers, client, memory, (from, length), Picos::ZERO)
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
        map_memory(&mut self.dma, &mut self.registers, client, (at, length), Picos::ZERO)
    }

    /// Undoes a mapping.
    ///
    /// # Errors
    ///
    /// It is not mapped (any more).
    pub fn unmap(&mut self, mapping: Mapping) -> Result<(), MapError> {
        unmap(&mut self.dma, &mut self.registers, mapping, Picos::ZERO)
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
        let page = memory.list(Bytes::ZERO, Bytes(1 << PAGE_SHIFT));
        let mapping = map_list(dma, &mut tables, client, &page, &mut Known(memory.peer), Picos::ZERO)?;
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
