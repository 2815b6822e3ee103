//! What a process can learn about its pages (`/proc/PID/pagemap`).

use peerbus_units::Pfn;

use super::frame::{Content, HUGE};
use super::table::{Entry, Huge};
use super::{Mm, SpaceId, Vpn};

/// What one page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageState {
    /// Nothing there.
    None,
    /// Present memory of the process or the page of zeros; `once`: mapped here alone.
    Anonymous {
        /// Mapped once.
        once: bool,
    },
    /// A present page of a file or of shared memory.
    File {
        /// Mapped once.
        once: bool,
    },
    /// In device memory.
    Private {
        /// Comes back writable.
        write: bool,
    },
    /// A device's own.
    Exclusive {
        /// Comes back writable.
        write: bool,
    },
    /// On its way elsewhere.
    Migration,
    /// Marked by userfaultfd.
    Marker,
}

impl Mm {
    /// What the page is to its process.
    pub fn page_state(&self, space: SpaceId, page: Vpn) -> PageState {
        let Some(found) = self.spaces.get(&space) else { return PageState::None };
        match found.table.huge(page) {
            Some(Huge::Zero) if self.rules.huge_zero_shows_as_file => return PageState::File { once: false },
            Some(Huge::Zero) => return PageState::Anonymous { once: false },
            Some(Huge::Page { pfn, .. }) if self.rules.huge_once_by_first_page => return self.present(pfn),
            Some(Huge::Page { pfn, .. }) => return self.present(Pfn(pfn.0 + page % HUGE)),
            Some(Huge::Private { write, .. }) => return PageState::Private { write },
            Some(Huge::Migration { .. }) => return PageState::Migration,
            None => {}
        }
        match found.table.get(page) {
            None => PageState::None,
            Some(Entry::Zero) => PageState::Anonymous { once: false },
            Some(Entry::Page { pfn, .. }) => self.present(pfn),
            Some(Entry::Private { write, .. }) => PageState::Private { write },
            Some(Entry::Exclusive { write, .. }) => PageState::Exclusive { write },
            Some(Entry::Migration { .. }) => PageState::Migration,
            Some(Entry::Marker) => PageState::Marker,
        }
    }

    /// Whether a page is on its way elsewhere.
    pub(crate) fn is_migrating(&self, space: SpaceId, page: Vpn) -> bool {
        self.spaces.get(&space).is_some_and(|found| match found.table.huge(page) {
            Some(huge) => matches!(huge, Huge::Migration { .. }),
            None => matches!(found.table.get(page), Some(Entry::Migration { .. })),
        })
    }

    fn present(&self, pfn: Pfn) -> PageState {
        let once = self.frames.mapcount(pfn) == 1;
        match self.frames.content(pfn) {
            Content::File(..) => PageState::File { once },
            _ => PageState::Anonymous { once },
        }
    }
}
