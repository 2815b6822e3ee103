//! The functions the kernel walks, with what each does to peer-to-peer requests.

use peerbus_machine::Machine;
use peerbus_machine::model::{Fact, FunctionIndex, Role};
use peerbus_os::p2pdma::upstream_path;
use peerbus_os::pci;
use peerbus_os::pci::{AcsWord, acs_capability, acs_control};
use peerbus_units::FunctionId;
use serde::Serialize;

use super::PayloadConflict;
use crate::boot::Booted;

/// Bits of ACS words by their names, lowest first.
const BITS: [(u16, &str); 7] =
    [(0x01, "SV"), (0x02, "TB"), (0x04, "RR"), (0x08, "CR"), (0x10, "UF"), (0x20, "EC"), (0x40, "DT")];

/// Where on the route a function is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The provider, or between it and where the two meet.
    Provider,
    /// Where they meet.
    Common,
    /// The client, or between where they meet and it.
    Client,
}

/// ACS words of a function.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AcsWords {
    /// What it can do.
    pub capability: u16,
    /// What it is set to.
    pub control: u16,
    /// Names of the bits set: SV, TB, RR, CR, UF, EC, DT.
    pub set: Vec<&'static str>,
    /// Those of them that send peer-to-peer requests towards the root: RR, CR, EC.
    pub redirects: Vec<&'static str>,
}

/// A link as it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct HopLink {
    /// PCIe generation.
    #[serde(rename = "gen")]
    pub generation: u8,
    /// Lanes.
    pub lanes: u8,
}

/// One function of the route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Hop {
    /// Where on the route.
    pub side: Side,
    /// Where it answers.
    pub function: FunctionId,
    /// Its path.
    pub name: String,
    /// `root port`, `upstream port`, `downstream port`, `endpoint` or `on the root bus`.
    pub role: &'static str,
    /// Its link: of a root port or downstream port the one below, else the one above.
    pub link: Option<HopLink>,
    /// Largest payload it is programmed for, in bytes.
    pub max_payload: u64,
    /// Its ACS words; `None` without the capability.
    pub acs: Option<AcsWords>,
    /// What the machine's source did not say about it.
    pub assumed: Vec<Fact>,
}

/// Names of the bits set in an ACS word.
pub(super) fn bit_names(word: u16) -> Vec<&'static str> {
    BITS.iter().filter(|(bit, _)| word & bit != 0).map(|(_, name)| *name).collect()
}

/// The functions the kernel looks at: up from the provider, where they meet, down to the client. Where nothing is above
/// both, all of the provider's side and then all of the client's.
pub(super) fn walk(
    booted: &Booted,
    provider: pci::FunctionIndex,
    client: pci::FunctionIndex,
) -> Vec<(Side, pci::FunctionIndex)> {
    let up: Vec<_> = upstream_path(&booted.tree, provider).collect();
    let down: Vec<_> = upstream_path(&booted.tree, client).collect();
    let common = up.iter().position(|function| down.contains(function));
    let above = common.map(|at| up[at]);
    let ascent = up.iter().take(common.unwrap_or(up.len())).map(|function| (Side::Provider, *function));
    let descent: Vec<_> = down.iter().take_while(|function| Some(**function) != above).collect();
    let descent = descent.into_iter().rev().map(|function| (Side::Client, *function));
    ascent.chain(above.map(|function| (Side::Common, function))).chain(descent).collect()
}

/// The walk as reports show it.
pub(super) fn hops(machine: &Machine, booted: &Booted, walk: &[(Side, pci::FunctionIndex)]) -> Vec<Hop> {
    let hop = |(side, function): &(Side, pci::FunctionIndex)| {
        let index = booted.machine_function(*function);
        Hop {
            side: *side,
            function: booted.tree[*function].id,
            name: machine.functions[index].name.clone(),
            role: role(machine, index),
            link: link(machine, index),
            max_payload: booted.registers.max_payload(index).0,
            acs: words(booted, *function),
            assumed: booted.facts(machine, index).into_iter().collect(),
        }
    };
    walk.iter().map(hop).collect()
}

fn role(machine: &Machine, index: FunctionIndex) -> &'static str {
    match machine.functions[index].role {
        Role::RootPort => "root port",
        Role::RootBusHead => "on the root bus",
        Role::SwitchUpstream(_) => "upstream port",
        Role::SwitchDownstream(_) => "downstream port",
        Role::Endpoint(_) if machine.parent(index).is_none() => "on the root bus",
        Role::Endpoint(_) => "endpoint",
    }
}

fn link(machine: &Machine, index: FunctionIndex) -> Option<HopLink> {
    let link = match machine.functions[index].role {
        Role::RootPort | Role::SwitchDownstream(_) => {
            machine.links.iter().find(|link| link.upper == Some(index))
        }
        Role::Endpoint(device) => machine.devices[device].link.map(|link| &machine.links[link]),
        Role::SwitchUpstream(_) | Role::RootBusHead => machine.links.iter().find(|link| link.lower == index),
    };
    link.map(|link| HopLink { generation: link.generation, lanes: link.lanes })
}

fn words(booted: &Booted, function: pci::FunctionIndex) -> Option<AcsWords> {
    let capability = acs_capability(&booted.tree, &booted.registers, function)?;
    let control = acs_control(&booted.tree, &booted.registers, function)?;
    Some(AcsWords {
        capability: capability.0,
        control: control.0,
        set: bit_names(control.0),
        redirects: bit_names(control.0 & AcsWord::REDIRECT.0),
    })
}

/// Ends of the route that send payloads which a function on the way takes for malformed: a receiver refuses what is
/// larger than the payload it is programmed for itself.
pub(super) fn payload_conflicts(route: &[Hop]) -> Vec<PayloadConflict> {
    let (Some(first), Some(last)) = (route.first(), route.last()) else { return Vec::new() };
    let conflict = |sender: &Hop, mut way: Box<dyn Iterator<Item = &Hop> + '_>| {
        let receiver = way.find(|hop| hop.max_payload < sender.max_payload)?;
        Some(PayloadConflict {
            sender: sender.function,
            sends: sender.max_payload,
            receiver: receiver.function,
            takes: receiver.max_payload,
        })
    };
    let (from_provider, from_client) =
        (conflict(first, Box::new(route.iter())), conflict(last, Box::new(route.iter().rev())));
    from_provider.into_iter().chain(from_client).collect()
}
