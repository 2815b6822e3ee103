//! Private interconnects: links between devices, or devices and CPUs, that only their members use.
//!
//! A device has one engine of each direction per private link; what a CPU sends comes from its cores. Memory of a device is
//! addressed by member: [`private_addr`] has nothing in common with bus addresses, and no port of a PCIe hierarchy ever sees
//! it. Memory of CPUs has the addresses that CPUs use, since a CPU shows its own map to what is linked to it coherently.

use peerbus_machine::model::{Interconnect, Machine, Member};
use peerbus_machine::part::Credits;
use peerbus_units::{CpuAddr, DmaAddr, Picos, Rate};

use super::{EngineId, EngineSpec, LinkId, LinkSpec, NodeId, NodeKind, NodeSpec, PAGE, Spec};
use crate::cause::Cause;
use crate::link_layer::Framing;
use crate::requester::Direction;
use crate::tlp::Attributes;

/// Set in private addresses of devices' memory; the others are CPU addresses, which never have it.
const OF_DEVICE: u64 = 1 << 63;

/// Last private address that is one of a CPU.
pub(crate) const LAST_HOST_ADDR: u64 = OF_DEVICE - 1;

/// Bits of a private address below the number of the device.
const DEVICE_SHIFT: u32 = 48;

/// Buffers of a private port: a megabyte, which covers the round trip of the fastest. Assumed.
const BUFFERS: Credits = Credits { header: u16::MAX, data: u16::MAX };

/// Requests that an engine of a private link keeps under way: enough never to limit. Assumed.
const TAGS: u16 = 4096;

/// Whose memory a private address names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// A device, by index.
    Device(usize),
    /// The CPU whose memory lies there.
    Host(CpuAddr),
}

/// Address of byte `offset` of a device's memory on every private interconnect it belongs to. At most 32,768 devices have one.
pub fn private_addr(device: usize, offset: u64) -> DmaAddr {
    let device = u64::try_from(device).unwrap_or(u64::MAX) << DEVICE_SHIFT;
    DmaAddr(OF_DEVICE | device | offset & ((1 << DEVICE_SHIFT) - 1))
}

/// Whose memory holds a private address.
pub(crate) fn private_owner(addr: u64) -> Owner {
    match addr & OF_DEVICE {
        0 => Owner::Host(CpuAddr(addr)),
        _ => Owner::Device(usize::try_from((addr & !OF_DEVICE) >> DEVICE_SHIFT).unwrap_or(usize::MAX)),
    }
}

/// First and last private address of a device's memory.
pub(crate) fn private_range(device: usize) -> (u64, u64) {
    (private_addr(device, 0).0, private_addr(device, u64::MAX).0)
}

impl Spec {
    /// The private link by which `from` reaches `to`, itself or through the switch behind it, to move data in that direction.
    pub fn private_link(&self, from: usize, to: usize, direction: Direction) -> Option<LinkId> {
        self.private_way(self.device(from), self.device(to), direction)
    }

    /// The private link by which a device reaches memory of the CPU `home`: as a member beside it, or else by another CPU from
    /// which links between CPUs lead there.
    pub fn private_link_to_host(&self, device: usize, home: usize, direction: Direction) -> Option<LinkId> {
        let way = |cpu: usize| self.private_way(self.device(device), self.cpu(cpu), direction);
        let leads = |cpu: &usize| self.link_to_cpu(*cpu, home).is_some();
        way(home).or_else(|| (0..self.cpus()).filter(leads).find_map(way))
    }

    /// The private link by which cores of a CPU reach memory of `device`, of which both are members.
    pub fn private_link_from_cpu(&self, cpu: usize, device: usize, direction: Direction) -> Option<LinkId> {
        self.private_way(self.cpu(cpu), self.device(device), direction)
    }

    /// Of several ways between two nodes the one whose link carries data fastest, then the first.
    fn private_way(&self, from: NodeId, to: NodeId, direction: Direction) -> Option<LinkId> {
        let reaches = |link: &LinkId| {
            let spec = &self.links[link.at()];
            spec.private
                && (spec.to == to
                    || matches!(self.nodes[spec.to.at()].kind, NodeKind::Exchange(_))
                        && self.link_between(spec.to, to).is_some())
        };
        let data = |link: LinkId| match direction {
            Direction::Write => link,
            Direction::Read => self.links[link.at()].reverse,
        };
        let ways = self.nodes[from.at()].outputs.iter().copied().filter(reaches);
        ways.min_by_key(|link| {
            (std::cmp::Reverse(self.links[data(*link).at()].rate.bytes_per_second()), *link)
        })
    }

    /// The engine of `device` for its private link `link`.
    pub fn private_engine(&self, link: LinkId, direction: Direction) -> Option<EngineId> {
        let sources = &self.links[link.at()].sources;
        sources.iter().copied().find(|engine| self.engines[engine.at()].direction == direction)
    }

    pub(super) fn add_interconnects(&mut self, machine: &Machine) {
        for (index, interconnect) in machine.interconnects.iter().enumerate() {
            if interconnect.part.switched {
                self.add_exchange(machine, index, interconnect);
            } else {
                for edge in &interconnect.edges {
                    let ends = (self.member(edge.from), self.member(edge.to));
                    self.add_private_pair(
                        (machine, interconnect),
                        ends,
                        edge.links,
                        interconnect.part.latency,
                    );
                }
            }
        }
    }

    fn member(&self, member: Member) -> NodeId {
        match member {
            Member::Device(device) => self.device(device),
            Member::Cpu(cpu) => self.cpu(cpu),
        }
    }

    /// A switch that all members reach each other through.
    fn add_exchange(&mut self, machine: &Machine, index: usize, interconnect: &Interconnect) {
        let node = NodeId::from_index(self.nodes.len());
        self.nodes.push(NodeSpec {
            name: interconnect.name.clone(),
            kind: NodeKind::Exchange(index),
            inputs: Vec::new(),
            outputs: Vec::new(),
            ports: Vec::new(),
            upstream: None,
            function: None,
            memory: None,
            line_latency: Picos::ZERO,
            iommu: None,
            phases: Vec::new(),
            store_and_forward: false,
            completes_by_id: false,
            atc: None,
            peer_limits: None,
            reads_in_turn: 1,
            in_order: false,
            first_queue: 0,
        });
        let mut members: Vec<(Member, u32)> = Vec::new();
        for edge in &interconnect.edges {
            for member in [edge.from, edge.to] {
                if members.iter().all(|(known, _)| *known != member) {
                    members.push((member, edge.links));
                }
            }
        }
        members.sort_unstable();
        // The part's latency is from member to member: half of it on the way to the switch.
        let half = Picos(interconnect.part.latency.0 / 2);
        for (member, count) in members {
            self.add_private_pair((machine, interconnect), (self.member(member), node), count, half);
        }
    }

    /// Links both ways between two nodes: the part's `rate` from the first, its `rate_back` towards it.
    fn add_private_pair(
        &mut self,
        (machine, interconnect): (&Machine, &Interconnect),
        (one, other): (NodeId, NodeId),
        count: u32,
        latency: Picos,
    ) {
        let part = &interconnect.part;
        let link = |from: NodeId, to: NodeId, rate: Rate| {
            let [one, other] = [from, to].map(|node| &self.nodes[node.at()].name);
            // As from a host bridge, the way over the CPU's internal network is part of the way into it.
            let network = match self.nodes[to.at()].kind {
                NodeKind::Cpu(cpu) => machine.cpus[cpu].part.network_latency,
                _ => Picos::ZERO,
            };
            LinkSpec {
                private: true,
                framing: Framing::private(part.packet_header.0, part.packet_unit.0),
                latency: latency + network,
                pipeline: Cause::Interconnect,
                credits: [BUFFERS; 3],
                credit_latency: latency,
                ..LinkSpec::plain(
                    format!("{}/{one}-{other}", interconnect.name),
                    from,
                    to,
                    rate.scaled(u64::from(count), 1).unwrap_or(rate),
                )
            }
        };
        let back = part.rate_back.unwrap_or(part.rate);
        let (there, back) = self.add_pair(link(one, other, part.rate), link(other, one, back));
        for link in [there, back] {
            let from = self.links[link.at()].from;
            if let NodeKind::Device(device) = self.nodes[from.at()].kind {
                self.private_engines.push((device, link, part.packet_payload.0));
            }
        }
    }

    /// Engines are numbered behind those of PCIe, in the order of the links.
    pub(super) fn add_private_engines(&mut self) {
        for (device, link, payload) in std::mem::take(&mut self.private_engines) {
            let node = self.device(device);
            let reverse = self.links[link.at()].reverse;
            for (name, direction, data) in
                [("writer", Direction::Write, link), ("reader", Direction::Read, reverse)]
            {
                let rate = self.links[data.at()].rate;
                self.add_engine(EngineSpec {
                    name: format!("{}/{name} of {}", self.nodes[node.at()].name, self.links[link.at()].name),
                    direction,
                    node,
                    requester: None,
                    link: Some(link),
                    source: 0,
                    traffic_class: 0,
                    permits: Attributes::NONE,
                    // Copy engines of private links are built for them: never slower.
                    rate: rate.scaled(2, 1).unwrap_or(rate),
                    tags: TAGS,
                    max_payload: payload,
                    max_read_request: payload,
                    boundary: PAGE,
                    write_buffers: None,
                    request_latency: Picos::ZERO,
                    handling: None,
                    completion_timeout: self.engines[self.reader(device).at()].completion_timeout,
                });
            }
        }
    }
}
