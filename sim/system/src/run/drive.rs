//! The loop: gives descriptors to the fabric, and more when it says that some are done or that it is time.

use std::collections::BTreeMap;

use peerbus_engine::Stream;
use peerbus_fabric::{
    Descriptor, Direction, EngineId, Fabric, FlowId, LatencyOf, LinkId, Standstill, Upcall,
};
use peerbus_machine::Machine;
use peerbus_units::{Bytes, DmaAddr, Picos, Rate};

use super::flow::{
    Commands, FlowPlan, Leg, Part, Program, STAGING_CHUNK, STAGING_CHUNKS, STAGING_HANDOVER, Step,
    descriptors_under_way,
};
use super::peer_memory::{self, Event, Io, Order, PeerMemories};
use super::schedule::Schedule;
use super::shared_buffer::{self, BufferEvent, SharedBuffers};
use super::shared_virtual::{self, Mover, SharedOrder, SharedSpaces};
use crate::boot::Booted;
use crate::space::IoLevels;

/// A flow under way or done.
#[derive(Clone, Debug)]
pub struct FlowRun {
    /// As planned.
    pub plan: FlowPlan,
    /// What the fabric counts for it: one flow per leg.
    pub legs: Vec<FlowId>,
    /// Bytes (or transfers) given to the first leg, and done by it.
    given: u64,
    done: u64,
    /// Bytes given to the second leg of a staged flow, and done by it.
    drain_given: u64,
    drained: u64,
    /// Legs of transfer slots that are not back yet.
    slots: Vec<u8>,
    /// Commands under way: the step of each, and when it began.
    commands: Vec<(usize, Picos)>,
    /// When it started.
    pub started: Option<Picos>,
    /// Where its transfers start.
    random: Stream,
}

/// A run after its end.
pub struct Driven {
    /// The fabric, finished.
    pub fabric: Fabric,
    /// Why it could not go on, if it stopped before its end.
    pub standstill: Option<Standstill>,
    /// The schedule.
    pub schedule: Schedule,
    /// Its flows.
    pub flows: Vec<FlowRun>,
    /// What became of its workloads on peer memory.
    pub peer_memories: Vec<peer_memory::Driven>,
    /// What became of its workloads on shared memory.
    pub shared: Vec<shared_virtual::Driven>,
    /// What became of its workloads on buffers that devices share.
    pub buffers: Vec<shared_buffer::Driven>,
    /// How full I/O address spaces were, where that changed.
    pub io_levels: IoLevels,
}

/// What a timer is set for.
enum Due {
    /// A flow starts.
    Start(usize),
    /// Something happens to peer memory.
    PeerMemory(Event),
    /// An agent of a workload on shared memory goes on.
    Shared((usize, usize)),
    /// Something happens to a buffer that devices share.
    Buffer(BufferEvent),
    /// A command's step can be taken: flow and number of the command.
    Step(usize, usize),
}

/// Tokens of transfers that clients of peer memory ordered; flow numbers leave this bit alone.
const ORDERED: u64 = 1 << 63;
/// Of those, the ones that agents on shared memory ordered.
const SHARED: u64 = 1 << 62;
/// And the ones that importers and exporters of buffers ordered.
const BUFFER: u64 = 1 << 61;

/// Random streams of flows, apart from those of clients of peer memory.
const PLACES: u64 = 1 << 62;
/// Bits of a token that number the step of a command.
const STEP_BITS: u32 = 4;

struct Driver<'a> {
    fabric: Fabric,
    memories: PeerMemories<'a>,
    shared: SharedSpaces,
    buffers: SharedBuffers<'a>,
    /// Who of both ordered a transfer, as `orders`.
    shared_orders: Vec<(usize, usize)>,
    free_shared: Vec<usize>,
    /// Who ordered a transfer, by number; numbers of transfers that are done are used again.
    orders: Vec<(usize, usize, usize)>,
    free_orders: Vec<usize>,
    flows: Vec<FlowRun>,
    /// Per workload: phases, the current one, and flows of it that are not done.
    phases: Vec<Vec<Vec<usize>>>,
    current: Vec<usize>,
    left: Vec<usize>,
    workload_of: Vec<usize>,
    due: BTreeMap<Picos, Vec<Due>>,
    seed: u64,
    /// Engines of the schedule.
    engines: Vec<EngineId>,
    /// Per device, when it can take another command.
    free_at: BTreeMap<usize, Picos>,
}

/// Runs a schedule to its end. `seed` is that of the random streams.
pub fn drive(
    machine: &Machine,
    booted: &Booted,
    mut fabric: Fabric,
    schedule: Schedule,
    seed: u64,
) -> Driven {
    let engines = schedule.engines.iter().map(|engine| fabric.add_engine(engine.clone())).collect();
    let mut workload_of = vec![0; schedule.flows.len()];
    for (workload, phases) in schedule.phases.iter().enumerate() {
        for flow in phases.iter().flatten() {
            workload_of[*flow] = workload;
        }
    }
    let workloads = schedule.phases.len();
    let mut driver = Driver {
        flows: Vec::new(),
        phases: schedule.phases.clone(),
        current: vec![0; workloads],
        left: vec![0; workloads],
        workload_of,
        due: BTreeMap::new(),
        memories: PeerMemories::new(machine, booted, &schedule.peer_memories, seed),
        shared: SharedSpaces::new(&schedule.shared, &memory_rates(machine, &fabric), seed),
        buffers: SharedBuffers::new(booted, &schedule.buffers, seed),
        shared_orders: Vec::new(),
        free_shared: Vec::new(),
        orders: Vec::new(),
        free_orders: Vec::new(),
        engines,
        free_at: BTreeMap::new(),
        fabric,
        seed,
    };
    for plan in &schedule.flows {
        let flow = driver.new_flow(plan);
        driver.flows.push(flow);
    }
    if workloads > 0 {
        driver.fabric.watch();
    }
    for workload in 0..workloads {
        driver.start_phase(workload);
    }
    let io = driver.memories.start();
    driver.follow(io);
    let io = driver.shared.start();
    driver.follow_shared(io);
    for io in driver.buffers.start(driver.memories.dma()) {
        driver.follow_buffer(io);
    }
    driver.plan_timer();
    while let Some(upcall) = driver.fabric.advance() {
        match upcall {
            Upcall::Done { token, .. } if token & (ORDERED | SHARED) == ORDERED | SHARED => {
                driver.shared_done(token);
            }
            Upcall::Done { token, delivered, .. } if token & (ORDERED | BUFFER) == ORDERED | BUFFER => {
                driver.buffer_done(token, delivered);
            }
            Upcall::Done { token, .. } if token & ORDERED != 0 => driver.order_done(token),
            Upcall::Done { token, delivered, refused, .. } => driver.done(token, delivered + refused),
            Upcall::Issued { token } => driver.step_done(token, true),
            Upcall::Timer => driver.handle_due(),
        }
        driver.plan_timer();
    }
    let standstill = driver.fabric.end();
    let (peer_memories, io_levels) = driver.memories.finish(driver.fabric.now(), standstill.is_none());
    let shared = driver.shared.finish(driver.fabric.now());
    let buffers = driver.buffers.finish(standstill.is_none());
    let flows = driver.flows;
    Driven { fabric: driver.fabric, standstill, schedule, flows, peer_memories, io_levels, shared, buffers }
}

/// Rates of the memories of devices, by index in the machine.
fn memory_rates(machine: &Machine, fabric: &Fabric) -> BTreeMap<usize, Rate> {
    let rate = |device: usize| {
        let node = usize::try_from(fabric.spec.device(device).0).unwrap_or(usize::MAX);
        Some((device, fabric.spec.nodes.get(node)?.memory?.rate))
    };
    (0..machine.devices.len()).filter_map(rate).collect()
}

impl Driver<'_> {
    fn new_flow(&mut self, plan: &FlowPlan) -> FlowRun {
        let (legs, latency) = match &plan.program {
            Program::Refused => (0, LatencyOf::Request),
            Program::Direct { .. } => (1, LatencyOf::Request),
            Program::Staged { .. } => (2, LatencyOf::Request),
            // A core goes on after a store without waiting for it to arrive.
            Program::Transfers { legs, .. } if legs.iter().any(|leg| self.is_fenced(leg)) => {
                (legs.len(), LatencyOf::Fence)
            }
            Program::Transfers { legs, .. } => (legs.len(), LatencyOf::Descriptor),
            Program::Commands(_) => (Part::COUNT, LatencyOf::User),
            Program::Ordered => (1, LatencyOf::Descriptor),
        };
        FlowRun {
            plan: plan.clone(),
            legs: (0..legs).map(|_| self.fabric.add_flow(latency)).collect(),
            given: 0,
            done: 0,
            drain_given: 0,
            drained: 0,
            slots: Vec::new(),
            commands: Vec::new(),
            started: None,
            random: Stream::new(self.seed, PLACES | u64::try_from(self.flows.len()).unwrap_or(u64::MAX)),
        }
    }

    fn start_phase(&mut self, workload: usize) {
        let Some(phase) = self.phases[workload].get(self.current[workload]).cloned() else { return };
        self.left[workload] = phase.len();
        for flow in phase {
            let start = self.flows[flow].plan.start;
            if start > self.fabric.now() {
                self.due.entry(start).or_default().push(Due::Start(flow));
            } else {
                self.start(flow);
            }
        }
    }

    fn plan_timer(&mut self) {
        if let Some((next, _)) = self.due.first_key_value() {
            self.fabric.set_timer(*next);
        }
    }

    /// Everything that is due now, in the order in which it was planned; what is planned meanwhile for now, too.
    fn handle_due(&mut self) {
        while let Some(entry) = self.due.first_entry() {
            let now = self.fabric.now();
            if *entry.key() > now {
                break;
            }
            for due in entry.remove() {
                match due {
                    Due::Start(flow) => self.start(flow),
                    Due::Step(flow, command) => self.take_step(flow, command),
                    Due::Shared(agent) => {
                        let io = self.shared.timer(agent, now);
                        self.follow_shared(io);
                    }
                    Due::Buffer(event) => {
                        let io = self.buffers.timer(event, self.memories.dma(), now);
                        self.follow_buffer(io);
                    }
                    Due::PeerMemory(event) => {
                        let io = self.memories.timer(event, now);
                        self.follow(io);
                    }
                }
            }
        }
    }

    /// Sets the timers and starts the transfers that something on peer memory led to.
    fn follow(&mut self, io: Io) {
        for (time, event) in io.timers {
            self.due.entry(time).or_default().push(Due::PeerMemory(event));
        }
        if !io.writes.is_empty() {
            io.writes.apply(self.fabric.iommu_mut());
        }
        for order in io.orders {
            self.start_order(&order);
        }
    }

    /// The same for agents on shared memory.
    fn follow_shared(&mut self, io: shared_virtual::Io) {
        for (time, agent) in io.timers {
            self.due.entry(time).or_default().push(Due::Shared(agent));
        }
        for order in io.orders {
            self.start_shared(&order, SHARED);
        }
    }

    /// The same for importers and exporters of buffers.
    fn follow_buffer(&mut self, io: shared_buffer::Io) {
        for (time, event) in io.timers {
            self.due.entry(time).or_default().push(Due::Buffer(event));
        }
        if !io.writes.is_empty() {
            io.writes.apply(self.fabric.iommu_mut());
        }
        for function in io.changed {
            self.memories.note_io(function, self.fabric.now());
        }
        for order in io.orders {
            self.start_shared(&order, BUFFER);
        }
    }

    /// Starts a transfer of one of those `whose` tokens have that bit.
    fn start_shared(&mut self, order: &SharedOrder, whose: u64) {
        let number = self.free_shared.pop().unwrap_or(self.shared_orders.len());
        if number == self.shared_orders.len() {
            self.shared_orders.push(order.owner);
        } else {
            self.shared_orders[number] = order.owner;
        }
        let token = ORDERED | whose | u64::try_from(number).unwrap_or(u64::MAX);
        let flow = self.flows[order.flow].legs[0];
        self.flows[order.flow].started.get_or_insert(self.fabric.now());
        let engine = match order.by {
            Mover::Device { device, direction, link } => self.engine_of(device, direction, link),
            Mover::Core(engine) => self.engines[engine],
        };
        self.fabric.submit(Descriptor::new(engine, DmaAddr(order.addr), order.bytes, flow, token));
    }

    fn shared_done(&mut self, token: u64) {
        let owner = self.ordered_by(token);
        let io = self.shared.done(owner, self.fabric.now());
        self.follow_shared(io);
    }

    fn buffer_done(&mut self, token: u64, delivered: u64) {
        let owner = self.ordered_by(token);
        let now = self.fabric.now();
        let io = self.buffers.done(owner, delivered, self.memories.dma(), now);
        self.follow_buffer(io);
    }

    /// Who ordered a transfer that is done, on shared memory or on a buffer.
    fn ordered_by(&mut self, token: u64) -> (usize, usize) {
        let number = usize::try_from(token & !(ORDERED | SHARED | BUFFER)).unwrap_or(usize::MAX);
        self.free_shared.push(number);
        self.shared_orders[number]
    }

    fn start_order(&mut self, order: &Order) {
        let number = self.free_orders.pop().unwrap_or(self.orders.len());
        if number == self.orders.len() {
            self.orders.push(order.owner);
        } else {
            self.orders[number] = order.owner;
        }
        let token = ORDERED | u64::try_from(number).unwrap_or(u64::MAX);
        let flow = self.flows[order.flow].legs[0];
        self.flows[order.flow].started.get_or_insert(self.fabric.now());
        let engine = self.engine_of(order.device, order.direction, None);
        self.fabric.submit(Descriptor::new(engine, DmaAddr(order.addr), order.bytes, flow, token));
    }

    fn order_done(&mut self, token: u64) {
        let number = usize::try_from(token & !ORDERED).unwrap_or(usize::MAX);
        self.free_orders.push(number);
        let io = self.memories.done(self.orders[number], self.fabric.now());
        self.follow(io);
    }

    fn start(&mut self, flow: usize) {
        self.fabric.look();
        self.flows[flow].started = Some(self.fabric.now());
        match self.flows[flow].plan.program.clone() {
            Program::Refused => self.finished(flow),
            Program::Ordered => {}
            Program::Commands(commands) => {
                let under_way = commands.depth.min(commands.count);
                self.flows[flow].commands =
                    vec![(0, Picos::ZERO); usize::try_from(under_way).unwrap_or(usize::MAX)];
                for command in 0..self.flows[flow].commands.len() {
                    self.begin_command(flow, command);
                }
            }
            Program::Direct { leg } => self.feed_direct(flow, &leg),
            Program::Staged { fill, drain } => self.feed_staged(flow, &fill, &drain),
            Program::Transfers { legs, size, stride, count, outstanding, buffers, cache, .. } => {
                for (cpu, buffer) in buffers {
                    self.fabric.prepare_memory(cpu, buffer, cache);
                }
                let slots = outstanding.min(count);
                self.flows[flow].slots = vec![0; usize::try_from(slots).unwrap_or(usize::MAX)];
                for slot in 0..slots {
                    self.give_transfer(flow, &legs, size, stride, slot);
                }
            }
        }
    }

    /// Keeps enough descriptors of a direct flow under way.
    fn feed_direct(&mut self, flow: usize, leg: &Leg) {
        loop {
            let run = &self.flows[flow];
            let (bytes, chunk) = (run.plan.bytes.0, run.plan.chunk.0);
            let enough = chunk.saturating_mul(descriptors_under_way(chunk));
            if run.given == bytes || run.given - run.done >= enough {
                return;
            }
            let given = run.given;
            let length = self.give(flow, 0, leg, given, chunk.min(bytes - given));
            self.flows[flow].given += length;
        }
    }

    /// Fills free chunks of the staging buffer and drains full ones.
    fn feed_staged(&mut self, flow: usize, fill: &Leg, drain: &Leg) {
        loop {
            let run = &self.flows[flow];
            let (bytes, chunk) = (run.plan.bytes.0, run.plan.chunk.0.min(STAGING_CHUNK));
            let room = run.drained + STAGING_CHUNKS * chunk;
            if run.given == bytes || run.given + chunk > room {
                break;
            }
            let given = run.given;
            let length = self.give(flow, 0, fill, given, chunk.min(bytes - given));
            self.flows[flow].given += length;
        }
        loop {
            let run = &self.flows[flow];
            if run.drain_given == run.done {
                return;
            }
            let chunk = run.plan.chunk.0.min(STAGING_CHUNK);
            let (given, length) = (run.drain_given, (run.done - run.drain_given).min(chunk));
            let length = self.give(flow, 1, drain, given, length);
            self.flows[flow].drain_given += length;
        }
    }

    /// Gives a descriptor for up to `length` bytes from `offset` and returns how many it holds.
    fn give(&mut self, flow: usize, leg_number: usize, leg: &Leg, offset: u64, length: u64) -> u64 {
        let (addr, room) = leg.place(offset);
        let length = length.min(room);
        self.submit(flow, leg_number, leg, addr, length, 0);
        length
    }

    fn give_transfer(&mut self, flow: usize, legs: &[Leg], size: u64, stride: u64, slot: u64) {
        let index = usize::try_from(slot).unwrap_or(usize::MAX);
        self.flows[flow].given += 1;
        self.flows[flow].slots[index] = u8::try_from(legs.len()).unwrap_or(1);
        let places = match self.flows[flow].plan.program {
            Program::Transfers { places, .. } => places,
            _ => None,
        };
        for (number, leg) in legs.iter().enumerate() {
            let place = places.map_or(slot, |places| self.flows[flow].random.below(places));
            self.submit(flow, number, leg, leg.base + place * stride, size, slot);
        }
    }

    fn submit(&mut self, flow: usize, leg_number: usize, leg: &Leg, addr: u64, bytes: u64, slot: u64) {
        let flow_number = u64::try_from(flow).unwrap_or(u64::MAX);
        let leg_bits = u64::try_from(leg_number).unwrap_or(0);
        let token = flow_number << 32 | slot << 1 | leg_bits;
        let attributes = self.flows[flow].plan.packets.attributes();
        let staged = matches!(self.flows[flow].plan.program, Program::Staged { .. });
        let flow = self.flows[flow].legs[leg_number];
        let engine = self.engine(leg);
        let software = if staged { STAGING_HANDOVER } else { Picos::ZERO };
        let descriptor = Descriptor::new(engine, DmaAddr(addr), Bytes(bytes), flow, token);
        self.fabric.submit(Descriptor { attributes, software, ..descriptor });
    }

    fn engine(&self, leg: &Leg) -> EngineId {
        match leg.engine {
            Some(engine) => self.engines[engine],
            None => self.engine_of(leg.device, leg.direction, leg.private),
        }
    }

    /// The engine of a device that moves data in that direction, on PCIe or on one of its private links.
    fn engine_of(&self, device: usize, direction: Direction, private: Option<LinkId>) -> EngineId {
        let spec = &self.fabric.spec;
        let private = private.and_then(|link| spec.private_engine(link, direction));
        private.unwrap_or_else(|| match direction {
            Direction::Write => spec.writer(device),
            Direction::Read => spec.reader(device),
        })
    }

    fn is_fenced(&self, leg: &Leg) -> bool {
        let engine = usize::try_from(self.engine(leg).0).unwrap_or(usize::MAX);
        self.fabric.spec.engines[engine].write_buffers.is_some_and(|buffers| buffers.fence)
    }

    fn begin_command(&mut self, flow: usize, command: usize) {
        self.flows[flow].given += 1;
        self.flows[flow].commands[command] = (0, self.fabric.now());
        self.plan_step(flow, command);
    }

    /// The step that `command` is at, if the flow is one of commands.
    fn step(&self, flow: usize, command: usize) -> Option<(usize, Step, &Commands)> {
        let Program::Commands(commands) = &self.flows[flow].plan.program else { return None };
        let number = self.flows[flow].commands[command].0;
        Some((number, commands.steps[number], commands))
    }

    /// Takes the next step of a command, or plans it for when the device is ready.
    fn plan_step(&mut self, flow: usize, command: usize) {
        let Some((_, step, _)) = self.step(flow, command) else { return };
        let now = self.fabric.now();
        let mut at = now;
        if step.spacing > Picos::ZERO {
            let free = self.free_at.entry(step.leg.device).or_default();
            at = at.max(*free);
            *free = at + step.spacing;
        }
        at += step.wait;
        if at > now {
            self.due.entry(at).or_default().push(Due::Step(flow, command));
        } else {
            self.take_step(flow, command);
        }
    }

    fn take_step(&mut self, flow: usize, command: usize) {
        let Some((number, step, _)) = self.step(flow, command) else { return };
        let number_of = |index: usize| u64::try_from(index).unwrap_or(u64::MAX);
        let token = number_of(flow) << 32 | number_of(command) << STEP_BITS | number_of(number);
        let addr = DmaAddr(step.leg.base.wrapping_add(step.stride * number_of(command)));
        let leg = self.flows[flow].legs[step.part as usize];
        let mut descriptor = Descriptor::new(self.engine(&step.leg), addr, Bytes(step.bytes), leg, token);
        descriptor.tell_issued = step.posted;
        // Queues, doorbells and interrupts are what orders the data.
        if step.part == Part::Data {
            descriptor.attributes = self.flows[flow].plan.packets.attributes();
        }
        self.fabric.submit(descriptor);
    }

    /// A step's requests have all been sent, or all of its bytes have arrived: the one of them that the next step waits for
    /// matters.
    fn step_done(&mut self, token: u64, issued: bool) {
        let index = |bits: u64| usize::try_from(bits).unwrap_or(usize::MAX);
        let (flow, command) = (index(token >> 32), index(token >> STEP_BITS & 0xfff_ffff));
        let number = index(token & ((1 << STEP_BITS) - 1));
        let Program::Commands(commands) = &self.flows[flow].plan.program else { return };
        if commands.steps[number].posted != issued {
            return;
        }
        let (steps, count) = (commands.steps.len(), commands.count);
        self.flows[flow].commands[command].0 = number + 1;
        if number + 1 < steps {
            return self.plan_step(flow, command);
        }
        let took = self.fabric.now().saturating_sub(self.flows[flow].commands[command].1);
        let data = usize::from(self.flows[flow].legs[Part::Data as usize].0);
        self.fabric.ledger.flows[data].record_latency(took.0);
        self.flows[flow].done += 1;
        if self.flows[flow].given < count {
            self.begin_command(flow, command);
        } else if self.flows[flow].done == count {
            self.finished(flow);
        }
    }

    fn done(&mut self, token: u64, bytes: u64) {
        let flow = usize::try_from(token >> 32).unwrap_or(usize::MAX);
        if matches!(self.flows[flow].plan.program, Program::Commands(_)) {
            return self.step_done(token, false);
        }
        let (slot, leg_number) = (token >> 1 & 0x7fff_ffff, token & 1);
        match self.flows[flow].plan.program.clone() {
            Program::Refused | Program::Ordered | Program::Commands(_) => {}
            Program::Direct { leg } => {
                self.flows[flow].done += bytes;
                self.feed_direct(flow, &leg);
                if self.flows[flow].done == self.flows[flow].plan.bytes.0 {
                    self.finished(flow);
                }
            }
            Program::Staged { fill, drain } => {
                if leg_number == 0 {
                    self.flows[flow].done += bytes;
                } else {
                    self.flows[flow].drained += bytes;
                }
                self.feed_staged(flow, &fill, &drain);
                if self.flows[flow].drained == self.flows[flow].plan.bytes.0 {
                    self.finished(flow);
                }
            }
            Program::Transfers { legs, size, stride, count, .. } => {
                let index = usize::try_from(slot).unwrap_or(usize::MAX);
                self.flows[flow].slots[index] -= 1;
                if self.flows[flow].slots[index] > 0 {
                    return;
                }
                self.flows[flow].done += 1;
                if self.flows[flow].given < count {
                    self.give_transfer(flow, &legs, size, stride, slot);
                } else if self.flows[flow].done == count {
                    self.finished(flow);
                }
            }
        }
    }

    fn finished(&mut self, flow: usize) {
        self.fabric.look();
        let workload = self.workload_of[flow];
        self.left[workload] -= 1;
        if self.left[workload] == 0 {
            self.current[workload] += 1;
            self.start_phase(workload);
        }
    }
}
