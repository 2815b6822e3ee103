//! What an agent does when its time comes: it goes on with what it has to do first, or touches pages.

use peerbus_fabric::Direction;
use peerbus_os::drivers::{HomeComing, Piece, Work};
use peerbus_os::mm::Wait;
use peerbus_os::mm::frame::Place;
use peerbus_units::{Bytes, Pfn, Picos};

use super::agent::{Agent, Task, Waits};
use super::costs;
use super::drive::{Io, Mover, Process, SharedOrder, Who};
use super::place::{Found, Transfer, Via};
use super::plan::Role;
use super::tally::{Step, Tally};
use super::touch::Access;
use crate::shared_virtual::Touch;

/// Touches that an agent makes in one go where all pages are there: a huge page's worth.
const TOGETHER: u64 = 512;
/// Transfers of its own accesses that an agent has under way.
const UNDER_WAY: usize = 64;
pub(super) const PAGE: u64 = 4096;

/// How an agent goes on.
pub(super) enum Then {
    /// At once.
    AtOnce,
    /// At that time.
    At(Picos),
    /// When transfers have ended, or a driver has time.
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
                None if self.activity(agent).touch == Touch::Prefetch => self.prefetch(agent, now),
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

    pub(super) fn tally(&mut self, who: Who) -> &mut Tally {
        self.tallies.entry(who).or_default()
    }

    pub(super) fn later(&mut self, agent: &mut Agent, step: Step, now: Picos, time: Picos) -> Then {
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
            Task::Begin(page) => self.begin_fault(agent, page, now),
            Task::Fault(mut fault) => {
                let Some((_, driver)) = self.device_of(agent.who) else { return Then::AtOnce };
                match fault.go_on(&mut self.mm, &mut self.drivers[driver]) {
                    Work::Done(served) => self.fault_over(agent, &fault, &served, now),
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
            Work::Wait(Wait::TimeSlice(until)) => {
                self.later(agent, Step::TimeSlice, now, until.saturating_sub(now))
            }
            Work::Wait(_) => self.later(agent, Step::Wait, now, costs::LOOK_AGAIN),
        }
    }

    /// Starts the transfers of a copy: pages that lie one behind the other where they are read or written go together.
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
        let before = io.orders.len();
        for piece in &pieces {
            let Some((flow, by, addr)) = self.copier(piece) else { continue };
            let bytes = Bytes(piece.pages * PAGE);
            match io.orders[before..].last_mut() {
                Some(last)
                    if (last.flow, last.by) == (flow, by) && last.addr.wrapping_add(last.bytes.0) == addr =>
                {
                    last.bytes = Bytes(last.bytes.0 + bytes.0);
                }
                _ => io.orders.push(SharedOrder { flow, by, addr, bytes, owner: id }),
            }
        }
        let count = io.orders.len() - before;
        agent.copied = pieces;
        if count == 0 {
            return Then::AtOnce;
        }
        agent.waits = Waits::Copies(count, now, agent.copied.len() as u64);
        Then::Waits
    }

    /// Who copies a piece, for which flow, and where it reads it or writes it to: the GPU that it goes to, from RAM or from another
    /// GPU's memory; or the one that it leaves.
    fn copier(&self, piece: &Piece) -> Option<(usize, Mover, u64)> {
        let device = self.plan.gpus[self.gpu_of(piece.device)?].device;
        let (role, direction) = match piece.to_device {
            true => (Role::Arrive, Direction::Read),
            false => (Role::Leave, Direction::Write),
        };
        let flow = *self.plan.flows.get(&(device, role))?;
        let (link, addr) = match self.gpu_of(piece.other) {
            None => (None, self.plan.ram_address(device, piece.other)?),
            Some(_) => match self.plan.find(&self.mm, device, piece.other) {
                Found::Peer { via: Via::Private(link), addr } => (Some(link), addr),
                Found::Peer { via: Via::Pcie, addr } => (None, addr),
                _ => return None,
            },
        };
        Some((flow, Mover::Device { device, direction, link }, addr))
    }

    /// The GPU whose page that is.
    pub(super) fn gpu_of(&self, pfn: Pfn) -> Option<usize> {
        let (Place::Private(device) | Place::Coherent(device)) = self.mm.frames.place(pfn) else {
            return None;
        };
        usize::try_from(device.0).ok().filter(|gpu| *gpu < self.plan.gpus.len())
    }

    /// Pages that an agent's last copy took from a device have left it.
    pub(super) fn note_left(&mut self, agent: &mut Agent, now: Picos) {
        for piece in std::mem::take(&mut agent.copied).iter().filter(|piece| !piece.to_device) {
            let huge = self.mm.frames.huge_maps(piece.other).first().map(|at| (at.page, 512));
            let small = self.mm.frames.maps(piece.other).first().map(|at| (at.page, 1));
            if let Some((first, count)) = huge.or(small) {
                (first..first + count).for_each(|page| {
                    self.left_at.insert(page, now);
                });
            }
        }
    }

    /// Pages are in RAM again because somebody used them, or asked for them.
    fn came_home(&mut self, agent: &mut Agent, pages: u64, now: Picos) {
        self.note_left(agent, now);
        self.tally(agent.who).fetched += pages;
        if !agent.tasks.iter().any(|task| matches!(task, Task::Fault(_))) {
            agent.fault_times.push(now.saturating_sub(agent.faulted));
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
                    transfer.into_iter().flatten().for_each(|transfer| merge(&mut transfers, transfer));
                    made += 1;
                    agent.tries = 0;
                    agent.touched();
                }
                Access::Missing | Access::Later | Access::Kept(_) if made > 0 => break,
                Access::Missing => return self.fault(agent, id.1, page, now),
                Access::Home if made > 0 => {
                    self.begin_home(agent, Picos(now.0 + took.0));
                    break;
                }
                Access::Home => {
                    self.begin_home(agent, now);
                    return self.later(agent, Step::Interrupt, now, costs::CPU_FAULT);
                }
                Access::Later => return self.later(agent, Step::Wait, now, costs::LOOK_AGAIN),
                Access::Kept(until) => {
                    self.tally(agent.who).kept += 1;
                    return self.later(agent, Step::TimeSlice, now, until.saturating_sub(now));
                }
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
        let before = io.orders.len();
        for Transfer { direction, via, addr, bytes } in transfers.iter().copied() {
            let Some((flow, by)) = self.mover(agent.who, direction, via) else { continue };
            io.orders.push(SharedOrder { flow, by, addr, bytes: Bytes(bytes), owner: id });
        }
        let count = io.orders.len() - before;
        if count > 0 {
            agent.waits = Waits::Accesses(count);
        }
    }
}

/// Adds a transfer: whole pages that follow each other become one.
fn merge(transfers: &mut Vec<Transfer>, new: Transfer) {
    match transfers.last_mut() {
        Some(last)
            if last.direction == new.direction
                && last.via == new.via
                && new.bytes == PAGE
                && last.addr.wrapping_add(last.bytes) == new.addr
                && last.bytes < TOGETHER * PAGE =>
        {
            last.bytes += new.bytes;
        }
        _ => transfers.push(new),
    }
}
