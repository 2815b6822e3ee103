//! [`Wiring`]: which device and function number each function answers to, and who is below whom.
//!
//! Device numbers are wired, not programmed: they are fixed when registers are built. Bus numbers are programmed,
//! so routing takes them as an argument.
//!
//! Invariant: among the functions below one bridge, or on one root bus, no two have the same number; where a
//! description gives one number twice the earlier function keeps it and the later answers to none.

use std::collections::BTreeSet;

use peerbus_units::FunctionId;
use petgraph::graph::NodeIndex;

use crate::model::{Attachment, Function, FunctionIndex, Machine, Role};

/// The fixed part of configuration routing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wiring {
    /// Per function.
    functions: Vec<Wire>,
    /// Per host bridge.
    roots: Vec<Root>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Wire {
    host_bridge: usize,
    parent: Option<FunctionIndex>,
    children: Vec<FunctionIndex>,
    /// Device and function number; `None` when no number was left.
    devfn: Option<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Root {
    domain: u32,
    bus: u8,
    bus_last: u8,
    functions: Vec<FunctionIndex>,
}

impl Wiring {
    /// Numbers for every function of the machine.
    pub(crate) fn new(machine: &Machine) -> Wiring {
        let wire = |index: FunctionIndex| Wire {
            host_bridge: machine.functions[index].host_bridge,
            parent: machine.parent(index),
            children: machine.children(index),
            devfn: None,
        };
        let roots = machine.host_bridges.iter().map(|bridge| Root {
            domain: bridge.domain,
            bus: bridge.bus,
            bus_last: bridge.bus_last,
            functions: bridge.functions.clone(),
        });
        let mut wiring = Wiring {
            functions: machine.functions.node_indices().map(wire).collect(),
            roots: roots.collect(),
        };
        for root in 0..wiring.roots.len() {
            let functions = wiring.roots[root].functions.clone();
            wiring.number(machine, &functions);
        }
        for index in machine.functions.node_indices() {
            let children = wiring.functions[index.index()].children.clone();
            wiring.number(machine, &children);
        }
        wiring
    }

    /// Gives every function of one bus its number: first those that are stated, then the others in order.
    fn number(&mut self, machine: &Machine, on_bus: &[FunctionIndex]) {
        let mut taken = BTreeSet::new();
        for &index in on_bus {
            let stated = machine.functions[index].id.map(|id| id.devfn);
            self.functions[index.index()].devfn = stated.filter(|devfn| taken.insert(*devfn));
        }
        for &index in on_bus {
            if machine.functions[index].id.is_some() {
                continue;
            }
            let mates = self.mates(machine, index, on_bus);
            let behind_link = matches!(machine.attachment(index), Some(Attachment::Link(_)));
            let devfn = free_number(&taken, &mates, behind_link);
            taken.extend(devfn);
            self.functions[index.index()].devfn = devfn;
        }
    }

    /// Numbers that functions of the same device already have.
    fn mates(&self, machine: &Machine, index: FunctionIndex, on_bus: &[FunctionIndex]) -> Vec<u8> {
        let device = |function: &Function| match function.role {
            Role::Endpoint(device) => Some(device),
            _ => None,
        };
        let own = device(&machine.functions[index]);
        let same = |other: &&FunctionIndex| own.is_some() && device(&machine.functions[**other]) == own;
        on_bus.iter().filter(same).filter_map(|other| self.functions[other.index()].devfn).collect()
    }

    /// Device and function number.
    pub(crate) fn devfn(&self, function: FunctionIndex) -> Option<u8> {
        self.functions[function.index()].devfn
    }

    /// True when another function has the same device number on the same bus.
    pub(crate) fn is_multi_function(&self, function: FunctionIndex) -> bool {
        let device = |index: &FunctionIndex| self.devfn(*index).map(|devfn| devfn >> 3);
        let own = device(&function);
        own.is_some() && self.siblings(function).iter().filter(|other| device(other) == own).count() > 1
    }

    /// All functions on the bus of `function`, itself included.
    fn siblings(&self, function: FunctionIndex) -> &[FunctionIndex] {
        let wire = &self.functions[function.index()];
        match wire.parent {
            Some(parent) => &self.functions[parent.index()].children,
            None => &self.roots[wire.host_bridge].functions,
        }
    }

    /// The bus above `function`: that of its root, or the secondary bus of its parent.
    pub(crate) fn bus(&self, function: FunctionIndex, secondary: impl Fn(FunctionIndex) -> u8) -> u8 {
        let wire = &self.functions[function.index()];
        wire.parent.map_or(self.roots[wire.host_bridge].bus, secondary)
    }

    /// The number of `function` on a bus with that number.
    pub(crate) fn id(&self, function: FunctionIndex, bus: u8) -> Option<FunctionId> {
        let wire = &self.functions[function.index()];
        Some(FunctionId { domain: self.roots[wire.host_bridge].domain, bus, devfn: wire.devfn? })
    }

    /// Who answers to `id`: the host bridge of the root bus sends type 0 requests on it and type 1 requests below
    /// it; a bridge whose `buses` (secondary, subordinate) enclose the bus takes them, and makes type 0 ones of
    /// them for its secondary bus. Where several bridges claim a bus, the first does.
    pub(crate) fn route(
        &self,
        id: FunctionId,
        buses: impl Fn(FunctionIndex) -> Option<(u8, u8)>,
    ) -> Option<FunctionIndex> {
        let holds = |root: &&Root| root.domain == id.domain && root.bus <= id.bus && id.bus <= root.bus_last;
        let root = self.roots.iter().filter(holds).max_by_key(|root| root.bus)?;
        let mut bus = root.bus;
        let mut on_bus = &root.functions;
        while bus != id.bus {
            let claims = |index: FunctionIndex| {
                let (secondary, subordinate) = buses(index)?;
                (bus < secondary && secondary <= id.bus && id.bus <= subordinate)
                    .then_some((index, secondary))
            };
            let (bridge, secondary) = on_bus.iter().copied().find_map(claims)?;
            bus = secondary;
            on_bus = &self.functions[bridge.index()].children;
        }
        on_bus.iter().copied().find(|index| self.devfn(*index) == Some(id.devfn))
    }

    /// Every function, in order of index.
    pub(crate) fn all(&self) -> impl Iterator<Item = FunctionIndex> + use<> {
        (0..self.functions.len()).map(NodeIndex::new)
    }
}

/// The next number: beside its device's other functions if it has some, else function 0 of the next device.
/// Below a link there is only device 0. When devices run out, further functions of used devices are taken.
fn free_number(taken: &BTreeSet<u8>, mates: &[u8], behind_link: bool) -> Option<u8> {
    let is_free = |devfn: &u8| !taken.contains(devfn);
    let functions_of = |device: u8| (device << 3)..=(device << 3 | 7);
    if let Some(first) = mates.first() {
        return functions_of(first >> 3).find(is_free);
    }
    if behind_link {
        return functions_of(0).find(is_free);
    }
    let unused = (0..32u8).find(|device| functions_of(*device).all(|devfn| is_free(&devfn)));
    // Function 0 of a device must exist for its other functions to be found; a used device's may not, and then
    // it comes first in its range and is taken.
    unused.map(|device| device << 3).or_else(|| (0..=255).find(is_free))
}
