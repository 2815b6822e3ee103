//! The three things that happen to a TLP at a link: it waits, it is sent, it arrives.
//!
//! Arbitration is round robin over the inputs of an output, unless they have weights (`arbitration`); local sources (completions, writer, reader) take part
//! like inputs. Within one input the oldest TLP that has credits and may go first goes first; the ordering rules
//! (Base Specification, Transaction Ordering): a posted request may pass anything but posted requests, nothing passes an
//! older posted request of the same input. What attributes change of that: `may_pass`, and `overtake`.

use crate::bit_errors::Sent;
use crate::cause::Cause;
use crate::lines::message_bytes;
use crate::path::Hop;
use crate::pause::Pause;
use crate::requester::Offer;
use crate::run::Fabric;
use crate::spec::{FIRST_SOURCE, JOBS, LinkId, LinkSpec, NodeId};
use crate::state::{CreditReturn, Flight, LinkState};
use crate::store::{List, Queued};
use crate::tlp::{Attributes, Class, Status, Tlp};
use crate::wire::LEAKING;

/// Multiplier of the digest's fold: the 64-bit golden ratio, odd, so that no step loses information.
const FOLD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether arrival number `a` is before `b`: they are compared as distances, since they wrap after 2^32 arrivals.
#[inline]
pub(crate) fn older(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) > u32::MAX / 2
}

/// What became of looking at one input.
pub(crate) enum Look {
    Sent,
    /// Nothing can be sent before that time.
    At(u64),
    /// Something waits for credits of that class.
    Starved(Class),
    Nothing,
}

impl LinkState {
    /// Time for `wire` bytes; keeps the remainder, so that rates are exact in the long run. Sets `port_time` to what the
    /// port takes for the payload. Packets of a flow tend to be of one size: the last one's time is remembered.
    #[inline]
    fn sending_time(&mut self, spec: &LinkSpec, wire: u64, payload: u64) -> u64 {
        let (picos, bytes) = (self.wire.rate.picos(), self.wire.rate.bytes());
        if self.last_size != (wire, payload) {
            self.last_size = (wire, payload);
            self.last_time = (wire * picos / bytes, wire * picos % bytes);
            self.port_time = spec.port_rate.map_or(0, |port| (payload * port.picos()).div_ceil(port.bytes()));
        }
        let (mut time, remainder) = self.last_time;
        self.remainder += remainder;
        if self.remainder >= bytes {
            self.remainder -= bytes;
            time += 1;
        }
        time
    }

    /// The rate has changed: times that are remembered hold no more.
    pub(crate) fn forget_times(&mut self) {
        (self.last_size, self.remainder) = ((u64::MAX, u64::MAX), 0);
    }

    /// Takes back the credits whose return has become known.
    #[inline]
    fn absorb_returns(&mut self, now: u64) {
        while let Some(back) = self.returns.front() {
            if back.at > now {
                break;
            }
            let class = back.class.at();
            self.header[class] += back.header;
            self.data[class] += back.data;
            self.returns.pop_front();
        }
    }

    /// Inputs whose waiting class has a header credit, and whether some class has none. Notes since when.
    #[inline]
    fn candidates(&mut self, now: u64) -> (u128, bool) {
        let (mut candidates, mut starved) = (0, false);
        for class in 0..3 {
            if self.header[class] > 0 {
                candidates |= self.waiting[class];
            } else if self.waiting[class] != 0 {
                starved = true;
                self.starved_since[class].get_or_insert(now);
            }
        }
        (candidates, starved)
    }

    #[inline]
    pub(crate) fn has_credits(&self, class: Class, data: u32) -> bool {
        self.header[class.at()] >= 1 && self.data[class.at()] >= data
    }
}

impl Fabric {
    /// Lets `link` try to send at `time`, or when the TLP it is sending is out.
    #[inline]
    pub(crate) fn wake(&mut self, link: LinkId, time: u64) {
        let time = time.max(self.state.links[link.at()].free_at);
        self.queue.set_earlier(Fabric::start_slot(link), time);
    }

    /// The head of the oldest TLP on `link` is ready behind it.
    pub(crate) fn arrive(&mut self, link: LinkId) {
        let state = &mut self.state.links[link.at()];
        let Some(flight) = state.flights.pop_front() else { return };
        match state.flights.front() {
            Some(next) => self.queue.set(Fabric::arrival_slot(link), next.ready),
            None => self.queue.clear(Fabric::arrival_slot(link)),
        }
        let mut tlp = flight.tlp;
        let now = self.state.now;
        if tlp.payload() > self.spec.links[link.at()].receiver_limit {
            self.drop_malformed(link, &tlp);
            return;
        }
        if let Some(route) = self.routes.hops[tlp.hop as usize].ends {
            self.terminate(link, tlp, route);
            return;
        }
        state.arrivals = state.arrivals.wrapping_add(1);
        let order = state.arrivals;
        tlp.hop += 1;
        let Hop { link: next, queue, pause, .. } = self.routes.hops[tlp.hop as usize];
        self.check_route(link, next, &tlp);
        let ready = if pause == Pause::Nothing { now } else { self.pause(pause, link, &mut tlp) };
        let packet = Queued::new(tlp, ready, self.starved(next, tlp.class), order);
        let limit = self.spec.links[next.at()].sender_limit;
        if tlp.payload() > limit {
            self.queue_pieces(queue, packet, limit);
        } else {
            self.enqueue(queue, packet);
        }
        self.state.links[next.at()].waiting[tlp.class.at()] |= 1 << self.spec.links[link.at()].input;
        if self.state.links[next.at()].free_at <= self.state.now {
            self.start(next);
        } else {
            self.wake(next, self.state.now);
        }
    }

    /// Queues `packet` in front of `next`.
    #[inline]
    pub(crate) fn enqueue(&mut self, queue: u32, packet: Queued) {
        let lists = &mut self.state.queues[queue as usize];
        self.state.arena.push(&mut lists[packet.tlp.class.at()], packet);
    }

    /// `link` may send one TLP now.
    #[inline]
    pub(crate) fn start(&mut self, link: LinkId) {
        if self.state.links[link.at()].shared {
            self.start_shared(link);
        } else {
            self.start_channel(link);
        }
    }

    /// `link` may send one TLP now, unless the other channel of its wire is sending.
    pub(crate) fn start_channel(&mut self, link: LinkId) {
        let now = self.state.now;
        let slot = Fabric::start_slot(link);
        let state = &mut self.state.links[link.at()];
        state.absorb_returns(now);
        if state.wire.is_down() {
            self.queue.clear(slot);
            self.discard_waiting(link);
            return;
        }
        if !state.is_waiting() {
            self.queue.clear(slot);
            return;
        }
        if state.free_at > now {
            self.queue.set(slot, state.free_at);
            return;
        }
        let (candidates, mut starved) = state.candidates(now);
        let turn = if state.weighted { self.weighted_turn(link, candidates) } else { state.turn };
        let mut wake = u64::MAX;
        let mut left = candidates.rotate_right(turn);
        while left != 0 {
            let input = (left.trailing_zeros() + turn) % u128::BITS;
            left &= left - 1;
            match self.look_at(link, input) {
                Look::Sent => {
                    let state = &mut self.state.links[link.at()];
                    state.turn = (input + 1) % u128::BITS;
                    if state.is_waiting() {
                        self.queue.set(slot, state.free_at);
                    } else {
                        self.queue.clear(slot);
                    }
                    return;
                }
                Look::At(time) => wake = wake.min(time),
                Look::Starved(class) => {
                    starved = true;
                    self.state.links[link.at()].starved_since[class.at()].get_or_insert(now);
                }
                Look::Nothing => {}
            }
        }
        if starved && let Some(back) = self.state.links[link.at()].returns.front() {
            wake = wake.min(back.at);
        }
        if wake == u64::MAX {
            self.queue.clear(slot);
        } else {
            self.queue.set(slot, wake);
        }
    }

    #[inline]
    fn look_at(&mut self, link: LinkId, input: u32) -> Look {
        match input {
            JOBS => self.look_at_jobs(link),
            FIRST_SOURCE.. => self.look_at_engine(link, input),
            _ => self.look_at_queue(link, input),
        }
    }

    #[inline]
    fn look_at_queue(&mut self, link: LinkId, input: u32) -> Look {
        let (base, stride) = self.queue_base[link.at()];
        let queue = (base + input * stride) as usize;
        let lists = &self.state.queues[queue];
        let state = &self.state.links[link.at()];
        let mut best: Option<(Class, u32)> = None;
        let mut starved = None;
        let mut later = u64::MAX;
        if state.in_order && self.input_is_read_until(link, input) > self.state.now {
            return Look::At(self.input_is_read_until(link, input));
        }
        for class in Class::ALL {
            let Some(queued) = self.state.arena.front(lists[class.at()]) else { continue };
            if class != Class::Posted && self.is_held_back(lists[Class::Posted.at()], queued) {
                continue;
            }
            if queued.ready > self.state.now {
                later = later.min(queued.ready);
            } else if !state.has_credits(class, queued.tlp.data_credits()) {
                starved = Some(class);
            } else if state.in_order && self.is_behind_another(link, input, class, queued.order) {
                // Whoever lets that one go wakes this output.
            } else if best.is_none_or(|(_, order)| older(queued.order, order)) {
                best = Some((class, queued.order));
            }
        }
        let Some((class, _)) = best else {
            let look = match starved {
                Some(class) => Look::Starved(class),
                None if later != u64::MAX => Look::At(later),
                None => Look::Nothing,
            };
            return if self.reorders { self.overtake(link, input, queue, look) } else { look };
        };
        let list = &mut self.state.queues[queue][class.at()];
        let queued = self.state.arena.pop(list);
        if list.is_empty() {
            self.state.links[link.at()].waiting[class.at()] &= !(1 << input);
        }
        self.send_queued(link, input, &queued);
        Look::Sent
    }

    /// Sends what has been taken out of the queue of `input` in front of `link`, and gives its buffer back.
    #[inline]
    pub(crate) fn send_queued(&mut self, link: LinkId, input: u32, queued: &Queued) {
        let Queued { tlp, ready, starved, .. } = *queued;
        let node = self.spec.links[link.at()].from;
        let from = self.spec.nodes[node.at()].inputs[input as usize];
        self.charge_wait(link, &tlp, ready, starved);
        self.send(link, Tlp { status: tlp.status.on_the_wire(), ..tlp });
        // The buffer is free when the last byte has left.
        let left_at = self.state.links[link.at()].free_at;
        self.return_credits(from, &tlp, left_at);
        if self.state.links[link.at()].in_order {
            self.read_out(link, from, left_at);
        }
    }

    /// True when an older posted request must go before `queued`, which is none.
    #[inline]
    pub(crate) fn is_held_back(&self, posted: List, queued: &Queued) -> bool {
        let Some(oldest) = self.state.arena.front(posted) else { return false };
        older(oldest.order, queued.order) && !self.may_pass(posted, queued)
    }

    /// Whether relaxed or ID-based ordering lets `queued` pass all older ones of `posted`.
    fn may_pass(&self, posted: List, queued: &Queued) -> bool {
        let attributes = queued.tlp.attributes;
        if attributes.has(Attributes::RELAXED) && queued.tlp.class == Class::Completion {
            return true;
        }
        attributes.has(Attributes::ID_BASED) && {
            let sender = self.sender(&queued.tlp);
            let older = self.state.arena.iter(posted).take_while(|other| older(other.order, queued.order));
            older.into_iter().all(|other| self.sender(&other.tlp) != sender)
        }
    }

    /// Node whose ID a packet carries as its sender: the requester of a request, the completer of a completion.
    pub(crate) fn sender(&self, tlp: &Tlp) -> NodeId {
        match tlp.class {
            Class::Completion => self.completer_of(tlp),
            _ => self.spec.engines[usize::from(tlp.engine)].node,
        }
    }

    fn look_at_jobs(&mut self, link: LinkId) -> Look {
        let Some((job, tlp)) = self.next_completion(link) else { return Look::Nothing };
        if job.ready > self.state.now {
            return Look::At(job.ready);
        }
        if !self.state.links[link.at()].has_credits(Class::Completion, tlp.data_credits()) {
            return Look::Starved(Class::Completion);
        }
        self.born(tlp.flow, job.ready);
        self.charge_wait(link, &tlp, job.ready, job.starved);
        self.take_completion(link, &tlp);
        self.send(link, tlp);
        Look::Sent
    }

    fn look_at_engine(&mut self, link: LinkId, input: u32) -> Look {
        let engine = self.spec.links[link.at()].sources[(input - FIRST_SOURCE) as usize];
        let (class, data) = match self.offer(engine) {
            Offer::At(time) => return Look::At(time),
            Offer::Nothing => return Look::Nothing,
            Offer::Ready { class, data } => (class, data),
        };
        if !self.state.links[link.at()].has_credits(class, data) {
            return Look::Starved(class);
        }
        let tlp = self.issue(engine);
        if self.state.engines[engine.at()].active.is_empty() {
            self.state.links[link.at()].waiting[tlp.class.at()] &= !(1 << input);
        }
        self.send(link, tlp);
        Look::Sent
    }

    /// Puts `tlp` on `link`, which must be free and have credits for it.
    pub(crate) fn send(&mut self, link: LinkId, tlp: Tlp) {
        let now = self.state.now;
        if self.state.links[link.at()].shared {
            self.take_debt_of_wire(link);
        }
        let spec = &self.spec.links[link.at()];
        let state = &mut self.state.links[link.at()];
        let ledger = &mut self.ledger.links[link.at()];
        let payload = tlp.payload();
        let wire = match spec.framing.counts_lines() {
            false => spec.framing.wire_bytes(tlp.header(), tlp.covered()),
            true => message_bytes(&tlp),
        };
        let debt = if state.debt == 0 { 0 } else { pay_in_idle_time(state, now) };
        let sending = state.sending_time(spec, wire + debt, payload);
        let time = sending.max(state.port_time);
        if time > sending {
            ledger.port_busy += time;
        }
        let class = tlp.class.at();
        debug_assert!(state.free_at <= now && state.has_credits(tlp.class, tlp.data_credits()));
        if spec.credits[class].header != 0 {
            state.header[class] -= 1;
        }
        if spec.credits[class].data != 0 {
            state.data[class] -= tlp.data_credits();
        }
        if let Some(since) = state.starved_since[class].take() {
            ledger.starved[class] += now - since;
        }
        state.free_at = now + time;
        ledger.tlps += 1;
        ledger.wire_bytes += wire;
        ledger.payload_bytes += payload;
        ledger.busy += time;
        let gap = now - ledger.last_start;
        ledger.last_start = now;
        let seen =
            gap ^ u64::from(tlp.flow) << 48 ^ u64::from(tlp.length) << 32 ^ u64::from(tlp.class as u8) << 46;
        ledger.digest = ledger.digest.wrapping_mul(FOLD).wrapping_add(seen);

        let hop = &self.routes.hops[tlp.hop as usize];
        let serialisation = state.wire.until_usable(now, time, hop.cut_through) + spec.propagation.0;
        let mut ready = now + serialisation + spec.latency.0;
        let causes = &mut self.ledger.flows[usize::from(tlp.flow)].time;
        causes[Cause::Serialisation as usize] += serialisation;
        causes[spec.pipeline as usize] += spec.latency.0;
        let bytes = wire + debt;
        let hit = state.wire.error_gap < bytes;
        state.wire.error_gap = state.wire.error_gap.wrapping_sub(bytes);
        if hit {
            ready += self.hit_by_errors(link, Sent { bytes, dllps: debt, time, flow: tlp.flow });
        }
        let (spec, state) = (&self.spec.links[link.at()], &mut self.state.links[link.at()]);
        if state.flights.is_empty() {
            self.queue.set(Fabric::arrival_slot(link), ready);
        }
        state.flights.push_back(Flight { ready, tlp });
        let (shared, lines) = (state.shared, spec.framing.counts_lines());
        let interval = state.wire.dllp_interval;
        if interval != 0 {
            let finite = spec.credits[class].header != 0;
            self.owe_dllps(spec.dllps_to, wire, interval, finite);
        }
        if shared {
            if lines {
                self.owe_answer(link, &tlp);
            }
            self.occupy_wire(link);
        }
    }

    /// The receiver of `wire` bytes owes the other side acknowledgements and, for finite buffers, credit updates.
    fn owe_dllps(&mut self, reverse: LinkId, wire: u64, interval: u64, finite: bool) {
        let state = &mut self.state.links[reverse.at()];
        state.unacknowledged += wire;
        if state.unacknowledged >= interval {
            state.unacknowledged -= interval;
            let bytes = crate::link_layer::DLLP_BYTES * if finite { 2 } else { 1 };
            state.debt += bytes;
            self.ledger.links[reverse.at()].dllp_bytes += bytes;
        }
    }

    /// The receive buffer that `tlp` used behind `link` becomes free at `time`.
    #[inline]
    pub(crate) fn return_credits(&mut self, link: LinkId, tlp: &Tlp, time: u64) {
        let spec = &self.spec.links[link.at()];
        let class = tlp.class;
        let granted = spec.credits[class.at()];
        if granted.header == 0 && granted.data == 0 {
            return;
        }
        let at = time + spec.credit_latency.0;
        let header = u32::from(granted.header != 0 && tlp.status != Status::Piece);
        let data = if granted.data == 0 { 0 } else { tlp.data_credits() };
        let (header, data) = match self.state.links[link.at()].wire.trouble & LEAKING {
            0 => (header, data),
            _ => self.leak_returning(link, class, header, data),
        };
        let state = &mut self.state.links[link.at()];
        // Returns are known in order: a later one never overtakes an earlier one on the way.
        let at = state.returns.back().map_or(at, |last| at.max(last.at));
        state.returns.push_back(CreditReturn { at, header, data, class });
        if state.starved_since[class.at()].is_some() {
            self.wake(link, at);
        }
    }
}

/// DLLPs went out while the link was idle; what is left must be sent before the next TLP.
fn pay_in_idle_time(state: &mut LinkState, now: u64) -> u64 {
    let rate = state.wire.rate;
    let idle = now - state.free_at;
    if idle == 0 {
        return std::mem::take(&mut state.debt);
    }
    // A microsecond carries more DLLP bytes on any link than can be owed.
    let paid = if idle > 1_000_000 { state.debt } else { idle * rate.bytes() / rate.picos() };
    let left = state.debt.saturating_sub(paid);
    state.debt = 0;
    left
}
