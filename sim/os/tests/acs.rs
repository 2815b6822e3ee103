//! ACS control words: what kernels set, on worked examples and on every recorded boot.

use std::path::Path;

use peerbus_os::pci::acs::{AcsEvent, AcsList, AcsParameters, AcsSyntax, acs_at_driver_bind, acs_program};
use peerbus_os::pci::{
    AcsWord, FunctionIndex, PcieType, acs_control, acs_enabled, acs_path, enumerate, set_acs_control,
};
use peerbus_os::{ConfigAccess, Parameters, Profile, Rules, RulesOptions, Tree, Width};
use peerbus_units::FunctionId;
use serde_json::Value;

use crate::fake::{ACS, Above, Fake};
use crate::recordings::{hex, ids};

fn rules(profile: Profile) -> Rules {
    profile.rules(RulesOptions::default())
}

/// What a command line says, with the request of an IOMMU driver or without.
fn parameters(cmdline: &str, requested: bool) -> AcsParameters {
    let parameters = Parameters::parse(cmdline);
    AcsParameters {
        requested,
        disable_redirect: parameters.pci.disable_acs_redir.unwrap_or_default(),
        config: parameters.pci.config_acs.unwrap_or_default(),
        ats_disabled: parameters.pci.no_ats,
        ..AcsParameters::default()
    }
}

/// A root port 00:02.0, a switch 01:00.0 with ports 02:00.0 and 02:01.0 and endpoints 03:00.0 and 04:00.0; the root
/// port and the two ports below have ACS.
struct Switch {
    fake: Fake,
    tree: Tree,
}

const PORTS: [&str; 3] = ["0000:00:02.0", "0000:02:00.0", "0000:02:01.0"];

fn switch(words: [(u16, u16); 3]) -> Switch {
    let mut fake = Fake::arm64();
    let root = fake.port(Above::Host(0), 2, 0, PcieType::RootPort, false);
    let up = fake.port(Above::Bridge(root), 0, 0, PcieType::Upstream, false);
    let down = [0, 1].map(|device| fake.port(Above::Bridge(up), device, 0, PcieType::Downstream, false));
    for (port, (capability, control)) in [root, down[0], down[1]].into_iter().zip(words) {
        fake.acs(port, capability, control);
    }
    for port in down {
        let end = fake.function(Above::Bridge(port), 0, 0, (0x1b36, 0x0005), 0xff_0000);
        fake.pcie(end, PcieType::Endpoint);
    }
    let hosts = fake.hosts.clone();
    let tree = enumerate(&mut fake, &hosts);
    Switch { fake, tree }
}

impl Switch {
    fn find(&self, id: &str) -> FunctionIndex {
        self.tree.find(id.parse().unwrap()).unwrap()
    }

    fn words(&self) -> [u16; 3] {
        PORTS.map(|id| acs_control(&self.tree, &self.fake, self.find(id)).unwrap().0)
    }

    fn program(&mut self, profile: Profile, parameters: &AcsParameters) {
        acs_program(&mut self.tree, &mut self.fake, &rules(profile), parameters, 0);
    }
}

fn programmed(profile: Profile, firmware: u16, cmdline: &str, requested: bool) -> ([u16; 3], Vec<AcsEvent>) {
    let mut machine = switch([(0x5f, firmware); 3]);
    machine.program(profile, &parameters(cmdline, requested));
    (machine.words(), machine.tree.acs.log)
}

/// Expected words of 6.1, 6.12 and 7.3.
fn check(firmware: u16, cmdline: &str, requested: bool, expect: [[u16; 3]; 3]) {
    for (profile, expect) in Profile::ALL.into_iter().zip(expect) {
        let (words, _) = programmed(profile, firmware, cmdline, requested);
        assert_eq!(words, expect, "{profile} {firmware:#x} {cmdline} {requested}");
    }
}

#[test]
fn requests_add_what_the_hardware_can() {
    check(0x00, "", true, [[0x1d; 3]; 3]);
    check(0x40, "", true, [[0x5d; 3]; 3]);
    check(0x40, "", false, [[0x40; 3]; 3]);
    check(0x00, "pci=noats", true, [[0x1f; 3]; 3]);
    let mut machine = switch([(0x05, 0x40), (0x5f, 0), (0, 0)]);
    machine.program(Profile::Linux_6_12, &parameters("", true));
    assert_eq!(machine.words(), [0x45, 0x1d, 0x00]);
}

/// Newer kernels take the firmware's word, the oldest the one with the request in it.
#[test]
fn disabling_redirection_starts_from_different_words() {
    let all = "pci=disable_acs_redir=pci:0:0";
    check(0x00, all, true, [[0x11; 3], [0; 3], [0; 3]]);
    check(0x2d, all, false, [[0x01; 3]; 3]);
    check(0x5d, all, true, [[0x51; 3]; 3]);
    let one = "pci=disable_acs_redir=00:02.0/00.0/00.0";
    check(0x00, one, true, [[0x1d, 0x11, 0x1d], [0x1d, 0, 0x1d], [0x1d, 0, 0x1d]]);
    check(
        0x00,
        "pci=disable_acs_redir=0000:02:01.0;00:02.0",
        true,
        [[0x11, 0x1d, 0x11], [0, 0x1d, 0], [0, 0x1d, 0]],
    );
    // Only the first of two, because the option ends at the comma.
    check(
        0x00,
        "pci=disable_acs_redir=00:02.0,02:00.0",
        true,
        [[0x11, 0x1d, 0x1d], [0, 0x1d, 0x1d], [0, 0x1d, 0x1d]],
    );
}

#[test]
fn config_acs_starts_from_the_firmware_word() {
    let dt = "pci=config_acs=10x00xx@pci:0:0";
    check(0x00, dt, true, [[0x1d; 3], [0x40; 3], [0x40; 3]]);
    check(0x17, dt, false, [[0x17; 3], [0x53; 3], [0x53; 3]]);
    // Nothing but x: what the request had added goes.
    check(0x02, "pci=config_acs=x@02:00.0", true, [[0x1f; 3], [0x1f, 0x02, 0x1f], [0x1f, 0x02, 0x1f]]);
    check(0x02, "pci=config_acs=@02:00.0", true, [[0x1f; 3], [0x1f, 0x02, 0x1f], [0x1f, 0x02, 0x1f]]);
    // The first match wins.
    check(0x00, "pci=config_acs=1@02:00.0;0000010@pci:1b36:c", false, [[0; 3], [2, 1, 2], [2, 1, 2]]);
    // It overrides a match of the other list.
    check(
        0x2c,
        "pci=disable_acs_redir=pci:0:0,config_acs=1xx@02:00.0",
        false,
        [[0; 3], [0, 0x2c, 0], [0, 0x2c, 0]],
    );
}

/// Nothing is applied from an entry that cannot be read on; functions that match before it do not see it.
#[test]
fn mistakes_in_lists() {
    let broken = "pci=config_acs=1@02:00.0;00:02.0";
    check(0x00, broken, true, [[0x1d; 3], [0x1d, 0x01, 0x1d], [0x1d, 0x01, 0x1d]]);
    let (_, log) = programmed(Profile::Linux_6_12, 0, broken, true);
    let complaints: Vec<_> = log.iter().filter(|event| matches!(event, AcsEvent::Syntax { .. })).collect();
    assert!(
        matches!(complaints[..], [AcsEvent::Syntax { list: AcsList::Config, error }] if error.at == 10
            && error.kind == AcsSyntax::NoAt),
        "said once for the whole boot: {complaints:?}"
    );
    for list in ["12@02:00.0", "1xxxxxxx@02:00.0", "1@pci:1b36", "1@2:0"] {
        let expect = [[0x1d; 3]; 3];
        check(0x00, &format!("pci=config_acs={list}"), true, expect);
    }
    for list in ["nonsense", "02:00", "pci:1b36:c:1"] {
        check(0x00, &format!("pci=disable_acs_redir={list}"), true, [[0x1d; 3]; 3]);
    }
}

/// Vendor and device as the subsystem has them, in an endpoint's header.
#[test]
fn subsystems_can_be_named() {
    let words = |list: &str| {
        let mut fake = Fake::arm64();
        let root = fake.port(Above::Host(0), 2, 0, PcieType::RootPort, false);
        let end = fake.function(Above::Bridge(root), 0, 0, (0x1000, 0x2000), 0x02_0000);
        fake.pcie(end, PcieType::Endpoint);
        fake.acs(end, 0x5f, 0x2c);
        fake.preset(end, 0x2c, Width::Dword, 0x4000_3000);
        let hosts = fake.hosts.clone();
        let mut tree = enumerate(&mut fake, &hosts);
        let parameters = parameters(&format!("pci=disable_acs_redir={list}"), false);
        acs_program(&mut tree, &mut fake, &rules(Profile::Linux_7_3), &parameters, 0);
        fake.read_word("0000:01:00.0".parse().unwrap(), ACS + 6)
    };
    for (list, expect) in [
        ("pci:1000:2000:3000:4000", 0),
        ("pci:1000:0:3000:0", 0),
        ("pci:0:0:3000:4001", 0x2c),
        ("pci:1000:2001", 0x2c),
        ("pci:1001:0;00:02.0/00.0", 0),
        ("00:02.0/01.0", 0x2c),
        ("00.0/00.0", 0x2c),
    ] {
        assert_eq!(words(list), expect, "{list}");
    }
}

#[test]
fn a_device_tree_counts_as_a_request_in_new_kernels() {
    let parameters = AcsParameters { device_tree: true, ..AcsParameters::default() };
    for (profile, expect) in Profile::ALL.into_iter().zip([0, 0, 0x1d]) {
        let mut machine = switch([(0x5f, 0); 3]);
        machine.program(profile, &parameters);
        assert_eq!(machine.words(), [expect; 3], "{profile}");
    }
}

#[test]
fn what_faces_outside_blocks_translated_requests() {
    let mut parameters = parameters("", true);
    parameters.external_facing.insert("0000:02:00.0".parse().unwrap());
    let mut machine = switch([(0x5f, 0); 3]);
    machine.program(Profile::Linux_6_12, &parameters);
    assert_eq!(machine.words(), [0x1d, 0x1f, 0x1d]);
}

/// Written by hand, then a driver binds.
#[test]
fn new_kernels_set_words_again_when_a_driver_binds() {
    for (profile, expect) in Profile::ALL.into_iter().zip([0, 0, 0x1d]) {
        let mut machine = switch([(0x5f, 0); 3]);
        let parameters = parameters("", true);
        machine.program(profile, &parameters);
        let port = machine.find(PORTS[1]);
        set_acs_control(&machine.tree, &mut machine.fake, port, AcsWord(0));
        acs_at_driver_bind(&mut machine.tree, &mut machine.fake, &rules(profile), &parameters, port);
        assert_eq!(machine.words(), [0x1d, expect, 0x1d], "{profile}");
    }
}

/// Words that a kernel has set stay when it starts again from them, with any parameters that name the same functions.
#[test]
fn programming_final_words_changes_nothing() {
    for cmdline in ["", "pci=disable_acs_redir=02:00.0", "pci=config_acs=10x00xx@02:00.0;x@02:01.0"] {
        for (profile, requested) in Profile::ALL.into_iter().flat_map(|p| [(p, false), (p, true)]) {
            let mut machine = switch([(0x5f, 0x04); 3]);
            let parameters = parameters(cmdline, requested);
            machine.program(profile, &parameters);
            let words = machine.words();
            machine.program(profile, &parameters);
            assert_eq!(machine.words(), words, "{profile} {cmdline} {requested}");
        }
    }
}

mod isolation {
    use super::*;

    #[test]
    fn paths() {
        let machine = switch([(0x5f, 0x1d), (0x01, 0x01), (0x5f, 0x0d)]);
        let end = |id: &str| machine.find(id);
        let path = |start, end, flags| acs_path(&machine.tree, &machine.fake, start, end, flags);
        let all = AcsWord::ISOLATION;
        // A bit that the port cannot set counts; one that is merely off does not.
        assert!(path(end("0000:03:00.0"), None, all));
        assert!(!path(end("0000:04:00.0"), None, all));
        assert!(path(end("0000:04:00.0"), None, AcsWord::RR));
        assert!(
            !path(end("0000:03:00.0"), None, AcsWord::EC),
            "egress control must be on, not merely absent"
        );
        let root = end("0000:00:02.0");
        assert!(path(end("0000:03:00.0"), Some(root), all));
        assert!(path(root, Some(root), all) && path(root, None, all));
        assert!(!path(end("0000:03:00.0"), Some(end("0000:04:00.0")), all), "not on the way");
    }

    #[test]
    fn kinds_of_functions() {
        let mut fake = Fake::arm64();
        let alone = |fake: &mut Fake, device, kind| {
            let function = fake.function(Above::Host(0), device, 0, (0x1000, 1), 0x02_0000);
            fake.pcie(function, kind);
        };
        alone(&mut fake, 1, PcieType::Endpoint);
        alone(&mut fake, 2, PcieType::EventCollector);
        alone(&mut fake, 3, PcieType::Unknown(12));
        fake.function(Above::Host(0), 4, 0, (0x1000, 1), 0x02_0000);
        for function in [0, 1] {
            let function = fake.function(Above::Host(0), 5, function, (0x1000, 1), 0x02_0000);
            fake.pcie(function, PcieType::Endpoint);
        }
        for function in [0, 1] {
            let function = fake.function(Above::Host(0), 6, function, (0x8086, 1), 0x02_0000);
            fake.pcie(function, PcieType::IntegratedEndpoint);
        }
        let hosts = fake.hosts.clone();
        let tree = enumerate(&mut fake, &hosts);
        let enabled = |device, function| {
            let index = tree.find(FunctionId::new(0, 0, device, function)).unwrap();
            acs_enabled(&tree, &fake, index, AcsWord::ISOLATION)
        };
        let found: Vec<bool> = (1..=6).map(|device| enabled(device, 0)).collect();
        assert_eq!(found, [true, false, true, false, false, true]);
        assert!(!enabled(5, 1) && enabled(6, 1));
    }

    fn root_port(ids: (u16, u16), capability: Option<(u16, u16)>) -> (Fake, Tree) {
        let mut fake = Fake::arm64();
        let port = fake.port(Above::Host(0), 1, 0, PcieType::RootPort, false);
        fake.set_ids(port, ids);
        if let Some((capability, control)) = capability {
            fake.acs(port, capability, control);
        }
        let hosts = fake.hosts.clone();
        let tree = enumerate(&mut fake, &hosts);
        (fake, tree)
    }

    #[test]
    fn models_known_to_isolate() {
        let port = FunctionIndex(0);
        for (ids, expect) in [
            ((0x177d, 0xaf84), true),
            ((0x1def, 0xe101), true),
            ((0x1d17, 0x0717), true),
            ((0x1d17, 0x0800), false),
            ((0x1b36, 0x000c), false),
        ] {
            let (fake, tree) = root_port(ids, None);
            assert_eq!(acs_enabled(&tree, &fake, port, AcsWord::ISOLATION), expect, "{ids:x?}");
            assert!(!acs_enabled(&tree, &fake, port, AcsWord::EC), "{ids:x?}");
            assert_eq!(acs_control(&tree, &fake, port), None, "isolating is not redirecting");
        }
    }

    /// Chipset ports without the capability isolate once an IOMMU driver had their decoding switched off.
    #[test]
    fn models_that_a_kernel_switches() {
        let port = FunctionIndex(0);
        for profile in Profile::ALL {
            let (mut fake, mut tree) = root_port((0x8086, 0x8d10), None);
            assert!(!acs_enabled(&tree, &fake, port, AcsWord::ISOLATION));
            assert!(acs_enabled(&tree, &fake, port, AcsWord(0)));
            acs_program(&mut tree, &mut fake, &rules(profile), &parameters("", true), 0);
            assert!(acs_enabled(&tree, &fake, port, AcsWord::ISOLATION), "{profile}");
        }
    }

    /// Control stands behind a capability of 32 bits: peer-to-peer, which reads where it should be, sees none of it.
    #[test]
    fn models_with_wide_registers() {
        let port = FunctionIndex(0);
        for profile in Profile::ALL {
            let wide = || {
                let (mut fake, tree) = root_port((0x8086, 0xa110), None);
                fake.wide_acs(0, 0x0f);
                let hosts = fake.hosts.clone();
                let again = enumerate(&mut fake, &hosts);
                assert_eq!(tree.functions.len(), again.functions.len());
                (fake, again)
            };
            let (mut fake, mut tree) = wide();
            acs_program(&mut tree, &mut fake, &rules(profile), &parameters("", true), 0);
            assert_eq!(fake.register(0, ACS + 8), 0x0d, "{profile}");
            assert_eq!(acs_control(&tree, &fake, port), Some(AcsWord(0)));
            assert!(acs_enabled(&tree, &fake, port, AcsWord::ISOLATION));
            let (mut fake, mut tree) = wide();
            let cmdline = "pci=disable_acs_redir=pci:0:0";
            acs_program(&mut tree, &mut fake, &rules(profile), &parameters(cmdline, true), 0);
            assert_eq!(fake.register(0, ACS + 8), 0x01, "{profile}: its own way keeps source validation");
        }
    }

    /// Source validation of IDT's switches is not used where the kernel keeps a corrected capability.
    #[test]
    fn corrected_capabilities() {
        for (profile, expect) in Profile::ALL.into_iter().zip([0x1d, 0x1d, 0x1c]) {
            let (mut fake, mut tree) = root_port((0x111d, 0x806e), Some((0x5f, 0)));
            acs_program(&mut tree, &mut fake, &rules(profile), &parameters("", true), 0);
            assert_eq!(acs_control(&tree, &fake, FunctionIndex(0)), Some(AcsWord(expect)), "{profile}");
            assert!(acs_enabled(&tree, &fake, FunctionIndex(0), AcsWord::ISOLATION), "{profile}");
        }
    }
}

/// Rows of a recorded table.
fn rows(path: &Path) -> Option<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(path).ok()?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Some(lines.map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

/// The machine of `devices.tsv`, every function with ACS as firmware leaves it: all off.
fn recorded_machine(devices: &[Vec<String>], words: &[Vec<String>]) -> (Fake, Tree) {
    let mut fake = Fake::default();
    let mut positions = std::collections::BTreeMap::new();
    let mut roots = std::collections::BTreeMap::new();
    let root_buses: Vec<FunctionId> =
        devices.iter().filter(|row| !row[5].contains(':')).map(|row| row[0].parse().unwrap()).collect();
    for row in devices {
        let id: FunctionId = row[0].parse().unwrap();
        let above = match positions.get(&row[5]) {
            Some(bridge) => Above::Bridge(*bridge),
            None => {
                let next = root_buses.iter().map(|id| id.bus).filter(|bus| *bus > id.bus).min();
                let last = next.map_or(0xff, |next| next - 1);
                Above::Host(
                    *roots.entry(id.bus).or_insert_with(|| fake.host(id.domain, id.bus, last, Vec::new())),
                )
            }
        };
        let class = u32::from_str_radix(row[2].trim_start_matches("0x"), 16).unwrap();
        let position = match row[3].as_str() {
            "1" => fake.bridge(above, id.device(), id.function(), ids(&row[1])),
            _ => fake.function(above, id.device(), id.function(), ids(&row[1]), class),
        };
        if let Ok(kind) = row[4].parse::<u8>() {
            fake.pcie(position, PcieType::from_number(kind));
        }
        if let Some(word) = words.iter().find(|word| word[1] == row[0]) {
            fake.acs(position, u16::try_from(hex(&word[3])).unwrap(), 0);
        }
        positions.insert(row[0].clone(), position);
    }
    for row in devices.iter().filter(|row| row[3] == "1") {
        let below = |of: &str| -> Vec<FunctionId> {
            devices.iter().filter(|row| row[5] == of).map(|row| row[0].parse().unwrap()).collect()
        };
        fn last(below: &dyn Fn(&str) -> Vec<FunctionId>, of: &str) -> u8 {
            below(of).iter().map(|id| id.bus.max(last(below, &id.to_string()))).max().unwrap_or(0)
        }
        if let Some(child) = below(&row[0]).first() {
            let own: FunctionId = row[0].parse().unwrap();
            fake.bus_numbers(positions[&row[0]], own.bus, child.bus, last(&below, &row[0]));
        }
    }
    let hosts = fake.hosts.clone();
    let tree = enumerate(&mut fake, &hosts);
    (fake, tree)
}

/// Commands of a phase that write words: `setpci -s BDF ECAP_ACS+6.w=VALUE` in its forms is left to the recording.
fn boot_words(case: &Path, profile_of: fn(&str) -> Profile) -> Option<(usize, usize)> {
    let description: Value =
        serde_json::from_str(&std::fs::read_to_string(case.join("case.json")).ok()?).unwrap();
    let (devices, words) = (rows(&case.join("devices.tsv"))?, rows(&case.join("acs.tsv"))?);
    let text = |key: &str| description[key].as_str().unwrap_or_default();
    let cmdline = text("cmdline");
    let parsed = Parameters::parse(cmdline);
    let hardware = text("qemu_args");
    let intel = parsed.iommu.intel == Some(peerbus_os::parameters::IommuSwitch::On)
        && hardware.contains("intel-iommu");
    let amd = hardware.contains("amd-iommu");
    let parameters = AcsParameters {
        device_tree: hardware.contains("-M virt"),
        amd_iommu_described: amd,
        ..parameters(cmdline, intel || amd)
    };
    let boot: Vec<_> = words.iter().filter(|row| row[0].starts_with("boot")).cloned().collect();
    let (mut fake, mut tree) = recorded_machine(&devices, &boot);
    acs_program(&mut tree, &mut fake, &rules(profile_of(text("kernel"))), &parameters, 0);
    let mut right = 0;
    for row in &boot {
        let function = tree.find(row[1].parse().unwrap()).unwrap_or_else(|| panic!("{} in {case:?}", row[1]));
        let found = acs_control(&tree, &fake, function).map(|word| u64::from(word.0));
        let same = found == Some(hex(&row[4]));
        right += usize::from(same);
        if !same {
            println!("{} {}: {found:x?}, recorded {}", case.display(), row[1], row[4]);
        }
    }
    let later = words.len() - boot.len();
    if later > 0 {
        println!("{}: {later} rows left out, written by hand after the boot", case.display());
    }
    Some((right, boot.len()))
}

fn kernel(version: &str) -> Profile {
    match version.split(' ').find(|word| word.contains('.') && word.starts_with(char::is_numeric)) {
        Some(version) if version.starts_with("6.1.") => Profile::Linux_6_1,
        Some(version) if version.starts_with("6.12.") => Profile::Linux_6_12,
        _ => Profile::Linux_7_3,
    }
}

/// Words that kernels set at boot on hardware whose words were all 0.
#[test]
fn every_recorded_word() {
    let conformance = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    for folder in ["boots", "boots73"] {
        let Ok(cases) = std::fs::read_dir(conformance.join(folder)) else {
            println!("skipped: {folder} is not available");
            continue;
        };
        let mut cases: Vec<_> = cases.map(|case| case.unwrap().path()).collect();
        cases.sort();
        let found: Vec<_> = cases.iter().filter_map(|case| boot_words(case, kernel)).collect();
        let (right, all) = found.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        println!("{folder}: {right} of {all} control words in {} of {} boots", found.len(), cases.len());
        assert_eq!(right, all, "{folder}");
        assert!(all > 0);
    }
}
