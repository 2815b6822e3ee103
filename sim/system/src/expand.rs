//! Which devices a pattern stands for, and which flows a workload makes.
//!
//! Loaders check expectations against these names before a run, and the run uses the same functions, so the two
//! cannot disagree. The order is that of the scenario, and within a pattern that of the machine.

use peerbus_machine::Machine;
use peerbus_units::Bytes;

use crate::workload::{HostDirection, HostDma, Workload};

/// A text in which `*` stands for any characters, none included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    pieces: Vec<String>,
}

impl Pattern {
    /// The pattern as people write it.
    pub fn new(text: &str) -> Pattern {
        Pattern { pieces: text.split('*').map(str::to_owned).collect() }
    }

    /// Number of `*`.
    pub fn wildcards(&self) -> usize {
        self.pieces.len() - 1
    }

    /// What each `*` stands for in `text`, each as short as possible from the left; `None` when `text` does not
    /// fit the pattern.
    pub fn captures<'a>(&self, text: &'a str) -> Option<Vec<&'a str>> {
        let (first, others) = self.pieces.split_first()?;
        let mut rest = text.strip_prefix(first.as_str())?;
        let Some((last, middle)) = others.split_last() else {
            return rest.is_empty().then(Vec::new);
        };
        let mut captured = Vec::new();
        for piece in middle {
            let at = rest.find(piece.as_str())?;
            captured.push(&rest[..at]);
            rest = &rest[at + piece.len()..];
        }
        captured.push(rest.strip_suffix(last.as_str())?);
        Some(captured)
    }

    /// True when `text` fits the pattern.
    pub fn matches(&self, text: &str) -> bool {
        self.captures(text).is_some()
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.pieces.join("*"))
    }
}

/// Indices of the devices that `pattern` names, by short name or by path, in the machine's order.
pub fn devices(machine: &Machine, pattern: &str) -> Vec<usize> {
    let pattern = Pattern::new(pattern);
    let path = |index: usize| machine.functions[machine.devices[index].functions[0]].name.as_str();
    let named =
        |index: &usize| pattern.matches(&machine.devices[*index].name) || pattern.matches(path(*index));
    (0..machine.devices.len()).filter(named).collect()
}

/// The devices of several patterns: in the patterns' order, each device once.
pub fn device_list(machine: &Machine, patterns: &[String]) -> Vec<usize> {
    let mut found = Vec::new();
    for index in patterns.iter().flat_map(|pattern| devices(machine, pattern)) {
        if !found.contains(&index) {
            found.push(index);
        }
    }
    found
}

/// Between what a flow runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    /// From one device to another, by index in [`Machine::devices`].
    Devices {
        /// Where the data come from.
        from: usize,
        /// Where they go.
        to: usize,
    },
    /// Between a device and host memory.
    Host {
        /// The device, by index in [`Machine::devices`].
        device: usize,
        /// Bytes of one transfer.
        size: Bytes,
        /// True when the device writes.
        writes: bool,
    },
}

/// A flow that a workload makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedFlow {
    /// Its name, unique when the names of workloads are, and sizes within one workload.
    pub name: String,
    /// Index of its workload.
    pub workload: usize,
    /// Between what it runs.
    pub ends: Ends,
}

/// The flows of all `workloads`, in order. A workload whose devices the machine does not have makes none: loaders
/// refuse it.
pub fn flows(machine: &Machine, workloads: &[Workload]) -> Vec<PlannedFlow> {
    let mut planned = Vec::new();
    for (workload, item) in workloads.iter().enumerate() {
        let named = flows_of(machine, item);
        planned.extend(named.into_iter().map(|(name, ends)| PlannedFlow { name, workload, ends }));
    }
    planned
}

fn flows_of(machine: &Machine, workload: &Workload) -> Vec<(String, Ends)> {
    match workload {
        Workload::Copy(copy) => {
            let ends = single(machine, &copy.from).zip(single(machine, &copy.to));
            ends.map(|(from, to)| (copy.name.clone(), Ends::Devices { from, to })).into_iter().collect()
        }
        Workload::PairMatrix(matrix) => pairs(machine, &matrix.name, &matrix.devices),
        Workload::AllToAll(exchange) => pairs(machine, &exchange.name, &exchange.devices),
        Workload::HostDma(dma) => {
            single(machine, &dma.device).map(|device| transfers(device, dma)).unwrap_or_default()
        }
    }
}

/// `name` without `/memory`: `gpu0/memory` is the memory of `gpu0`, the only thing of a device that a copy can name.
pub fn device_part(name: &str) -> &str {
    name.strip_suffix("/memory").unwrap_or(name)
}

/// The one device that `name` or a pattern names, with or without `/memory`; `None` when it names none or several.
pub fn single(machine: &Machine, name: &str) -> Option<usize> {
    match devices(machine, device_part(name)).as_slice() {
        [one] => Some(*one),
        _ => None,
    }
}

/// Every ordered pair, row by row: all receivers of the first sender, then those of the second.
fn pairs(machine: &Machine, name: &str, patterns: &[String]) -> Vec<(String, Ends)> {
    let members = device_list(machine, patterns);
    let mut flows = Vec::new();
    for &from in &members {
        for &to in members.iter().filter(|to| **to != from) {
            let (sender, receiver) = (&machine.devices[from].name, &machine.devices[to].name);
            flows.push((format!("{name}.{sender}.{receiver}"), Ends::Devices { from, to }));
        }
    }
    flows
}

fn transfers(device: usize, dma: &HostDma) -> Vec<(String, Ends)> {
    let mut flows = Vec::new();
    for &size in &dma.sizes {
        let base = format!("{}.{size}", dma.name);
        let ends = |writes| Ends::Host { device, size, writes };
        match dma.direction {
            HostDirection::Read => flows.push((base, ends(false))),
            HostDirection::Write => flows.push((base, ends(true))),
            HostDirection::ReadWrite => {
                flows.push((format!("{base}.read"), ends(false)));
                flows.push((format!("{base}.write"), ends(true)));
            }
        }
    }
    flows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_capture_what_stars_stand_for() {
        for (pattern, text, expected) in [
            ("gpu0", "gpu0", Some(vec![])),
            ("gpu0", "gpu01", None),
            ("gpu*", "gpu01", Some(vec!["01"])),
            ("gpu*", "gpu", Some(vec![""])),
            ("*", "m.gpu0", Some(vec!["m.gpu0"])),
            ("m.*.*", "m.gpu0.gpu1", Some(vec!["gpu0", "gpu1"])),
            ("m.*.gpu1", "m.gpu1.gpu0", None),
            ("*ab*", "aab", Some(vec!["a", ""])),
            ("a*a", "a", None),
            ("", "", Some(vec![])),
            ("", "a", None),
        ] {
            assert_eq!(Pattern::new(pattern).captures(text), expected, "{pattern} on {text}");
        }
        assert_eq!(Pattern::new("a*b*").to_string(), "a*b*");
        assert_eq!(Pattern::new("a*b*").wildcards(), 2);
    }
}
