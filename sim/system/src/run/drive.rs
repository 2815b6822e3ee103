//! The loop: gives descriptors to the fabric, and more when it says that some are done.

use std::collections::BTreeMap;

use peerbus_fabric::{Descriptor, Direction, Fabric, FlowId, LatencyOf, Upcall};
use peerbus_units::{Bytes, DmaAddr, Picos};

use super::flow::{FlowPlan, Leg, Program, STAGING_CHUNKS, descriptors_under_way};
use super::schedule::Schedule;

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
    /// When it started.
    pub started: Option<Picos>,
}

/// A run after its end.
pub struct Driven {
    /// The fabric, finished.
    pub fabric: Fabric,
    /// The schedule.
    pub schedule: Schedule,
    /// Its flows.
    pub flows: Vec<FlowRun>,
}

struct Driver {
    fabric: Fabric,
    flows: Vec<FlowRun>,
    /// Per workload: phases, the current one, and flows of it that are not done.
    phases: Vec<Vec<Vec<usize>>>,
    current: Vec<usize>,
    left: Vec<usize>,
    workload_of: Vec<usize>,
    starts: BTreeMap<Picos, Vec<usize>>,
}

/// Runs a schedule to its end.
pub fn drive(fabric: Fabric, schedule: Schedule) -> Driven {
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
        starts: BTreeMap::new(),
        fabric,
    };
    for plan in &schedule.flows {
        let flow = driver.new_flow(plan);
        driver.flows.push(flow);
    }
    driver.fabric.watch();
    for workload in 0..workloads {
        driver.start_phase(workload);
    }
    while let Some(upcall) = driver.fabric.advance() {
        match upcall {
            Upcall::Done { token, delivered, refused, .. } => driver.done(token, delivered + refused),
            Upcall::Timer => driver.start_due(),
        }
    }
    driver.fabric.finish();
    Driven { fabric: driver.fabric, schedule, flows: driver.flows }
}

impl Driver {
    fn new_flow(&mut self, plan: &FlowPlan) -> FlowRun {
        let (legs, latency) = match &plan.program {
            Program::Refused => (0, LatencyOf::Request),
            Program::Direct { .. } => (1, LatencyOf::Request),
            Program::Staged { .. } => (2, LatencyOf::Request),
            Program::Transfers { legs, .. } => (legs.len(), LatencyOf::Descriptor),
        };
        FlowRun {
            plan: plan.clone(),
            legs: (0..legs).map(|_| self.fabric.add_flow(latency)).collect(),
            given: 0,
            done: 0,
            drain_given: 0,
            drained: 0,
            slots: Vec::new(),
            started: None,
        }
    }

    fn start_phase(&mut self, workload: usize) {
        let Some(phase) = self.phases[workload].get(self.current[workload]).cloned() else { return };
        self.left[workload] = phase.len();
        for flow in phase {
            let start = self.flows[flow].plan.start;
            if start > self.fabric.now() {
                self.starts.entry(start).or_default().push(flow);
            } else {
                self.start(flow);
            }
        }
        self.plan_timer();
    }

    fn plan_timer(&mut self) {
        if let Some((next, _)) = self.starts.first_key_value() {
            self.fabric.set_timer(*next);
        }
    }

    fn start_due(&mut self) {
        while let Some(entry) = self.starts.first_entry() {
            if *entry.key() > self.fabric.now() {
                break;
            }
            for flow in entry.remove() {
                self.start(flow);
            }
        }
        self.plan_timer();
    }

    fn start(&mut self, flow: usize) {
        self.fabric.look();
        self.flows[flow].started = Some(self.fabric.now());
        match self.flows[flow].plan.program.clone() {
            Program::Refused => self.finished(flow),
            Program::Direct { leg } => self.feed_direct(flow, &leg),
            Program::Staged { fill, drain } => self.feed_staged(flow, &fill, &drain),
            Program::Transfers { legs, size, stride, count, outstanding } => {
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
            let (bytes, chunk) = (run.plan.bytes.0, run.plan.chunk.0);
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
            let (given, length) = (run.drain_given, (run.done - run.drain_given).min(run.plan.chunk.0));
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
        for (number, leg) in legs.iter().enumerate() {
            self.submit(flow, number, leg, leg.base + slot * stride, size, slot);
        }
    }

    fn submit(&mut self, flow: usize, leg_number: usize, leg: &Leg, addr: u64, bytes: u64, slot: u64) {
        let engine = match leg.direction {
            Direction::Write => self.fabric.spec.writer(leg.device),
            Direction::Read => self.fabric.spec.reader(leg.device),
        };
        let flow_number = u64::try_from(flow).unwrap_or(u64::MAX);
        let leg_bits = u64::try_from(leg_number).unwrap_or(0);
        self.fabric.submit(Descriptor {
            engine,
            direction: leg.direction,
            addr: DmaAddr(addr),
            bytes: Bytes(bytes),
            flow: self.flows[flow].legs[leg_number],
            token: flow_number << 32 | slot << 1 | leg_bits,
        });
    }

    fn done(&mut self, token: u64, bytes: u64) {
        let flow = usize::try_from(token >> 32).unwrap_or(usize::MAX);
        let (slot, leg_number) = (token >> 1 & 0x7fff_ffff, token & 1);
        match self.flows[flow].plan.program.clone() {
            Program::Refused => {}
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
