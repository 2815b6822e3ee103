//! [`HostDma`]: a device moves data to or from host memory.

use peerbus_fabric::{Direction, Warmth};
use peerbus_units::{Bytes, CpuAddr, Picos, Range};

use super::flow::{Commands, FlowPlan, Leg, Part, Peer, Program, Step};
use super::schedule::{Planner, check_size, stride};
use crate::ntb::sides;
use crate::workload::{AccessKind, CacheState, HostDirection, HostDma, Initiator};

fn warmth(cache: CacheState) -> Warmth {
    match cache {
        CacheState::Cold => Warmth::Cold,
        CacheState::HostWarm => Warmth::Host,
        CacheState::DeviceWarm => Warmth::Device,
    }
}

/// Whose memory holds a buffer, by index.
#[derive(Clone, Copy)]
enum Owner {
    Cpu(usize),
    /// A device whose memory its CPU uses by CXL.
    Device(usize),
}

/// Where the transfers of one size begin: `stride` bytes apart in a buffer, at random ones of `places` or each in its own.
struct Layout {
    stride: u64,
    places: Option<u64>,
    extent: u64,
}

fn layout(dma: &HostDma, size: Bytes) -> Result<Layout, String> {
    let stride = stride(size);
    let places = dma.window.map(|window| window.0 / stride);
    match (places, dma.direction) {
        (Some(0), _) => {
            Err(format!("a window has room for a transfer at least, which takes {}", Bytes(stride)))
        }
        (Some(_), HostDirection::WriteThenRead) => {
            Err("writes that are read again go round a buffer of their own: leave `window` out".to_owned())
        }
        (Some(places), _) => Ok(Layout { stride, places: Some(places), extent: places * stride }),
        (None, _) => Ok(Layout { stride, places: None, extent: stride * u64::from(dma.outstanding) }),
    }
}

impl Planner<'_> {
    pub(super) fn host_dma(&mut self, dma: &HostDma) -> Result<(), String> {
        let device = self.one_device(&dma.device)?;
        self.check_linked(device)?;
        let near = match &dma.through {
            Some(through) => sides(self.machine, through)?.there,
            None => device,
        };
        let owner = self.owner(dma, device, near)?;
        if dma.transfers == 0 || dma.outstanding == 0 || dma.sizes.is_empty() {
            return Err("sizes, transfers and outstanding must be more than 0".to_owned());
        }
        let mut phases = Vec::new();
        for size in &dma.sizes {
            check_size(*size)?;
            phases.push(vec![self.transfers(dma, device, owner, *size)?]);
        }
        self.schedule.phases.push(phases);
        Ok(())
    }

    /// Whose memory holds the buffers of `device`: that of the CPU of `near`, unless something else is asked for.
    fn owner(&self, dma: &HostDma, device: usize, near: usize) -> Result<Owner, String> {
        if let Some(name) = &dma.memory {
            let owner = self.one_device(name)?;
            return match owner == device {
                true => Err(format!("{name} reaches its own memory without the CPU")),
                false => Ok(Owner::Device(owner)),
            };
        }
        let cpu = dma.cpu.unwrap_or_else(|| self.memory.cpu_of(self.machine, near));
        if cpu >= self.machine.cpus.len() {
            return Err(format!("there is no cpu {cpu}"));
        }
        Ok(Owner::Cpu(cpu))
    }

    /// CPU address of a buffer.
    fn buffer(&mut self, owner: Owner, bytes: u64) -> Result<u64, String> {
        match owner {
            Owner::Cpu(cpu) => {
                let at = self.memory.allocate(cpu, bytes);
                at.ok_or_else(|| format!("cpu{cpu} has not enough memory for the buffers"))
            }
            Owner::Device(device) => {
                let at = self.memory.allocate_at_device(device, bytes);
                let name = &self.machine.devices[device].name;
                at.ok_or_else(|| format!("no CPU has enough memory of {name} by CXL for the buffers"))
            }
        }
    }

    fn transfers(
        &mut self,
        dma: &HostDma,
        device: usize,
        owner: Owner,
        size: Bytes,
    ) -> Result<usize, String> {
        let layout = layout(dma, size)?;
        let (mut legs, mut buffers) = (Vec::new(), Vec::new());
        let directions = match dma.direction {
            HostDirection::Read => vec![Direction::Read],
            HostDirection::Write => vec![Direction::Write],
            HostDirection::ReadWrite => vec![Direction::Read, Direction::Write],
            // Both in one buffer.
            HostDirection::WriteThenRead => vec![Direction::Write],
        };
        for direction in directions {
            let at = self.buffer(owner, layout.extent)?;
            // The cache of a CPU is in front of its own memory only.
            if let (Owner::Cpu(cpu), Some(buffer)) = (owner, Range::sized(CpuAddr(at), Bytes(layout.extent)))
            {
                buffers.push((cpu, buffer));
            }
            let leg = match (&dma.through, owner) {
                (Some(through), _) => self.leg_through(through, device, direction, (at, layout.extent))?,
                (None, Owner::Cpu(cpu)) => {
                    self.memory_leg((device, direction), cpu, dma.way, (at, layout.extent))
                }
                (None, Owner::Device(_)) => self.host_leg(device, direction, at, layout.extent),
            };
            if dma.absent.is_some() && matches!(&leg, Ok(leg) if leg.private.is_some()) {
                let why = "absent pages are found by an IOMMU, which no private interconnect asks: write `way: Pcie`";
                return Err(why.to_owned());
            }
            if let (Some(absent), Ok(leg)) = (dma.absent, &leg) {
                self.schedule.absent.push((device, leg.base, leg.extent, absent));
            }
            legs.push(match leg {
                Ok(leg) => {
                    let leg = self.in_class(leg, dma.packets)?;
                    Ok(self.moved_by(dma.by, leg)?)
                }
                Err(why) => Err(why),
            });
        }
        let moved = u64::try_from(legs.len()).unwrap_or(1);
        let (program, unmappable) = match legs.into_iter().collect() {
            Ok(legs) => (self.transfer_program(dma, legs, buffers, size, &layout)?, None),
            Err(why) => (Program::Refused, Some(why)),
        };
        let private = match &program {
            Program::Transfers { legs, .. } => legs.iter().any(|leg| leg.private.is_some()),
            Program::Commands(commands) => commands.steps.iter().any(|step| step.leg.private.is_some()),
            _ => false,
        };
        let name = self.machine.devices[device].name.clone();
        let host = match owner {
            Owner::Cpu(cpu) => format!("cpu{cpu} memory"),
            Owner::Device(device) => self.machine.devices[device].name.clone(),
        };
        let (from, to) = match dma.direction {
            HostDirection::Read | HostDirection::WriteThenRead => (host, name),
            HostDirection::Write | HostDirection::ReadWrite => (name, host),
        };
        let plan = FlowPlan {
            name: format!("{}.{size}", dma.name),
            from,
            to,
            bytes: Bytes(size.0.saturating_mul(dma.transfers).saturating_mul(moved)),
            chunk: size,
            program,
            peer: private.then(Peer::private),
            unmappable,
            start: Picos::ZERO,
            packets: dma.packets,
        };
        self.add(plan, &dma.name)
    }

    /// A leg of `device` over memory of another host; or why the operating system gives it none.
    fn leg_through(
        &mut self,
        through: &str,
        device: usize,
        direction: Direction,
        buffer: (u64, u64),
    ) -> Result<Result<Leg, String>, String> {
        let region = self.host_region_through(through, device, buffer)?;
        let leg = |(base, extent)| Leg { device, direction, private: None, base, extent, engine: None };
        let why = || region.unmappable.or(region.peer.refusal).unwrap_or_default();
        Ok(region.place.map(leg).ok_or_else(why))
    }

    fn transfer_program(
        &mut self,
        dma: &HostDma,
        legs: Vec<Leg>,
        buffers: Vec<(usize, Range<CpuAddr>)>,
        size: Bytes,
        layout: &Layout,
    ) -> Result<Program, String> {
        let (outstanding, count) = (u64::from(dma.outstanding), dma.transfers);
        if let (HostDirection::WriteThenRead, [leg]) = (dma.direction, legs.as_slice()) {
            let steps = self.write_then_read(dma.by, *leg, size, layout.stride)?;
            return Ok(Program::Commands(Commands { steps, count, depth: outstanding }));
        }
        let (stride, places, cache) = (layout.stride, layout.places, warmth(dma.cache));
        Ok(Program::Transfers { legs, size: size.0, stride, count, outstanding, places, buffers, cache })
    }

    /// A write, and a read of the same place when the device knows that the write has been sent. Ordering rules hold the
    /// read behind the write all the way.
    fn write_then_read(
        &mut self,
        by: Initiator,
        leg: Leg,
        size: Bytes,
        stride: u64,
    ) -> Result<Vec<Step>, String> {
        let dma = self.machine.devices[leg.device].part.dma.filter(|_| by == Initiator::Engine);
        let write = Step {
            part: Part::Report,
            leg,
            stride,
            bytes: size.0,
            wait: Picos::ZERO,
            spacing: Picos::ZERO,
            posted: true,
        };
        // By the same link, on which it cannot pass the write.
        let read = Leg { direction: Direction::Read, engine: None, ..leg };
        let leg = self.moved_by(by, read)?;
        let wait = dma.map_or(Picos::ZERO, |dma| dma.completion_latency);
        Ok(vec![write, Step { part: Part::Data, leg, wait, posted: false, ..write }])
    }

    /// `leg` with the engine that stands for `by`.
    fn moved_by(&mut self, by: Initiator, leg: Leg) -> Result<Leg, String> {
        let kind = match leg.direction {
            Direction::Read => AccessKind::Load,
            Direction::Write => AccessKind::Store,
        };
        Ok(match by {
            Initiator::Engine => leg,
            Initiator::Processor => {
                Leg { engine: Some(self.processors(leg.device, kind, leg.private)?), ..leg }
            }
        })
    }
}
