//! The three things that happen to a TLP at a link: it waits, it is sent, it arrives.
//!
//! Arbitration is round robin over the inputs of an output, unless they have weights (`arbitration`); local sources (completions, writer, reader) take part
//! like inputs. Within one input the oldest TLP that has credits and may go first goes first; the ordering rules
//! (Base Specification, Transaction Ordering): a posted request may pass anything but posted requests, nothing passes an
//! older posted request of the same input. What attributes change of that: `may_pass`, and `overtake`.

use crate::bit_errors::Sent;
use crate::cause::Cause;
use crate::path::Hop;
use crate::pause::Pause;
use crate::requester::Offer;
use crate::run::Fabric;
use crate::spec::{FIRST_SOURCE, JOBS, LinkId, NodeId};
use crate::state::{CreditReturn, Flight, LinkState};
use crate::store::{List, Queued};
use crate::tlp::{Attributes, Class, Status, Tlp};
use crate::wire::LEAKING;

/// Multiplier of the digest's fold: the 64-bit golden ratio, odd, so that no step loses information.
const FOLD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Data credits of the largest packet: 4 KiB, of which the first 16 bytes need not be there in whole.
const MOST_DATA_CREDITS: u32 = 257;

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
    /// Takes back the credits whose return has become known, once some class may not have enough for what comes next:
    /// nobody asks before, and many at a time are taken back faster than one by one.
    #[inline]
    fn absorb_returns(&mut self, now: u64) {
        let low = |class: usize| self.header[class] == 0 || self.data[class] < MOST_DATA_CREDITS;
        if !(low(0) | low(1) | low(2)) {
            return;
        }
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
                self.starvation.begin(class, now);
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
        let now = self.state.now;
        let state = &mut self.state.links[link.at()];
        let Some(Flight { mut tlp, .. }) = state.flights.pop_front() else { return };
        self.queue.replace(Fabric::arrival_slot(link), state.flights.front().map(|next| next.ready));
        if tlp.payload() > state.terms.receiver_limit {
            self.drop_malformed(link, &tlp);
            return;
        }
        if let Some(route) = self.routes.hops[tlp.hop as usize].ends {
            self.terminate(link, &tlp, route);
            return;
        }
        state.arrivals = state.arrivals.wrapping_add(1);
        let (order, input) = (state.arrivals, state.terms.input);
        tlp.hop += 1;
        let Hop { link: next, queue, pause, .. } = self.routes.hops[tlp.hop as usize];
        self.check_route(link, next, &tlp);
        let ready = if pause == Pause::Nothing { now } else { self.pause(pause, link, &mut tlp) };
        let output = &mut self.state.links[next.at()];
        output.waiting[tlp.class.at()] |= input;
        let packet = Queued::new(tlp, ready, output.starvation.until(tlp.class, now), order);
        let (limit, free_at) = (output.terms.sender_limit, output.free_at);
        if tlp.payload() > limit {
            self.queue_pieces(queue, packet, limit);
        } else {
            self.enqueue(queue, packet);
        }
        if free_at <= now {
            self.start(next);
        } else {
            self.queue.set_earlier(Fabric::start_slot(next), free_at);
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
        if state.free_at > now {
            self.queue.replace(slot, state.is_waiting().then_some(state.free_at));
            return;
        }
        let (candidates, mut starved) = state.candidates(now);
        let turn = if state.weighted { self.weighted_turn(link, candidates) } else { state.turn };
        let mut wake = u64::MAX;
        // From the input whose turn it is to the last, then the others.
        let ahead = candidates & (u128::MAX << turn);
        for mut left in [ahead, candidates ^ ahead] {
            while left != 0 {
                let input = left.trailing_zeros();
                left &= left - 1;
                match self.look_at(link, input) {
                    Look::Sent => {
                        let state = &mut self.state.links[link.at()];
                        state.turn = (input + 1) % u128::BITS;
                        self.queue.replace(slot, state.is_waiting().then_some(state.free_at));
                        return;
                    }
                    Look::At(time) => wake = wake.min(time),
                    Look::Starved(class) => {
                        starved = true;
                        self.state.links[link.at()].starvation.begin(class.at(), now);
                    }
                    Look::Nothing => {}
                }
            }
        }
        if starved && let Some(back) = self.state.links[link.at()].returns.front() {
            wake = wake.min(back.at);
        }
        self.queue.replace(slot, (wake != u64::MAX).then_some(wake));
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
        let mut best: Option<(Class, u32, u32)> = None;
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
            let data = queued.tlp.data_credits();
            if queued.ready > self.state.now {
                later = later.min(queued.ready);
            } else if !state.has_credits(class, data) {
                starved = Some(class);
            } else if state.in_order && self.is_behind_another(link, input, class, queued.order) {
                // Whoever lets that one go wakes this output.
            } else if best.is_none_or(|(_, order, _)| older(queued.order, order)) {
                best = Some((class, queued.order, data));
            }
        }
        let Some((class, _, data)) = best else {
            let look = match starved {
                Some(class) => Look::Starved(class),
                None if later != u64::MAX => Look::At(later),
                None => Look::Nothing,
            };
            return if self.reorders { self.overtake(link, queue, look) } else { look };
        };
        let list = &mut self.state.queues[queue][class.at()];
        let queued = self.state.arena.pop(list);
        if list.is_empty() {
            self.state.links[link.at()].waiting[class.at()] &= !(1 << input);
        }
        self.send_queued(link, queue, &queued, data);
        Look::Sent
    }

    /// Sends what has been taken out of `queue` in front of `link`, and gives its buffer back.
    #[inline]
    pub(crate) fn send_queued(&mut self, link: LinkId, queue: usize, queued: &Queued, data: u32) {
        let tlp = &queued.tlp;
        self.charge_wait(link, (tlp.flow, tlp.class), queued.ready, queued.starved);
        let left_at = self.send(link, tlp, data);
        // The buffer is free when the last byte has left.
        let came_by = self.state.came_by[queue];
        self.give_back(came_by, tlp, data, left_at);
        if self.state.links[link.at()].in_order {
            self.read_out(link, came_by, left_at);
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
        let data = tlp.data_credits();
        if !self.state.links[link.at()].has_credits(Class::Completion, data) {
            return Look::Starved(Class::Completion);
        }
        self.born(tlp.flow, job.ready);
        self.charge_wait(link, (tlp.flow, tlp.class), job.ready, job.starved);
        self.take_completion(link, &tlp);
        self.send(link, &tlp, data);
        Look::Sent
    }

    fn look_at_engine(&mut self, link: LinkId, input: u32) -> Look {
        let engine = self.spec.links[link.at()].sources[(input - FIRST_SOURCE) as usize];
        let (class, length) = match self.offer(engine) {
            Offer::At(time) => return Look::At(time),
            Offer::Nothing => return Look::Nothing,
            Offer::Ready { class, length } => (class, length),
        };
        let data = if class == Class::Posted { self.data_credits_of_next(engine, length) } else { 0 };
        if !self.state.links[link.at()].has_credits(class, data) {
            return Look::Starved(class);
        }
        let tlp = self.issue(engine, link, length);
        if self.state.engines[engine.at()].active.is_empty() {
            self.state.links[link.at()].waiting[tlp.class.at()] &= !(1 << input);
        }
        self.send(link, &tlp, data);
        Look::Sent
    }

    /// Puts `tlp`, which takes `data` credits, on `link`, which must be free and have credits for it. Returns when the link is
    /// free again.
    pub(crate) fn send(&mut self, link: LinkId, tlp: &Tlp, data: u32) -> u64 {
        let now = self.state.now;
        if self.state.links[link.at()].shared {
            self.take_debt_of_wire(link);
        }
        let state = &mut self.state.links[link.at()];
        let ledger = &mut self.ledger.links[link.at()];
        let class = tlp.class.at();
        debug_assert!(state.free_at <= now && state.has_credits(tlp.class, data));
        state.header[class] -= state.terms.header[class];
        state.data[class] -= data & state.terms.data[class];
        if state.starvation.lasts(tlp.class) {
            state.starvation.end(class, now);
            ledger.starved[class] = state.starvation.until(tlp.class, now);
        }

        let sending = state.sending(&self.spec.links[link.at()], tlp);
        let (by_link, debt) = state.time_of(&sending, now);
        let time = by_link.max(sending.port_time);
        if time > by_link {
            ledger.port_busy += time;
        }
        state.free_at = now + time;
        ledger.tlps += 1;
        ledger.wire_bytes += sending.wire;
        ledger.payload_bytes += sending.payload;
        ledger.busy += time;
        let gap = now - ledger.last_start;
        ledger.last_start = now;
        let seen =
            gap ^ u64::from(tlp.flow) << 48 ^ u64::from(tlp.length) << 32 ^ u64::from(tlp.class as u8) << 46;
        ledger.digest = ledger.digest.wrapping_mul(FOLD).wrapping_add(seen);

        let cut_through = self.routes.hops[tlp.hop as usize].cut_through;
        let serialisation = state.wire.until_usable(now, time, cut_through) + state.terms.propagation;
        let mut ready = now + serialisation + state.terms.latency;
        let causes = &mut self.ledger.flows[usize::from(tlp.flow)].time;
        causes[Cause::Serialisation as usize] += serialisation;
        causes[state.terms.pipeline as usize] += state.terms.latency;
        let bytes = sending.wire + debt;
        let hit = state.wire.error_gap < bytes;
        state.wire.error_gap = state.wire.error_gap.wrapping_sub(bytes);
        if hit {
            ready += self.hit_by_errors(link, Sent { bytes, dllps: debt, time, flow: tlp.flow });
        }
        let state = &mut self.state.links[link.at()];
        if state.flights.is_empty() {
            self.queue.set_earlier(Fabric::arrival_slot(link), ready);
        }
        state.flights.push_back(Flight { ready, tlp: Tlp { status: tlp.status.on_the_wire(), ..*tlp } });
        let (free_at, shared) = (state.free_at, state.shared);
        let interval = state.wire.dllp_interval;
        if interval != 0 {
            let (to, finite) = (state.terms.dllps_to, state.terms.header[class] != 0);
            self.owe_dllps(to, sending.wire, interval, finite);
        }
        if shared {
            if self.spec.links[link.at()].framing.counts_lines() {
                self.owe_answer(link, tlp);
            }
            self.occupy_wire(link);
        }
        free_at
    }

    /// The receiver of `wire` bytes owes the other side acknowledgements and, for finite buffers, credit updates.
    #[inline]
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
        self.give_back(link, tlp, tlp.data_credits(), time);
    }

    /// [`Fabric::return_credits`] of a TLP that took `data` credits.
    #[inline]
    fn give_back(&mut self, link: LinkId, tlp: &Tlp, data: u32, time: u64) {
        let class = tlp.class;
        let state = &mut self.state.links[link.at()];
        let (granted_header, granted_data) = (state.terms.header[class.at()], state.terms.data[class.at()]);
        if granted_header | granted_data == 0 {
            return;
        }
        let header = if tlp.status == Status::Piece { 0 } else { granted_header };
        let (mut header, mut data) = (header, data & granted_data);
        if state.wire.trouble & LEAKING != 0 {
            (header, data) = self.leak_returning(link, class, header, data);
        }
        let state = &mut self.state.links[link.at()];
        // Returns are known in order: a later one never overtakes an earlier one on the way.
        let at = state.last_return.max(time + state.terms.credit_latency);
        state.last_return = at;
        state.returns.push_back(CreditReturn { at, header, data, class });
        if state.starvation.lasts(class) {
            self.wake(link, at);
        }
    }
}
