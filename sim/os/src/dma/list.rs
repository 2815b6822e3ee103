//! Mapping a scatter list, as `dma_map_sgtable` does.
//!
//! Peer-to-peer entries that use bus addresses are final at once, whatever the device's domain. All others are mapped
//! one by one where DMA is direct; where it is translated they share *one* range of IOVAs, each on granule boundaries,
//! moved up to the next segment boundary where it would cross one. Neighbours that meet there come out as one segment,
//! up to the device's longest. An entry without a peer-to-peer path fails the whole list, and nothing stays mapped.

use alloc::vec::Vec;

use peerbus_units::{Address, BusAddr, Bytes, CpuAddr, DmaAddr, Iova, Range};

use super::mapper::Mapper;
use super::memory::Held;
use super::{Attributes, DmaError, DmaKind, Mapped, Memory, PeerType, ProviderId, Segment};
use crate::MapType;

/// The longest entry: lengths have 32 bits.
const LONGEST: u64 = 0xffff_ffff;

/// What is remembered along a list: the answer about the last provider.
#[derive(Default)]
struct PeerState {
    last: Option<(ProviderId, PeerType)>,
}

/// Where an entry of a translated list lies in the list's IOVAs.
#[derive(Clone, Copy)]
enum Place {
    /// Nowhere: it has a bus address.
    Bus(DmaAddr),
    /// Granules from `start`, of which the entry begins at `offset`.
    Inside { start: u64, offset: u64, size: u64 },
}

impl Mapper<'_, '_> {
    /// Maps all entries of `list`, or none.
    pub fn map_list(&mut self, list: &[Memory], attributes: Attributes) -> Result<Mapped, DmaError> {
        // An empty list maps to nothing, which is no legal result.
        let legal = |memory: &Memory| memory.exists() && memory.length.0 <= LONGEST;
        if !list.iter().all(legal) {
            return Err(DmaError::Invalid);
        }
        if list.is_empty() {
            return Err(DmaError::Io);
        }
        match &self.domain {
            None => self.entry_by_entry(list, attributes, true),
            Some(_) if self.bounces_any(list) => self.entry_by_entry(list, attributes, false),
            Some(_) => self.one_range(list, attributes),
        }
    }

    fn bounces_any(&self, list: &[Memory]) -> bool {
        self.device.untrusted || list.iter().any(|memory| self.must_bounce(memory))
    }

    /// How to map `memory`: `Some` bus address, or as ordinary memory.
    fn bus_address(&mut self, state: &mut PeerState, memory: &Memory) -> Result<Option<DmaAddr>, DmaError> {
        let Some(provider) = memory.provider else { return Ok(None) };
        let Some(client) = self.device.function else { return Err(DmaError::RemoteIo) };
        let answer = match state.last {
            Some((last, answer)) if last == provider => answer,
            _ => {
                self.context.work.provider_questions += 1;
                self.context.peers.peer_type(provider, client)
            }
        };
        state.last = Some((provider, answer));
        match answer.map_type {
            MapType::BusAddr => {
                let bus = BusAddr(memory.at.0.wrapping_add(answer.bus_offset));
                Ok(Some(DmaAddr::from_bus(bus)))
            }
            MapType::ThruHostBridge => Ok(None),
            MapType::NotSupported => Err(DmaError::RemoteIo),
        }
    }

    /// Each entry on its own. A translated device that must bounce comes here too, without asking about peers.
    fn entry_by_entry(
        &mut self,
        list: &[Memory],
        attributes: Attributes,
        ask: bool,
    ) -> Result<Mapped, DmaError> {
        let (mut mapped, mut state) = (Mapped::default(), PeerState::default());
        for memory in list {
            let bus = if ask { self.bus_address(&mut state, memory) } else { Ok(None) };
            let entry = bus.and_then(|bus| match bus {
                Some(address) => {
                    mapped.segments.push(bus_segment(address, memory));
                    Ok(Mapped::default())
                }
                None => self.map_one(memory, attributes).map_err(|_| DmaError::Io),
            });
            match entry {
                Ok(entry) => {
                    mapped.segments.extend(entry.segments);
                    mapped.held.extend(entry.held);
                }
                Err(error) => {
                    self.undo(mapped);
                    return Err(error);
                }
            }
        }
        Ok(mapped)
    }

    fn one_range(&mut self, list: &[Memory], attributes: Attributes) -> Result<Mapped, DmaError> {
        let (places, size) = self.places(list)?;
        if size == 0 {
            return Ok(self.finish(list, &places, Iova(0)));
        }
        let limit = self.limit(attributes);
        let range = self.take_iovas(size, limit)?;
        for (memory, place) in list.iter().zip(&places) {
            if let Err(error) = self.write_entry(range, memory, place) {
                // Translations written so far led somewhere, but no device was told of them.
                self.erase(range);
                self.drop_iovas(range);
                return Err(error);
            }
        }
        let mut mapped = self.finish(list, &places, range.first());
        mapped.held.extend(self.domain.as_ref().map(|(group, _)| Held::Iova(*group, range)));
        Ok(mapped)
    }

    fn write_entry(&mut self, range: Range<Iova>, memory: &Memory, place: &Place) -> Result<(), DmaError> {
        let Place::Inside { start, offset, size } = *place else { return Ok(()) };
        let first = range.first().checked_add(start);
        let part = first.and_then(|first| Range::sized(first, Bytes(size))).ok_or(DmaError::Invalid)?;
        self.write(part, CpuAddr(memory.at.0 - offset))
    }

    /// Where each entry lies in the common range, and the size of that range.
    fn places(&mut self, list: &[Memory]) -> Result<(Vec<Place>, u64), DmaError> {
        let (mut places, mut state, mut end) = (Vec::with_capacity(list.len()), PeerState::default(), 0u64);
        for memory in list {
            if let Some(address) = self.bus_address(&mut state, memory)? {
                places.push(Place::Bus(address));
                continue;
            }
            let Some((_, domain)) = &self.domain else { return Err(DmaError::Invalid) };
            let offset = domain.offset(memory.at.0);
            let size = domain.round_up(memory.length.0 + offset);
            // Whole granules must fit the entry's 32 bits too.
            let size = size.filter(|size| *size <= LONGEST).ok_or(DmaError::Invalid)?;
            let start = after_boundary(end, size, self.device.segment_boundary).ok_or(DmaError::Invalid)?;
            end = start.checked_add(size).ok_or(DmaError::Invalid)?;
            places.push(Place::Inside { start, offset, size });
        }
        Ok((places, end))
    }

    /// Segments from places, neighbours joined.
    fn finish(&self, list: &[Memory], places: &[Place], base: Iova) -> Mapped {
        let mut mapped = Mapped::default();
        // Where the last segment ends, if another entry may continue it.
        let mut open = None;
        for (memory, place) in list.iter().zip(places) {
            let Place::Inside { start, offset, size } = *place else {
                let Place::Bus(address) = *place else { continue };
                mapped.segments.push(bus_segment(address, memory));
                open = None;
                continue;
            };
            let at_boundary = (base.0 + start) & self.device.segment_boundary == 0;
            let continues = open == Some(start) && offset == 0 && !at_boundary;
            let last = mapped.segments.last_mut().filter(|_| continues);
            match last.filter(|last| self.device.max_segment.saturating_sub(last.length) >= memory.length) {
                Some(last) => last.length += memory.length,
                None => {
                    let address = DmaAddr::from_iova(Iova(base.0 + start + offset));
                    mapped.segments.push(Segment { address, length: memory.length, kind: DmaKind::Iova });
                }
            }
            let filled = offset + memory.length.0 == size;
            open = filled.then_some(start + size);
        }
        mapped
    }
}

fn bus_segment(address: DmaAddr, memory: &Memory) -> Segment {
    Segment { address, length: memory.length, kind: DmaKind::Bus }
}

/// `end`, or the next multiple of `boundary` + 1 if `size` bytes from `end` would cross it. The whole range starts at
/// a multiple of its size, rounded up to a power of two: what does not cross a boundary of the layout crosses none.
fn after_boundary(end: u64, size: u64, boundary: u64) -> Option<u64> {
    let room = boundary.wrapping_sub(end).wrapping_add(1) & boundary;
    if room != 0 && room < size { end.checked_add(room) } else { Some(end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_move_up_to_the_boundary_they_would_cross() {
        let check = |end, size, boundary, expect| {
            assert_eq!(after_boundary(end, size, boundary), expect, "{end:#x} {size:#x} {boundary:#x}");
        };
        check(0, 0x9000, 0x3fff, Some(0));
        check(0x1000, 0x3000, 0x3fff, Some(0x1000));
        check(0x1000, 0x4000, 0x3fff, Some(0x4000));
        check(0x8000, 0x4000, 0x3fff, Some(0x8000));
        check(0xffff_f000, 0x2000, 0xffff_ffff, Some(0x1_0000_0000));
        check(0x1000, 0x2000, u64::MAX, Some(0x1000));
        check(u64::MAX - 0xfff, 0x2000, 0x3fff, None);
    }
}
