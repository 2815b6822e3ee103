//! What a good file becomes: names, links, numbers, windows, facts.

use peerbus_machine::model::{Attachment, Edge, Fact, Machine, Member, Role};
use peerbus_machine::part::ResourceKind;
use peerbus_machine::{Catalogue, load_machine};
use peerbus_units::Bytes;

fn load(text: &str) -> Machine {
    let (machine, found) = load_machine(text, "test.ron", &Catalogue::embedded());
    assert_eq!(found, [], "{text}");
    machine.unwrap_or_else(|| panic!("no machine from {text}"))
}

/// A machine with one host bridge of the given fields.
fn with_bridge(fields: &str) -> Machine {
    load(&format!("(cpus: [(part: \"generic-cpu\")], host_bridges: [({fields})])"))
}

const GPU: &str = "(below: Device(part: \"generic-gpu\"))";

fn names(machine: &Machine) -> Vec<&str> {
    machine.functions.node_weights().map(|function| function.name.as_str()).collect()
}

/// `name id secondary-subordinate` of every function, `-` for what is open.
fn numbers(machine: &Machine) -> Vec<String> {
    let line = |function: &peerbus_machine::model::Function| {
        let id = function.id.map_or("-".to_owned(), |id| id.to_string());
        let buses = function.firmware.as_ref().map_or("-".to_owned(), |firmware| {
            format!("{:02x}-{:02x}", firmware.secondary, firmware.subordinate)
        });
        format!("{} {id} {buses}", function.name)
    };
    machine.functions.node_weights().map(line).collect()
}

#[test]
fn functions_are_named_by_their_path() {
    let machine = load(&format!(
        "(cpus: [(part: \"generic-cpu\")], host_bridges: [
            (bus: 0x80, ports: [{GPU}]),
            (bus: 0x00, ports: [
                (),
                (below: Switch(part: \"generic-switch\",
                    ports: [{GPU}, (below: Device(part: \"generic-nic\", functions: [()])), {GPU}],
                    devices: [(part: \"generic-ssd\")])),
             ], devices: [(name: \"gpu1\", part: \"generic-gpu\")]),
        ])"
    ));
    // Host bridges are in order of their bus; devices and switches are counted in order of the file.
    let expected = [
        "host1/head",
        "host1/rp0",
        "host1/rp0/gpu0",
        "host0/head",
        "host0/rp0",
        "host0/rp1",
        "host0/rp1/sw0",
        "host0/rp1/sw0/p0",
        "host0/rp1/sw0/p0/gpu2",
        "host0/rp1/sw0/p1",
        "host0/rp1/sw0/p1/nic0",
        "host0/rp1/sw0/p1/nic0.1",
        "host0/rp1/sw0/p2",
        "host0/rp1/sw0/p2/gpu3",
        "host0/rp1/sw0/ssd0",
        "host0/gpu1",
    ];
    assert_eq!(names(&machine), expected);
    assert_eq!(machine.switches[0].name, "host0/rp1/sw0");
    assert_eq!(machine.device("host0/rp1/sw0/p1/nic0"), machine.device("nic0"));
    let links: Vec<&str> = machine.links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(links[0], "host1/rp0/gpu0");
    assert_eq!(links[1], "host0/rp1/sw0");
    let hidden =
        machine.links.iter().find(|link| link.hidden_below.is_some()).map(|link| (&*link.name, link.upper));
    assert_eq!(hidden, Some(("host0/rp1/sw0/ssd0", None)));
    let gpu1 = machine.device("gpu1").map(|index| &machine.devices[index]);
    assert_eq!(gpu1.map(|gpu| gpu.link), Some(None), "integrated");
}

#[test]
fn the_tree_is_joined_by_links_and_inside_switches() {
    let machine = with_bridge(&format!("ports: [(below: Switch(part: \"generic-switch\", ports: [{GPU}]))]"));
    for index in machine.functions.node_indices() {
        let expected = match machine.functions[index].role {
            Role::RootBusHead | Role::RootPort => None,
            Role::SwitchUpstream(_) => Some(Attachment::Link(0)),
            Role::SwitchDownstream(_) => Some(Attachment::Internal),
            Role::Endpoint(_) => Some(Attachment::Link(1)),
        };
        assert_eq!(machine.attachment(index), expected, "{}", machine.functions[index].name);
    }
    for link in &machine.links {
        let upper = link.upper.map(|upper| machine.functions[upper].name.as_str());
        assert_eq!(upper, machine.parent(link.lower).map(|above| machine.functions[above].name.as_str()));
    }
}

/// Generation and lanes of each link.
fn check_links(bridge: &str, expected: &[(u8, u8)]) {
    let links: Vec<_> = with_bridge(bridge).links.iter().map(|link| (link.generation, link.lanes)).collect();
    assert_eq!(links, expected, "{bridge}");
}

#[test]
fn links_are_the_best_that_both_ends_support() {
    check_links("ports: [(below: Device(part: \"a100-pcie-80g\"))]", &[(4, 16)]);
    check_links("ports: [(link: (gen: 3), below: Device(part: \"a100-pcie-80g\"))]", &[(3, 16)]);
    check_links("ports: [(link: (lanes: 8), below: Device(part: \"a100-pcie-80g\"))]", &[(4, 8)]);
    check_links("ports: [(below: Device(part: \"generic-ssd\"))]", &[(5, 4)]);
    check_links("ports: [(below: Device(part: \"generic-gpu\", link: (gen: 2, lanes: 1)))]", &[(2, 1)]);
    check_links("devices: [(part: \"generic-gpu\", link: (gen: 4))]", &[(4, 16)]);
    check_links("devices: [(part: \"generic-gpu\")]", &[]);
    check_links(
        "ports: [(below: Switch(part: \"pex8796\", ports: [(below: Device(part: \"generic-gpu\"))]))]",
        &[(3, 16), (3, 16)],
    );
}

#[test]
fn without_ids_firmware_numbers_buses_depth_first() {
    let machine =
        with_bridge(&format!("ports: [{GPU}, (below: Switch(part: \"generic-switch\", ports: [()]))]"));
    let expected = [
        "host0/head 0000:00:00.0 -",
        "host0/rp0 0000:00:01.0 01-01",
        "host0/rp0/gpu0 - -",
        "host0/rp1 0000:00:02.0 02-04",
        "host0/rp1/sw0 - 03-04",
        "host0/rp1/sw0/p0 - 04-04",
    ];
    assert_eq!(numbers(&machine), expected);
}

#[test]
fn around_given_ids_everything_is_numbered() {
    let machine = with_bridge(
        "ports: [
            (below: Switch(part: \"generic-switch\", id: \"43:00.0\", ports: [
                (id: \"44:04.0\", below: Device(part: \"generic-gpu\", id: \"45:00.0\")),
                (below: Device(part: \"generic-gpu\", functions: [()])),
            ])),
            (id: \"40:03.1\"),
            (below: Device(part: \"generic-nic\")),
        ]",
    );
    let expected = [
        "host0/head 0000:40:00.0 -",
        "host0/rp0 0000:40:01.0 43-46",
        "host0/rp0/sw0 0000:43:00.0 44-46",
        "host0/rp0/sw0/p0 0000:44:04.0 45-45",
        "host0/rp0/sw0/p0/gpu0 0000:45:00.0 -",
        "host0/rp0/sw0/p1 0000:44:00.0 46-46",
        "host0/rp0/sw0/p1/gpu1 0000:46:00.0 -",
        "host0/rp0/sw0/p1/gpu1.1 0000:46:00.1 -",
        "host0/rp2 0000:40:03.1 41-41",
        "host0/rp1 0000:40:02.0 42-42",
        "host0/rp1/nic0 0000:42:00.0 -",
        // A system that finds no function 0 of device 3 would not look for the port at function 1.
        "host0/head03.0 0000:40:03.0 -",
    ];
    assert_eq!(numbers(&machine), expected);
    let bridge = &machine.host_bridges[0];
    assert_eq!((bridge.domain, bridge.bus, bridge.bus_last), (0, 0x40, 0xff));
    let added = machine.functions.node_weights().find(|function| function.inserted);
    assert!(
        added
            .is_some_and(|function| function.class == 0x060000 && function.assumed.contains(&Fact::Function))
    );
    let in_order: Vec<_> = bridge.functions.iter().map(|function| machine.functions[*function].id).collect();
    assert!(in_order.is_sorted(), "{in_order:?}");
}

#[test]
fn a_port_at_function_zero_displaces_the_default_head() {
    let machine = with_bridge(&format!("ports: [(id: \"00:00.0\"), {GPU}]"));
    assert_eq!(numbers(&machine)[..2], ["host0/rp0 0000:00:00.0 01-01", "host0/rp1 0000:00:01.0 02-02"]);
}

/// Root bus and last bus of each host bridge, in hexadecimal.
fn check_roots(bridges: &str, expected: &[&str]) {
    let machine = load(&format!("(cpus: [(part: \"generic-cpu\")], host_bridges: [{bridges}])"));
    let found: Vec<String> = machine
        .host_bridges
        .iter()
        .map(|b| format!("{:x}:{:02x}-{:02x}", b.domain, b.bus, b.bus_last))
        .collect();
    assert_eq!(found, expected, "{bridges}");
}

#[test]
fn root_buses_are_spread() {
    check_roots("()", &["0:00-ff"]);
    check_roots("(), (), (), ()", &["0:00-3f", "0:40-7f", "0:80-bf", "0:c0-ff"]);
    check_roots("(), (domain: 1), (domain: 1)", &["0:00-ff", "1:00-7f", "1:80-ff"]);
    check_roots("(bus: 0x10), ()", &["0:00-0f", "0:10-ff"]);
    check_roots("(bus: 0x00, bus_last: 0x1f), ()", &["0:00-1f", "0:20-ff"]);
    check_roots("(ports: [(id: \"0002:30:01.0\")])", &["2:30-ff"]);
}

#[test]
fn windows_share_the_areas_and_are_assumed() {
    let machine = load("(cpus: [(part: \"generic-cpu\")], host_bridges: [(), ()])");
    let windows: Vec<String> = machine
        .host_bridges
        .iter()
        .flat_map(|bridge| &bridge.windows)
        .filter(|window| window.kind != ResourceKind::Io)
        .map(|window| format!("{} {} {:?}", window.cpu, window.bus, window.kind))
        .collect();
    // 2028 MiB in two; a quarter of 2^46 is 2^44, in two.
    let expected = [
        "[0x80000000-0xbf5fffff] 0x80000000 Mem32",
        "[0x300000000000-0x37ffffffffff] 0x300000000000 Mem64Prefetch",
        "[0xbf600000-0xfebfffff] 0xbf600000 Mem32",
        "[0x380000000000-0x3fffffffffff] 0x380000000000 Mem64Prefetch",
    ];
    assert_eq!(windows, expected);
    assert!(machine.host_bridges.iter().all(|bridge| bridge.assumed.contains(&Fact::Windows)));
    let around = load(
        "(cpus: [(part: \"generic-cpu\")], host_bridges: [
            (windows: [(cpu: 0x8000_0000, size: \"1GiB\", kind: Mem32)]), ()])",
    );
    assert_eq!(around.host_bridges[0].windows.len(), 1);
    assert_eq!(around.host_bridges[1].windows[0].cpu.first().0, 0xc000_0000);
    assert!(!around.host_bridges[0].assumed.contains(&Fact::Windows));
}

#[test]
fn firmware_windows_follow_the_addresses_of_bars() {
    let machine = with_bridge(
        "windows: [(cpu: 0x9000_0000, size: \"256MiB\", kind: Mem32), (cpu: 0x2000_0000_0000, size: \"1TiB\", kind: Mem64Prefetch)],
         ports: [(below: Switch(part: \"generic-switch\", ports: [
            (below: Device(part: \"generic-gpu\", bars: [
                (index: 0, size: \"64KiB\", kind: Mem32, address: 0x9012_0000),
                (index: 2, size: \"1GiB\", kind: Mem64Prefetch, address: 0x2000_4000_0000),
            ])),
            (below: Device(part: \"generic-nic\", bars: [(index: 0, size: \"32MiB\", kind: Mem32, address: 0x9200_0000)])),
        ]))]",
    );
    let windows = |name: &str| -> Vec<String> {
        let function = machine.functions.node_weights().find(|function| function.name == name);
        let firmware = function.and_then(|function| function.firmware.clone());
        firmware.iter().flat_map(|f| &f.windows).map(|(kind, range)| format!("{kind:?} {range}")).collect()
    };
    let both = ["Mem32 [0x90100000-0x93ffffff]", "Mem64Prefetch [0x200040000000-0x20007fffffff]"];
    assert_eq!(windows("host0/rp0"), both);
    assert_eq!(windows("host0/rp0/sw0/p1"), ["Mem32 [0x92000000-0x93ffffff]"]);
    let gpu = machine.functions.node_weights().find(|function| function.name.ends_with("gpu0"));
    assert!(gpu.is_some_and(|gpu| gpu.id.is_some()), "addresses mean that firmware has numbered the buses");
}

#[test]
fn what_is_not_said_is_assumed() {
    let machine = load(
        "(cpus: [(part: \"generic-cpu\"), (part: \"generic-cpu\", memory: \"1TiB\", assumed: [cpu])],
          cpu_links: [(from: 0, to: 1, part: \"upi-16\")],
          host_bridges: [(assumed: [host_bridge], ports: [
            (assumed: [link, acs], below: Device(part: \"generic-gpu\")),
            (below: Device(part: \"generic-gpu\", memory: \"1GiB\", bars: [], acs: (capability: 0x5f))),
            (below: Device(part: \"generic-gpu\", assumed: [part])),
          ])])",
    );
    assert_eq!(machine.cpus[0].memory, Bytes::gib(64));
    assert!(
        machine.cpus[0].assumed.contains(&Fact::Memory) && !machine.cpus[1].assumed.contains(&Fact::Memory)
    );
    assert!(machine.cpus[1].assumed.contains(&Fact::Cpu));
    assert!(machine.host_bridges[0].assumed.contains(&Fact::HostBridge));
    let [first, second, third] = &machine.devices[..] else { panic!("three devices") };
    assert!(
        first.assumed.is_superset(&[Fact::Bars, Fact::Memory, Fact::Timing].into()),
        "{:?}",
        first.assumed
    );
    assert_eq!(second.assumed, [Fact::Timing].into());
    assert!(third.assumed.contains(&Fact::Part));
    let function = |device: usize| &machine.functions[machine.devices[device].functions[0]];
    assert!(function(0).assumed.contains(&Fact::Bars) && !function(1).assumed.contains(&Fact::Bars));
    assert_eq!(function(1).acs.map(|acs| acs.capability), Some(0x5f));
    let port = machine.links[0].upper.map(|port| &machine.functions[port]);
    assert!(port.is_some_and(|port| port.assumed.contains(&Fact::Acs)));
}

#[test]
fn interconnects_become_edges() {
    let machine = load(&format!(
        "(cpus: [(part: \"generic-cpu\")], host_bridges: [(ports: [{GPU}, {GPU}, {GPU}])],
          interconnects: [
            (name: \"mesh\", part: \"nvlink4-switch\", members: [\"gpu2\", \"gpu0\", \"gpu1\"], links: 18),
            (part: \"nvlink4\", pairs: [(from: \"gpu2\", to: \"gpu0\", links: 4), (from: \"gpu0\", to: \"gpu1\")]),
          ])"
    ));
    assert_eq!(machine.interconnects[0].name, "mesh");
    assert_eq!(machine.interconnects[0].edges, [edge(0, 1, 18), edge(0, 2, 18), edge(1, 2, 18)]);
    assert_eq!(machine.interconnects[1].name, "interconnect1");
    // From the member that is named first: a part may have another rate the other way.
    assert_eq!(machine.interconnects[1].edges, [edge(2, 0, 4), edge(0, 1, 1)]);
}

#[test]
fn cpus_are_members_of_interconnects() {
    let machine = load(&format!(
        "(cpus: [(part: \"generic-cpu\"), (part: \"generic-cpu\")], cpu_links: [(from: 0, to: 1, part: \"upi-16\")],
          host_bridges: [(ports: [{GPU}, {GPU}])],
          interconnects: [
            (part: \"nvlink-c2c\", pairs: [(from: \"cpu1\", to: \"gpu0\")]),
            (part: \"nvlink4-switch\", members: [\"cpu0\", \"gpu1\"]),
          ])"
    ));
    let (device, cpu) = (Member::Device, Member::Cpu);
    assert_eq!(machine.interconnects[0].edges, [Edge { from: cpu(1), to: device(0), links: 1 }]);
    assert_eq!(machine.interconnects[1].edges, [Edge { from: device(1), to: cpu(0), links: 1 }]);
}

fn edge(from: usize, to: usize, links: u32) -> Edge {
    Edge { from: Member::Device(from), to: Member::Device(to), links }
}

#[test]
fn parts_of_the_file_are_used_like_those_of_the_catalogue() {
    let machine = load(
        "(parts: [CpuLink(id: \"mine\", description: \"\", rate: \"5GB/s\", latency: \"1us\", sources: {})],
          cpus: [(part: \"generic-cpu\"), (part: \"generic-cpu\")], cpu_links: [(from: 1, to: 0, part: \"mine\")],
          host_bridges: [(cpu: 1)])",
    );
    assert_eq!(machine.cpu_links[0].part.id, "mine");
    assert_eq!(machine.host_bridges[0].cpu, 1);
}

/// Two switches of the smallest part that has 3 ports and 32 lanes in all, on chips of those names.
fn two_switches(chips: [&str; 2]) -> Vec<&'static str> {
    let part = "Switch(id: \"small\", description: \"\", pci: [(vendor: 1, device: 2)], ports: 3, total_lanes: 32, \
        generation: 4, lanes: 16, max_payload: \"512B\", acs: None, latency: \"100ns\", buffers: (posted: (header: 64, \
        data: 256), non_posted: (header: 64, data: 16), completion: (header: 64, data: 256)), sources: {})";
    let switch = |chip: &str| {
        let gpu = "(link: (lanes: 16), below: Device(part: \"generic-gpu\"))";
        format!("(link: (lanes: 16), below: Switch(part: \"small\", chip: \"{chip}\", ports: [{gpu}]))")
    };
    let [one, other] = chips.map(switch);
    let bridge = format!("(ports: [{one}, {other}])");
    let text = format!("(parts: [{part}], cpus: [(part: \"generic-cpu\")], host_bridges: [{bridge}])");
    let (_, found) = load_machine(&text, "test.ron", &Catalogue::embedded());
    found.iter().map(|diagnostic| diagnostic.code.0).collect()
}

#[test]
fn partitions_share_the_ports_and_lanes_of_their_chip() {
    // Each has two ports and 32 lanes: on one chip that is more than it has.
    assert_eq!(two_switches(["a", "b"]), [""; 0]);
    assert_eq!(two_switches(["a", "a"]), ["M0305", "M0306"]);
}
