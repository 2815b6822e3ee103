//! [`Vmemmap`]: the map of all page structs, as far as it is populated, and what populating it costs.
//!
//! Page structs of physical memory lie in one virtual array, of which only needed parts have memory behind them, in
//! units of a *sub-section* of 2 MiB:
//!
//! ```text
//! memory = pages × 64 B                       1/64 of the size with pages of 4 KiB
//! ```
//!
//! Example: 2 MiB are 512 pages, 32 KiB of page structs, 8 base pages; a whole *section* (128 MiB on x86) is exactly one
//! huge page of 2 MiB, which the kernel uses where a range covers the section. Compound maps share the page structs of
//! tails: two base pages remain of each compound page that would need more. Page structs may also lie in the memory they
//! are for (*altmap*), and then cost no RAM.
//!
//! Populating goes section by section. When memory runs out in the middle, what has been populated stays so: the
//! kernel does not give it back.

use alloc::vec::Vec;

use peerbus_units::{Bytes, CpuAddr, Range};

use super::index::RangeIndex;

/// Size of one page struct.
pub const PAGE_STRUCT: Bytes = Bytes(64);

/// Start and size of memory that is given page structs must be multiples of this.
pub const SUB_SECTION: u64 = 2 << 20;

/// What the architecture decides about page structs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmemmapShape {
    /// Size of a page, a power of two from 4 KiB.
    pub page: Bytes,
    /// Size of a section, a power of two and a multiple of a sub-section.
    pub section: Bytes,
    /// The structs of a whole section are put into huge pages of this size where they fill it.
    pub huge: Option<Bytes>,
}

impl VmemmapShape {
    /// x86-64: sections of 128 MiB whose page structs are one huge page.
    pub const X86: VmemmapShape =
        VmemmapShape { page: Bytes::kib(4), section: Bytes::mib(128), huge: Some(Bytes::mib(2)) };

    /// Pages in `size` bytes, the last one counted when it is partial.
    pub fn pages(&self, size: Bytes) -> u64 {
        size.0.div_ceil(self.page.0)
    }

    /// What an array of page structs of its own costs.
    pub(crate) fn array(&self, pages: u64) -> PageStructs {
        let base_pages = pages.saturating_mul(PAGE_STRUCT.0).div_ceil(self.page.0);
        PageStructs { base_pages, ..PageStructs::default() }
    }

    /// The bytes of memory whose page structs fill one base page: 256 KiB with pages of 4 KiB, 64 MiB with those of
    /// 64 KiB, where neighbouring sub-sections share base pages.
    fn unit(&self) -> u64 {
        self.page.0 / PAGE_STRUCT.0 * self.page.0
    }

    /// The huge pages that the page structs of `range` are put into, if they are.
    fn huge_pages(&self, range: Range<CpuAddr>) -> Option<u64> {
        let bytes = self.pages(range.size()).saturating_mul(PAGE_STRUCT.0);
        let huge = self.huge.filter(|huge| range.size() == self.section && bytes.is_multiple_of(huge.0))?;
        Some(bytes / huge.0)
    }

    /// What new page structs of `part` of `range` cost, where tails of compound pages share theirs: two base pages for
    /// each compound page that begins in the part.
    fn shared_cost(&self, range: Range<CpuAddr>, part: Range<CpuAddr>, order: u32) -> PageStructs {
        let page = |address: CpuAddr| (address.0 - range.first().0) / self.page.0;
        let beginning_below = |page: u64| page.div_ceil(1 << order);
        let begin = beginning_below(page(part.last()) + 1) - beginning_below(page(part.first()));
        PageStructs { base_pages: 2 * begin, ..PageStructs::default() }
    }

    /// The order of compound pages whose tails share page structs: those that would need more than two base pages of
    /// them.
    pub fn shared_order(&self, compound_order: u32, altmap: bool) -> Option<u32> {
        let bytes = PAGE_STRUCT.0.checked_shl(compound_order)?;
        (!altmap && bytes > 2 * self.page.0).then_some(compound_order)
    }

    /// Kernel memory of `cost`.
    pub fn bytes(&self, cost: PageStructs) -> Bytes {
        let huge = cost.huge_pages.saturating_mul(self.huge.unwrap_or_default().0);
        Bytes(cost.base_pages.saturating_mul(self.page.0).saturating_add(huge))
    }

    /// The parts of `range` in each section that it touches.
    fn by_section(&self, range: Range<CpuAddr>) -> impl Iterator<Item = Range<CpuAddr>> + '_ {
        let size = self.section.0;
        let (first, last) = (range.first().0 / size, range.last().0 / size);
        (first..=last).filter_map(move |number| {
            // The section number comes from an address: the product cannot wrap.
            Range::sized(CpuAddr(number * size), self.section)?.intersection(range)
        })
    }
}

/// Kernel memory that page structs take.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PageStructs {
    /// Huge pages.
    pub huge_pages: u64,
    /// Pages of the base size.
    pub base_pages: u64,
    /// Bytes inside the memory itself.
    pub in_device: Bytes,
}

impl PageStructs {
    /// The sum of both.
    pub fn plus(self, other: PageStructs) -> PageStructs {
        PageStructs {
            huge_pages: self.huge_pages.saturating_add(other.huge_pages),
            base_pages: self.base_pages.saturating_add(other.base_pages),
            in_device: Bytes(self.in_device.0.saturating_add(other.in_device.0)),
        }
    }
}

/// Free memory of the kernel, as far as page structs are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelMemory {
    /// Free bytes.
    pub free: Bytes,
    /// Bytes that the allocator keeps back.
    pub reserve: Bytes,
}

impl KernelMemory {
    /// More than page structs can need.
    pub const UNLIMITED: KernelMemory = KernelMemory { free: Bytes(u64::MAX), reserve: Bytes(0) };

    /// Takes `bytes`; false, and nothing taken, when that would touch the reserve.
    pub fn take(&mut self, bytes: Bytes) -> bool {
        let left = self.free.0.checked_sub(bytes.0).filter(|left| *left >= self.reserve.0);
        left.map(|left| self.free = Bytes(left)).is_some()
    }

    /// Gives `bytes` back.
    pub fn give_back(&mut self, bytes: Bytes) {
        self.free = Bytes(self.free.0.saturating_add(bytes.0));
    }
}

/// What of the map of page structs has memory behind it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Vmemmap {
    populated: RangeIndex<CpuAddr, ()>,
}

/// What one page map has populated.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Populated {
    /// The parts that had no page structs before.
    parts: Vec<Part>,
}

/// A part of one section, or several whole ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    range: Range<CpuAddr>,
    /// What its page structs cost.
    cost: PageStructs,
    /// They lie in base pages that those of neighbours may share.
    in_base_pages: bool,
}

impl Populated {
    /// What all page structs cost.
    pub fn cost(&self) -> PageStructs {
        self.parts.iter().fold(PageStructs::default(), |sum, part| sum.plus(part.cost))
    }
}

/// How the page structs of a range are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Making {
    pub compound_order: u32,
    pub altmap: bool,
}

impl Vmemmap {
    /// Makes page structs for what of `range` has none. `None` when memory ran out: the sections before stay populated,
    /// and their memory stays taken.
    pub(super) fn populate(
        &mut self,
        shape: &VmemmapShape,
        memory: &mut KernelMemory,
        range: Range<CpuAddr>,
        making: Making,
    ) -> Option<Populated> {
        let mut made = Populated::default();
        if let Some(whole) = self.whole_sections(shape, range, making)
            && memory.take(shape.bytes(whole.cost))
        {
            self.populated.set(whole.range, ());
            made.parts.push(whole);
            return Some(made);
        }
        for section in shape.by_section(range) {
            for part in self.populated.uncovered(section) {
                let part = self.part(shape, range, part, making);
                if !memory.take(shape.bytes(part.cost)) {
                    return None;
                }
                self.populated.set(part.range, ());
                made.parts.push(part);
            }
        }
        Some(made)
    }

    /// All of `range` at once, where that is the same as section by section: whole sections none of which has page structs,
    /// and page structs that no compound pages share. Large memory has thousands of sections.
    fn whole_sections(&self, shape: &VmemmapShape, range: Range<CpuAddr>, making: Making) -> Option<Part> {
        let (first, size, section) = (range.first().0, range.size().0, shape.section.0);
        let whole = (first | size).is_multiple_of(section) && section.is_multiple_of(shape.unit());
        let shared = making.altmap || shape.shared_order(making.compound_order, making.altmap).is_some();
        if !whole || shared || self.populated.overlapping(range).next().is_some() {
            return None;
        }
        let part = self.part(shape, range, Range::sized(range.first(), shape.section)?, making);
        let count = |of_one: u64| of_one.saturating_mul(size / section);
        let PageStructs { huge_pages, base_pages, in_device } = part.cost;
        let cost = PageStructs { huge_pages: count(huge_pages), base_pages: count(base_pages), in_device };
        Some(Part { range, cost, ..part })
    }

    /// What the page structs of a part of `range`, which has none, will cost.
    fn part(
        &self,
        shape: &VmemmapShape,
        range: Range<CpuAddr>,
        part: Range<CpuAddr>,
        making: Making,
    ) -> Part {
        let shared = shape.shared_order(making.compound_order, making.altmap);
        let (mut cost, mut in_base_pages) = match (shared, shape.huge_pages(part)) {
            (Some(order), _) => (shape.shared_cost(range, part, order), false),
            (None, Some(huge_pages)) => (PageStructs { huge_pages, ..PageStructs::default() }, false),
            (None, None) => {
                (PageStructs { base_pages: self.own_base_pages(shape, part), ..PageStructs::default() }, true)
            }
        };
        if making.altmap {
            cost = PageStructs { in_device: shape.bytes(cost), ..PageStructs::default() };
            in_base_pages = false;
        }
        Part { range: part, cost, in_base_pages }
    }

    /// The base pages that hold page structs of `part` and of nothing that is populated.
    fn own_base_pages(&self, shape: &VmemmapShape, part: Range<CpuAddr>) -> u64 {
        let unit = shape.unit();
        let (first, last) = (part.first().0 / unit, part.last().0 / unit);
        let shared = |number: u64| {
            // The number comes from an address: the product cannot wrap.
            let whole = Range::sized(CpuAddr(number * unit), Bytes(unit));
            whole.is_some_and(|whole| self.populated.overlapping(whole).next().is_some())
        };
        let shared_ends = u64::from(shared(first)) + u64::from(last > first && shared(last));
        last - first + 1 - shared_ends
    }

    /// Takes page structs away that [`Vmemmap::populate`] made.
    pub(super) fn depopulate(&mut self, shape: &VmemmapShape, memory: &mut KernelMemory, made: &Populated) {
        for part in &made.parts {
            self.populated.clear(part.range);
            let cost = match part.in_base_pages {
                true => PageStructs {
                    base_pages: self.own_base_pages(shape, part.range),
                    ..PageStructs::default()
                },
                false => part.cost,
            };
            memory.give_back(shape.bytes(cost));
        }
    }

    /// True when the page at `address` has a page struct.
    pub fn has_page(&self, address: CpuAddr) -> bool {
        self.populated.get(address).is_some()
    }

    /// Bytes of physical memory that have page structs here.
    pub fn covered(&self) -> Bytes {
        Bytes(self.populated.iter().map(|(range, ())| range.size().0).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole sections at once cost what they cost one by one, and what has page structs already is left out either way.
    #[test]
    fn sections_at_once_are_sections_one_by_one() {
        let plain = Making { compound_order: 0, altmap: false };
        let arm = VmemmapShape { huge: None, ..VmemmapShape::X86 };
        let large = VmemmapShape { page: Bytes::kib(64), section: Bytes::mib(512), huge: None };
        for shape in [VmemmapShape::X86, arm, large] {
            let section = shape.section.0;
            for (first, count, taken) in [(0, 1, None), (3, 40, None), (3, 40, Some(17)), (0, 7, Some(0))] {
                let mut maps = [Vmemmap::default(), Vmemmap::default()];
                let mut memories = [KernelMemory { free: Bytes::gib(64), reserve: Bytes(0) }; 2];
                let range = |number: u64, count: u64| {
                    Range::sized(CpuAddr(number * section), Bytes(count * section)).unwrap()
                };
                for (map, memory) in maps.iter_mut().zip(&mut memories) {
                    if let Some(number) = taken {
                        map.populate(&shape, memory, range(number, 1), plain).unwrap();
                    }
                }
                let whole = maps[0].populate(&shape, &mut memories[0], range(first, count), plain).unwrap();
                let mut one_by_one = PageStructs::default();
                for number in first..first + count {
                    let made = maps[1].populate(&shape, &mut memories[1], range(number, 1), plain).unwrap();
                    one_by_one = one_by_one.plus(made.cost());
                }
                assert_eq!(
                    (whole.cost(), memories[0]),
                    (one_by_one, memories[1]),
                    "{first} {count} {taken:?}"
                );
                assert_eq!(maps[0].covered(), maps[1].covered());
                maps[0].depopulate(&shape, &mut memories[0], &whole);
                assert_eq!(maps[0].covered(), Bytes(taken.map_or(0, |_| section)));
            }
        }
        // Memory for three of four: three are populated.
        let (mut map, mut memory) =
            (Vmemmap::default(), KernelMemory { free: Bytes::mib(7), reserve: Bytes(0) });
        let range = Range::sized(CpuAddr(0), Bytes::mib(512)).unwrap();
        assert!(map.populate(&VmemmapShape::X86, &mut memory, range, plain).is_none());
        assert_eq!((map.covered(), memory.free), (Bytes::mib(384), Bytes::mib(1)));
    }

    #[test]
    fn page_structs_cost_what_they_do() {
        let x86 = VmemmapShape::X86;
        let check = |first: u64, size: Bytes, making: Making, expect: PageStructs, bytes: Bytes| {
            let mut memory = KernelMemory { free: Bytes::gib(64), reserve: Bytes(0) };
            let range = Range::sized(CpuAddr(first), size).unwrap();
            let mut map = Vmemmap::default();
            let made = map.populate(&x86, &mut memory, range, making).unwrap();
            assert_eq!((made.cost(), Bytes::gib(64) - memory.free), (expect, bytes), "{range}");
            assert_eq!(map.covered(), size);
            map.depopulate(&x86, &mut memory, &made);
            assert_eq!((memory.free, map.covered()), (Bytes::gib(64), Bytes(0)));
        };
        let structs = |huge_pages, base_pages| PageStructs { huge_pages, base_pages, in_device: Bytes(0) };
        let plain = Making { compound_order: 0, altmap: false };
        check(0, Bytes::mib(2), plain, structs(0, 8), Bytes::kib(32));
        check(0, Bytes::mib(128), plain, structs(1, 0), Bytes::mib(2));
        check(2 << 20, Bytes::mib(128), plain, structs(0, 63 * 8 + 8), Bytes::mib(2));
        check(64 << 20, Bytes::mib(192), plain, structs(1, 256), Bytes::mib(3));
        check(0, Bytes::gib(141), plain, structs(1128, 0), Bytes::mib(2256));
        let compound = |compound_order| Making { compound_order, altmap: false };
        check(0, Bytes::gib(1), compound(9), structs(0, 1024), Bytes::mib(4));
        check(0, Bytes::gib(2), compound(18), structs(0, 4), Bytes::kib(16));
        check(0, Bytes::gib(1), compound(2), structs(8, 0), Bytes::mib(16));
        let altmap = Making { compound_order: 9, altmap: true };
        let inside = PageStructs { in_device: Bytes::mib(16), ..PageStructs::default() };
        check(0, Bytes::gib(1), altmap, inside, Bytes(0));
    }

    #[test]
    fn large_pages_share_base_pages_with_neighbours() {
        // 64 KiB: one page holds the structs of 64 MiB, four sections of 16 MiB.
        let shape = VmemmapShape { page: Bytes::kib(64), section: Bytes::mib(16), huge: None };
        let mut memory = KernelMemory { free: Bytes::gib(1), reserve: Bytes(0) };
        let mut map = Vmemmap::default();
        let plain = Making { compound_order: 0, altmap: false };
        let mut make = |first: u64, size: u64, expect: u64| {
            let range = Range::sized(CpuAddr(first << 20), Bytes::mib(size)).unwrap();
            let made = map.populate(&shape, &mut memory, range, plain).unwrap();
            assert_eq!(made.cost().base_pages, expect, "{range}");
            made
        };
        let all = [make(0, 1024, 16), make(1026, 2, 1), make(1028, 62, 1), make(1024, 2, 0)];
        assert_eq!(Bytes::gib(1) - memory.free, Bytes::kib(18 * 64));
        all.iter().for_each(|made| map.depopulate(&shape, &mut memory, made));
        assert_eq!((memory.free, map.covered()), (Bytes::gib(1), Bytes(0)));
    }

    #[test]
    fn memory_that_ran_out_in_the_middle_is_not_given_back() {
        let mut memory = KernelMemory { free: Bytes::mib(7), reserve: Bytes::mib(2) };
        let mut map = Vmemmap::default();
        let range = Range::sized(CpuAddr(0), Bytes::gib(1)).unwrap();
        let plain = Making { compound_order: 0, altmap: false };
        assert_eq!(map.populate(&VmemmapShape::X86, &mut memory, range, plain), None);
        assert_eq!((memory.free, map.covered()), (Bytes::mib(3), Bytes::mib(256)));
    }
}
