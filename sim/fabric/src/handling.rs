//! What a DMA engine does with a transfer beside sending requests, where its part says how long that takes.
//!
//! ```text
//! write   descriptor ─ request latency ─ copy to buffers ─ requests
//! read    descriptor ─ request latency ─ requests ─ completions ─ completion latency ─ copy to memory ─ done
//! ```
//!
//! A transfer is copied whole. In each direction a device copies one transfer after the other, in the order in which their
//! data was there; where both directions have a rate together, a copy also waits until what was begun before has had its
//! share of it. Engines whose part says nothing never come here.

use std::collections::{BTreeMap, VecDeque};

use crate::cause::Cause;
use crate::requester::{Active, Direction};
use crate::run::Fabric;
use crate::spec::{EngineId, LinkId, NodeId};
use crate::tlp::Tlp;

/// What waits for its time.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// An engine has dealt with a completion.
    Completion(EngineId, Tlp),
    /// The first copy of a direction is done.
    Copied(NodeId, usize),
}

/// A transfer to be copied.
#[derive(Clone, Copy, Debug)]
struct Copy {
    engine: EngineId,
    /// Its data is there then.
    from: u64,
    bytes: u64,
    /// Address behind its last byte.
    end: u64,
    work: Work,
}

/// What comes after a copy.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Its requests are sent.
    Write(Active),
    /// The last `length` bytes of a descriptor are the device's.
    Read { descriptor: u16, flow: u16, length: u64 },
}

/// The copies of one device, writes first. The first of a queue is being made.
#[derive(Clone, Debug, Default)]
struct Copier {
    queues: [VecDeque<Copy>; 2],
    /// When those that are being made began to be possible.
    since: [u64; 2],
    /// What was begun has had its share of the rate of both directions.
    both: u64,
}

/// State of all engines whose parts say how they handle transfers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handling {
    copiers: BTreeMap<NodeId, Copier>,
    /// By time, and in the order in which they were planned.
    planned: BTreeMap<(u64, u64), Event>,
    count: u64,
}

fn way(direction: Direction) -> usize {
    usize::from(direction == Direction::Read)
}

impl Fabric {
    fn plan_event(&mut self, at: u64, event: Event) {
        self.handling.count += 1;
        self.handling.planned.insert((at, self.handling.count), event);
        self.queue.set_earlier(self.handling_slot(), at);
    }

    /// Does what is due now.
    pub(crate) fn handling_due(&mut self) {
        self.queue.clear(self.handling_slot());
        while let Some(entry) = self.handling.planned.first_entry() {
            let at = entry.key().0;
            if at > self.state.now {
                self.queue.set_earlier(self.handling_slot(), at);
                return;
            }
            match entry.remove() {
                Event::Completion(engine, tlp) => self.take_read_data(engine, &tlp),
                Event::Copied(node, way) => self.copied(node, way),
            }
        }
    }

    /// Lets `engine` deal with a completion that has arrived.
    pub(crate) fn hold_completion(&mut self, engine: EngineId, tlp: &Tlp, latency: u64) {
        let now = self.state.now;
        self.born(tlp.flow, now);
        self.charge(tlp.flow, Cause::Engine, latency);
        self.died(tlp.flow, now + latency);
        self.plan_event(now + latency, Event::Completion(engine, *tlp));
    }

    /// Copies the data of a write before its requests are sent.
    pub(crate) fn copy_for_write(&mut self, engine: EngineId, active: Active) {
        let (from, bytes) = (active.ready, active.left);
        let end = active.addr.wrapping_add(bytes);
        self.add_copy(Copy { engine, from, bytes, end, work: Work::Write(active) });
    }

    /// Copies the data of a read, the last `length` bytes of which, up to `end`, have come.
    pub(crate) fn copy_for_read(
        &mut self,
        engine: EngineId,
        descriptor: u16,
        (flow, length): (u16, u64),
        (bytes, end): (u64, u64),
    ) {
        let work = Work::Read { descriptor, flow, length };
        self.add_copy(Copy { engine, from: self.state.now, bytes, end, work });
    }

    fn add_copy(&mut self, copy: Copy) {
        let spec = &self.spec.engines[copy.engine.at()];
        let (node, way) = (spec.node, way(spec.direction));
        let queue = &mut self.handling.copiers.entry(node).or_default().queues[way];
        queue.push_back(copy);
        if queue.len() == 1 {
            self.begin_copy(node, way);
        }
    }

    /// Begins the first copy of a queue, if there is one.
    fn begin_copy(&mut self, node: NodeId, way: usize) {
        let now = self.state.now;
        let copier = self.handling.copiers.entry(node).or_default();
        let Some(copy) = copier.queues[way].front_mut() else { return };
        let Some(handling) = self.spec.engines[copy.engine.at()].handling else { return };
        if let Work::Write(active) = &mut copy.work {
            active.since = now;
        }
        let possible = copy.from.max(now);
        let start = possible.max(copier.both);
        copier.since[way] = possible;
        if let Some(rate) = handling.both_rate {
            copier.both = start + rate.time_for(copy.bytes).0;
        }
        let done = start + handling.copy.time(copy.bytes, copy.end).0;
        self.plan_event(done, Event::Copied(node, way));
    }

    /// The first copy of a queue is done.
    fn copied(&mut self, node: NodeId, way: usize) {
        let now = self.state.now;
        let copier = self.handling.copiers.entry(node).or_default();
        let since = copier.since[way];
        if let Some(Copy { engine, bytes, work, .. }) = copier.queues[way].pop_front() {
            // The part of it that the engine's rate accounts for is counted as requests are sent.
            let requests = self.spec.engines[engine.at()].rate.time_for(bytes).0;
            self.ledger.engines[engine.at()].busy += (now - since).saturating_sub(requests);
            match work {
                Work::Write(active) => self.begin_descriptor(engine, Active { ready: now, ..active }),
                Work::Read { descriptor, flow, length } => self.account(descriptor, flow, length, true, now),
            }
        }
        self.begin_copy(node, way);
    }

    /// A device is reset because `link` is down: what it copies for `engine` is lost.
    pub(crate) fn forget_copies(&mut self, engine: EngineId, link: LinkId) {
        let spec = &self.spec.engines[engine.at()];
        let (node, way) = (spec.node, way(spec.direction));
        let Some(copier) = self.handling.copiers.get_mut(&node) else { return };
        let lost = std::mem::take(&mut copier.queues[way]);
        self.handling
            .planned
            .retain(|_, event| !matches!(event, Event::Copied(of, copied) if *of == node && *copied == way));
        for copy in lost {
            let (descriptor, flow, left) = match copy.work {
                Work::Write(active) => (active.descriptor, active.flow, active.left),
                Work::Read { descriptor, flow, length } => (descriptor, flow, length),
            };
            self.abandon(link, descriptor, flow, left);
        }
    }
}
