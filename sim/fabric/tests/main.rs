//! The fabric by itself: addresses are programmed as firmware would, requests are submitted by hand.

mod causal;
mod machines;
mod traffic;
mod translation;
