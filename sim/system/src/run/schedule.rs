//! Which flows run when: workloads become phases of flows.
//!
//! The flows of a phase start together; a phase starts when the one before it is done. Workloads run beside each
//! other.

use peerbus_fabric::{Direction, EngineSpec, LinkId, Shown, Spec, private_addr};
use peerbus_machine::Machine;
use peerbus_units::{Address, Bytes, Picos};

use super::RunInput;
use super::flow::{FlowPlan, Leg, Peer, Program, STAGING_CHUNK, STAGING_CHUNKS};
use super::peer_memory::PeerMemoryPlan;
use super::region::PeerRegion;
use super::resolve::{self, HostMemory, Target};
use super::shared_buffer::BufferPlan;
use super::shared_virtual::SharedPlan;
use super::through::Bridges;
use crate::aperture::{self, Aperture, Pages};
use crate::boot::Booted;
use crate::expand::{self, PeerMemoryRole};
use crate::iommu::Mapping;
use crate::peer_memory::{PeerMemory, Transfer};
use crate::workload::{
    AbsentPages, Addresses, AllToAll, Concurrency, Copy, Engine, Packets, PairMatrix, Way, WhenRefused,
    Workload,
};

/// Why a workload cannot be set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunError {
    /// The workload.
    pub workload: String,
    /// What is wrong with it.
    pub problem: String,
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "workload {}: {}", self.workload, self.problem)
    }
}

impl std::error::Error for RunError {}

/// A matrix to report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MatrixPlan {
    /// Name of the workload.
    pub name: String,
    /// Title with direction and concurrency.
    pub title: String,
    /// Devices by index.
    pub devices: Vec<usize>,
    /// First flow; the flows of all ordered pairs follow row by row, without the diagonal.
    pub first_flow: usize,
}

/// Everything a run will do.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// All flows.
    pub flows: Vec<FlowPlan>,
    /// Per workload: phases of flow numbers.
    pub phases: Vec<Vec<Vec<usize>>>,
    /// Matrices.
    pub matrices: Vec<MatrixPlan>,
    /// Memory mapped for devices, in the order of the flows, until the run ends.
    pub mappings: Vec<Mapping>,
    /// Workloads on peer memory.
    pub peer_memories: Vec<PeerMemoryPlan>,
    /// Workloads on memory that processes share with devices.
    pub shared: Vec<SharedPlan>,
    /// Workloads on buffers that devices share.
    pub buffers: Vec<BufferPlan>,
    /// Pages that are absent at the start: the device, its first address, the bytes, and what is absent.
    pub absent: Vec<(usize, u64, u64, AbsentPages)>,
    /// Engines that the run adds to those of the machine's devices.
    pub engines: Vec<EngineSpec>,
    /// By device with a table for that, what its BAR shows of its memory.
    pub shown: Vec<Option<Vec<Shown>>>,
    /// Windows and tables of requesters of non-transparent bridges.
    pub bridges: Bridges,
}

/// Largest transfer of a [`HostDma`].
const LARGEST_TRANSFER: u64 = 64 << 20;

/// The fabric numbers flows (two for a staged one) and descriptors under way with 16 bits.
const MOST_FLOWS: usize = 30_000;
const MOST_DESCRIPTORS: u64 = 60_000;

/// Sizes of transfers up to this are rounded up to a power of two, larger ones to a multiple.
const PAGE: u64 = 4096;

pub(super) struct Planner<'a> {
    pub(super) machine: &'a Machine,
    pub(super) booted: &'a mut Booted,
    pub(super) spec: &'a Spec,
    pub(super) memory: HostMemory,
    pub(super) schedule: Schedule,
    /// Most descriptors that all flows together could have under way.
    pub(super) descriptors: u64,
}

/// Refuses transfers that no workload makes.
pub(super) fn check_size(size: Bytes) -> Result<(), String> {
    if (1..=LARGEST_TRANSFER).contains(&size.0) {
        return Ok(());
    }
    Err(format!("a transfer has 1 B to {}, not {size}", Bytes(LARGEST_TRANSFER)))
}

/// From one transfer of that size to the next. Up to a page, transfers start at multiples of the next power of two and
/// never cross a page; larger ones start at pages.
pub(super) fn stride(size: Bytes) -> u64 {
    if size.0 <= PAGE { size.0.next_power_of_two() } else { size.0.div_ceil(PAGE) * PAGE }
}

/// Plans all workloads and maps their memory.
pub fn plan(
    machine: &Machine,
    booted: &mut Booted,
    spec: &Spec,
    input: &RunInput,
) -> Result<Schedule, RunError> {
    let memory = HostMemory::new(machine);
    let wrong = |workload: &str, problem| RunError { workload: workload.to_owned(), problem };
    let shown = shown(machine, &input.apertures).map_err(|problem| wrong("apertures", problem))?;
    let bridges = Bridges::new(machine, &input.ntbs).map_err(|problem| wrong("ntbs", problem))?;
    let schedule = Schedule { shown, bridges, ..Schedule::default() };
    let mut planner = Planner { machine, booted, spec, memory, schedule, descriptors: 0 };
    let workloads = &input.workloads;
    for (number, workload) in workloads.iter().enumerate() {
        let result = match workload {
            Workload::Copy(copy) => planner.copy(copy),
            Workload::PairMatrix(matrix) => planner.pair_matrix(matrix),
            Workload::AllToAll(exchange) => planner.all_to_all(exchange),
            Workload::HostDma(dma) => planner.host_dma(dma),
            Workload::PeerMemory(memory) => planner.peer_memory(number, memory, workloads),
            Workload::SharedVirtual(shared) => planner.shared_virtual(number, shared),
            Workload::SharedBuffer(buffer) => planner.shared_buffer(number, buffer),
            Workload::CpuAccess(access) => planner.cpu_access(access),
            Workload::DeviceAccess(access) => planner.device_access(access),
            Workload::NvmeIo(io) => planner.nvme_io(io),
            Workload::NicIo(io) => planner.nic_io(io),
        };
        result.map_err(|problem| wrong(workload.name(), problem))?;
    }
    Ok(planner.schedule)
}

/// What every device with a table for it shows of its memory: all from the first byte on, unless `apertures` says otherwise.
fn shown(machine: &Machine, apertures: &[Aperture]) -> Result<Vec<Option<Vec<Shown>>>, String> {
    let all = Pages::From(Bytes::ZERO);
    let default = |device: usize| aperture::table(machine, device, &all).ok();
    let mut shown: Vec<_> = (0..machine.devices.len()).map(default).collect();
    for aperture in apertures {
        for device in expand::devices(machine, &aperture.device) {
            shown[device] = Some(aperture::table(machine, device, &aperture.pages)?);
        }
    }
    Ok(shown)
}

/// How a flow between two devices is to be made.
struct Between<'a> {
    name: String,
    from: usize,
    to: usize,
    bytes: Bytes,
    chunk: Bytes,
    engine: Engine,
    refused: WhenRefused,
    way: Way,
    start: Picos,
    dma_shift: Bytes,
    addresses: Addresses,
    packets: Packets,
    memory_at: Option<Bytes>,
    through: Option<String>,
    workload: &'a str,
}

/// What a flow does, and why it is not what was wanted if mapping is the cause.
type Planned = (Program, Option<String>);

impl Planner<'_> {
    fn copy(&mut self, copy: &Copy) -> Result<(), String> {
        let from = self.one_device(&copy.from)?;
        let to = self.one_device(&copy.to)?;
        let flow = self.between(Between {
            name: copy.name.clone(),
            from,
            to,
            bytes: copy.bytes,
            chunk: copy.chunk,
            engine: copy.engine,
            refused: copy.refused,
            way: copy.way,
            start: copy.start,
            dma_shift: copy.dma_shift,
            addresses: copy.addresses,
            packets: copy.packets,
            memory_at: copy.memory_at,
            through: copy.through.clone(),
            workload: &copy.name,
        })?;
        self.schedule.phases.push(vec![vec![flow]]);
        Ok(())
    }

    fn pair_matrix(&mut self, matrix: &PairMatrix) -> Result<(), String> {
        let concurrency = match matrix.concurrency {
            Concurrency::Alone => "each pair alone",
            Concurrency::AllAtOnce => "all pairs at once",
        };
        let flows = self.pairs(
            &matrix.name,
            &matrix.devices,
            (matrix.bytes, matrix.chunk),
            (matrix.engine, matrix.refused, matrix.way),
            concurrency,
        )?;
        let phases = match matrix.concurrency {
            Concurrency::Alone => flows.into_iter().map(|flow| vec![flow]).collect(),
            Concurrency::AllAtOnce => vec![flows],
        };
        self.schedule.phases.push(phases);
        Ok(())
    }

    fn all_to_all(&mut self, exchange: &AllToAll) -> Result<(), String> {
        let flows = self.pairs(
            &exchange.name,
            &exchange.devices,
            (exchange.bytes, exchange.chunk),
            (exchange.engine, exchange.refused, exchange.way),
            "everyone to everyone at once",
        )?;
        self.schedule.phases.push(vec![flows]);
        Ok(())
    }

    /// Flows of all ordered pairs, and the matrix that shows them.
    fn pairs(
        &mut self,
        name: &str,
        patterns: &[String],
        (bytes, chunk): (Bytes, Bytes),
        (engine, refused, way): (Engine, WhenRefused, Way),
        concurrency: &str,
    ) -> Result<Vec<usize>, String> {
        for pattern in patterns {
            if expand::devices(self.machine, pattern).is_empty() {
                return Err(format!("no device is called `{pattern}`"));
            }
        }
        let devices = expand::device_list(self.machine, patterns);
        if devices.len() < 2 {
            return Err("at least two devices are needed".to_owned());
        }
        let first_flow = self.schedule.flows.len();
        let mut flows = Vec::new();
        for from in &devices {
            for to in devices.iter().filter(|to| *to != from) {
                let (source, target) = (&self.machine.devices[*from].name, &self.machine.devices[*to].name);
                flows.push(self.between(Between {
                    name: format!("{name}.{source}.{target}"),
                    from: *from,
                    to: *to,
                    bytes,
                    chunk,
                    engine,
                    refused,
                    way,
                    start: Picos::ZERO,
                    dma_shift: Bytes::ZERO,
                    addresses: Addresses::Dma,
                    packets: Packets::default(),
                    memory_at: None,
                    through: None,
                    workload: name,
                })?);
            }
        }
        let direction = match engine {
            Engine::Writer => "row writes to column",
            Engine::Reader => "column reads from row",
        };
        let title = format!("unidirectional copy, {direction}, {concurrency}, {bytes} per pair");
        self.schedule.matrices.push(MatrixPlan { name: name.to_owned(), title, devices, first_flow });
        Ok(flows)
    }

    pub(super) fn one_device(&self, name: &str) -> Result<usize, String> {
        // `gpu0/memory` is the device's memory: the only thing of a device that copies can name.
        let device = name.strip_suffix("/memory").unwrap_or(name);
        expand::single(self.machine, device).ok_or_else(|| format!("`{device}` names no device, or several"))
    }

    /// Adds a flow between two devices and returns its number.
    fn between(&mut self, wanted: Between<'_>) -> Result<usize, String> {
        if wanted.from == wanted.to {
            return Err("source and destination are the same device".to_owned());
        }
        if wanted.bytes.0 == 0 || wanted.chunk.0 == 0 {
            return Err("bytes and chunk must be more than 0".to_owned());
        }
        let (mover, target) = match wanted.engine {
            Engine::Writer => (wanted.from, wanted.to),
            Engine::Reader => (wanted.to, wanted.from),
        };
        if wanted.through.is_some() && wanted.refused != WhenRefused::Fail {
            return Err(
                "no buffer in host memory is shared by two hosts: `through` goes with `refused: Fail`"
                    .to_owned(),
            );
        }
        let fastest = wanted.way == Way::Fastest && wanted.through.is_none();
        let moves = if wanted.engine == Engine::Writer { Direction::Write } else { Direction::Read };
        if let Some(link) = self.spec.private_link(mover, target, moves).filter(|_| fastest) {
            return self.private(wanted, mover, target, link);
        }
        for device in [wanted.from, wanted.to] {
            self.check_linked(device)?;
        }
        let mut region = self.region(&wanted, mover, target)?;
        let (program, unmappable) = match (region.place, wanted.refused) {
            (Some((base, extent)), _) => {
                let direction =
                    if wanted.engine == Engine::Writer { Direction::Write } else { Direction::Read };
                let by_cpu = wanted.addresses == Addresses::Cpu;
                let given = if by_cpu { region.by_cpu } else { base };
                if by_cpu {
                    region.peer.dma = Some((given, "CPU".to_owned()));
                }
                let base = given.wrapping_add(wanted.dma_shift.0);
                let leg = Leg { device: mover, direction, private: None, base, extent, engine: None };
                (Program::Direct { leg: self.in_class(leg, wanted.packets)? }, None)
            }
            (None, WhenRefused::Fail) => (Program::Refused, region.unmappable),
            (None, WhenRefused::Stage | WhenRefused::StageAlways) => {
                let (program, why) = self.staged(&wanted)?;
                (program, why.or(region.unmappable))
            }
        };
        let name_of = |device: usize| self.machine.devices[device].name.clone();
        let plan = FlowPlan {
            from: name_of(wanted.from),
            to: name_of(wanted.to),
            name: wanted.name,
            bytes: wanted.bytes,
            chunk: wanted.chunk,
            program,
            peer: Some(region.peer),
            unmappable,
            start: wanted.start,
            packets: wanted.packets,
        };
        self.add(plan, wanted.workload)
    }

    /// The memory of `target` for `mover`, by the way that is wanted.
    fn region(&mut self, wanted: &Between<'_>, mover: usize, target: usize) -> Result<PeerRegion, String> {
        let (bytes, at) = (wanted.bytes, wanted.memory_at);
        if wanted.refused == WhenRefused::StageAlways {
            let Target { peer, .. } = resolve::resolve(self.machine, self.booted, target, mover);
            return Ok(PeerRegion { peer, place: None, by_cpu: 0, unmappable: None });
        }
        match &wanted.through {
            Some(through) => self.region_through(through, (mover, target), bytes, at),
            None => Ok(self.peer_region(mover, target, bytes, at)),
        }
    }

    /// Adds a flow over a private link. The operating system has no part in it: the devices' driver uses addresses that
    /// only the interconnect knows.
    fn private(
        &mut self,
        wanted: Between<'_>,
        mover: usize,
        target: usize,
        link: LinkId,
    ) -> Result<usize, String> {
        let direction = if mover == wanted.from { Direction::Write } else { Direction::Read };
        let at = wanted.memory_at.map_or(0, |at| at.0);
        let memory = self.machine.devices[target].memory.map_or(wanted.bytes.0, |memory| memory.0);
        let extent = memory.saturating_sub(at).max(1);
        let base = private_addr(target, at).raw();
        let plan = FlowPlan {
            from: self.machine.devices[wanted.from].name.clone(),
            to: self.machine.devices[wanted.to].name.clone(),
            name: wanted.name,
            bytes: wanted.bytes,
            chunk: wanted.chunk,
            program: Program::Direct {
                leg: Leg { device: mover, direction, private: Some(link), base, extent, engine: None },
            },
            peer: Some(Peer::private()),
            unmappable: None,
            start: wanted.start,
            packets: wanted.packets,
        };
        self.add(plan, wanted.workload)
    }

    /// Through a buffer of two chunks in the memory of the source's CPU.
    fn staged(&mut self, wanted: &Between<'_>) -> Result<Planned, String> {
        let cpu = self.memory.cpu_of(self.machine, wanted.from);
        let extent = wanted.chunk.0.min(STAGING_CHUNK) * STAGING_CHUNKS;
        let at = self.memory.allocate(cpu, extent).ok_or("the host has no memory for a staging buffer")?;
        let (way, buffer) = (wanted.way, (at, extent));
        let legs = self.memory_leg((wanted.from, Direction::Write), cpu, way, buffer).and_then(|fill| {
            self.memory_leg((wanted.to, Direction::Read), cpu, way, buffer).map(|drain| (fill, drain))
        });
        Ok(match legs {
            Ok((fill, drain)) => {
                let fill = self.in_class(fill, wanted.packets)?;
                let drain = self.in_class(drain, wanted.packets)?;
                (Program::Staged { fill, drain }, None)
            }
            Err(why) => (Program::Refused, Some(why)),
        })
    }

    /// A workload on peer memory has no phases: its clients start and end by themselves.
    fn peer_memory(
        &mut self,
        number: usize,
        spec: &PeerMemory,
        workloads: &[Workload],
    ) -> Result<(), String> {
        let machine = self.machine;
        let mut plan = PeerMemoryPlan::new(number, spec, machine, self.booted, &mut self.memory)?;
        if spec.transfer != Transfer::Nothing {
            let clients = plan.clients.iter().map(|client| client.device);
            let providers = expand::reachable(machine, spec, workloads);
            let all = clients.chain(providers.iter().copied()).chain(plan.drive);
            all.into_iter().try_for_each(|device| self.check_linked(device))?;
            let others = plan.drive.map_or(providers, |drive| vec![drive]);
            self.share_buffers(&mut plan, &others)?;
        }
        self.descriptors = self.descriptors.saturating_add(plan.most_descriptors());
        for flow in expand::peer_memory_flows(machine, spec, workloads) {
            let number = self.add(self.peer_memory_flow(&flow), &spec.name)?;
            plan.flows.insert((flow.role, flow.writes), number);
        }
        self.schedule.phases.push(Vec::new());
        self.schedule.peer_memories.push(plan);
        Ok(())
    }

    /// Maps each client's buffers in host memory for itself and for the others that it may exchange data with.
    fn share_buffers(&mut self, plan: &mut PeerMemoryPlan, others: &[usize]) -> Result<(), String> {
        let slots = u64::from(plan.spec.outstanding);
        for client in &mut plan.clients {
            let Some((at, stride)) = client.buffers else { continue };
            let others = others.iter().copied().filter(|other| *other != client.device);
            for device in std::iter::once(client.device).chain(others) {
                let leg = self.host_leg(device, Direction::Write, at, stride * slots)?;
                client.buffer_addresses.insert(device, leg.base);
            }
        }
        Ok(())
    }

    fn peer_memory_flow(&self, flow: &expand::PeerMemoryFlow) -> FlowPlan {
        let name_of = |device: usize| self.machine.devices[device].name.clone();
        let host = |device: usize| format!("cpu{} memory", self.memory.cpu_of(self.machine, device));
        let (mover, other, peer) = match flow.role {
            PeerMemoryRole::Peer { client, provider } => {
                let (peer, _) = resolve::peer(self.machine, self.booted, provider, client);
                (name_of(client), name_of(provider), Some(peer))
            }
            PeerMemoryRole::Client(device) => (name_of(device), host(device), None),
            // The memory is that of each client's CPU.
            PeerMemoryRole::Provider(device) => (name_of(device), "host memory".to_owned(), None),
        };
        let (from, to) = if flow.writes { (mover, other) } else { (other, mover) };
        FlowPlan { peer, ..FlowPlan::ordered(flow.name.clone(), from, to) }
    }

    pub(super) fn check_linked(&self, device: usize) -> Result<(), String> {
        let node = self.spec.device(device);
        match self.spec.is_linked(node) {
            true => Ok(()),
            false => Err(format!("{} has no link", self.machine.devices[device].name)),
        }
    }

    pub(super) fn add(&mut self, plan: FlowPlan, workload: &str) -> Result<usize, String> {
        if self.schedule.flows.iter().any(|flow| flow.name == plan.name) {
            return Err(format!("a flow of {workload} is called `{}`, like another one", plan.name));
        }
        self.descriptors = self.descriptors.saturating_add(plan.most_descriptors());
        if self.schedule.flows.len() >= MOST_FLOWS || self.descriptors > MOST_DESCRIPTORS {
            let problem = "more than 30000 flows, or 60000 descriptors under way, in one run: \
                           use fewer devices, larger chunks, or fewer transfers at a time";
            return Err(problem.to_owned());
        }
        self.schedule.flows.push(plan);
        Ok(self.schedule.flows.len() - 1)
    }
}
