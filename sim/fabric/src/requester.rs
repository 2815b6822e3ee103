//! DMA engines: descriptors in, requests out.
//!
//! A device has a writer and a reader. An engine takes any number of descriptors and serves flows one request
//! at a time, each as often as the others but in no fixed order, and the descriptors of one flow in order. A request never crosses a 4 KiB boundary (Base Specification), the edge of a decoded window,
//! the boundary of its engine (a cache line, for a core), or its limit: MPS for a write, MRRS for a read. A reader keeps one tag per outstanding request.

use std::collections::VecDeque;

use peerbus_units::{Bytes, DmaAddr, Picos};

use crate::cursor::AddressKind;
use crate::path::Decoded;
use crate::run::Fabric;
use crate::spec::{EngineId, EngineSpec, FlowId, LinkId};
use crate::tlp::{Attributes, Class, Status, Tlp};

/// Which way a descriptor moves data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the device's own memory to the address.
    Write,
    /// From the address to the device's own memory.
    Read,
}

impl Direction {
    /// Kind of its requests.
    pub(crate) fn class(self) -> Class {
        match self {
            Direction::Write => Class::Posted,
            Direction::Read => Class::NonPosted,
        }
    }
}

/// A contiguous DMA transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// The engine that does it.
    pub engine: EngineId,
    /// First address, as software gave it.
    pub addr: DmaAddr,
    /// Length; more than 0.
    pub bytes: Bytes,
    /// The flow it is counted for.
    pub flow: FlowId,
    /// Comes back in the upcall.
    pub token: u64,
    /// Attributes of its requests, which their completions repeat.
    pub attributes: Attributes,
    /// Time that software takes before the engine knows of it.
    pub software: Picos,
    /// Tell by [`crate::Upcall::Issued`] when its last request has been sent.
    pub tell_issued: bool,
}

impl Descriptor {
    /// A descriptor without attributes, which its engine knows of at once.
    pub fn new(engine: EngineId, addr: DmaAddr, bytes: Bytes, flow: FlowId, token: u64) -> Descriptor {
        let (attributes, software) = (Attributes::NONE, Picos::ZERO);
        Descriptor { engine, addr, bytes, flow, token, attributes, software, tell_issued: false }
    }
}

/// A descriptor under way: what is still to be issued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Active {
    /// Number in the table of descriptors.
    pub descriptor: u16,
    pub flow: u16,
    pub addr: u64,
    pub left: u64,
    /// The engine knows of it then.
    pub known: u64,
    /// The first request may be issued then.
    pub ready: u64,
    /// Its next request has been possible since then, as far as other requests of its flow are concerned.
    pub since: u64,
    /// As in [`crate::store::Queued`], noted at `since`.
    pub starved: u64,
    /// The translation of its next address is known since then; 0 when that was never waited for.
    pub translated: u64,
    pub attributes: Attributes,
    pub decoded: Option<Decoded>,
}

/// A read request that waits for completions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outstanding {
    pub descriptor: u16,
    pub flow: u16,
    pub left: u32,
    /// When it was issued.
    pub issued: u64,
}

/// State of an engine.
#[derive(Clone, Debug)]
pub(crate) struct EngineState {
    /// Its device translates addresses before they are sent.
    pub translates: bool,
    /// Earliest time of the next request, by the engine's rate.
    pub next_issue: u64,
    remainder: u64,
    /// Length of the last request, its whole picoseconds, and what is left of them in units of 1 / bytes of the rate.
    last_length: u64,
    last_time: (u64, u64),
    /// At most one descriptor per flow: those of a flow are served in order.
    pub active: Vec<Active>,
    waiting: VecDeque<Active>,
    pub turn: usize,
    pub tags: Vec<Outstanding>,
    free_tags: Vec<u16>,
    /// When a tag last became free after there had been none.
    pub tags_back: u64,
    /// When write buffers that are taken become free, in order.
    pub buffers: VecDeque<u64>,
    /// A store fence ends then.
    fenced_until: u64,
}

/// What an engine would send next.
pub(crate) enum Offer {
    /// Nothing until that time.
    At(u64),
    /// Nothing until a completion arrives or a descriptor is given.
    Nothing,
    /// A request of that class and length.
    Ready { class: Class, length: u64 },
}

impl EngineState {
    pub fn new(spec: &EngineSpec, translates: bool) -> EngineState {
        EngineState {
            translates,
            next_issue: 0,
            remainder: 0,
            last_length: 0,
            last_time: (0, 0),
            active: Vec::new(),
            waiting: VecDeque::new(),
            turn: 0,
            tags: vec![Outstanding::default(); usize::from(spec.tags)],
            // Popped from the end: tag 0 is used first.
            free_tags: (0..spec.tags).rev().collect(),
            tags_back: 0,
            buffers: VecDeque::new(),
            fenced_until: 0,
        }
    }

    /// Read requests that wait for completions.
    pub fn outstanding(&self) -> usize {
        self.tags.len() - self.free_tags.len()
    }

    /// Decodes every descriptor anew before its next request.
    pub fn forget_routes(&mut self) {
        self.active.iter_mut().chain(&mut self.waiting).for_each(|active| active.decoded = None);
    }

    /// Nothing more is issued before `until`.
    pub fn fence(&mut self, until: u64) {
        self.fenced_until = until;
        self.active.iter_mut().for_each(|active| active.ready = active.ready.max(until));
    }

    pub fn has_free_tag(&self) -> bool {
        !self.free_tags.is_empty()
    }

    /// Gives a tag back.
    pub fn free_tag(&mut self, tag: u16, now: u64) {
        if self.free_tags.is_empty() {
            self.tags_back = now;
        }
        self.free_tags.push(tag);
    }

    /// Forgets everything that is not done: descriptor, flow and bytes of what that was.
    pub fn forget_work(&mut self, now: u64) -> Vec<(u16, u16, u64)> {
        let given = self.active.drain(..).chain(self.waiting.drain(..));
        let mut forgotten: Vec<_> =
            given.map(|active| (active.descriptor, active.flow, active.left)).collect();
        for tag in 0..self.tags.len() {
            let left = std::mem::take(&mut self.tags[tag].left);
            if left > 0 {
                forgotten.push((self.tags[tag].descriptor, self.tags[tag].flow, u64::from(left)));
                self.free_tag(u16::try_from(tag).expect("tags are numbered in 16 bits"), now);
            }
        }
        self.turn = 0;
        forgotten
    }

    fn add(&mut self, new: Active) {
        if self.active.iter().any(|active| active.flow == new.flow) {
            self.waiting.push_back(new);
        } else {
            self.active.push(new);
        }
    }

    /// The descriptor at `turn` has issued its last request now: the flow's next one takes its place.
    fn retire(&mut self, turn: usize, now: u64, starved: u64) {
        let flow = self.active[turn].flow;
        match self.waiting.iter().position(|waiting| waiting.flow == flow) {
            Some(next) => {
                let next = self.waiting.remove(next).expect("position was found");
                self.active[turn] = Active { since: now, starved, ..next };
                self.turn = turn + 1;
            }
            None => {
                self.active.remove(turn);
                self.turn = turn;
            }
        }
    }
}

/// Whose turn it is after request number `request` of `engine`. Processors and copy engines of a device work side by side and
/// send in no fixed order; a fixed one would let devices that begin together fall into step, and never meet where they would.
#[inline]
fn draw(engine: EngineId, request: u64, flows: usize) -> usize {
    if flows < 2 {
        return 0;
    }
    // A fold of both numbers that leaves no pattern (the finaliser of splitmix64), then its upper half as a share of `flows`.
    let mut mixed = (u64::from(engine.0) << 40 ^ request).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    let share = (mixed >> 32) * u64::try_from(flows).unwrap_or(u64::MAX);
    usize::try_from(share >> 32).unwrap_or(0)
}

impl Fabric {
    /// Gives an engine work. The end is told by [`crate::Upcall::Done`].
    pub fn submit(&mut self, descriptor: Descriptor) {
        assert!(descriptor.bytes.0 > 0, "a transfer of no bytes never ends");
        let number = self.descriptors.open(&descriptor, self.state.now);
        let flow = &mut self.ledger.flows[usize::from(descriptor.flow.0)];
        flow.asked += descriptor.bytes.0;
        flow.engine = Some(descriptor.engine);
        flow.first.get_or_insert(self.state.now);
        let spec = &self.spec.engines[descriptor.engine.at()];
        if spec.link.is_none() {
            self.account(number, descriptor.flow.0, descriptor.bytes.0, false, self.state.now);
            return;
        }
        if let Some(down) = self.is_cut_off(spec.node) {
            self.abandon(down, number, descriptor.flow.0, descriptor.bytes.0);
            return;
        }
        let leaving = self.bytes_that_leave(&descriptor).0;
        if leaving < descriptor.bytes.0 {
            self.account(number, descriptor.flow.0, descriptor.bytes.0 - leaving, false, self.state.now);
            if leaving == 0 {
                return;
            }
        }
        let spec = &self.spec.engines[descriptor.engine.at()];
        let class = spec.direction.class();
        let attributes = descriptor.attributes.permitted_by(spec.permits);
        let passes = attributes.has(Attributes::RELAXED) || attributes.has(Attributes::ID_BASED);
        self.reorders |= passes && class == Class::Posted;
        let known = self.state.now + descriptor.software.0;
        let fenced = self.state.engines[descriptor.engine.at()].fenced_until;
        let ready = (known + spec.request_latency.0).max(fenced);
        let copied = spec.handling.is_some() && class == Class::Posted;
        let active = Active {
            descriptor: number,
            flow: descriptor.flow.0,
            addr: descriptor.addr.0,
            left: leaving,
            known,
            ready,
            since: self.state.now,
            starved: 0,
            translated: 0,
            attributes,
            decoded: None,
        };
        if copied {
            self.copy_for_write(descriptor.engine, active);
        } else {
            self.begin_descriptor(descriptor.engine, active);
        }
    }

    /// Gives an engine a descriptor whose requests can be sent from `active.ready` on.
    pub(crate) fn begin_descriptor(&mut self, engine: EngineId, active: Active) {
        let EngineSpec { link, source, direction, node, .. } = self.spec.engines[engine.at()];
        if let Some(down) = self.is_cut_off(node) {
            self.abandon(down, active.descriptor, active.flow, active.left);
            return;
        }
        let Some(link) = link else { return };
        let class = direction.class();
        let starved = self.starved(link, class);
        self.state.engines[engine.at()].add(Active { starved, ..active });
        self.state.links[link.at()].waiting[class.at()] |= 1 << source;
        self.wake(link, active.ready);
    }

    /// What `engine` would send now, with the route of the request decoded and its turn chosen.
    pub(crate) fn offer(&mut self, engine: EngineId) -> Offer {
        let now = self.state.now;
        let writer = self.is_writer(engine);
        let state = &mut self.state.engines[engine.at()];
        if state.active.is_empty() || (!writer && state.free_tags.is_empty()) {
            return Offer::Nothing;
        }
        if state.next_issue > now {
            return Offer::At(state.next_issue);
        }
        if state.turn >= state.active.len() {
            state.turn = 0;
        }
        if state.active[state.turn].ready > now {
            // Descriptors become ready in the order they were given: find one that is, or the first to be.
            match state.active.iter().position(|active| active.ready <= now) {
                Some(ready) => state.turn = ready,
                None => {
                    return Offer::At(state.active.iter().map(|active| active.ready).min().unwrap_or(now));
                }
            }
        }
        if state.translates
            && let Some(wait) = self.turn_to_translated(engine)
        {
            return wait;
        }
        let class = if writer { Class::Posted } else { Class::NonPosted };
        Offer::Ready { class, length: self.request_length(engine) }
    }

    /// Length of the next request of the descriptor whose turn it is; decodes its address if needed.
    #[inline]
    fn request_length(&mut self, engine: EngineId) -> u64 {
        let state = &self.state.engines[engine.at()];
        let active = &state.active[state.turn];
        let (addr, left) = (active.addr, active.left);
        let last = match &active.decoded {
            Some(decoded) if decoded.first <= addr && addr <= decoded.last => decoded.last,
            _ => self.decode_next(engine),
        };
        let spec = &self.spec.engines[engine.at()];
        // Limits are in double words, of which a request from the middle of one takes one more.
        let limit = match spec.direction {
            Direction::Write => spec.max_payload,
            Direction::Read => spec.max_read_request,
        } - (addr & 3);
        let to_boundary = spec.boundary - (addr & (spec.boundary - 1));
        // last - addr + 1 without overflow at the top of the space.
        let to_edge = (last - addr).saturating_add(1);
        left.min(limit).min(to_boundary).min(to_edge)
    }

    /// Data credits of a write of `length` bytes by the descriptor whose turn it is.
    #[inline]
    pub(crate) fn data_credits_of_next(&self, engine: EngineId, length: u64) -> u32 {
        let state = &self.state.engines[engine.at()];
        let covered = length + (state.active[state.turn].addr & 3);
        u32::try_from(covered.div_ceil(16)).unwrap_or(u32::MAX)
    }

    /// Decodes the next address of the descriptor whose turn it is. Returns the last one that takes the same route.
    #[cold]
    fn decode_next(&mut self, engine: EngineId) -> u64 {
        let turn = self.state.engines[engine.at()].turn;
        let active = self.state.engines[engine.at()].active[turn];
        let kind = match active.attributes.has(Attributes::TRANSLATED) {
            true => AddressKind::Translated,
            false => self.spec.kind_of_addresses(engine),
        };
        let decoded = self.decode_as(engine, active.addr, kind);
        self.state.engines[engine.at()].active[turn].decoded = Some(decoded);
        self.ledger.flows[usize::from(active.flow)].route = Some(decoded.route);
        decoded.last
    }

    /// Takes the request of `length` bytes that [`Fabric::offer`] announced, to be sent on `link`.
    pub(crate) fn issue(&mut self, engine: EngineId, link: LinkId, length: u64) -> Tlp {
        let now = self.state.now;
        let class = self.spec.engines[engine.at()].direction.class();
        let starved = self.starved(link, class);
        self.charge_issue(engine, link, class);
        self.pace(engine, length);
        let state = &mut self.state.engines[engine.at()];
        let turn = state.turn;
        let active = &mut state.active[turn];
        let decoded = active.decoded.as_ref().expect("request_length has decoded the address");
        let mut tlp = Tlp {
            addr: active.addr.wrapping_add(decoded.moved),
            issued: now,
            hop: self.routes.routes[decoded.route as usize].first,
            tag: active.descriptor,
            flow: active.flow,
            length: u16::try_from(length).expect("a request has at most 4096 bytes"),
            engine: u16::try_from(engine.0).expect("an engine with a flow is one of 65,536"),
            class,
            status: Status::Good,
            attributes: active.attributes.with(decoded.attributes),
        };
        active.since = now;
        active.starved = starved;
        active.addr = active.addr.wrapping_add(length);
        active.left -= length;
        let (left, ready, descriptor) = (active.left, active.ready, active.descriptor);
        if class == Class::NonPosted {
            let tag = state.free_tags.pop().expect("offer has seen a free tag");
            state.tags[usize::from(tag)] =
                Outstanding { descriptor, flow: tlp.flow, left: u32::from(tlp.length), issued: now };
            tlp.tag = tag;
        } else {
            // What an engine writes comes from its own memory.
            tlp.attributes = tlp.attributes.with(self.poison(self.spec.engines[engine.at()].node));
        }
        let requests = self.ledger.engines[engine.at()].requests;
        let state = &mut self.state.engines[engine.at()];
        if left == 0 {
            state.retire(turn, now, starved);
            self.tell_issued(descriptor);
        } else {
            state.turn = draw(engine, requests - 1, state.active.len());
        }
        if let Some(buffers) = self.spec.engines[engine.at()].write_buffers {
            let done = (left == 0).then_some((tlp.flow, ready));
            self.take_write_buffer(engine, buffers, done);
        }
        tlp
    }

    /// A request of `length` bytes takes its time by the engine's rate.
    #[inline]
    fn pace(&mut self, engine: EngineId, length: u64) {
        let spec = &self.spec.engines[engine.at()];
        let state = &mut self.state.engines[engine.at()];
        if state.last_length != length {
            let picos = length * spec.rate.picos();
            state.last_length = length;
            state.last_time = (picos / spec.rate.bytes(), picos % spec.rate.bytes());
        }
        let (mut time, remainder) = state.last_time;
        state.remainder += remainder;
        if state.remainder >= spec.rate.bytes() {
            state.remainder -= spec.rate.bytes();
            time += 1;
        }
        if let Some(handling) = &spec.handling {
            time += handling.gap.0;
        }
        // An engine that was held up for less than a request's time keeps its pace: otherwise its rate would lock
        // to that of whatever holds it up.
        let due = state.next_issue.max(self.state.now.saturating_sub(time));
        state.next_issue = due + time;
        let ledger = &mut self.ledger.engines[engine.at()];
        ledger.busy += time;
        ledger.requests += 1;
    }

    /// A completion has come back to `engine`.
    pub(crate) fn complete(&mut self, engine: EngineId, tlp: &Tlp) {
        match self.spec.engines[engine.at()].handling {
            Some(handling) => self.hold_completion(engine, tlp, handling.completion_latency.0),
            None => self.take_read_data(engine, tlp),
        }
    }

    /// `engine` takes what a completion brings.
    pub(crate) fn take_read_data(&mut self, engine: EngineId, tlp: &Tlp) {
        let now = self.state.now;
        let state = &mut self.state.engines[engine.at()];
        let outstanding = &mut state.tags[usize::from(tlp.tag)];
        let length = u32::from(tlp.length);
        if outstanding.left == 0 || outstanding.issued != tlp.issued {
            self.drop_unexpected(engine, tlp);
            return;
        }
        let poisoned = tlp.status == Status::Good && tlp.attributes.has(Attributes::POISONED);
        let failed = poisoned || tlp.status == Status::Failed;
        assert!(outstanding.left >= length, "{} bytes complete a request of {}", length, outstanding.left);
        outstanding.left -= length;
        let (left, descriptor) = (outstanding.left, outstanding.descriptor);
        if left == 0 {
            state.free_tag(tlp.tag, now);
            if !failed {
                self.record_request(tlp.flow, now - tlp.issued);
            }
            if let Some(link) = self.spec.engines[engine.at()].link
                && !self.state.engines[engine.at()].active.is_empty()
            {
                self.wake(link, now);
            }
        }
        if poisoned {
            self.count_poisoned_completion(engine, tlp);
        }
        let length = u64::from(length);
        if self.spec.engines[engine.at()].handling.is_some()
            && !failed
            && let Some(bytes) = self.descriptors.ends_with(descriptor, length)
        {
            let end = tlp.addr.wrapping_add(length);
            self.copy_for_read(engine, descriptor, (tlp.flow, length), (bytes, end));
            return;
        }
        self.account(descriptor, tlp.flow, length, !failed, now);
    }

    pub(crate) fn is_writer(&self, engine: EngineId) -> bool {
        self.spec.engines[engine.at()].direction == Direction::Write
    }
}
