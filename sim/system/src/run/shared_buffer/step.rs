//! One moment of a buffer's run: the kernel as it is then, and what comes of it.

use peerbus_os::dma::Dma;
use peerbus_os::p2pdma::P2pdma;
use peerbus_os::pci;
use peerbus_units::Picos;

use crate::boot::Booted;
use crate::iommu::TableWrites;
use crate::run::shared_virtual::SharedOrder;

/// What a timer was set for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// An importer begins, or the kernel has done what it had to do for it.
    Importer(usize),
    /// The exporter moves the buffer, or revokes it.
    Act,
    /// The copy engine begins.
    Copy,
    /// The revoked buffer is given back.
    GiveBack,
}

/// A timer of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferEvent {
    /// Which buffer.
    pub buffer: usize,
    /// What for.
    pub what: What,
}

/// What an event leads to.
#[derive(Clone, Debug, Default)]
pub struct Io {
    /// Timers to set.
    pub timers: Vec<(Picos, BufferEvent)>,
    /// What the kernel writes into IOMMU tables, before the transfers start.
    pub writes: TableWrites,
    /// Transfers to start, in this order. Each is told of by buffer and number.
    pub orders: Vec<SharedOrder>,
    /// Functions for which something was mapped or unmapped.
    pub changed: Vec<pci::FunctionIndex>,
}

/// The kernel now, and what comes of this step.
pub struct Step<'k> {
    /// The machine it runs on.
    pub booted: &'k Booted,
    /// What it remembers of peer-to-peer memory.
    pub p2pdma: &'k mut P2pdma,
    /// Its DMA layer.
    pub dma: &'k mut Dma,
    /// Now.
    pub now: Picos,
    /// Which buffer it is about.
    pub buffer: usize,
    /// What comes of it.
    pub io: Io,
}

impl Step<'_> {
    /// Sets a timer of this buffer.
    pub fn after(&mut self, time: Picos, what: What) {
        let at = Picos(self.now.0.saturating_add(time.0));
        self.io.timers.push((at, BufferEvent { buffer: self.buffer, what }));
    }
}
