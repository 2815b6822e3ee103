//! Puts back the switch ports NCCL leaves out, and gives each of them a number.
//!
//! NCCL walks from a device to its CPU and lists every second function: the device, then the upstream port of
//! each switch. Downstream ports and root ports are left out; the latter are the business of [`super::root`]. Every
//! listed bus id stays as it is.
//!
//! The rule for a switch is an inequality: with its upstream port on bus `b`, its internal bus `s`, and what hangs
//! below it on buses `c1 < c2 < …`, `b < s < c1`, and the buses used below one port end before those of the next
//! begin. Normally `s = b + 1`. Functions that cannot sit behind a port of their own, because they share a bus or
//! have a device number other than 0, sit on `s` itself. Example: a switch at 18:00.0 with devices at 1a:00.0 and
//! 1d:00.0 gets ports 19:00.0 and 19:01.0.
//!
//! A stand-in (`ffff:ff:01.0`) has no number, so `s = c1 - 1` and `b = s - 1` are chosen; where these are taken
//! or the functions below are in several domains, the stand-in is left out and its functions move up.

use std::collections::{BTreeMap, BTreeSet};

use peerbus_units::FunctionId;

use super::xml;
use crate::diagnostic::Diagnostic;
use crate::import::Note;
use crate::import::codes::NO_ROOM;

/// A device: one or more listed functions with the same bus and device number.
#[derive(Clone)]
pub(super) struct Endpoint<'x> {
    /// Its function 0, listed or not.
    pub id: FunctionId,
    /// The listed functions in order.
    pub functions: Vec<&'x xml::Function>,
}

/// A switch.
#[derive(Clone)]
pub(super) struct Switch<'x> {
    /// What the file says of its upstream port.
    pub listed: &'x xml::Function,
    /// Where its upstream port is.
    pub id: FunctionId,
    /// Downstream ports in order.
    pub ports: Vec<Port<'x>>,
    /// Devices on the internal bus.
    pub devices: Vec<Endpoint<'x>>,
}

/// What hangs at the lower end of a link.
#[derive(Clone)]
pub(super) enum Below<'x> {
    /// A device.
    Device(Endpoint<'x>),
    /// A switch.
    Switch(Switch<'x>),
}

/// A part of the hierarchy with the buses it takes: `first` is that of its topmost function.
#[derive(Clone)]
pub(super) struct Piece<'x> {
    /// PCI domain.
    pub domain: u32,
    /// Bus of the topmost function.
    pub first: u8,
    /// Last bus used.
    pub last: u8,
    /// Index of its CPU.
    pub cpu: usize,
    /// What it is.
    pub below: Below<'x>,
}

impl<'x> Piece<'x> {
    /// A device as a piece of its own.
    pub fn device(cpu: usize, device: Endpoint<'x>) -> Piece<'x> {
        let (domain, bus) = (device.id.domain, device.id.bus);
        Piece { domain, first: bus, last: bus, cpu, below: Below::Device(device) }
    }

    /// The listed function at the top.
    pub fn listed(&self) -> &'x xml::Function {
        match &self.below {
            Below::Device(device) => device.functions[0],
            Below::Switch(switch) => switch.listed,
        }
    }

    /// The pieces of a switch, without it.
    pub fn dissolve(self) -> Vec<Piece<'x>> {
        let cpu = self.cpu;
        match self.below {
            Below::Device(device) => vec![Piece::device(cpu, device)],
            Below::Switch(switch) => {
                let devices = switch.devices.into_iter().map(|device| Piece::device(cpu, device));
                devices.chain(switch.ports.into_iter().map(|port| port.piece)).collect()
            }
        }
    }
}

/// An inserted port.
#[derive(Clone)]
pub(super) struct Port<'x> {
    /// Where it is.
    pub id: FunctionId,
    /// What hangs below it.
    pub piece: Piece<'x>,
}

/// Why a switch cannot be numbered, and what was to hang below it.
struct NoRoom<'x> {
    pieces: Vec<Piece<'x>>,
    why: String,
}

/// Builds pieces and collects what goes wrong.
pub(super) struct Planner<'x, 'n> {
    /// Name of the file, for diagnostics.
    pub file: &'n str,
    /// The file's text, for places.
    pub text: &'n str,
    /// What is wrong.
    pub diagnostics: &'n mut Vec<Diagnostic>,
    /// What was chosen.
    pub notes: &'n mut Vec<Note>,
    /// Pieces found below a bridge of another domain.
    strays: Vec<Piece<'x>>,
}

impl<'x, 'n> Planner<'x, 'n> {
    /// A planner without pieces.
    pub fn new(
        file: &'n str,
        text: &'n str,
        diagnostics: &'n mut Vec<Diagnostic>,
        notes: &'n mut Vec<Note>,
    ) -> Planner<'x, 'n> {
        Planner { file, text, diagnostics, notes, strays: Vec::new() }
    }

    /// Reports that `function` has no place.
    pub fn no_room(&mut self, function: &xml::Function, message: String, label: &str) {
        let found = Diagnostic::error(NO_ROOM, self.file, message).at(self.text, function.span.clone());
        self.diagnostics.push(found.label(label));
    }

    /// Everything that hangs directly below the CPUs.
    pub fn top(&mut self, system: &'x xml::System) -> Vec<Piece<'x>> {
        let mut pieces = Vec::new();
        for (cpu, element) in system.cpus.iter().enumerate() {
            pieces.extend(self.pieces(cpu, &element.below));
        }
        pieces.append(&mut self.strays);
        pieces
    }

    /// Functions side by side as pieces, ordered by domain and bus; those of one device are joined.
    fn pieces(&mut self, cpu: usize, functions: &'x [xml::Function]) -> Vec<Piece<'x>> {
        let (bridges, others): (Vec<_>, Vec<_>) = functions.iter().partition(|function| function.is_bridge());
        let mut pieces: Vec<Piece> =
            devices(&others).into_iter().map(|device| Piece::device(cpu, device)).collect();
        for bridge in bridges {
            match self.switch(cpu, bridge) {
                Ok(piece) => pieces.push(piece),
                Err(NoRoom { pieces: below, why }) if bridge.is_pseudo() => {
                    let text = format!(
                        "this stand-in for a switch is left out: {why}; what its devices share is not described"
                    );
                    self.notes.push(Note::new(bridge.id, text));
                    pieces.extend(below);
                }
                Err(NoRoom { why, .. }) => {
                    let message =
                        format!("the functions below switch {} cannot be numbered: {why}", bridge.id);
                    self.no_room(bridge, message, "this switch");
                }
            }
        }
        pieces.sort_by_key(|piece| (piece.domain, piece.first));
        pieces
    }

    fn switch(&mut self, cpu: usize, listed: &'x xml::Function) -> Result<Piece<'x>, NoRoom<'x>> {
        let pieces = self.pieces(cpu, &listed.below);
        let pseudo = listed.is_pseudo();
        let domain = match pieces.first() {
            Some(piece) if pseudo => piece.domain,
            _ => listed.id.domain,
        };
        let elsewhere = pieces.iter().any(|piece| piece.domain != domain);
        if pseudo && (pieces.is_empty() || elsewhere) {
            let why = if elsewhere { "its devices are in several domains" } else { "it has no devices" };
            return Err(NoRoom { pieces, why: why.to_owned() });
        }
        let (own, strays): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|piece| piece.domain == domain);
        for stray in strays {
            let text = format!("listed below switch {}, which is in another domain; moved out", listed.id);
            self.notes.push(Note::new(stray.listed().id, text));
            self.strays.push(stray);
        }
        let place = place_switch(listed, domain, &own)
            .and_then(|place| ports(place.1, domain, &own).map(|ports| (place, ports)));
        match place {
            Ok(((id, internal), ports)) => Ok(assemble(listed, id, internal, cpu, own, &ports)),
            Err(why) => Err(NoRoom { pieces: own, why }),
        }
    }
}

/// Groups functions by device number.
fn devices<'x>(functions: &[&'x xml::Function]) -> Vec<Endpoint<'x>> {
    let mut devices: BTreeMap<FunctionId, Vec<&'x xml::Function>> = BTreeMap::new();
    for function in functions {
        let first = FunctionId { devfn: function.id.devfn & !7, ..function.id };
        devices.entry(first).or_default().push(function);
    }
    let sorted = devices.into_iter().map(|(id, mut functions)| {
        functions.sort_by_key(|function| function.id);
        Endpoint { id, functions }
    });
    sorted.collect()
}

/// Where the upstream port and the internal bus are, or why there is no such place.
fn place_switch(listed: &xml::Function, domain: u32, pieces: &[Piece]) -> Result<(FunctionId, u8), String> {
    let lowest = pieces.first().map(|piece| piece.first);
    let crowded = crowded(pieces);
    let given = (!listed.is_pseudo()).then_some(listed.id);
    let none_left = || "no bus number is free above its devices".to_owned();
    let internal = match (crowded.as_slice(), given) {
        ([bus], _) => *bus,
        ([], Some(id)) => id.bus.checked_add(1).ok_or("it is on the last bus")?,
        ([], None) => lowest.and_then(|bus| bus.checked_sub(1)).ok_or_else(none_left)?,
        ([one, other, ..], _) => {
            return Err(format!(
                "buses {one:02x} and {other:02x} both hold functions that only a switch's internal bus can hold"
            ));
        }
    };
    // On bus 00 no root port could lead to an upstream port.
    let chosen = internal.checked_sub(1).filter(|bus| *bus > 0).map(|bus| FunctionId::new(domain, bus, 0, 0));
    let id = given.or(chosen).ok_or_else(none_left)?;
    match lowest {
        _ if internal <= id.bus => Err(format!("bus {internal:02x} is not above the switch's own bus")),
        Some(bus) if bus < internal => Err(format!("bus {bus:02x} leaves no bus for the switch's ports")),
        _ => Ok((id, internal)),
    }
}

/// Buses with functions that cannot have a downstream port of their own.
fn crowded(pieces: &[Piece]) -> Vec<u8> {
    let mut buses = BTreeSet::new();
    for (position, piece) in pieces.iter().enumerate() {
        let shared = position > 0 && pieces[position - 1].first == piece.first;
        let lone = match &piece.below {
            Below::Device(device) => device.id.device() == 0,
            Below::Switch(switch) => switch.id.devfn == 0,
        };
        if shared || !lone {
            buses.insert(piece.first);
        }
    }
    buses.into_iter().collect()
}

/// Numbers on the internal bus for one port above each piece that is not on that bus itself.
fn ports(internal: u8, domain: u32, pieces: &[Piece]) -> Result<Vec<FunctionId>, String> {
    let mut taken = BTreeSet::new();
    let mut end = internal;
    let mut wanted = 0;
    for piece in pieces {
        match &piece.below {
            Below::Device(device) if piece.first == internal => {
                taken.insert(device.id.device());
                continue;
            }
            _ if piece.first > end => end = piece.last,
            _ => return Err(format!("bus {:02x} is already used beside it or above it", piece.first)),
        }
        wanted += 1;
    }
    let free: Vec<_> = (0..32).filter(|device| !taken.contains(device)).take(wanted).collect();
    if free.len() < wanted {
        return Err("it has more than 32 ports".to_owned());
    }
    Ok(free.into_iter().map(|device| FunctionId::new(domain, internal, device, 0)).collect())
}

fn assemble<'x>(
    listed: &'x xml::Function,
    id: FunctionId,
    internal: u8,
    cpu: usize,
    pieces: Vec<Piece<'x>>,
    numbers: &[FunctionId],
) -> Piece<'x> {
    let last = pieces.iter().map(|piece| piece.last).max().unwrap_or(internal).max(internal);
    let mut numbers = numbers.iter();
    let mut switch = Switch { listed, id, ports: Vec::new(), devices: Vec::new() };
    for piece in pieces {
        match piece.below {
            Below::Device(device) if piece.first == internal => switch.devices.push(device),
            _ => switch.ports.extend(numbers.next().map(|id| Port { id: *id, piece })),
        }
    }
    Piece { domain: id.domain, first: id.bus, last, cpu, below: Below::Switch(switch) }
}
