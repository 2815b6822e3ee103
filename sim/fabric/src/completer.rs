//! Memories: writes consume their rate, reads come back as completions.
//!
//! A memory is one server for reads and writes. A write frees the receive buffer when the memory has taken it. A
//! read occupies the memory for its length and is answered after the read latency; its completions are cut at the
//! read completion boundary and at the completer's MPS, and wait at the output towards the requester. What a cache in
//! front of the memory holds is served at the cache's rate and latency instead.

use crate::aer::PacketError;
use crate::cause::Cause;
use crate::decode::MissKind;
use crate::path::Terminal;
use crate::run::Fabric;
use crate::spec::{EngineId, JOBS, LinkId, NodeId};
use crate::state::Job;
use crate::tlp::{Attributes, Class, Status, Tlp};

/// When a memory serves a request, and how long it takes a read to have its first data from then on.
pub(crate) struct Service {
    pub start: u64,
    pub done: u64,
    pub latency: u64,
}

impl Fabric {
    /// A TLP has reached the end of its route by link `link`.
    pub(crate) fn terminate(&mut self, link: LinkId, tlp: &Tlp, route: u32) {
        let now = self.state.now;
        #[cfg(debug_assertions)]
        self.check_order(link, tlp);
        match self.routes.routes[route as usize].terminal {
            Terminal::Requester(engine) => {
                self.return_credits(link, tlp, now);
                self.died(tlp.flow, now);
                self.complete(engine, tlp);
            }
            Terminal::Translator(node) => self.look_up_for_device(link, tlp, route, node),
            Terminal::Memory(_) | Terminal::HostManaged(_) | Terminal::Aperture(_)
                if tlp.class == Class::Posted && tlp.attributes.has(Attributes::POISONED) =>
            {
                self.refuse_poisoned_write(link, tlp);
            }
            terminal @ (Terminal::Memory(node)
            | Terminal::HostManaged(node)
            | Terminal::Private(node)
            | Terminal::Aperture(node)) => {
                // The memory behind a private link is faster than any of them; what is behind a BAR need not be.
                let (Service { start, done, latency }, found) = match terminal {
                    Terminal::Private(_) => (self.serve_privately(node), now),
                    Terminal::HostManaged(_) => (self.serve_lines(node, tlp), now),
                    Terminal::Aperture(_) => self.look_up_page(node, tlp),
                    _ => (self.occupy_memory(node, tlp), now),
                };
                if tlp.class == Class::Posted {
                    self.return_credits(link, tlp, done);
                    self.charge(tlp.flow, Cause::Memory, done - found);
                    self.died(tlp.flow, done);
                    self.record_request(tlp.flow, now - tlp.issued);
                    self.account(tlp.tag, tlp.flow, u64::from(tlp.length), true, done);
                } else if self.faults.is_silent(node) {
                    self.return_credits(link, tlp, now);
                    self.died(tlp.flow, now);
                    self.await_timeout(tlp.engine, tlp.tag, tlp.issued);
                } else {
                    self.return_credits(link, tlp, now);
                    self.charge(tlp.flow, Cause::Memory, start + latency - found);
                    self.died(tlp.flow, start + latency);
                    let attributes = tlp.attributes.with(self.poison(node));
                    self.answer(route, &Tlp { attributes, ..*tlp }, start + latency, false);
                }
            }
            Terminal::Refused(_, miss) => {
                self.return_credits(link, tlp, now);
                self.died(tlp.flow, now);
                let error = match self.routes.misses[miss as usize].kind {
                    MissKind::AcsViolation => PacketError::AcsViolation,
                    MissKind::Unclaimed | MissKind::IommuFault | MissKind::ApertureFault => {
                        PacketError::UnsupportedRequest
                    }
                };
                self.count_error_at(link, error, tlp);
                let refusal = &mut self.ledger.refusals[miss as usize];
                refusal.requests += 1;
                refusal.bytes += u64::from(tlp.length);
                refusal.first.get_or_insert((now, tlp.flow, tlp.addr));
                if tlp.class == Class::Posted {
                    self.account(tlp.tag, tlp.flow, u64::from(tlp.length), false, now);
                } else {
                    self.answer(route, tlp, now, true);
                }
            }
        }
    }

    /// Memory behind a private link, which is never what limits.
    fn serve_privately(&self, node: NodeId) -> Service {
        let now = self.state.now;
        let latency = self.spec.nodes[node.at()].memory.as_ref().map_or(0, |memory| memory.read_latency.0);
        Service { start: now, done: now, latency }
    }

    /// Looks up which page of its memory a device shows at the address of `tlp`, and gives the memory its bytes to move. Also
    /// returns when the page was found. All look-ups take the same time: the memory is kept as if there were none, and
    /// everything happens that much later.
    fn look_up_page(&mut self, node: NodeId, tlp: &Tlp) -> (Service, u64) {
        let look_up = self.spec.nodes[node.at()].memory.as_ref().map_or(0, |memory| memory.look_up.0);
        let found = self.state.now + look_up;
        self.charge(tlp.flow, Cause::Translation, look_up);
        let Service { start, done, latency } = self.occupy_memory(node, tlp);
        (Service { start: start + look_up, done: done + look_up, latency }, found)
    }

    /// Gives a memory the bytes of `tlp` to move.
    pub(crate) fn occupy_memory(&mut self, node: NodeId, tlp: &Tlp) -> Service {
        let bytes = u64::from(tlp.length);
        let start = self.state.memory_free_at[node.at()].max(self.state.now);
        let Some(memory) = &self.spec.nodes[node.at()].memory else {
            return Service { start, done: start, latency: 0 };
        };
        let (time, latency) = match (&mut self.state.caches[node.at()], memory.cache) {
            (Some(cache), Some(part)) => {
                let ledger = &mut self.ledger.caches[node.at()];
                let by_memory = cache.serve(tlp.class == Class::Posted, tlp.addr, bytes, ledger);
                let by_cache = bytes.saturating_sub(by_memory);
                let time = memory.rate.time_for(by_memory).0 + part.rate.time_for(by_cache).0;
                (time, if by_memory == 0 { memory.cache_latency.0 } else { memory.read_latency.0 })
            }
            _ => (memory.rate.time_for(bytes).0, memory.read_latency.0),
        };
        let time =
            if tlp.class == Class::Posted { time.max(memory.write_rate.time_for(bytes).0) } else { time };
        self.state.memory_free_at[node.at()] = start + time;
        self.ledger.memories[node.at()].busy += time;
        self.ledger.memories[node.at()].bytes += bytes;
        Service { start, done: start + time, latency }
    }

    /// Answers a read request that ended route `route`.
    pub(crate) fn answer(&mut self, route: u32, tlp: &Tlp, ready: u64, failed: bool) {
        // Every route of a request to a reachable requester has a way back; without one the requester would only
        // see a completion timeout, which is a refusal at once for our purpose.
        let Some(completion) = self.routes.routes[route as usize].completion else {
            let engine = EngineId::from_index(usize::from(tlp.engine));
            self.complete(engine, &Tlp { class: Class::Completion, status: Status::Failed, ..*tlp });
            return;
        };
        self.queue_answer(completion, tlp, ready, failed);
    }

    /// Queues the completions of a read where the route `completion` of completions begins.
    pub(crate) fn queue_answer(&mut self, completion: u32, tlp: &Tlp, ready: u64, failed: bool) {
        let first = self.routes.routes[completion as usize].first;
        let link = self.routes.hops[first as usize].link;
        let job = Job {
            ready,
            addr: tlp.addr,
            issued: tlp.issued,
            left: u32::from(tlp.length),
            route: completion,
            tag: tlp.tag,
            flow: tlp.flow,
            engine: tlp.engine,
            attributes: self.completion_attributes(link, tlp.attributes),
            starved: self.starved(link, Class::Completion),
            failed,
        };
        self.state.links[link.at()].jobs.push_back(job);
        self.state.links[link.at()].waiting[Class::Completion.at()] |= 1 << JOBS;
        self.wake(link, ready);
    }

    /// A completion repeats the attributes of its request (Base Specification, Completion Rules), apart from ID-based
    /// Ordering, which is its sender's own choice.
    fn completion_attributes(&self, link: LinkId, request: Attributes) -> Attributes {
        let sender = self.spec.links[link.at()].from;
        let plain = request.permitted_by(Attributes::RELAXED.with(Attributes::NO_SNOOP));
        if self.spec.nodes[sender.at()].completes_by_id { plain.with(Attributes::ID_BASED) } else { plain }
    }

    /// The next completion that starts at `link`.
    pub(crate) fn next_completion(&self, link: LinkId) -> Option<(Job, Tlp)> {
        let state = &self.state.links[link.at()];
        let job = *state.jobs.get(state.next_job(self.state.now))?;
        let route = &self.routes.routes[job.route as usize];
        let from = self.spec.links[link.at()].from;
        let boundary = match self.spec.links[link.at()].memory {
            true => 64,
            false => self.spec.nodes[from.at()].memory.map_or(64, |memory| memory.read_completion_boundary),
        };
        let limit = job.addr + route.max_payload;
        let cut = limit - limit % boundary;
        let room = if cut > job.addr { cut - job.addr } else { route.max_payload };
        let length =
            if job.failed { job.left } else { job.left.min(u32::try_from(room).unwrap_or(u32::MAX)) };
        let tlp = Tlp {
            addr: job.addr,
            issued: job.issued,
            hop: route.first,
            tag: job.tag,
            flow: job.flow,
            engine: job.engine,
            attributes: job.attributes,
            length: u16::try_from(length).expect("a read request asks for at most 4096 bytes"),
            class: Class::Completion,
            status: if job.failed { Status::Failed } else { Status::Good },
        };
        Some((job, tlp))
    }

    /// The node that sent a completion: where its route starts.
    pub(crate) fn completer_of(&self, tlp: &Tlp) -> NodeId {
        let mut hop = tlp.hop as usize;
        // Hops of a route stand one after the other, and only its last one has an end.
        while hop > 0 && self.routes.hops[hop - 1].ends.is_none() {
            hop -= 1;
        }
        self.spec.links[self.routes.hops[hop].link.at()].from
    }

    /// Takes the completion that [`Fabric::next_completion`] announced.
    pub(crate) fn take_completion(&mut self, link: LinkId, tlp: &Tlp) {
        let now = self.state.now;
        let state = &mut self.state.links[link.at()];
        let place = state.next_job(now);
        let Some(job) = state.jobs.get_mut(place) else { return };
        job.addr += u64::from(tlp.length);
        job.left -= u32::from(tlp.length);
        if job.left != 0 {
            if state.in_turn != 1 {
                state.let_others_answer(place);
            }
        } else {
            state.jobs.remove(place);
            if state.jobs.is_empty() {
                state.waiting[Class::Completion.at()] &= !(1 << JOBS);
            }
        }
    }
}
