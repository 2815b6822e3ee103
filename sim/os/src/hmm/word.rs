//! The word HMM gives for one page: flags in the high bits, page frame number below.

use peerbus_units::Pfn;

/// Flags of a word, or flags asked for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags(pub u64);

impl Flags {
    /// None.
    pub const NONE: Flags = Flags(0);
    /// Asks for the page.
    pub const FAULT: Flags = Flags(Word::VALID);
    /// Asks for the page, writable.
    pub const WRITE_FAULT: Flags = Flags(Word::VALID | Word::WRITE);
    /// All of them.
    pub const ALL: Flags = Flags(u64::MAX);
}

/// Where things are in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Lowest bit of the five for the order.
    pub order_shift: u32,
}

impl Layout {
    /// Bits of the page frame number.
    pub const fn pfn_mask(self) -> u64 {
        (1 << self.order_shift) - 1
    }

    /// Bits that a walk keeps: what the DMA side noted about a page. Kernels whose order field reaches up to bit
    /// 60 have none.
    pub const fn kept(self) -> u64 {
        if self.order_shift == 53 { 0b111 << 58 } else { 0 }
    }
}

/// One page's word.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Word(pub u64);

impl Word {
    const VALID: u64 = 1 << 63;
    const WRITE: u64 = 1 << 62;
    const ERROR: u64 = 1 << 61;

    /// A page that can be read, and written if `write`, inside a mapping of 2^`order` pages.
    pub fn page(layout: Layout, pfn: Pfn, write: bool, order: u32) -> Word {
        let flags = Word::VALID | if write { Word::WRITE } else { 0 };
        Word(flags | u64::from(order) << layout.order_shift | (pfn.0 & layout.pfn_mask()))
    }

    /// No page can be there.
    pub const fn error() -> Word {
        Word(Word::ERROR)
    }

    /// Nothing there.
    pub const fn nothing() -> Word {
        Word(0)
    }

    /// Whether a page can be read there.
    pub fn is_valid(self) -> bool {
        self.0 & Word::VALID != 0
    }

    /// Whether it can be written.
    pub fn is_writable(self) -> bool {
        self.0 & Word::WRITE != 0
    }

    /// Whether no page can be there.
    pub fn is_error(self) -> bool {
        self.0 & Word::ERROR != 0
    }

    /// The page.
    pub fn pfn(self, layout: Layout) -> Pfn {
        Pfn(self.0 & layout.pfn_mask())
    }

    /// Size of the mapping around it, as a power of two of pages.
    pub fn order(self, layout: Layout) -> u32 {
        u32::try_from(self.0 >> layout.order_shift & 0x1f).expect("five bits")
    }
}

/// What a page lacks.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Need {
    pub fault: bool,
    pub write: bool,
}

/// What a request lacks where the CPU's entry allows `have` (valid, writable).
pub(crate) fn need(request: Word, default: Flags, mask: Flags, valid: bool, writable: bool) -> Need {
    let asked = (request.0 & mask.0) | default.0;
    if asked & Word::VALID == 0 {
        return Need::default();
    }
    if asked & Word::WRITE != 0 && !writable {
        return Need { fault: true, write: true };
    }
    Need { fault: !valid, write: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_needs_what_the_entry_lacks() {
        let check = |asked: u64, valid, writable, expect: (bool, bool)| {
            let need = need(Word(asked), Flags::NONE, Flags::ALL, valid, writable);
            assert_eq!((need.fault, need.write), expect, "{asked:#x} {valid} {writable}");
        };
        let (read, write) = (Word::VALID, Word::VALID | Word::WRITE);
        check(0, false, false, (false, false));
        check(Word::WRITE, false, false, (false, false));
        check(read, false, false, (true, false));
        check(read, true, false, (false, false));
        check(write, true, false, (true, true));
        check(write, true, true, (false, false));
    }

    #[test]
    fn both_layouts_keep_order_and_page_apart() {
        for order_shift in [53, 56] {
            let layout = Layout { order_shift };
            let word = Word::page(layout, Pfn(0x1_2345_6789), true, 9);
            assert_eq!(word.pfn(layout), Pfn(0x1_2345_6789));
            assert_eq!((word.order(layout), word.is_valid(), word.is_writable()), (9, true, true));
        }
    }
}
