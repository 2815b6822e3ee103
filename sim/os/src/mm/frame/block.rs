//! Blocks of 512 frames: one huge folio, or 512 pages of their own.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerbus_units::Pfn;

use super::{At, Content, HUGE, Place};

/// Mappings of one page; nearly always none or one.
#[derive(Clone, Default, Debug)]
pub(super) enum Mappings {
    #[default]
    None,
    One(At),
    Many(Vec<At>),
}

impl Mappings {
    pub(super) fn as_slice(&self) -> &[At] {
        match self {
            Mappings::None => &[],
            Mappings::One(at) => core::slice::from_ref(at),
            Mappings::Many(list) => list,
        }
    }

    pub(super) fn add(&mut self, at: At) {
        *self = match core::mem::take(self) {
            Mappings::None => Mappings::One(at),
            Mappings::One(first) => Mappings::Many(alloc::vec![first, at]),
            Mappings::Many(mut list) => {
                list.push(at);
                Mappings::Many(list)
            }
        };
    }

    pub(super) fn remove(&mut self, at: At) {
        *self = match core::mem::take(self) {
            Mappings::One(first) if first == at => Mappings::None,
            Mappings::Many(mut list) => {
                let index = list.iter().position(|one| *one == at);
                list.remove(index.expect("a mapping that is removed was added"));
                if let [last] = list[..] { Mappings::One(last) } else { Mappings::Many(list) }
            }
            _ => panic!("a mapping that is removed was added"),
        };
    }
}

/// One page of a block that is not a huge folio.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) references: u32,
    pub(super) maps: Mappings,
    pub(super) content: Content,
    pub(super) exclusive: bool,
    pub(super) locked: bool,
    pub(super) group: u64,
    pub(super) data: u64,
}

pub(super) const FREE_PAGE: Page = Page {
    references: 0,
    maps: Mappings::None,
    content: Content::Anonymous,
    exclusive: false,
    locked: false,
    group: 0,
    data: 0,
};

/// Mappings of single pages of a huge folio, and which of its pages one process has for itself.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) maps: Vec<Mappings>,
    pub(super) exclusive: [u64; 8],
}

/// A huge folio.
#[derive(Clone, Debug)]
pub(super) struct Folio {
    pub(super) references: u32,
    /// Mappings by a huge entry.
    pub(super) entire: Mappings,
    /// Present once it was mapped by small entries; until then the first page's exclusiveness is everybody's.
    pub(super) parts: Option<Box<Parts>>,
    pub(super) exclusive: bool,
    pub(super) content: Content,
    pub(super) locked: bool,
    pub(super) group: u64,
    /// `None`: all zero.
    pub(super) data: Option<Box<[u64; 512]>>,
}

#[derive(Clone, Debug)]
pub(super) struct Small {
    pub(super) pages: Vec<Page>,
    /// One bit per page handed out.
    pub(super) used: [u64; 8],
}

#[derive(Clone, Debug)]
pub(super) enum Pages {
    Huge(Box<Folio>),
    Small(Small),
}

#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) place: Place,
    pub(super) pages: Pages,
}

/// First pages of a block's folios in use.
pub(super) fn heads(number: u64, block: &Block) -> Vec<Pfn> {
    match &block.pages {
        Pages::Huge(_) => alloc::vec![Pfn(number * HUGE)],
        Pages::Small(small) => (0..HUGE)
            .filter(|index| bit(&small.used, split_number(Pfn(*index)).1))
            .map(|index| Pfn(number * HUGE + index))
            .collect(),
    }
}

pub(super) fn folio(content: Content) -> Folio {
    Folio {
        references: 1,
        entire: Mappings::None,
        parts: None,
        exclusive: false,
        content,
        locked: false,
        group: 0,
        data: None,
    }
}

pub(super) fn empty_pages() -> Small {
    Small { pages: alloc::vec![FREE_PAGE; 512], used: [0; 8] }
}

pub(super) fn parts_of(folio: &mut Folio) -> &mut Parts {
    let exclusive = [if folio.exclusive { u64::MAX } else { 0 }; 8];
    folio.parts.get_or_insert_with(|| Box::new(Parts { maps: alloc::vec![Mappings::None; 512], exclusive }))
}

pub(super) fn small_of(blocks: &mut BTreeMap<u64, Block>, number: u64) -> &mut Small {
    match blocks.get_mut(&number).map(|block| &mut block.pages) {
        Some(Pages::Small(small)) => small,
        _ => panic!("a partial block holds small pages"),
    }
}

pub(super) fn split_number(pfn: Pfn) -> (u64, usize) {
    (pfn.0 / HUGE, usize::try_from(pfn.0 % HUGE).expect("an index of a block"))
}

pub(super) fn bit(bits: &[u64; 8], index: usize) -> bool {
    bits[index / 64] >> (index % 64) & 1 == 1
}

pub(super) fn set_bit(bits: &mut [u64; 8], index: usize, value: bool) {
    let mask = 1 << (index % 64);
    if value {
        bits[index / 64] |= mask;
    } else {
        bits[index / 64] &= !mask;
    }
}

pub(super) fn first_clear(bits: &[u64; 8]) -> Option<usize> {
    let word = bits.iter().position(|word| *word != u64::MAX)?;
    Some(word * 64 + bits[word].trailing_ones() as usize)
}
