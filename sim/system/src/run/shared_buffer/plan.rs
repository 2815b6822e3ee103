//! Plans a `SharedBuffer`: finds its devices, its memory, the ways of importers to it, and its flows.

use peerbus_fabric::{Direction, LinkId};
use peerbus_os::{MapType, pci};
use peerbus_units::Bytes;

use crate::iommu::BarMemory;
use crate::run::flow::{FlowPlan, Peer};
use crate::run::region::BarPart;
use crate::run::resolve;
use crate::run::schedule::Planner;
use crate::shared_buffer::{BufferAccess, BufferImporter, BufferPlaces, ExporterDriver, SharedBuffer};

/// Transfers of a move under way.
pub const COPIES: u32 = 4;

/// An importer before the run.
#[derive(Clone, Debug)]
pub struct ImporterPlan {
    /// By index in the machine.
    pub device: usize,
    /// Where the operating system found it; `None` when it did not.
    pub function: Option<pci::FunctionIndex>,
    /// What the operating system says of it and the exporter's memory.
    pub peer: Peer,
    /// The exporter's memory behind its BAR, where there is a way.
    pub bar: Option<(BarMemory, BarPart)>,
    /// A private interconnect to the exporter's memory that its driver knows.
    pub link: Option<LinkId>,
    /// Number of its flow in the schedule.
    pub flow: usize,
}

/// The memory behind VFIO's region.
#[derive(Clone, Copy, Debug)]
pub struct VfioPlan {
    /// Number of the region.
    pub region: usize,
    /// Its memory by CPU addresses.
    pub memory: Option<BarMemory>,
}

/// A workload before the run.
#[derive(Clone, Debug)]
pub struct BufferPlan {
    /// Its number among the workloads: the name of its random streams.
    pub number: usize,
    /// What it says.
    pub spec: SharedBuffer,
    /// The exporter, by index in the machine.
    pub exporter: usize,
    /// Where the operating system found it.
    pub function: Option<pci::FunctionIndex>,
    /// First byte in system memory, and the exporter's DMA address of it; nothing where the buffer may not be there.
    pub ram: Option<(u64, u64)>,
    /// The region, for VFIO.
    pub vfio: VfioPlan,
    /// Importers, in the order of the file.
    pub importers: Vec<ImporterPlan>,
    /// Flows of moves to system memory and back; none for VFIO.
    pub moves: Option<(usize, usize)>,
}

impl Planner<'_> {
    /// A workload on a shared buffer has no phases: its importers begin and end by themselves.
    pub(in crate::run) fn shared_buffer(&mut self, number: usize, spec: &SharedBuffer) -> Result<(), String> {
        spec.problem().map_or(Ok(()), Err)?;
        let exporter = self.one_device(&spec.exporter.device)?;
        self.check_linked(exporter)?;
        let mut importers = Vec::new();
        for given in &spec.importers {
            let device = self.one_device(&given.device)?;
            if device == exporter {
                return Err(format!("`{}` exports the buffer and cannot import it", given.device));
            }
            self.check_linked(device)?;
            importers.push(self.importer(spec, given, (device, exporter))?);
        }
        let vfio = spec.exporter.driver == ExporterDriver::Vfio;
        let moves = if vfio { None } else { Some(self.move_flows(spec, exporter)?) };
        let in_ram = !vfio && spec.exporter.places != BufferPlaces::Device;
        let ram = if in_ram { Some(self.buffer_ram(spec, exporter)?) } else { None };
        let under_way = spec.importers.iter().map(|given| u64::from(given.outstanding)).sum::<u64>();
        self.descriptors = self.descriptors.saturating_add(under_way + u64::from(COPIES));
        let plan = BufferPlan {
            number,
            spec: spec.clone(),
            exporter,
            function: self.booted.os_function(self.machine.devices[exporter].functions[0]),
            ram,
            vfio: self.region_of(spec, exporter),
            importers,
            moves,
        };
        self.schedule.phases.push(Vec::new());
        self.schedule.buffers.push(plan);
        Ok(())
    }

    fn importer(
        &mut self,
        spec: &SharedBuffer,
        given: &BufferImporter,
        (device, exporter): (usize, usize),
    ) -> Result<ImporterPlan, String> {
        let reads = given.access == BufferAccess::Read;
        let direction = if reads { Direction::Read } else { Direction::Write };
        let (peer, bar) = match spec.exporter.driver {
            ExporterDriver::Vfio => (resolve::peer(self.machine, self.booted, exporter, device).0, None),
            // The buffer is what the BAR shows first, in one piece.
            _ => {
                let (mut peer, found) = self.peer_part(device, exporter, spec.bytes, None);
                let found = found.filter(|(_, part)| part.room >= spec.bytes.0);
                if found.is_none() && peer.refusal.is_none() {
                    peer.refusal = Some(format!("the BAR does not show {} in one piece", spec.bytes));
                }
                (peer, found)
            }
        };
        // Of drivers, amdgpu's asks for it; the others go by PCIe.
        let linked = spec.exporter.driver == ExporterDriver::Amdgpu;
        let link = self.spec.private_link(device, exporter, direction).filter(|_| linked);
        let (name, owner) = (self.name_of(device), self.name_of(exporter));
        let buffer = format!("{owner} (or system memory)");
        let (from, to) = if reads { (buffer, name) } else { (name, buffer) };
        let flow = FlowPlan::ordered(format!("{}.{}", spec.name, given.name), from, to);
        Ok(ImporterPlan {
            device,
            function: self.booted.os_function(self.machine.devices[device].functions[0]),
            peer,
            bar,
            link,
            flow: self.add(flow, &spec.name)?,
        })
    }

    fn name_of(&self, device: usize) -> String {
        self.machine.devices[device].name.clone()
    }

    fn move_flows(&mut self, spec: &SharedBuffer, exporter: usize) -> Result<(usize, usize), String> {
        let (name, memory) = (self.name_of(exporter), self.memory_name(exporter));
        let leave = FlowPlan::ordered(format!("{}.{name}.leave", spec.name), name.clone(), memory.clone());
        let arrive = FlowPlan::ordered(format!("{}.{name}.arrive", spec.name), memory, name);
        Ok((self.add(leave, &spec.name)?, self.add(arrive, &spec.name)?))
    }

    fn memory_name(&self, device: usize) -> String {
        format!("cpu{} memory", self.memory.cpu_of(self.machine, device))
    }

    /// System memory for the buffer, mapped for the exporter's copy engine.
    fn buffer_ram(&mut self, spec: &SharedBuffer, exporter: usize) -> Result<(u64, u64), String> {
        let cpu = self.memory.cpu_of(self.machine, exporter);
        let size = spec.bytes.0.next_multiple_of(PAGE);
        let at = self.memory.allocate(cpu, size);
        let at = at.ok_or_else(|| format!("cpu{cpu} has no {} of memory", Bytes(size)))?;
        let leg = self.host_leg(exporter, Direction::Write, at, size)?;
        Ok((at, leg.base))
    }

    /// The region that VFIO exports, and where the CPU finds it.
    fn region_of(&self, spec: &SharedBuffer, exporter: usize) -> VfioPlan {
        let function = self.machine.devices[exporter].functions[0];
        let given = spec.exporter.region.map(|region| usize::try_from(region).unwrap_or(usize::MAX));
        let region = given.or_else(|| self.booted.peer_bar(function)).unwrap_or(0);
        let memory = self.booted.bar_memory(MapType::ThruHostBridge, function, region);
        VfioPlan { region, memory }
    }
}

const PAGE: u64 = 4096;
