//! Replays: a list of calls into the operating system's allocators and its peer-to-peer DMA, made one after the other, and what they return.
//!
//! A file names a kernel and the calls; it may also hold the results that a real kernel gave, or an earlier version
//! of this program, to compare with. Constructors (`Pool`, `Region`, `Machine`) start afresh: calls go to what the last
//! constructor of their kind made.
//!
//! What cannot be meant (an id nobody was given, a granule that is no power of two) is a diagnostic of the file and
//! nothing is run. What a kernel answers, errors and bugs included, is a result. After a bug a real kernel is gone;
//! the replay goes on with everything as it was before that call.
//!
//! Modules in reading order: [`mod@file`] (the shape people write), [`call`] (what it means), [`mod@load`] (from one to
//! the other, with every problem found), `pool`, `region`, `peer` (what calls work on), [`run`](mod@run) (making them),
//! [`result`] (what they return), [`diff`] (against what was recorded), `text`, [`codes`], [`schema`].

pub mod call;
pub mod codes;
pub mod diff;
pub mod file;
pub mod load;
mod peer;
mod pool;
mod region;
pub mod result;
pub mod run;
pub mod schema;
mod text;

pub use call::{Call, Replay};
pub use diff::{Comparison, Difference, compare};
pub use load::{Provider, load};
pub use result::{Document, Entry};
pub use run::run;
pub use text::{render_comparison, render_replay};
