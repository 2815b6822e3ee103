//! A migration under way, in parts that take time.

use alloc::vec::Vec;

use super::{Part, Piece, Work};
use crate::migrate::{Migration, Word};
use crate::mm::Mm;
use crate::mm::frame::HUGE;
use crate::test_device::{Phase, Way};

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Collected,
    Unmap,
    Shootdown,
    Allocate,
    Copy,
    /// The copy is done.
    Finish,
    /// The time of finishing is over.
    End,
}

/// A migration from the point where its pages are collected.
#[derive(Clone, Debug)]
pub(super) struct Moving {
    pub migration: Migration,
    way: Way,
    phase: Phase,
    next: Next,
}

impl Moving {
    /// With pages collected.
    pub fn collected(migration: Migration, way: Way) -> Moving {
        Moving { migration, way, phase: Phase::START, next: Next::Collected }
    }

    /// Goes on; `Done` when pages are in page tables again, wherever they are now.
    pub fn go_on(&mut self, mm: &mut Mm) -> Work<()> {
        match self.next {
            Next::Collected => {
                self.next = Next::Unmap;
                Work::Kernel(Part::Collect, pieces_of(&self.migration))
            }
            Next::Unmap => {
                while matches!(self.phase, Phase::Unmap(_)) {
                    self.step(mm);
                }
                self.next = Next::Shootdown;
                Work::Kernel(Part::Unmap, pieces_of(&self.migration))
            }
            Next::Shootdown => {
                self.next = Next::Allocate;
                Work::Kernel(Part::Shootdown, 1)
            }
            Next::Allocate => {
                self.next = Next::Copy;
                Work::Kernel(Part::Allocate, pieces_of(&self.migration))
            }
            Next::Copy => {
                while matches!(self.phase, Phase::Copy(_)) {
                    self.step(mm);
                }
                self.next = Next::Finish;
                Work::Copy(self.copied(mm))
            }
            Next::Finish => {
                self.next = Next::End;
                Work::Kernel(Part::Finish, pieces_of(&self.migration))
            }
            Next::End => {
                while self.step(mm) {}
                Work::Done(())
            }
        }
    }

    /// One phase further; false when it was the last.
    fn step(&mut self, mm: &mut Mm) -> bool {
        match self.phase.step(mm, &mut self.migration, self.way) {
            Some(phase) => {
                self.phase = phase;
                true
            }
            None => false,
        }
    }

    /// What was copied: pages with a source and a destination.
    fn copied(&self, mm: &Mm) -> Vec<Piece> {
        copied(mm, &self.migration, self.way)
    }
}

/// What the driver copied for `migration`: pages with a source and a destination. New pages for untouched memory are cleared by
/// the device itself.
pub(super) fn copied(mm: &Mm, migration: &Migration, way: Way) -> Vec<Piece> {
    let words = mm.migrate_words();
    let mut pieces = Vec::new();
    for (index, (src, dst)) in migration.src.iter().zip(&migration.dst).enumerate() {
        if !src.moves() {
            continue;
        }
        let Some(from) = src.pfn(words) else { continue };
        // A huge folio whose destinations are single pages was copied page by page.
        let whole = !src.is_compound() || dst.is_compound();
        let count = if src.is_compound() && !whole { 512 } else { 1 };
        for part in 0..count {
            let Some(to) = migration.dst.get(index + part).and_then(|dst: &Word| dst.pfn(words)) else {
                continue;
            };
            let from = peerbus_units::Pfn(from.0 + part as u64);
            let pages = if dst.is_compound() { HUGE } else { 1 };
            let to_device = way == Way::ToDevice;
            let (other, device) = if to_device { (from, to) } else { (to, from) };
            pieces.push(Piece { device, other, pages, to_device });
        }
    }
    pieces
}

/// Pages and huge folios that may still move.
fn pieces_of(migration: &Migration) -> u64 {
    migration.src.iter().filter(|word| word.moves()).count() as u64
}
