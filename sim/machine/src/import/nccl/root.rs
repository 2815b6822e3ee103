//! Root buses and root ports, none of which NCCL lists.
//!
//! A topmost function on bus `b` hangs below a root port on root bus `b - 1`. Where that number is taken by the
//! hierarchy before it, the root port joins that hierarchy's root bus. A device that no root port can lead to (on
//! bus 00, with a device number other than 0, or beside another device of its bus) sits on the root bus itself, as
//! it does for a virtual machine.

use std::collections::{BTreeMap, BTreeSet};

use peerbus_units::FunctionId;

use super::tree::{Below, Endpoint, Piece, Planner, Port};
use crate::import::Note;

/// A root bus.
pub(super) struct HostBridge<'x> {
    /// PCI domain.
    pub domain: u32,
    /// Root bus number.
    pub bus: u8,
    /// Last bus used below it.
    last: u8,
    /// Index of its CPU.
    pub cpu: usize,
    /// Root ports in order.
    pub ports: Vec<Port<'x>>,
    /// Devices on the root bus.
    pub devices: Vec<Endpoint<'x>>,
}

/// Puts every piece below a root port or onto a root bus; ordered by domain and bus. `headless` says of each CPU
/// whether the first function of its root buses is a root port, which is then device 0.
pub(super) fn host_bridges<'x>(
    planner: &mut Planner<'x, '_>,
    pieces: Vec<Piece<'x>>,
    headless: &[bool],
) -> Vec<HostBridge<'x>> {
    let pieces = join_functions(dissolve_overlapping(planner, pieces));
    let on_root_bus = unreachable_by_port(&pieces);
    let mut bridges: Vec<HostBridge<'x>> = Vec::new();
    for piece in pieces {
        place(planner, &mut bridges, piece, &on_root_bus);
    }
    for bridge in &mut bridges {
        let headless = headless.get(bridge.cpu).copied().unwrap_or_default();
        if !bridge.number_ports(headless) {
            let message =
                format!("more than 32 devices on root bus {:04x}:{:02x}", bridge.domain, bridge.bus);
            planner.no_room(bridge.ports[0].piece.listed(), message, "one of them");
        }
    }
    bridges
}

/// Takes stand-ins apart whose chosen numbers collide with anything; the pieces come back ordered by domain and bus.
fn dissolve_overlapping<'x>(planner: &mut Planner<'x, '_>, mut pieces: Vec<Piece<'x>>) -> Vec<Piece<'x>> {
    loop {
        pieces.sort_by_key(|piece| (piece.domain, piece.first));
        let overlapping = overlapping_stand_ins(&pieces);
        if overlapping.is_empty() {
            return pieces;
        }
        let mut kept = Vec::new();
        for (position, piece) in pieces.into_iter().enumerate() {
            if !overlapping.contains(&position) {
                kept.push(piece);
                continue;
            }
            let text = "this stand-in for a switch is left out: no bus number is free above its devices; what they share is not described";
            planner.notes.push(Note::new(piece.listed().id, text));
            kept.extend(piece.dissolve());
        }
        pieces = kept;
    }
}

/// Joins functions of one device that the file lists in different places.
fn join_functions(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    let mut places: BTreeMap<FunctionId, usize> = BTreeMap::new();
    for piece in pieces {
        if let Below::Device(device) = &piece.below {
            if let Some(place) = places.get(&device.id)
                && let Below::Device(first) = &mut joined[*place].below
            {
                first.functions.extend(&device.functions);
                first.functions.sort_by_key(|function| function.id);
                continue;
            }
            places.insert(device.id, joined.len());
        }
        joined.push(piece);
    }
    joined
}

/// Positions of stand-ins that share a bus with another piece; `pieces` are in order.
fn overlapping_stand_ins(pieces: &[Piece]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut widest = 0;
    for (position, piece) in pieces.iter().enumerate().skip(1) {
        if piece.domain == pieces[widest].domain && piece.first <= pieces[widest].last {
            found.extend([widest, position]);
        }
        if piece.domain != pieces[widest].domain || piece.last > pieces[widest].last {
            widest = position;
        }
    }
    found.retain(
        |position| matches!(&pieces[*position].below, Below::Switch(switch) if switch.listed.is_pseudo()),
    );
    found
}

/// Devices no root port can lead to.
fn unreachable_by_port(pieces: &[Piece]) -> BTreeSet<FunctionId> {
    let mut on_bus: BTreeMap<(u32, u8), Vec<FunctionId>> = BTreeMap::new();
    for piece in pieces {
        if let Below::Device(device) = &piece.below {
            on_bus.entry((piece.domain, piece.first)).or_default().push(device.id);
        }
    }
    let crowded =
        on_bus.into_iter().filter(|((_, bus), ids)| *bus == 0 || ids.len() > 1 || ids[0].device() != 0);
    crowded.flat_map(|(_, ids)| ids).collect()
}

/// Adds `piece` to the last root bus or to a new one.
fn place<'x>(
    planner: &mut Planner<'x, '_>,
    bridges: &mut Vec<HostBridge<'x>>,
    piece: Piece<'x>,
    on_root_bus: &BTreeSet<FunctionId>,
) {
    let listed = piece.listed();
    let (itself, top) = match &piece.below {
        Below::Device(device) => (on_root_bus.contains(&device.id), device.id),
        Below::Switch(switch) => (false, switch.id),
    };
    let before = bridges.last_mut().filter(|bridge| bridge.domain == piece.domain);
    if let Some(bridge) = &before
        && piece.first <= bridge.last
        && !(itself && piece.first == bridge.bus)
    {
        let (bus, last) = (bridge.bus, bridge.last);
        let message = format!(
            "bus {:02x} of {top} is among buses {bus:02x} to {last:02x} of another hierarchy",
            piece.first
        );
        return planner.no_room(listed, message, "cannot be reached");
    }
    if !itself && (top.bus == 0 || top.devfn != 0) {
        let message = format!("no root port can lead to switch {top}");
        return planner.no_room(
            listed,
            message,
            "an upstream port is device 0, function 0 of a bus above 00",
        );
    }
    let wanted = if itself { piece.first } else { piece.first - 1 };
    match before {
        Some(bridge) if wanted <= bridge.last => bridge.join(planner, piece),
        _ => {
            let (domain, cpu) = (piece.domain, piece.cpu);
            let mut bridge =
                HostBridge { domain, bus: wanted, last: wanted, cpu, ports: Vec::new(), devices: Vec::new() };
            bridge.join(planner, piece);
            bridges.push(bridge);
        }
    }
}

impl<'x> HostBridge<'x> {
    fn join(&mut self, planner: &mut Planner<'x, '_>, piece: Piece<'x>) {
        if self.cpu != piece.cpu {
            let text = format!(
                "listed below cpu{}, but joins root bus {:04x}:{:02x} of cpu{}: no bus number is left for another root bus",
                piece.cpu, self.domain, self.bus, self.cpu
            );
            planner.notes.push(Note::new(piece.listed().id, text));
        }
        self.last = self.last.max(piece.last);
        match piece.below {
            Below::Device(device) if piece.first == self.bus => self.devices.push(device),
            _ => self.ports.push(Port { id: FunctionId::new(self.domain, self.bus, 0, 0), piece }),
        }
    }

    /// Gives every root port a free device number; false when there are not enough. Device 0 is left to the head
    /// of the bus, unless root ports come first there.
    fn number_ports(&mut self, headless: bool) -> bool {
        let taken: BTreeSet<u8> = self.devices.iter().map(|device| device.id.device()).collect();
        let first = u8::from(!headless);
        let mut free = (first..32).filter(|device| !taken.contains(device));
        for port in &mut self.ports {
            let Some(device) = free.next() else { return false };
            port.id = FunctionId::new(self.domain, self.bus, device, 0);
        }
        true
    }
}
