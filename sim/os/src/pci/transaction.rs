//! [`Transaction`]: register writes that are kept back until a decision is final.
//!
//! Reads see the hardware as it is, not what was written: what is decided must not depend on its own writes.
//! A transaction that is dropped leaves the hardware as if it had never been tried.

use alloc::vec::Vec;

use peerbus_units::FunctionId;

use crate::{ConfigSpace, Width};

/// A configuration space whose writes are collected.
pub(crate) struct Transaction<'a, C> {
    cs: &'a mut C,
    writes: Vec<(FunctionId, u16, Width, u32)>,
}

impl<'a, C: ConfigSpace> Transaction<'a, C> {
    pub fn new(cs: &'a mut C) -> Transaction<'a, C> {
        Transaction { cs, writes: Vec::new() }
    }

    /// Does all writes, in the order they were made.
    pub fn commit(self) {
        for (function, offset, width, value) in self.writes {
            self.cs.write(function, offset, width, value);
        }
    }
}

impl<C: ConfigSpace> ConfigSpace for Transaction<'_, C> {
    fn read(&self, function: FunctionId, offset: u16, width: Width) -> u32 {
        self.cs.read(function, offset, width)
    }

    fn write(&mut self, function: FunctionId, offset: u16, width: Width, value: u32) {
        self.writes.push((function, offset, width, value));
    }
}
