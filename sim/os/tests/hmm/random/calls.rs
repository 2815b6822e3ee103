//! Calls under way: their steps, and what the model is told of them.

use peerbus_os::hmm::Step;
use peerbus_os::mm::{CpuError, Errno, SpaceId, Touch, Unmapping, Vpn, Wait};
use peerbus_os::test_device::{Answer, Eviction, RangeMove, Removal, Transfer};

use super::{BASE, World, add};

/// What the model must be told when a call is over.
#[derive(Debug)]
pub(super) struct Expectation {
    pub(super) space: SpaceId,
    pub(super) from: Vpn,
    /// Versions at the start; for writes the model's own.
    pub(super) versions: Vec<Option<u64>>,
    /// The first page's value, for writes.
    pub(super) value: Option<u64>,
    /// No other write was under way at any time: afterwards, what it wrote is what is there.
    pub(super) alone: bool,
}

#[derive(Debug)]
pub(super) enum Task {
    Transfer(Transfer, Expectation),
    Move(RangeMove, Expectation),
    Evict(Eviction),
    Unmap(Unmapping, SpaceId, Vpn, Vpn),
    /// A CPU's access, and what it writes.
    Touch(Touch, SpaceId, Vpn, Option<u64>),
    Remove(Removal, u32),
}

impl World {
    /// Others run after every step, or after many: long calls have a step per page.
    pub(super) fn steps_at_once(&mut self) -> u64 {
        match self.random.below(3) {
            0 => 1,
            1 => 1 + self.random.below(16),
            _ => 1 + self.random.below(600),
        }
    }

    /// Goes on with a call, for a while or until it waits or is over.
    pub(super) fn advance(&mut self, index: usize) -> Result<(), String> {
        for _ in 0..self.steps_at_once() {
            let before = self.tasks.len();
            if !self.advance_once(index)? || self.tasks.len() < before {
                break;
            }
            // It went to the end of the list.
            self.tasks.swap(index, before - 1);
        }
        Ok(())
    }

    /// One step; false where it waits.
    fn advance_once(&mut self, index: usize) -> Result<bool, String> {
        let task = self.tasks.swap_remove(index);
        let mut waits = false;
        match task {
            Task::Transfer(mut transfer, expectation) => match transfer.step(&mut self.mm) {
                Step::Done(result) => self.transferred(result, &expectation)?,
                step => {
                    waits = matches!(step, Step::Wait(_));
                    self.tasks.push(Task::Transfer(transfer, expectation));
                }
            },
            Task::Move(mut range, expectation) => match range.step(&mut self.mm) {
                Step::Done(result) => {
                    self.note(if result.is_ok() { "moved" } else { "not moved" });
                    if let Ok(answer) = &result {
                        self.compare(&answer.data, &expectation)?;
                    }
                }
                step => {
                    waits = matches!(step, Step::Wait(_));
                    self.tasks.push(Task::Move(range, expectation));
                }
            },
            Task::Evict(mut eviction) => {
                if !eviction.step(&mut self.mm) {
                    self.tasks.push(Task::Evict(eviction));
                }
            }
            Task::Unmap(mut unmapping, space, from, to) => match unmapping.step(&mut self.mm) {
                true => self.note("unmapped"),
                false => self.tasks.push(Task::Unmap(unmapping, space, from, to)),
            },
            Task::Touch(mut touch, space, page, value) => match touch.step(&mut self.mm) {
                Step::Done(result) => self.touched(space, page, value, result)?,
                step => {
                    waits = matches!(step, Step::Wait(_));
                    self.tasks.push(Task::Touch(touch, space, page, value));
                }
            },
            Task::Remove(mut removal, device) => match removal.step(&mut self.mm) {
                Step::Done(()) => {
                    self.note("removed");
                    self.mirrors.retain(|key, _| key.1 != device);
                    add(&mut self.mm, device);
                }
                step => {
                    if matches!(step, Step::Wait(Wait::PagesOut(_))) {
                        self.note("removal waited");
                        waits = true;
                    }
                    self.tasks.push(Task::Remove(removal, device));
                }
            },
        }
        Ok(!waits)
    }

    fn touched(
        &mut self,
        space: SpaceId,
        page: Vpn,
        value: Option<u64>,
        result: Result<u64, CpuError>,
    ) -> Result<(), String> {
        self.note(if result.is_ok() { "touched" } else { "not touched" });
        match (result, value) {
            (Ok(_), Some(value)) => self.written(space, page, value),
            (Ok(got), None) => self.saw(space, page, got)?,
            (Err(_), _) => {}
        }
        Ok(())
    }

    pub(super) fn written(&mut self, space: SpaceId, page: Vpn, value: u64) {
        let devices_write = self.devices_write();
        self.model.write(space, page, value, devices_write);
        self.overlay(space, page, page + 1);
    }

    pub(super) fn saw(&mut self, space: SpaceId, page: Vpn, got: u64) -> Result<(), String> {
        let values = self.model.values(space, page);
        if !values.contains(&got) {
            return Err(format!("{space:?} read {got} from page {}, not {values:?}", page - BASE));
        }
        let settled = self.tasks.is_empty();
        self.model.saw(space, page, got, settled);
        Ok(())
    }

    fn transferred(
        &mut self,
        result: Result<Answer, Errno>,
        expectation: &Expectation,
    ) -> Result<(), String> {
        self.note(if result.is_ok() { "transferred" } else { "not transferred" });
        let Ok(answer) = result else { return Ok(()) };
        let Some(value) = expectation.value else { return self.compare(&answer.data, expectation) };
        if !expectation.alone {
            return Ok(());
        }
        for (index, version) in (0_u64..).zip(&expectation.versions) {
            if let Some(version) = version {
                let page = expectation.from + index;
                self.model.written(expectation.space, page, value + index, *version);
            }
        }
        Ok(())
    }

    /// What a device read must be what was there, unless somebody changed it meanwhile.
    fn compare(&mut self, data: &[u64], expectation: &Expectation) -> Result<(), String> {
        for (index, (got, version)) in data.iter().zip(&expectation.versions).enumerate() {
            let page = expectation.from + index as u64;
            let now = self.model.version(expectation.space, page);
            if version.is_none() || now != *version {
                continue;
            }
            let values = self.model.values(expectation.space, page);
            if !values.contains(got) {
                return Err(format!("device read {got} from page {}, not {values:?}", page - BASE));
            }
        }
        Ok(())
    }

    pub(super) fn expectation(
        &mut self,
        space: SpaceId,
        from: Vpn,
        to: Vpn,
        value: Option<u64>,
    ) -> Expectation {
        let versions = (from..to)
            .map(|page| match value {
                Some(value) => self.model.may_write(space, page, value + page - from),
                None => self.model.version(space, page),
            })
            .collect();
        let alone = value.is_none() || !self.devices_write();
        Expectation { space, from, versions, value, alone }
    }

    /// Whether a device's write is under way.
    pub(super) fn devices_write(&self) -> bool {
        self.writes().next().is_some()
    }

    fn writes(&self) -> impl Iterator<Item = (SpaceId, Vpn, Vpn, u64)> {
        self.tasks.iter().filter_map(|task| match task {
            Task::Transfer(_, expectation) => {
                let to = expectation.from + expectation.versions.len() as u64;
                expectation.value.map(|value| (expectation.space, expectation.from, to, value))
            }
            _ => None,
        })
    }

    /// Writes under way may still reach pages that were just changed.
    pub(super) fn overlay(&mut self, space: SpaceId, from: Vpn, to: Vpn) {
        let writes: Vec<_> = self.writes().filter(|write| write.0 == space).collect();
        for (_, first, last, value) in writes {
            for page in from.max(first)..to.min(last) {
                self.model.may_write(space, page, value + page - first);
            }
        }
    }
}
