//! The word HMM gives for one page: flags in the high bits, page frame number below ([`HmmLayout`]).

use peerbus_units::Pfn;

use crate::device_private::{FrameWord, HmmLayout, PrivateMemory};

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

/// One page's word.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Word(pub u64);

impl Word {
    const VALID: u64 = HmmLayout::VALID;
    const WRITE: u64 = HmmLayout::WRITE;
    const ERROR: u64 = HmmLayout::ERROR;

    /// A page that can be read, and written if `write`, inside a mapping of 2^`order` pages.
    pub fn page(layout: HmmLayout, pfn: Pfn, write: bool, order: u32) -> Word {
        let flags = Word::VALID | if write { Word::WRITE } else { 0 };
        let word = FrameWord { frame: PrivateMemory::frame(pfn), order, flags };
        Word(layout.encode(word).expect("frames and orders in use fit into a word"))
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
    pub fn pfn(self, layout: HmmLayout) -> Pfn {
        PrivateMemory::number(layout.decode(self.0).frame)
    }

    /// Size of the mapping around it, as a power of two of pages.
    pub fn order(self, layout: HmmLayout) -> u32 {
        layout.decode(self.0).order
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
    use crate::device_private::{Frame, PrivateDesign};
    use peerbus_units::DevicePage;

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
    fn words_keep_order_and_page_apart() {
        let own = PrivateMemory::number(Frame::Offset(DevicePage(0x1_2345_6789)));
        for layout in [HmmLayout::LINUX_6_1, HmmLayout::LINUX_7_3] {
            for (layout, pfn) in [
                (layout, Pfn(0x1_2345_6789)),
                (layout.with(PrivateDesign::OwnSpace), Pfn(0x1_2345_6789)),
                (layout.with(PrivateDesign::OwnSpace), own),
            ] {
                let word = Word::page(layout, pfn, true, 9);
                assert_eq!(word.pfn(layout), pfn);
                assert_eq!((word.order(layout), word.is_valid(), word.is_writable()), (9, true, true));
            }
        }
    }
}
