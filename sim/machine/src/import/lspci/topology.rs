//! Which function hangs below which: buses, and the bridges that lead to them.
//!
//! A bus that no bridge leads to is a root bus. Where nothing else shows that it is one, the bridge above it may just
//! not be listed; it is taken for a root bus all the same, and marked.

use std::collections::{BTreeMap, BTreeSet};

use peerbus_units::FunctionId;

use super::facts::{Facts, port_type};
use crate::diagnostic::{Code, Diagnostic};
use crate::import::{Note, codes};

/// A bus: domain and number.
pub type Bus = (u32, u8);

/// The functions of a capture.
pub type Functions = BTreeMap<FunctionId, Facts>;

/// How buses hang together.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Functions by bus.
    on_bus: BTreeMap<Bus, Vec<FunctionId>>,
    /// The bridge that leads to a bus.
    led_by: BTreeMap<Bus, FunctionId>,
    /// Root buses, and whether something shows that each is one.
    pub roots: BTreeMap<Bus, bool>,
}

/// Finds out how buses hang together. `roots` are buses that a text calls root buses.
pub fn topology(
    functions: &mut Functions,
    roots: &[Bus],
    diagnostics: &mut Vec<Diagnostic>,
    notes: &mut Vec<Note>,
) -> Topology {
    let mut led_by: BTreeMap<Bus, FunctionId> = BTreeMap::new();
    let mut on_bus: BTreeMap<Bus, Vec<FunctionId>> = BTreeMap::new();
    for (id, facts) in functions.iter_mut() {
        on_bus.entry((id.domain, id.bus)).or_default().push(*id);
        let Some(buses) = facts.buses.as_mut() else { continue };
        if buses.secondary == 0 {
            // Not configured: nothing can be below it.
            facts.buses = None;
            facts.header = facts.header.or(Some(1));
            continue;
        }
        if buses.subordinate < buses.secondary {
            notes.push(Note::new(id, "its subordinate bus lies below its secondary one; taken as that"));
            buses.subordinate = buses.secondary;
        }
        let below = (id.domain, buses.secondary);
        let taken = led_by.get(&below).copied();
        if buses.secondary <= id.bus || taken.is_some() {
            let message = match taken {
                Some(other) => format!("{id} leads to bus {:02x}, and so does {other}", buses.secondary),
                None => format!("{id} leads to bus {:02x}, which is not below its own", buses.secondary),
            };
            diagnostics.push(problem(facts, codes::BUS_LED_TO_TWICE, message, TWICE));
            continue;
        }
        led_by.insert(below, *id);
    }
    let mut topology = Topology { on_bus, led_by, roots: BTreeMap::new() };
    topology.find_roots(functions, roots);
    topology.check(functions, diagnostics);
    topology
}

const TWICE: &str = "the listing may be of two machines, or was edited; list one machine";
const NUMBERS: &str = "list with `lspci -vvv`, or add the tree of `lspci -t` to the same file";

/// A diagnostic at the first mention of a function.
fn problem(facts: &Facts, code: Code, message: String, help: &str) -> Diagnostic {
    let (file, span) = &facts.place;
    let mut found = Diagnostic::error(code, file, message).help(help);
    found.span = Some(span.clone());
    found
}

impl Topology {
    fn find_roots(&mut self, functions: &Functions, stated: &[Bus]) {
        let buses: BTreeSet<Bus> = self.on_bus.keys().chain(stated).copied().collect();
        for bus in buses.into_iter().filter(|bus| !self.led_by.contains_key(bus)) {
            let shown = bus.1 == 0 || stated.contains(&bus);
            let shown = shown || self.on(bus).iter().any(|id| is_on_root(&functions[id]));
            self.roots.insert(bus, shown);
        }
    }

    /// Reports a listing whose bridges do not say where they lead.
    fn check(&self, functions: &Functions, diagnostics: &mut Vec<Diagnostic>) {
        let silent = functions
            .values()
            .find(|facts| facts.is_bridge() && facts.header.is_none() && facts.buses.is_none());
        let unexplained = self.roots.iter().any(|(_, shown)| !shown);
        if let Some(facts) = silent.filter(|_| unexplained && self.led_by.is_empty()) {
            let message = format!("no bridge, such as {}, says which buses are behind it", facts.id);
            diagnostics.push(problem(facts, codes::NO_TREE, message, NUMBERS));
        }
    }

    /// Functions on a bus, in order.
    pub fn on(&self, bus: Bus) -> &[FunctionId] {
        self.on_bus.get(&bus).map_or(&[], Vec::as_slice)
    }

    /// The root bus above `bus`.
    pub fn root_of(&self, bus: Bus) -> Bus {
        let mut bus = bus;
        // Numbers fall on the way up, so it ends.
        while let Some(bridge) = self.led_by.get(&bus) {
            bus = (bridge.domain, bridge.bus);
        }
        bus
    }

    /// The bridge that leads to a bus.
    pub fn bridge_above(&self, bus: Bus) -> Option<FunctionId> {
        self.led_by.get(&bus).copied()
    }
}

/// True when a function can only be on a root bus.
fn is_on_root(facts: &Facts) -> bool {
    let port = facts.express.get().map(|express| express.port);
    facts.class.is_some_and(|class| class >> 8 == 0x0600)
        || matches!(port, Some(port_type::ROOT_PORT | port_type::INTEGRATED | port_type::EVENT_COLLECTOR))
}
