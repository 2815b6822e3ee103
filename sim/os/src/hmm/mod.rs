//! HMM: a range of a process's pages as words for a device (`hmm_range_fault`).
//!
//! A [`RangeFault`] walks the page table and writes a [`Word`] per page. Where the caller asked for a page that is
//! not there, or not as asked, the rest of that 2 MiB slot (inside range and mapping) is faulted with the same
//! intent and the walk starts again at that page. It stops with [`Step::Wait`] wherever Linux could sleep; others
//! may run then, and an interval that was invalidated meanwhile ends it with `Busy`.
//!
//! Private pages of the caller's owner come back as they are, and never fault. Foreign ones fault, which brings
//! them to system memory, unless the caller takes peer pages and the owner gives one.

mod walk;
mod word;

use alloc::vec;
use alloc::vec::Vec;

pub use word::{Flags, Word};

use crate::mm::frame::At;
use crate::mm::{Errno, Fault, FaultError, Mm, SpaceId, Vpn, Wait};
use crate::notifier::WatchId;
use crate::pagemap::Owner;
use walk::Walked;

/// What is asked of a range.
#[derive(Clone, Debug)]
pub struct Range {
    /// The address space.
    pub space: SpaceId,
    /// First page.
    pub from: Vpn,
    /// A word per page: requests in, answers out.
    pub words: Vec<Word>,
    /// Flags asked for every page.
    pub default_flags: Flags,
    /// Which flags of a page's own word count.
    pub mask: Flags,
    /// Whose private pages are given as they are.
    pub owner: Option<Owner>,
    /// Pages of other devices are taken where their owners give one that can be reached directly.
    pub takes_peer_pages: bool,
    /// The interval that is watched, and its sequence number before the walk.
    pub watch: Option<(WatchId, u64)>,
}

impl Range {
    /// A range with the same request for every page.
    pub fn new(space: SpaceId, from: Vpn, pages: u64, default_flags: Flags, owner: Option<Owner>) -> Range {
        let count = usize::try_from(pages).expect("a range fits into memory");
        Range {
            space,
            from,
            words: vec![Word(0); count],
            default_flags,
            mask: Flags::NONE,
            owner,
            takes_peer_pages: false,
            watch: None,
        }
    }

    /// One beyond the last page.
    pub fn to(&self) -> Vpn {
        self.from + self.words.len() as u64
    }

    pub(crate) fn index(&self, page: Vpn) -> usize {
        usize::try_from(page - self.from).expect("a page of the range")
    }
}

/// How far a long call got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<T> {
    /// It is over.
    Done(T),
    /// It goes on when called again; others may run before.
    Go,
    /// It goes on when this is over.
    Wait(Wait),
}

/// Pages being faulted.
#[derive(Clone, Copy, Debug)]
struct Faulting {
    restart: Vpn,
    next: Vpn,
    to: Vpn,
    write: bool,
}

/// A range fault under way.
#[derive(Clone, Debug)]
pub struct RangeFault {
    /// The range; its words are valid once the call is done.
    pub range: Range,
    /// Missing pages may be filled by a userfaultfd handler while the call waits.
    pub lets_go: bool,
    next: Vpn,
    faulting: Option<Faulting>,
    counts: Counts,
}

/// What a range fault did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Entries looked at.
    pub walked: u64,
    /// Faults handled.
    pub faults: u64,
}

impl RangeFault {
    /// Starts one.
    pub fn new(range: Range) -> RangeFault {
        let next = range.from;
        RangeFault { range, lets_go: false, next, faulting: None, counts: Counts::default() }
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Goes on to the next point where Linux could sleep.
    ///
    /// # Errors
    ///
    /// In `Done`: `Busy`: the interval was invalidated, begin again; `Perm`: writing asked of memory that is not
    /// writable; `Fault`: nothing readable there; `NoMemory`.
    pub fn step(&mut self, mm: &mut Mm) -> Step<Result<(), Errno>> {
        if let Some(faulting) = self.faulting {
            return self.fault(mm, faulting);
        }
        if let Some((watch, sequence)) = self.range.watch
            && mm.mirrors.read_retry(watch, sequence)
        {
            return Step::Done(Err(Errno::Busy));
        }
        match walk::walk(mm, &mut self.range, self.next, &mut self.counts.walked) {
            Walked::Done => Step::Done(Ok(())),
            Walked::Error(error) => Step::Done(Err(error)),
            Walked::Wait(at, wait) => {
                self.next = at;
                Step::Wait(wait)
            }
            Walked::Fault { from, to, write } => {
                self.next = from;
                let writable = mm.vma(self.range.space, from).is_some_and(|vma| vma.write);
                if write && !writable {
                    return Step::Done(Err(Errno::Perm));
                }
                self.faulting = Some(Faulting { restart: from, next: from, to, write });
                Step::Go
            }
        }
    }

    /// Faults one page. Every fault may sleep.
    fn fault(&mut self, mm: &mut Mm, mut faulting: Faulting) -> Step<Result<(), Errno>> {
        if faulting.next < faulting.to {
            let result = mm.fault(self.range.space, faulting.next, faulting.write);
            self.counts.faults += 1;
            let error = match result {
                Ok(Fault::Done) => {
                    faulting.next += 1;
                    self.faulting = Some(faulting);
                    return Step::Go;
                }
                Ok(Fault::Wait(Wait::Handler(_))) if !self.lets_go => Errno::Fault,
                Ok(Fault::Wait(wait)) => {
                    self.faulting = Some(faulting);
                    return Step::Wait(wait);
                }
                Err(FaultError::NoMemory) => Errno::NoMemory,
                Err(FaultError::Segv | FaultError::Bus) => Errno::Fault,
            };
            return Step::Done(Err(error));
        }
        self.faulting = None;
        self.next = faulting.restart;
        Step::Go
    }

    /// Runs to the end where nothing is waited for.
    ///
    /// # Errors
    ///
    /// As [`RangeFault::step`]; `Again` where something would have to be waited for.
    pub fn run(&mut self, mm: &mut Mm) -> Result<(), Errno> {
        loop {
            match self.step(mm) {
                Step::Done(result) => return result,
                Step::Go => {}
                Step::Wait(_) => return Err(Errno::Again),
            }
        }
    }
}

/// The page a handler is asked for, if that is what is waited for.
pub fn handler_page(wait: Wait) -> Option<At> {
    match wait {
        Wait::Handler(at) => Some(at),
        _ => None,
    }
}
