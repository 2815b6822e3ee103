//! One touch of a page: where it is reached, what it reads and leaves there, and how long that takes.

use peerbus_fabric::Direction;
use peerbus_os::mm::{CpuError, Vpn, Wait};
use peerbus_os::notifier::Tag;
use peerbus_units::Picos;

use super::agent::Agent;
use super::costs;
use super::drive::{Mover, Process, Who};
use super::place::{Found, Transfer, Via};
use super::plan::Role;
use super::steps::PAGE;
use crate::shared_virtual::Touch;

/// What came of a touch.
pub(super) enum Access {
    /// It was made: how long it took, and the transfers that it takes; an atomic one elsewhere reads and writes.
    Made(Picos, [Option<Transfer>; 2]),
    /// The device's table has no such page.
    Missing,
    /// A driver has to bring the page home first.
    Home,
    /// The page stays with its device until then.
    Kept(Picos),
    /// Something has to end first.
    Later,
    /// It cannot be made.
    Failed(String),
}

/// No transfer.
const NONE: [Option<Transfer>; 2] = [None, None];

impl Process {
    /// Where the device of an agent uses a page now; `None` where it would fault.
    pub(super) fn found(&self, agent: &Agent, page: Vpn) -> Option<Found> {
        let (device, driver) = self.device_of(agent.who)?;
        let touch = self.activity(agent).touch;
        let pfn = match agent.pinned.get(&page) {
            Some(pfn) => *pfn,
            None => {
                let mirror = self.drivers[driver].mirror(agent.space)?;
                let entry = self.mm.mirrors.get(mirror)?.table.get(&page)?;
                if touch.writes() && entry.tag == Tag::Read {
                    return None;
                }
                entry.pfn
            }
        };
        let found = self.plan.find(&self.mm, device, pfn);
        let needs_memory = touch == Touch::Atomic && self.drivers[driver].policy.time_slice > Picos::ZERO;
        (!needs_memory || found == Found::Own).then_some(found)
    }

    pub(super) fn access(&mut self, agent: &mut Agent, page: Vpn) -> Access {
        match agent.who {
            Who::Cpu(cpu) => self.cpu_access(agent, cpu, page),
            _ => self.device_access(agent, page),
        }
    }

    /// Who moves the data of an access: the flow it is counted for, and the engine.
    pub(super) fn mover(&self, who: Who, direction: Direction, via: Via) -> Option<(usize, Mover)> {
        let role = if direction == Direction::Read { Role::Reads } else { Role::Writes };
        match (via, self.device_of(who)) {
            (Via::Core { cpu, device }, _) => {
                let way = self.plan.cpu_ways.get(&(cpu, device))?;
                let (flow, engine) = if direction == Direction::Read { way.loads } else { way.stores };
                Some((flow, Mover::Core(engine)))
            }
            (Via::Pcie, Some((device, _))) => {
                let flow = *self.plan.flows.get(&(device, role))?;
                Some((flow, Mover::Device { device, direction, link: None }))
            }
            (Via::Private(link), Some((device, _))) => {
                let flow = *self.plan.flows.get(&(device, role))?;
                Some((flow, Mover::Device { device, direction, link: Some(link) }))
            }
            (_, None) => None,
        }
    }

    fn device_access(&mut self, agent: &mut Agent, page: Vpn) -> Access {
        let Some((device, driver)) = self.device_of(agent.who) else { return Access::Later };
        let Some(found) = self.found(agent, page) else { return Access::Missing };
        let activity = self.activity(agent);
        let (touch, bytes) = (activity.touch, activity.bytes.0);
        let (time, transfers) = match found {
            Found::Own => {
                let rate = self.rates.get(&device).copied();
                (rate.map_or(Picos::ZERO, |rate| rate.time_for(bytes)), NONE)
            }
            Found::Ram(addr) => (Picos::ZERO, transfers(touch, Via::Pcie, addr, bytes)),
            Found::Peer { via, addr } => (Picos::ZERO, transfers(touch, via, addr, bytes)),
            Found::Nowhere => {
                return Access::Failed(format!("page {page:#x} is in memory that no way leads to"));
            }
        };
        let data = agent.pinned.get(&page).copied().or_else(|| self.mm.page_behind(agent.space, page));
        // Nothing behind a page that a device reads: the page of zeros.
        let read = data.map_or(0, |data| self.mm.frames.data(data));
        let wrong = touch.reads() && read != self.last_value(page);
        if touch.writes() {
            let value = self.next_value(agent, page);
            if let Some(data) = data {
                self.mm.frames.set_data(data, value);
            }
        }
        let tally = self.tally(agent.who);
        match found {
            Found::Own => tally.local += 1,
            Found::Ram(_) => tally.in_ram += 1,
            _ => tally.at_peer += 1,
        }
        tally.wrong_reads += u64::from(wrong);
        agent.used += bytes;
        self.drivers[driver].used(agent.space, page);
        Access::Made(time, transfers)
    }

    fn cpu_access(&mut self, agent: &mut Agent, cpu: usize, page: Vpn) -> Access {
        let activity = self.activity(agent);
        let (touch, bytes) = (activity.touch, activity.bytes.0);
        let untouched = self.mm.page_behind(agent.space, page).is_none();
        let read = match touch.reads() {
            true => self.mm.read(agent.space, page).map(Some),
            false => Ok(None),
        };
        let result = read.and_then(|read| {
            if touch.writes() {
                self.mm.write(agent.space, page, self.stamp(agent, agent.value + 1))?;
            }
            Ok(read)
        });
        match result {
            Ok(read) => {
                let wrong = read.is_some_and(|read| read != self.last_value(page));
                if touch.writes() {
                    self.next_value(agent, page);
                }
                agent.used += bytes;
                let behind = self.mm.page_behind(agent.space, page);
                let gpu = behind.and_then(|pfn| Some((pfn, self.gpu_of(pfn)?)));
                let tally = self.tally(agent.who);
                tally.wrong_reads += u64::from(wrong);
                match gpu {
                    None => tally.local += 1,
                    Some(_) => tally.at_peer += 1,
                }
                if let Some((pfn, gpu)) = gpu {
                    return self.cpu_at_gpu((cpu, gpu), page, pfn, touch, bytes);
                }
                let used = bytes.saturating_mul(1_000_000_000_000) / costs::CORE_RATE;
                let made = if untouched { self.first_touch(agent, page) } else { Picos::ZERO };
                Access::Made(Picos(used + made.0), NONE)
            }
            Err(CpuError::Wait(Wait::Driver)) => Access::Home,
            Err(CpuError::Wait(Wait::TimeSlice(until))) => Access::Kept(until),
            Err(CpuError::Wait(_)) => Access::Later,
            Err(error) => Access::Failed(format!("page {page:#x}: {error:?}")),
        }
    }

    /// A CPU's touch of coherent memory of a GPU: its loads and stores cross the links.
    fn cpu_at_gpu(
        &self,
        (cpu, gpu): (usize, usize),
        page: Vpn,
        pfn: peerbus_units::Pfn,
        touch: Touch,
        bytes: u64,
    ) -> Access {
        let device = self.plan.gpus[gpu].device;
        let offset = self.mm.offset_in_device(pfn).map(|page| page * PAGE);
        let way = self.plan.cpu_ways.get(&(cpu, device));
        match offset.zip(way) {
            Some((offset, way)) => {
                let addr = way.base.wrapping_add(offset);
                Access::Made(Picos::ZERO, transfers(touch, Via::Core { cpu, device }, addr, bytes))
            }
            None => Access::Failed(format!("page {page:#x} is in memory that no way leads to")),
        }
    }

    /// What making and clearing a page took that was not there.
    fn first_touch(&self, agent: &Agent, page: Vpn) -> Picos {
        let made = self.mm.page_behind(agent.space, page);
        let pages = made.map_or(0, |pfn| self.mm.frames.folio_pages(pfn));
        let clearing = (pages * PAGE).saturating_mul(1_000_000_000_000 / costs::CORE_RATE.max(1));
        Picos(costs::FIRST_TOUCH.0 + clearing)
    }

    /// What was written last to a page.
    fn last_value(&self, page: Vpn) -> u64 {
        self.values.get(&page).copied().unwrap_or(0)
    }

    /// A write gives its page a value of its own, noted for later reads.
    fn next_value(&mut self, agent: &mut Agent, page: Vpn) -> u64 {
        agent.value += 1;
        let value = self.stamp(agent, agent.value);
        self.values.insert(page, value);
        value
    }

    /// The value of an agent's write number `count`, which no other write has.
    fn stamp(&self, agent: &Agent, count: u64) -> u64 {
        let (phase, place) = agent.activity;
        (phase as u64 + 1) << 48 | (place as u64) << 40 | count
    }
}

/// What an access of memory elsewhere takes.
fn transfers(touch: Touch, via: Via, addr: u64, bytes: u64) -> [Option<Transfer>; 2] {
    let transfer = |direction| Transfer { direction, via, addr, bytes };
    [touch.reads().then(|| transfer(Direction::Read)), touch.writes().then(|| transfer(Direction::Write))]
}
