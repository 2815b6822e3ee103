//! Private interconnects: links between devices that only copies between their members use.
//!
//! A device has one engine of each direction per private link. What such an engine sends is addressed by member:
//! [`private_addr`] has nothing in common with bus addresses, and no port of a PCIe hierarchy ever sees it.

use peerbus_machine::model::{Interconnect, Machine};
use peerbus_machine::part::Credits;
use peerbus_units::{DmaAddr, Picos};

use super::{EngineId, EngineSpec, LinkId, LinkSpec, NodeId, NodeKind, NodeSpec, PAGE, Spec};
use crate::cause::Cause;
use crate::link_layer::Framing;
use crate::requester::Direction;
use crate::tlp::Attributes;

/// Bits of a private address below the number of the member.
const MEMBER_SHIFT: u32 = 48;

/// Buffers of a private port: a megabyte, which covers the round trip of the fastest. Assumed.
const BUFFERS: Credits = Credits { header: u16::MAX, data: u16::MAX };

/// Requests that an engine of a private link keeps under way: enough never to limit. Assumed.
const TAGS: u16 = 4096;

/// Address of byte `offset` of a member's memory on every private interconnect it belongs to.
pub fn private_addr(device: usize, offset: u64) -> DmaAddr {
    let member = u64::try_from(device).unwrap_or(u64::MAX) + 1;
    DmaAddr(member << MEMBER_SHIFT | offset & ((1 << MEMBER_SHIFT) - 1))
}

/// The member whose memory holds a private address.
pub(crate) fn private_member(addr: u64) -> Option<usize> {
    usize::try_from(addr >> MEMBER_SHIFT).ok()?.checked_sub(1)
}

/// First and last private address of a member's memory.
pub(crate) fn private_range(device: usize) -> (u64, u64) {
    (private_addr(device, 0).0, private_addr(device, u64::MAX).0)
}

impl Spec {
    /// The private link by which `from` reaches `to`, itself or through the switch behind it.
    pub fn private_link(&self, from: usize, to: usize) -> Option<LinkId> {
        let (from, to) = (self.device(from), self.device(to));
        let reaches = |link: &LinkId| {
            let spec = &self.links[link.at()];
            spec.private
                && (spec.to == to
                    || matches!(self.nodes[spec.to.at()].kind, NodeKind::Exchange(_))
                        && self.link_between(spec.to, to).is_some())
        };
        // Several ways: the fastest, then the first.
        let ways = self.nodes[from.at()].outputs.iter().copied().filter(reaches);
        ways.min_by_key(|link| (std::cmp::Reverse(self.links[link.at()].rate.bytes_per_second()), *link))
    }

    /// The engine of `device` for its private link `link`.
    pub fn private_engine(&self, link: LinkId, direction: Direction) -> Option<EngineId> {
        let sources = &self.links[link.at()].sources;
        sources.iter().copied().find(|engine| self.engines[engine.at()].direction == direction)
    }

    pub(super) fn add_interconnects(&mut self, machine: &Machine) {
        for (index, interconnect) in machine.interconnects.iter().enumerate() {
            if interconnect.part.switched {
                self.add_exchange(index, interconnect);
            } else {
                for (one, other, count) in &interconnect.edges {
                    let (one, other) = (self.device(*one), self.device(*other));
                    self.add_private_pair(interconnect, one, other, *count, interconnect.part.latency);
                }
            }
        }
    }

    /// A switch that all members reach each other through.
    fn add_exchange(&mut self, index: usize, interconnect: &Interconnect) {
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
        let mut members: Vec<(usize, u32)> = Vec::new();
        for (one, other, count) in &interconnect.edges {
            for device in [one, other] {
                if members.iter().all(|(member, _)| member != device) {
                    members.push((*device, *count));
                }
            }
        }
        members.sort_unstable();
        // The part's latency is from device to device: half of it on the way to the switch.
        let half = Picos(interconnect.part.latency.0 / 2);
        for (device, count) in members {
            self.add_private_pair(interconnect, self.device(device), node, count, half);
        }
    }

    fn add_private_pair(
        &mut self,
        interconnect: &Interconnect,
        one: NodeId,
        other: NodeId,
        count: u32,
        latency: Picos,
    ) {
        let part = &interconnect.part;
        let rate = part.rate.scaled(u64::from(count), 1).unwrap_or(part.rate);
        let link = |from: NodeId, to: NodeId| {
            let [one, other] = [from, to].map(|node| &self.nodes[node.at()].name);
            LinkSpec {
                private: true,
                framing: Framing::private(part.packet_header.0, part.packet_unit.0),
                latency,
                pipeline: Cause::Interconnect,
                credits: [BUFFERS; 3],
                credit_latency: latency,
                ..LinkSpec::plain(format!("{}/{one}-{other}", interconnect.name), from, to, rate)
            }
        };
        let (there, back) = self.add_pair(link(one, other), link(other, one));
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
            let rate = self.links[link.at()].rate;
            for (name, direction) in [("writer", Direction::Write), ("reader", Direction::Read)] {
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
