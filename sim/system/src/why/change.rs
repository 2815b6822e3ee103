//! [`Change`]: something a person can do, and what it was found to lead to.

use peerbus_units::FunctionId;
use serde::Serialize;

use crate::kernel::ProfileName;
use crate::p2p::MapType;

/// What a change leads to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// By bus address, without the root complex.
    Direct,
    /// Through the host bridge, where the pair was refused before.
    Possible,
}

impl Goal {
    /// The goal that an answer reaches.
    pub fn reached(map_type: MapType) -> Option<Goal> {
        match map_type {
            MapType::BusAddr => Some(Goal::Direct),
            MapType::ThruHostBridge => Some(Goal::Possible),
            MapType::NotSupported => None,
        }
    }

    /// The word of reports.
    pub fn word(self) -> &'static str {
        match self {
            Goal::Direct => "direct",
            Goal::Possible => "possible",
        }
    }
}

/// What kind of thing it is to do; in the order in which people would rather do it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A parameter on the kernel's command line.
    KernelParameter,
    /// Control words in the firmware's setup.
    Firmware,
    /// Control words, written while the machine runs.
    Registers,
    /// A card in another slot.
    Slot,
    /// Another kernel.
    Kernel,
    /// A change to the kernel's source: a row in its table of host bridges.
    HostBridgeTable,
}

/// The smallest thing that can be done or left undone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Step {
    /// Naming the function in `pci=disable_acs_redir=`.
    DisableAcsRedirect {
        /// The function.
        function: FunctionId,
    },
    /// Naming the function in `pci=config_acs=`, with these bits.
    ConfigureAcs {
        /// The function.
        function: FunctionId,
        /// From DT down to SV: `0`, `1`, or `x` for what firmware left.
        bits: String,
    },
    /// The IOMMU driver does not ask for ACS, because it does not run.
    NoAcsRequest,
    /// The firmware leaves these bits of the ACS control word clear.
    FirmwareBits {
        /// The function.
        function: FunctionId,
        /// Its path.
        port: String,
        /// The bits.
        bits: u16,
    },
    /// Clearing these bits of the ACS control word after the kernel has started.
    ClearBits {
        /// The function.
        function: FunctionId,
        /// The bits.
        bits: u16,
    },
    /// A card goes to a free slot.
    Move {
        /// A device on it.
        device: String,
        /// Path of the slot's port.
        port: String,
    },
    /// Two cards change places.
    Exchange {
        /// A device on the one.
        device: String,
        /// A device on the other.
        with: String,
    },
    /// This kernel instead.
    Kernel {
        /// Which.
        profile: ProfileName,
    },
    /// A row in front of the kernel's table, without the condition that both sides share the host bridge.
    ListHostBridge {
        /// Vendor id of the function that stands for the host bridge.
        vendor: u16,
        /// Its device id.
        device: u16,
    },
}

/// How it was shown that no part of the change would do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Minimality {
    /// It has one step, and nothing done is not enough.
    SingleStep,
    /// Every proper part was tried.
    EveryPart,
    /// There are too many parts: each step was left out once.
    EachStepLeftOut,
}

/// An ACS control word that the change leaves different.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct WordChange {
    /// Whose.
    pub function: FunctionId,
    /// Without the change.
    pub before: u16,
    /// With it.
    pub after: u16,
}

/// Unordered pairs of other devices whose answer the change alters.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Others {
    /// Direct with it only.
    pub become_direct: usize,
    /// Refused without it and through the host bridge with it.
    pub become_possible: usize,
    /// Direct without it, through the host bridge with it.
    pub cease_to_be_direct: usize,
    /// Refused with it only.
    pub become_refused: usize,
}

/// Something that helps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Change {
    /// What it leads to.
    pub goal: Goal,
    /// What kind of thing it is.
    pub kind: ChangeKind,
    /// What to do, a line each.
    pub instructions: Vec<String>,
    /// What is to be added to the kernel's command line, if that is part of it.
    pub parameter: Option<String>,
    /// Its parts; with all of them the goal is reached, with fewer it is not.
    pub steps: Vec<Step>,
    /// How that was shown.
    pub minimal: Minimality,
    /// The kernel's answer with the change.
    pub map_type: MapType,
    /// The distance with the change.
    pub distance: u32,
    /// ACS control words that it alters.
    pub words: Vec<WordChange>,
    /// Devices below ports that isolated them all the way to the root, and no longer do; empty without an IOMMU.
    pub isolation_lost: Vec<String>,
    /// Devices that were in different IOMMU groups and share one with the change, group by group.
    pub groups_merged: Vec<Vec<String>>,
    /// What it does to other pairs; `None` where there are too many to count.
    pub others: Option<Others>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// Other ways to do the same that were tried and lead to the same.
    pub alternatives: Vec<String>,
}
