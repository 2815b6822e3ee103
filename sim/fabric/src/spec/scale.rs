//! Capacities multiplied for a "what if" run.

use peerbus_machine::part::{CachePart, CopyPart, Credits};
use peerbus_units::{Picos, Rate};

use super::{HandlingSpec, Scaling, Spec};
use crate::limits::Resource;

impl Spec {
    pub(super) fn scale(&mut self, scaling: &Scaling) {
        let (numerator, denominator) = (scaling.numerator, scaling.denominator.max(1));
        let faster = |rate: Rate| rate.scaled(numerator, denominator).unwrap_or(rate);
        let shorter = |time: Picos| Picos(time.0 * denominator / numerator.max(1));
        let more = |count: u16| {
            let scaled = (u64::from(count) * numerator).div_ceil(denominator);
            u16::try_from(scaled).unwrap_or(u16::MAX)
        };
        match scaling.resource {
            Resource::Link(link) => {
                let partner = self.links[link.at()].sharing.map(|sharing| sharing.partner);
                for link in [Some(link), partner].into_iter().flatten() {
                    self.links[link.at()].rate = faster(self.links[link.at()].rate);
                }
            }
            Resource::Port(link) => {
                let link = &mut self.links[link.at()];
                link.port_rate = link.port_rate.map(faster);
                link.peer_rate = link.peer_rate.map(faster);
            }
            // Engines that a run adds are not the machine's: there is nothing to scale yet.
            Resource::Engine(engine) => {
                if let Some(engine) = self.engines.get_mut(engine.at()) {
                    engine.rate = faster(engine.rate);
                    engine.handling = engine.handling.map(|handling| HandlingSpec {
                        copy: CopyPart {
                            transfer: shorter(handling.copy.transfer),
                            piece: shorter(handling.copy.piece),
                            ..handling.copy
                        },
                        gap: shorter(handling.gap),
                        both_rate: handling.both_rate.map(faster),
                        ..handling
                    });
                }
            }
            Resource::Tags(engine) => {
                if let Some(engine) = self.engines.get_mut(engine.at()) {
                    engine.tags = more(engine.tags);
                }
            }
            Resource::Memory(node) => {
                if let Some(memory) = &mut self.nodes[node.at()].memory {
                    memory.rate = faster(memory.rate);
                    memory.write_rate = faster(memory.write_rate);
                    memory.cache = memory.cache.map(|cache| CachePart { rate: faster(cache.rate), ..cache });
                }
            }
            Resource::Credits(link) => {
                // A larger buffer holds at least one more TLP: data credits grow in step with headers.
                for credits in &mut self.links[link.at()].credits {
                    let header = more(credits.header);
                    let data = u64::from(credits.data) * u64::from(header) / u64::from(credits.header.max(1));
                    // None at all would mean a buffer without end.
                    let data = if credits.data == 0 { 0 } else { data.max(1) };
                    *credits = Credits { header, data: u16::try_from(data).unwrap_or(u16::MAX) };
                }
            }
            Resource::Walkers(node) => {
                if let Some(iommu) = &mut self.nodes[node.at()].iommu {
                    iommu.walkers = more(iommu.walkers);
                }
            }
            Resource::PeerWrites(node) => {
                if let Some(limits) = &mut self.nodes[node.at()].peer_limits {
                    limits.write_rate = limits.write_rate.map(faster);
                }
            }
            Resource::PeerReads(node) => {
                if let Some(limits) = &mut self.nodes[node.at()].peer_limits {
                    limits.read_rate = limits.read_rate.map(faster);
                }
            }
            // The window of a workload is not a part of the machine.
            Resource::Window(_) => {}
        }
    }
}
