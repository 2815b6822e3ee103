//! Flows through non-transparent bridges. Two drivers work together: the other host's maps the memory for the bridge's side
//! there, and lets a window of this side lead to it; this host's maps the window for the device that moves the data, as it
//! maps any peer's memory, and puts that device into the table of requesters.
//!
//! A window leads to a multiple of its own size, as address translation in hardware does; what lies around the memory is
//! reached through it as well.

use peerbus_units::Bytes;

use super::region::{BarPart, PeerRegion};
use super::resolve;
use super::schedule::Planner;
use crate::ntb::{Requesters, Sides, sides, table};
use peerbus_os::MapType;

/// A window that is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The device that has it.
    pub device: usize,
    /// Its BAR.
    pub bar: u8,
    /// Where it leads, in the other side's hierarchy.
    pub to: u64,
}

/// How the bridges of a machine are set up.
#[derive(Clone, Debug, Default)]
pub struct Bridges {
    /// Windows that are open.
    pub windows: Vec<Opened>,
    /// Tables of requesters: the side and the requester, by index of their devices.
    pub requesters: Vec<(usize, usize)>,
    /// Sides whose table the scenario gives: it is not added to.
    given: Vec<usize>,
}

impl Bridges {
    /// Tables of requesters as the scenario gives them.
    pub fn new(machine: &peerbus_machine::Machine, given: &[Requesters]) -> Result<Bridges, String> {
        let mut bridges = Bridges::default();
        for requesters in given {
            let (side, devices) = table(machine, requesters)?;
            bridges.requesters.retain(|(known, _)| *known != side);
            bridges.requesters.extend(devices.into_iter().map(|device| (side, device)));
            bridges.given.push(side);
        }
        Ok(bridges)
    }
}

impl Planner<'_> {
    /// Memory of `target`, a device of the other host, for `device` of this one, through the bridge of which `through` is
    /// this host's side.
    pub(super) fn region_through(
        &mut self,
        through: &str,
        (device, target): (usize, usize),
        bytes: Bytes,
        at: Option<Bytes>,
    ) -> Result<PeerRegion, String> {
        let sides = sides(self.machine, through)?;
        let beyond = self.peer_region(sides.there, target, bytes, at);
        match beyond.place {
            Some(place) => self.window_region(sides, device, place, bytes),
            None => Ok(beyond),
        }
    }

    /// Memory of `cpu`, of the other host, for `device` of this one.
    pub(super) fn host_region_through(
        &mut self,
        through: &str,
        device: usize,
        (at, extent): (u64, u64),
    ) -> Result<PeerRegion, String> {
        let sides = sides(self.machine, through)?;
        let leg = self.host_leg(sides.there, peerbus_fabric::Direction::Write, at, extent)?;
        let region = self.window_region(sides, device, (leg.base, leg.extent), Bytes(extent))?;
        match region.place {
            Some((_, room)) if room < extent => {
                let room = Bytes(room);
                Err(format!(
                    "a buffer of {} does not fit the window of {through}, which has {room} there",
                    Bytes(extent)
                ))
            }
            _ => Ok(region),
        }
    }

    /// What `device` uses of a window that leads to `place`, first address and bytes in the other hierarchy.
    fn window_region(
        &mut self,
        sides: Sides,
        device: usize,
        (base, extent): (u64, u64),
        bytes: Bytes,
    ) -> Result<PeerRegion, String> {
        let (mut peer, reason) = resolve::peer(self.machine, self.booted, sides.here, device);
        let [provider, client] = [sides.here, device].map(|device| self.machine.devices[device].functions[0]);
        let map_type = self.booted.resolve(provider, client).map(|resolution| resolution.map_type);
        let Some(map_type) = map_type.filter(|map_type| *map_type != MapType::NotSupported) else {
            peer.refusal = Some(reason);
            return Ok(PeerRegion { peer, place: None, by_cpu: 0, unmappable: None });
        };
        let Opened { bar, to, .. } = self.open_window(sides, base)?;
        let name = &self.machine.devices[sides.here].name;
        let window = self.booted.bar_memory(map_type, provider, usize::from(bar));
        let window = window.ok_or_else(|| format!("the window of {name} has no address"))?;
        self.admit(sides.here, device)?;
        let from = base - to;
        let part = BarPart { from, room: extent.min(window.range().size().0 - from) };
        let by_cpu = window.range().first().0 + from;
        match self.bar_region(device, &window, part, bytes, &mut peer) {
            Ok(place) => Ok(PeerRegion { peer, place: Some(place), by_cpu, unmappable: None }),
            Err(error) => {
                let of = &self.machine.devices[device].name;
                let why = format!("the window of {name} cannot be mapped for {of}: {error}");
                Ok(PeerRegion { peer, place: None, by_cpu, unmappable: Some(why) })
            }
        }
    }

    /// A window of this side that leads to what holds `base`: one that does, or else the first that leads nowhere yet.
    fn open_window(&mut self, sides: Sides, base: u64) -> Result<Opened, String> {
        let this = &self.machine.devices[sides.here];
        let windows = this.part.ntb.as_ref().map_or(&[][..], |ntb| &ntb.windows);
        let bars = &self.machine.functions[this.functions[0]].bars;
        for bar in windows {
            let Some(size) = bars.iter().find(|known| known.index == *bar).map(|known| known.size.0) else {
                continue;
            };
            let to = base - base % size.max(1);
            let wanted = Opened { device: sides.here, bar: *bar, to };
            let open = &mut self.schedule.bridges.windows;
            match open.iter().find(|window| (window.device, window.bar) == (sides.here, *bar)) {
                Some(window) if *window == wanted => return Ok(wanted),
                Some(_) => {}
                None => {
                    open.push(wanted);
                    return Ok(wanted);
                }
            }
        }
        let name = &this.name;
        Err(format!("all windows of {name} lead elsewhere: it has {}", windows.len()))
    }

    /// Puts `device` into the table of requesters of `side`, unless the scenario says what that holds.
    fn admit(&mut self, side: usize, device: usize) -> Result<(), String> {
        let bridges = &mut self.schedule.bridges;
        if bridges.given.contains(&side) || bridges.requesters.contains(&(side, device)) {
            return Ok(());
        }
        let ntb = self.machine.devices[side].part.ntb.as_ref();
        let most = ntb.map_or(0, |ntb| usize::from(ntb.requesters));
        if bridges.requesters.iter().filter(|(known, _)| *known == side).count() == most {
            return Err(format!(
                "the table of requesters of {} holds {most}",
                self.machine.devices[side].name
            ));
        }
        bridges.requesters.push((side, device));
        Ok(())
    }
}
