//! What is known of a page besides who refers to it: contents, group, exclusiveness, lock.

use peerbus_units::Pfn;

use super::block::{Pages, bit, parts_of, set_bit, split_number};
use super::{Content, Frames};

impl Frames {
    /// Whose contents the folio holds.
    pub fn content(&self, pfn: Pfn) -> Content {
        match &self.block(pfn).pages {
            Pages::Huge(folio) => folio.content,
            Pages::Small(small) => small.pages[split_number(pfn).1].content,
        }
    }

    /// Changes whose contents the folio holds.
    pub fn set_content(&mut self, pfn: Pfn, content: Content) {
        match &mut self.block_mut(pfn).pages {
            Pages::Huge(folio) => folio.content = content,
            Pages::Small(small) => small.pages[split_number(pfn).1].content = content,
        }
    }

    /// The group of mappings in which the folio's anonymous pages may be found.
    pub fn group(&self, pfn: Pfn) -> u64 {
        match &self.block(pfn).pages {
            Pages::Huge(folio) => folio.group,
            Pages::Small(small) => small.pages[split_number(pfn).1].group,
        }
    }

    /// Moves the folio to another group.
    pub fn set_group(&mut self, pfn: Pfn, group: u64) {
        match &mut self.block_mut(pfn).pages {
            Pages::Huge(folio) => folio.group = group,
            Pages::Small(small) => small.pages[split_number(pfn).1].group = group,
        }
    }

    /// Whether one process has this page for itself, and may write it without a copy.
    pub fn exclusive(&self, pfn: Pfn) -> bool {
        let (_, index) = split_number(pfn);
        match &self.block(pfn).pages {
            Pages::Huge(folio) => {
                folio.parts.as_ref().map_or(folio.exclusive, |parts| bit(&parts.exclusive, index))
            }
            Pages::Small(small) => small.pages[index].exclusive,
        }
    }

    /// Says whether one process has this page for itself.
    pub fn set_exclusive(&mut self, pfn: Pfn, exclusive: bool) {
        let (_, index) = split_number(pfn);
        match &mut self.block_mut(pfn).pages {
            Pages::Huge(folio) => set_bit(&mut parts_of(folio).exclusive, index, exclusive),
            Pages::Small(small) => small.pages[index].exclusive = exclusive,
        }
    }

    /// Says so of every page of the folio.
    pub fn set_folio_exclusive(&mut self, pfn: Pfn, exclusive: bool) {
        match &mut self.block_mut(pfn).pages {
            Pages::Huge(folio) => {
                folio.exclusive = exclusive;
                if let Some(parts) = &mut folio.parts {
                    parts.exclusive = [if exclusive { u64::MAX } else { 0 }; 8];
                }
            }
            Pages::Small(small) => small.pages[split_number(pfn).1].exclusive = exclusive,
        }
    }

    /// Whether the folio is locked.
    pub fn locked(&self, pfn: Pfn) -> bool {
        match &self.block(pfn).pages {
            Pages::Huge(folio) => folio.locked,
            Pages::Small(small) => small.pages[split_number(pfn).1].locked,
        }
    }

    /// Locks the folio if it is not.
    pub fn try_lock(&mut self, pfn: Pfn) -> bool {
        let locked = self.locked_mut(pfn);
        !core::mem::replace(locked, true)
    }

    /// Unlocks the folio.
    pub fn unlock(&mut self, pfn: Pfn) {
        let locked = self.locked_mut(pfn);
        assert!(core::mem::replace(locked, false), "a folio that is unlocked was locked");
    }

    fn locked_mut(&mut self, pfn: Pfn) -> &mut bool {
        match &mut self.block_mut(pfn).pages {
            Pages::Huge(folio) => &mut folio.locked,
            Pages::Small(small) => &mut small.pages[split_number(pfn).1].locked,
        }
    }
}
