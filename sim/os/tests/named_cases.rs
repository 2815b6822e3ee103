//! Boots that are described in words (`conformance/README.md`, "What was seen") rebuilt from those words: what was
//! seen must be what our kernel says, from bus numbers to addresses. In brackets the names of the recordings.

use peerbus_os::dma::{
    AliasQuirks, Dma, DmaError, DmaKind, DmaSettings, GroupNumber, Grouping, Groups, Iommu, IommuDriver,
    PeerType, ProviderId,
};
use peerbus_os::p2pdma::{DmaMapping, Warning, advice_overflows, dma_address, resolve, warnings};
use peerbus_os::pci::acs::AcsParameters;
use peerbus_os::pci::{AcsWord, FunctionIndex, PcieType, Platform, acs_control, set_acs_control};
use peerbus_os::{
    AllowedHostBridge, BootOptions, CpuIdentity, CpuVendor, MapType, Parameters, Profile, Resolution,
    ResourceKind, RulesOptions, Tree, Window, boot,
};
use peerbus_units::{BusAddr, Bytes, CpuAddr};

use crate::dma::recorded::{Pair, map_once};
use crate::fake::{Above, Fake, range, window};
use crate::p2pdma::machine::rules;
use MapType::{BusAddr as Bus, NotSupported, ThruHostBridge};

const ROOT_PORT: PcieType = PcieType::RootPort;

const fn cpu(vendor: CpuVendor, family: u32, model: u32) -> CpuIdentity {
    CpuIdentity { vendor, family, model, x86: true }
}

const QEMU64: CpuIdentity = cpu(CpuVendor::Amd, 15, 107);
const EPYC: CpuIdentity = cpu(CpuVendor::Amd, 23, 1);
const MILAN: CpuIdentity = cpu(CpuVendor::Amd, 25, 1);
const DHYANA: CpuIdentity = cpu(CpuVendor::Hygon, 24, 0);
const SKYLAKE: CpuIdentity = cpu(CpuVendor::Intel, 6, 85);

/// QEMU's q35 with the functions it always has, and host bridges with these root buses.
fn q35(buses: &[u8]) -> Fake {
    let mut fake = Fake::default();
    let windows = vec![
        window(0, 0xffff, ResourceKind::Io),
        window(0x4000_0000, 0xafff_ffff, ResourceKind::Mem),
        window(0xc000_0000, 0xfebf_ffff, ResourceKind::Mem),
        window(0x8_0000_0000, 0xf_ffff_ffff, ResourceKind::Mem),
    ];
    for (index, bus) in buses.iter().enumerate() {
        let last = buses.get(index + 1).map_or(0xff, |next| next - 1);
        // Only the first host bridge has room; nobody asks for addresses below the others.
        let windows = if index == 0 { windows.clone() } else { Vec::new() };
        fake.host(0, *bus, last, windows);
    }
    fake.function(Above::Host(0), 0, 0, (0x8086, 0x29c0), 0x06_0000);
    fake.function(Above::Host(0), 0x1f, 0, (0x8086, 0x2918), 0x06_0100);
    fake.function(Above::Host(0), 0x1f, 2, (0x8086, 0x2922), 0x01_0601);
    fake.function(Above::Host(0), 0x1f, 3, (0x8086, 0x2930), 0x0c_0500);
    fake
}

/// A root port, or one of its kind at any place, with QEMU's ACS.
fn port(fake: &mut Fake, above: Above, device: u8) -> usize {
    let port = fake.port(above, device, 0, ROOT_PORT, true);
    fake.acs(port, 0x5f, 0);
    port
}

/// The conventional device that stands for a GPU, with a BAR of 64 MiB.
fn gpu(fake: &mut Fake, above: usize) -> usize {
    let gpu = fake.function(Above::Bridge(above), 0, 0, (0x1b36, 0x0005), 0x00_ff00);
    fake.bar(gpu, 2, Bytes::mib(64).0, 0xc);
    gpu
}

/// A switch with these devices' ports below `above`; returns the ports.
fn switch(fake: &mut Fake, above: usize, ports: u8) -> Vec<usize> {
    let up = fake.port(Above::Bridge(above), 0, 0, PcieType::Upstream, false);
    (0..ports).map(|device| port(fake, Above::Bridge(up), device)).collect()
}

/// A booted machine.
struct Booted {
    fake: Fake,
    tree: Tree,
    cpu: CpuIdentity,
    profile: Profile,
}

fn booted(mut fake: Fake, cpu: CpuIdentity, profile: Profile, acs: AcsParameters) -> Booted {
    let options = BootOptions { acs, platform: Platform::x86(0x4000_0000), ..BootOptions::default() };
    let hosts = fake.hosts.clone();
    let tree = boot(&mut fake, &hosts, &rules(profile), &options);
    Booted { fake, tree, cpu, profile }
}

impl Booted {
    fn find(&self, id: &str) -> FunctionIndex {
        self.tree.find(format!("0000:{id}").parse().unwrap()).unwrap_or_else(|| panic!("no {id}"))
    }

    fn resolve(&self, pair: [&str; 2]) -> Resolution {
        let [a, b] = pair.map(|id| self.find(id));
        resolve(&self.tree, &self.fake, &self.cpu, &rules(self.profile), a, b)
    }

    fn answer(&self, pair: [&str; 2]) -> (MapType, u32) {
        let found = self.resolve(pair);
        (found.map_type, found.distance)
    }

    fn words(&self, ids: &[&str]) -> Vec<u16> {
        ids.iter().map(|id| acs_control(&self.tree, &self.fake, self.find(id)).unwrap().0).collect()
    }

    fn set_word(&mut self, id: &str, word: u16) {
        let function = self.find(id);
        assert!(set_acs_control(&self.tree, &mut self.fake, function, AcsWord(word)));
    }
}

/// The machine of the cases c: two GPUs below one switch.
fn switch2(own_iommu: bool) -> Fake {
    let mut fake = q35(&[0]);
    if own_iommu {
        fake.function(Above::Host(0), 1, 0, (0x1022, 0x1419), 0x08_0600);
    }
    let root = port(&mut fake, Above::Host(0), 2);
    for port in switch(&mut fake, root, 2) {
        gpu(&mut fake, port);
    }
    fake
}

/// What a case of c says: ACS words of the root port and both ports, groups in order of enumeration, type between
/// the GPUs.
fn check_switch2(
    name: &str,
    line: &str,
    cpu: CpuIdentity,
    words: [u16; 3],
    groups: [u32; 10],
    kind: MapType,
) {
    for profile in [Profile::Linux_6_12, Profile::Linux_7_3] {
        let parameters = Parameters::parse(line);
        let acs = AcsParameters {
            requested: true,
            disable_redirect: parameters.pci.disable_acs_redir.unwrap_or_default(),
            config: parameters.pci.config_acs.unwrap_or_default(),
            ..AcsParameters::default()
        };
        let machine = booted(switch2(false), cpu, profile, acs);
        assert_eq!(machine.words(&["00:02.0", "02:00.0", "02:01.0"]), words, "{name} {profile}");
        let (quirks, rules) = (AliasQuirks::default(), rules(profile).dma);
        let grouping = Grouping { tree: &machine.tree, cs: &machine.fake, quirks: &quirks, rules: &rules };
        let found = Groups::probe(&grouping, |_| true);
        let found = machine.tree.iter().map(|(function, _)| found.of(function).unwrap().0);
        assert_eq!(found.collect::<Vec<_>>(), groups, "{name} {profile}");
        assert_eq!(machine.answer(["03:00.0", "04:00.0"]), (kind, 4), "{name} {profile}");
        assert_eq!(machine.answer(["04:00.0", "03:00.0"]), (kind, 4), "{name} {profile}");
    }
}

/// [c1] to [c7]. Property B1 for the tables that this machine gives.
#[test]
fn two_gpus_below_one_switch_with_an_intel_iommu() {
    let apart = [0, 1, 2, 2, 2, 3, 4, 5, 6, 7];
    let together = [0, 1, 2, 2, 2, 1, 1, 1, 1, 1];
    check_switch2("c1", "intel_iommu=on", QEMU64, [0x1d; 3], apart, NotSupported);
    check_switch2("c2", "pci=disable_acs_redir=pci:0:0", QEMU64, [0; 3], together, Bus);
    let one = "pci=disable_acs_redir=00:02.0/00.0/00.0";
    check_switch2("c3", one, QEMU64, [0x1d, 0, 0x1d], [0, 1, 2, 2, 2, 3, 4, 5, 4, 6], NotSupported);
    check_switch2("c4", "pci=config_acs=10x00xx@pci:0:0", QEMU64, [0x40; 3], together, Bus);
    check_switch2("c6", "iommu=pt", QEMU64, [0x1d; 3], apart, NotSupported);
    check_switch2("c7", "intel_iommu=on", EPYC, [0x1d; 3], apart, ThruHostBridge);
    check_switch2("c7, no redirect", "pci=disable_acs_redir=pci:0:0", EPYC, [0; 3], together, Bus);
}

/// [c8]: the IOMMU's own function maps directly, all others are strict and get the first IOVA again and again; nothing
/// is given where the path is not supported. With `iommu=pt` every address is the physical one. Property B5.
#[test]
fn two_gpus_below_one_switch_with_an_amd_iommu() {
    let acs = AcsParameters { requested: true, amd_iommu_described: true, ..AcsParameters::default() };
    for (profile, line, translated) in [
        (Profile::Linux_6_1, "", true),
        (Profile::Linux_6_12, "", true),
        (Profile::Linux_7_3, "", true),
        (Profile::Linux_6_12, "iommu=pt", false),
    ] {
        let machine = booted(switch2(true), EPYC, profile, acs.clone());
        let own = machine.find("00:01.0");
        let amd = Iommu::amd(vec![own]);
        let iommu = Iommu { driver: IommuDriver::Amd { caches_not_present: true }, ..amd };
        let settings = DmaSettings::with_parameters(&Parameters::parse(line).iommu);
        let mut dma = Dma::probe(&machine.tree, &machine.fake, &rules(profile).dma, &iommu, &settings);
        assert_eq!(dma.groups().of(own), None);
        assert_eq!(dma.groups().of(machine.find("00:02.0")), Some(GroupNumber(1)));
        let at = CpuAddr(0xf800_0000);
        for client in ["00:00.0", "00:01.0", "00:1f.0", "00:1f.2", "04:00.0", "03:00.0"] {
            let map_type = machine.resolve(["03:00.0", client]).map_type;
            let function = machine.find(client);
            dma.device_mut(function).unwrap().mask = u64::MAX;
            let mut pair = Pair(PeerType { map_type, bus_offset: 0 });
            let found = map_once(&mut dma, function, ProviderId(0), at, &mut pair);
            let expect = match client {
                "03:00.0" => (at.0, DmaKind::Bus),
                "00:01.0" => (at.0, DmaKind::Cpu),
                _ if translated => (0xffff_f000, DmaKind::Iova),
                _ => (at.0, DmaKind::Cpu),
            };
            assert_eq!(found, Ok(expect), "{profile} {line} {client}");
        }
        let mut refused = Pair(PeerType { map_type: NotSupported, bus_offset: 0 });
        let found = map_once(&mut dma, machine.find("04:00.0"), ProviderId(0), at, &mut refused);
        assert_eq!(found, Err(DmaError::RemoteIo));
    }
}

/// Three host bridges; one GPU below the first and the third, two below the second.
fn three_host_bridges() -> Fake {
    let mut fake = q35(&[0, 0x40, 0x80]);
    for (host, device) in [(0, 2), (1, 0), (1, 1), (2, 3)] {
        let root = port(&mut fake, Above::Host(host), device);
        gpu(&mut fake, root);
    }
    fake
}

const GPUS: [&str; 4] = ["01:00.0", "41:00.0", "42:00.0", "81:00.0"];

/// [e_pxb_*]: CPUs of AMD from family 0x17 on allow everything, others what is listed, which here is nothing.
#[test]
fn three_host_bridges_and_five_cpus() {
    for (cpu, across) in [
        (EPYC, ThruHostBridge),
        (MILAN, ThruHostBridge),
        (DHYANA, NotSupported),
        (QEMU64, NotSupported),
        (SKYLAKE, NotSupported),
    ] {
        for profile in Profile::ALL {
            let machine = booted(three_host_bridges(), cpu, profile, AcsParameters::default());
            for (a, b) in GPUS.into_iter().flat_map(|a| GPUS.map(|b| (a, b))) {
                let expect = if a == b { (Bus, 0) } else { (across, 4) };
                assert_eq!(machine.answer([a, b]), expect, "{cpu:?} {profile} {a} {b}");
            }
            assert_eq!(machine.answer(["00:00.0", "81:00.0"]), (across, 3), "{cpu:?} {profile}");
        }
    }
}

/// [d_rootports_spoof], [e_pxb_spoof], both also for 7.3: ids of the functions that stand for the host bridges at
/// buses 0, 0x40 and 0x80, and whether GPUs meet within the second and between all.
#[test]
fn listed_host_bridges() {
    let check = |profile, ids: [u32; 3], within: bool, between: [bool; 2]| {
        let mut machine = booted(three_host_bridges(), SKYLAKE, profile, AcsParameters::default());
        for (id, head) in ids.into_iter().zip(["00:00.0", "40:00.0", "80:03.0"]) {
            let head = machine.find(head);
            let [low, high, vendor_low, vendor_high] = id.to_le_bytes();
            machine.tree[head].device = u16::from_le_bytes([low, high]);
            machine.tree[head].vendor = u16::from_le_bytes([vendor_low, vendor_high]);
        }
        let kind = |yes| if yes { ThruHostBridge } else { NotSupported };
        let found = |a, b| [[a, b], [b, a]].map(|pair| machine.answer(pair).0);
        assert_eq!(found(GPUS[1], GPUS[2]), [kind(within); 2], "{profile} {ids:x?} within");
        assert_eq!(found(GPUS[0], GPUS[1]), [kind(between[0]); 2], "{profile} {ids:x?} first and second");
        assert_eq!(found(GPUS[1], GPUS[3]), [kind(between[1]); 2], "{profile} {ids:x?} second and third");
    };
    let unlisted = 0x1b36_000c;
    for profile in Profile::ALL {
        for same in [0x8086_3c00, 0x8086_3c01, 0x8086_2f00, 0x8086_2f01] {
            check(profile, [same; 3], true, [false, false]);
        }
        for any in [0x8086_2030, 0x8086_2031, 0x8086_2032, 0x8086_2033, 0x8086_2020, 0x8086_09a2] {
            check(profile, [any; 3], true, [true, true]);
            check(profile, [any, any, unlisted], true, [true, false]);
            check(profile, [0x8086_2f00, any, any], true, [false, true]);
        }
        for none in [0x8086_09a3, 0x8086_3c02, 0x1022_2030] {
            check(profile, [none; 3], false, [false, false]);
        }
        let intel = [0x0b25, 0x0cfe, 0x11fb, 0x1212, 0x1216, 0x4940, 0x4942, 0x4944, 0x4946, 0x4948];
        let intel = intel.into_iter().map(|device| 0x8086_0000 | device);
        let newer = intel.chain((0x10de_2f95..=0x10de_2f98).chain([0x1ae0_0000, 0x1ae0_ffff]));
        for new in newer {
            let listed = profile == Profile::Linux_7_3;
            check(profile, [new; 3], listed, [listed; 2]);
        }
        check(profile, [0x10de_2f94; 3], false, [false; 2]);
        check(profile, [0x10de_2f99; 3], false, [false; 2]);
    }
}

/// A root port; below it three switches inside each other, with a GPU at the second port of each and at both of the
/// innermost.
fn nested() -> Fake {
    let mut fake = q35(&[0]);
    let mut above = port(&mut fake, Above::Host(0), 2);
    for depth in 0..3 {
        let ports = switch(&mut fake, above, 2);
        gpu(&mut fake, ports[1]);
        if depth == 2 {
            gpu(&mut fake, ports[0]);
        }
        above = ports[0];
    }
    fake
}

/// [f_nested3_acs]: one redirecting port of the path suffices, and only ports of the path count; above the common
/// function nothing does. Distances 4, 6, 8 whatever the words.
#[test]
fn one_redirecting_port_suffices() {
    // From the innermost switch outwards: ports 06:00.0 and 06:01.0, 04:00.0 and 04:01.0, 02:00.0 and 02:01.0.
    let gpus = ["07:00.0", "08:00.0", "09:00.0", "0a:00.0"];
    let pairs = [(0, 1), (0, 2), (0, 3), (2, 3)];
    let check = |words: &[(&str, u16)], expect: [MapType; 4]| {
        let mut machine = booted(nested(), QEMU64, Profile::Linux_6_12, AcsParameters::default());
        words.iter().for_each(|(id, word)| machine.set_word(id, *word));
        for ((a, b), expect) in pairs.into_iter().zip(expect) {
            let distance = [4, 6, 8, 6][pairs.iter().position(|pair| *pair == (a, b)).unwrap()];
            for pair in [[gpus[a], gpus[b]], [gpus[b], gpus[a]]] {
                assert_eq!(machine.answer(pair), (expect, distance), "{words:x?} {pair:?}");
            }
        }
    };
    check(&[], [Bus; 4]);
    check(&[("06:00.0", 0x1d)], [NotSupported, NotSupported, NotSupported, Bus]);
    check(&[("04:01.0", 0x04)], [Bus, NotSupported, Bus, NotSupported]);
    check(&[("04:00.0", 0x08)], [Bus, NotSupported, NotSupported, Bus]);
    check(&[("02:01.0", 0x20)], [Bus, Bus, NotSupported, NotSupported]);
    check(&[("02:00.0", 0x04)], [Bus, Bus, NotSupported, NotSupported]);
    check(&[("00:02.0", 0x1d)], [Bus; 4]);
    check(&[("06:00.0", 0x53), ("02:01.0", 0x11), ("04:01.0", 0x40)], [Bus; 4]);
}

/// [g_8gpu_16G_acs_*]: two switches of four; an IOMMU's ACS words send everything over the root, which only EPYC
/// allows. Every endpoint has a group of its own.
#[test]
fn eight_gpus_with_isolation() {
    for (cpu, requested, below_one, across) in [
        (EPYC, true, ThruHostBridge, ThruHostBridge),
        (SKYLAKE, true, NotSupported, NotSupported),
        (EPYC, false, Bus, ThruHostBridge),
        (SKYLAKE, false, Bus, NotSupported),
    ] {
        let mut fake = q35(&[0]);
        let mut gpus = Vec::new();
        for device in [2, 3] {
            let root = port(&mut fake, Above::Host(0), device);
            gpus.extend(switch(&mut fake, root, 4).into_iter().map(|port| gpu(&mut fake, port)));
        }
        let acs = AcsParameters { requested, ..AcsParameters::default() };
        let machine = booted(fake, cpu, Profile::Linux_6_12, acs);
        let gpus = ["03", "04", "05", "06", "09", "0a", "0b", "0c"].map(|bus| format!("{bus}:00.0"));
        for (i, a) in gpus.iter().enumerate() {
            for (j, b) in gpus.iter().enumerate().filter(|(j, _)| *j != i) {
                let expect = if i / 4 == j / 4 { (below_one, 4) } else { (across, 8) };
                assert_eq!(machine.answer([a, b]), expect, "{cpu:?} {requested} {a} {b}");
            }
        }
        let (quirks, rules) = (AliasQuirks::default(), rules(machine.profile).dma);
        let grouping = Grouping { tree: &machine.tree, cs: &machine.fake, quirks: &quirks, rules: &rules };
        let groups = Groups::probe(&grouping, |_| true);
        let alone = gpus.iter().all(|id| groups.members(groups.of(machine.find(id)).unwrap()).len() == 1);
        assert_eq!(alone, requested);
    }
}

/// [q_acs_list_nine], [q_acs_list_overflow]: nine names fit the list, at the tenth the kernel writes past its buffer
/// right after printing what is left of it, and the recorded ones died of that.
#[test]
fn ten_redirecting_ports() {
    let mut fake = q35(&[0]);
    let root = port(&mut fake, Above::Host(0), 2);
    let outer = switch(&mut fake, root, 2);
    for mut above in outer {
        for _ in 0..5 {
            above = switch(&mut fake, above, 1)[0];
        }
        gpu(&mut fake, above);
    }
    let mut machine = booted(fake, QEMU64, Profile::Linux_6_12, AcsParameters::default());
    let pair = ["0d:00.0", "18:00.0"];
    assert_eq!(machine.answer(pair), (Bus, 24));
    let ports: Vec<String> = ["02:00.0", "02:01.0"]
        .into_iter()
        .map(String::from)
        .chain([4, 6, 8, 0xa, 0xc, 0xf, 0x11, 0x13].map(|bus| format!("{bus:02x}:00.0")))
        .collect();
    for (count, id) in ports.iter().enumerate() {
        machine.set_word(id, 0x04);
        let found = machine.resolve(pair);
        assert_eq!((found.map_type, found.redirecting().len()), (NotSupported, count + 1));
        let said = warnings(&machine.tree, &found, true);
        let list = said.iter().find_map(|warning| match warning {
            Warning::DisableAcsRedirect(list) => Some(list.len()),
            _ => None,
        });
        assert_eq!(list, Some(if count < 9 { 13 * (count + 1) - 1 } else { 127 }));
        assert_eq!(advice_overflows(&machine.tree, found.redirecting()), count >= 9, "{count}");
    }
}

/// [o_winoff_spoof], as on a pseries machine [n_pseries]: below a window that moves addresses, a bus address is the
/// CPU's less the offset, and through the host bridge it is the CPU's.
#[test]
fn a_window_that_moves_addresses() {
    let mut fake = q35(&[0]);
    let cpu = range(0x2000_8000_0000, 0x2000_ffff_ffff);
    fake.hosts[0].windows.push(Window { cpu, bus: BusAddr(0x1_8000_0000), kind: ResourceKind::Mem });
    fake.hosts[0].windows.remove(3);
    for device in [2, 3] {
        let root = port(&mut fake, Above::Host(0), device);
        gpu(&mut fake, root);
    }
    let machine = booted(fake, EPYC, Profile::Linux_6_12, AcsParameters::default());
    let provider = machine.find("01:00.0");
    let first = machine.tree[provider].resources[2].range().unwrap().first();
    assert!(cpu.contains(first));
    let at = |kind| dma_address(&machine.tree, kind, provider, 2, Bytes(0x1000));
    let bus = BusAddr(first.0 + 0x1000 - 0x2000_8000_0000 + 0x1_8000_0000);
    assert_eq!(at(machine.answer(["01:00.0", "01:00.0"]).0), Ok(DmaMapping::Bus(bus)));
    assert_eq!(at(machine.answer(["01:00.0", "02:00.0"]).0), Ok(DmaMapping::Cpu(CpuAddr(first.0 + 0x1000))));
}

/// Rows in front of the table count before it.
#[test]
fn a_row_of_our_own_comes_first() {
    let row = AllowedHostBridge { vendor: 0x8086, device: Some(0x29c0), same_host_bridge: true };
    let options = RulesOptions { also_listed: [Some(row), None], ..RulesOptions::default() };
    let machine = booted(three_host_bridges(), SKYLAKE, Profile::Linux_6_12, AcsParameters::default());
    let rules = Profile::Linux_6_12.rules(options);
    let [a, b, c] = ["00:00.0", "01:00.0", "41:00.0"].map(|id| machine.find(id));
    let kind = |a, b| resolve(&machine.tree, &machine.fake, &machine.cpu, &rules, a, b).map_type;
    assert_eq!([kind(a, b), kind(b, c)], [ThruHostBridge, NotSupported]);
}
