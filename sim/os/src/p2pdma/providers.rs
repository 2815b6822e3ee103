//! [`P2pdma`]: what the peer-to-peer code remembers, and which memory functions provide.
//!
//! A function has *state* from its first registration (7.x: its first initialisation) until its driver is unbound:
//! a pool, the published flag, and a cache of map types. Who answers for a page is its *provider*: in 6.x the
//! registration it belongs to, in 7.x the BAR. A provider's bus offset is fixed when the provider comes to be.
//!
//! Pool addresses are CPU physical ones. The kernel's are virtual, of its linear mapping: another name of the same
//! bytes, at a constant distance.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

use peerbus_units::{BusAddr, Bytes, CpuAddr, FunctionId};

use super::page_map::PageMaps;
use super::user_map::UserPages;
use super::{CpuIdentity, MapType, Message, P2pdmaRules};
use crate::Rules;
use crate::dma::ProviderId;
use crate::pagemap::PageMapId;
use crate::pci::{FunctionIndex, Resource, ResourceRef, Tree};
use crate::pool::Pool;

/// Number of BARs of a function.
pub(super) const BARS: usize = 6;

/// Memory of one function: addresses as the CPU and as the bus below its host bridge knows them.
pub(super) type MemoryPool = Pool<CpuAddr, BusAddr, PageMapId>;

/// Who answers for pages: a registration or a BAR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Provider {
    /// The function.
    pub function: FunctionId,
    /// Its BAR.
    pub bar: usize,
    /// Bus address − CPU address, modulo 2^64.
    pub bus_offset: u64,
}

/// What is known about one function.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct State {
    pub pool: Option<MemoryPool>,
    pub published: bool,
    /// By client. Never emptied, only overwritten: who later answers at a client's place inherits its type.
    pub types: BTreeMap<FunctionId, MapType>,
    /// Per BAR, where BARs are providers.
    pub bars: [Option<ProviderId>; BARS],
    /// Registrations, oldest first.
    pub maps: Vec<PageMapId>,
    /// User space can map memory: from the first registration until unbinding begins.
    pub allocate_file: bool,
}

/// Why a function got no state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InitError {
    /// The CPU cannot map its BARs (`EOPNOTSUPP`).
    NotMappable,
    /// This kernel knows no providers without registration.
    NoProviders,
}

impl InitError {
    /// The kernel's name of the error; empty where there is no such call.
    pub const fn errno(self) -> &'static str {
        match self {
            InitError::NotMappable => "EOPNOTSUPP",
            InitError::NoProviders => "",
        }
    }
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InitError::NotMappable => "the CPU cannot map the function's BARs (EOPNOTSUPP)",
            InitError::NoProviders => "this kernel has no providers without registered memory",
        })
    }
}

impl core::error::Error for InitError {}

/// The kernel's peer-to-peer memory: one for a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct P2pdma {
    pub(super) rules: Rules,
    pub(super) cpu: CpuIdentity,
    /// Logarithm of the page size; the granule of all pools.
    pub(super) page_order: u32,
    pub(super) functions: BTreeMap<FunctionId, State>,
    pub(super) providers: BTreeMap<ProviderId, Provider>,
    next_provider: u32,
    pub(super) page_maps: PageMaps,
    pub(super) user_pages: UserPages,
    not_mappable: BTreeSet<FunctionId>,
    pub(super) log: Vec<Message>,
}

impl P2pdma {
    /// Nothing registered, on a kernel with pages of 4 KiB.
    pub fn new(rules: &Rules, cpu: &CpuIdentity) -> P2pdma {
        P2pdma {
            rules: *rules,
            cpu: *cpu,
            page_order: 12,
            functions: BTreeMap::new(),
            providers: BTreeMap::new(),
            next_provider: 0,
            page_maps: PageMaps::default(),
            user_pages: UserPages::default(),
            not_mappable: BTreeSet::new(),
            log: Vec::new(),
        }
    }

    /// The same on a kernel with pages of 64 KiB.
    pub fn with_pages_of_64_kib(self) -> P2pdma {
        P2pdma { page_order: 16, ..self }
    }

    /// Bytes of a page.
    pub fn page_size(&self) -> Bytes {
        Bytes(1 << self.page_order)
    }

    /// What this kernel's peer-to-peer code does differently.
    pub fn rules(&self) -> &P2pdmaRules {
        &self.rules.p2pdma
    }

    /// Everything logged since the last call, in order.
    pub fn take_log(&mut self) -> Vec<Message> {
        core::mem::take(&mut self.log)
    }

    /// Marks a function whose BARs the CPU cannot map, as a quirk does. Counts in kernels with providers per BAR.
    pub fn set_not_mappable(&mut self, function: FunctionId) {
        self.not_mappable.insert(function);
    }

    /// Makes every memory BAR of `function` a provider: the kernel's `pcim_p2pdma_init`. The second time it does
    /// nothing, so bus offsets stay those of the first.
    pub fn init(&mut self, tree: &Tree, function: FunctionIndex) -> Result<(), InitError> {
        if !self.rules().bars_are_providers {
            return Err(InitError::NoProviders);
        }
        self.ensure_state(tree, function)
    }

    /// State for `function`, as a registration needs it.
    pub(super) fn ensure_state(&mut self, tree: &Tree, function: FunctionIndex) -> Result<(), InitError> {
        let id = tree[function].id;
        if self.rules().bars_are_providers && self.not_mappable.contains(&id) {
            return Err(InitError::NotMappable);
        }
        if self.functions.contains_key(&id) {
            return Ok(());
        }
        let mut state = State::default();
        if self.rules().bars_are_providers {
            for (bar, provider) in state.bars.iter_mut().enumerate() {
                if memory_bar(tree, function, bar).is_some() {
                    *provider = Some(self.add_provider(tree, function, bar));
                }
            }
        }
        if !self.rules().pool_is_lazy {
            state.pool = Pool::new(self.page_order);
        }
        self.functions.insert(id, state);
        Ok(())
    }

    pub(super) fn add_provider(&mut self, tree: &Tree, function: FunctionIndex, bar: usize) -> ProviderId {
        let id = ProviderId(self.next_provider);
        self.next_provider += 1;
        let bus_offset = bus_offset(tree, function, bar);
        self.providers.insert(id, Provider { function: tree[function].id, bar, bus_offset });
        id
    }

    /// The provider of a BAR: the kernel's `pcim_p2pdma_provider`. None for other than memory BARs, for functions
    /// whose BARs cannot be mapped, and, with a warning, before [`P2pdma::init`].
    pub fn bar_provider(&mut self, tree: &Tree, function: FunctionIndex, bar: usize) -> Option<ProviderId> {
        let id = tree[function].id;
        memory_bar(tree, function, bar)?;
        if !self.rules().bars_are_providers || self.not_mappable.contains(&id) {
            return None;
        }
        match self.functions.get(&id) {
            Some(state) => state.bars[bar],
            None => {
                self.log.push(Message::ProviderBeforeInit { function: id });
                None
            }
        }
    }

    /// What is known about a provider while it exists.
    pub fn provider(&self, provider: ProviderId) -> Option<&Provider> {
        self.providers.get(&provider)
    }

    /// Registered ranges, of all functions.
    pub fn page_maps(&self) -> &PageMaps {
        &self.page_maps
    }

    /// True when `function` has state.
    pub fn has_state(&self, function: FunctionId) -> bool {
        self.functions.contains_key(&function)
    }

    /// Sets whether automatic search finds the function; nothing happens without state.
    pub fn publish(&mut self, function: FunctionId, publish: bool) {
        if let Some(state) = self.functions.get_mut(&function) {
            state.published = publish;
        }
    }

    /// The kernel's `pci_has_p2pmem`: state, and published.
    pub fn is_published(&self, function: FunctionId) -> bool {
        self.functions.get(&function).is_some_and(|state| state.published)
    }
}

/// BAR `bar`, if it is memory.
pub(super) fn memory_bar(tree: &Tree, function: FunctionIndex, bar: usize) -> Option<&Resource> {
    tree[function].resources.iter().take(BARS).nth(bar).filter(|resource| resource.flags.is_mem())
}

/// Bus address − CPU address of a BAR as its host bridge has it now, modulo 2^64; 0 for a BAR without address.
fn bus_offset(tree: &Tree, function: FunctionIndex, bar: usize) -> u64 {
    let at = ResourceRef { function, number: bar };
    let (bus, cpu) = (tree.bus_address(at), tree.resource(at).range());
    bus.zip(cpu).map_or(0, |(bus, cpu)| bus.0.wrapping_sub(cpu.first().0))
}
