//! What is counted, per GPU, adapter or CPU of a workload.

use std::collections::BTreeMap;

use peerbus_os::drivers::Part;
use peerbus_os::migrate::Refusal;
use peerbus_units::Picos;

/// A part of the way of a fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// From the fault until a CPU looks at it, and finds out what it is about.
    Interrupt,
    /// A step of the kernel.
    Kernel(Part),
    /// Telling the copy engine.
    Copy,
    /// The transfer itself.
    Transfer,
    /// In the device's fault buffer, until a handler has time.
    Queue,
    /// Waiting for others.
    Wait,
    /// Until a page's time slice on another device is over.
    TimeSlice,
    /// Until the device tries again.
    Replay,
}

impl Step {
    /// In words, as what held an agent back.
    pub fn text(self) -> &'static str {
        match self {
            Step::Interrupt => "faults (until the driver looks)",
            Step::Kernel(Part::Collect) => "faults (collecting pages)",
            Step::Kernel(Part::Unmap) => "faults (unmapping pages)",
            Step::Kernel(Part::Shootdown) => "faults (CPUs forget translations)",
            Step::Kernel(Part::Allocate) => "faults (finding pages)",
            Step::Kernel(Part::Finish) => "faults (handing pages over)",
            Step::Kernel(Part::Walk) => "faults (walking the page table)",
            Step::Kernel(Part::Bind) => "faults (writing the device's page table)",
            Step::Copy => "faults (telling the copy engine)",
            Step::Transfer => "faults (transfer of pages)",
            Step::Queue => "faults (waiting for a handler)",
            Step::Wait => "waiting for others' faults",
            Step::TimeSlice => "waiting for a time slice to end",
            Step::Replay => "faults (until the device tries again)",
        }
    }
}

/// Counts of one agent's device or CPU.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    /// Faults of a device.
    pub device_faults: u64,
    /// Faults of a CPU on pages that a device has.
    pub cpu_faults: u64,
    /// Faults that waited in the device's buffer, and were served without an interrupt of their own.
    pub batched: u64,
    /// Faults that others' faults had served by then.
    pub together: u64,
    /// Blocks asked for without a fault.
    pub prefetches: u64,
    /// Faults of a CPU that had to be repeated until a time slice was over.
    pub kept: u64,
    /// Pages that came to the device.
    pub arrived: u64,
    /// Of those, pages that had left a device a short time before.
    pub back: u64,
    /// Pages that left the device because somebody else used them.
    pub fetched: u64,
    /// Pages that left it to make room.
    pub evicted: u64,
    /// Pages that did not move, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Blocks that stayed because a part of them could not move.
    pub stayed: u64,
    /// Walks that began again because something changed meanwhile.
    pub retries: u64,
    /// Touches of pages that were there.
    pub local: u64,
    /// Touches of pages in RAM, by a device.
    pub in_ram: u64,
    /// Touches of pages of another device.
    pub at_peer: u64,
    /// Pages pinned.
    pub pinned: u64,
    /// Reads that did not find what was written last.
    pub wrong_reads: u64,
    /// Time by part.
    pub time: BTreeMap<Step, Picos>,
}

impl Tally {
    /// Adds time to a part.
    pub fn spend(&mut self, step: Step, time: Picos) {
        let sum = self.time.entry(step).or_default();
        *sum = Picos(sum.0.saturating_add(time.0));
    }
}
