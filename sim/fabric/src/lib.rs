//! What the hardware does over time: links, ports, switches, root complexes, memories and DMA engines.
//!
//! The fabric sees a machine ([`peerbus_machine::Machine`]) and what software programmed into it
//! ([`peerbus_machine::Registers`]), and nothing else: it does not know what a map type is, and it never calls
//! the operating system. A device is handed a DMA address; decoding says where it leads.
//!
//! Three structs, all plain data: [`Spec`] (immutable), `State` (what the future depends on), [`Ledger`] (what
//! happened). [`Fabric`] joins them with the event queue and is driven by its user:
//! [`Fabric::submit`] a [`Descriptor`], then [`Fabric::advance`] until an [`Upcall`] says something is done.
//!
//! Modules in reading order: `link_layer` (what a TLP costs), `spec` (nodes and links of a machine), `cursor`
//! (an address on its way), `decode` (who claims it), `iommu` (translation at the root), `aperture` (pages that BARs show), `ntb` (bridges to another
//! hierarchy), `walk` (a way, node by node), `path` (a decoded route),
//! `tlp`, `store` (queues without allocation), `state`, `transmit` (the three things that happen to a TLP),
//! `overtake` (posted requests that pass others), `arbitration` (weights), `channel` (two virtual channels on one wire), `in_order` (switches with one queue per input), `in_turn` (reads answered side by side),
//! `pause` and `iotlb` (translation and other stops inside a CPU), `atc` (translation by devices), `pages` (that are not there yet), `requester`, `cores` (what is special about cores of a CPU), `completer`, `cache` (in front of memory), `wire` (the
//! present condition of a link), `bit_errors`, `outage`, `fault` (what goes wrong when), `lost` (what never arrives), `malformed` (payloads
//! too large), `aer` (errors as functions count them), `cause` (where time goes), `limits` (what holds a flow back), `ledger`,
//! `order` (checked in debug builds), `standstill` (why nothing goes on), `run`.

mod aer;
mod aperture;
mod arbitration;
mod atc;
mod bit_errors;
mod cache;
mod cause;
mod channel;
mod completer;
mod cores;
mod cursor;
mod decode;
mod fault;
mod handling;
mod in_order;
mod in_turn;
mod iommu;
mod iotlb;
mod ledger;
mod limits;
mod lines;
mod link_layer;
mod lost;
mod malformed;
mod member;
mod ntb;
#[cfg(debug_assertions)]
mod order;
mod outage;
mod overtake;
mod pages;
mod path;
mod pause;
mod requester;
mod run;
mod sending;
mod spec;
mod standstill;
mod starvation;
mod state;
mod store;
mod tags;
mod tlp;
mod transmit;
mod walk;
mod wire;

pub use aer::{ErrorCounters, PacketError, Severity};
pub use aperture::Shown;
pub use cache::Warmth;
pub use cause::Cause;
pub use decode::{Miss, MissKind};
pub use fault::{Fault, LinkFaults};
pub use ledger::{
    AtcLedger, CacheLedger, FlowLedger, IommuLedger, LatencyOf, Ledger, LinkLedger, Refusal, quarter_octave,
};
pub use limits::{Resource, Series};
pub use link_layer::LinkLayer;
pub use lost::Lost;
pub use malformed::Malformed;
pub use requester::{Descriptor, Direction};
pub use run::{Fabric, Upcall};
pub use spec::{
    COMPLETION_TIMEOUT, EngineId, EngineSpec, FlowId, HandlingSpec, LinkId, NodeId, NodeKind, Options, PAGE,
    Scaling, Sharing, Spec, Turns, WriteBuffers, private_addr, supports,
};
pub use standstill::Standstill;
pub use tlp::{Attributes, Class};
