//! The fabric by itself: addresses are programmed as firmware would, requests are submitted by hand.

mod causal;
mod faults;
mod litmus;
mod machines;
mod payload;
mod random;
mod standstill;
mod traffic;
mod translation;
