//! The events of `SharedVirtual`: phases begin, agents go on, transfers end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use peerbus_engine::Stream;
use peerbus_fabric::{Direction, LinkId};
use peerbus_os::device_private::PrivateMemory;
use peerbus_os::drivers::Driver;
use peerbus_os::mm::vma::Advice;
use peerbus_os::mm::{DeviceId, Mapping, Mm, SpaceId, Vpn};
use peerbus_os::pagemap::Owner;
use peerbus_os::test_device::Kind;
use peerbus_units::{Bytes, Picos, Rate};

use super::agent::{Agent, Waits};
use super::costs;
use super::plan::SharedPlan;
use super::spaces::Levels;
use super::tally::{Step, Tally};
use crate::shared_virtual::{Activity, Reaching};

/// First page of a process's first range.
const FIRST_PAGE: Vpn = 0x0007_f000_0000;
/// Pages between ranges.
const GAP: u64 = 512;

/// Who an agent is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Who {
    /// A core of a CPU, by index in the machine.
    Cpu(usize),
    /// A GPU, by index in the plan.
    Gpu(usize),
    /// Another device, by index in the plan.
    Adapter(usize),
}

/// A range of a process's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeOf {
    /// The process.
    pub space: SpaceId,
    /// First page. No page of another process has its number.
    pub first: Vpn,
    /// Pages.
    pub pages: u64,
}

/// Which engine moves data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mover {
    /// One of a device.
    Device {
        /// By index in the machine.
        device: usize,
        /// Which way.
        direction: Direction,
        /// The private link it uses; `None` for PCIe.
        link: Option<LinkId>,
    },
    /// An engine of the schedule: a core.
    Core(usize),
}

/// A transfer for the fabric. Its end comes back as [`SharedSpaces::done`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SharedOrder {
    /// Which flow of the schedule it is counted for.
    pub flow: usize,
    /// Who moves the data.
    pub by: Mover,
    /// First address.
    pub addr: u64,
    /// Bytes.
    pub bytes: Bytes,
    /// Who is told of its end: workload and agent.
    pub owner: (usize, usize),
}

/// What an event leads to.
#[derive(Clone, Debug, Default)]
pub struct Io {
    /// When an agent of a workload goes on.
    pub timers: Vec<(Picos, (usize, usize))>,
    /// Transfers to start, in this order.
    pub orders: Vec<SharedOrder>,
}

/// A workload under way.
pub(super) struct Process {
    pub plan: SharedPlan,
    pub mm: Mm,
    /// Of GPUs, then of adapters.
    pub drivers: Vec<Driver>,
    /// Why a GPU's memory has no page structs.
    pub without_structs: BTreeMap<usize, String>,
    /// Per driver, faults that are being served.
    pub handling: Vec<u32>,
    /// Per driver, agents whose faults wait for a handler.
    pub fault_buffers: Vec<VecDeque<usize>>,
    /// Agents whose faults have a handler from now on.
    pub called: Vec<usize>,
    /// All ranges.
    pub ranges: Vec<RangeOf>,
    /// Of each range, whose memory is preferred.
    preferred: Vec<Option<Who>>,
    /// What was written last to each page.
    pub values: BTreeMap<Vpn, u64>,
    /// When pages left a device.
    pub left_at: BTreeMap<Vpn, Picos>,
    /// All agents so far; those of earlier phases are over.
    pub agents: Vec<Agent>,
    pub tallies: BTreeMap<Who, Tally>,
    /// How full everything is that can run out.
    pub levels: Levels,
    /// Names of GPUs.
    names: Vec<String>,
    /// Rate of each device's memory.
    pub rates: BTreeMap<usize, Rate>,
    phase: usize,
    running: usize,
    seed: u64,
}

/// All `SharedVirtual` workloads of a run.
#[derive(Default)]
pub struct SharedSpaces {
    processes: Vec<Process>,
}

/// A workload after the run.
pub struct Driven {
    /// As planned.
    pub plan: SharedPlan,
    /// Counts.
    pub tallies: BTreeMap<Who, Tally>,
    /// Activities.
    pub agents: Vec<Agent>,
    /// GPUs whose memory has no page structs, and why.
    pub without_structs: BTreeMap<usize, String>,
    /// Bytes of page structs per GPU.
    pub page_structs: Vec<Bytes>,
    /// How full everything was that can run out.
    pub levels: Levels,
    /// Frames and page structs at the end.
    pub memory: PrivateMemory,
}

impl SharedSpaces {
    /// The processes of all workloads, with their memory and drivers.
    pub fn new(plans: &[SharedPlan], rates: &BTreeMap<usize, Rate>, seed: u64) -> SharedSpaces {
        SharedSpaces { processes: plans.iter().map(|plan| Process::new(plan, rates, seed)).collect() }
    }

    /// Begins all first phases.
    pub fn start(&mut self) -> Io {
        let mut io = Io::default();
        for (workload, process) in self.processes.iter_mut().enumerate() {
            process.start_phase(workload, Picos::ZERO, &mut io);
        }
        io
    }

    /// An agent's time has come.
    pub fn timer(&mut self, (workload, agent): (usize, usize), now: Picos) -> Io {
        let mut io = Io::default();
        self.processes[workload].go_on((workload, agent), now, &mut io);
        io
    }

    /// One of an agent's transfers has ended.
    pub fn done(&mut self, (workload, agent): (usize, usize), now: Picos) -> Io {
        let mut io = Io::default();
        let process = &mut self.processes[workload];
        match &mut process.agents[agent].waits {
            Waits::Copies(left, since, pieces) => {
                *left -= 1;
                if *left == 0 {
                    let (since, pieces) = (*since, *pieces);
                    let telling = costs::COPY.of(pieces);
                    let mut agents = std::mem::take(&mut process.agents);
                    process.spend(&mut agents[agent], Step::Transfer, now.saturating_sub(since));
                    process.spend(&mut agents[agent], Step::Copy, telling);
                    agents[agent].waits = Waits::Timer;
                    process.agents = agents;
                    io.timers.push((Picos(now.0 + telling.0), (workload, agent)));
                }
            }
            Waits::Accesses(left) => {
                *left -= 1;
                if *left == 0 {
                    process.agents[agent].waits = Waits::Timer;
                    process.go_on((workload, agent), now, &mut io);
                }
            }
            Waits::Timer | Waits::Handler(_) => {}
        }
        io
    }

    /// After the last event.
    pub fn finish(self, end: Picos) -> Vec<Driven> {
        let driven = self.processes.into_iter().map(|mut process| {
            process.levels.advance(end);
            let structs = |gpu: usize| {
                let id = DeviceId(u32::try_from(gpu).unwrap_or(u32::MAX));
                process.mm.page_structs(id)
            };
            Driven {
                page_structs: (0..process.plan.gpus.len()).map(structs).collect(),
                plan: process.plan,
                tallies: process.tallies,
                levels: process.levels,
                memory: process.mm.private_memory().clone(),
                agents: process.agents,
                without_structs: process.without_structs,
            }
        });
        driven.collect()
    }
}

impl Process {
    fn new(plan: &SharedPlan, rates: &BTreeMap<usize, Rate>, seed: u64) -> Process {
        let mut mm = Mm::new(PrivateMemory::new(plan.platform.clone()));
        mm.defer_driver_work(true);
        let mut spaces: BTreeMap<Option<&str>, SpaceId> = BTreeMap::new();
        let mut ranges = Vec::new();
        let mut next = FIRST_PAGE;
        for range in &plan.spec.ranges {
            let pages = range.bytes.0.div_ceil(2 << 20) * 512;
            let space = *spaces.entry(range.process.as_deref()).or_insert_with(|| mm.create_space());
            let mapped = mm.map(space, next, next + pages, Mapping::anonymous(true, true));
            assert!(mapped.is_ok(), "a new process has room for its ranges: {mapped:?}");
            if !range.huge {
                let advised = mm.advise_huge(space, next, next + pages, Advice::NoHuge);
                assert!(advised.is_ok(), "a mapping takes advice: {advised:?}");
            }
            ranges.push(RangeOf { space, first: next, pages });
            next += pages + GAP;
        }
        let mut process = Process {
            plan: plan.clone(),
            mm,
            drivers: Vec::new(),
            handling: Vec::new(),
            fault_buffers: Vec::new(),
            called: Vec::new(),
            preferred: plan
                .spec
                .ranges
                .iter()
                .map(|range| range.preferred.as_ref().and_then(|who| plan.who(who)))
                .collect(),
            without_structs: BTreeMap::new(),
            ranges,
            values: BTreeMap::new(),
            left_at: BTreeMap::new(),
            agents: Vec::new(),
            tallies: BTreeMap::new(),
            levels: Levels::new(plan),
            names: plan.names.iter().take(plan.gpus.len()).map(|(name, _)| name.clone()).collect(),
            rates: rates.clone(),
            phase: 0,
            running: 0,
            seed,
        };
        process.load_drivers();
        process.follow_levels(Picos::ZERO);
        process
    }

    fn load_drivers(&mut self) {
        let id = |index: usize| DeviceId(u32::try_from(index).unwrap_or(u32::MAX));
        let all = self.plan.gpus.len() + self.plan.adapters.len();
        self.handling = vec![0; all];
        self.fault_buffers = vec![VecDeque::new(); all];
        let spaces: BTreeSet<SpaceId> = self.ranges.iter().map(|range| range.space).collect();
        for (index, gpu) in self.plan.gpus.iter().enumerate() {
            let owner = Owner(gpu.owner);
            let kind = gpu.coherent.map_or(Kind::Private, Kind::Coherent);
            let loaded = Driver::load(&mut self.mm, id(index), gpu.policy, (gpu.memory, kind), owner);
            let mut driver = match loaded {
                Ok(driver) => driver,
                Err(_) => {
                    let why = format!("{} of memory get no page structs", gpu.memory);
                    self.without_structs.insert(index, why);
                    Driver::without_memory(&mut self.mm, id(index))
                }
            };
            if let Some(window) = gpu.window {
                let opened = self.mm.open_peer_window(id(index), window);
                if let Err(error) = opened {
                    let why = format!("its window gets no page structs: {error}");
                    self.without_structs.entry(index).or_insert(why);
                }
            }
            for space in spaces.iter().copied() {
                let followed = driver.follow(&mut self.mm, space);
                assert!(followed.is_ok(), "the process exists: {followed:?}");
            }
            self.drivers.push(driver);
        }
        for index in 0..self.plan.adapters.len() {
            let mut driver = Driver::without_memory(&mut self.mm, id(self.plan.gpus.len() + index));
            for space in spaces.iter().copied() {
                let followed = driver.follow(&mut self.mm, space);
                assert!(followed.is_ok(), "the process exists: {followed:?}");
            }
            self.drivers.push(driver);
        }
    }

    /// Whose memory is preferred for a page.
    pub fn preferred(&self, page: Vpn) -> Option<Who> {
        let of =
            self.ranges.iter().position(|range| (range.first..range.first + range.pages).contains(&page))?;
        self.preferred[of]
    }

    /// The activity of an agent.
    pub fn activity(&self, agent: &Agent) -> &Activity {
        &self.plan.spec.phases[agent.activity.0][agent.activity.1]
    }

    /// The device of an agent by index in the machine, and its driver's number.
    pub fn device_of(&self, who: Who) -> Option<(usize, usize)> {
        match who {
            Who::Cpu(_) => None,
            Who::Gpu(gpu) => Some((self.plan.gpus[gpu].device, gpu)),
            Who::Adapter(adapter) => Some((self.plan.adapters[adapter], self.plan.gpus.len() + adapter)),
        }
    }

    fn start_phase(&mut self, workload: usize, now: Picos, io: &mut Io) {
        let Some(activities) = self.plan.spec.phases.get(self.phase) else { return };
        for (place, what) in activities.iter().enumerate() {
            let Some(who) = self.plan.who(&what.by) else { continue };
            let Some(range) = self.plan.spec.ranges.iter().position(|range| range.name == what.range) else {
                continue;
            };
            let entity = u64::try_from(self.plan.number).unwrap_or(0) << 40
                | u64::try_from(self.phase).unwrap_or(0) << 20
                | u64::try_from(place).unwrap_or(0)
                | STREAMS;
            let stream = Stream::new(self.seed, entity);
            let agent = Agent::new((self.phase, place), what, who, self.ranges[range], stream, now);
            io.timers.push((now, (workload, self.agents.len())));
            self.tallies.entry(who).or_default();
            self.agents.push(agent);
            self.running += 1;
        }
        if self.running == 0 {
            self.phase += 1;
            self.start_phase(workload, now, io);
        }
    }

    fn go_on(&mut self, (workload, number): (usize, usize), now: Picos, io: &mut Io) {
        if self.agents[number].end.is_some() {
            return;
        }
        self.mm.now = now;
        let mut agents = std::mem::take(&mut self.agents);
        self.run(&mut agents[number], (workload, number), now, io);
        let over = agents[number].end.is_some();
        for next in std::mem::take(&mut self.called) {
            let Waits::Handler(since) = agents[next].waits else { continue };
            agents[next].waits = Waits::Timer;
            self.spend(&mut agents[next], Step::Queue, now.saturating_sub(since));
            self.spend(&mut agents[next], Step::Interrupt, costs::LOOKUP);
            io.timers.push((Picos(now.0 + costs::LOOKUP.0), (workload, next)));
        }
        self.agents = agents;
        self.follow_levels(now);
        if over {
            self.running -= 1;
            if self.running == 0 {
                self.phase += 1;
                self.start_phase(workload, now, io);
            }
        }
    }

    fn follow_levels(&mut self, now: Picos) {
        self.levels.follow(&self.mm, &self.plan, &self.names, now);
    }

    /// The agent has done all, or cannot go on.
    pub fn end(&mut self, agent: &mut Agent, now: Picos) {
        agent.end = Some(now);
        for pfn in std::mem::take(&mut agent.pinned).into_values() {
            let released = self.mm.release_hold(pfn, true);
            assert!(released.is_ok(), "a pinned page is held: {released:?}");
        }
    }

    /// Whether an agent's pages are to be pinned first.
    pub fn pins(&self, agent: &Agent) -> bool {
        self.activity(agent).reach == Reaching::Pinned
    }
}

/// Random streams of agents, apart from those of flows and of clients of peer memory.
const STREAMS: u64 = 3 << 61;
