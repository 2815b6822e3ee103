//! The transfers of a request, one after the other.

use peerbus_fabric::Direction;
use peerbus_units::Bytes;

use super::client::Holding;
use super::drive::PeerMemories;
use crate::expand::PeerMemoryRole;

/// A transfer for the fabric. Its end comes back as [`PeerMemories::done`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// Which flow of the schedule it is counted for.
    pub flow: usize,
    /// The device that moves the data.
    pub device: usize,
    /// Which way.
    pub direction: Direction,
    /// First DMA address.
    pub addr: u64,
    /// Bytes.
    pub bytes: Bytes,
    /// Who is told of its end: workload, client and slot.
    pub owner: (usize, usize, usize),
}

impl PeerMemories<'_> {
    /// All steps of a transfer. Through host memory, the provider takes what the client wrote, and supplies what it
    /// reads.
    pub(super) fn steps(&self, workload: usize, client: usize, slot: usize, holding: &Holding) -> Vec<Order> {
        let of = &self.workloads[workload];
        let plan = &of.clients[client].plan;
        let buffer = |device: usize, stride: u64| {
            let base = plan.buffer_addresses.get(&device)?;
            Some(base + stride * u64::try_from(slot).unwrap_or(0))
        };
        let bytes = holding.request.size;
        let owner = (workload, client, slot);
        let order = |role: PeerMemoryRole, device: usize, writes: bool, addr: u64| {
            let direction = if writes { Direction::Write } else { Direction::Read };
            let flow = *of.plan.flows.get(&(role, writes))?;
            Some(Order { flow, device, direction, addr, bytes, owner })
        };
        let mut steps = Vec::new();
        for &writes in of.plan.spec.client_writes() {
            match (holding.memory, holding.provider, plan.buffers) {
                // A device's own memory is reached without a link.
                (Some(_), Some(provider), _) if provider == plan.device => {}
                (Some(_), Some(provider), _) => {
                    let role = PeerMemoryRole::Peer { client: plan.device, provider };
                    steps.extend(order(role, plan.device, writes, holding.dma));
                }
                (None, provider, Some((_, stride))) => {
                    let own = buffer(plan.device, stride).and_then(|addr| {
                        order(PeerMemoryRole::Client(plan.device), plan.device, writes, addr)
                    });
                    let other = provider.filter(|provider| *provider != plan.device).and_then(|provider| {
                        let addr = buffer(provider, stride)?;
                        order(PeerMemoryRole::Provider(provider), provider, !writes, addr)
                    });
                    let both = if writes { [own, other] } else { [other, own] };
                    steps.extend(both.into_iter().flatten());
                }
                _ => {}
            }
        }
        steps
    }
}
