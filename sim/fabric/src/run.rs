//! [`Fabric`]: the machine in motion, and the loop that moves it.

use std::collections::VecDeque;

use peerbus_engine::{Queue, Slot};
use peerbus_machine::Registers;
use peerbus_machine::model::{Machine, Role};
use peerbus_machine::registers::IommuTables;
use peerbus_units::{CpuAddr, Picos, Range};

use crate::cache::Warmth;
use crate::cursor::AddressKind;
use crate::decode::{Decode, Miss};
use crate::fault::{Faults, LinkFaults};
use crate::handling::Handling;
use crate::ledger::{
    AtcLedger, CacheLedger, EngineLedger, FlowLedger, IommuLedger, LatencyOf, Ledger, LinkLedger,
    MemoryLedger, Refusal,
};
use crate::limits::{LOOK_INTERVAL, Looked, Series};
use crate::lost::Lost;
use crate::malformed::Malformed;
use crate::pages::Pager;
use crate::path::{Decoded, Routes, Terminal};
use crate::requester::{Descriptor, EngineState};
use crate::spec::{EngineId, FlowId, LinkId, NodeId, NodeKind, Options, Spec};
use crate::standstill::Standstill;
use crate::state::State;
use crate::tlp::{Attributes, Tlp};

/// Something the fabric's user waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Upcall {
    /// A descriptor is done: all of its bytes were delivered or refused.
    Done {
        /// The descriptor's token.
        token: u64,
        /// When it was submitted.
        submitted: Picos,
        /// Bytes delivered.
        delivered: u64,
        /// Bytes refused.
        refused: u64,
    },
    /// A descriptor that asked for it has sent its last request. Writes may still be on their way, but nothing that its
    /// engine writes to the same place from now on arrives before them.
    Issued {
        /// The descriptor's token.
        token: u64,
    },
    /// The timer rang.
    Timer,
}

/// Descriptors under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Descriptors {
    open: Vec<OpenDescriptor>,
    free: Vec<u16>,
}

#[derive(Clone, Copy, Debug)]
struct OpenDescriptor {
    token: u64,
    submitted: u64,
    left: u64,
    refused: u64,
    asked: u64,
    tell_issued: bool,
    /// A device's question about a page, of which the fabric's user knows nothing.
    question: bool,
}

impl Descriptors {
    /// Descriptors that are not done.
    fn under_way(&self) -> usize {
        self.open.len() - self.free.len()
    }

    /// All bytes of `number`, where `length` are the last of them; `None` while others are missing.
    pub(crate) fn ends_with(&self, number: u16, length: u64) -> Option<u64> {
        let open = &self.open[usize::from(number)];
        (open.left == length).then_some(open.asked)
    }

    pub(crate) fn open(&mut self, descriptor: &Descriptor, now: u64) -> u16 {
        let asked = descriptor.bytes.0;
        let Descriptor { token, tell_issued, .. } = *descriptor;
        let question = descriptor.attributes.has(Attributes::TRANSLATION_REQUEST);
        let open =
            OpenDescriptor { token, submitted: now, left: asked, refused: 0, asked, tell_issued, question };
        match self.free.pop() {
            Some(number) => {
                self.open[usize::from(number)] = open;
                number
            }
            None => {
                self.open.push(open);
                u16::try_from(self.open.len() - 1).expect("at most 65,536 descriptors are under way")
            }
        }
    }
}

/// A machine in motion.
pub struct Fabric {
    /// What it is made of.
    pub spec: Spec,
    /// What has happened so far.
    pub ledger: Ledger,
    pub(crate) state: State,
    pub(crate) queue: Queue,
    pub(crate) routes: Routes,
    pub(crate) descriptors: Descriptors,
    pub(crate) faults: Faults,
    pub(crate) handling: Handling,
    pub(crate) looked: Looked,
    /// End of the current interval of the series.
    pub(crate) series_end: u64,
    /// Busy times of links since the last end of a regular interval.
    pub(crate) series_part: Vec<u64>,
    /// First queue number and stride of each link's inputs.
    pub(crate) queue_base: Vec<(u32, u32)>,
    pub(crate) decode: Decode,
    /// Some posted requests may pass others.
    pub(crate) reorders: bool,
    /// When software last wrote tables that say where requests go.
    tables_written: Option<u64>,
    pub(crate) pager: Pager,
    machine: Machine,
    registers: Registers,
    upcalls: VecDeque<Upcall>,
    #[cfg(debug_assertions)]
    pub(crate) order: crate::order::Order,
}

impl Fabric {
    /// A fabric at rest at time 0.
    pub fn new(machine: &Machine, registers: &Registers, options: &Options) -> Fabric {
        let spec = Spec::new(machine, registers, options);
        let decode = Decode::new(machine, registers, &spec);
        let slots = u32::try_from(2 * spec.links.len() + 4).expect("links are counted in 32 bits");
        let queue_base = spec.links.iter().map(|link| {
            let node = &spec.nodes[link.from.at()];
            (node.first_queue + link.output, u32::try_from(node.outputs.len()).unwrap_or(u32::MAX))
        });
        let ledger = Ledger {
            links: vec![LinkLedger::default(); spec.links.len()],
            faults: vec![LinkFaults::default(); spec.links.len()],
            timeouts: vec![Lost::default(); spec.engines.len()],
            unexpected: vec![Lost::default(); spec.engines.len()],
            malformed: vec![Malformed::default(); spec.links.len()],
            engines: vec![EngineLedger::default(); spec.engines.len()],
            memories: vec![MemoryLedger::default(); spec.nodes.len()],
            caches: vec![CacheLedger::default(); spec.nodes.len()],
            iommus: vec![IommuLedger::default(); spec.nodes.len()],
            atcs: vec![AtcLedger::default(); spec.nodes.len()],
            peers: vec![[0; 2]; spec.nodes.len()],
            series: Series { interval: LOOK_INTERVAL, ..Series::default() },
            ..Ledger::default()
        };
        Fabric {
            queue_base: queue_base.collect(),
            state: State::new(&spec),
            queue: Queue::new(slots),
            routes: Routes::default(),
            descriptors: Descriptors::default(),
            faults: Faults::new(&spec, options.link_layer),
            handling: Handling::default(),
            looked: Looked::default(),
            series_end: LOOK_INTERVAL,
            series_part: vec![0; spec.links.len()],
            decode,
            reorders: false,
            tables_written: None,
            pager: Pager::default(),
            machine: machine.clone(),
            registers: registers.clone(),
            upcalls: VecDeque::new(),
            #[cfg(debug_assertions)]
            order: crate::order::Order::default(),
            ledger,
            spec,
        }
    }

    /// Simulated time now.
    pub fn now(&self) -> Picos {
        Picos(self.state.now)
    }

    /// A new flow to count for. At most 65,536.
    pub fn add_flow(&mut self, latency_of: LatencyOf) -> FlowId {
        let number = u16::try_from(self.ledger.flows.len()).expect("at most 65,536 flows");
        self.ledger.flows.push(FlowLedger::new(latency_of));
        FlowId(number)
    }

    /// Asks for [`Upcall::Timer`] at `time`, or at once if that is past; replaces an earlier request.
    pub fn set_timer(&mut self, time: Picos) {
        self.queue.set(self.timer_slot(), time.0.max(self.state.now));
    }

    /// Lets time pass until something is to be told. `None` when nothing is under way any more.
    pub fn advance(&mut self) -> Option<Upcall> {
        loop {
            if let Some(upcall) = self.upcalls.pop_front() {
                return Some(upcall);
            }
            let (time, slot) = self.queue.next()?;
            if slot == self.fault_slot() && self.is_over() {
                self.forget_faults();
                continue;
            }
            debug_assert!(time >= self.state.now, "time runs backwards");
            self.state.now = time;
            self.ledger.events += 1;
            let link = LinkId(slot.0 / 2);
            if link.at() < self.spec.links.len() {
                if slot.0.is_multiple_of(2) { self.arrive(link) } else { self.start(link) }
            } else if slot == self.look_slot() {
                self.queue.clear(slot);
                self.look();
                self.extend_series();
                self.plan_look();
            } else if slot == self.fault_slot() {
                self.faults_due();
            } else if slot == self.handling_slot() {
                self.handling_due();
            } else {
                self.queue.clear(slot);
                self.upcalls.push_back(Upcall::Timer);
            }
        }
    }

    /// Plans the next look, if anything else is still to happen.
    fn plan_look(&mut self) {
        let Some(fault) = self.queue.due(self.fault_slot()) else {
            if self.queue.next().is_some() {
                self.queue.set(self.look_slot(), self.state.now + LOOK_INTERVAL);
            }
            return;
        };
        // While reads only wait for their timeouts there is nothing to see.
        if !self.waits_for_faults() {
            self.queue.set(self.look_slot(), self.state.now + LOOK_INTERVAL);
        } else if self.descriptors.under_way() > 0 {
            self.queue.set(self.look_slot(), fault.max(self.state.now + LOOK_INTERVAL));
        }
    }

    /// Nothing is due but faults and looks.
    fn waits_for_faults(&mut self) -> bool {
        let slots = [self.fault_slot(), self.look_slot()];
        let due = slots.map(|slot| self.queue.due(slot));
        slots.into_iter().for_each(|slot| self.queue.clear(slot));
        let nothing = self.queue.next().is_none();
        for (slot, due) in slots.into_iter().zip(due) {
            if let Some(due) = due {
                self.queue.set(slot, due);
            }
        }
        nothing
    }

    /// All work is done, and no more will be asked for.
    fn is_over(&mut self) -> bool {
        self.descriptors.under_way() == 0 && self.waits_for_faults()
    }

    /// Starts looking at what limits flows. Called once, before the first [`Fabric::advance`].
    pub fn watch(&mut self) {
        self.queue.set(self.look_slot(), self.state.now + LOOK_INTERVAL);
    }

    /// [`Fabric::end`] of a run that must not stand still.
    pub fn finish(&mut self) {
        let standstill = self.end();
        assert!(standstill.is_none(), "{standstill:?}");
    }

    /// Takes a last look and checks that nothing was lost: bytes asked are bytes delivered or refused, all
    /// credits are back, no TLP is left. Call it when [`Fabric::advance`] has returned `None`. A run that stands still
    /// before its end, which has lost nothing, says why.
    pub fn end(&mut self) -> Option<Standstill> {
        self.look();
        self.series_end = 0;
        self.extend_series();
        if let Some(standstill) = self.standstill() {
            return Some(standstill);
        }
        let leftovers = self.state.leftovers(&self.spec, &self.ledger.faults);
        assert!(leftovers.is_empty(), "the fabric lost something: {leftovers:?}");
        for flow in &self.ledger.flows {
            assert_eq!(flow.asked, flow.delivered + flow.refused, "bytes of a flow were lost");
            assert_eq!(flow.time.iter().sum::<u64>(), flow.lifetime, "time of a flow was lost");
        }
        None
    }

    /// The IOMMU tables, for software to write while time stands still. Requests issued from now on are translated by
    /// what is written; those under way go where they were going. Nothing of the old tables stays remembered: software
    /// waits for that, whether it flushes each page or all of them later.
    pub fn iommu_mut(&mut self) -> &mut IommuTables {
        for (iotlb, ledger) in self.state.iotlbs.iter_mut().zip(&mut self.ledger.iommus) {
            if let Some(iotlb) = iotlb {
                iotlb.invalidate();
                ledger.invalidations += 1;
            }
        }
        self.invalidate_devices();
        self.tables_were_written();
        &mut self.decode.iommu
    }

    /// Software wrote tables that say where requests go: what is issued from now on follows them.
    pub(crate) fn tables_were_written(&mut self) {
        self.tables_written = Some(self.state.now);
        self.state.engines.iter_mut().for_each(EngineState::forget_routes);
    }

    /// Lets the cache in front of the memory of CPU `cpu` hold `range` as `warmth` says; without a cache nothing happens.
    pub fn prepare_memory(&mut self, cpu: usize, range: Range<CpuAddr>, warmth: Warmth) {
        let node = self.spec.cpu(cpu);
        if let Some(cache) = &mut self.state.caches[node.at()] {
            cache.prepare(range, warmth);
        }
    }

    /// What was missed by requests that nobody claimed, in the order of [`Ledger::refusals`].
    pub fn misses(&self) -> &[Miss] {
        &self.routes.misses
    }

    /// The links of a route, in order.
    pub fn route_links(&self, route: u32) -> Vec<LinkId> {
        self.routes.links(route).collect()
    }

    /// Routes `addr` as a request of `engine` would go, without sending anything.
    pub fn trace(&mut self, engine: EngineId, addr: u64) -> u32 {
        self.decode_request(engine, addr).route
    }

    /// Bytes of descriptor `number` have been delivered or refused at `time`.
    pub(crate) fn account(&mut self, number: u16, flow: u16, bytes: u64, delivered: bool, time: u64) {
        let flow = &mut self.ledger.flows[usize::from(flow)];
        flow.last = flow.last.max(time);
        let open = &mut self.descriptors.open[usize::from(number)];
        open.left -= bytes;
        if delivered {
            flow.delivered += bytes;
        } else {
            flow.refused += bytes;
            open.refused += bytes;
        }
        if open.left == 0 {
            if flow.latency_of == LatencyOf::Descriptor && open.refused == 0 {
                flow.record_latency(time - open.submitted);
            }
            let (token, submitted) = (open.token, Picos(open.submitted));
            let (delivered, refused) = (open.asked - open.refused, open.refused);
            let question = open.question;
            self.descriptors.free.push(number);
            if question {
                self.translation_done(token, refused > 0);
                return;
            }
            self.upcalls.push_back(Upcall::Done { token, submitted, delivered, refused });
        }
    }

    /// Descriptor `number` has sent its last request.
    #[inline]
    pub(crate) fn tell_issued(&mut self, number: u16) {
        let open = &self.descriptors.open[usize::from(number)];
        if open.tell_issued {
            self.upcalls.push_back(Upcall::Issued { token: open.token });
        }
    }

    /// A request of `flow` took that long.
    pub(crate) fn record_request(&mut self, flow: u16, picos: u64) {
        let flow = &mut self.ledger.flows[usize::from(flow)];
        if flow.latency_of == LatencyOf::Request {
            flow.record_latency(picos);
        }
    }

    /// Where requests of `engine` for `bytes` from `first` on end, without sending anything: memories (`None` where nobody
    /// claims them) with the first address and the bytes, in order.
    pub fn destinations(
        &mut self,
        engine: EngineId,
        first: u64,
        bytes: u64,
    ) -> Vec<(Option<NodeId>, u64, u64)> {
        let mut found: Vec<(Option<NodeId>, u64, u64)> = Vec::new();
        let (mut addr, mut left) = (first, bytes);
        while left > 0 {
            let decoded = self.decode_request(engine, addr);
            let length = (decoded.last - addr).saturating_add(1).min(left);
            let node = match self.routes.routes[decoded.route as usize].terminal {
                Terminal::Memory(node) | Terminal::Aperture(node) | Terminal::HostManaged(node) => Some(node),
                _ => None,
            };
            match found.last_mut() {
                Some(last) if last.0 == node => last.2 += length,
                _ => found.push((node, addr, length)),
            }
            addr = addr.wrapping_add(length);
            left -= length;
        }
        found
    }

    pub(crate) fn decode_request(&mut self, engine: EngineId, addr: u64) -> Decoded {
        let kind = self.spec.kind_of_addresses(engine);
        self.decode_as(engine, addr, kind)
    }

    /// Decodes `addr` as an address of that kind.
    pub(crate) fn decode_as(&mut self, engine: EngineId, addr: u64, kind: AddressKind) -> Decoded {
        let (machine, registers, spec) = (&self.machine, &self.registers, &self.spec);
        let max_payload =
            |completer: NodeId, links: &[LinkId]| max_payload(machine, registers, spec, completer, links);
        let decoded = self.routes.decode(machine, spec, &self.decode, &max_payload, engine, (addr, kind));
        self.ledger.refusals.resize(self.routes.misses.len(), Refusal::default());
        if self.faults.has_retrained() {
            self.refresh_cut_through();
        }
        decoded
    }

    /// The way of completions from `node` to `engine`, if there is one, for a request that came through `bridges`.
    pub(crate) fn completion_route(
        &mut self,
        engine: EngineId,
        node: NodeId,
        bridges: &[LinkId],
    ) -> Option<u32> {
        let (machine, registers, spec) = (&self.machine, &self.registers, &self.spec);
        let max_payload =
            |completer: NodeId, links: &[LinkId]| max_payload(machine, registers, spec, completer, links);
        let route =
            self.routes.completion(machine, spec, &self.decode, &max_payload, engine, (node, bridges));
        if self.faults.has_retrained() {
            self.refresh_cut_through();
        }
        route
    }

    /// In debug builds, decodes the whole way of a request again and compares the next hop.
    #[inline]
    pub(crate) fn check_route(&self, link: LinkId, next: LinkId, tlp: &Tlp) {
        debug_assert_eq!(self.spec.links[link.at()].to, self.spec.links[next.at()].from, "{tlp:?} jumps");
        #[cfg(debug_assertions)]
        let as_issued = self.tables_written.is_none_or(|written| tlp.issued > written);
        #[cfg(debug_assertions)]
        if as_issued
            && !self.is_translated(tlp.hop)
            && tlp.class != crate::tlp::Class::Completion
            && self.ledger.events.is_multiple_of(64)
        {
            let engine = EngineId(u32::from(tlp.engine));
            let mut again = Routes::default();
            let kind = match tlp.attributes.has(Attributes::TRANSLATED) {
                true => AddressKind::Translated,
                false => self.spec.kind_of_addresses(engine),
            };
            let (machine, addr) = (&self.machine, (tlp.addr, kind));
            let decoded = again.decode(machine, &self.spec, &self.decode, &|_, _| 128, engine, addr);
            let links: Vec<LinkId> = again.links(decoded.route).collect();
            assert!(
                links.windows(2).any(|pair| pair == [link, next]),
                "{tlp:?} does not go where its address leads"
            );
        }
    }

    pub(crate) fn arrival_slot(link: LinkId) -> Slot {
        Slot(2 * link.0)
    }

    pub(crate) fn start_slot(link: LinkId) -> Slot {
        Slot(2 * link.0 + 1)
    }

    fn look_slot(&self) -> Slot {
        Slot(u32::try_from(2 * self.spec.links.len()).unwrap_or(u32::MAX))
    }

    fn timer_slot(&self) -> Slot {
        Slot(self.look_slot().0 + 1)
    }

    pub(crate) fn fault_slot(&self) -> Slot {
        Slot(self.look_slot().0 + 2)
    }

    pub(crate) fn handling_slot(&self) -> Slot {
        Slot(self.look_slot().0 + 3)
    }
}

/// The largest completion that `completer` may send on its way over `links`: its own MPS, or for host memory, also that at
/// the end of a CXL link, that of the root port it leaves by.
fn max_payload(
    machine: &Machine,
    registers: &Registers,
    spec: &Spec,
    completer: NodeId,
    links: &[LinkId],
) -> u64 {
    let of_host = links.first().is_some_and(|link| spec.links[link.at()].memory);
    if let NodeKind::Device(device) = spec.nodes[completer.at()].kind
        && !of_host
    {
        return registers.max_payload(machine.devices[device].functions[0]).0;
    }
    let ports = spec.nodes.iter().flat_map(|node| &node.ports);
    let functions = ports.filter(|port| links.contains(&port.down)).filter_map(|port| port.function);
    let root_port = functions.filter(|function| machine.functions[*function].role == Role::RootPort);
    root_port.map(|function| registers.max_payload(function).0).min().unwrap_or(128)
}
