//! Cores of a CPU that store to and load from a BAR, and other engines that a run adds to a machine.
//!
//! A store to write-combining memory fills a buffer of one cache line; a full one is sent as one posted write. A core has
//! few of them, and one that was sent stays taken until the CPU's internal network has accepted it: when all are taken,
//! the next store waits. A store fence waits until none is taken. To uncached memory every store is a write of its own,
//! and the next waits until the network has it, as if there were one buffer. Loads are reads with a tag each: one per
//! core from uncached memory, one per line-fill buffer for streaming loads from write-combining memory.
//!
//! Posted writes are not waited for: what a store costs its core ([`crate::LatencyOf::Fence`]) is less than the time
//! until its bytes arrive.

use peerbus_units::Bytes;

use crate::decode::next_links;
use crate::ledger::{EngineLedger, LatencyOf};
use crate::requester::{Descriptor, EngineState};
use crate::run::Fabric;
use crate::spec::{EngineId, EngineSpec, LinkId, NodeKind, Spec, WriteBuffers};

impl Spec {
    /// The link by which requests of the cores of `cpu` for what lies below `root`, both by index in the machine, leave; the
    /// host bridge belongs to the CPU `home`. `None`: no way leads there.
    pub fn link_from_core(&self, cpu: usize, root: usize, home: usize) -> Option<LinkId> {
        if cpu == home {
            return self.link_between(self.cpu(cpu), self.root(root));
        }
        self.link_to_cpu(cpu, home)
    }

    /// The first link on the way from one CPU to another, both by index in the machine.
    pub(crate) fn link_to_cpu(&self, from: usize, to: usize) -> Option<LinkId> {
        next_links(self, from, self.cpus()).get(to).copied().flatten()
    }

    /// How many CPUs there are.
    pub(crate) fn cpus(&self) -> usize {
        self.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Cpu(_))).count()
    }
}

impl Fabric {
    /// Adds an engine that no part of the machine has by itself. To be called before time passes; its link must leave
    /// its node, and at most seven engines share a link.
    pub fn add_engine(&mut self, engine: EngineSpec) -> EngineId {
        assert!(self.state.now == 0 && self.ledger.events == 0, "engines are added before time passes");
        let leaves = engine.link.is_none_or(|link| self.spec.links[link.at()].from == engine.node);
        assert!(leaves, "{} sends on a link of another node", engine.name);
        assert!(engine.boundary.is_power_of_two(), "{} has a boundary of {}", engine.name, engine.boundary);
        self.ledger.engines.push(EngineLedger::default());
        let id = self.spec.add_engine(engine);
        let engine = &self.spec.engines[id.at()];
        self.state.engines.push(EngineState::new(engine, self.spec.translates(engine)));
        id
    }

    /// How many of a descriptor's bytes leave by the link of its engine, counted from the first; the others lead
    /// nowhere from there. All of them, for an engine of a device: it has one link only.
    pub(crate) fn bytes_that_leave(&mut self, descriptor: &Descriptor) -> Bytes {
        let engine = &self.spec.engines[descriptor.engine.at()];
        let (Some(link), None) = (engine.link, engine.requester) else { return descriptor.bytes };
        let mut done = 0;
        while done < descriptor.bytes.0 {
            let addr = descriptor.addr.0.wrapping_add(done);
            let decoded = self.decode_request(descriptor.engine, addr);
            if self.routes.links(decoded.route).next() != Some(link) {
                break;
            }
            done = done.saturating_add(decoded.last - addr).saturating_add(1);
        }
        Bytes(done.min(descriptor.bytes.0))
    }

    /// The write that `engine` issues now takes a buffer. `last_of` is there when its descriptor has no more: the flow, and when
    /// its first write could be issued.
    #[cold]
    pub(crate) fn take_write_buffer(
        &mut self,
        engine: EngineId,
        buffers: WriteBuffers,
        last_of: Option<(u16, u64)>,
    ) {
        let now = self.state.now;
        let free_at = now + buffers.hold.0;
        let state = &mut self.state.engines[engine.at()];
        state.buffers.push_back(free_at);
        if state.buffers.len() >= usize::from(buffers.count) {
            let first = state.buffers.pop_front().unwrap_or(free_at);
            let busy = first.saturating_sub(state.next_issue);
            state.next_issue += busy;
            self.ledger.engines[engine.at()].busy += busy;
        }
        if buffers.fence
            && let Some((flow, ready)) = last_of
        {
            let overhead = self.spec.engines[engine.at()].request_latency.0;
            self.state.engines[engine.at()].fence(free_at + overhead);
            let flow = &mut self.ledger.flows[usize::from(flow)];
            if flow.latency_of == LatencyOf::Fence {
                flow.record_latency(free_at - (ready - overhead));
            }
        }
    }
}
