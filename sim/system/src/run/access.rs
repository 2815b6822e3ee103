//! Loads and stores: cores of a CPU at a BAR, and processors of a device at another device's memory.
//!
//! Cores use CPU addresses, of which no operating system has to be asked; a device uses what the DMA layer gave it, as for
//! a copy. What accesses is an engine of its own: a core has a few buffers, one pace and no payload size to agree on.

use peerbus_fabric::{
    Attributes, COMPLETION_TIMEOUT, Direction, EngineSpec, LinkId, Warmth, WriteBuffers, private_addr,
};
use peerbus_machine::part::CorePart;
use peerbus_units::{Address, Bytes, CpuAddr, Picos, Range};

use super::flow::{FlowPlan, Leg, Peer, Program};
use super::schedule::{Planner, check_size, stride};
use crate::workload::{AccessKind, CpuAccess, CpuMemory, DeviceAccess, DeviceRegion, Packets};
use peerbus_os::MapType;

/// Line of a cache, and of a write-combining buffer.
const LINE: u64 = 64;
/// Largest access that a core makes at once to uncached memory.
const WORD: u64 = 8;
/// Largest request of a processor of a device: what it coalesces.
const COALESCED: u64 = 128;
/// Stores given to a core ahead of time: they are posted, and the core itself keeps them in order.
const STORES_AHEAD: u64 = 32;

impl AccessKind {
    fn direction(self) -> Direction {
        match self {
            AccessKind::Load => Direction::Read,
            AccessKind::Store => Direction::Write,
        }
    }
}

impl Planner<'_> {
    pub(super) fn cpu_access(&mut self, access: &CpuAccess) -> Result<(), String> {
        let device = self.one_device(&access.device)?;
        self.check_linked(device)?;
        let cpu = access.cpu.unwrap_or_else(|| self.own_cpu(access, device));
        if access.copies == 0 || access.cores == 0 || access.sizes.is_empty() {
            return Err("sizes, copies and cores must be more than 0".to_owned());
        }
        let place = match access.region {
            DeviceRegion::Bar => raw(self.largest_bar(device)?),
            DeviceRegion::HostManaged => raw(self.host_managed(device)?),
            DeviceRegion::Private => self.private_memory(device),
        };
        let mut engines = Vec::new();
        for core in 0..access.cores {
            let name = format!("cpu{cpu}/{}.core{core}", access.name);
            engines.push(match access.region {
                DeviceRegion::Bar => self.core(cpu, device, name, access.kind, access.memory)?,
                DeviceRegion::HostManaged => self.core_at_memory(cpu, device, name, access)?,
                DeviceRegion::Private => {
                    self.core_at_member(cpu, device, name, access.kind, access.memory)?
                }
            });
        }
        let mut phases = Vec::new();
        for size in &access.sizes {
            check_size(*size)?;
            let mut phase = Vec::new();
            for (core, engine) in engines.iter().enumerate() {
                let name = match access.cores {
                    1 => format!("{}.{size}", access.name),
                    _ => format!("{}.{size}.{core}", access.name),
                };
                let plan = self.core_flow(access, (cpu, device), place, (*size, *engine), name)?;
                phase.push(self.add(plan, &access.name)?);
            }
            phases.push(phase);
        }
        self.schedule.phases.push(phases);
        Ok(())
    }

    /// What one core does with copies of one size.
    fn core_flow(
        &self,
        access: &CpuAccess,
        (cpu, device): (usize, usize),
        (base, extent): (u64, u64),
        (size, engine): (Bytes, usize),
        name: String,
    ) -> Result<FlowPlan, String> {
        let stride = stride(size);
        let room = extent / stride;
        let target = &self.machine.devices[device].name;
        if room == 0 {
            return Err(format!("the memory of {target} has {}, and a copy {size}", Bytes(extent)));
        }
        // A core waits for what it loads, and not for what it stores.
        let outstanding = if access.kind == AccessKind::Load { 1 } else { STORES_AHEAD.min(room) };
        let leg = Leg {
            device,
            direction: access.kind.direction(),
            base,
            extent,
            private: None,
            engine: Some(engine),
        };
        let host = format!("cpu{cpu}");
        let (from, to) = match access.kind {
            AccessKind::Load => (target.clone(), host),
            AccessKind::Store => (host, target.clone()),
        };
        let peer = (access.region == DeviceRegion::Private).then(Peer::private);
        Ok(transfers_plan(name, (from, to), leg, (size, stride), (access.copies, outstanding), peer))
    }

    pub(super) fn device_access(&mut self, access: &DeviceAccess) -> Result<(), String> {
        let (device, target) = (self.one_device(&access.device)?, self.one_device(&access.memory)?);
        if device == target {
            return Err("a device reaches its own memory without a link".to_owned());
        }
        self.check_linked(device)?;
        self.check_linked(target)?;
        if access.accesses == 0 || access.outstanding == 0 || access.sizes.is_empty() {
            return Err("sizes, accesses and outstanding must be more than 0".to_owned());
        }
        let engine = self.processors(device, access.kind, None)?;
        let mut phases = Vec::new();
        for size in &access.sizes {
            check_size(*size)?;
            let (stride, outstanding) = (stride(*size), u64::from(access.outstanding));
            let region = self.peer_region(device, target, Bytes(stride.saturating_mul(outstanding)), None);
            let name = format!("{}.{size}", access.name);
            let [own, other] = [device, target].map(|device| self.machine.devices[device].name.clone());
            let ends = if access.kind == AccessKind::Load { (other, own) } else { (own, other) };
            let direction = access.kind.direction();
            let (base, extent) = region.place.unwrap_or_default();
            let leg = Leg { device, direction, base, extent, private: None, engine: Some(engine) };
            let slots = outstanding.min(extent / stride).max(1);
            let counts = (access.accesses, slots);
            let mut plan = transfers_plan(name, ends, leg, (*size, stride), counts, Some(region.peer));
            if region.place.is_none() {
                plan.program = Program::Refused;
                plan.unmappable = region.unmappable;
            }
            phases.push(vec![self.add(plan, &access.name)?]);
        }
        self.schedule.phases.push(phases);
        Ok(())
    }

    /// CPU addresses of a device's largest memory BAR.
    pub(super) fn largest_bar(&self, device: usize) -> Result<Range<CpuAddr>, String> {
        let bars = self.memory_bars(device);
        bars.into_iter().max_by_key(|bar| bar.size()).ok_or_else(|| self.no_bar(device))
    }

    /// CPU addresses of the memory of a device that its CPU uses by CXL.
    fn host_managed(&self, device: usize) -> Result<Range<CpuAddr>, String> {
        let ranges = self.machine.cxl_ranges();
        let own = ranges.into_iter().filter(|(owner, _)| *owner == device).map(|(_, range)| range);
        own.max_by_key(|range| range.size())
            .ok_or_else(|| format!("no CPU uses the memory of {} by CXL", self.machine.devices[device].name))
    }

    /// The CPU whose cores reach a device when nothing is said: the one it hangs below, or for `Private` the member.
    fn own_cpu(&self, access: &CpuAccess, device: usize) -> usize {
        let linked =
            |cpu: &usize| self.spec.private_link_from_cpu(*cpu, device, access.kind.direction()).is_some();
        let member = match access.region {
            DeviceRegion::Private => (0..self.machine.cpus.len()).find(linked),
            _ => None,
        };
        member.unwrap_or_else(|| self.memory.cpu_of(self.machine, device))
    }

    /// First private address and size of a device's memory.
    fn private_memory(&self, device: usize) -> (u64, u64) {
        let size = self.machine.devices[device].memory.map_or(0, |memory| memory.0);
        (private_addr(device, 0).raw(), size)
    }

    /// CPU addresses of a device's first memory BAR, where its registers are.
    pub(super) fn first_bar(&self, device: usize) -> Result<Range<CpuAddr>, String> {
        self.memory_bars(device).into_iter().next().ok_or_else(|| self.no_bar(device))
    }

    fn memory_bars(&self, device: usize) -> Vec<Range<CpuAddr>> {
        let function = self.machine.devices[device].functions[0];
        let bars = (0..6).filter_map(|bar| self.booted.bar_memory(MapType::ThruHostBridge, function, bar));
        bars.map(|memory| memory.range()).collect()
    }

    fn no_bar(&self, device: usize) -> String {
        format!("{} has no memory BAR with an address", self.machine.devices[device].name)
    }

    /// An engine that stands for one core of `cpu` on its way to `device`.
    pub(super) fn core(
        &mut self,
        cpu: usize,
        device: usize,
        name: String,
        kind: AccessKind,
        memory: CpuMemory,
    ) -> Result<usize, String> {
        if cpu >= self.machine.cpus.len() {
            return Err(format!("there is no cpu {cpu}"));
        }
        let function = self.machine.devices[device].functions[0];
        let bridge = self.machine.functions[function].host_bridge;
        let home = self.machine.host_bridges[bridge].cpu;
        let link = self.spec.link_from_core(cpu, bridge, home);
        let link = link.ok_or_else(|| format!("no link leads from cpu{cpu} to cpu{home}"))?;
        let part = self.machine.cpus[cpu].part.core.unwrap_or_default();
        let engine = core_engine(&part, (name, self.spec.cpu(cpu), link), kind, memory);
        self.add_engine(engine)
    }

    /// An engine that stands for one core of `cpu` on its way to memory of `device` that a CPU uses by CXL.
    fn core_at_memory(
        &mut self,
        cpu: usize,
        device: usize,
        name: String,
        access: &CpuAccess,
    ) -> Result<usize, String> {
        let home = self.memory.cpu_of(self.machine, device);
        let part = self.machine.cpus.get(cpu).map(|cpu| cpu.part.core.unwrap_or_default());
        let part = part.ok_or_else(|| format!("there is no cpu {cpu}"))?;
        let link = self.spec.link_to_memory(cpu, device);
        let link = link.ok_or_else(|| format!("no link leads from cpu{cpu} to cpu{home}"))?;
        let engine = core_engine(&part, (name, self.spec.cpu(cpu), link), access.kind, access.memory);
        self.add_engine(engine)
    }

    /// An engine that stands for one core of `cpu` on its way to memory of `device` by a private interconnect of both.
    pub(super) fn core_at_member(
        &mut self,
        cpu: usize,
        device: usize,
        name: String,
        kind: AccessKind,
        memory: CpuMemory,
    ) -> Result<usize, String> {
        let part = self.machine.cpus.get(cpu).map(|cpu| cpu.part.core.unwrap_or_default());
        let part = part.ok_or_else(|| format!("there is no cpu {cpu}"))?;
        let link = self.spec.private_link_from_cpu(cpu, device, kind.direction());
        let target = &self.machine.devices[device].name;
        let link = link.ok_or_else(|| format!("cpu{cpu} and {target} share no private interconnect"))?;
        let engine = core_engine(&part, (name, self.spec.cpu(cpu), link), kind, memory);
        self.add_engine(engine)
    }

    /// The engine that stands for the processors of `device`, on its PCIe link or a private one.
    pub(super) fn processors(
        &mut self,
        device: usize,
        kind: AccessKind,
        private: Option<LinkId>,
    ) -> Result<usize, String> {
        let word = if kind == AccessKind::Load { "loads" } else { "stores" };
        let own = private.and_then(|link| self.spec.private_engine(link, kind.direction()));
        let name = match private.map(|link| usize::try_from(link.0).unwrap_or(usize::MAX)) {
            None => format!("{}/{word}", self.machine.devices[device].name),
            Some(link) => {
                format!("{}/{word} on {}", self.machine.devices[device].name, self.spec.links[link].name)
            }
        };
        if let Some(known) = self.schedule.engines.iter().position(|engine| engine.name == name) {
            return Ok(known);
        }
        let own = own.unwrap_or_else(|| match kind {
            AccessKind::Load => self.spec.reader(device),
            AccessKind::Store => self.spec.writer(device),
        });
        let own = &self.spec.engines[usize::try_from(own.0).unwrap_or(usize::MAX)];
        let (write, read) = (own.max_payload.min(COALESCED), own.max_read_request.min(COALESCED));
        let engine = EngineSpec {
            name,
            boundary: COALESCED,
            max_payload: write,
            max_read_request: read,
            // No DMA engine stands between them and the link.
            request_latency: self.machine.devices[device].part.request_latency,
            handling: None,
            ..own.clone()
        };
        self.add_engine(engine)
    }

    pub(super) fn add_engine(&mut self, engine: EngineSpec) -> Result<usize, String> {
        let beside = self.schedule.engines.iter().filter(|other| other.link == engine.link).count();
        let own = engine
            .link
            .map_or(0, |link| self.spec.links[usize::try_from(link.0).unwrap_or(usize::MAX)].sources.len());
        if beside + own >= MOST_ENGINES {
            return Err(format!("{} would be the eighth engine on one link: use fewer cores", engine.name));
        }
        self.schedule.engines.push(engine);
        Ok(self.schedule.engines.len() - 1)
    }
}

/// First address and bytes of a range of CPU addresses.
fn raw(range: Range<CpuAddr>) -> (u64, u64) {
    (range.first().raw(), range.size().0)
}

/// Engines that one link can have.
const MOST_ENGINES: usize = 7;

fn core_engine(
    part: &CorePart,
    (name, node, link): (String, peerbus_fabric::NodeId, LinkId),
    kind: AccessKind,
    memory: CpuMemory,
) -> EngineSpec {
    let (unit, stores, loads) = match memory {
        CpuMemory::Uncached => (WORD, 1, 1),
        CpuMemory::WriteCombining => (LINE, part.write_buffers.max(1), part.streaming_loads.max(1)),
    };
    let (write_buffers, tags) = match kind {
        AccessKind::Store => (Some(WriteBuffers { count: stores, hold: part.write_hold, fence: true }), 0),
        AccessKind::Load => (None, loads),
    };
    EngineSpec {
        name,
        direction: kind.direction(),
        node,
        requester: None,
        link: Some(link),
        source: 0,
        traffic_class: 0,
        // No register controls what a core's requests have, and nothing asks for it.
        permits: Attributes::NONE,
        rate: part.rate,
        tags,
        max_payload: unit,
        max_read_request: unit,
        boundary: unit,
        write_buffers,
        completion_timeout: COMPLETION_TIMEOUT,
        request_latency: part.latency,
        handling: None,
    }
}

/// A flow of equal transfers by one engine.
fn transfers_plan(
    name: String,
    (from, to): (String, String),
    leg: Leg,
    (size, stride): (Bytes, u64),
    (count, outstanding): (u64, u64),
    peer: Option<Peer>,
) -> FlowPlan {
    FlowPlan {
        name,
        from,
        to,
        bytes: Bytes(size.0.saturating_mul(count)),
        chunk: size,
        program: Program::Transfers {
            legs: vec![leg],
            size: size.0,
            stride,
            count,
            outstanding,
            places: None,
            buffers: Vec::new(),
            cache: Warmth::Cold,
        },
        peer,
        unmappable: None,
        start: Picos::ZERO,
        packets: Packets::default(),
    }
}
