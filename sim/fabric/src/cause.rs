//! Where time goes: every picosecond that a packet exists is charged to one [`Cause`], so that the causes of a flow add
//! up to the time its packets existed.
//!
//! A request exists from the moment its descriptor could have issued it (the descriptor before it in the same flow
//! had issued its last, or it was given) until it is delivered, refused, or handed to a memory that answers it. A
//! completion exists from the moment its data is ready until its requester has it. At any time a packet is in one place:
//!
//! ```text
//! in its engine    Software, Engine, Tags, Credits, Arbitration     see Fabric::charge_issue
//! in a queue       Credits while its class had none on the next link, else Arbitration (ordering included)
//! on a link        Serialisation, unless the node behind it cuts through: then only the pipeline it enters
//! in a pipeline    Switch, RootComplex, SocketLink, Device or Interconnect, by what the link leads to
//! in a memory      Memory: waiting for it and being served
//! ```
//!
//! With cut-through a packet is in several places at once. It is counted where its head is, and by serialisation where
//! it has to arrive whole.

use crate::requester::Active;
use crate::run::Fabric;
use crate::spec::{EngineId, LinkId, NodeKind};
use crate::tlp::Class;
use crate::wire::OUTAGES;

/// What a packet waits for or is subjected to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Cause {
    /// Software, before the engine knew of the descriptor.
    Software,
    /// The engine: its start-up and its own rate.
    Engine,
    /// No tag was free.
    Tags,
    /// The receiver had no buffer free.
    Credits,
    /// Others went first, or ordering rules held it back.
    Arbitration,
    /// Its own bytes on a link, the rest of their flit, and the way along wires and through retimers.
    Serialisation,
    /// Pipeline of a switch.
    Switch,
    /// Pipelines inside a CPU package, its internal network included.
    RootComplex,
    /// Links between CPU packages.
    SocketLink,
    /// Pipeline of a device's port.
    Device,
    /// Private links between devices, and their switches.
    Interconnect,
    /// Looking up an I/O virtual address, page walks included.
    Translation,
    /// A memory: waiting for it and being served.
    Memory,
    /// A link that sent it again, or was sending others again or training.
    LinkErrors,
}

impl Cause {
    /// Number of causes.
    pub const COUNT: usize = 14;

    /// All causes, in the order of a packet's life.
    pub const ALL: [Cause; Cause::COUNT] = [
        Cause::Software,
        Cause::Engine,
        Cause::Tags,
        Cause::Credits,
        Cause::Arbitration,
        Cause::Serialisation,
        Cause::Switch,
        Cause::RootComplex,
        Cause::SocketLink,
        Cause::Device,
        Cause::Interconnect,
        Cause::Translation,
        Cause::Memory,
        Cause::LinkErrors,
    ];

    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Software => "software",
            Cause::Engine => "engine",
            Cause::Tags => "tags",
            Cause::Credits => "credits",
            Cause::Arbitration => "arbitration",
            Cause::Serialisation => "serialisation",
            Cause::Switch => "switch",
            Cause::RootComplex => "root complex",
            Cause::SocketLink => "socket link",
            Cause::Device => "device",
            Cause::Interconnect => "interconnect",
            Cause::Translation => "translation",
            Cause::Memory => "memory",
            Cause::LinkErrors => "link errors",
        }
    }
}

/// Where a packet is while it passes the pipeline behind a link between two nodes.
pub(crate) fn pipeline_between(from: NodeKind, to: NodeKind) -> Cause {
    match (from, to) {
        (NodeKind::Cpu(_), NodeKind::Cpu(_)) => Cause::SocketLink,
        (_, NodeKind::Switch(_)) => Cause::Switch,
        (_, NodeKind::Root(_) | NodeKind::Cpu(_)) => Cause::RootComplex,
        (_, NodeKind::Device(_)) => Cause::Device,
        (_, NodeKind::Exchange(_)) => Cause::Interconnect,
    }
}

impl Fabric {
    /// Charges `picos` of one packet of `flow`.
    #[inline]
    pub(crate) fn charge(&mut self, flow: u16, cause: Cause, picos: u64) {
        self.ledger.flows[usize::from(flow)].time[cause as usize] += picos;
    }

    /// A packet of `flow` came to be at `time`.
    #[inline]
    pub(crate) fn born(&mut self, flow: u16, time: u64) {
        let flow = &mut self.ledger.flows[usize::from(flow)];
        flow.lifetime = flow.lifetime.wrapping_sub(time);
    }

    /// A packet of `flow` is gone from `time` on.
    #[inline]
    pub(crate) fn died(&mut self, flow: u16, time: u64) {
        let flow = &mut self.ledger.flows[usize::from(flow)];
        flow.lifetime = flow.lifetime.wrapping_add(time);
    }

    /// How long `class` has been starved of credits on `link`, all times until now together.
    #[inline]
    pub(crate) fn starved(&self, link: LinkId, class: Class) -> u64 {
        self.state.links[link.at()].starvation.until(class, self.state.now)
    }

    /// Nothing of `class` wants for credits on `link` any more.
    #[inline]
    pub(crate) fn end_starvation(&mut self, link: LinkId, class: Class) {
        let starvation = &mut self.state.links[link.at()].starvation;
        if starvation.lasts(class) {
            starvation.end(class.at(), self.state.now);
            self.ledger.links[link.at()].starved[class.at()] = starvation.until(class, self.state.now);
        }
    }

    /// Charges a wait in front of `link` from `since` until now: to credits as long as there were none since
    /// `starved` was noted, to link errors as long as the link was held up, to arbitration otherwise.
    #[inline]
    pub(crate) fn charge_wait(
        &mut self,
        link: LinkId,
        (flow, class): (u16, Class),
        since: u64,
        starved: u64,
    ) {
        let wait = self.state.now.saturating_sub(since);
        if wait > 0 {
            let state = &self.state.links[link.at()];
            let credits = (state.starvation.until(class, self.state.now) - starved).min(wait);
            let mut rest = wait - credits;
            if state.wire.trouble & OUTAGES != 0 {
                let errors = self.held_up(link, since).min(rest);
                self.charge(flow, Cause::LinkErrors, errors);
                rest -= errors;
            }
            let causes = &mut self.ledger.flows[usize::from(flow)].time;
            causes[Cause::Credits as usize] += credits;
            causes[Cause::Arbitration as usize] += rest;
        }
    }

    /// Charges the time before the request that `engine` issues now by `link`, before anything is changed by it. In this
    /// order: software, start-up, the engine's own pace, tags, the device's question about its page, and in front of the link
    /// as in a queue.
    #[inline]
    pub(crate) fn charge_issue(&mut self, engine: EngineId, link: LinkId, class: Class) {
        let now = self.state.now;
        let state = &self.state.engines[engine.at()];
        let (pace, tags, active) = (state.next_issue, state.tags_back, &state.active[state.turn]);
        let Active { flow, since, starved, known, ready, translated, .. } = *active;
        self.born(flow, since);
        let mut since = since;
        if known.max(ready).max(pace).max(tags).max(translated) > since {
            for (until, cause) in [
                (known, Cause::Software),
                (ready, Cause::Engine),
                (pace, Cause::Engine),
                (tags, Cause::Tags),
                (translated, Cause::Translation),
            ] {
                let until = until.clamp(since, now);
                self.charge(flow, cause, until - since);
                since = until;
            }
        }
        self.charge_wait(link, (flow, class), since, starved);
    }
}
