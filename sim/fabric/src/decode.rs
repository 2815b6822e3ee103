//! Who claims an address: routing by windows, BARs and bus numbers as software programmed them.
//!
//! The tables are copies of what [`Registers`] says, rebuilt when it changes. One function, [`Decode::step`],
//! decides the next link of a request at a node; following it gives a route, and a debug assertion compares
//! every hop of every TLP with it. Rules (PCI-to-PCI Bridge Architecture, PCI Express Base Specification):
//!
//! * A switch sends a request from below to the downstream port whose window holds the address, or upstream when
//!   its upstream port's windows do not hold it. With P2P Request Redirect in the ACS control word of the port it
//!   came in by, always upstream. An address in the window of the port it came in by is sent upstream with
//!   Upstream Forwarding, and is an Unsupported Request without.
//! * With Direct Translated P2P in that word, requests with translated addresses are not redirected; with Translation
//!   Blocking neither they nor translation requests pass.
//! * A root complex translates what comes from a requester with an IOMMU domain (see `iommu`). Of other requests it
//!   looks first at the windows below the same host bridge, in bus addresses; everything else is taken for a CPU address: memory, or a window of another host bridge, where it becomes a bus address again.
//! * Memory of devices that a CPU uses by CXL.mem is reached from that CPU, by links of CXL.mem alone.
//! * A device claims what its BARs hold; what is behind them may be looked up (see `aperture`), or lead to another
//!   hierarchy (see `ntb`). What nobody claims is an Unsupported Request.
//! * A completion goes by the requester's bus number; P2P Completion Redirect sends it upstream.

use std::collections::VecDeque;

use peerbus_machine::Registers;
use peerbus_machine::model::{FunctionIndex, Machine};
use peerbus_machine::registers::IommuTables;
use peerbus_units::{Address, BusAddr, CpuAddr, FunctionId, Range};

use crate::aperture::{Aperture, memory_bar};
use crate::cursor::{AddressKind, Cursor};
use crate::ntb::{Side, WindowNumber, sides};
use crate::spec::{LAST_HOST_ADDR, LinkId, MemoryWay, NodeId, NodeKind, PortSpec, Spec};

const TRANSLATION_BLOCKING: u16 = 1 << 1;
const REQUEST_REDIRECT: u16 = 1 << 2;
const COMPLETION_REDIRECT: u16 = 1 << 3;
const UPSTREAM_FORWARDING: u16 = 1 << 4;
const DIRECT_TRANSLATED: u16 = 1 << 6;

/// Where message-signalled interrupts are written to, first and last address, as on x86: the CPU takes them, and no IOMMU
/// translates them.
const INTERRUPTS: [u64; 2] = [0xfee0_0000, 0xfeef_ffff];

/// What software programmed into one function, as far as routing is concerned.
#[derive(Clone, Debug, Default)]
pub(crate) struct FunctionDecode {
    pub(crate) name: String,
    pub(crate) id: Option<FunctionId>,
    windows: Vec<Range<BusAddr>>,
    /// Memory BARs by number.
    pub(crate) bars: Vec<(u8, Range<BusAddr>)>,
    /// The BAR in front of its memory.
    pub(crate) memory_bar: Option<Range<BusAddr>>,
    buses: Option<(u8, u8)>,
    acs: u16,
}

/// A host bridge's window: CPU addresses and the bus address of the first.
#[derive(Clone, Copy, Debug)]
struct RootWindow {
    bridge: usize,
    cpu: Range<CpuAddr>,
    bus: Range<BusAddr>,
}

/// The decode tables of a machine.
#[derive(Clone, Debug)]
pub struct Decode {
    pub(crate) functions: Vec<FunctionDecode>,
    pub(crate) iommu: IommuTables,
    /// By device: the table by which it shows its memory.
    pub(crate) apertures: Vec<Option<Aperture>>,
    /// Sides of non-transparent bridges.
    pub(crate) sides: Vec<Side>,
    root_windows: Vec<RootWindow>,
    memory: Vec<(usize, Range<CpuAddr>)>,
    /// Memory of devices that CPUs use as their own, by index of the device.
    cxl: Vec<(usize, Range<CpuAddr>)>,
    /// CPU of each host bridge, and whether its root complex forwards between ports.
    bridges: Vec<(usize, bool)>,
    /// `next_cpu[from][to]`: the first link on the way from one CPU to another.
    next_cpu: Vec<Vec<Option<LinkId>>>,
}

/// What kind of error a request ends with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissKind {
    /// Nobody claims it: an Unsupported Request.
    Unclaimed,
    /// A port does not let it pass: an ACS Violation.
    AcsViolation,
    /// An IOMMU has no translation for it. To the requester that is an Unsupported Request too.
    IommuFault,
    /// A device's BAR shows no memory there. That is an Unsupported Request.
    ApertureFault,
}

/// Why nobody took a request, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Miss {
    /// What kind of error it is.
    pub kind: MissKind,
    /// The node that refused.
    pub node: NodeId,
    /// The requester's address when it was decoded.
    pub addr: u64,
    /// What was missed, in words.
    pub text: String,
}

/// What a node does with a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Sends it on.
    Link(LinkId),
    /// Sends it to the other side of a non-transparent bridge, through a window.
    Bridge(LinkId, WindowNumber),
    /// Its memory serves it.
    Here,
    /// Its memory serves it, at an address that was looked up.
    Shown,
    /// Nobody claims it: an Unsupported Request.
    Refused(Miss),
}

impl Decode {
    /// Reads everything that matters for routing.
    pub fn new(machine: &Machine, registers: &Registers, spec: &Spec) -> Decode {
        let mut decode = Decode {
            functions: Vec::new(),
            iommu: IommuTables::default(),
            apertures: (0..machine.devices.len()).map(|device| Aperture::of(machine, device)).collect(),
            sides: sides(machine, spec),
            root_windows: Vec::new(),
            memory: machine.memory_ranges(),
            cxl: machine.cxl_ranges(),
            bridges: Vec::new(),
            next_cpu: Vec::new(),
        };
        for (index, bridge) in machine.host_bridges.iter().enumerate() {
            decode.bridges.push((bridge.cpu, machine.cpus[bridge.cpu].part.peer_to_peer));
            for window in &bridge.windows {
                if let Some(bus) = Range::sized(window.bus, window.cpu.size()) {
                    decode.root_windows.push(RootWindow { bridge: index, cpu: window.cpu, bus });
                }
            }
        }
        decode.next_cpu =
            (0..machine.cpus.len()).map(|from| next_links(spec, from, machine.cpus.len())).collect();
        decode.refresh(machine, registers);
        decode
    }

    /// Reads the registers again.
    pub fn refresh(&mut self, machine: &Machine, registers: &Registers) {
        self.iommu = registers.iommu().clone();
        self.functions = machine
            .functions
            .node_indices()
            .map(|function| FunctionDecode {
                name: machine.functions[function].name.clone(),
                id: registers.id(function),
                windows: registers.windows(function).into_iter().map(|window| window.range).collect(),
                bars: registers.bars(function).into_iter().map(|bar| (bar.index, bar.range)).collect(),
                memory_bar: memory_bar(&registers.bars(function)),
                buses: registers.bus_numbers(function).map(|buses| (buses.secondary, buses.subordinate)),
                acs: registers.acs_control(function).unwrap_or(0),
            })
            .collect();
    }

    /// Where a request goes from `node`, which it entered by `came_by` (`None`: it starts here).
    pub(crate) fn step(
        &self,
        spec: &Spec,
        node: NodeId,
        came_by: Option<LinkId>,
        cursor: &mut Cursor,
    ) -> Next {
        if came_by.is_some_and(|link| spec.links[link.at()].memory) {
            return self.toward_memory(spec, node, cursor);
        }
        match spec.nodes[node.at()].kind {
            NodeKind::Device(_) if came_by.is_none() => match spec.nodes[node.at()].upstream {
                Some(link) => Next::Link(link),
                None => self.unclaimed(node, cursor, "the device has no link".to_owned()),
            },
            NodeKind::Device(_) => self.at_device(spec, node, came_by, cursor),
            NodeKind::Switch(_) => self.at_switch(spec, node, came_by, cursor),
            NodeKind::Root(bridge) => self.at_root(spec, node, bridge, came_by, cursor),
            NodeKind::Cpu(cpu) => self.at_cpu(spec, node, cpu, cursor),
            NodeKind::Exchange(_) => {
                self.unclaimed(node, cursor, "a private switch has no bus addresses".to_owned())
            }
        }
    }

    fn at_device(&self, spec: &Spec, node: NodeId, came_by: Option<LinkId>, cursor: &mut Cursor) -> Next {
        if came_by.is_some_and(|link| spec.links[link.at()].bridge) {
            return match spec.nodes[node.at()].upstream {
                Some(link) => Next::Link(link),
                None => self.unclaimed(node, cursor, "the other side of the bridge has no link".to_owned()),
            };
        }
        let ports = came_by.map_or(&[][..], |link| &spec.nodes[spec.links[link.at()].from.at()].ports[..]);
        let port = ports.iter().find(|port| Some(port.down) == came_by);
        let functions = port.map_or(&[][..], |port| &port.behind[..]);
        for function in functions {
            for bar in &self.functions[function.index()].bars {
                if cursor.is_in(bar.1) {
                    let window = self.through_window(node, (*function, *bar), cursor);
                    return window.unwrap_or_else(|| self.behind_bar(node, (*function, bar.1), cursor));
                }
            }
        }
        let bars: Vec<_> = functions
            .iter()
            .flat_map(|f| {
                self.functions[f.index()]
                    .bars
                    .iter()
                    .map(|(_, bar)| (self.functions[f.index()].name.as_str(), *bar))
            })
            .collect();
        self.missed(node, cursor, "no BAR claims it", "BAR of", &bars)
    }

    fn at_switch(&self, spec: &Spec, node: NodeId, came_by: Option<LinkId>, cursor: &mut Cursor) -> Next {
        let this = &spec.nodes[node.at()];
        let entered = came_by.and_then(|link| this.ports.iter().position(|port| port.up == link));
        let acs =
            entered.and_then(|port| this.ports[port].function).map_or(0, |f| self.functions[f.index()].acs);
        if let Some(blocked) = self.blocked(node, entered.map(|port| &this.ports[port]), cursor) {
            return blocked;
        }
        let direct = cursor.kind() == AddressKind::Translated && acs & DIRECT_TRANSLATED != 0;
        if let (Some(_), Some(upstream)) = (entered, this.upstream)
            && acs & REQUEST_REDIRECT != 0
            && !direct
        {
            return Next::Link(upstream);
        }
        for (index, port) in this.ports.iter().enumerate() {
            if !self.claims(port, cursor) {
                continue;
            }
            if entered != Some(index) {
                return Next::Link(port.down);
            }
            return match this.upstream {
                Some(upstream) if acs & UPSTREAM_FORWARDING != 0 => Next::Link(upstream),
                _ => {
                    let name = port.function.map_or("", |f| self.functions[f.index()].name.as_str());
                    let text = format!(
                        "it lies in the window of the port it came in by, {name}, whose ACS Upstream Forwarding is off"
                    );
                    self.unclaimed(node, cursor, text)
                }
            };
        }
        match (entered, this.upstream) {
            (Some(_), Some(upstream)) if !self.inside_upstream(spec, node, cursor) => Next::Link(upstream),
            _ => self.missed(
                node,
                cursor,
                "no downstream port claims it",
                "window of",
                &self.port_windows(&this.ports),
            ),
        }
    }

    /// What becomes of a request that a port does not let in: with ACS Translation Blocking none that is translated, or
    /// asks for a translation.
    fn blocked(&self, node: NodeId, port: Option<&PortSpec>, cursor: &Cursor) -> Option<Next> {
        let decode = &self.functions[port?.function?.index()];
        let blocks = decode.acs & TRANSLATION_BLOCKING != 0 && cursor.kind() != AddressKind::Untranslated;
        let text = || format!("ACS Translation Blocking of {} lets no translated request pass", decode.name);
        blocks.then(|| self.refuse(MissKind::AcsViolation, node, cursor, text()))
    }

    /// True when the window of the switch's own upstream port holds the address.
    fn inside_upstream(&self, spec: &Spec, node: NodeId, cursor: &mut Cursor) -> bool {
        let Some(function) = spec.nodes[node.at()].function else { return false };
        self.functions[function.index()].windows.iter().any(|window| cursor.is_in(*window))
    }

    fn at_root(
        &self,
        spec: &Spec,
        node: NodeId,
        bridge: usize,
        came_by: Option<LinkId>,
        cursor: &mut Cursor,
    ) -> Next {
        let this = &spec.nodes[node.at()];
        let from_cpu = came_by.is_none_or(|link| this.ports.iter().all(|port| port.up != link));
        if !from_cpu {
            // Interrupts are taken out before anything else looks at the address.
            if cursor.is_in(interrupts::<BusAddr>()) {
                return self.to_own_cpu(node, this.upstream, cursor);
            }
            let entered = this.ports.iter().find(|port| Some(port.up) == came_by);
            if let Some(blocked) = self.blocked(node, entered, cursor) {
                return blocked;
            }
            match cursor.kind() {
                AddressKind::Question => return Next::Here,
                AddressKind::Translated => return self.to_own_cpu(node, this.upstream, cursor),
                AddressKind::Untranslated => {}
            }
            match self.translate(node, cursor) {
                Ok(true) => return self.to_own_cpu(node, this.upstream, cursor),
                Ok(false) => {}
                Err(fault) => return fault,
            }
        }
        let port = this.ports.iter().find(|port| self.claims(port, cursor));
        if from_cpu {
            return match port {
                Some(port) => Next::Link(port.down),
                None => self.missed(
                    node,
                    cursor,
                    "no root port claims it",
                    "window of",
                    &self.port_windows(&this.ports),
                ),
            };
        }
        let window =
            self.root_windows.iter().find(|window| window.bridge == bridge && cursor.is_in(window.bus));
        if let Some(window) = window {
            if port.is_none() {
                return self.missed(
                    node,
                    cursor,
                    "no root port claims it",
                    "window of",
                    &self.port_windows(&this.ports),
                );
            }
            cursor.translate(window.bus.first().raw(), window.cpu.first().raw());
        }
        self.to_own_cpu(node, this.upstream, cursor)
    }

    fn to_own_cpu(&self, node: NodeId, upstream: Option<LinkId>, cursor: &Cursor) -> Next {
        match upstream {
            Some(upstream) => Next::Link(upstream),
            None => self.unclaimed(node, cursor, "the host bridge has no CPU".to_owned()),
        }
    }

    fn at_cpu(&self, spec: &Spec, node: NodeId, cpu: usize, cursor: &mut Cursor) -> Next {
        if cursor.is_in(interrupts::<CpuAddr>()) {
            return Next::Here;
        }
        for (home, range) in &self.memory {
            if cursor.is_in(*range) {
                return if *home == cpu { Next::Here } else { self.to_cpu(node, cpu, *home, cursor) };
            }
        }
        if let Some(way) = self.way_to_memory(spec, cursor) {
            return match way.cpu == cpu {
                true => self.toward_memory(spec, node, cursor),
                false => self.to_cpu(node, cpu, way.cpu, cursor),
            };
        }
        for window in &self.root_windows {
            if !cursor.is_in(window.cpu) {
                continue;
            }
            let (home, forwards) = self.bridges[window.bridge];
            // Requests of its own cores go to every port.
            if !forwards && cursor.requester().is_some() {
                let text = format!(
                    "the root complex of {} does not forward requests between its ports",
                    spec.nodes[node.at()].name
                );
                return self.unclaimed(node, cursor, text);
            }
            if home != cpu {
                return self.to_cpu(node, cpu, home, cursor);
            }
            return match spec.link_between(node, spec.root(window.bridge)) {
                Some(link) => {
                    cursor.translate(window.cpu.first().raw(), window.bus.first().raw());
                    Next::Link(link)
                }
                None => self.unclaimed(node, cursor, "the host bridge is not connected".to_owned()),
            };
        }
        let windows: Vec<_> = self
            .root_windows
            .iter()
            .filter_map(|window| {
                let bus = Range::new(BusAddr(window.cpu.first().raw()), BusAddr(window.cpu.last().raw()))?;
                Some((spec.nodes[spec.root(window.bridge).at()].name.as_str(), bus))
            })
            .collect();
        self.missed(
            node,
            cursor,
            "it is neither memory nor in a window of a host bridge",
            "window of",
            &windows,
        )
    }

    /// The way to the device memory that holds the address, if a CPU uses it as its own.
    fn way_to_memory<'s>(&self, spec: &'s Spec, cursor: &mut Cursor) -> Option<&'s MemoryWay> {
        let (device, _) = self.cxl.iter().find(|(_, range)| cursor.is_in(*range))?;
        spec.memory_ways.iter().find(|way| way.device == *device)
    }

    /// The next step of a request that CXL.mem carries: decoders of root complexes and switches hold the same ranges as the
    /// CPU's, so that nothing is left to decide.
    fn toward_memory(&self, spec: &Spec, node: NodeId, cursor: &mut Cursor) -> Next {
        let way = self.way_to_memory(spec, cursor);
        let next = way.and_then(|way| way.links.iter().find(|link| spec.links[link.at()].from == node));
        next.map_or(Next::Here, |link| Next::Link(*link))
    }

    /// The CPU whose memory holds an address, if one does, with the first and the last address of which that is true.
    pub(crate) fn home_of(&self, addr: CpuAddr) -> (Option<usize>, (u64, u64)) {
        let mut gap = (0, LAST_HOST_ADDR);
        for (home, range) in &self.memory {
            let (first, last) = (range.first().raw(), range.last().raw());
            if range.contains(addr) {
                return (Some(*home), (first, last));
            }
            if last < addr.raw() {
                gap.0 = gap.0.max(last + 1);
            } else {
                gap.1 = gap.1.min(first - 1);
            }
        }
        (None, gap)
    }

    /// The first link on the way from one CPU to another.
    pub(crate) fn next_cpu(&self, from: usize, to: usize) -> Option<LinkId> {
        self.next_cpu[from][to]
    }

    fn to_cpu(&self, node: NodeId, from: usize, to: usize, cursor: &Cursor) -> Next {
        match self.next_cpu[from][to] {
            Some(link) => Next::Link(link),
            None => self.unclaimed(node, cursor, format!("no link leads from cpu{from} to cpu{to}")),
        }
    }

    /// Whether a request with this address leaves through `port`.
    fn claims(&self, port: &PortSpec, cursor: &mut Cursor) -> bool {
        let through = port.function.is_none_or(|function| {
            self.functions[function.index()].windows.iter().any(|window| cursor.is_in(*window))
        });
        let mut direct = port.direct.iter().map(|function| &self.functions[function.index()]);
        through
            && (port.direct.is_empty()
                || direct.any(|own| {
                    own.bars.iter().map(|(_, bar)| bar).chain(&own.windows).any(|range| cursor.is_in(*range))
                }))
    }

    fn port_windows<'a>(&'a self, ports: &'a [PortSpec]) -> Vec<(&'a str, Range<BusAddr>)> {
        let mut windows = Vec::new();
        for port in ports {
            for function in port.function.iter().chain(&port.direct) {
                let decode = &self.functions[function.index()];
                let is_port = port.function == Some(*function);
                let ranges =
                    decode.windows.iter().chain(decode.bars.iter().map(|(_, bar)| bar).filter(|_| !is_port));
                windows.extend(ranges.map(|range| (decode.name.as_str(), *range)));
            }
        }
        windows
    }

    fn unclaimed(&self, node: NodeId, cursor: &Cursor, text: String) -> Next {
        self.refuse(MissKind::Unclaimed, node, cursor, text)
    }

    pub(crate) fn refuse(&self, kind: MissKind, node: NodeId, cursor: &Cursor, text: String) -> Next {
        Next::Refused(Miss { kind, node, addr: cursor.sent(), text })
    }

    /// A refusal that names the nearest range.
    fn missed(
        &self,
        node: NodeId,
        cursor: &Cursor,
        what: &str,
        kind: &str,
        ranges: &[(&str, Range<BusAddr>)],
    ) -> Next {
        let addr = cursor.addr();
        let distance = |range: &Range<BusAddr>| {
            let (first, last) = (range.first().raw(), range.last().raw());
            if addr < first { first - addr } else { addr.saturating_sub(last) }
        };
        let nearest = ranges.iter().min_by_key(|(_, range)| distance(range));
        let text = match nearest {
            Some((name, range)) => {
                let side = if addr < range.first().raw() { "below" } else { "above" };
                format!("{what}; it misses the {kind} {name} {range} by {:#x} bytes, {side}", distance(range))
            }
            None => format!("{what}; none is programmed"),
        };
        self.unclaimed(node, cursor, text)
    }

    /// Where a completion for the cores of the CPU `home` goes from `node`: they have no bus number below any port.
    pub fn completion_step_to_cpu(&self, spec: &Spec, node: NodeId, home: NodeId) -> Option<LinkId> {
        match (spec.nodes[node.at()].kind, spec.nodes[home.at()].kind) {
            (NodeKind::Cpu(from), NodeKind::Cpu(to)) => self.next_cpu[from][to],
            _ => spec.nodes[node.at()].upstream,
        }
    }

    /// Where a completion for `requester`, below host bridge `bridge`, goes from `node`.
    pub fn completion_step(
        &self,
        spec: &Spec,
        node: NodeId,
        came_by: Option<LinkId>,
        requester: FunctionIndex,
        bridge: usize,
    ) -> Option<LinkId> {
        let this = &spec.nodes[node.at()];
        let id = self.functions[requester.index()].id?;
        let leads = |function: FunctionIndex| {
            let buses = self.functions[function.index()].buses;
            buses.is_some_and(|(first, last)| (first..=last).contains(&id.bus))
        };
        let holds = |port: &PortSpec| {
            port.function.is_none_or(leads)
                && (port.direct.is_empty() || port.direct.iter().any(|own| *own == requester || leads(*own)))
        };
        let entered = came_by.and_then(|link| this.ports.iter().position(|port| port.up == link));
        let down = this.ports.iter().position(&holds).filter(|port| Some(*port) != entered);
        match this.kind {
            NodeKind::Device(_) => this.upstream,
            NodeKind::Cpu(cpu) => {
                let home = self.bridges[bridge].0;
                if home == cpu {
                    spec.link_between(node, spec.root(bridge))
                } else {
                    self.next_cpu[cpu][home]
                }
            }
            NodeKind::Root(index) if index == bridge && entered.is_none() => {
                down.map(|port| this.ports[port].down)
            }
            NodeKind::Root(_) => this.upstream,
            NodeKind::Exchange(_) => None,
            NodeKind::Switch(_) => {
                let acs = entered
                    .and_then(|port| this.ports[port].function)
                    .map_or(0, |f| self.functions[f.index()].acs);
                match down {
                    Some(port) if entered.is_none() || acs & COMPLETION_REDIRECT == 0 => {
                        Some(this.ports[port].down)
                    }
                    _ if entered.is_some() || came_by.is_none() => this.upstream,
                    _ => None,
                }
            }
        }
    }
}

/// [`INTERRUPTS`] in the space it is asked in.
fn interrupts<A: Address>() -> Range<A> {
    let [first, last] = INTERRUPTS.map(A::from_raw);
    Range::new(first, last).expect("its first address is before its last")
}

/// First links of the shortest ways from CPU `from` to every other; ties go to the lower link number.
pub(crate) fn next_links(spec: &Spec, from: usize, cpus: usize) -> Vec<Option<LinkId>> {
    let mut first = vec![None; cpus];
    let mut seen = vec![false; cpus];
    seen[from] = true;
    let mut queue = VecDeque::from([from]);
    while let Some(cpu) = queue.pop_front() {
        for link in &spec.nodes[spec.cpu(cpu).at()].outputs {
            let NodeKind::Cpu(next) = spec.nodes[spec.links[link.at()].to.at()].kind else { continue };
            if !seen[next] {
                seen[next] = true;
                first[next] = first[cpu].or(Some(*link));
                queue.push_back(next);
            }
        }
    }
    first
}
