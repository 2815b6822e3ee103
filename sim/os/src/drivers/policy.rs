//! What tells drivers apart.

use peerbus_units::{Bytes, Picos};

use crate::device_private::ChunkPolicy;
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
    /// xe, by way of `drm_pagemap`: the same, but a block moves whole or not at all, and stays for a time slice.
    Xe,
}

/// What a driver does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Which driver.
    pub kind: DriverKind,
    /// Pages of the aligned blocks that a device's fault moves: the first that lies in the mapping.
    pub blocks: &'static [u64],
    /// Which pages may move to the device.
    pub select: Selectors,
    /// A block of which some pages cannot move stays whole.
    pub all_or_nothing: bool,
    /// What comes home when a CPU touches a page.
    pub brings_back: Granule,
    /// Page structs for all memory at the start, instead of for a piece when it is needed.
    pub whole_at_start: bool,
    /// A block that came to the device stays at least so long: CPUs that touch it fault again and again until then.
    pub time_slice: Picos,
}

impl Policy {
    /// That of a driver on a kernel.
    pub fn of(kind: DriverKind, rules: &Rules) -> Policy {
        let huge = rules.mm.huge_migration;
        let system = Selectors { system: true, private: false, coherent: false, compound: false };
        match kind {
            DriverKind::Nouveau => Policy {
                kind,
                // As many pages as fit a page of scatter-list entries; with huge folios the whole of one.
                blocks: if huge { &[512] } else { &[128] },
                select: Selectors { compound: true, ..system },
                all_or_nothing: false,
                brings_back: Granule::Folio,
                whole_at_start: false,
                time_slice: Picos::ZERO,
            },
            DriverKind::Amdkfd => Policy {
                kind,
                blocks: &[512],
                select: system,
                all_or_nothing: false,
                brings_back: Granule::Aligned(512),
                whole_at_start: true,
                time_slice: Picos::ZERO,
            },
            DriverKind::Xe => Policy {
                kind,
                blocks: &[512, 16, 1],
                select: Selectors { system: true, private: true, coherent: true, compound: true },
                all_or_nothing: true,
                brings_back: Granule::Aligned(512),
                whole_at_start: true,
                time_slice: Picos::ZERO,
            },
        }
    }

    /// What it reserves at once on a kernel with `rules`, for a device with `memory`.
    pub(super) fn chunk(&self, rules: &Rules, memory: Bytes) -> ChunkPolicy {
        if self.whole_at_start { ChunkPolicy::managed(memory) } else { ChunkPolicy::nouveau(rules) }
    }
}
