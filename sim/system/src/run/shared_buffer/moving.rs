//! The exporter: moves of its buffer, and revocations.

use peerbus_fabric::Direction;
use peerbus_os::dma_buf::{AttachmentId, Placement, Revocation};
use peerbus_units::{Bytes, Picos};

use super::costs;
use super::drive::{BufferRun, Transfer};
use super::import::ACCESS;
use super::importer::State;
use super::plan::COPIES;
use super::step::{Step, What};
use crate::run::shared_virtual::{Mover, SharedOrder};

/// What happens to the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nothing.
    Idle,
    /// Importers were told to let go, at that time, and stop.
    Stopping(Then, Picos),
    /// Its data moves, since then; the next chunk, and copies under way.
    Moving {
        /// Where to.
        to: Placement,
        /// Since when.
        since: Picos,
        /// The next chunk.
        next: u64,
        /// Copies under way.
        under_way: u32,
        /// The exporter wanted it.
        own: bool,
    },
    /// It is revoked, and nobody uses it.
    Revoked,
}

/// What follows when all have stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// It moves there; the exporter wanted it, or an importer needs it there.
    Move {
        /// Where to.
        to: Placement,
        /// The exporter wanted it.
        own: bool,
    },
    /// The function is reset.
    Revoke,
}

impl BufferRun {
    /// Nobody may map the buffer or attach to it.
    pub(super) fn is_moving(&self) -> bool {
        matches!(self.phase, Phase::Moving { .. } | Phase::Stopping(Then::Move { .. }, _))
    }

    /// A revocation is under way that ends.
    pub(super) fn comes_back(&self) -> bool {
        matches!(self.phase, Phase::Revoked | Phase::Stopping(Then::Revoke, _))
    }

    fn is_over(&self) -> bool {
        self.importers.iter().all(|importer| importer.state == State::Over)
    }

    /// Moves the buffer to where it is not, or revokes it, unless something else happens to it now.
    pub(super) fn act(&mut self, step: &mut Step<'_>) {
        if self.is_over() {
            return;
        }
        if self.phase != Phase::Idle {
            self.postponed = true;
            return;
        }
        let Ok(exported) = &mut self.exported else { return };
        self.acts += 1;
        if self.plan.moves.is_none() {
            let told = exported.revoke();
            self.tally.revocations += 1;
            return self.stop(&told, Then::Revoke, step);
        }
        let to = match exported.placement() {
            Placement::Device => Placement::System,
            Placement::System => Placement::Device,
        };
        match exported.relocate(to) {
            Ok(told) => self.stop_for_move(&told, true, step),
            Err(error) => {
                self.tally.moves_refused += 1;
                self.tally.refusal.get_or_insert_with(|| {
                    let holders = self.importers.iter().filter(|run| run.holds());
                    let names: Vec<&str> = holders.map(|run| run.spec.name.as_str()).collect();
                    if names.is_empty() {
                        error.to_string()
                    } else {
                        format!("{error} by {}", names.join(", "))
                    }
                });
                self.plan_act(step);
            }
        }
    }

    /// When the exporter acts next, if it does.
    pub(super) fn plan_act(&mut self, step: &mut Step<'_>) {
        let exporter = &self.plan.spec.exporter;
        let moves = exporter.moves.map(|moves| (moves.every, moves.times));
        let revokes = exporter.revokes.map(|revokes| (revokes.every, revokes.times));
        let wanted = if self.plan.moves.is_some() { moves } else { revokes };
        if let Some((every, _)) = wanted.filter(|(_, times)| self.acts < *times && !self.is_over()) {
            step.after(every, What::Act);
        }
    }

    /// The operating system has moved the buffer in its books: its data follows when all have let go.
    pub(super) fn stop_for_move(&mut self, told: &[AttachmentId], own: bool, step: &mut Step<'_>) {
        let Ok(exported) = &self.exported else { return };
        let to = exported.placement();
        self.stop(told, Then::Move { to, own }, step);
    }

    fn stop(&mut self, told: &[AttachmentId], then: Then, step: &mut Step<'_>) {
        self.phase = Phase::Stopping(then, step.now);
        self.told = told.len() as u64;
        let holders: Vec<usize> = (0..self.importers.len())
            .filter(|i| {
                let run = &self.importers[*i];
                run.mapping.is_some() && run.attachment.is_some_and(|id| told.contains(&id))
            })
            .collect();
        if then == Then::Revoke {
            self.cut_off(told, step);
        }
        for i in &holders {
            let run = &mut self.importers[*i];
            run.tally.invalidations += 1;
            run.told = run.pages.is_none();
        }
        for i in holders {
            if self.importers[i].pages.is_some() {
                self.revoke_pages(i, step);
                continue;
            }
            // The rest of its job may wait for a place.
            self.give(i, step);
            if self.importers[i].has_stopped() {
                self.let_go(i, step);
            }
        }
        self.check_stopped(step);
    }

    /// Of those who have not mapped yet, the ones that are revoked for good never will.
    fn cut_off(&mut self, told: &[AttachmentId], step: &mut Step<'_>) {
        for i in 0..self.importers.len() {
            let run = &self.importers[i];
            let concerned = run.mapping.is_none() && run.attachment.is_some_and(|id| told.contains(&id));
            if concerned && (run.pages.is_some() || run.is_revoked_for_good()) {
                self.fail(i, ACCESS, "it was revoked for good before it was mapped".to_owned(), step);
            }
        }
    }

    /// Goes on when nobody uses the buffer any more.
    pub(super) fn check_stopped(&mut self, step: &mut Step<'_>) {
        let Phase::Stopping(then, since) = self.phase else { return };
        if self.importers.iter().any(|importer| importer.told) {
            return;
        }
        self.tally.stopping += step.now.saturating_sub(since);
        let (bytes, told) = (self.plan.spec.bytes.0, self.told);
        match then {
            Then::Move { to, own } => {
                self.phase = Phase::Moving { to, since: step.now, next: 0, under_way: 0, own };
                step.after(costs::start_move(bytes, told), What::Copy);
            }
            Then::Revoke => {
                let Ok(exported) = &mut self.exported else { return };
                let done = exported.revocation();
                assert_eq!(done, Revocation::Done, "all have let go");
                self.phase = Phase::Revoked;
                let lasts = self.plan.spec.exporter.revokes.map_or(Picos::ZERO, |revokes| revokes.lasts);
                step.after(Picos(costs::NOTIFY.0 * told + lasts.0), What::GiveBack);
            }
        }
    }

    /// Gives copies of chunks to the exporter's engine.
    pub(super) fn copy(&mut self, step: &mut Step<'_>) {
        let chunks = self.plan.spec.chunks();
        let (Some((_, ram)), Some((leave, arrive))) = (self.plan.ram, self.plan.moves) else {
            unreachable!("only what may be in system memory moves");
        };
        while let Phase::Moving { to, next, under_way, .. } = &mut self.phase {
            if *next == chunks || *under_way == COPIES {
                break;
            }
            let (chunk, to) = (*next, *to);
            (*next, *under_way) = (*next + 1, *under_way + 1);
            let (first, bytes) = self.plan.spec.chunk_at(chunk);
            let (flow, direction) = match to {
                Placement::System => (leave, Direction::Write),
                Placement::Device => (arrive, Direction::Read),
            };
            let chunk = usize::try_from(chunk).unwrap_or(usize::MAX);
            let transfer = Transfer { importer: None, chunk, placement: to, bytes };
            let number = self.under_way(transfer);
            step.io.orders.push(SharedOrder {
                flow,
                by: Mover::Device { device: self.plan.exporter, direction, link: None },
                addr: ram.wrapping_add(first),
                bytes: Bytes(bytes),
                owner: (step.buffer, number),
            });
        }
    }

    /// A chunk has been copied.
    pub(super) fn copied(&mut self, transfer: Transfer, delivered: u64, step: &mut Step<'_>) {
        if delivered == transfer.bytes {
            self.contents.copy(transfer.chunk, transfer.placement);
        } else {
            self.contents.lose(transfer.chunk, transfer.placement);
            self.tally.chunks_lost += 1;
        }
        let chunks = self.plan.spec.chunks();
        let Phase::Moving { next, under_way, since, own, .. } = &mut self.phase else { return };
        *under_way -= 1;
        if *next < chunks || *under_way > 0 {
            return self.copy(step);
        }
        self.tally.moves += 1;
        self.tally.moving += step.now.saturating_sub(*since);
        let own = *own;
        self.ended(own, step);
    }

    /// The revoked buffer can be used again.
    pub(super) fn give_back(&mut self, step: &mut Step<'_>) {
        let Ok(exported) = &mut self.exported else { return };
        let told = exported.unrevoke();
        assert!(told.is_some(), "the revocation was done");
        self.ended(true, step);
    }

    /// Nothing happens to the buffer any more: those who wait go on, and then the exporter if it wanted to act meanwhile.
    fn ended(&mut self, own: bool, step: &mut Step<'_>) {
        self.phase = Phase::Idle;
        if own {
            self.plan_act(step);
        }
        for i in std::mem::take(&mut self.waiting) {
            self.proceed(i, step);
        }
        if self.phase == Phase::Idle && std::mem::take(&mut self.postponed) {
            self.act(step);
        }
    }
}
