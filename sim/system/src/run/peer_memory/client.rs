//! What a client draws and holds.

use peerbus_engine::Stream;
use peerbus_os::drivers::nvme_target::OrdinaryMemory;
use peerbus_os::pci;
use peerbus_units::{Bytes, Picos};

use super::plan::ClientPlan;
use super::pools::Memory;
use crate::peer_memory::{PeerMemory, Sampler};

/// A request before it is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// When the client was ready to make it.
    pub since: Picos,
    /// Bytes.
    pub size: Bytes,
    /// How long the memory is kept when all is done.
    pub lifetime: Picos,
}

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holding {
    /// The request.
    pub request: Request,
    /// The provider that was asked, or that the data are meant for, by index in the machine; it takes part in a staged
    /// transfer.
    pub provider: Option<usize>,
    /// Peer memory; `None` for host memory.
    pub memory: Option<Memory>,
    /// DMA address of the first byte.
    pub dma: u64,
    /// Steps of the transfer that are done.
    pub step: usize,
    /// Pages of a process that are still mapped.
    pub pages_left: usize,
}

/// Draws for one client. Requests and pages have streams of their own, as the search for providers has, so that none
/// depends on how often another drew.
#[derive(Clone, Debug)]
struct Draws {
    sizes: Sampler<Bytes>,
    lifetimes: Sampler<Picos>,
    intervals: Sampler<Picos>,
    requests: Stream,
    pages: Stream,
    search: Stream,
}

/// A client under way.
#[derive(Clone, Debug)]
pub struct ClientRun {
    /// As planned.
    pub plan: ClientPlan,
    /// Requests it has still to draw.
    left: u64,
    /// Size and lifetime of the next request, drawn already.
    next: Option<(Bytes, Picos)>,
    /// A request that waits for a slot.
    pub waiting: Option<Request>,
    /// What it holds.
    pub slots: Vec<Option<Holding>>,
    /// Slots that are free; the last one is used next.
    free: Vec<usize>,
    /// Which provider is next in order.
    pub turn: usize,
    /// The provider found when it started, where it looks only once; the inner one is absent where there was none.
    pub found: Option<Option<pci::FunctionIndex>>,
    /// The provider of its controller, once a target has looked for it, or why there is none.
    pub controller: Option<Result<pci::FunctionIndex, OrdinaryMemory>>,
    draws: Draws,
}

/// Streams of a run are numbered; those of clients begin here, far above what numbers entities of the machine.
const FIRST_STREAM: u64 = 1 << 48;

impl ClientRun {
    /// Client number `client` of workload number `workload`; `None` when a distribution cannot be drawn from.
    pub fn new(
        spec: &PeerMemory,
        plan: &ClientPlan,
        seed: u64,
        (workload, client): (usize, usize),
    ) -> Option<ClientRun> {
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let stream = |purpose: u64| {
            let entity = FIRST_STREAM | (number(workload) << 32) | (number(client) << 2) | purpose;
            Stream::new(seed, entity)
        };
        let slots = usize::try_from(spec.outstanding).unwrap_or(usize::MAX);
        Some(ClientRun {
            plan: plan.clone(),
            left: spec.requests,
            next: None,
            waiting: None,
            slots: vec![None; slots],
            free: (0..slots).rev().collect(),
            turn: client,
            found: None,
            controller: None,
            draws: Draws {
                sizes: Sampler::new(&spec.sizes)?,
                lifetimes: Sampler::new(&spec.lifetimes)?,
                intervals: Sampler::new(&spec.intervals)?,
                requests: stream(0),
                pages: stream(1),
                search: stream(2),
            },
        })
    }

    /// Draws the next request and says after which time it comes; `None` when all were made.
    pub fn draw(&mut self) -> Option<Picos> {
        self.left = self.left.checked_sub(1)?;
        let draws = &mut self.draws;
        let interval = draws.intervals.draw(&mut draws.requests);
        let size = draws.sizes.draw(&mut draws.requests).max(Bytes(1));
        let lifetime = draws.lifetimes.draw(&mut draws.requests);
        self.next = Some((size, lifetime));
        Some(interval)
    }

    /// The request that was drawn, made at `now`.
    pub fn make(&mut self, now: Picos) -> Option<Request> {
        self.next.take().map(|(size, lifetime)| Request { since: now, size, lifetime })
    }

    /// How long a process keeps a page.
    pub fn page_lifetime(&mut self) -> Picos {
        let draws = &mut self.draws;
        draws.lifetimes.draw(&mut draws.pages)
    }

    /// A number for choosing among equal providers.
    pub fn search_number(&mut self) -> u32 {
        u32::try_from(self.draws.search.bits() >> 32).unwrap_or(u32::MAX)
    }

    /// Takes a free slot.
    pub fn take_slot(&mut self) -> Option<usize> {
        self.free.pop()
    }

    /// A slot is empty again.
    pub fn give_slot(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.free.push(slot);
    }

    /// True when a slot is free.
    pub fn has_slot(&self) -> bool {
        !self.free.is_empty()
    }

    /// True when it has made all requests and holds nothing.
    pub fn is_done(&self) -> bool {
        self.left == 0 && self.next.is_none() && self.waiting.is_none() && self.free.len() == self.slots.len()
    }
}
