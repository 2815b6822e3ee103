//! Packets that never arrive, and how those who wait for them end.
//!
//! A posted request that is lost is counted and its bytes are refused at once: nobody will ask for them. A read whose
//! request or completion is lost ends when its requester's completion timeout has passed since it was issued; what of it
//! had arrived stays delivered. Its tag is taken until then. A completion that comes after that is an Unexpected
//! Completion and is dropped.
//!
//! A port towards a link that is down answers reads itself, as Unsupported Requests, and discards everything else (Base
//! Specification, Transaction Layer Behavior in DL_Down Status).

use crate::aer::PacketError;
use crate::run::Fabric;
use crate::spec::{EngineId, JOBS, LinkId};
use crate::tlp::{Class, Status, Tlp};

/// Packets that were lost, or reads that timed out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// How many.
    pub packets: u64,
    /// Bytes refused because of them.
    pub bytes: u64,
    /// Time and flow of the first.
    pub first: Option<(u64, u16)>,
}

impl Lost {
    pub(crate) fn count(&mut self, bytes: u64, now: u64, flow: u16) {
        self.packets += 1;
        self.bytes += bytes;
        self.first.get_or_insert((now, flow));
    }
}

/// A read that will end in a completion timeout, in the order of deadlines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Deadline {
    pub at: u64,
    pub engine: EngineId,
    pub tag: u16,
    /// When it was issued: tells it from other reads with the same tag.
    pub issued: u64,
}

impl Fabric {
    /// `tlp` is lost on or in front of `link`.
    fn lose(&mut self, link: LinkId, tlp: &Tlp) {
        let now = self.state.now;
        let lost = &mut self.ledger.faults[link.at()].lost;
        if tlp.class == Class::Posted {
            lost.count(u64::from(tlp.length), now, tlp.flow);
            self.account(tlp.tag, tlp.flow, u64::from(tlp.length), false, now);
        } else {
            lost.count(0, now, tlp.flow);
            self.await_timeout(tlp.engine, tlp.tag, tlp.issued);
        }
    }

    /// The read of `engine` with `tag` that was issued at `issued` will not be completed any more.
    pub(crate) fn await_timeout(&mut self, engine: u16, tag: u16, issued: u64) {
        let engine = EngineId(u32::from(engine));
        let timeout = self.spec.engines[engine.at()].completion_timeout.0;
        let at = (issued + timeout).max(self.state.now);
        self.faults.deadlines.insert(Deadline { at, engine, tag, issued });
        self.plan_faults();
    }

    /// Ends a read whose deadline has come, unless its requester has given it up before.
    pub(crate) fn time_out(&mut self, deadline: Deadline) {
        let Deadline { engine, tag, issued, .. } = deadline;
        let outstanding = &mut self.state.engines[engine.at()].tags[usize::from(tag)];
        if outstanding.left == 0 || outstanding.issued != issued {
            return;
        }
        let (left, flow) = (std::mem::take(&mut outstanding.left), outstanding.flow);
        let descriptor = outstanding.descriptor;
        let now = self.state.now;
        self.ledger.timeouts[engine.at()].count(u64::from(left), now, flow);
        let requester = self.spec.engines[engine.at()].requester;
        self.count_error(requester, PacketError::CompletionTimeout, Class::NonPosted);
        self.state.engines[engine.at()].free_tag(tag, now);
        if let Some(link) = self.spec.engines[engine.at()].link
            && !self.state.engines[engine.at()].active.is_empty()
        {
            self.wake(link, now);
        }
        self.account(descriptor, flow, u64::from(left), false, now);
    }

    /// Everything between the sender of `link` and the queues behind it is lost.
    pub(crate) fn lose_flights(&mut self, link: LinkId) {
        self.queue.clear(Fabric::arrival_slot(link));
        for flight in std::mem::take(&mut self.state.links[link.at()].flights) {
            // Its time was charged up to where it would have been ready.
            self.died(flight.tlp.flow, flight.ready);
            self.return_credits(link, &flight.tlp, self.state.now);
            self.lose(link, &flight.tlp);
        }
    }

    /// Everything that waits in front of `link`, which is down, goes no further.
    pub(crate) fn discard_waiting(&mut self, link: LinkId) {
        let from = self.spec.links[link.at()].from;
        let (base, stride) = self.queue_base[link.at()];
        for input in 0..self.spec.nodes[from.at()].inputs.len() {
            let came_by = self.spec.nodes[from.at()].inputs[input];
            let bit = u32::try_from(input).unwrap_or(u32::MAX);
            for class in Class::ALL {
                self.discard_queue(link, came_by, (base + bit * stride) as usize, class);
                self.state.links[link.at()].waiting[class.at()] &= !(1 << bit);
            }
        }
        self.discard_jobs(link);
    }

    fn discard_queue(&mut self, link: LinkId, came_by: LinkId, queue: usize, class: Class) {
        let now = self.state.now;
        while !self.state.queues[queue][class.at()].is_empty() {
            let queued = self.state.arena.pop(&mut self.state.queues[queue][class.at()]);
            self.charge_wait(link, (queued.tlp.flow, class), queued.ready, queued.starved);
            self.died(queued.tlp.flow, queued.ready.max(now));
            self.return_credits(came_by, &queued.tlp, now);
            if class == Class::NonPosted && self.leads_down(link) {
                self.refuse_at_port(link, &queued.tlp);
            } else {
                self.lose(link, &queued.tlp);
            }
        }
    }

    /// Completions that would start in front of `link` are not sent.
    pub(crate) fn discard_jobs(&mut self, link: LinkId) {
        for job in std::mem::take(&mut self.state.links[link.at()].jobs) {
            self.ledger.faults[link.at()].lost.count(0, self.state.now, job.flow);
            self.await_timeout(job.engine, job.tag, job.issued);
        }
        self.state.links[link.at()].waiting[Class::Completion.at()] &= !(1 << JOBS);
    }

    /// The port in front of `link` answers a read that it cannot send on.
    fn refuse_at_port(&mut self, link: LinkId, tlp: &Tlp) {
        let engine = EngineId(u32::from(tlp.engine));
        self.ledger.faults[link.at()].refused.count(u64::from(tlp.length), self.state.now, tlp.flow);
        let bridges = self.bridges_before(tlp);
        match self.completion_route(engine, self.spec.links[link.at()].from, &bridges) {
            Some(route) => self.queue_answer(route, tlp, self.state.now, true),
            None => self.await_timeout(tlp.engine, tlp.tag, tlp.issued),
        }
    }

    /// A device is reset: its engines forget what they were doing.
    pub(crate) fn reset_engine(&mut self, engine: EngineId, because_of: LinkId) {
        let now = self.state.now;
        self.reset_translations(self.spec.engines[engine.at()].node);
        let direction = self.spec.engines[engine.at()].direction;
        let (source, link) = (self.spec.engines[engine.at()].source, self.spec.engines[engine.at()].link);
        if let Some(link) = link {
            self.state.links[link.at()].waiting[direction.class().at()] &= !(1 << source);
        }
        for (descriptor, flow, left) in self.state.engines[engine.at()].forget_work(now) {
            self.abandon(because_of, descriptor, flow, left);
        }
        self.forget_copies(engine, because_of);
    }

    /// Bytes of a descriptor are given up because `link` is down.
    pub(crate) fn abandon(&mut self, link: LinkId, descriptor: u16, flow: u16, bytes: u64) {
        let now = self.state.now;
        self.ledger.faults[link.at()].abandoned.count(bytes, now, flow);
        self.account(descriptor, flow, bytes, false, now);
    }

    /// A completion that nobody waits for any more is dropped.
    #[cold]
    pub(crate) fn drop_unexpected(&mut self, engine: EngineId, tlp: &Tlp) {
        debug_assert!(tlp.class == Class::Completion || tlp.status == Status::Failed);
        self.ledger.unexpected[engine.at()].count(u64::from(tlp.length), self.state.now, tlp.flow);
        let requester = self.spec.engines[engine.at()].requester;
        self.count_error(requester, PacketError::UnexpectedCompletion, Class::Completion);
    }
}
