//! [`Mapper`]: one device's view of the DMA layer during one call, and the mapping of one piece of memory.
//!
//! Direct: the CPU address moved by the device's offset, if the device reaches it. Translated: IOVAs for the granules
//! that the piece touches; the position inside the granule stays. Where neither is allowed as it is, the piece is
//! bounced, if it may be and there are buffers.

use peerbus_units::{CpuAddr, DmaAddr, Iova, Range};

use super::memory::Held;
use super::{
    Attributes, BounceBuffers, Call, Device, DmaError, DmaKind, DmaRules, DmaWork, GroupNumber, IommuTables,
    Mapped, Memory, PeerTypes, Segment, TranslatedDomain,
};

/// One or more calls into the DMA layer: when and where they happen, what they ask and write outside the layer, and
/// what they cost.
pub struct Context<'a> {
    /// Time and CPU; the caller moves them on.
    pub call: Call,
    /// The work of all calls with this context.
    pub work: DmaWork,
    /// Translation tables.
    pub tables: &'a mut dyn IommuTables,
    /// Bounce buffers.
    pub bounce: &'a mut dyn BounceBuffers,
    /// Types of peer-to-peer memory.
    pub peers: &'a mut dyn PeerTypes,
}

/// A device, its domain if that translates, and the rest of the world, for one call.
pub(super) struct Mapper<'a, 'b> {
    pub rules: &'a DmaRules,
    pub device: &'a mut Device,
    pub domain: Option<(GroupNumber, &'a mut TranslatedDomain)>,
    pub context: &'a mut Context<'b>,
}

impl Mapper<'_, '_> {
    /// Maps one piece, peer-to-peer memory like any other: nobody asks for its type here.
    pub fn map_one(&mut self, memory: &Memory, attributes: Attributes) -> Result<Mapped, DmaError> {
        if !memory.exists() {
            return Err(DmaError::Invalid);
        }
        let mut mapped = Mapped::default();
        let segment = match self.domain {
            Some(_) => self.translated(memory, attributes, &mut mapped),
            None => self.direct(memory, attributes, &mut mapped),
        };
        match segment {
            Ok(segment) => {
                mapped.segments.push(segment);
                Ok(mapped)
            }
            Err(error) => {
                self.undo(mapped);
                Err(error)
            }
        }
    }

    /// Highest address the device can be told.
    pub fn limit(&self, attributes: Attributes) -> u64 {
        if attributes.coherent { self.device.coherent_limit() } else { self.device.limit() }
    }

    /// Only kernels that map physical addresses know the attribute.
    pub fn is_mmio(&self, attributes: Attributes) -> bool {
        attributes.mmio && !self.rules.peer_pages_never_bounce
    }

    /// Caches do not snoop the device, so it must not write into lines that others use.
    fn unsafe_lines(&self, memory: &Memory) -> bool {
        self.rules.small_buffers_bounce && memory.shares_cache_lines && !self.device.cache_coherent
    }

    /// Without an IOMMU, or in an identity domain.
    pub fn direct(
        &mut self,
        memory: &Memory,
        attributes: Attributes,
        mapped: &mut Mapped,
    ) -> Result<Segment, DmaError> {
        let (address, limit) = (self.device_address(memory.at), self.limit(attributes));
        let mmio = self.is_mmio(attributes);
        let reachable = Device::within(address.0, memory.length.0, limit);
        if !self.device.force_bounce && reachable && (mmio || !self.unsafe_lines(memory)) {
            return Ok(Segment { address, length: memory.length, kind: DmaKind::Cpu });
        }
        if mmio || self.rules.peer_pages_never_bounce && memory.provider.is_some() {
            return Err(DmaError::Io);
        }
        let buffer = self.bounce(memory, 1, mapped)?;
        let address = self.device_address(buffer);
        if !Device::within(address.0, memory.length.0, limit) {
            return Err(DmaError::Io);
        }
        Ok(Segment { address, length: memory.length, kind: DmaKind::Cpu })
    }

    fn device_address(&self, at: CpuAddr) -> DmaAddr {
        DmaAddr::from_cpu(CpuAddr(at.0.wrapping_add(self.device.direct_offset)))
    }

    /// A buffer instead of `memory`, held by `mapped`.
    pub fn bounce(&mut self, memory: &Memory, keep: u64, mapped: &mut Mapped) -> Result<CpuAddr, DmaError> {
        let buffer = self.context.bounce.take(memory.at, memory.length.0, keep).ok_or(DmaError::Io)?;
        mapped.held.push(Held::Bounce(buffer));
        self.context.work.bounced_bytes += memory.length.0;
        Ok(buffer)
    }

    /// True when a translated device must not see the granules of this piece as they are: they hold other data that is
    /// none of an untrusted device's business, or cache lines it would spoil.
    pub fn must_bounce(&self, memory: &Memory) -> bool {
        let Some((_, domain)) = &self.domain else { return false };
        let shared = domain.offset(memory.at.0 | memory.length.0) != 0;
        shared && self.device.untrusted || self.unsafe_lines(memory)
    }

    fn translated(
        &mut self,
        memory: &Memory,
        attributes: Attributes,
        mapped: &mut Mapped,
    ) -> Result<Segment, DmaError> {
        let limit = self.limit(attributes);
        let mut at = memory.at;
        if self.must_bounce(memory) {
            if self.is_mmio(attributes) {
                return Err(DmaError::Io);
            }
            let granule = self.domain.as_ref().map_or(1, |(_, domain)| domain.granule());
            at = self.bounce(memory, granule, mapped)?;
        }
        let offset = self.domain.as_ref().map_or(0, |(_, domain)| domain.offset(at.0));
        let size = memory.length.0.checked_add(offset).ok_or(DmaError::Invalid)?;
        let range = self.take_iovas(size, limit)?;
        let whole = CpuAddr(at.0 - offset);
        if let Err(error) = self.write(range, whole) {
            self.drop_iovas(range);
            return Err(error);
        }
        let group = self.domain.as_ref().map(|(group, _)| *group);
        // Undone in this order: the device loses its way to a buffer before another can take that.
        if let Some(group) = group {
            mapped.held.insert(0, Held::Iova(group, range));
        }
        let address = DmaAddr::from_iova(Iova(range.first().0 + offset));
        Ok(Segment { address, length: memory.length, kind: DmaKind::Iova })
    }

    /// IOVAs for `size` bytes, with nothing behind them yet.
    pub fn take_iovas(&mut self, size: u64, limit: u64) -> Result<Range<Iova>, DmaError> {
        let Some((_, domain)) = &mut self.domain else { return Err(DmaError::Invalid) };
        let range =
            domain.allocate(self.device, size, limit, self.rules, self.context.call, &mut self.context.work);
        range.ok_or(DmaError::NoMemory)
    }

    /// Gives back IOVAs that never led anywhere.
    pub fn drop_iovas(&mut self, range: Range<Iova>) {
        if let Some((_, domain)) = &mut self.domain {
            let freed = domain.free_unused(range, self.context.call, &mut self.context.work);
            assert!(freed.is_ok(), "{range} was just allocated");
        }
    }

    /// Makes `range` lead to `to`.
    pub fn write(&mut self, range: Range<Iova>, to: CpuAddr) -> Result<(), DmaError> {
        let Some((group, _)) = &self.domain else { return Err(DmaError::Invalid) };
        self.context.work.table_changes += 1;
        self.context.tables.map(*group, range, to).map_err(|_| DmaError::NoMemory)
    }

    /// Takes translations away; flushing them is a matter of the domain's mode.
    pub fn erase(&mut self, range: Range<Iova>) {
        if let Some((group, _)) = &self.domain {
            self.context.work.table_changes += 1;
            self.context.tables.unmap(*group, range);
        }
    }

    /// Takes translations and IOVAs away; flushed at once or later, as the domain says.
    pub fn release(&mut self, range: Range<Iova>) -> Result<(), DmaError> {
        self.erase(range);
        let Some((group, domain)) = &mut self.domain else { return Err(DmaError::NotMapped) };
        for _ in 0..domain.free(range, self.context.call, &mut self.context.work)? {
            self.context.tables.flush(*group);
        }
        Ok(())
    }

    /// True when everything `mapped` holds belongs to this device's domain and is in use.
    fn holds(&self, mapped: &Mapped) -> bool {
        let own = |(group, range)| {
            self.domain.as_ref().is_some_and(|(own, domain)| *own == group && domain.owns(range).is_some())
        };
        mapped.iovas().all(own)
    }

    /// Undoes a mapping; nothing happens if it is not one of this device's, or was undone before.
    pub fn unmap(&mut self, mapped: Mapped) -> Result<(), DmaError> {
        if !self.holds(&mapped) {
            return Err(DmaError::NotMapped);
        }
        self.undo(mapped);
        Ok(())
    }

    /// Undoes what a call has done so far.
    pub fn undo(&mut self, mapped: Mapped) {
        for held in mapped.held {
            match held {
                Held::Iova(_, range) => {
                    let released = self.release(range);
                    assert!(released.is_ok(), "{range} is held by this device");
                }
                Held::Bounce(buffer) => self.context.bounce.give_back(buffer),
            }
        }
    }
}
