//! The pool allocator: worked examples, random calls against a bitmap, and recorded sequences.

mod bitmap;
mod recorded;
mod truncated;
mod versus_bitmap;
mod worked;
