//! The word that stands for one page of a migration.

use peerbus_units::Pfn;

/// Flags in the low bits, page frame number from bit 6.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Word(pub u64);

impl Word {
    const VALID: u64 = 1;
    const MIGRATE: u64 = 2;
    const WRITE: u64 = 8;
    const COMPOUND: u64 = 16;
    const PFN_SHIFT: u32 = 6;

    /// Nothing moves.
    pub const NONE: Word = Word(0);
    /// A place without a page: something new can be put there.
    pub const EMPTY: Word = Word(Word::MIGRATE);

    /// A page that moves.
    pub fn source(pfn: Pfn, write: bool) -> Word {
        Word(pfn.0 << Word::PFN_SHIFT | Word::VALID | Word::MIGRATE | if write { Word::WRITE } else { 0 })
    }

    /// A page it moves to.
    pub fn destination(pfn: Pfn) -> Word {
        Word(pfn.0 << Word::PFN_SHIFT | Word::VALID)
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
    pub fn pfn(self) -> Option<Pfn> {
        self.is_valid().then_some(Pfn(self.0 >> Word::PFN_SHIFT))
    }

    /// Whether it names a page.
    pub fn is_valid(self) -> bool {
        self.0 & Word::VALID != 0
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
