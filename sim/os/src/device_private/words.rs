//! Words that carry frames: those of migration, and those of range faults.
//!
//! Where private memory has physical frames, a word is a number and flags. With a space of its own, equal numbers may
//! mean two pages, and one more flag says which: bit 5 of a migration word, and in a range-fault word the highest bit
//! of the field that was the order's, which moves down by one.
//!
//! ```text
//! migration     frame << 6 | PRIVATE 32 | COMPOUND 16 | WRITE 8 | MIGRATE 2 | VALID 1
//! range fault   VALID 63, WRITE 62, ERROR 61, [DMA_MAPPED 60, P2PDMA 59, P2PDMA_BUS 58], order (5 bits), frame
//! ```

use peerbus_units::{DevicePage, Pfn};

use super::{Frame, PrivateDesign};

const ORDER_BITS: u32 = 5;

/// A frame in a word, with the other bits of the word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameWord {
    /// The frame.
    pub frame: Frame,
    /// Base-2 logarithm of the pages that are mapped as one, here: 0 in migration words.
    pub order: u32,
    /// Flags, at their places.
    pub flags: u64,
}

/// Words of range faults (`hmm_range_fault`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HmmLayout {
    order_shift: u32,
    /// Three flags survive a fault.
    kept: bool,
    /// The flag of private frames.
    private: Option<u32>,
}

impl HmmLayout {
    /// The page can be accessed. As a request: it shall be made accessible.
    pub const VALID: u64 = 1 << 63;
    /// It can be written. As a request: it shall be.
    pub const WRITE: u64 = 1 << 62;
    /// It never can be accessed.
    pub const ERROR: u64 = 1 << 61;
    /// It has been mapped for DMA.
    pub const DMA_MAPPED: u64 = 1 << 60;
    /// It was mapped as peer memory through the host bridge.
    pub const P2PDMA: u64 = 1 << 59;
    /// Its DMA address is a bus address.
    pub const P2PDMA_BUS: u64 = 1 << 58;

    /// 6.1 and 6.12.
    pub const LINUX_6_1: HmmLayout = HmmLayout { order_shift: 56, kept: false, private: None };
    /// 7.3.
    pub const LINUX_7_3: HmmLayout = HmmLayout { order_shift: 53, kept: true, private: None };

    /// The same with the flag that `design` needs.
    pub const fn with(self, design: PrivateDesign) -> HmmLayout {
        match (design, self.private) {
            (PrivateDesign::OwnSpace, None) => HmmLayout {
                order_shift: self.order_shift - 1,
                private: Some(self.order_shift + ORDER_BITS - 1),
                ..self
            },
            _ => self,
        }
    }

    /// The flag that tells a private frame from a physical one; 0 where none is needed.
    pub fn private_flag(self) -> u64 {
        self.private.map_or(0, |bit| 1 << bit)
    }

    /// Flags of a request that an answer still has.
    pub fn kept(self) -> u64 {
        if self.kept { HmmLayout::DMA_MAPPED | HmmLayout::P2PDMA | HmmLayout::P2PDMA_BUS } else { 0 }
    }

    /// Lowest bit of the order.
    pub fn order_shift(self) -> u32 {
        self.order_shift
    }

    /// The word; `None` if the frame or the order does not fit, or a private frame has no flag to say so.
    pub fn encode(self, word: FrameWord) -> Option<u64> {
        let number = word.frame.number();
        let fits = number >> self.order_shift == 0 && word.order >> ORDER_BITS == 0;
        let private = match word.frame {
            Frame::Physical(_) => Some(0),
            Frame::Offset(_) => self.private.map(|bit| 1 << bit),
        };
        let flags = private?;
        fits.then_some(number | u64::from(word.order) << self.order_shift | flags | word.flags)
    }

    /// What a word says.
    pub fn decode(self, word: u64) -> FrameWord {
        let number = word & ((1 << self.order_shift) - 1);
        let field = word >> self.order_shift & ((1 << ORDER_BITS) - 1);
        let private = word & self.private_flag();
        let frame =
            if private == 0 { Frame::Physical(Pfn(number)) } else { Frame::Offset(DevicePage(number)) };
        let above = self.order_shift + ORDER_BITS;
        let flags = (word >> above << above) & !private;
        // Five bits.
        FrameWord { frame, order: u32::try_from(field).unwrap_or(0), flags }
    }
}

/// Words of migration (`migrate_vma`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MigrateLayout {
    compound: bool,
    private: bool,
}

impl MigrateLayout {
    /// There is a page.
    pub const VALID: u64 = 1;
    /// It is to be migrated.
    pub const MIGRATE: u64 = 1 << 1;
    /// It was mapped writable.
    pub const WRITE: u64 = 1 << 3;
    /// It stands for all pages of a compound page.
    pub const COMPOUND: u64 = 1 << 4;
    const PRIVATE: u64 = 1 << 5;
    const FRAME_SHIFT: u32 = 6;

    /// 6.1 and 6.12.
    pub const LINUX_6_1: MigrateLayout = MigrateLayout { compound: false, private: false };
    /// 7.3.
    pub const LINUX_7_3: MigrateLayout = MigrateLayout { compound: true, private: false };

    /// The same with the flag that `design` needs.
    pub const fn with(self, design: PrivateDesign) -> MigrateLayout {
        MigrateLayout { private: matches!(design, PrivateDesign::OwnSpace), ..self }
    }

    /// The flag of compound pages exists.
    pub fn has_compound(self) -> bool {
        self.compound
    }

    /// The flag that tells a private frame from a physical one; 0 where none is needed.
    pub fn private_flag(self) -> u64 {
        if self.private { MigrateLayout::PRIVATE } else { 0 }
    }

    /// The word; `None` if the frame does not fit, or a private frame has no flag to say so.
    pub fn encode(self, frame: Frame, flags: u64) -> Option<u64> {
        let private = match frame {
            Frame::Physical(_) => 0,
            Frame::Offset(_) if self.private => MigrateLayout::PRIVATE,
            Frame::Offset(_) => return None,
        };
        let shifted = frame.number() << MigrateLayout::FRAME_SHIFT;
        let fits = shifted >> MigrateLayout::FRAME_SHIFT == frame.number();
        fits.then_some(shifted | private | flags)
    }

    /// What a word says; `None` without a page.
    pub fn decode(self, word: u64) -> Option<FrameWord> {
        if word & MigrateLayout::VALID == 0 {
            return None;
        }
        let number = word >> MigrateLayout::FRAME_SHIFT;
        let private = word & self.private_flag();
        let frame =
            if private == 0 { Frame::Physical(Pfn(number)) } else { Frame::Offset(DevicePage(number)) };
        let flags = word & ((1 << MigrateLayout::FRAME_SHIFT) - 1) & !private;
        Some(FrameWord { frame, order: 0, flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: [Frame; 2] =
        [Frame::Physical(Pfn(0x3_ffff_8000)), Frame::Offset(DevicePage(0x3_ffff_8000))];

    #[test]
    fn a_range_fault_word_tells_the_spaces_apart_where_there_are_two() {
        let own = HmmLayout::LINUX_7_3.with(PrivateDesign::OwnSpace);
        let flags = HmmLayout::VALID | HmmLayout::WRITE | HmmLayout::P2PDMA_BUS;
        let words = FRAMES.map(|frame| own.encode(FrameWord { frame, order: 9, flags }).unwrap());
        assert_eq!(words[0], 0xc400_0000_0000_0000 | 9 << 52 | 0x3_ffff_8000);
        assert_eq!(words[1], words[0] | 1 << 57);
        for (word, frame) in words.into_iter().zip(FRAMES) {
            assert_eq!(own.decode(word), FrameWord { frame, order: 9, flags });
        }
        assert_eq!(own.with(PrivateDesign::OwnSpace), own);
        for layout in [HmmLayout::LINUX_6_1, HmmLayout::LINUX_7_3] {
            let words = FRAMES.map(|frame| layout.encode(FrameWord { frame, order: 18, flags: 0 }));
            assert_eq!(words, [Some(18 << layout.order_shift() | 0x3_ffff_8000), None]);
            assert_eq!(layout.with(PrivateDesign::PhysicalSpace), layout);
        }
        assert_eq!([HmmLayout::LINUX_6_1.kept(), HmmLayout::LINUX_7_3.kept()], [0, 7 << 58]);
        let wide = FrameWord { frame: Frame::Physical(Pfn(1 << 53)), order: 0, flags: 0 };
        assert_eq!([HmmLayout::LINUX_6_1, own].map(|layout| layout.encode(wide)), [Some(1 << 53), None]);
    }

    #[test]
    fn a_migration_word_tells_the_spaces_apart_where_there_are_two() {
        let flags = MigrateLayout::VALID | MigrateLayout::MIGRATE | MigrateLayout::COMPOUND;
        let own = MigrateLayout::LINUX_7_3.with(PrivateDesign::OwnSpace);
        let words = FRAMES.map(|frame| own.encode(frame, flags).unwrap());
        assert_eq!(words, [0x3_ffff_8000 << 6 | 19, 0x3_ffff_8000 << 6 | 51]);
        for (word, frame) in words.into_iter().zip(FRAMES) {
            assert_eq!(own.decode(word), Some(FrameWord { frame, order: 0, flags }));
        }
        assert_eq!(MigrateLayout::LINUX_7_3.encode(FRAMES[1], flags), None);
        assert_eq!(own.decode(MigrateLayout::MIGRATE), None, "a hole has no frame");
        assert_eq!(own.encode(Frame::Physical(Pfn(1 << 58)), flags), None);
    }
}
