//! What an agent does when its time comes: it goes on with what it has to do first, or touches pages.

use peerbus_fabric::Direction;
use peerbus_os::drivers::{DeviceFault, HomeComing, Piece, Work};
use peerbus_os::migrate::Refusal;
use peerbus_os::mm::frame::Place;
use peerbus_os::mm::{CpuError, Errno, Pin, Vpn, Wait};
use peerbus_os::notifier::Tag;
use peerbus_units::{Bytes, Pfn, Picos};

use super::agent::{Agent, Task, Waits};
use super::costs;
use super::drive::{Io, Process, SharedOrder, Who};
use super::place::{Found, Transfer};
use super::plan::Role;
use super::tally::{Step, Tally};
use crate::shared_virtual::{Reaching, Touch};

/// Touches that an agent makes in one go where all pages are there: a huge page's worth.
const TOGETHER: u64 = 512;
/// Transfers of its own accesses that an agent has under way.
const UNDER_WAY: usize = 64;
/// Faults on one page after which an agent gives up: others take it away each time.
const MOST_TRIES: u32 = 10_000;
const PAGE: u64 = 4096;

/// How an agent goes on.
enum Then {
    /// At once.
    AtOnce,
    /// At that time.
    At(Picos),
    /// When transfers have ended, or never.
    Waits,
}

impl Process {
    /// Lets an agent do what it can at `now`.
    pub(super) fn run(&mut self, agent: &mut Agent, id: (usize, usize), now: Picos, io: &mut Io) {
        if agent.waits != Waits::Timer {
            return;
        }
        while agent.end.is_none() {
            let then = match agent.tasks.pop() {
                Some(task) => self.go_on_with(agent, task, id, now, io),
                None if agent.left == 0 || agent.failed.is_some() => {
                    self.end(agent, now);
                    return;
                }
                None => self.touch(agent, id, now, io),
            };
            match then {
                Then::AtOnce => {}
                Then::At(time) => {
                    io.timers.push((time, id));
                    return;
                }
                Then::Waits => return,
            }
        }
    }

    /// An agent takes time for a part of its faults.
    pub(super) fn spend(&mut self, agent: &mut Agent, step: Step, time: Picos) {
        self.tally(agent.who).spend(step, time);
        let sum = agent.time.entry(step).or_default();
        *sum = Picos(sum.0.saturating_add(time.0));
    }

    fn tally(&mut self, who: Who) -> &mut Tally {
        self.tallies.entry(who).or_default()
    }

    fn later(&mut self, agent: &mut Agent, step: Step, now: Picos, time: Picos) -> Then {
        self.spend(agent, step, time);
        Then::At(Picos(now.0.saturating_add(time.0)))
    }

    fn go_on_with(
        &mut self,
        agent: &mut Agent,
        task: Task,
        id: (usize, usize),
        now: Picos,
        io: &mut Io,
    ) -> Then {
        match task {
            Task::Home(mut home) => match home.go_on(&mut self.mm) {
                Work::Done(pages) => {
                    self.came_home(agent, pages, now);
                    Then::AtOnce
                }
                work => {
                    agent.tasks.push(Task::Home(home));
                    self.work(agent, work, id, now, io)
                }
            },
            Task::Fault(mut fault) => {
                let Some((_, driver)) = self.device_of(agent.who) else { return Then::AtOnce };
                match fault.go_on(&mut self.mm, &mut self.drivers[driver]) {
                    Work::Done(served) => {
                        self.note_left(agent, now);
                        self.note_served(agent, &fault, &served, now);
                        if let Some(error) = served.error {
                            agent.failed = Some(format!("a fault ended with {error}"));
                            return Then::AtOnce;
                        }
                        // The access that faulted goes before whoever wants the page next.
                        self.touch_one(agent);
                        self.later(agent, Step::Replay, now, costs::REPLAY)
                    }
                    work => {
                        agent.tasks.push(Task::Fault(fault));
                        self.work(agent, work, id, now, io)
                    }
                }
            }
        }
    }

    /// Takes the time of a part of a task.
    fn work<T>(
        &mut self,
        agent: &mut Agent,
        work: Work<T>,
        id: (usize, usize),
        now: Picos,
        io: &mut Io,
    ) -> Then {
        match work {
            Work::Done(_) => Then::AtOnce,
            Work::Kernel(part, pieces) => {
                self.later(agent, Step::Kernel(part), now, costs::kernel(part).of(pieces))
            }
            Work::Copy(pieces) => self.copy(agent, pieces, id, now, io),
            Work::Wait(Wait::Driver) => {
                // What was met is a page of another device: its driver brings it home first.
                if let Some(home) = HomeComing::of_last_fault(&self.mm) {
                    agent.tasks.push(Task::Home(Box::new(home)));
                }
                self.later(agent, Step::Interrupt, now, costs::CPU_FAULT)
            }
            Work::Wait(_) => self.later(agent, Step::Wait, now, costs::LOOK_AGAIN),
        }
    }

    /// Starts the transfers of a copy: pages that lie one behind the other in RAM go together.
    fn copy(
        &mut self,
        agent: &mut Agent,
        pieces: Vec<Piece>,
        id: (usize, usize),
        now: Picos,
        io: &mut Io,
    ) -> Then {
        self.note_left(agent, now);
        if pieces.is_empty() {
            return Then::AtOnce;
        }
        let mut runs: Vec<(usize, bool, Pfn, u64)> = Vec::new();
        for piece in &pieces {
            let Some(gpu) = self.gpu_of(piece.device) else { continue };
            match runs.last_mut() {
                Some((of, to, first, pages))
                    if *of == gpu && *to == piece.to_device && first.0 + *pages == piece.system.0 =>
                {
                    *pages += piece.pages;
                }
                _ => runs.push((gpu, piece.to_device, piece.system, piece.pages)),
            }
        }
        let before = io.orders.len();
        for (gpu, to_device, first, pages) in runs {
            let device = self.plan.gpus[gpu].device;
            let (role, direction) = match to_device {
                true => (Role::Arrive, Direction::Read),
                false => (Role::Leave, Direction::Write),
            };
            let flow = self.plan.flows.get(&(device, role)).copied();
            let addr = self.plan.ram_address(device, first);
            let (Some(flow), Some(addr)) = (flow, addr) else { continue };
            let bytes = Bytes(pages * PAGE);
            io.orders.push(SharedOrder { flow, device, direction, link: None, addr, bytes, owner: id });
        }
        agent.waits = Waits::Copies(io.orders.len() - before, now, pieces.len() as u64);
        agent.copied = pieces;
        Then::Waits
    }

    /// The GPU whose page that is.
    fn gpu_of(&self, pfn: Pfn) -> Option<usize> {
        let Place::Private(device) = self.mm.frames.place(pfn) else { return None };
        usize::try_from(device.0).ok().filter(|gpu| *gpu < self.plan.gpus.len())
    }

    /// Pages that an agent's last copy took from a device have left it.
    fn note_left(&mut self, agent: &mut Agent, now: Picos) {
        for piece in std::mem::take(&mut agent.copied).iter().filter(|piece| !piece.to_device) {
            let huge = self.mm.frames.huge_maps(piece.system).first().map(|at| (at.page, 512));
            let small = self.mm.frames.maps(piece.system).first().map(|at| (at.page, 1));
            if let Some((first, count)) = huge.or(small) {
                (first..first + count).for_each(|page| {
                    self.left_at.insert(page, now);
                });
            }
        }
    }

    /// Pages are in RAM again because somebody used them.
    fn came_home(&mut self, agent: &mut Agent, pages: u64, now: Picos) {
        self.note_left(agent, now);
        self.tally(agent.who).fetched += pages;
        if !agent.tasks.iter().any(|task| matches!(task, Task::Fault(_))) {
            agent.fault_times.push(now.saturating_sub(agent.faulted));
        }
    }

    fn note_served(
        &mut self,
        agent: &mut Agent,
        fault: &DeviceFault,
        served: &peerbus_os::drivers::Served,
        now: Picos,
    ) {
        agent.fault_times.push(now.saturating_sub(agent.faulted));
        let (from, to) = fault.block();
        let mut back = 0;
        if served.moved > 0 {
            let left: Vec<(Vpn, Picos)> =
                self.left_at.range(from..to).map(|(page, at)| (*page, *at)).collect();
            for (page, at) in left {
                back += u64::from(now.saturating_sub(at) <= costs::BACK_WITHIN);
                self.left_at.remove(&page);
            }
        }
        let tally = self.tally(agent.who);
        tally.back += back;
        tally.arrived += served.moved;
        tally.evicted += served.evicted;
        tally.retries += served.retries;
        tally.stayed += u64::from(served.stayed_whole);
        for (why, count) in served.refused.iter().filter(|(why, _)| *why != Refusal::NotSelected) {
            *tally.refused.entry(*why).or_default() += count;
        }
    }

    /// Touches pages until something is missing, transfers have to be waited for, or it is enough for one go.
    fn touch(&mut self, agent: &mut Agent, id: (usize, usize), now: Picos, io: &mut Io) -> Then {
        if self.pins(agent) && (agent.pinned.len() as u64) < agent.pages {
            return self.pin(agent, now);
        }
        let (mut took, mut made) = (Picos::ZERO, 0);
        let mut transfers: Vec<Transfer> = Vec::new();
        while agent.left > 0 && made < TOGETHER && transfers.len() < UNDER_WAY {
            let page = agent.first + agent.pattern.page();
            match self.access(agent, page) {
                Access::Made(time, transfer) => {
                    took = Picos(took.0.saturating_add(time.0));
                    merge(&mut transfers, transfer);
                    made += 1;
                    agent.tries = 0;
                    agent.pattern.touched();
                    agent.left -= 1;
                }
                Access::Missing if made > 0 => break,
                Access::Missing => return self.fault(agent, page, now),
                Access::Home if made > 0 => {
                    self.begin_home(agent, Picos(now.0 + took.0));
                    break;
                }
                Access::Home => {
                    self.begin_home(agent, now);
                    return self.later(agent, Step::Interrupt, now, costs::CPU_FAULT);
                }
                Access::Later if made > 0 => break,
                Access::Later => return self.later(agent, Step::Wait, now, costs::LOOK_AGAIN),
                Access::Failed(why) => {
                    agent.failed = Some(why);
                    break;
                }
            }
        }
        self.start_accesses(agent, &transfers, id, io);
        match agent.waits {
            Waits::Timer if took > Picos::ZERO => Then::At(Picos(now.0.saturating_add(took.0))),
            Waits::Timer => Then::AtOnce,
            _ => Then::Waits,
        }
    }

    fn start_accesses(&mut self, agent: &mut Agent, transfers: &[Transfer], id: (usize, usize), io: &mut Io) {
        let Some((device, _)) = self.device_of(agent.who) else { return };
        let before = io.orders.len();
        for Transfer { direction, link, addr, bytes } in transfers.iter().copied() {
            let role = if direction == Direction::Read { Role::Reads } else { Role::Writes };
            let Some(flow) = self.plan.flows.get(&(device, role)).copied() else { continue };
            io.orders.push(SharedOrder {
                flow,
                device,
                direction,
                link,
                addr,
                bytes: Bytes(bytes),
                owner: id,
            });
        }
        let count = io.orders.len() - before;
        if count > 0 {
            agent.waits = Waits::Accesses(count);
        }
    }

    fn begin_home(&mut self, agent: &mut Agent, now: Picos) {
        agent.faulted = now;
        self.tally(agent.who).cpu_faults += 1;
        if let Some(home) = HomeComing::of_last_fault(&self.mm) {
            agent.tasks.push(Task::Home(Box::new(home)));
        }
    }

    fn fault(&mut self, agent: &mut Agent, page: Vpn, now: Picos) -> Then {
        let Some((_, driver)) = self.device_of(agent.who) else { return Then::AtOnce };
        let activity = self.activity(agent);
        let (write, migrates) = (activity.touch == Touch::Write, activity.reach == Reaching::Migrate);
        let migrates =
            migrates && matches!(agent.who, Who::Gpu(gpu) if !self.without_structs.contains_key(&gpu));
        match DeviceFault::new(&self.mm, &self.drivers[driver], self.space, page, write, migrates) {
            Ok(fault) => agent.tasks.push(Task::Fault(Box::new(fault))),
            Err(error) => {
                agent.failed = Some(format!("page {page:#x} cannot be used: {error}"));
                return Then::AtOnce;
            }
        }
        agent.tries += 1;
        if agent.tries > MOST_TRIES {
            agent.failed = Some(format!("page {page:#x} was gone again after each of {MOST_TRIES} faults"));
            return Then::AtOnce;
        }
        agent.faulted = now;
        self.tally(agent.who).device_faults += 1;
        self.later(agent, Step::Interrupt, now, Picos(costs::INTERRUPT.0 + costs::LOOKUP.0))
    }

    /// Pins the next page.
    fn pin(&mut self, agent: &mut Agent, now: Picos) -> Then {
        let mut took = Picos::ZERO;
        for page in agent.first..agent.first + agent.pages {
            if agent.pinned.contains_key(&page) {
                continue;
            }
            let write = self.activity(agent).touch == Touch::Write;
            let how = Pin { write, pinned: true, long_term: true, split: false };
            let under_way = self.mm.driver_work();
            match self.mm.hold(self.space, page, how) {
                Ok(pfn) => {
                    agent.pinned.insert(page, pfn);
                    self.tally(agent.who).pinned += 1;
                    took = Picos(took.0 + costs::PIN.0);
                }
                Err(Errno::Again) if self.mm.driver_work() > under_way => {
                    self.begin_home(agent, now);
                    return self.later(agent, Step::Interrupt, now, Picos(costs::CPU_FAULT.0 + took.0));
                }
                Err(Errno::Again | Errno::Busy) => {
                    return self.later(agent, Step::Wait, now, Picos(costs::LOOK_AGAIN.0 + took.0));
                }
                Err(error) => {
                    agent.failed = Some(format!("page {page:#x} cannot be pinned: {error}"));
                    return Then::AtOnce;
                }
            }
        }
        Then::At(Picos(now.0.saturating_add(took.0)))
    }

    /// The access that faulted, if its page is there now. Its time is that of the replay.
    fn touch_one(&mut self, agent: &mut Agent) {
        let page = agent.first + agent.pattern.page();
        if agent.left > 0
            && let Some(Found::Own) = self.found(agent, page)
            && let Access::Made(..) = self.access(agent, page)
        {
            agent.pattern.touched();
            agent.left -= 1;
        }
    }

    /// Where the device of an agent uses a page now; `None` where it would fault.
    fn found(&self, agent: &Agent, page: Vpn) -> Option<Found> {
        let (device, driver) = self.device_of(agent.who)?;
        let write = self.activity(agent).touch == Touch::Write;
        let pfn = match agent.pinned.get(&page) {
            Some(pfn) => *pfn,
            None => {
                let mirror = self.drivers[driver].mirror(self.space)?;
                let entry = self.mm.mirrors.get(mirror)?.table.get(&page)?;
                if write && entry.tag == Tag::Read {
                    return None;
                }
                entry.pfn
            }
        };
        Some(self.plan.find(&self.mm, device, pfn))
    }

    fn access(&mut self, agent: &mut Agent, page: Vpn) -> Access {
        match agent.who {
            Who::Cpu(_) => self.cpu_access(agent, page),
            _ => self.device_access(agent, page),
        }
    }

    fn device_access(&mut self, agent: &mut Agent, page: Vpn) -> Access {
        let Some((device, driver)) = self.device_of(agent.who) else { return Access::Later };
        let Some(found) = self.found(agent, page) else { return Access::Missing };
        let activity = self.activity(agent);
        let (write, bytes) = (activity.touch == Touch::Write, activity.bytes.0);
        let direction = if write { Direction::Write } else { Direction::Read };
        let transfer = |link, addr| Some(Transfer { direction, link, addr, bytes });
        let (time, transfer) = match found {
            Found::Own => {
                let rate = self.rates.get(&device).copied();
                (rate.map_or(Picos::ZERO, |rate| rate.time_for(bytes)), None)
            }
            Found::Ram(addr) => (Picos::ZERO, transfer(None, addr)),
            Found::Peer { link, addr } => (Picos::ZERO, transfer(link, addr)),
            Found::Nowhere => {
                return Access::Failed(format!("page {page:#x} is in memory that no way leads to"));
            }
        };
        let data = agent.pinned.get(&page).copied().or_else(|| self.mm.page_behind(self.space, page));
        let value = self.value(agent, page, write);
        if let Some(data) = data.filter(|_| write) {
            self.mm.frames.set_data(data, value);
        }
        // Nothing behind a page that a device reads: the page of zeros.
        let read = data.map_or(0, |data| self.mm.frames.data(data));
        let tally = self.tally(agent.who);
        match found {
            Found::Own => tally.local += 1,
            Found::Ram(_) => tally.in_ram += 1,
            _ => tally.at_peer += 1,
        }
        tally.wrong_reads += u64::from(read != value);
        agent.used += bytes;
        self.drivers[driver].used(self.space, page);
        Access::Made(time, transfer)
    }

    fn cpu_access(&mut self, agent: &mut Agent, page: Vpn) -> Access {
        let activity = self.activity(agent);
        let (write, bytes) = (activity.touch == Touch::Write, activity.bytes.0);
        let untouched = self.mm.page_behind(self.space, page).is_none();
        let value = if write { agent.value + 1 } else { 0 };
        let result = match write {
            true => self.mm.write(self.space, page, self.stamp(agent, value)).map(|()| 0),
            false => self.mm.read(self.space, page),
        };
        match result {
            Ok(read) => {
                let expected = self.value(agent, page, write);
                let tally = self.tally(agent.who);
                tally.local += 1;
                tally.wrong_reads += u64::from(!write && read != expected);
                agent.used += bytes;
                let used = bytes.saturating_mul(1_000_000_000_000) / costs::CORE_RATE;
                let made = if untouched { self.first_touch(page) } else { Picos::ZERO };
                Access::Made(Picos(used + made.0), None)
            }
            Err(CpuError::Wait(Wait::Driver)) => Access::Home,
            Err(CpuError::Wait(_)) => Access::Later,
            Err(error) => Access::Failed(format!("page {page:#x}: {error:?}")),
        }
    }

    /// What making and clearing a page took that was not there.
    fn first_touch(&self, page: Vpn) -> Picos {
        let made = self.mm.page_behind(self.space, page);
        let pages = made.map_or(0, |pfn| self.mm.frames.folio_pages(pfn));
        let clearing = (pages * PAGE).saturating_mul(1_000_000_000_000 / costs::CORE_RATE.max(1));
        Picos(costs::FIRST_TOUCH.0 + clearing)
    }

    /// What a page holds after this touch: for a write a value of its own, noted for later reads.
    fn value(&mut self, agent: &mut Agent, page: Vpn, write: bool) -> u64 {
        if write {
            agent.value += 1;
            let value = self.stamp(agent, agent.value);
            self.values.insert(page, value);
        }
        self.values.get(&page).copied().unwrap_or(0)
    }

    /// The value of an agent's write number `count`, which no other write has.
    fn stamp(&self, agent: &Agent, count: u64) -> u64 {
        let (phase, place) = agent.activity;
        (phase as u64 + 1) << 48 | (place as u64) << 40 | count
    }
}

/// What came of a touch.
enum Access {
    /// It was made: how long it took, or the transfer that it takes.
    Made(Picos, Option<Transfer>),
    /// The device's table has no such page.
    Missing,
    /// A driver has to bring the page home first.
    Home,
    /// Something has to end first.
    Later,
    /// It cannot be made.
    Failed(String),
}

/// Adds a transfer: whole pages that follow each other become one.
fn merge(transfers: &mut Vec<Transfer>, new: Option<Transfer>) {
    let Some(new) = new else { return };
    match transfers.last_mut() {
        Some(last)
            if last.direction == new.direction
                && last.link == new.link
                && new.bytes == PAGE
                && last.addr.wrapping_add(last.bytes) == new.addr
                && last.bytes < TOGETHER * PAGE =>
        {
            last.bytes += new.bytes;
        }
        _ => transfers.push(new),
    }
}
