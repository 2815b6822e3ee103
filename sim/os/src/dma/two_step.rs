//! Reserve first, link later: the interface of 7.x for callers that map page by page into one range.
//!
//! A reservation is a range of IOVAs for the full size. Memory is linked into it at offsets; the parts linked may be
//! unlinked again and others take their place. Where DMA is direct there is nothing to reserve, and the caller maps
//! each piece by itself.

use alloc::collections::BTreeMap;

use peerbus_units::{Bytes, CpuAddr, DmaAddr, Iova, Range};

use super::mapper::Mapper;
use super::memory::Held;
use super::{Attributes, DmaError, DmaKind, GroupNumber, Mapped, Memory, Segment};

/// IOVAs of a device's group, some of which lead to memory.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "a reservation that is dropped stays reserved"]
pub struct Reservation {
    group: GroupNumber,
    range: Range<Iova>,
    /// The first address for the device: the first memory's position inside its granule is kept.
    first: Iova,
    size: u64,
    /// What is linked, by offset: its length, the granules taken and a bounce buffer.
    links: BTreeMap<u64, Link>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Link {
    length: u64,
    granules: Range<Iova>,
    mapped: Mapped,
}

impl Reservation {
    /// The address the device is told for byte `offset`; `None` beyond the size.
    pub fn address(&self, offset: u64) -> Option<DmaAddr> {
        (offset < self.size).then(|| DmaAddr::from_iova(Iova(self.first.0 + offset)))
    }

    /// All of it as one segment.
    pub fn segment(&self) -> Segment {
        let address = DmaAddr::from_iova(self.first);
        Segment { address, length: Bytes(self.size), kind: DmaKind::Iova }
    }

    /// The granules reserved.
    pub fn range(&self) -> Range<Iova> {
        self.range
    }

    /// Bytes linked at the moment.
    pub fn linked(&self) -> Bytes {
        Bytes(self.links.values().map(|link| link.length).sum())
    }

    fn covers(&self, granules: Range<Iova>) -> bool {
        self.range.covers(granules) && self.links.values().all(|link| !link.granules.overlaps(granules))
    }
}

impl Mapper<'_, '_> {
    /// Reserves `size` bytes for memory of which the first piece lies at `at`. `None` for a device whose DMA is not
    /// translated, a kernel without this interface, size 0 (with a warning), or when no IOVAs are left: the caller maps
    /// piece by piece then.
    pub fn reserve(&mut self, at: CpuAddr, size: Bytes) -> Option<Reservation> {
        let (group, offset) = self.domain.as_ref().map(|(group, domain)| (*group, domain.offset(at.0)))?;
        if !self.rules.two_step_mapping || size == Bytes::ZERO {
            return None;
        }
        let limit = self.device.limit();
        let range = self.take_iovas(size.0.checked_add(offset)?, limit).ok()?;
        let first = Iova(range.first().0 + offset);
        Some(Reservation { group, range, first, size: size.0, links: BTreeMap::new() })
    }

    /// Makes byte `offset` of the reservation, and what follows, lead to `memory`. The position inside a granule must
    /// be the same on both sides (`EINVAL`), the granules free (`EINVAL`). A device that must bounce gets a buffer,
    /// but never for peer-to-peer memory (`EPERM`).
    pub fn link(
        &mut self,
        reservation: &mut Reservation,
        offset: u64,
        memory: &Memory,
        attributes: Attributes,
    ) -> Result<(), DmaError> {
        let end = offset.checked_add(memory.length.0).filter(|end| *end <= reservation.size);
        let Some((group, domain)) = self.domain.as_ref().filter(|_| end.is_some()) else {
            return Err(DmaError::Invalid);
        };
        let iova = Iova(reservation.first.0 + offset);
        let pad = domain.offset(memory.at.0);
        let size = domain.round_up(memory.length.0.saturating_add(pad)).ok_or(DmaError::Invalid)?;
        if *group != reservation.group || domain.offset(iova.0) != pad || !memory.exists() {
            return Err(DmaError::Invalid);
        }
        let keep = domain.granule();
        let granules = Range::sized(Iova(iova.0 - pad), Bytes(size)).ok_or(DmaError::Invalid)?;
        if !reservation.covers(granules) {
            return Err(DmaError::Invalid);
        }
        let (mut mapped, mut at) = (Mapped::default(), memory.at);
        if self.must_bounce(memory) {
            if self.is_mmio(attributes) {
                return Err(DmaError::NotPermitted);
            }
            at = self.bounce(memory, keep, &mut mapped)?;
        }
        if let Err(error) = self.write(granules, CpuAddr(at.0 - pad)) {
            self.undo(mapped);
            return Err(error);
        }
        reservation.links.insert(offset, Link { length: memory.length.0, granules, mapped });
        Ok(())
    }

    /// Takes the memory linked at exactly `offset` out again, and flushes.
    pub fn unlink(&mut self, reservation: &mut Reservation, offset: u64) -> Result<(), DmaError> {
        let own = self.domain.as_ref().is_some_and(|(group, _)| *group == reservation.group);
        let link = own.then(|| reservation.links.remove(&offset)).flatten().ok_or(DmaError::NotMapped)?;
        self.erase(link.granules);
        self.context.work.flushes += 1;
        self.context.tables.flush(reservation.group);
        self.undo(link.mapped);
        Ok(())
    }

    /// Unlinks everything and gives the IOVAs back.
    pub fn destroy(&mut self, reservation: Reservation) -> Result<(), DmaError> {
        let whole =
            Mapped { held: [Held::Iova(reservation.group, reservation.range)].into(), ..Mapped::default() };
        self.unmap(whole)?;
        reservation.links.into_values().for_each(|link| self.undo(link.mapped));
        Ok(())
    }
}
