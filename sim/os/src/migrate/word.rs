//! The word that stands for one page of a migration.

use peerbus_units::Pfn;

use crate::device_private::{MigrateLayout, PrivateMemory};

/// Flags in the low bits, page frame number from bit 6 ([`MigrateLayout`]).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Word(pub u64);

impl Word {
    const MIGRATE: u64 = MigrateLayout::MIGRATE;
    const WRITE: u64 = MigrateLayout::WRITE;
    const COMPOUND: u64 = MigrateLayout::COMPOUND;

    /// Nothing moves.
    pub const NONE: Word = Word(0);
    /// A place without a page: something new can be put there.
    pub const EMPTY: Word = Word(Word::MIGRATE);

    /// A page that moves.
    pub fn source(layout: MigrateLayout, pfn: Pfn, write: bool) -> Word {
        Word(Word::destination(layout, pfn).0 | Word::MIGRATE | if write { Word::WRITE } else { 0 })
    }

    /// A page it moves to.
    pub fn destination(layout: MigrateLayout, pfn: Pfn) -> Word {
        let word = layout.encode(PrivateMemory::frame(pfn), MigrateLayout::VALID);
        Word(word.expect("frames in use fit into a word"))
    }

    /// The same, writable.
    pub fn writable(self, write: bool) -> Word {
        if write { Word(self.0 | Word::WRITE) } else { self }
    }

    /// The same, for a huge folio.
    pub fn compound(self) -> Word {
        Word(self.0 | Word::COMPOUND)
    }

    /// The same, but it stays.
    pub fn stays(self) -> Word {
        Word(self.0 & !Word::MIGRATE)
    }

    /// The page, if the word names one.
    pub fn pfn(self, layout: MigrateLayout) -> Option<Pfn> {
        layout.decode(self.0).map(|word| PrivateMemory::number(word.frame))
    }

    /// Whether it names a page.
    pub fn is_valid(self) -> bool {
        self.0 & MigrateLayout::VALID != 0
    }

    /// Whether it may still move.
    pub fn moves(self) -> bool {
        self.0 & Word::MIGRATE != 0
    }

    /// Whether the entry was, or is to be, writable.
    pub fn is_writable(self) -> bool {
        self.0 & Word::WRITE != 0
    }

    /// Whether it stands for a huge folio.
    pub fn is_compound(self) -> bool {
        self.0 & Word::COMPOUND != 0
    }
}
