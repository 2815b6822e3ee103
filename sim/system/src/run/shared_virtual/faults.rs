//! Faults of devices and CPUs: who serves them, and what came of them; pages that are pinned or asked for without a fault.
//!
//! A driver serves so many faults of its device at a time ([`peerbus_os::drivers::Policy::handlers`]). One that comes while all
//! handlers are busy waits in the device's fault buffer, and is taken from there without another interrupt, in the batch of the
//! one before it. What another fault has brought meanwhile needs no more than another try.

use peerbus_os::drivers::{DeviceAccess, DeviceFault, HomeComing, Served};
use peerbus_os::migrate::Refusal;
use peerbus_os::mm::{Errno, Pin, Vpn};
use peerbus_units::Picos;

use super::agent::{Agent, Task, Waits};
use super::costs;
use super::drive::{Process, Who};
use super::place::Found;
use super::steps::Then;
use super::tally::Step;
use super::touch::Access;
use crate::shared_virtual::{Reaching, Touch};

/// Faults on one page after which an agent gives up: others take it away each time.
const MOST_TRIES: u32 = 10_000;
/// Pages that come home together where somebody asks for it: a huge page's worth.
const HOME_BLOCK: u64 = 512;

impl Process {
    /// The answer to a CPU's fault on a device's page begins.
    pub(super) fn begin_home(&mut self, agent: &mut Agent, now: Picos) {
        agent.faulted = now;
        self.tally(agent.who).cpu_faults += 1;
        if let Some(home) = HomeComing::of_last_fault(&self.mm) {
            agent.tasks.push(Task::Home(Box::new(home)));
        }
    }

    /// An agent's device faults on a page: an interrupt, or a place in the fault buffer.
    pub(super) fn fault(&mut self, agent: &mut Agent, number: usize, page: Vpn, now: Picos) -> Then {
        let Some((_, driver)) = self.device_of(agent.who) else { return Then::AtOnce };
        agent.tries += 1;
        if agent.tries > MOST_TRIES {
            agent.failed = Some(format!("page {page:#x} was gone again after each of {MOST_TRIES} faults"));
            return Then::AtOnce;
        }
        agent.faulted = now;
        self.tally(agent.who).device_faults += 1;
        agent.tasks.push(Task::Begin(page));
        if self.handling[driver] < self.drivers[driver].policy.handlers {
            self.handling[driver] += 1;
            return self.later(agent, Step::Interrupt, now, Picos(costs::INTERRUPT.0 + costs::LOOKUP.0));
        }
        self.tally(agent.who).batched += 1;
        self.fault_buffers[driver].push_back(number);
        agent.waits = Waits::Handler(now);
        Then::Waits
    }

    /// A handler of the agent's driver has time for the next fault in the buffer.
    fn handler_free(&mut self, who: Who) {
        let Some((_, driver)) = self.device_of(who) else { return };
        match self.fault_buffers[driver].pop_front() {
            Some(next) => self.called.push(next),
            None => self.handling[driver] -= 1,
        }
    }

    /// A handler looks at a fault; or somebody asked for a page without one.
    pub(super) fn begin_fault(&mut self, agent: &mut Agent, page: Vpn, now: Picos) -> Then {
        let Some((_, driver)) = self.device_of(agent.who) else { return Then::AtOnce };
        let touch = self.activity(agent).touch;
        if touch != Touch::Prefetch && self.found(agent, page).is_some() {
            self.tally(agent.who).together += 1;
            self.handler_free(agent.who);
            return self.replay(agent, now);
        }
        let access = self.wants(agent, page);
        let needs_memory = access.atomic && self.drivers[driver].policy.time_slice > Picos::ZERO;
        let made = if needs_memory && !access.migrates {
            Err("atomic accesses need memory of the device, which has no page structs".to_owned())
        } else {
            DeviceFault::new(&self.mm, &self.drivers[driver], agent.space, page, access)
                .map_err(|error| format!("page {page:#x} cannot be used: {error}"))
        };
        match made {
            Ok(fault) => agent.tasks.push(Task::Fault(Box::new(fault))),
            Err(why) => {
                agent.failed = Some(why);
                self.fault_ends(agent);
            }
        }
        Then::AtOnce
    }

    /// What an agent's device wants with a page.
    fn wants(&self, agent: &Agent, page: Vpn) -> DeviceAccess {
        let activity = self.activity(agent);
        let Who::Gpu(gpu) = agent.who else {
            return DeviceAccess { write: activity.touch.writes(), migrates: false, atomic: false };
        };
        let atomic = activity.touch == Touch::Atomic;
        let needs_memory = atomic && self.drivers[gpu].policy.time_slice > Picos::ZERO;
        let preferred = self.preferred(page);
        let asked = activity.touch == Touch::Prefetch || preferred.is_none_or(|who| who == agent.who);
        let migrates = activity.reach == Reaching::Migrate && asked || needs_memory;
        let migrates = migrates && !self.without_structs.contains_key(&gpu);
        DeviceAccess { write: activity.touch.writes(), migrates, atomic }
    }

    /// A fault is no more under way.
    fn fault_ends(&mut self, agent: &Agent) {
        if self.activity(agent).touch != Touch::Prefetch {
            self.handler_free(agent.who);
        }
    }

    /// A fault is over.
    pub(super) fn fault_over(
        &mut self,
        agent: &mut Agent,
        fault: &DeviceFault,
        served: &Served,
        now: Picos,
    ) -> Then {
        self.note_left(agent, now);
        self.note_served(agent, fault, served, now);
        self.fault_ends(agent);
        if let Some(error) = served.error {
            let why = match error {
                Errno::Busy => "an atomic access did not get its page into the device's memory".to_owned(),
                error => format!("a fault ended with {error}"),
            };
            agent.failed = Some(why);
            return Then::AtOnce;
        }
        if self.activity(agent).touch == Touch::Prefetch {
            agent.asked = fault.block();
            return Then::AtOnce;
        }
        self.replay(agent, now)
    }

    /// The device tries again.
    fn replay(&mut self, agent: &mut Agent, now: Picos) -> Then {
        // The access that faulted goes before whoever wants the page next.
        self.touch_one(agent);
        self.later(agent, Step::Replay, now, costs::REPLAY)
    }

    fn note_served(&mut self, agent: &mut Agent, fault: &DeviceFault, served: &Served, now: Picos) {
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

    /// The access that faulted, if its page is there now. Its time is that of the replay.
    fn touch_one(&mut self, agent: &mut Agent) {
        let page = agent.first + agent.pattern.page();
        if agent.left > 0
            && let Some(Found::Own) = self.found(agent, page)
            && let Access::Made(..) = self.access(agent, page)
        {
            agent.touched();
        }
    }

    /// Asks for the block around the next page that is not where the agent wants it: no fault, no interrupt, one call.
    pub(super) fn prefetch(&mut self, agent: &mut Agent, now: Picos) -> Then {
        while agent.left > 0 {
            let page = agent.first + agent.pattern.page();
            let (from, to) = agent.asked;
            if (from..to).contains(&page) || self.is_where_wanted(agent, page) {
                agent.used += self.activity(agent).bytes.0;
                agent.touched();
                continue;
            }
            agent.faulted = now;
            self.tally(agent.who).prefetches += 1;
            match agent.who {
                Who::Cpu(_) => self.prefetch_home(agent, page),
                _ => agent.tasks.push(Task::Begin(page)),
            }
            return self.later(agent, Step::Interrupt, now, costs::LOOKUP);
        }
        Then::AtOnce
    }

    /// Brings home the block of pages around one that a GPU has.
    fn prefetch_home(&mut self, agent: &mut Agent, page: Vpn) {
        let from = (page / HOME_BLOCK * HOME_BLOCK).max(agent.first);
        let to = (page / HOME_BLOCK * HOME_BLOCK + HOME_BLOCK).min(agent.first + agent.pages);
        agent.asked = (from, to);
        let gpu = self.mm.page_behind(agent.space, page).and_then(|pfn| self.gpu_of(pfn));
        let home =
            gpu.and_then(|gpu| HomeComing::of_range(&mut self.mm, &self.drivers[gpu], agent.space, from, to));
        if let Some(home) = home {
            agent.tasks.push(Task::Home(Box::new(home)));
        }
    }

    /// Whether a page is where an agent that prefetches wants it.
    fn is_where_wanted(&self, agent: &Agent, page: Vpn) -> bool {
        let behind = self.mm.page_behind(agent.space, page);
        match agent.who {
            Who::Cpu(_) => behind.is_none_or(|pfn| self.gpu_of(pfn).is_none()),
            _ if self.activity(agent).reach == Reaching::Migrate && matches!(agent.who, Who::Gpu(_)) => {
                self.found(agent, page) == Some(Found::Own)
            }
            _ => self.found(agent, page).is_some(),
        }
    }

    /// Pins the next pages.
    pub(super) fn pin(&mut self, agent: &mut Agent, now: Picos) -> Then {
        let mut took = Picos::ZERO;
        for page in agent.first..agent.first + agent.pages {
            if agent.pinned.contains_key(&page) {
                continue;
            }
            let write = self.activity(agent).touch.writes();
            let how = Pin { write, pinned: true, long_term: true, split: false };
            let under_way = self.mm.driver_work();
            match self.mm.hold(agent.space, page, how) {
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
}
