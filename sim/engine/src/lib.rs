//! Discrete events: when things happen, and chance. Not a word of PCIe in it.
//!
//! A model owns a fixed number of [`Slot`]s, each holding at most one due time. [`Queue::next`] names the
//! earliest; equal times are taken in slot order, so "at the same time" has one meaning and no insertion
//! number exists. The number of pending events is bounded by the number of slots, never by the traffic.
//!
//! ```
//! use peerbus_engine::{Queue, Slot};
//! let mut queue = Queue::new(2);
//! queue.set(Slot(1), 500);
//! queue.set(Slot(0), 500);
//! assert_eq!(queue.next(), Some((500, Slot(0))));
//! queue.clear(Slot(0));
//! assert_eq!(queue.next(), Some((500, Slot(1))));
//! ```

mod exponential;
mod queue;
mod stream;

pub use queue::{Queue, Slot};
pub use stream::Stream;
