//! What holds a flow back, found by looking at the fabric at intervals.
//!
//! Between two looks every resource has a busy share. A resource that was busy all the time is *saturated*. A
//! flow is held back by the first saturated resource on its way from the engine to the last byte delivered: in
//! front of it everything waits, behind it nothing does. A further saturated resource on the way binds as well
//! (a tie) when no other flow moves more through it: making only the first one faster would not help.
//!
//! When nothing on the way is saturated:
//!
//! * a link that was always either sending or starved of credits waits for a full buffer; whatever keeps the TLPs
//!   in that buffer holds the flow back, and so on (head-of-line blocking). A buffer that is not full means that
//!   the credits themselves are too few for the length of the link, and of others on the way that allow no more;
//! * a reader without a free tag is held back by its tags;
//! * otherwise the flow does not offer more: its workload's window holds it back.
//!
//! In the last two cases round trips are waited for, and links slow enough to matter in a round trip bind too.

use peerbus_units::Rate;

use crate::path::Terminal;
use crate::pause::Pause;
use crate::run::Fabric;
use crate::spec::{EngineId, FlowId, LinkId, NodeId};
use crate::tlp::Class;

/// A capacity that can hold a flow back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Resource {
    /// Rate of a directed link.
    Link(LinkId),
    /// Rate of the port at an end of that link.
    Port(LinkId),
    /// Rate of a DMA engine.
    Engine(EngineId),
    /// Tags of a reader.
    Tags(EngineId),
    /// Rate of a memory.
    Memory(NodeId),
    /// Receive buffers behind a link.
    Credits(LinkId),
    /// Page walkers of the IOMMU of a node.
    Walkers(NodeId),
    /// Rate of writes between ports of a node.
    PeerWrites(NodeId),
    /// Rate of reads between ports of a node.
    PeerReads(NodeId),
    /// Transfers the workload keeps under way.
    Window(FlowId),
}

/// Busy shares of links over time, in equal intervals.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Length of an interval in picoseconds.
    pub interval: u64,
    /// Per interval, per link: time it was sending, in picoseconds.
    pub busy: Vec<Vec<u64>>,
    /// Per interval, per link: packets that waited in front of it at the interval's end. Of intervals that were merged,
    /// the most.
    pub queued: Vec<Vec<u32>>,
}

/// Time between looks: several round trips of any machine, and a small part of any transfer worth a report.
pub(crate) const LOOK_INTERVAL: u64 = 4_000_000;
/// Intervals of the series; when there are more, pairs are merged.
const MAX_INTERVALS: usize = 256;

/// Busy for this share of an interval, in thousandths, counts as all the time.
const SATURATED: u64 = 985;

/// TLPs in one queue from which on it counts as congested.
const CONGESTED: u32 = 4;

/// What was counted at the last look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looked {
    at: u64,
    links: Vec<u64>,
    ports: Vec<u64>,
    starved: Vec<[u64; 3]>,
    engines: Vec<u64>,
    memories: Vec<u64>,
    stops: Vec<[u64; 3]>,
}

/// Busy times since the last look.
struct Interval {
    length: u64,
    links: Vec<u64>,
    ports: Vec<u64>,
    starved: Vec<[u64; 3]>,
    engines: Vec<u64>,
    memories: Vec<u64>,
    /// Per node: walkers (the mean of all), writes and reads between ports.
    stops: Vec<[u64; 3]>,
}

/// Payload that moved between two looks.
struct Traffic {
    /// Per flow.
    moved: Vec<u64>,
    /// Per link, of the flow that moved most through it.
    largest: Vec<u64>,
    /// Per link, of all flows.
    carried: Vec<u64>,
}

impl Interval {
    fn full(&self, busy: u64) -> bool {
        busy * 1000 >= self.length * SATURATED
    }

    /// The resource of a link that was busy all the time: the link, or the port that set the pace.
    fn saturated_link(&self, link: LinkId) -> Option<Resource> {
        let port_paced = 2 * self.ports[link.at()] > self.links[link.at()];
        let resource = if port_paced { Resource::Port(link) } else { Resource::Link(link) };
        (self.full(self.links[link.at()]) || self.full(self.ports[link.at()])).then_some(resource)
    }
}

impl Fabric {
    /// Looks at every flow that had work since the last look. Besides the looks at regular intervals, the
    /// fabric's user calls this when the set of flows changes, so that no interval mixes two situations.
    pub fn look(&mut self) {
        let interval = self.take_interval();
        if interval.length == 0 {
            return;
        }
        let traffic = self.traffic();
        for flow in 0..self.ledger.flows.len() {
            let ledger = &self.ledger.flows[flow];
            if ledger.asked > ledger.delivered + ledger.refused || traffic.moved[flow] > 0 {
                self.ledger.flows[flow].watched += interval.length;
                for resource in self.limits_of(flow, &interval, &traffic) {
                    *self.ledger.flows[flow].limited.entry(resource).or_default() += interval.length;
                }
            }
            self.ledger.flows[flow].seen = self.ledger.flows[flow].delivered;
        }
        for (sum, busy) in self.series_part.iter_mut().zip(&interval.links) {
            *sum += busy;
        }
    }

    fn take_interval(&mut self) -> Interval {
        let now = self.state.now;
        // A wire is busy with the packets of all of its channels.
        let link_busy = |link: usize| {
            let sharing = self.spec.links[link].sharing;
            let other = sharing.map_or(0, |sharing| self.ledger.links[sharing.partner.at()].busy);
            self.ledger.links[link].busy + other - self.state.links[link].free_at.saturating_sub(now)
        };
        // Time already charged but still to come is not part of the past.
        let ahead = |until: u64| until.saturating_sub(now);
        let new = Looked {
            at: now,
            links: (0..self.spec.links.len()).map(link_busy).collect(),
            ports: (0..self.spec.links.len())
                .map(|link| self.ledger.links[link].port_busy - ahead(self.state.crossing_free_at[link]))
                .collect(),
            starved: (0..self.spec.links.len())
                .map(|link| Class::ALL.map(|class| self.state.links[link].starvation.until(class, now)))
                .collect(),
            engines: (0..self.spec.engines.len())
                .map(|engine| self.ledger.engines[engine].busy - ahead(self.state.engines[engine].next_issue))
                .collect(),
            memories: (0..self.spec.nodes.len())
                .map(|node| self.ledger.memories[node].busy - ahead(self.state.memory_free_at[node]))
                .collect(),
            stops: (0..self.spec.nodes.len()).map(|node| self.stops_busy(node)).collect(),
        };
        let old = std::mem::replace(&mut self.looked, new.clone());
        let minus = |new: Vec<u64>, old: &[u64]| -> Vec<u64> {
            new.iter()
                .enumerate()
                .map(|(i, busy)| busy.saturating_sub(old.get(i).copied().unwrap_or(0)))
                .collect()
        };
        let starved = new.starved.iter().enumerate().map(|(i, starved)| {
            let old = old.starved.get(i).copied().unwrap_or_default();
            [0, 1, 2].map(|class: usize| starved[class].saturating_sub(old[class]))
        });
        let stops = new.stops.iter().enumerate().map(|(i, stops)| {
            let old = old.stops.get(i).copied().unwrap_or_default();
            [0, 1, 2].map(|stop: usize| stops[stop].saturating_sub(old[stop]))
        });
        Interval {
            length: now - old.at,
            starved: starved.collect(),
            stops: stops.collect(),
            links: minus(new.links, &old.links),
            ports: minus(new.ports, &old.ports),
            engines: minus(new.engines, &old.engines),
            memories: minus(new.memories, &old.memories),
        }
    }

    /// Time that the stops of `node` were busy until now: see [`Interval::stops`].
    fn stops_busy(&self, node: usize) -> [u64; 3] {
        let now = self.state.now;
        let walkers = match (&self.state.iotlbs[node], self.spec.nodes[node].iommu) {
            (Some(iotlb), Some(part)) => {
                (self.ledger.iommus[node].busy - iotlb.ahead(now)) / u64::from(part.walkers.max(1))
            }
            _ => 0,
        };
        let [writes, reads] = self.ledger.peers[node];
        let [writes_until, reads_until] = self.state.peer_free_at[node];
        [
            walkers,
            writes.saturating_sub(writes_until.saturating_sub(now)),
            reads.saturating_sub(reads_until.saturating_sub(now)),
        ]
    }

    /// What holds requests of `class` up at `node`, if it was busy all the time.
    fn saturated_stop(node: NodeId, class: Class, interval: &Interval) -> Option<Resource> {
        let [walkers, writes, reads] = interval.stops[node.at()];
        match class {
            _ if interval.full(walkers) => Some(Resource::Walkers(node)),
            Class::Posted if interval.full(writes) => Some(Resource::PeerWrites(node)),
            Class::NonPosted if interval.full(reads) => Some(Resource::PeerReads(node)),
            _ => None,
        }
    }

    /// Saturated stops on the way of a route's requests.
    fn saturated_stops<'a>(
        &'a self,
        route: u32,
        interval: &'a Interval,
    ) -> impl Iterator<Item = Resource> + 'a {
        let route = &self.routes.routes[route as usize];
        let hops = &self.routes.hops[route.first as usize..(route.first + route.hops) as usize];
        hops.iter().filter_map(|hop| {
            let node = self.spec.links[hop.link.at()].from;
            let [walkers, writes, reads] = interval.stops[node.at()];
            match hop.pause {
                Pause::Translation(_) if interval.full(walkers) => Some(Resource::Walkers(node)),
                Pause::Peer if interval.full(writes) => Some(Resource::PeerWrites(node)),
                Pause::Peer if interval.full(reads) => Some(Resource::PeerReads(node)),
                _ => None,
            }
        })
    }

    /// What flows moved since the last look, by flow and by link.
    fn traffic(&self) -> Traffic {
        let links = self.spec.links.len();
        let moved: Vec<u64> = self.ledger.flows.iter().map(|flow| flow.delivered - flow.seen).collect();
        let mut traffic = Traffic { moved, largest: vec![0; links], carried: vec![0; links] };
        for (flow, bytes) in traffic.moved.iter().enumerate() {
            let route = self.data_route(flow).filter(|_| *bytes > 0);
            for link in route.into_iter().flat_map(|route| self.routes.links(route)) {
                traffic.largest[link.at()] = traffic.largest[link.at()].max(*bytes);
                traffic.carried[link.at()] += bytes;
            }
        }
        traffic
    }

    fn data_route(&self, flow: usize) -> Option<u32> {
        let ledger = &self.ledger.flows[flow];
        let (route, engine) = (ledger.route?, ledger.engine?);
        if self.is_writer(engine) { Some(route) } else { self.routes.routes[route as usize].completion }
    }

    fn limits_of(&self, flow: usize, interval: &Interval, traffic: &Traffic) -> Vec<Resource> {
        let ledger = &self.ledger.flows[flow];
        let (Some(engine), Some(route)) = (ledger.engine, ledger.route) else {
            return vec![Resource::Window(flow_id(flow))];
        };
        // Not alone in a link: others that move clearly more would take what it gains.
        let binds = |link: &LinkId| 10 * traffic.moved[flow] >= 9 * traffic.largest[link.at()];
        let on_the_way = self.saturated_on_the_way(engine, route, interval);
        let mut limits = Vec::new();
        for (link, resource) in on_the_way {
            if limits.is_empty() || link.as_ref().is_none_or(binds) {
                limits.push(resource);
            }
        }
        if limits.is_empty() {
            return self.hidden_limits(flow, engine, route, interval, traffic);
        }
        limits
    }

    /// Saturated resources from the engine to the last byte delivered, in order.
    fn saturated_on_the_way(
        &self,
        engine: EngineId,
        route: u32,
        interval: &Interval,
    ) -> Vec<(Option<LinkId>, Resource)> {
        let mut found = Vec::new();
        if interval.full(interval.engines[engine.at()]) {
            found.push((None, Resource::Engine(engine)));
        }
        let add_links = |route: u32, found: &mut Vec<_>| {
            for link in self.routes.links(route) {
                found.extend(interval.saturated_link(link).map(|resource| (Some(link), resource)));
            }
        };
        let end = &self.routes.routes[route as usize];
        let writer = self.is_writer(engine);
        if writer {
            add_links(route, &mut found);
        }
        found.extend(self.saturated_stops(route, interval).map(|resource| (None, resource)));
        if let Terminal::Memory(node) | Terminal::Aperture(node) | Terminal::HostManaged(node) = end.terminal
            && interval.full(interval.memories[node.at()])
        {
            found.push((None, Resource::Memory(node)));
        }
        if let (false, Some(back)) = (writer, end.completion) {
            add_links(back, &mut found);
        }
        // Read requests are small and have their turn even on a link that others fill: that link matters only
        // when nothing else does.
        if !writer && found.is_empty() {
            add_links(route, &mut found);
        }
        found
    }

    /// Limits of a flow with nothing saturated on its way.
    fn hidden_limits(
        &self,
        flow: usize,
        engine: EngineId,
        route: u32,
        interval: &Interval,
        traffic: &Traffic,
    ) -> Vec<Resource> {
        let ways = self.ways(engine, route);
        let starved = |(class, link): &&(Class, LinkId)| {
            let starved = interval.starved[link.at()][class.at()];
            50 * starved > interval.length
                && 20 * (starved + interval.links[link.at()]) >= 19 * interval.length
        };
        if let Some((class, link)) = ways.iter().find(starved) {
            return match self.keeper_of(*link, *class, interval) {
                Resource::Credits(link) => self.short_of_credits(link, &ways, interval, traffic),
                other => vec![other],
            };
        }
        if let Some(questions) = self.waits_for_translation(engine) {
            return vec![Resource::Tags(questions)];
        }
        let state = &self.state.engines[engine.at()];
        let waits_for_tags = !self.is_writer(engine) && !state.has_free_tag();
        let mut limits =
            vec![if waits_for_tags { Resource::Tags(engine) } else { Resource::Window(flow_id(flow)) }];
        limits.extend(self.congested(&ways, interval));
        let round = self.ledger.flows[flow].latency_percentile(50.0);
        limits.extend(self.slow_links(round, &ways));
        limits.extend(self.slow_stops(round, engine, route));
        limits
    }

    /// What keeps the fullest queue on a flow's way full, when it holds more than a few TLPs: round trips are long
    /// because of it.
    fn congested(&self, ways: &[(Class, LinkId)], interval: &Interval) -> Option<Resource> {
        let waiting = |pair: &&[(Class, LinkId)]| {
            let joined = self.spec.links[pair[0].1.at()].to == self.spec.links[pair[1].1.at()].from;
            let queue = joined.then(|| self.state.queues[self.spec.queue(pair[0].1, pair[1].1) as usize]);
            queue.map_or(0, |lists| lists.iter().map(|list| self.state.arena.count(*list)).sum::<u32>())
        };
        let fullest = ways.windows(2).max_by_key(waiting).filter(|pair| waiting(pair) >= CONGESTED)?;
        match self.keeper_of(fullest[0].1, Class::Posted, interval) {
            Resource::Credits(_) => None,
            keeper => Some(keeper),
        }
    }

    /// Links of a flow's way with the class that crosses them: requests out, completions back.
    fn ways(&self, engine: EngineId, route: u32) -> Vec<(Class, LinkId)> {
        let writer = self.is_writer(engine);
        let class = if writer { Class::Posted } else { Class::NonPosted };
        let mut ways: Vec<(Class, LinkId)> = self.routes.links(route).map(|link| (class, link)).collect();
        if let (false, Some(back)) = (writer, self.routes.routes[route as usize].completion) {
            ways.extend(self.routes.links(back).map(|link| (Class::Completion, link)));
        }
        ways
    }

    /// Links whose credits allow no more than a tenth above what they carry now, `link` among them.
    fn short_of_credits(
        &self,
        link: LinkId,
        ways: &[(Class, LinkId)],
        interval: &Interval,
        traffic: &Traffic,
    ) -> Vec<Resource> {
        let mut short = vec![Resource::Credits(link)];
        short.extend(self.slow_links(self.credit_round(link, ways), ways));
        for (position, (class, other)) in ways.iter().enumerate() {
            let next = ways.get(position + 1).map(|(_, next)| *next);
            let carried = traffic.carried[other.at()];
            let allowed = self.bytes_by_credits(*other, *class, next, interval.length);
            if *other != link && allowed.is_some_and(|allowed| 10 * allowed <= 11 * carried) {
                short.push(Resource::Credits(*other));
            }
        }
        short
    }

    /// Payload that the credits of `link` let through in `time`: its buffer's TLPs once per round trip of a credit.
    /// `None` for an infinite buffer.
    fn bytes_by_credits(&self, link: LinkId, class: Class, next: Option<LinkId>, time: u64) -> Option<u64> {
        let spec = &self.spec.links[link.at()];
        let granted = spec.credits[class.at()];
        if granted.header == 0 {
            return None;
        }
        let payload = self.payload_of(class);
        let by_data =
            if granted.data == 0 { u64::MAX } else { u64::from(granted.data) / payload.div_ceil(16).max(1) };
        let round = self.round_of_credit(link, class, next);
        Some(u64::from(granted.header).min(by_data) * payload * time / round.max(1))
    }

    /// From sending a TLP to having its credits back, when nothing else is in the way.
    fn round_of_credit(&self, link: LinkId, class: Class, next: Option<LinkId>) -> u64 {
        let spec = &self.spec.links[link.at()];
        let bytes = self.payload_of(class) + 24;
        let sending = |link: LinkId| self.state.links[link.at()].wire.rate.time_for(bytes).0;
        sending(link) + spec.propagation.0 + spec.latency.0 + spec.credit_latency.0 + next.map_or(0, sending)
    }

    fn credit_round(&self, link: LinkId, ways: &[(Class, LinkId)]) -> u64 {
        let position = ways.iter().position(|(_, other)| *other == link);
        let next = position.and_then(|position| ways.get(position + 1)).map(|(_, next)| *next);
        self.round_of_credit(link, position.map_or(Class::Posted, |position| ways[position].0), next)
    }

    /// Payload per TLP that is assumed where only the order of magnitude matters.
    fn payload_of(&self, class: Class) -> u64 {
        let engines = self.spec.engines.iter();
        match class {
            Class::NonPosted => engines.map(|engine| engine.max_read_request).max(),
            Class::Posted | Class::Completion => engines.map(|engine| engine.max_payload).max(),
        }
        .unwrap_or(256)
    }

    /// For a flow that waits for round trips: what spends a good part of a round trip sending, links and the rates of their
    /// ports. Only when all of them together matter (4 %), those that matter by themselves (1 %).
    fn slow_links(&self, round: u64, ways: &[(Class, LinkId)]) -> Vec<Resource> {
        let parts: Vec<(u64, Resource)> = ways.iter().map(|way| self.sending_part(*way)).collect();
        let total: u64 = parts.iter().map(|(time, _)| time).sum();
        if 100 * total < 4 * round {
            return Vec::new();
        }
        parts.into_iter().filter(|(time, _)| 100 * time >= round).map(|(_, resource)| resource).collect()
    }

    /// Time that a request, or what answers it, takes on a link, and whether link or port decides. In flit mode nothing is
    /// faster than a flit.
    fn sending_part(&self, (class, link): (Class, LinkId)) -> (u64, Resource) {
        let (bytes, payload) = match class {
            Class::Posted => (self.payload_of(Class::Posted) + 24, self.payload_of(Class::Posted)),
            Class::NonPosted => (24, 0),
            Class::Completion => {
                let asked = self.payload_of(Class::NonPosted);
                (asked * 276 / 256, asked)
            }
        };
        let wire = &self.state.links[link.at()].wire;
        let by_link = wire.rate.time_for(bytes).0.max(wire.flit_time);
        let by_port = self.spec.links[link.at()].port_rate.map_or(0, |rate| rate.time_for(payload).0);
        if by_port > by_link { (by_port, Resource::Port(link)) } else { (by_link, Resource::Link(link)) }
    }

    /// For a flow that waits for round trips: memory and stops between ports whose rates take a good part (1 %) of one.
    fn slow_stops(&self, round: u64, engine: EngineId, route: u32) -> Vec<Resource> {
        let writer = self.is_writer(engine);
        let bytes = self.payload_of(if writer { Class::Posted } else { Class::NonPosted });
        let route = &self.routes.routes[route as usize];
        let hops = &self.routes.hops[route.first as usize..(route.first + route.hops) as usize];
        let mut slow = Vec::new();
        let mut add = |rate: Option<Rate>, resource: Resource| {
            let matters = |rate: &Rate| 100 * rate.time_for(bytes).0 >= round;
            slow.extend(rate.filter(matters).map(|_| resource));
        };
        for hop in hops.iter().filter(|hop| hop.pause == Pause::Peer) {
            let node = self.spec.links[hop.link.at()].from;
            let limits = self.spec.nodes[node.at()].peer_limits;
            match writer {
                true => add(limits.and_then(|limits| limits.write_rate), Resource::PeerWrites(node)),
                false => add(limits.and_then(|limits| limits.read_rate), Resource::PeerReads(node)),
            }
        }
        if let Terminal::Memory(node) | Terminal::HostManaged(node) = route.terminal {
            add(self.spec.nodes[node.at()].memory.map(|memory| memory.rate), Resource::Memory(node));
        }
        slow
    }

    /// What keeps the buffer behind `link` full: a saturated output or memory there, or one behind it.
    fn keeper_of(&self, link: LinkId, class: Class, interval: &Interval) -> Resource {
        let (mut link, mut class) = (link, class);
        for _ in 0..self.spec.links.len() {
            let node = self.spec.links[link.at()].to;
            if interval.full(interval.memories[node.at()]) {
                return Resource::Memory(node);
            }
            if let Some(stop) = Self::saturated_stop(node, class, interval) {
                return stop;
            }
            let waiting = |output: &LinkId| {
                let lists = self.state.queues[self.spec.queue(link, *output) as usize];
                self.state.arena.count(lists[class.at()])
            };
            let outputs = &self.spec.nodes[node.at()].outputs;
            let fullest =
                outputs.iter().copied().max_by_key(|output| (waiting(output), std::cmp::Reverse(*output)));
            let Some(output) = fullest.filter(|output| waiting(output) > 0) else {
                return Resource::Credits(link);
            };
            if let Some(resource) = interval.saturated_link(output) {
                return resource;
            }
            // The same class is starved further on; the walk follows it.
            class = Class::ALL
                .into_iter()
                .max_by_key(|class| interval.starved[output.at()][class.at()])
                .unwrap_or(class);
            link = output;
        }
        Resource::Credits(link)
    }

    /// Packets that wait in front of `link`, whole requests that completions are cut from counted once.
    fn queued(&self, link: LinkId) -> u32 {
        let (state, (base, stride)) = (&self.state.links[link.at()], self.queue_base[link.at()]);
        let inputs = self.spec.nodes[self.spec.links[link.at()].from.at()].inputs.len();
        let inputs = (0..u32::try_from(inputs).unwrap_or(0))
            .filter(|input| state.waiting.iter().any(|waiting| waiting & 1 << input != 0));
        let lists = inputs.flat_map(|input| self.state.queues[(base + input * stride) as usize]);
        let queued: u32 = lists.map(|list| self.state.arena.count(list)).sum();
        queued + u32::try_from(state.jobs.len()).unwrap_or(u32::MAX)
    }

    /// A regular look is over: ends an interval of the series when enough of them have passed.
    pub(crate) fn extend_series(&mut self) {
        if self.state.now < self.series_end {
            return;
        }
        let queued = (0..self.spec.links.len()).map(|link| self.queued(LinkId::from_index(link))).collect();
        let series = &mut self.ledger.series;
        series.queued.push(queued);
        let links = self.series_part.len();
        series.busy.push(std::mem::replace(&mut self.series_part, vec![0; links]));
        if series.busy.len() >= MAX_INTERVALS {
            let merge = |pair: &[Vec<u64>]| -> Vec<u64> {
                let add = |link: usize| pair.iter().map(|busy| busy[link]).sum();
                (0..links).map(add).collect()
            };
            series.busy = series.busy.chunks(2).map(merge).collect();
            let most = |pair: &[Vec<u32>]| -> Vec<u32> {
                let most = |link: usize| pair.iter().map(|queued| queued[link]).max().unwrap_or(0);
                (0..links).map(most).collect()
            };
            series.queued = series.queued.chunks(2).map(most).collect();
            series.interval *= 2;
        }
        self.series_end = self.state.now + series.interval;
    }
}

fn flow_id(flow: usize) -> FlowId {
    FlowId(u16::try_from(flow).unwrap_or(u16::MAX))
}
