//! Peer-to-peer decisions of whole machines.

use peerbus_machine::model::Fact;
use peerbus_system::boot::{BootOptions, boot};
use peerbus_system::kernel::{AcsPolicy, KernelSettings, ProfileName};
use peerbus_system::p2p::{DmaKind, MapType, Matrix, Pair, matrix, render_matrix};
use peerbus_units::Bytes;

use crate::build::*;

fn decide(build: &Build, profile: ProfileName, acs: AcsPolicy) -> Matrix {
    let booted = boot(
        &build.machine,
        &KernelSettings { profile, acs, ..KernelSettings::default() },
        &BootOptions::default(),
    );
    matrix(&build.machine, &booted)
}

fn pair<'a>(matrix: &'a Matrix, from: &str, to: &str) -> &'a Pair {
    let id = |name: &str| {
        matrix.functions.iter().find(|row| row.device.as_deref() == Some(name)).unwrap().function
    };
    let (provider, client) = (id(from), id(to));
    matrix.pairs.iter().find(|pair| pair.provider == provider && pair.client == client).unwrap()
}

fn reasons(pair: &Pair) -> Vec<&str> {
    pair.reasons.iter().map(|reason| reason.kind).collect()
}

use MapType::{BusAddr, NotSupported, ThruHostBridge};

/// Below one switch; between two root ports of one host bridge; between two host bridges.
fn check(model: CpuModel, profile: ProfileName, acs: AcsPolicy, expect: [MapType; 3]) {
    let matrix = decide(&two_hosts(model, HostSpec::default()), profile, acs);
    let got = [("gpu0", "gpu1", 4), ("gpu0", "nic0", 6), ("nic0", "gpu2", 4)].map(|(from, to, distance)| {
        assert_eq!(pair(&matrix, from, to).distance, distance);
        assert_eq!(pair(&matrix, to, from).map_type, pair(&matrix, from, to).map_type);
        pair(&matrix, from, to).map_type
    });
    assert_eq!(got, expect, "{} {profile:?} {acs:?}", model.vendor);
}

#[test]
fn cpus_and_allow_lists_decide_paths_over_the_root() {
    for profile in ProfileName::ALL {
        let check = |model, expect| check(model, profile, AcsPolicy::FirmwareDefault, expect);
        check(MILAN, [BusAddr, ThruHostBridge, ThruHostBridge]);
        check(ICE_LAKE, [BusAddr, ThruHostBridge, ThruHostBridge]);
        check(HASWELL, [BusAddr, ThruHostBridge, NotSupported]);
        check(UNLISTED, [BusAddr, NotSupported, NotSupported]);
        // Without a head, the first root port at 00.0 stands for the host bridge, and it is not listed.
        check(CpuModel { head: None, ..ICE_LAKE }, [BusAddr, NotSupported, NotSupported]);
        check(CpuModel { vendor: "HygonGenuine", ..MILAN }, [BusAddr, NotSupported, NotSupported]);
    }
}

#[test]
fn acs_sends_neighbours_over_the_root() {
    for profile in ProfileName::ALL {
        check(MILAN, profile, AcsPolicy::On, [ThruHostBridge; 3]);
        check(UNLISTED, profile, AcsPolicy::On, [NotSupported; 3]);
        check(UNLISTED, profile, AcsPolicy::Off, [BusAddr, NotSupported, NotSupported]);
    }
    let matrix = decide(&two_hosts(UNLISTED, HostSpec::default()), ProfileName::Linux_6_12, AcsPolicy::On);
    let pair = pair(&matrix, "gpu0", "gpu1");
    assert_eq!(reasons(pair), ["ACS_REDIRECT", "HOST_BRIDGE_NOT_LISTED"]);
    let names: Vec<String> = pair.reasons[0].functions.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        ["0000:02:00.0", "0000:02:01.0"],
        "both downstream ports; the upstream port has no ACS"
    );
    assert_eq!((pair.bar, pair.dma_addr, pair.dma_kind), (Some(1), None, None));
    assert!(pair.cpu_addr.is_some());
}

#[test]
fn addresses_are_of_the_kind_the_way_needs() {
    let offset = 0x80_0000_0000;
    let matrix = decide(
        &two_hosts(MILAN, HostSpec { offset, ..HostSpec::default() }),
        ProfileName::Linux_7_3,
        AcsPolicy::FirmwareDefault,
    );
    let near = pair(&matrix, "gpu0", "gpu1");
    assert_eq!(near.dma_kind, Some(DmaKind::Bus));
    assert_eq!(near.cpu_addr.unwrap() - near.dma_addr.unwrap(), offset);
    let far = pair(&matrix, "gpu0", "gpu2");
    assert_eq!((far.dma_kind, far.dma_addr), (Some(DmaKind::Cpu), far.cpu_addr));
    assert_eq!(near.cpu_addr, far.cpu_addr);
}

#[test]
fn every_ordered_pair_of_type_0_functions_is_there() {
    let matrix =
        decide(&two_hosts(MILAN, HostSpec::default()), ProfileName::Linux_7_3, AcsPolicy::FirmwareDefault);
    // Four devices and two heads.
    assert_eq!((matrix.functions.len(), matrix.pairs.len()), (6, 36));
    let json = serde_json::to_value(&matrix).unwrap();
    assert_eq!(json["schema"], "peerbus.p2p/1");
    assert_eq!(json["profile"], "Linux_7_3");
    let pair =
        json["pairs"].as_array().unwrap().iter().find(|pair| pair["provider"] == "0000:03:00.0").unwrap();
    for key in [
        "provider", "client", "map_type", "distance", "reasons", "bar", "cpu_addr", "dma_addr", "dma_kind",
        "assumed",
    ] {
        assert!(pair.get(key).is_some(), "{key} is missing");
    }
    assert_eq!((&pair["client"], &pair["map_type"]), (&"0000:00:00.0".into(), &"THRU_HOST_BRIDGE".into()));
    assert_eq!(
        (&pair["dma_kind"], &pair["reasons"][0]["functions"]),
        (&"CPU".into(), &serde_json::json!(["0000:00:01.0", "0000:00:00.0"]))
    );
}

#[test]
fn answers_name_what_they_rest_on() {
    let mut build = two_hosts(ICE_LAKE, HostSpec::default());
    let machine = &mut build.machine;
    machine.cpus[0].assumed = facts(&[Fact::Cpu, Fact::Memory]);
    machine.host_bridges[1].assumed = facts(&[Fact::HostBridge, Fact::Windows]);
    machine.switches[0].assumed = facts(&[Fact::Acs, Fact::Timing]);
    machine.devices[0].assumed = facts(&[Fact::Bars]);
    let port = machine.parent(machine.devices[3].functions[0]).unwrap();
    machine.functions[port].inserted = true;
    let matrix = decide(&build, ProfileName::Linux_7_3, AcsPolicy::FirmwareDefault);
    let assumed = |from, to| pair(&matrix, from, to).assumed.clone();
    assert_eq!(assumed("gpu0", "gpu1"), [Fact::Acs, Fact::Bars]);
    assert_eq!(assumed("gpu1", "gpu0"), [Fact::Acs]);
    assert_eq!(
        assumed("gpu1", "nic0"),
        [Fact::Cpu],
        "the words on the way do not matter without a common bridge"
    );
    assert_eq!(assumed("nic0", "gpu2"), [Fact::Cpu, Fact::HostBridge, Fact::Function]);
    assert_eq!(assumed("gpu2", "nic0"), [Fact::Cpu, Fact::HostBridge, Fact::Function, Fact::Windows]);
    let cleared = decide(&build, ProfileName::Linux_7_3, AcsPolicy::Off);
    assert_eq!(pair(&cleared, "gpu1", "gpu0").assumed, []);
}

#[test]
fn the_table_shows_devices() {
    let matrix =
        decide(&two_hosts(HASWELL, HostSpec::default()), ProfileName::Linux_6_12, AcsPolicy::FirmwareDefault);
    let expect = "\
test, peer-to-peer as decided by Linux_6_12

                    gpu0  gpu1  nic0  gpu2
gpu0  0000:03:00.0  .     B4    H6    N6
gpu1  0000:04:00.0  B4    .     H6    N6
nic0  0000:05:00.0  H6    H6    .     N4
gpu2  0000:41:00.0  N6    N6    N4    .

rows provide memory, columns send requests; letter and distance (steps between the two)
  B  by bus address    H  through the host bridge    N  not supported    .  itself
  clients are given bus addresses for B, CPU addresses for H
  2 functions of the system or of devices shown are left out; --all shows them

not direct, because (--why A B explains a pair, and what would change it)
  H 2 pairs: nothing is above both, which are below 0000:00:01.0, 0000:00:02.0
      gpu0-nic0 gpu1-nic0
  N 3 pairs: nothing is above both, which are below 0000:00:01.0, 0000:00:02.0, 0000:40:01.0; host
    bridge in the table for traffic within it only: 0000:00:00.0, 0000:40:00.0
      gpu0-gpu2 gpu1-gpu2 nic0-gpu2
";
    assert_eq!(render_matrix(&matrix, false), expect);
    let all = render_matrix(&matrix, true);
    assert!(all.contains("host0/head  0000:00:00.0") && !all.contains("--all"), "{all}");
}

/// However many devices, lines stay within a page; every device keeps its row, and every cell is somewhere.
#[test]
fn wide_tables_are_numbered_and_cut() {
    for devices in [4, 12, 18, 60] {
        let mut build = Build::new(MILAN);
        let host = build.host(HostSpec::default());
        for at in 0..devices {
            let port = build.root_port(host);
            build.device(&format!("accelerator{at}"), host, Some(port), &[bar(0, Bytes::mib(32), MEM64)]);
        }
        let text = render_matrix(&decide(&build, ProfileName::Linux_7_3, AcsPolicy::FirmwareDefault), false);
        let table = text.split("rows provide").next().unwrap();
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        assert_eq!(table.matches("H4").count(), devices * (devices - 1), "{text}");
        let rows = |name: String| {
            let is_row = |line: &&str| {
                let label = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
                !line.starts_with("      ") && label.starts_with(&name)
            };
            table.lines().filter(is_row).count()
        };
        let panels = table.lines().filter(|line| line.starts_with("      ")).count();
        assert!(panels >= 1, "{text}");
        assert_eq!(
            (rows("accelerator0 ".into()), rows(format!("accelerator{} ", devices - 1))),
            (panels, panels),
            "{text}"
        );
    }
}
