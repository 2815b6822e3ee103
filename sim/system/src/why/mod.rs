//! Why one pair of functions talks as it does, and the smallest changes that would make it direct, or possible at all.
//!
//! [`why`] answers for one pair what [`crate::p2p`] answers for all: the route the kernel walks, every ACS word on it,
//! what it knows about the host bridges, and what it logs. Then it looks for changes. Each change is tried: the machine
//! boots again with that change and nothing else, and the kernel's code decides again. A change that does not help is
//! not in the answer, and neither is one of which a part would do.
//!
//! [`Why`] is plain data; its JSON form is `peerbus.why/1`, its text form ([`render_why`]) one page. Both show what is
//! here and add nothing.
//!
//! Modules in reading order: `find` (names to functions), `change` (what can be changed), `route`, `host` and `log` (what
//! is), `parameter` (words on the command line), `situation` (a machine with changes), `candidate` and `slot` (what may help), `search` (what does), `cost` (what
//! it changes besides), `hopeless` (why nothing helps), `wording`, `text`.

mod build;
mod candidate;
mod change;
mod cost;
mod find;
mod hopeless;
mod host;
mod log;
mod parameter;
mod route;
mod search;
mod situation;
mod slot;
mod text;
mod wording;

use peerbus_machine::model::Fact;
use peerbus_units::FunctionId;
use serde::Serialize;

use crate::kernel::ProfileName;
use crate::p2p::{DmaKind, MapType, Reason};

pub use build::why;
pub use change::{Change, ChangeKind, Goal, Minimality, Others, Step, WordChange};
pub use find::{FindError, find};
pub use host::{CpuRule, HostBridgeRule, HostRules, Row, Standing};
pub use log::LogLine;
pub use route::{AcsWords, Hop, HopLink, Side};
pub use text::render_why;

/// Everything `peerbus p2p --why` shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Why {
    /// `peerbus.why/1`.
    pub schema: &'static str,
    /// Version of this program.
    pub version: &'static str,
    /// Name of the machine.
    pub machine: String,
    /// Kernel that decides.
    pub profile: ProfileName,
    /// Whose memory it is.
    pub provider: End,
    /// Who sends requests to it.
    pub client: End,
    /// By which way; the same in both directions.
    pub map_type: MapType,
    /// Steps up from both to where they meet.
    pub distance: u32,
    /// Why it is not a bus address.
    pub reasons: Vec<Reason>,
    /// What each driver is handed to reach the other's memory: the client's first.
    pub transfers: Vec<Transfer>,
    /// Every function the kernel looks at: from the provider up, the common one, and down to the client.
    pub route: Vec<Hop>,
    /// The function above both, where there is one.
    pub common: Option<FunctionId>,
    /// Functions of the route whose payload is larger than what a later one takes, in either direction.
    pub payload_conflicts: Vec<PayloadConflict>,
    /// What is known about the CPU and the host bridges.
    pub host: HostRules,
    /// What the kernel logs when the client's driver first maps the provider's memory.
    pub log: Vec<LogLine>,
    /// What the machine's source did not say and the answer depends on.
    pub assumed: Vec<Fact>,
    /// Changes that help, smallest first within each goal.
    pub changes: Vec<Change>,
    /// For each goal that no change reaches, why not.
    pub hopeless: Vec<String>,
}

/// One of the two functions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct End {
    /// Where it answers.
    pub function: FunctionId,
    /// Its path.
    pub name: String,
    /// Vendor and device, as `10de:2330`.
    pub pci: String,
    /// What it is, for a device: the part's id.
    pub part: Option<String>,
}

/// One direction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Transfer {
    /// Whose memory it is.
    pub provider: FunctionId,
    /// Who sends requests to it.
    pub client: FunctionId,
    /// The provider's BAR concerned: its largest prefetchable one.
    pub bar: Option<u8>,
    /// Address of its first byte as the CPU sees it.
    pub cpu_addr: Option<u64>,
    /// What the client's driver is handed.
    pub dma_addr: Option<u64>,
    /// What kind of address that is.
    pub dma_kind: Option<DmaKind>,
}

/// Writes that a function on the way takes for malformed: surely on a direct way, else where the root complex does not split
/// them. The kernel's peer-to-peer code does not look at this.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PayloadConflict {
    /// Who sends.
    pub sender: FunctionId,
    /// Bytes of payload it is programmed for.
    pub sends: u64,
    /// The first function on the way that takes less.
    pub receiver: FunctionId,
    /// Bytes of payload that one is programmed for.
    pub takes: u64,
}
