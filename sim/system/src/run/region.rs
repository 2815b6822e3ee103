//! Regions of memory that flows go through: of hosts and of devices, mapped for who moves the data.

use peerbus_fabric::{Direction, LinkId, Shown};
use peerbus_units::{Address, Bytes, CpuAddr};

use super::flow::{Leg, Peer};
use super::resolve::{self, Target};
use super::schedule::Planner;
use crate::aperture;
use crate::iommu::{BarMemory, MapError, Mapping};
use crate::workload::Way;

/// Memory is mapped in whole pages.
const PAGE: u64 = 4096;

/// A part of a BAR: bytes before it, and how many there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BarPart {
    pub from: u64,
    pub room: u64,
}

/// Memory of a device for another one.
pub(super) struct PeerRegion {
    /// What the operating system said.
    pub peer: Peer,
    /// First DMA address and bytes; `None` when refused.
    pub place: Option<(u64, u64)>,
    /// First address as a CPU sees it.
    pub by_cpu: u64,
    /// Why it could not be mapped.
    pub unmappable: Option<String>,
}

impl Planner<'_> {
    /// Memory of `target` for `device`, as the operating system gives it: what the BAR shows first, or with `at` the `bytes`
    /// from that byte of the memory on.
    pub(super) fn peer_region(
        &mut self,
        device: usize,
        target: usize,
        bytes: Bytes,
        at: Option<Bytes>,
    ) -> PeerRegion {
        let (mut peer, found) = self.peer_part(device, target, bytes, at);
        let refused = |peer, unmappable| PeerRegion { peer, place: None, by_cpu: 0, unmappable };
        let Some((memory, part)) = found else { return refused(peer, None) };
        let by_cpu = memory.range().first().raw() + part.from;
        match self.bar_region(device, &memory, part, bytes, &mut peer) {
            Ok(place) => PeerRegion { peer, place: Some(place), by_cpu, unmappable: None },
            Err(error) => {
                let [of, owner] = [device, target].map(|device| &self.machine.devices[device].name);
                refused(peer, Some(format!("memory of {owner} cannot be mapped for {of}: {error}")))
            }
        }
    }

    /// What the operating system says of memory of `target` for `device`, and where the BAR shows it; nothing where that is
    /// refused.
    pub(super) fn peer_part(
        &self,
        device: usize,
        target: usize,
        bytes: Bytes,
        at: Option<Bytes>,
    ) -> (Peer, Option<(BarMemory, BarPart)>) {
        let Target { mut peer, memory } = resolve::resolve(self.machine, self.booted, target, device);
        let Some(memory) = memory else { return (peer, None) };
        match self.shown(target, &memory, bytes, at) {
            Ok(part) => (peer, Some((memory, part))),
            Err(why) => {
                peer.refusal = Some(why);
                (peer, None)
            }
        }
    }

    /// Where the BAR in front of the memory of `target` shows it. The error says why a driver finds nothing there.
    fn shown(
        &self,
        target: usize,
        memory: &BarMemory,
        bytes: Bytes,
        at: Option<Bytes>,
    ) -> Result<BarPart, String> {
        let size = memory.range().size();
        let device = &self.machine.devices[target];
        let is_memory = aperture::memory_bar(self.machine, target) == Some(size);
        let all = Shown { at: 0, memory: 0, size: size.0 };
        let table = self.schedule.shown[target].as_ref().filter(|_| is_memory);
        let part = aperture::part(table.map_or(&[all], |table| table.as_slice()), at);
        let Some((from, room)) = part else {
            let place = at.map_or(String::new(), |at| format!(" at {at}"));
            return Err(format!("the BAR of {} shows no memory{place}", device.name));
        };
        match at {
            Some(at) if room < bytes.0 => {
                let room = Bytes(room);
                Err(format!(
                    "of {bytes} at {at} in the memory of {} its BAR shows {room} in one piece",
                    device.name
                ))
            }
            _ => Ok(BarPart { from, room }),
        }
    }

    /// First DMA address and bytes of what a flow of `bytes` touches of a part of a BAR: whole pages of it, or all of it, when
    /// the flow starts again at its end. Notes the address.
    pub(super) fn bar_region(
        &mut self,
        device: usize,
        memory: &BarMemory,
        part: BarPart,
        bytes: Bytes,
        peer: &mut Peer,
    ) -> Result<(u64, u64), MapError> {
        let page = part.from / PAGE * PAGE;
        let inside = part.from - page;
        let touched = bytes.0.min(part.room).saturating_add(inside);
        let touched = Bytes(touched.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX));
        let client = self.machine.devices[device].functions[0];
        let mapping = self.booted.map_bar(client, memory, Bytes(page), touched)?;
        let kind = mapping.kind.to_string();
        let (base, length) = self.keep(mapping);
        let place = (base.wrapping_add(inside), (length - inside).min(part.room));
        peer.dma = Some((place.0, kind));
        Ok(place)
    }

    /// A leg of `device` over memory of the CPU `cpu`: by a private interconnect, where one leads there and `way` lets it, or by
    /// PCIe, mapped for it; or why it cannot be. A private interconnect shows a CPU's own addresses, and nothing is mapped.
    pub(super) fn memory_leg(
        &mut self,
        (device, direction): (usize, Direction),
        cpu: usize,
        way: Way,
        (at, extent): (u64, u64),
    ) -> Result<Leg, String> {
        match self.private_way_to(device, cpu, direction, way) {
            Some(link) => Ok(Leg { device, direction, private: Some(link), base: at, extent, engine: None }),
            None => self.host_leg(device, direction, at, extent),
        }
    }

    /// The private link that data between `device` and memory of the CPU `cpu` takes, if it does.
    pub(super) fn private_way_to(
        &self,
        device: usize,
        cpu: usize,
        direction: Direction,
        way: Way,
    ) -> Option<LinkId> {
        self.spec.private_link_to_host(device, cpu, direction).filter(|_| way == Way::Fastest)
    }

    /// A leg of `device` over host memory, mapped for it; or why it cannot be.
    pub(super) fn host_leg(
        &mut self,
        device: usize,
        direction: Direction,
        at: u64,
        extent: u64,
    ) -> Result<Leg, String> {
        let client = self.machine.devices[device].functions[0];
        match self.booted.map_memory(client, CpuAddr(at), Bytes(extent)) {
            Ok(mapping) => {
                let (base, extent) = self.keep(mapping);
                Ok(Leg { device, direction, private: None, base, extent, engine: None })
            }
            Err(error) => {
                let name = &self.machine.devices[device].name;
                Err(format!("a host buffer of {} cannot be mapped for {name}: {error}", Bytes(extent)))
            }
        }
    }

    /// Keeps a mapping until the run ends: first DMA address and bytes.
    fn keep(&mut self, mapping: Mapping) -> (u64, u64) {
        let place = (mapping.address.raw(), mapping.length.0);
        self.schedule.mappings.push(mapping);
        place
    }
}
