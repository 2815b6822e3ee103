//! Registering BAR memory, and what happens when the driver goes.

use core::fmt;

use peerbus_units::{Address, BusAddr, Bytes, CpuAddr, FunctionId, Range};

use super::page_map::PhysicalMemory;
use super::providers::memory_bar;
use super::{InitError, MemoryBug, Message, P2pdma};
use crate::pagemap::NoPageMap;
use crate::pci::{FunctionIndex, ResourceRef, Tree};
use crate::pool::Pool;

/// Why memory was not registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegisterError {
    /// The BAR is not memory, or does not exist (`EINVAL`).
    NotMemory,
    /// The BAR has no address (`EINVAL`). A driver could not have enabled the function.
    NoAddress,
    /// The offset is at or beyond the end of the BAR (`EINVAL`).
    OffsetBeyondBar,
    /// Offset and size together exceed the BAR (`EINVAL`).
    SizeBeyondBar,
    /// The function got no state.
    Init(InitError),
    /// The range got no pages.
    Pages(NoPageMap),
}

impl RegisterError {
    /// The kernel's name of the error.
    pub const fn errno(self) -> &'static str {
        match self {
            RegisterError::NotMemory
            | RegisterError::NoAddress
            | RegisterError::OffsetBeyondBar
            | RegisterError::SizeBeyondBar => "EINVAL",
            RegisterError::Init(error) => error.errno(),
            RegisterError::Pages(error) => error.errno(),
        }
    }
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegisterError::NotMemory => f.write_str("the BAR is not memory (EINVAL)"),
            RegisterError::NoAddress => f.write_str("the BAR has no address (EINVAL)"),
            RegisterError::OffsetBeyondBar => f.write_str("the offset is beyond the BAR (EINVAL)"),
            RegisterError::SizeBeyondBar => f.write_str("the memory ends beyond the BAR (EINVAL)"),
            RegisterError::Init(error) => error.fmt(f),
            RegisterError::Pages(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for RegisterError {}

/// How far unbinding got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unbind {
    /// All is gone.
    Done,
    /// A registered range is still referenced; call again when it is not.
    Wait {
        /// That range. It gives no more memory; ranges registered before it still do.
        range: Range<CpuAddr>,
        /// How many allocations and pages in use hold it.
        references: u64,
    },
}

impl P2pdma {
    /// Makes `size` bytes (0: all the rest) at `offset` of BAR `bar` of `function` peer memory: the kernel's
    /// `pci_p2pdma_add_resource`. Returns the range, which becomes a chunk of the function's pool.
    ///
    /// A range refused for its pages leaves the function's state behind.
    pub fn add_resource(
        &mut self,
        tree: &Tree,
        memory: &PhysicalMemory<'_>,
        function: FunctionIndex,
        bar: usize,
        size: Bytes,
        offset: Bytes,
    ) -> Result<Range<CpuAddr>, RegisterError> {
        let range = requested(tree, function, bar, size, offset)?;
        self.ensure_state(tree, function).map_err(RegisterError::Init)?;
        let id = tree[function].id;
        let known = self.functions.get(&id).and_then(|state| state.bars[bar]);
        let provider = known.unwrap_or_else(|| self.add_provider(tree, function, bar));
        let (rules, page) = (self.rules.pagemap, self.page_size());
        let map = match self.page_maps.add(&rules, memory, page, range, id, provider) {
            Ok(map) => map,
            Err(error) => {
                if known.is_none() {
                    self.providers.remove(&provider);
                }
                return Err(RegisterError::Pages(error));
            }
        };
        // As it is now, even where the provider's bus offset is older.
        let bus = tree.bus_address(ResourceRef { function, number: bar }).map_or(0, |bus| bus.0);
        let user_mappings = self.rules().user_mappings;
        let order = self.page_order;
        if let Some(state) = self.functions.get_mut(&id) {
            if state.pool.is_none() {
                state.pool = Pool::new(order);
            }
            if let Some(pool) = &mut state.pool {
                pool.add(range.first(), BusAddr(bus.wrapping_add(offset.0)), range.size(), map);
            }
            state.maps.push(map);
            state.allocate_file = user_mappings;
        }
        self.log.push(Message::Added { function: id, range });
        Ok(range)
    }

    /// The driver of `function` is unbound: registrations go in reverse order, each after its last reference, then
    /// the state. Before a registration goes, user space loses its mappings.
    ///
    /// Returns a bug when memory is still allocated although nothing references it, as after a partial free.
    pub fn unbind(&mut self, function: FunctionId) -> Result<Unbind, MemoryBug> {
        while let Some(map) = self.functions.get(&function).and_then(|state| state.maps.last().copied()) {
            self.remove_allocate_file(function)?;
            let provider = self.page_maps.get(map).map(|map| (map.range, map.provider));
            if !self.page_maps.kill(map) {
                let map = self.page_maps.get(map);
                let wait = map.map(|map| Unbind::Wait { range: map.range, references: map.references });
                return Ok(wait.unwrap_or(Unbind::Done));
            }
            if let Some(state) = self.functions.get_mut(&function) {
                state.maps.pop();
            }
            if let Some((_, provider)) = provider.filter(|_| !self.rules().bars_are_providers) {
                self.providers.remove(&provider);
            }
        }
        let Some(state) = self.functions.remove(&function) else { return Ok(Unbind::Done) };
        state.bars.iter().flatten().for_each(|provider| {
            self.providers.remove(provider);
        });
        state.pool.map_or(Ok(()), Pool::destroy)?;
        Ok(Unbind::Done)
    }

    /// Unmaps what user space has mapped and forbids more.
    fn remove_allocate_file(&mut self, function: FunctionId) -> Result<(), MemoryBug> {
        let state = self.functions.get_mut(&function);
        let had = state.is_some_and(|state| core::mem::take(&mut state.allocate_file));
        if had { self.unmap_all(function) } else { Ok(()) }
    }
}

/// The CPU addresses asked for, checked against the BAR.
fn requested(
    tree: &Tree,
    function: FunctionIndex,
    bar: usize,
    size: Bytes,
    offset: Bytes,
) -> Result<Range<CpuAddr>, RegisterError> {
    let resource = memory_bar(tree, function, bar).ok_or(RegisterError::NotMemory)?;
    let whole = resource.range().ok_or(RegisterError::NoAddress)?;
    if offset >= whole.size() {
        return Err(RegisterError::OffsetBeyondBar);
    }
    let size = if size == Bytes::ZERO { whole.size() - offset } else { size };
    let range = whole
        .first()
        .checked_add(offset.0)
        .and_then(|first| Range::sized(first, size))
        .filter(|range| whole.covers(*range));
    range.ok_or(RegisterError::SizeBeyondBar)
}
