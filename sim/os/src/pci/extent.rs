//! Size and alignment of a bridge's window, by the rule of the kernel: pure arithmetic.
//!
//! A window gets two extents: what its contents *need*, and what it would *like*, which adds optional contents
//! and spare space for hot-plug. With `C` the sum of `max(size, align)` over the contents, `O` what the
//! contents would like beyond that, `S` the spare space and `m` the alignment that [`Contents`] gives:
//!
//! ```text
//! Head (7.x)        need = up(C, 1 MiB)        like = up(max(C + O, S), 1 MiB)
//! Cumulative (6.x)  need = up(max(C, old), m)  like = up(max(max(C, S) + O, old), max(m, align of O))
//! ```
//!
//! where `old` is what the bridge's registers described before. A kernel that keeps no list of wishes (an
//! early round of reallocation) counts the spare space as needed: `C` becomes `max(C, S)`.
//!
//! Worked example: BARs of 256 MiB and 32 MiB below a hot-plug port (`S` = 2 MiB) need 288 MiB at 256 MiB by
//! the first rule and 384 MiB at 128 MiB by the second; the spare space is less than that, so neither would
//! like more.

use super::align::Contents;
use super::bridge::granule;
use super::resource::ResourceFlags;
use super::space::align_up;
use crate::WindowSizing;

/// A size in bytes (or ports) and an alignment, a power of two.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Extent {
    pub size: u64,
    pub align: u64,
}

/// What a window needs and what it would like; equal where it has no wish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extents {
    pub need: Extent,
    pub like: Extent,
}

/// What goes into a window beyond its required contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extra {
    /// Bytes the contents would like beyond what they need.
    pub contents: u64,
    /// Largest alignment among those.
    pub align: u64,
    /// Space kept free for hot-plug.
    pub spare: u64,
    /// Wishes are kept apart from needs.
    pub apart: bool,
    /// A smaller window is not made: what the bridge's registers described before.
    pub old: u64,
}

impl Extra {
    fn wants_more(&self) -> bool {
        self.apart && (self.spare > 0 || self.contents > 0)
    }

    /// Spare space that counts as needed.
    fn required_spare(&self) -> u64 {
        if self.apart { 0 } else { self.spare }
    }
}

/// Sums that no longer fit in 64 bits stay at the top: nothing that large has room anywhere.
fn up(size: u64, align: u64) -> u64 {
    align_up(size, align).unwrap_or(u64::MAX)
}

/// A memory window by the 7.x rule.
pub(crate) fn head(contents: &Contents, extra: &Extra) -> Extents {
    let granule = granule(ResourceFlags::MEM);
    let align = contents.alignment(WindowSizing::Head).max(granule);
    let need = Extent { size: up(contents.size.max(extra.required_spare()), granule), align };
    if !extra.wants_more() {
        return Extents { need, like: need };
    }
    let all = contents.size.saturating_add(extra.contents).max(extra.spare);
    let like = Extent { size: up(all, granule).max(need.size), align: align.max(extra.align) };
    Extents { need, like }
}

/// A memory window by the 6.x rule. `has_room` tells whether the window above can take that extent; if it
/// cannot, the size is no longer rounded to the alignment.
pub(crate) fn cumulative(
    contents: &Contents,
    extra: &Extra,
    has_room: impl FnOnce(Extent) -> bool,
) -> Extents {
    let granule = granule(ResourceFlags::MEM);
    let needed = contents.size.max(extra.required_spare());
    let align = contents.alignment(WindowSizing::Cumulative).max(granule);
    let mut need = Extent { size: up(needed.max(extra.old), align), align };
    let mut like_align = align.max(extra.align);
    if need.size > 0 && !has_room(need) {
        let align = contents.largest_alignment().max(granule);
        need = Extent { size: up(needed.max(extra.old), granule), align };
        like_align = align;
    }
    if !extra.wants_more() {
        return Extents { need, like: need };
    }
    let all = needed.max(extra.spare).saturating_add(extra.contents).max(extra.old);
    Extents { need, like: Extent { size: up(all, like_align).max(need.size), align: like_align } }
}

/// Ports inside an I/O window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ports {
    /// Sum of resources below 1 KiB.
    small: u64,
    /// Sum of the others.
    large: u64,
    align: u64,
}

impl Ports {
    /// Resources below this many ports count as small: ISA aliases would spread them.
    const SMALL: u64 = 0x400;

    pub fn none() -> Ports {
        Ports { small: 0, large: 0, align: granule(ResourceFlags::IO) }
    }

    pub fn add(&mut self, size: u64, align: u64) {
        let sum = if size < Ports::SMALL { &mut self.small } else { &mut self.large };
        *sum = sum.saturating_add(size);
        self.align = self.align.max(align);
    }
}

/// An I/O window. `twice` counts the rounded need once more in place of the large contents, which gives
/// a hot-plug port with a small I/O BAR 8 KiB (recorded wherever 7.3 places everything itself).
pub(crate) fn ports(ports: &Ports, extra: &Extra, twice: bool) -> Extents {
    let round = |size: u64| Extent { size: up(size.max(extra.old), ports.align), align: ports.align };
    let need = round(ports.small.max(extra.required_spare()).saturating_add(ports.large));
    if !extra.wants_more() {
        return Extents { need, like: need };
    }
    let large = if twice { need.size } else { ports.large };
    let contents = ports.small.saturating_add(large).max(extra.spare);
    let like = round(contents.saturating_add(extra.contents));
    Extents { need, like: Extent { size: like.size.max(need.size), ..like } }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const NOTHING: Extra = Extra { contents: 0, align: 0, spare: 0, apart: true, old: 0 };

    fn contents(bars: &[u64]) -> Contents {
        let mut contents = Contents::default();
        bars.iter().for_each(|size| contents.add(size * MIB, size * MIB));
        contents
    }

    /// Sizes and alignments in MiB.
    #[track_caller]
    fn check(extents: Extents, need: (u64, u64), like: (u64, u64)) {
        let in_mib = |extent: Extent| (extent.size / MIB, extent.align / MIB);
        assert_eq!((in_mib(extents.need), in_mib(extents.like)), (need, like), "{extents:x?}");
    }

    #[test]
    fn spare_space_is_a_wish_or_a_need() {
        let hotplug = Extra { spare: 2 * MIB, ..NOTHING };
        check(head(&contents(&[]), &hotplug), (0, 1), (2, 1));
        check(cumulative(&contents(&[]), &hotplug, |_| true), (0, 1), (2, 1));
        let at_once = Extra { apart: false, ..hotplug };
        check(head(&contents(&[]), &at_once), (2, 1), (2, 1));
        check(cumulative(&contents(&[]), &at_once, |_| true), (2, 1), (2, 1));
        // Contents that are larger than the spare space leave nothing to wish for.
        check(head(&contents(&[256, 32]), &hotplug), (288, 256), (288, 256));
        check(cumulative(&contents(&[256, 32]), &hotplug, |_| true), (384, 128), (384, 128));
    }

    #[test]
    fn optional_contents_come_on_top() {
        let optional = Extra { contents: 48 * MIB, align: 16 * MIB, spare: 2 * MIB, ..NOTHING };
        check(head(&contents(&[4]), &optional), (4, 4), (52, 16));
        check(cumulative(&contents(&[4]), &optional, |_| true), (4, 4), (64, 16));
        // 7.x takes the larger of contents and spare space, 6.x adds the contents to the spare space.
        check(head(&contents(&[]), &optional), (0, 1), (48, 16));
        check(cumulative(&contents(&[]), &optional, |_| true), (0, 1), (64, 16));
    }

    #[test]
    fn without_room_above_6_12_no_longer_rounds() {
        check(cumulative(&contents(&[256, 32]), &NOTHING, |_| false), (288, 256), (288, 256));
        check(cumulative(&contents(&[8192, 256, 32]), &NOTHING, |_| false), (8480, 8192), (8480, 8192));
    }

    #[test]
    fn a_window_is_not_made_smaller_than_it_was() {
        let old = Extra { old: 64 * MIB, ..NOTHING };
        check(cumulative(&contents(&[32]), &old, |_| true), (64, 32), (64, 32));
        check(head(&contents(&[32]), &old), (32, 32), (32, 32));
    }

    #[test]
    fn io_windows_of_hotplug_ports() {
        let mut small = Ports::none();
        small.add(0x100, 0x100);
        let hotplug = Extra { spare: 0x100, ..NOTHING };
        for (twice, like) in [(false, 0x1000), (true, 0x2000)] {
            let extents = ports(&small, &hotplug, twice);
            assert_eq!((extents.need.size, extents.like.size), (0x1000, like), "{twice}");
            let empty = ports(&Ports::none(), &hotplug, twice);
            assert_eq!((empty.need.size, empty.like.size), (0, 0x1000), "{twice}");
        }
    }

    #[test]
    fn sums_beyond_64_bits_stay_at_the_top() {
        let mut huge = Contents::default();
        (0..4).for_each(|_| huge.add(1 << 63, 1 << 20));
        let extra = Extra { contents: u64::MAX, spare: u64::MAX, ..NOTHING };
        assert_eq!(head(&huge, &extra).like.size, u64::MAX);
        assert_eq!(cumulative(&huge, &extra, |_| true).like.size, u64::MAX);
    }
}
