//! What the steps of sharing a buffer take. What is the same work as in a fault of shared memory has that time
//! (`shared_virtual::costs`); the rest is assumed.

use peerbus_os::drivers::Part;
use peerbus_units::Picos;

use crate::run::shared_virtual::costs;

/// Pages of a device's table that a mapping writes: a buffer is in blocks of this.
const BLOCK: u64 = 2 << 20;

/// Telling one importer that the buffer moves, until its callback returns. Assumed: a lock and a queue.
pub const NOTIFY: Picos = Picos::nanos(500);

/// Attaching, and registering what is attached. Assumed: a system call and two locks.
pub const ATTACH: Picos = Picos::nanos(2_000);

/// Entering a buffer of `bytes` in a device's table.
pub fn map(bytes: u64) -> Picos {
    costs::kernel(Part::Bind).of(bytes.div_ceil(BLOCK))
}

/// From an adapter's access that finds its table empty until it tries again: an interrupt, the buffer mapped anew, and the
/// replay. Waiting for a move to end comes on top.
pub fn fault(bytes: u64) -> Picos {
    Picos(costs::INTERRUPT.0 + map(bytes).0 + costs::REPLAY.0)
}

/// Telling the exporter's copy engine to move the buffer, once all importers have let go.
pub fn start_move(bytes: u64, told: u64) -> Picos {
    Picos(costs::COPY.of(bytes.div_ceil(BLOCK)).0 + NOTIFY.0 * told)
}
