//! Every NCCL file among the shared captures. They are skipped, with a message, where those are not at hand.
#![allow(clippy::disallowed_methods, reason = "captures are files, and tests may read them")]

use std::collections::BTreeSet;
use std::path::Path;

use peerbus_units::FunctionId;

use super::numbering::walk;
use super::{catalogue, get, outline};
use crate::diagnostic;
use crate::import::{Import, codes, nccl, to_ron};
use crate::{load_machine, lower};

const TOPOLOGIES: [&str; 11] = [
    "rccl/topo_3p_pcie.xml",
    "rccl/topo_4p_940.xml",
    "rccl/topo_8p1h.xml",
    "rccl/topo_8p6l.xml",
    "rccl/topo_8p_90a.xml",
    "rccl/topo_8p_940vm.xml",
    "rccl/topo_8p_pcie.xml",
    "rccl/topo_8p_ts1_n4.xml",
    "aws/p4d-24xl-topo.xml",
    "azure/ncv4-topo.xml",
    "oci/topo-flattened.xml",
];

fn capture(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/captures").join(name);
    let text = std::fs::read_to_string(path).ok();
    if text.is_none() {
        println!("skipped: no capture {name}");
    }
    text
}

fn import(name: &str) -> Option<Import> {
    let imported = nccl(&capture(name)?, name, &catalogue());
    Some(imported.unwrap_or_else(|diagnostics| panic!("{name}: {diagnostics:#?}")))
}

/// Bus ids of a file's functions by a scan that knows nothing of the importer; stand-ins are not functions.
fn listed(text: &str) -> BTreeSet<FunctionId> {
    let ids = text.split("busid=\"").skip(1).filter_map(|rest| rest.split('"').next());
    ids.filter(|id| !id.starts_with("ffff")).filter_map(|id| id.parse().ok()).collect()
}

#[test]
fn every_listed_function_is_kept_and_the_numbering_holds() {
    for name in TOPOLOGIES {
        let (Some(import), Some(text)) = (import(name), capture(name)) else { continue };
        let walk = walk(&import.machine);
        assert_eq!(walk.problems, Vec::<String>::new(), "{name}");
        let listed = listed(&text);
        let found: BTreeSet<_> = walk.functions.iter().map(|(id, _)| *id).collect();
        assert!(listed.len() > 3 && listed.is_subset(&found), "{name}: {:?}", listed.difference(&found));
        let devices = outline(&import.machine).lines().filter(|line| line.contains("gpu")).count();
        assert!(devices >= 3, "{name}");
    }
}

#[test]
fn a_graph_file_is_refused() {
    let Some(text) = capture("azure/ncv4-graph.xml") else { return };
    let found = nccl(&text, "azure/ncv4-graph.xml", &catalogue()).err().unwrap_or_default();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].code, found[0].line, found[0].column), (codes::NOT_A_TOPOLOGY, Some(1), Some(1)));
    assert_eq!(found[0].message, "this is an NCCL graph file (the channels NCCL found), not a topology");
}

/// Functions between two devices by way of their nearest common bridge, as Linux counts its distance.
fn distance(import: &Import, one: &str, other: &str) -> usize {
    let walk = walk(&import.machine);
    let at = |id: &str| {
        walk.functions.iter().position(|(function, _)| function.to_string() == id).unwrap_or_default()
    };
    let (first, second) = (at(one).min(at(other)), at(one).max(at(other)));
    // In a walk that visits parents first, the common bridge is the last function before the first device that
    // is above everything up to the second.
    let (from, to) = (walk.functions[first].1, walk.functions[second].1);
    let lowest = walk.functions[first..=second].iter().map(|(_, depth)| *depth).min().unwrap_or_default();
    let bridge = lowest.saturating_sub(1);
    from - bridge + to - bridge
}

#[test]
fn devices_below_one_switch_are_four_apart() {
    let cases = [
        ("oci/topo-flattened.xml", "0000:0f:00.0", "0000:15:00.0", 4),
        ("oci/topo-flattened.xml", "0000:0c:00.0", "0000:16:00.0", 4),
        ("rccl/topo_8p1h.xml", "0000:1d:00.0", "0000:1e:00.0", 4),
        // Each GPU of these sits behind a bridge of its own below the switch.
        ("rccl/topo_8p_pcie.xml", "0000:1d:00.0", "0000:20:00.0", 8),
        ("rccl/topo_8p1h.xml", "0000:29:00.0", "0000:32:00.0", 8),
        // From a GPU to the NIC beside the bridges.
        ("rccl/topo_8p_pcie.xml", "0000:1a:00.0", "0000:1d:00.0", 6),
        ("aws/p4d-24xl-topo.xml", "0000:10:1c.0", "0000:10:1d.0", 2),
    ];
    for (name, one, other, expected) in cases {
        let Some(import) = import(name) else { continue };
        assert_eq!(distance(&import, one, other), expected, "{name}: {one} to {other}");
    }
}

#[test]
fn the_two_switch_machine_of_skylake() {
    let Some(import) = import("rccl/topo_8p_pcie.xml") else { return };
    let expected = "\
host 0000:17 cpu0
  port 0000:17:00.0 gen3 x16
    switch 0000:18:00.0 generic-switch
      port 0000:19:00.0 gen3 x16
        nic0 0000:1a:00.0 generic-nic
      port 0000:19:01.0 gen3 x16
        switch 0000:1b:00.0 amd-gpu-bridge
          port 0000:1c:00.0 gen4 x16
            gpu0 0000:1d:00.0 mi50
      port 0000:19:02.0 gen3 x16
        switch 0000:1e:00.0 amd-gpu-bridge
          port 0000:1f:00.0 gen4 x16
            gpu1 0000:20:00.0 mi50
      port 0000:19:03.0 gen3 x16
        switch 0000:21:00.0 amd-gpu-bridge
          port 0000:22:00.0 gen4 x16
            gpu2 0000:23:00.0 mi50
      port 0000:19:04.0 gen3 x16
        switch 0000:24:00.0 amd-gpu-bridge
          port 0000:25:00.0 gen4 x16
            gpu3 0000:26:00.0 mi50
";
    let outline = outline(&import.machine);
    assert!(outline.starts_with(expected), "{outline}");
    assert_eq!(get(&import.machine.cpus[0].part).map(String::as_str), Some("intel-skylake-sp"));
    assert_eq!((import.machine.cpus.len(), import.machine.cpu_links.len()), (1, 0));
    assert!(import.machine.interconnects.is_empty());
}

#[test]
fn the_mi300a_node_and_its_links() {
    let Some(import) = import("rccl/topo_4p_940.xml") else { return };
    let outline = outline(&import.machine);
    let expected = "\
host 0000:00 cpu0
  port 0000:00:01.0 gen4 x16
    nic2 0000:01:00.0 slingshot-cassini
  port 0000:00:02.0 gen5 x16
    gpu2 0000:02:00.0 mi300a
host 0000:40 cpu1
";
    assert!(outline.starts_with(expected), "{outline}");
    let [links] = import.machine.interconnects.as_slice() else {
        panic!("{:?}", import.machine.interconnects)
    };
    assert_eq!(get(&links.part).map(String::as_str), Some("xgmi-mi300"));
    assert_eq!(links.pairs.len(), 6);
    assert!(links.pairs.iter().all(|pair| get(&pair.links) == Some(&1)));
}

#[test]
fn what_is_said_about_the_virtual_machine() {
    let Some(import) = import("azure/ncv4-topo.xml") else { return };
    let notes: Vec<String> = import.notes.iter().map(ToString::to_string).collect();
    let expected = [
        "eth0: a network interface below NUMA node 0 without a PCI function; left out",
        "cpu0 to cpu3: the file lists NUMA nodes and not which of them share a package; each is taken as a package, \
         every two joined by xgmi2-x4",
        "0001:00:00.0, 0002:00:00.0, 0003:00:00.0, 0004:00:00.0: no bus number is left for a root port above it; it \
         sits on its root bus as listed",
        "0001:00:00.0, 0002:00:00.0, 0003:00:00.0, 0004:00:00.0: the speed or width of its link is not stated; taken as \
         the best that both ends support",
        "gpu0, gpu1, gpu2, gpu3: a private link that leads back to it is left out",
    ];
    assert_eq!(notes, expected);
}

/// Written, read and lowered, an import is the machine that the import itself lowers to.
#[test]
fn text_reads_back_as_the_same_machine() {
    let catalogue = catalogue();
    for name in TOPOLOGIES {
        let Some(import) = import(name) else { continue };
        let text = to_ron(&import.machine, "Round trip.");
        let (direct, found) = lower(&import.machine, "", name, &catalogue);
        assert_eq!(found, [], "{name}");
        let (read, found) = load_machine(&text, "machine.ron", &catalogue);
        let sources = [("machine.ron".to_owned(), text)].into();
        assert_eq!(found, [], "{name}: {}", diagnostic::render(&found, &sources, false));
        assert!(direct.is_some(), "{name}");
        assert_eq!(format!("{read:?}"), format!("{direct:?}"), "{name}");
    }
}

#[test]
fn text_is_pretty_and_short_lines() {
    for name in TOPOLOGIES {
        let Some(import) = import(name) else { continue };
        let text = to_ron(&import.machine, "Restated.\n\nFrom a capture.");
        assert!(text.starts_with("// Restated.\n//\n// From a capture.\nMachine(\n"), "{name}");
        let long = text.lines().find(|line| line.chars().count() > 110 || line.ends_with(' '));
        assert_eq!(long, None, "{name}");
    }
}
