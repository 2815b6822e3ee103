//! Commands of NVMe drives and network adapters, step by step.
//!
//! ```text
//! NVMe   core: (command into the controller's memory) doorbell │ drive: fetch command, fetch list of pages
//!        read:  media, write data      write: read data, media │ drive: completion entry, interrupt
//! NIC    core: doorbell │ adapter: fetch descriptor, read or write data, completion entry, interrupt
//! ```
//!
//! A device waits for what it reads, and for nothing that it writes: posted writes arrive in order, so a completion entry
//! never overtakes the data it reports (NVMe Base Specification, completion queue; PCI Express, Transaction Ordering).

use peerbus_fabric::Direction;
use peerbus_machine::part::NvmePart;
use peerbus_units::{Address, Bytes, Picos};

use super::flow::{Commands, FlowPlan, Leg, Part, Peer, Program, Step};
use super::region::PeerRegion;
use super::schedule::{Planner, check_size, stride};
use crate::workload::{
    AccessKind, CpuMemory, NicCommand, NicIo, NvmeCommand, NvmeIo, Packets, SubmissionQueue,
};

/// Bytes of an NVMe command, and of its completion entry (NVMe Base Specification).
const NVME_COMMAND: u64 = 64;
const NVME_COMPLETION: u64 = 16;
/// A doorbell is a register of 32 bits, and so is an interrupt message.
const REGISTER: u64 = 4;
/// Bytes of an entry of a physical region page list: one address.
const LIST_ENTRY: u64 = 8;
/// Page that an entry of such a list names.
const PAGE: u64 = 4096;
/// Bytes of an adapter's send descriptor and completion entry (one cache line, as common adapters have), and of a receive
/// descriptor (address, length and key).
const NIC_DESCRIPTOR: u64 = 64;
const NIC_RECEIVE_DESCRIPTOR: u64 = 16;
const NIC_COMPLETION: u64 = 64;
/// Where interrupts are written to, as on x86.
const INTERRUPT: u64 = 0xfee0_0000;
/// Doorbells of queues begin here in the first BAR of a drive (NVMe over PCIe Transport Specification).
const DOORBELLS: u64 = 0x1000;

/// A queue of commands of one device.
struct Queue<'a> {
    workload: &'a str,
    device: usize,
    /// First DMA address of the host memory for queues and lists, a page per command under way, as the device sees it.
    control: Leg,
    doorbell: Leg,
    depth: u64,
    /// What the packets of the data say.
    packets: Packets,
}

impl Queue<'_> {
    /// A step of the device on its own queues.
    fn control(&self, part: Part, direction: Direction, bytes: u64) -> Step {
        let leg = Leg { direction, ..self.control };
        Step { part, leg, stride: PAGE, bytes, wait: Picos::ZERO, spacing: Picos::ZERO, posted: false }
    }

    /// A core's store.
    fn store(&self, bytes: u64, posted: bool) -> Step {
        Step { bytes, posted, leg: self.doorbell, stride: 0, ..self.control(Part::Core, Direction::Write, 0) }
    }

    /// Completion entry and interrupt.
    fn report(&self, entry: u64) -> [Step; 2] {
        let entry = Step { posted: true, ..self.control(Part::Report, Direction::Write, entry) };
        let leg = Leg { base: INTERRUPT, extent: PAGE, ..entry.leg };
        [entry, Step { leg, stride: 0, bytes: REGISTER, posted: false, ..entry }]
    }
}

/// Where the data of commands of one size is.
struct Data {
    leg: Result<Leg, Option<String>>,
    stride: u64,
    peer: Option<Peer>,
    other: String,
}

impl Planner<'_> {
    pub(super) fn nvme_io(&mut self, io: &NvmeIo) -> Result<(), String> {
        let queue = self.queue(&io.name, &io.drive, (io.depth, io.commands), io.packets)?;
        let part = self.machine.devices[queue.device].part.nvme.unwrap_or_default();
        let direction = if io.command == NvmeCommand::Read { Direction::Write } else { Direction::Read };
        let mut phases = Vec::new();
        for size in &io.sizes {
            let data = self.data(&queue, io.memory.as_deref(), direction, *size)?;
            let steps = |leg| nvme_steps(io, &queue, &part, (leg, data.stride), size.0);
            let program = match &data.leg {
                Ok(leg) => Ok(Commands { steps: steps(*leg), count: io.commands, depth: queue.depth }),
                Err(why) => Err(why.clone()),
            };
            phases.push(vec![self.commands(&queue, program, data, (*size, io.commands), direction)?]);
        }
        self.schedule.phases.push(phases);
        Ok(())
    }

    pub(super) fn nic_io(&mut self, io: &NicIo) -> Result<(), String> {
        let queue = self.queue(&io.name, &io.adapter, (io.depth, io.messages), io.packets)?;
        let direction = if io.command == NicCommand::Receive { Direction::Write } else { Direction::Read };
        let mut phases = Vec::new();
        for size in &io.sizes {
            let data = self.data(&queue, io.memory.as_deref(), direction, *size)?;
            let program = match &data.leg {
                Ok(leg) => {
                    let steps = nic_steps(io.command, &queue, (*leg, data.stride), size.0);
                    Ok(Commands { steps, count: io.messages, depth: queue.depth })
                }
                Err(why) => Err(why.clone()),
            };
            phases.push(vec![self.commands(&queue, program, data, (*size, io.messages), direction)?]);
        }
        self.schedule.phases.push(phases);
        Ok(())
    }

    /// The queues of a device in the memory of its CPU, and a core that rings its doorbell.
    fn queue<'n>(
        &mut self,
        name: &'n str,
        device: &str,
        (depth, count): (u32, u64),
        packets: Packets,
    ) -> Result<Queue<'n>, String> {
        let device = self.one_device(device)?;
        self.check_linked(device)?;
        if depth == 0 || count == 0 {
            return Err("the depth and the number of commands must be more than 0".to_owned());
        }
        let depth = u64::from(depth);
        let cpu = self.memory.cpu_of(self.machine, device);
        let at = self.memory.allocate(cpu, PAGE * depth);
        let at = at.ok_or_else(|| format!("cpu{cpu} has not enough memory for the queues"))?;
        let control = self.host_leg(device, Direction::Read, at, PAGE * depth)?;
        let core = format!("cpu{cpu}/{name}.core");
        let core = self.core(cpu, device, core, AccessKind::Store, CpuMemory::WriteCombining)?;
        let bar = self.first_bar(device)?;
        let base = bar.first().raw() + DOORBELLS % bar.size().0;
        let direction = Direction::Write;
        let doorbell = Leg { device, direction, base, extent: REGISTER, private: None, engine: Some(core) };
        Ok(Queue { workload: name, device, control, doorbell, depth, packets })
    }

    /// Memory for the data of commands of `size`.
    fn data(
        &mut self,
        queue: &Queue<'_>,
        memory: Option<&str>,
        direction: Direction,
        size: Bytes,
    ) -> Result<Data, String> {
        check_size(size)?;
        let (device, stride) = (queue.device, stride(size));
        let bytes = stride * queue.depth;
        let Some(memory) = memory else {
            let cpu = self.memory.cpu_of(self.machine, device);
            let at = self.memory.allocate(cpu, bytes);
            let at = at.ok_or_else(|| format!("cpu{cpu} has not enough memory for the data"))?;
            let leg = match self.host_leg(device, direction, at, bytes) {
                Ok(leg) => Ok(self.in_class(leg, queue.packets)?),
                Err(why) => Err(Some(why)),
            };
            return Ok(Data { leg, stride, peer: None, other: format!("cpu{cpu} memory") });
        };
        let target = self.one_device(memory)?;
        if target == device {
            return Err("the data is in memory of the device itself".to_owned());
        }
        let PeerRegion { peer, place, unmappable, .. } = self.peer_region(device, target, Bytes(bytes), None);
        let leg = match place {
            Some((base, extent)) => {
                let leg = Leg { device, direction, base, extent, private: None, engine: None };
                Some(self.in_class(leg, queue.packets)?)
            }
            None => None,
        };
        // A region smaller than all commands under way is used again from its start.
        let stride = leg.map_or(stride, |leg| if leg.extent < bytes { 0 } else { stride });
        let other = self.machine.devices[target].name.clone();
        Ok(Data { leg: leg.ok_or(unmappable), stride, peer: Some(peer), other })
    }

    /// Adds the flow of commands of one size.
    fn commands(
        &mut self,
        queue: &Queue<'_>,
        program: Result<Commands, Option<String>>,
        data: Data,
        (size, count): (Bytes, u64),
        direction: Direction,
    ) -> Result<usize, String> {
        let own = self.machine.devices[queue.device].name.clone();
        let (from, to) = if direction == Direction::Write { (own, data.other) } else { (data.other, own) };
        let (program, unmappable) = match program {
            Ok(commands) => (Program::Commands(commands), None),
            Err(why) => (Program::Refused, why),
        };
        let plan = FlowPlan {
            name: format!("{}.{size}", queue.workload),
            from,
            to,
            bytes: Bytes(size.0.saturating_mul(count)),
            chunk: size,
            program,
            peer: data.peer,
            unmappable,
            start: Picos::ZERO,
            packets: queue.packets,
        };
        self.add(plan, queue.workload)
    }
}

fn nvme_steps(
    io: &NvmeIo,
    queue: &Queue<'_>,
    part: &NvmePart,
    (leg, stride): (Leg, u64),
    size: u64,
) -> Vec<Step> {
    let mut steps = Vec::new();
    if io.queue == SubmissionQueue::Controller {
        // A fence stands between the command and its doorbell.
        steps.push(queue.store(NVME_COMMAND, true));
    }
    steps.push(queue.store(REGISTER, false));
    if io.queue == SubmissionQueue::Host {
        steps.push(queue.control(Part::Fetch, Direction::Read, NVME_COMMAND));
    }
    // A command names two pages; more stand in a list, whose own pages each hold 512 entries, the last of which leads on.
    let pages = size.div_ceil(PAGE);
    let mut left = if pages > 2 { pages - 1 } else { 0 };
    while left > 0 && steps.len() < 8 {
        let here = left.min(PAGE / LIST_ENTRY);
        steps.push(queue.control(Part::Fetch, Direction::Read, here * LIST_ENTRY));
        left -= here;
    }
    let spacing = Picos(1_000_000_000_000 / part.commands_per_second.max(1));
    let data = Step { leg, stride, bytes: size, ..queue.control(Part::Data, leg.direction, size) };
    let [mut entry, interrupt] = queue.report(NVME_COMPLETION);
    match io.command {
        NvmeCommand::Read => steps.push(Step { wait: part.read_latency, spacing, posted: true, ..data }),
        NvmeCommand::Write => {
            steps.push(Step { spacing, ..data });
            entry.wait = part.write_latency;
        }
    }
    steps.extend([entry, interrupt]);
    steps
}

fn nic_steps(command: NicCommand, queue: &Queue<'_>, (leg, stride): (Leg, u64), size: u64) -> Vec<Step> {
    let descriptor = match command {
        NicCommand::Send => NIC_DESCRIPTOR,
        NicCommand::Receive => NIC_RECEIVE_DESCRIPTOR,
    };
    let data = queue.control(Part::Data, leg.direction, size);
    let mut steps =
        vec![queue.store(REGISTER, false), queue.control(Part::Fetch, Direction::Read, descriptor)];
    steps.push(Step { leg, stride, posted: leg.direction == Direction::Write, ..data });
    steps.extend(queue.report(NIC_COMPLETION));
    steps
}
