//! What tells drivers apart.

use peerbus_units::Picos;

use crate::migrate::Selectors;
use crate::profile::Rules;
use crate::test_device::Granule;

/// Drivers whose policies are known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DriverKind {
    /// nouveau: page structs for small pieces of memory, on demand.
    Nouveau,
    /// amdkfd: page structs for all memory at the start; blocks of 2 MiB; what cannot move stays.
    Amdkfd,
    /// xe, by way of `drm_pagemap`: the same, but a block moves whole or not at all, and what atomic accesses brought stays
    /// for a time slice.
    Xe,
    /// uvmem, the secure memory of POWER guests: page structs for all of it at the start, and every page moves alone, by a call
    /// of its own in either direction.
    Uvmem,
}

/// What a driver does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Which driver.
    pub kind: DriverKind,
    /// Pages of the aligned blocks that a device's fault moves: the first that lies in the mapping.
    pub blocks: &'static [u64],
    /// Blocks of up to so many pages move only where the CPU has all their pages; the smallest one moves in any case.
    pub checked: u64,
    /// Which pages may move to the device.
    pub select: Selectors,
    /// A block of which some pages cannot move stays whole.
    pub all_or_nothing: bool,
    /// What comes home when a CPU touches a page.
    pub brings_back: Granule,
    /// Page structs for all memory at the start, instead of for a piece when it is needed.
    pub whole_at_start: bool,
    /// Atomic accesses need their pages in the device's memory. A block that came for one stays at least so long: CPUs that
    /// touch it fault again and again until then. Twice as long with every further try of the same access. Zero for drivers
    /// that make no difference.
    pub time_slice: Picos,
    /// Faults of the device that are served at a time; others wait in its buffer.
    pub handlers: u32,
    /// With which devices of the same driver one owns private pages together, each as its own.
    pub shares_with: SharesWith,
}

/// Whose private pages a driver's device uses as its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SharesWith {
    /// Nobody's.
    Nobody,
    /// Those of devices that a private interconnect joins to it.
    Interconnect,
    /// Those of devices with which it has a supported peer-to-peer path.
    PeerToPeer,
}

/// The largest granule of a range, as a power of two of pages.
pub const LARGEST_GRANULE: u32 = 27;
/// Tries of an atomic access to have its page in the device's memory. Not in our evidence: assumed.
pub const ATOMIC_TRIES: u32 = 3;

/// Powers of two, for blocks of one size.
const POWERS: [u64; LARGEST_GRANULE as usize + 1] = powers();

const fn powers() -> [u64; LARGEST_GRANULE as usize + 1] {
    let mut powers = [1; LARGEST_GRANULE as usize + 1];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 2;
        at += 1;
    }
    powers
}

impl Policy {
    /// That of a driver on a kernel. How many faults each serves at a time is not in our evidence: xe's four queues and the one
    /// of nouveau and amdkfd are assumed; calls of uvmem are made by whoever needs the page.
    pub fn of(kind: DriverKind, rules: &Rules) -> Policy {
        let huge = rules.mm.huge_migration;
        let system = Selectors { system: true, private: false, coherent: false, compound: false };
        let common = Policy {
            kind,
            blocks: &[512],
            checked: 0,
            select: system,
            all_or_nothing: false,
            brings_back: Granule::Aligned(512),
            whole_at_start: true,
            time_slice: Picos::ZERO,
            handlers: 1,
            shares_with: SharesWith::Nobody,
        };
        match kind {
            DriverKind::Nouveau => Policy {
                // As many pages as fit a page of scatter-list entries; with huge folios the whole of one.
                blocks: if huge { &[512] } else { &[128] },
                select: Selectors { compound: true, ..system },
                brings_back: Granule::Folio,
                whole_at_start: false,
                ..common
            },
            DriverKind::Amdkfd => Policy { shares_with: SharesWith::Interconnect, ..common },
            DriverKind::Xe => Policy {
                blocks: &[512, 16, 1],
                checked: 16,
                select: Selectors { system: true, private: true, coherent: true, compound: true },
                all_or_nothing: true,
                time_slice: Picos::micros(5_000),
                handlers: 4,
                shares_with: match rules.pagemap.owner_groups {
                    true => SharesWith::PeerToPeer,
                    false => SharesWith::Nobody,
                },
                ..common
            },
            DriverKind::Uvmem => {
                Policy { blocks: &[1], brings_back: Granule::Folio, handlers: u32::MAX, ..common }
            }
        }
    }

    /// Of amdkfd with another granule for a range: 2^`order` pages, up to 2^[`LARGEST_GRANULE`], move at a time.
    #[must_use]
    pub fn with_granule(self, order: u32) -> Policy {
        let at = usize::try_from(order.min(LARGEST_GRANULE)).unwrap_or(0);
        Policy { blocks: &POWERS[at..=at], brings_back: Granule::Aligned(POWERS[at]), ..self }
    }
}
