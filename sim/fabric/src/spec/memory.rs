//! CXL.mem: memory of devices that CPUs use as their own.
//!
//! A link that runs CXL carries two protocols in flits of its own. Up to 32 GT/s a flit has 68 bytes: 64 of content, 2 that
//! say which protocol it belongs to, 2 of CRC. From 64 GT/s on it has 256 bytes, of which CXL.io fills 236, as PCI Express
//! does, and CXL.mem 15 slots of 16 bytes. CXL.mem is a link of its own here, `….mem`, with its own queues and credits, on the
//! wires of the other (see `crate::channel`). Inside the CPU it has a way of its own, which no I/O request takes.

use peerbus_machine::CxlMemory;
use peerbus_machine::model::Machine;
use peerbus_machine::part::Credits;
use peerbus_units::Picos;

use super::build::INTERNAL;
use super::{LinkId, LinkSpec, NodeId, Sharing, Spec, Turns};
use crate::link_layer::{Framing, SLOT_BYTES};

/// Content of a flit of 68 bytes, whichever protocol it belongs to.
const SMALL_FLIT: (u64, u64) = (64, 68);
/// Bytes of slots in a flit of 256 bytes.
const LARGE_FLIT: (u64, u64) = (15 * SLOT_BYTES, 256);
/// What CXL.io has of a flit of 256 bytes: the rate of a link in flit mode counts that already.
const LARGE_FLIT_IO: u64 = 236;
/// Slowest generation whose flits have 256 bytes.
const LARGE_FLITS: u8 = 6;

/// A buffer that never limits: a host asks for what it has room for.
const ENDLESS: Credits = Credits { header: 0, data: 0 };

/// Device memory that a CPU uses as its own, and the way of requests to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MemoryWay {
    /// Index of the device.
    pub device: usize,
    /// Index of the CPU.
    pub cpu: usize,
    /// Links from the CPU to the device.
    pub links: Vec<LinkId>,
}

impl Spec {
    /// Makes the links of CXL.mem. Called when all other links are made and not yet numbered at their nodes.
    pub(super) fn add_memory_channels(&mut self, machine: &Machine) {
        for index in 0..machine.links.len() {
            if machine.runs_cxl(index) {
                self.pack_into_flits(machine, index);
            }
        }
        for memory in machine.cxl_memories() {
            let links = self.memory_way(machine, &memory);
            let CxlMemory { device, cpu, .. } = memory;
            self.memory_ways.push(MemoryWay { device, cpu, links });
        }
    }

    /// The upward half of a link of the machine.
    fn upward_of(&self, machine: &Machine, index: usize) -> Option<LinkId> {
        let name = format!("{}:up", machine.links[index].name);
        self.links.iter().position(|link| link.name == name).map(LinkId::from_index)
    }

    /// A link that runs CXL carries TLPs in flits.
    fn pack_into_flits(&mut self, machine: &Machine, index: usize) {
        let Some(up) = self.upward_of(machine, index) else { return };
        let small = machine.links[index].generation < LARGE_FLITS;
        for link in [up, self.links[up.at()].reverse] {
            let link = &mut self.links[link.at()];
            if small {
                link.rate = link.rate.scaled(SMALL_FLIT.0, SMALL_FLIT.1).unwrap_or(link.rate);
                link.flit = SMALL_FLIT.0;
            }
        }
    }

    /// Makes what is missing of the way to a memory.
    fn memory_way(&mut self, machine: &Machine, memory: &CxlMemory) -> Vec<LinkId> {
        let part = machine.devices[memory.device].part.cxl;
        let port = machine.cpus[memory.cpu].part.cxl;
        let function = machine.devices[memory.device].functions[0];
        let root = self.root(machine.functions[function].host_bridge);
        let latency = port.map_or(Picos::ZERO, |port| port.latency);
        let mut way = vec![self.inside_cpu(root, self.cpu(memory.cpu), latency)];
        let last = memory.links.len() - 1;
        for (position, index) in memory.links.iter().enumerate() {
            let Some(up) = self.upward_of(machine, *index) else { continue };
            let buffers = match part {
                Some(part) if position == last => [
                    Credits { header: part.writes, data: part.writes.saturating_mul(4) },
                    Credits { header: part.reads, data: 0 },
                    ENDLESS,
                ],
                // A switch has those of its part.
                _ => self.links[self.links[up.at()].reverse.at()].credits,
            };
            let latency = if position == 0 { latency } else { self.links[up.at()].latency };
            way.push(self.split_off(up, (latency, buffers)));
        }
        way
    }

    /// The way of memory requests between a CPU and one of its roots.
    fn inside_cpu(&mut self, root: NodeId, cpu: NodeId, latency: Picos) -> LinkId {
        let between = |link: &LinkSpec| link.memory && (link.from, link.to) == (cpu, root);
        if let Some(known) = self.links.iter().position(between) {
            return LinkId::from_index(known);
        }
        let ordinary = self.nodes[root.at()].upstream.expect("a root complex has a way to its CPU");
        let up = &self.links[ordinary.at()];
        let down = &self.links[up.reverse.at()];
        let own = |link: &LinkSpec, latency: Picos| LinkSpec {
            name: format!("{}.mem", link.name),
            memory: true,
            latency,
            sender_limit: u64::MAX,
            credits: [INTERNAL; 3],
            ..link.clone()
        };
        let (up, down) = (own(up, up.latency), own(down, latency));
        self.add_pair(up, down).1
    }

    /// CXL.mem on the wires of `up`, with these buffers at the lower end, and that latency at the upper; returns the link
    /// that leads down.
    fn split_off(&mut self, up: LinkId, (latency, buffers): (Picos, [Credits; 3])) -> LinkId {
        let down = self.links[up.at()].reverse;
        if let Some(known) = self.links[down.at()].sharing {
            return known.partner;
        }
        let second_up = LinkId::from_index(self.links.len());
        let second_down = LinkId::from_index(self.links.len() + 1);
        let shares =
            |partner, is_second| Some(Sharing { partner, is_second, classes: 0, turns: Turns::ByTime });
        for (link, second, reverse) in [(up, second_up, second_down), (down, second_down, second_up)] {
            let first = &mut self.links[link.at()];
            let small = first.flit == SMALL_FLIT.0;
            // The first link's rate counts the flits already: with 236 bytes of a large one.
            let (rate, flit) = match small {
                true => (first.rate, SMALL_FLIT.0),
                false => {
                    let rate = first.rate.scaled(LARGE_FLIT.0, LARGE_FLIT_IO).unwrap_or(first.rate);
                    (rate, LARGE_FLIT.0)
                }
            };
            let twin = LinkSpec {
                name: format!("{}.mem", first.name),
                memory: true,
                reverse,
                dllps_to: reverse,
                rate,
                flit,
                port_rate: None,
                framing: Framing::memory(),
                latency: if link == up { latency } else { first.latency },
                receiver_limit: u64::MAX,
                sender_limit: u64::MAX,
                credits: if link == up { [ENDLESS; 3] } else { buffers },
                // Acknowledgements and credits have their place in every flit.
                dllp_interval: 0,
                sharing: shares(link, true),
                ..first.clone()
            };
            first.sharing = shares(second, false);
            self.links.push(twin);
        }
        second_down
    }

    /// The first link of memory requests of the cores of `cpu` to memory of `device`, both by index in the machine.
    /// `None`: it is not memory of a CPU, or no way leads there.
    pub fn link_to_memory(&self, cpu: usize, device: usize) -> Option<LinkId> {
        let way = self.memory_ways.iter().find(|way| way.device == device)?;
        if way.cpu == cpu { way.links.first().copied() } else { self.link_to_cpu(cpu, way.cpu) }
    }
}
