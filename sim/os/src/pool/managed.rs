//! Pools that live as long as a device's driver is bound, told apart by name.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{Bug, Pool};
use peerbus_units::Address;

/// The device already has a pool of that name (`EINVAL`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameTaken;

impl fmt::Display for NameTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the device has a pool of this name (EINVAL)")
    }
}

impl core::error::Error for NameTaken {}

/// The managed pools of one device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManagedPools<A, P = A, O = ()> {
    pools: Vec<(Option<String>, Pool<A, P, O>)>,
}

impl<A, P, O> Default for ManagedPools<A, P, O> {
    fn default() -> ManagedPools<A, P, O> {
        ManagedPools { pools: Vec::new() }
    }
}

impl<A: Address, P: Address, O: Copy> ManagedPools<A, P, O> {
    /// Hands a new pool over to the device. A pool without a name is a name of its own: there can be one.
    pub fn manage(&mut self, name: Option<&str>, pool: Pool<A, P, O>) -> Result<(), NameTaken> {
        if self.get(name).is_some() {
            return Err(NameTaken);
        }
        self.pools.push((name.map(String::from), pool));
        Ok(())
    }

    /// The pool of that name.
    pub fn get(&self, name: Option<&str>) -> Option<&Pool<A, P, O>> {
        self.pools.iter().find(|(own, _)| own.as_deref() == name).map(|(_, pool)| pool)
    }

    /// The pool of that name, to use it.
    pub fn get_mut(&mut self, name: Option<&str>) -> Option<&mut Pool<A, P, O>> {
        self.pools.iter_mut().find(|(own, _)| own.as_deref() == name).map(|(_, pool)| pool)
    }

    /// The driver is unbound: destroys all pools, the latest first, as managed resources go.
    pub fn release(self) -> Result<(), Bug> {
        self.pools.into_iter().rev().try_for_each(|(_, pool)| pool.destroy())
    }
}
