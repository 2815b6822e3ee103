//! The operating system's side: its peer-to-peer memory with the hardware it looks at, and how full its pools are over
//! time.

use std::collections::BTreeMap;

use peerbus_machine::Machine;
use peerbus_machine::part::MemoryBufferPart;
use peerbus_os::dma::{self, Dma, DmaError, IommuTables};
use peerbus_os::drivers::memory_buffer::{MemoryBufferRegisters, add_memory_buffer};
use peerbus_os::p2pdma::{
    Client, MapError, MapRequest, MappingId, MemoryBug, MemoryError, P2pdma, Peers, PhysicalMemory,
    largest_prefetchable_bar,
};
use peerbus_os::pci;
use peerbus_os::pool::Algorithm;
use peerbus_units::{Bytes, CpuAddr, Picos, Range};

use crate::boot::{Booted, kernel_memory};
use crate::iommu::{self, Mapping};
use crate::peer_memory::{Policy, Provider};
use crate::space::Level;

/// A registration, as it went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    /// The device, by index in the machine.
    pub device: usize,
    /// False for the memory buffer of a drive that holds no data of commands: its driver does not publish it.
    pub holds_data: bool,
    /// Which BAR; `None` when the device has none that could be meant.
    pub bar: Option<u8>,
    /// The range, or why there is none, in words with the kernel's name of the error.
    pub result: Result<Range<CpuAddr>, String>,
}

/// Memory in use, as the operating system handed it out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Whose it is.
    pub provider: pci::FunctionIndex,
    /// The device that uses it, by index in the machine.
    pub client: usize,
    /// First byte.
    pub address: CpuAddr,
    /// Bytes asked for.
    pub size: Bytes,
    /// The mapping of a process, and its pages.
    pub mapping: Option<(MappingId, usize)>,
}

/// Why there is no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoMemory {
    /// For a driver.
    Driver(MemoryError),
    /// For a process.
    Process(MapError),
}

/// All pools of a machine.
pub struct Pools<'a> {
    pub(super) booted: &'a Booted,
    pub(super) p2pdma: P2pdma,
    levels: BTreeMap<usize, Level>,
}

impl<'a> Pools<'a> {
    /// Nothing is registered.
    pub fn new(booted: &'a Booted) -> Pools<'a> {
        Pools { booted, p2pdma: P2pdma::new(&booted.rules, &booted.cpu), levels: BTreeMap::new() }
    }

    /// Registers what `provider` says for `device`, and sets how its pool is searched.
    pub fn register(
        &mut self,
        machine: &Machine,
        device: usize,
        provider: &Provider,
        policy: Policy,
    ) -> Registration {
        let name = &machine.devices[device].name;
        let found = self.booted.os_function(machine.devices[device].functions[0]);
        let Some(function) = found else {
            let result = Err(format!("the operating system did not find {name}"));
            return Registration { device, holds_data: true, bar: provider.bar, result };
        };
        let registration = match own_buffer(machine, device, provider) {
            Some(registers) => self.register_buffer(machine, (device, function), registers),
            None => self.register_part(machine, (device, function), provider),
        };
        if registration.result.is_ok() {
            let id = self.booted.tree[function].id;
            self.p2pdma.set_algorithm(id, algorithm(policy));
            self.levels.insert(function.0, Level::new(self.p2pdma.size(id), self.largest_hole(function)));
        }
        registration
    }

    /// Registers the part of a BAR that `provider` names, as any driver could.
    fn register_part(
        &mut self,
        machine: &Machine,
        (device, function): (usize, pci::FunctionIndex),
        provider: &Provider,
    ) -> Registration {
        let name = &machine.devices[device].name;
        let bar = provider.bar.map(usize::from).or_else(|| self.default_bar(function));
        let Some(bar) = bar else {
            let result = Err(format!("{name} has no memory BAR with an address"));
            return Registration { device, holds_data: true, bar: None, result };
        };
        let size = provider.size.unwrap_or(Bytes::ZERO);
        let (ram, mappable) = kernel_memory(machine, self.booted);
        let memory = PhysicalMemory { system_ram: &ram, mappable };
        let tree = &self.booted.tree;
        let result = self.p2pdma.add_resource(tree, &memory, function, bar, size, provider.offset);
        let result = result.map_err(|error| {
            let asked = if size == Bytes::ZERO { "the rest".to_owned() } else { size.to_string() };
            format!("{asked} from {} of BAR {bar} of {name}: {error}", provider.offset)
        });
        Registration { device, holds_data: true, bar: u8::try_from(bar).ok(), result }
    }

    /// Registers a drive's memory buffer, as the driver of NVMe drives does.
    fn register_buffer(
        &mut self,
        machine: &Machine,
        (device, function): (usize, pci::FunctionIndex),
        registers: MemoryBufferRegisters,
    ) -> Registration {
        let (ram, mappable) = kernel_memory(machine, self.booted);
        let memory = PhysicalMemory { system_ram: &ram, mappable };
        let result = add_memory_buffer(&mut self.p2pdma, &self.booted.tree, &memory, function, registers);
        let name = &machine.devices[device].name;
        let result = result.map_err(|error| format!("the memory buffer of {name}: {error}"));
        let bar = u8::try_from(registers.bar()).ok();
        Registration { device, holds_data: registers.holds_data(), bar, result }
    }

    /// The largest prefetchable memory BAR with an address, or else the largest memory BAR with one.
    fn default_bar(&self, function: pci::FunctionIndex) -> Option<usize> {
        let resources = self.booted.tree[function].resources.iter().take(pci::resource::ROM).enumerate();
        let placed = resources.filter(|(_, resource)| resource.flags.is_mem() && resource.range().is_some());
        // Of equals the lowest: `max_by_key` would take the last.
        let sized = placed.rev().max_by_key(|(_, resource)| resource.range().map(|range| range.size()));
        largest_prefetchable_bar(&self.booted.tree, function).or(sized.map(|(bar, _)| bar))
    }

    /// Lets clients find the memory of `function`, or not.
    pub fn publish(&mut self, function: pci::FunctionIndex, publish: bool) {
        self.p2pdma.publish(self.booted.tree[function].id, publish);
    }

    /// The published provider nearest to `client`.
    pub fn nearest(
        &mut self,
        client: pci::FunctionIndex,
        random: &mut impl FnMut() -> u32,
    ) -> Option<pci::FunctionIndex> {
        let booted = self.booted;
        self.p2pdma.find_many(&booted.tree, &booted.registers, &[Client::Function(client)], random)
    }

    /// Whether `client` can reach memory of `provider`.
    pub fn supported(&mut self, provider: pci::FunctionIndex, client: pci::FunctionIndex) -> bool {
        let booted = self.booted;
        let client = Client::Function(client);
        self.p2pdma.distance(&booted.tree, &booted.registers, provider, client, false).is_some()
    }

    /// True when `function` has memory that was registered.
    pub fn provides(&self, function: pci::FunctionIndex) -> bool {
        self.levels.contains_key(&function.0)
    }

    /// True when clients can find the memory of `function`.
    pub fn is_published(&self, function: pci::FunctionIndex) -> bool {
        self.p2pdma.is_published(self.booted.tree[function].id)
    }

    /// Memory for a driver.
    pub fn alloc(
        &mut self,
        provider: pci::FunctionIndex,
        (client, size): (usize, Bytes),
        now: Picos,
    ) -> Result<Memory, NoMemory> {
        let id = self.booted.tree[provider].id;
        let address = self.p2pdma.alloc(id, size).map_err(NoMemory::Driver)?;
        Ok(self.taken(provider, (client, size), address, now))
    }

    /// A driver has taken memory.
    pub(super) fn taken(
        &mut self,
        provider: pci::FunctionIndex,
        (client, size): (usize, Bytes),
        address: CpuAddr,
        now: Picos,
    ) -> Memory {
        let rounded = self.rounded(size);
        self.note(provider, now, |level| {
            level.take(client, rounded, rounded.saturating_sub(size));
            level.allocations += 1;
        });
        Memory { provider, client, address, size, mapping: None }
    }

    /// Memory for a process: whole pages, each of which is given back on its own. They are pinned, as direct I/O does.
    pub fn map(
        &mut self,
        provider: pci::FunctionIndex,
        (client, size): (usize, Bytes),
        now: Picos,
    ) -> Result<Memory, NoMemory> {
        let id = self.booted.tree[provider].id;
        let pages = size.0.div_ceil(self.p2pdma.page_size().0);
        let request = MapRequest { may_share: true, page_offset: 0, pages };
        let mapping = self.p2pdma.map(id, request, &mut |_| Ok(())).map_err(NoMemory::Process)?;
        let shown: Vec<CpuAddr> = self.p2pdma.mapped_pages(mapping).iter().copied().flatten().collect();
        for page in &shown {
            self.p2pdma.get_page(*page);
        }
        let taken = self.rounded(size);
        self.note(provider, now, |level| {
            level.take(client, taken, Bytes::ZERO);
            level.allocations += pages;
        });
        let address = shown.first().copied().unwrap_or(CpuAddr(0));
        Ok(Memory { provider, client, address, size, mapping: Some((mapping, shown.len())) })
    }

    /// The I/O on the pages of a process is over.
    pub fn unpin(&mut self, memory: &Memory) -> Result<(), MemoryBug> {
        let Some((mapping, _)) = memory.mapping else { return Ok(()) };
        let shown: Vec<CpuAddr> = self.p2pdma.mapped_pages(mapping).iter().copied().flatten().collect();
        shown.into_iter().try_for_each(|page| self.p2pdma.put_page(page))
    }

    /// A driver gives memory back.
    pub fn free(&mut self, memory: &Memory, now: Picos) -> Result<(), MemoryBug> {
        self.p2pdma.free(self.booted.tree[memory.provider].id, memory.address, memory.size)?;
        let rounded = self.rounded(memory.size);
        self.note(memory.provider, now, |level| {
            level.give_back(memory.client, rounded, rounded.saturating_sub(memory.size));
            level.allocations -= 1;
        });
        Ok(())
    }

    /// A process unmaps page number `page` of its mapping.
    pub fn unmap_page(&mut self, memory: &Memory, page: usize, now: Picos) -> Result<(), MemoryBug> {
        let Some((mapping, _)) = memory.mapping else { return Ok(()) };
        self.p2pdma.unmap(mapping, page, 1)?;
        let page = self.p2pdma.page_size();
        self.note(memory.provider, now, |level| {
            level.give_back(memory.client, page, Bytes::ZERO);
            level.allocations -= 1;
        });
        Ok(())
    }

    /// Maps memory for `client` while data move. The whole of an allocation lies in one registration, so it has one
    /// address.
    pub fn map_dma(
        &mut self,
        memory: &Memory,
        client: pci::FunctionIndex,
        (dma, tables): (&mut Dma, &mut dyn IommuTables),
        now: Picos,
    ) -> Result<Mapping, iommu::MapError> {
        let provider = self.p2pdma.provider_of(memory.address);
        let provider = provider.ok_or(iommu::MapError::Dma(DmaError::Invalid))?;
        let page = self.p2pdma.page_size().0;
        let pages = |(_, pages): (MappingId, usize)| u64::try_from(pages).unwrap_or(u64::MAX);
        let length = memory.mapping.map_or(memory.size, |mapping| Bytes(pages(mapping).saturating_mul(page)));
        let pieces = iommu::pieces(memory.address, length);
        let list: Vec<_> = pieces.map(|(at, length)| dma::Memory::peer(provider, at, length)).collect();
        let (tree, config) = (&self.booted.tree, &self.booted.registers);
        let mut peers = Peers { p2pdma: &mut self.p2pdma, tree, config };
        iommu::map_list(dma, tables, client, &list, &mut peers, now)
    }

    /// Bytes that a request of `size` takes from a pool.
    pub fn rounded(&self, size: Bytes) -> Bytes {
        Bytes(size.0.next_multiple_of(self.p2pdma.page_size().0))
    }

    /// The largest of the ranges that `function` has registered.
    pub fn largest_chunk(&self, function: pci::FunctionIndex) -> Bytes {
        let id = self.booted.tree[function].id;
        let own = self.p2pdma.page_maps().iter().filter(|map| map.function == id);
        own.map(|map| map.range.size()).max().unwrap_or_default()
    }

    /// How full the pool of `function` is; `None` when it registered nothing.
    pub fn level(&self, function: pci::FunctionIndex) -> Option<&Level> {
        self.levels.get(&function.0)
    }

    /// Lets all levels last until `now`.
    pub fn advance(&mut self, now: Picos) {
        self.levels.values_mut().for_each(|level| level.advance(now));
    }

    fn largest_hole(&self, function: pci::FunctionIndex) -> Bytes {
        let pool = self.p2pdma.pool(self.booted.tree[function].id);
        pool.map_or(Bytes::ZERO, peerbus_os::pool::Pool::largest_free)
    }

    /// Something of the pool of `function` changed at `now`.
    fn note(&mut self, function: pci::FunctionIndex, now: Picos, change: impl FnOnce(&mut Level)) {
        let available = self.p2pdma.available(self.booted.tree[function].id);
        let hole = self.largest_hole(function);
        if let Some(level) = self.levels.get_mut(&function.0) {
            level.advance(now);
            change(level);
            level.set(available, hole, level.allocations);
        }
    }
}

/// The memory buffer that a drive's registers describe, where `provider` leaves it to them which memory is meant.
fn own_buffer(machine: &Machine, device: usize, provider: &Provider) -> Option<MemoryBufferRegisters> {
    let buffer = machine.devices[device].part.nvme?.memory_buffer?;
    let MemoryBufferPart { bar, offset, size, read_data, write_data } = buffer;
    let left = provider.bar.is_none() && provider.size.is_none() && provider.offset == Bytes::ZERO;
    MemoryBufferRegisters::new(bar, offset, size, read_data, write_data).filter(|_| left)
}

fn algorithm(policy: Policy) -> Algorithm {
    match policy {
        Policy::FirstFit => Algorithm::FirstFit,
        Policy::BestFit => Algorithm::BestFit,
        Policy::OrderAlign => Algorithm::OrderAlign,
        Policy::Align(align) => Algorithm::FirstFitAlign { align: align.0 },
    }
}
