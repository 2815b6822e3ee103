//! One agent of a phase: what it touches, and what it is at.

use std::collections::BTreeMap;

use peerbus_engine::Stream;
use peerbus_os::drivers::{DeviceFault, HomeComing, Piece};
use peerbus_os::mm::{SpaceId, Vpn};
use peerbus_units::{Pfn, Picos};

use super::drive::{RangeOf, Who};
use super::pattern::Pattern;
use super::tally::Step;
use crate::shared_virtual::Activity;

/// Something an agent has to bring to its end before it goes on.
#[derive(Clone, Debug)]
pub enum Task {
    /// A fault of its device on a page, or a request for it, that the driver has not looked at.
    Begin(Vpn),
    /// A fault of its device.
    Fault(Box<DeviceFault>),
    /// Pages of a device on their way home.
    Home(Box<HomeComing>),
}

/// What it waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    /// A timer, or nothing.
    Timer,
    /// Transfers that copy pages: how many are under way, since when, and for how many pieces.
    Copies(usize, Picos, u64),
    /// Transfers of its own accesses.
    Accesses(usize),
    /// Its fault is in the device's buffer since then.
    Handler(Picos),
}

/// An agent under way.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Phase and place in it.
    pub activity: (usize, usize),
    /// Who it is.
    pub who: Who,
    /// The process whose memory it uses.
    pub space: SpaceId,
    /// First page of its range.
    pub first: Vpn,
    /// Pages of its range.
    pub pages: u64,
    /// What is next.
    pub pattern: Pattern,
    /// Touches left.
    pub left: u64,
    /// What it has to do first, the last one first.
    pub tasks: Vec<Task>,
    /// What it waits for.
    pub waits: Waits,
    /// Pieces of the copy that is under way or was last.
    pub copied: Vec<Piece>,
    /// Pinned pages, by page; those still to be pinned follow this one.
    pub pinned: BTreeMap<Vpn, Pfn>,
    /// Pages of the block it asked for last, if it prefetches.
    pub asked: (Vpn, Vpn),
    /// Faults since its last touch.
    pub tries: u32,
    /// When its fault began.
    pub faulted: Picos,
    /// How long faults took.
    pub fault_times: Vec<Picos>,
    /// Time that its faults took, by part.
    pub time: BTreeMap<Step, Picos>,
    /// When it began and ended.
    pub start: Picos,
    /// See [`Agent::start`].
    pub end: Option<Picos>,
    /// Bytes it has used.
    pub used: u64,
    /// Value of its next write.
    pub value: u64,
    /// Why it gave up.
    pub failed: Option<String>,
}

impl Agent {
    /// At the beginning of an activity.
    pub fn new(
        activity: (usize, usize),
        what: &Activity,
        who: Who,
        range: RangeOf,
        stream: Stream,
        start: Picos,
    ) -> Agent {
        Agent {
            activity,
            who,
            space: range.space,
            first: range.first,
            pages: range.pages,
            pattern: Pattern::new(what.order, range.pages, stream),
            left: what.touches.unwrap_or(range.pages),
            tasks: Vec::new(),
            waits: Waits::Timer,
            copied: Vec::new(),
            pinned: BTreeMap::new(),
            asked: (0, 0),
            tries: 0,
            faulted: start,
            fault_times: Vec::new(),
            time: BTreeMap::new(),
            start,
            end: None,
            used: 0,
            value: 0,
            failed: None,
        }
    }

    /// It has made a touch.
    pub fn touched(&mut self) {
        self.pattern.touched();
        self.left -= 1;
    }
}
