//! Routes: the links a request takes, decoded once, and the way back of its completions.
//!
//! Routes are interned: all hops stand in one table, a TLP carries the number of its current hop, and the last
//! hop names the route's end. A route is valid for an interval of the requester's addresses; requests outside of
//! it are decoded anew.

use std::collections::BTreeMap;

use peerbus_machine::model::{FunctionIndex, Machine};

use crate::cursor::{AddressKind, Cursor};
use crate::decode::{Decode, Miss, MissKind};
use crate::member::MemberWay;
use crate::pause::Pause;
use crate::requester::Direction;
use crate::spec::{EngineId, EngineSpec, LinkId, LinkSpec, NodeId, NodeKind, Spec};
use crate::tlp::Attributes;
use crate::walk::{End, MAX_HOPS, Walk, walk};

/// One hop of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The link.
    pub link: LinkId,
    /// The queue a TLP waits in before it: from the previous hop's link to this one. Unused for the first hop.
    pub queue: u32,
    /// What holds a TLP up before it waits there.
    pub pause: Pause,
    /// The node behind this link may send a TLP on before it has all of it: the next link is not faster.
    pub cut_through: bool,
    /// For the last hop: number of the route it ends.
    pub ends: Option<u32>,
}

/// Where a route ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Terminal {
    /// At the memory of a node.
    Memory(NodeId),
    /// At the memory of a device that looked up which page its BAR shows there.
    Aperture(NodeId),
    /// At the memory of a device, by a private link: not through its BAR.
    Private(NodeId),
    /// At the memory of a device that a CPU uses as its own, by CXL.mem.
    HostManaged(NodeId),
    /// At the IOMMU of a root complex, which is asked for a translation.
    Translator(NodeId),
    /// At a node where nobody claims it; number of the [`Miss`].
    Refused(NodeId, u32),
    /// Back at the engine that asked.
    Requester(EngineId),
}

/// A route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Number of the first hop.
    pub first: u32,
    /// Number of hops.
    pub hops: u32,
    /// Its end.
    pub terminal: Terminal,
    /// Route of the completions, for a request.
    pub completion: Option<u32>,
    /// Payload limit of the completer, for a completion route.
    pub max_payload: u64,
}

/// Hops, end and way back: what tells routes apart.
type Key = (Vec<(LinkId, Pause)>, Terminal, Option<u32>);

/// All routes of a run.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// All hops.
    pub hops: Vec<Hop>,
    /// All routes.
    pub routes: Vec<Route>,
    /// What was missed, for routes that end nowhere.
    pub misses: Vec<Miss>,
    known: BTreeMap<Key, u32>,
}

/// A decoded request: its route and the addresses that share it.
#[derive(Clone, Copy, Debug)]
pub struct Decoded {
    /// Number of the route.
    pub route: u32,
    /// First address that takes it.
    pub first: u64,
    /// Last address that takes it.
    pub last: u64,
    /// What a device that has translated them adds to addresses.
    pub moved: u64,
    /// Attributes of its requests beside those of their descriptor.
    pub attributes: Attributes,
}

impl Decoded {
    /// A route for all addresses, sent as they are.
    fn of(route: u32) -> Decoded {
        Decoded { route, first: 0, last: u64::MAX, moved: 0, attributes: Attributes::NONE }
    }
}

impl Routes {
    /// Decodes a request of `engine` for `addr`.
    pub(crate) fn decode(
        &mut self,
        machine: &Machine,
        spec: &Spec,
        decode: &Decode,
        max_payload: &dyn Fn(NodeId, &[LinkId]) -> u64,
        engine: EngineId,
        (addr, kind): (u64, AddressKind),
    ) -> Decoded {
        let requester = &spec.engines[engine.at()];
        if let Some(link) = requester.link.filter(|link| spec.links[link.at()].private) {
            return self.decode_private(spec, decode, engine, link, addr);
        }
        let mut cursor = Cursor::new(requester.requester, addr, kind);
        let Walk { links, node, end } = walk(spec, decode, requester.node, &mut cursor);
        let terminal = match end {
            End::Memory => Terminal::Memory(node),
            End::HostManaged => Terminal::HostManaged(node),
            End::Aperture => Terminal::Aperture(node),
            End::Translator => Terminal::Translator(node),
            End::Refused(miss) => self.refused(miss),
        };
        let (first, last) = cursor.valid();
        // Nobody answers a write.
        let completion = match requester.direction {
            Direction::Read => {
                let by = way_back(spec, links.iter().map(|(link, _)| *link));
                self.completion(machine, spec, decode, max_payload, engine, (node, &by))
            }
            Direction::Write => None,
        };
        let class = requester.traffic_class;
        let links = links.into_iter().map(|(link, pause)| (spec.channel(link, class), pause)).collect();
        let route = self.intern(spec, links, terminal, completion, 0);
        Decoded { first, last, ..Decoded::of(route) }
    }

    /// Decodes a request on a private link: to its other end, through the switch there, or by a CPU to memory of another one.
    fn decode_private(
        &mut self,
        spec: &Spec,
        decode: &Decode,
        engine: EngineId,
        link: LinkId,
        addr: u64,
    ) -> Decoded {
        let MemberWay { links, end, first, last } = decode.member_way(spec, link, addr);
        let terminal = end.unwrap_or_else(|node| {
            let text = "no member of the private interconnect has this address".to_owned();
            self.refused(Miss { kind: MissKind::Unclaimed, node, addr, text })
        });
        let spec_of = &spec.engines[engine.at()];
        let completion = (spec_of.direction == Direction::Read).then(|| {
            let back =
                links.iter().rev().map(|link| (spec.links[link.at()].reverse, Pause::Nothing)).collect();
            self.intern(spec, back, Terminal::Requester(engine), None, spec_of.max_payload)
        });
        let links = links.into_iter().map(|link| (link, Pause::Nothing)).collect();
        let route = self.intern(spec, links, terminal, completion, 0);
        Decoded { first, last, ..Decoded::of(route) }
    }

    /// The way of completions back to `engine` from `completer`, for a request that came by the links `by`, in that order, of
    /// CXL.mem and through non-transparent bridges; `None` when the requester cannot be reached. Answers of CXL.mem go back
    /// the way the request came, as far as that was CXL.mem. A completion goes back to the side of a bridge whose id its
    /// request had, and on from the other side for the requester in its table.
    pub fn completion(
        &mut self,
        machine: &Machine,
        spec: &Spec,
        decode: &Decode,
        max_payload: &dyn Fn(NodeId, &[LinkId]) -> u64,
        engine: EngineId,
        (completer, by): (NodeId, &[LinkId]),
    ) -> Option<u32> {
        let EngineSpec { requester, node: home, traffic_class, .. } = spec.engines[engine.at()];
        let (mut node, mut links) = (completer, Vec::new());
        for link in by.iter().rev() {
            let LinkSpec { to, reverse, memory, .. } = spec.links[link.at()];
            if !memory {
                let NodeKind::Device(side) = spec.nodes[to.at()].kind else { return None };
                let side = machine.devices[side].functions[0];
                follow_completion(machine, spec, decode, (Some(side), to), (node, &mut links))?;
            }
            links.push(reverse);
            node = spec.links[reverse.at()].to;
        }
        follow_completion(machine, spec, decode, (requester, home), (node, &mut links))?;
        let limit = max_payload(completer, &links);
        let links =
            links.into_iter().map(|link| (spec.channel(link, traffic_class), Pause::Nothing)).collect();
        Some(self.intern(spec, links, Terminal::Requester(engine), None, limit))
    }

    fn refused(&mut self, miss: Miss) -> Terminal {
        let node = miss.node;
        // One entry per place and reason; the address that was first seen stands for all.
        let same = |known: &Miss| known.node == node && known.text == miss.text;
        let index = self.misses.iter().position(same).unwrap_or_else(|| {
            self.misses.push(miss.clone());
            self.misses.len() - 1
        });
        Terminal::Refused(node, u32::try_from(index).unwrap_or(u32::MAX))
    }

    fn intern(
        &mut self,
        spec: &Spec,
        links: Vec<(LinkId, Pause)>,
        terminal: Terminal,
        completion: Option<u32>,
        max_payload: u64,
    ) -> u32 {
        let key = (links, terminal, completion);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let index = |length: usize| u32::try_from(length).expect("fewer than 2^32 hops");
        let (route, first) = (index(self.routes.len()), index(self.hops.len()));
        let links = &key.0;
        for (position, (link, pause)) in links.iter().enumerate() {
            let before = position.checked_sub(1).map(|before| links[before].0);
            self.hops.push(Hop {
                link: *link,
                queue: before.map_or(0, |before| spec.queue(before, *link)),
                pause: *pause,
                cut_through: !spec.nodes[spec.links[link.at()].to.at()].store_and_forward
                    && links
                        .get(position + 1)
                        .is_some_and(|(next, _)| spec.links[next.at()].rate <= spec.links[link.at()].rate),
                ends: (position + 1 == links.len()).then_some(route),
            });
        }
        self.routes.push(Route { first, hops: index(links.len()), terminal, completion, max_payload });
        self.known.insert(key, route);
        route
    }

    /// The links of a route.
    pub fn links(&self, route: u32) -> impl Iterator<Item = LinkId> + '_ {
        let route = &self.routes[route as usize];
        let first = route.first as usize;
        self.hops[first..first + route.hops as usize].iter().map(|hop| hop.link)
    }
}

/// Those of `links` that decide the way back: of CXL.mem, and through non-transparent bridges.
pub(crate) fn way_back(spec: &Spec, links: impl Iterator<Item = LinkId>) -> Vec<LinkId> {
    let decides = |link: &LinkSpec| link.bridge || link.memory;
    links.filter(|link| decides(&spec.links[link.at()])).collect()
}

/// Adds to `links` the way of a completion from `from` to `to`, the node of `requester`, or of a core's CPU.
fn follow_completion(
    machine: &Machine,
    spec: &Spec,
    decode: &Decode,
    (requester, to): (Option<FunctionIndex>, NodeId),
    (from, links): (NodeId, &mut Vec<LinkId>),
) -> Option<()> {
    let (mut node, mut came_by) = (from, links.last().copied().filter(|link| spec.links[link.at()].memory));
    while node != to || links.is_empty() {
        let link = match requester {
            Some(function) => {
                let bridge = machine.functions[function].host_bridge;
                decode.completion_step(spec, node, came_by, function, bridge)?
            }
            None => decode.completion_step_to_cpu(spec, node, to)?,
        };
        if links.len() == MAX_HOPS {
            return None;
        }
        links.push(link);
        node = spec.links[link.at()].to;
        came_by = Some(link);
    }
    Some(())
}
