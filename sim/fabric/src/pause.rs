//! What holds a request up between two links inside a CPU package: its translation, or the limits for what is forwarded
//! between ports. Which of them a hop has is decided with the route; a hop without any costs one comparison.

use peerbus_machine::registers::{DomainNumber, IommuTables, Translation};
use peerbus_units::{Address, Iova};

use crate::cause::Cause;
use crate::iotlb::Found;
use crate::ntb::WindowNumber;
use crate::run::Fabric;
use crate::spec::{LinkId, NodeId, NodeKind, Spec};
use crate::tlp::{Attributes, Class, Tlp};

/// What a request is held up by before it may wait for a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Pause {
    /// Nothing.
    Nothing,
    /// The IOMMU of the root complex translates it in that domain.
    Translation(DomainNumber),
    /// It goes from one port of a root complex to another.
    Peer,
    /// It goes to a device of another CPU, by this hop's link.
    Crossing,
    /// It goes through that window of a non-transparent bridge, and has another address behind it. That takes no time of
    /// its own.
    Window(WindowNumber),
}

/// Marks the links between CPUs that requests to a device take, where those are slower there than requests to memory.
pub(crate) fn mark_crossings(spec: &Spec, links: &mut [(LinkId, Pause)]) {
    // The first hop is its requester's own: a core is no device.
    for (link, pause) in links.iter_mut().skip(1) {
        let crosses = spec.links[link.at()].peer_rate.is_some();
        if crosses && *pause == Pause::Nothing {
            *pause = Pause::Crossing;
        }
    }
}

impl Spec {
    /// What holds a request up that came to `node` by `came_by`, is translated in `domain` there, and goes on by `next`.
    pub(crate) fn pause(
        &self,
        node: NodeId,
        came_by: Option<LinkId>,
        next: LinkId,
        domain: Option<DomainNumber>,
    ) -> Pause {
        let this = &self.nodes[node.at()];
        let from_below = came_by.is_some_and(|link| this.ports.iter().any(|port| port.up == link));
        let to = self.nodes[self.links[next.at()].to.at()].kind;
        match (this.kind, to, domain) {
            (NodeKind::Root(_), _, Some(domain)) if from_below && this.iommu.is_some() => {
                Pause::Translation(domain)
            }
            (NodeKind::Cpu(_), NodeKind::Root(_), _)
                if came_by.is_some() && this.peer_limits.is_some() && !self.links[next.at()].memory =>
            {
                Pause::Peer
            }
            _ => Pause::Nothing,
        }
    }
}

/// log2 of the size of the page that holds `iova`, and its CPU address minus `iova`: the largest size that the tables
/// allow, that lies in what was mapped in one piece, and that both addresses are aligned to, as kernels choose it. An
/// address that leads nowhere was refused when its request was decoded; tables may have changed since.
pub(crate) fn leaf(tables: &IommuTables, domain: DomainNumber, iova: u64) -> (u32, u64) {
    let Translation::Mapped { run, to } = tables.translate(domain, Iova(iova)) else { return (12, 0) };
    let moved = to.raw().wrapping_sub(run.first().raw());
    let fits = |shift: &u32| {
        let mask = (1u64 << shift) - 1;
        *shift <= tables.largest_page()
            && moved & mask == 0
            && iova & !mask >= run.first().raw()
            && iova | mask <= run.last().raw()
    };
    ([30, 21].into_iter().find(fits).unwrap_or(12), moved)
}

impl Fabric {
    /// From when on `tlp`, which came in by `link`, may wait for its next link; translates its address.
    pub(crate) fn pause(&mut self, pause: Pause, link: LinkId, tlp: &mut Tlp) -> u64 {
        let node = self.spec.links[link.at()].to;
        let (ready, cause) = match pause {
            Pause::Nothing => return self.state.now,
            Pause::Window(window) => {
                tlp.addr = self.behind_window(window, tlp.addr);
                return self.state.now;
            }
            Pause::Translation(domain) => {
                (self.translate_request(domain, node, link, tlp), Cause::Translation)
            }
            Pause::Peer => (self.admit_peer(node, tlp), Cause::RootComplex),
            Pause::Crossing => (self.admit_crossing(tlp), Cause::SocketLink),
        };
        self.charge(tlp.flow, cause, ready - self.state.now);
        ready
    }

    fn translate_request(&mut self, domain: DomainNumber, node: NodeId, link: LinkId, tlp: &mut Tlp) -> u64 {
        let Some(found) = self.look_up(domain, node, tlp.addr) else { return self.state.now };
        let relaxed = tlp.class == Class::Posted && tlp.attributes.has(Attributes::RELAXED);
        tlp.addr = tlp.addr.wrapping_add(found.moved);
        let input = self.spec.links[link.at()].input;
        let in_order = self.state.iotlbs[node.at()].as_mut().filter(|_| !relaxed);
        in_order.map_or(found.ready, |iotlb| iotlb.in_order(input, tlp.class, found.ready))
    }

    /// Looks up `addr` of `domain` in the IOMMU of `node`, if it has one that takes time.
    pub(crate) fn look_up(&mut self, domain: DomainNumber, node: NodeId, addr: u64) -> Option<Found> {
        let now = self.state.now;
        let iotlb = self.state.iotlbs[node.at()].as_mut()?;
        let found = iotlb.look_up(domain, addr, now, || leaf(&self.decode.iommu, domain, addr));
        let ledger = &mut self.ledger.iommus[node.at()];
        ledger.accesses += found.accesses;
        if found.accesses == 0 {
            ledger.hits += 1;
        } else {
            let access = self.spec.nodes[node.at()].iommu.map_or(0, |part| part.access_latency.0);
            ledger.misses += 1;
            ledger.busy += found.accesses * access;
        }
        Some(found)
    }

    /// Requests go on one after the other, at the pace of the part. Writes and reads do not wait for each other.
    fn admit_peer(&mut self, node: NodeId, tlp: &Tlp) -> u64 {
        let now = self.state.now;
        let Some(limits) = self.spec.nodes[node.at()].peer_limits else { return now };
        let (rate, way) = match tlp.class {
            Class::Posted => (limits.write_rate, 0),
            _ => (limits.read_rate, 1),
        };
        let Some(rate) = rate else { return now };
        let time = rate.time_for(u64::from(tlp.length)).0;
        let free = &mut self.state.peer_free_at[node.at()][way];
        let start = now.max(*free);
        *free = start + time;
        self.ledger.peers[node.at()][way] += time;
        start
    }

    /// Requests between devices of two packages go on one after the other, at the pace of the link in the direction of the
    /// data.
    fn admit_crossing(&mut self, tlp: &Tlp) -> u64 {
        let now = self.state.now;
        let link = self.routes.hops[tlp.hop as usize].link;
        let link = if tlp.class == Class::Posted { link } else { self.spec.links[link.at()].reverse };
        let Some(rate) = self.spec.links[link.at()].peer_rate else { return now };
        let time = rate.time_for(u64::from(tlp.length)).0;
        let free = &mut self.state.crossing_free_at[link.at()];
        let start = now.max(*free);
        *free = start + time;
        self.ledger.links[link.at()].port_busy += time;
        start
    }

    /// True when a request's address is not any more what its requester sent: its route has a translation, or a window, before hop `hop`.
    #[cfg(debug_assertions)]
    pub(crate) fn is_translated(&self, hop: u32) -> bool {
        let before = self.routes.hops[..hop as usize].iter().rev().take_while(|hop| hop.ends.is_none());
        before.into_iter().any(|hop| matches!(hop.pause, Pause::Translation(_) | Pause::Window(_)))
    }
}
