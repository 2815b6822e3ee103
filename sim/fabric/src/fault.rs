//! [`Fault`]: what goes wrong with links and devices at a planned time, and what it does.
//!
//! A link that goes down takes with it what is on it and what waits in front of it (see [`crate::lost`]), and resets
//! what is below: the data link layer of the lower end reports DL_Down, which is a hot reset of its component and of
//! everything further down. Engines of devices there forget their work, and refuse more until the link is up again. That
//! software restores a device after its reset is taken for granted. Packets inside a switch that is reset go where they
//! were going, unless it is over the link that is down.

use std::collections::{BTreeMap, BTreeSet};

use peerbus_units::{BitErrorRate, Picos, Rate};

use crate::bit_errors::BitErrors;
use crate::link_layer::{LinkLayer, dllp_interval, tlp_rate};
use crate::lost::{Deadline, Lost};
use crate::outage::Outages;
use crate::run::Fabric;
use crate::spec::{EngineId, LinkId, NodeId, NodeKind, Spec};
use crate::tlp::{Attributes, Class};
use crate::wire::{DOWN, LEAKING, flit_time};

/// Something that goes wrong, or right again. Links are PCIe links, named by either direction; both are concerned
/// unless it says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The link goes down.
    LinkDown(LinkId),
    /// The link is up again, as it was at the start.
    LinkUp(LinkId),
    /// The link trains to a generation and width that are at most its own at the start.
    Retrain {
        /// The link.
        link: LinkId,
        /// Generation, 1–7.
        generation: u8,
        /// Lanes.
        lanes: u8,
        /// How long it carries nothing.
        time: Picos,
    },
    /// Bits of this direction go wrong from now on.
    ErrorRate {
        /// The direction.
        link: LinkId,
        /// How often.
        rate: BitErrorRate,
    },
    /// The device is pulled out.
    SurpriseRemove(NodeId),
    /// The device answers no read any more; writes it takes.
    StopCompleting(NodeId),
    /// Every so many-th read of a device's or CPU's memory finds data that its error-correcting code cannot mend, and is
    /// answered with poisoned data; so is every so many-th write that its own engines send from there.
    PoisonMemory {
        /// The device or CPU.
        node: NodeId,
        /// Of how many reads one is poisoned; 1 for all of them. At least 1.
        every: u32,
    },
    /// Credits of this direction are lost: the receiver has the room, and the sender never learns of it.
    LeakCredits {
        /// The direction.
        link: LinkId,
        /// The kind of TLP.
        class: Class,
        /// Header credits.
        header: u32,
        /// Data credits, 16 bytes each.
        data: u32,
    },
}

/// What a directed link has been through.
#[derive(Clone, Debug, Default)]
pub struct LinkFaults {
    /// TLPs that arrived wrong (correctable error: Bad TLP).
    pub bad_tlps: u64,
    /// DLLPs that arrived wrong (correctable error: Bad DLLP).
    pub bad_dllps: u64,
    /// Bytes of flits that the error-correcting code mended.
    pub corrected: u64,
    /// Flits that it could not mend.
    pub bad_flits: u64,
    /// Replays.
    pub replays: u64,
    /// Times that REPLAY_NUM rolled over (correctable error), after which the link trained.
    pub rollovers: u64,
    /// Times that it trained.
    pub retrains: u64,
    /// Time it sent again or trained, in picoseconds; part of [`crate::LinkLedger::busy`].
    pub held_up: u64,
    /// Times that it went down.
    pub downs: u64,
    /// Its device was pulled out.
    pub removed: bool,
    /// Packets lost on it or in front of it while it was down.
    pub lost: Lost,
    /// Reads that the port in front of it refused while it was down.
    pub refused: Lost,
    /// Work that engines gave up because it went down, or were given while it was down.
    pub abandoned: Lost,
    /// Header and data credits leaked, by class.
    pub leaked: [[u32; 2]; 3],
}

/// State of a directed link that matters only when something is wrong.
#[derive(Clone, Debug)]
pub(crate) struct LinkTrouble {
    pub generation: u8,
    pub bit_errors: BitErrors,
    pub outages: Outages,
    /// Credits still to be leaked when they come back.
    leaking: [[u32; 2]; 3],
}

/// State of faults.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub seed: u64,
    pub links: Vec<LinkTrouble>,
    planned: BTreeMap<u64, Vec<Fault>>,
    pub deadlines: BTreeSet<Deadline>,
    /// Nodes that answer no read.
    silent: BTreeSet<NodeId>,
    any_silent: bool,
    /// Nodes with bad memory: one of how many reads is poisoned, and how many there were since the last one.
    poisoned: BTreeMap<NodeId, (u32, u32)>,
    /// Links that are down, by their direction towards the root.
    down: BTreeSet<LinkId>,
    retrained: bool,
    layer: LinkLayer,
}

impl Faults {
    pub fn new(spec: &Spec, layer: LinkLayer) -> Faults {
        let links = spec.links.iter().map(|link| LinkTrouble {
            generation: link.pcie.map_or(6, |(generation, _)| generation),
            bit_errors: BitErrors::default(),
            outages: Outages::default(),
            leaking: [[0; 2]; 3],
        });
        Faults {
            seed: 0,
            links: links.collect(),
            planned: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            silent: BTreeSet::new(),
            any_silent: false,
            poisoned: BTreeMap::new(),
            down: BTreeSet::new(),
            retrained: false,
            layer,
        }
    }

    #[inline]
    pub fn is_silent(&self, node: NodeId) -> bool {
        self.any_silent && self.silent.contains(&node)
    }

    /// Whether a link may run at another rate than the spec says.
    pub fn has_retrained(&self) -> bool {
        self.retrained
    }

    /// The next time at which something is planned or a read times out.
    fn next(&self) -> Option<u64> {
        let deadline = self.deadlines.first().map(|deadline| deadline.at);
        self.planned.keys().next().copied().into_iter().chain(deadline).min()
    }
}

impl Fabric {
    /// Seed of the random streams of bit errors; 0 without it. Called before time begins.
    pub fn set_error_seed(&mut self, seed: u64) {
        self.faults.seed = seed;
    }

    /// Lets `fault` happen at `time`, or at once if that is past; those of one time happen in the order of the calls. A
    /// run ends when nothing else is under way, whatever is still planned.
    pub fn plan(&mut self, time: Picos, fault: Fault) {
        self.faults.planned.entry(time.0.max(self.state.now)).or_default().push(fault);
        self.plan_faults();
    }

    pub(crate) fn plan_faults(&mut self) {
        match self.faults.next() {
            Some(time) => self.queue.set(self.fault_slot(), time),
            None => self.queue.clear(self.fault_slot()),
        }
    }

    /// The work is over: nothing that is planned matters any more.
    pub(crate) fn forget_faults(&mut self) {
        self.faults.planned.clear();
        self.faults.deadlines.clear();
        self.plan_faults();
    }

    /// Everything that is due now.
    pub(crate) fn faults_due(&mut self) {
        let now = self.state.now;
        while let Some(entry) = self.faults.planned.first_entry().filter(|entry| *entry.key() <= now) {
            for fault in entry.remove() {
                self.apply(fault);
            }
        }
        while let Some(deadline) = self.faults.deadlines.first().copied().filter(|first| first.at <= now) {
            self.faults.deadlines.remove(&deadline);
            self.time_out(deadline);
        }
        self.plan_faults();
    }

    fn apply(&mut self, fault: Fault) {
        match fault {
            Fault::LinkDown(link) => self.take_down(link),
            Fault::LinkUp(link) => self.bring_up(link),
            Fault::Retrain { link, generation, lanes, time } => {
                for link in [link, self.spec.links[link.at()].reverse] {
                    self.ledger.faults[link.at()].retrains += 1;
                    self.hold_up(link, time.0);
                }
                for link in self.spec.wires(link) {
                    self.run_at(link, generation, lanes);
                }
                self.faults.retrained = true;
                self.refresh_cut_through();
            }
            Fault::ErrorRate { link, rate } => {
                self.set_bit_errors(link, rate);
                if let Some(sharing) = self.spec.links[link.at()].sharing {
                    self.set_bit_errors(sharing.partner, rate);
                }
            }
            Fault::SurpriseRemove(node) => {
                if let Some(link) = self.spec.nodes[node.at()].upstream {
                    self.take_down(link);
                    for link in [link, self.spec.links[link.at()].reverse] {
                        self.ledger.faults[link.at()].removed = true;
                    }
                }
            }
            Fault::StopCompleting(node) => {
                self.faults.silent.insert(node);
                self.faults.any_silent = true;
                if let Some(link) = self.spec.nodes[node.at()].upstream {
                    let channels =
                        [Some(link), self.spec.links[link.at()].sharing.map(|other| other.partner)];
                    channels.into_iter().flatten().for_each(|link| self.discard_jobs(link));
                }
            }
            Fault::PoisonMemory { node, every } => {
                self.faults.poisoned.insert(node, (every.max(1), 0));
            }
            Fault::LeakCredits { link, class, header, data } => self.leak(link, class, [header, data]),
        }
    }

    /// What the next data read from the memory of `node` carry.
    #[inline]
    pub(crate) fn poison(&mut self, node: NodeId) -> Attributes {
        if self.faults.poisoned.is_empty() { Attributes::NONE } else { self.poison_of(node) }
    }

    #[cold]
    fn poison_of(&mut self, node: NodeId) -> Attributes {
        let Some((every, since)) = self.faults.poisoned.get_mut(&node) else { return Attributes::NONE };
        *since = (*since + 1) % *every;
        if *since == 0 { Attributes::POISONED } else { Attributes::NONE }
    }

    /// The direction of a link that leads towards the root.
    fn upward(&self, link: LinkId) -> LinkId {
        if self.leads_down(link) { self.spec.links[link.at()].reverse } else { link }
    }

    /// True when `link` leads away from the root.
    pub(crate) fn leads_down(&self, link: LinkId) -> bool {
        let first = self.spec.first_channel(link);
        self.spec.nodes[self.spec.links[link.at()].from.at()].upstream != Some(first)
    }

    fn take_down(&mut self, link: LinkId) {
        let up = self.upward(link);
        if !self.faults.down.insert(up) {
            return;
        }
        let wires = self.spec.wires(up);
        for link in wires.iter().copied() {
            self.ledger.faults[link.at()].downs += 1;
            let now = self.state.now;
            let state = &mut self.state.links[link.at()];
            state.wire.trouble |= DOWN;
            state.free_at = state.free_at.min(now);
            for class in Class::ALL {
                self.end_starvation(link, class);
            }
        }
        for engine in 0..self.spec.engines.len() {
            if self.is_cut_off(self.spec.engines[engine].node) == Some(up) {
                self.reset_engine(EngineId::from_index(engine), up);
            }
        }
        for link in wires {
            self.lose_flights(link);
            self.discard_waiting(link);
        }
    }

    fn bring_up(&mut self, link: LinkId) {
        let up = self.upward(link);
        if self.ledger.faults[up.at()].removed || !self.faults.down.remove(&up) {
            return;
        }
        for link in self.spec.wires(up) {
            self.state.links[link.at()].wire.trouble &= !DOWN;
            if let Some((generation, lanes)) = self.spec.links[link.at()].pcie {
                self.run_at(link, generation, lanes);
            }
        }
        self.refresh_cut_through();
    }

    /// The nearest link towards the root that is down, if it cuts `node` off.
    pub(crate) fn is_cut_off(&self, node: NodeId) -> Option<LinkId> {
        if self.faults.down.is_empty() {
            return None;
        }
        let mut node = node;
        while let Some(link) = self.spec.nodes[node.at()].upstream {
            if self.faults.down.contains(&link) {
                return Some(link);
            }
            node = self.spec.links[link.at()].to;
            if matches!(self.spec.nodes[node.at()].kind, NodeKind::Root(_) | NodeKind::Cpu(_)) {
                break;
            }
        }
        None
    }

    /// Gives one direction of a link another generation and width.
    fn run_at(&mut self, link: LinkId, generation: u8, lanes: u8) {
        let spec = &self.spec.links[link.at()];
        let Some((own_generation, own_lanes)) = spec.pcie else { return };
        let rate = |generation, lanes| tlp_rate(generation, lanes, spec.flits, self.faults.layer);
        let (own, new) = (rate(own_generation, own_lanes), rate(generation, lanes));
        // What was scaled for a "what if" run stays scaled.
        let rate = if spec.rate == own { new } else { in_proportion(new, spec.rate, own) };
        let wire = &mut self.state.links[link.at()].wire;
        wire.rate = rate;
        wire.flit_time = if wire.flit_time == 0 { 0 } else { flit_time(rate, spec.flit) };
        if spec.dllp_interval != 0 {
            wire.dllp_interval = dllp_interval(spec.dllp_payload, lanes);
        }
        self.state.links[link.at()].forget_times();
        self.faults.links[link.at()].generation = generation;
    }

    /// Decides anew where nodes may send on what has not arrived whole.
    pub(crate) fn refresh_cut_through(&mut self) {
        let links = &self.state.links;
        for at in 0..self.routes.hops.len().saturating_sub(1) {
            let (this, next) = (self.routes.hops[at], self.routes.hops[at + 1]);
            if this.ends.is_none() {
                let rate = |link: LinkId| links[link.at()].wire.rate;
                let stores = self.spec.nodes[self.spec.links[this.link.at()].to.at()].store_and_forward;
                self.routes.hops[at].cut_through = !stores && rate(next.link) <= rate(this.link);
            }
        }
    }

    fn leak(&mut self, link: LinkId, class: Class, credits: [u32; 2]) {
        let granted = self.spec.links[link.at()].credits[class.at()];
        let state = &mut self.state.links[link.at()];
        let free = [&mut state.header[class.at()], &mut state.data[class.at()]];
        let limits = [granted.header, granted.data].map(u32::from);
        for (kind, free) in free.into_iter().enumerate() {
            // An infinite buffer has no credits to lose.
            let wanted = if limits[kind] == 0 { 0 } else { credits[kind] };
            let now = wanted.min(*free);
            *free -= now;
            self.ledger.faults[link.at()].leaked[class.at()][kind] += now;
            self.faults.links[link.at()].leaking[class.at()][kind] += wanted - now;
            if wanted > now {
                state.wire.trouble |= LEAKING;
            }
        }
    }

    /// What is left of credits that come back on a link that leaks.
    #[cold]
    pub(crate) fn leak_returning(
        &mut self,
        link: LinkId,
        class: Class,
        header: u32,
        data: u32,
    ) -> (u32, u32) {
        let leaking = &mut self.faults.links[link.at()].leaking[class.at()];
        let leaked = &mut self.ledger.faults[link.at()].leaked[class.at()];
        let mut left = [header, data];
        for kind in 0..2 {
            let gone = leaking[kind].min(left[kind]);
            leaking[kind] -= gone;
            left[kind] -= gone;
            leaked[kind] += gone;
        }
        (left[0], left[1])
    }
}

/// `rate` as much faster as `scaled` is than `own`.
fn in_proportion(rate: Rate, scaled: Rate, own: Rate) -> Rate {
    let by_bytes = rate.scaled(scaled.bytes(), own.bytes());
    by_bytes.and_then(|rate| rate.scaled(own.picos(), scaled.picos())).unwrap_or(rate)
}
