//! ACS control words: what kernels set, on worked examples and on every recorded boot.

mod isolation;
mod recorded;

use peerbus_os::pci::acs::{
    AcsEvent, AcsList, AcsParameters, AcsSyntax, acs_at_driver_bind, acs_ports_bound, acs_program,
    check_config_list, check_device_list,
};
use peerbus_os::pci::{AcsWord, FunctionIndex, PcieType, acs_control, enumerate, set_acs_control};
use peerbus_os::{ConfigAccess, Parameters, Profile, Rules, RulesOptions, Tree, Width};

use crate::fake::{ACS, Above, Fake};

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
///
/// Property B14.
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

/// Property B15.
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
///
/// Property B15, mistakes.
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

/// With an IOMMU, newer kernels set the words of ports twice while they boot, and say so twice.
#[test]
fn lists_are_logged_once_per_time_they_are_applied() {
    let times = |cmdline: &str, requested| {
        Profile::ALL.map(|profile| {
            let mut machine = switch([(0x5f, 0); 3]);
            let parameters = parameters(cmdline, requested);
            machine.program(profile, &parameters);
            let words = machine.words();
            acs_ports_bound(&mut machine.tree, &mut machine.fake, &rules(profile), &parameters, 0);
            assert_eq!(machine.words(), words, "{profile} {cmdline}");
            machine.tree.acs.log.iter().filter(|event| matches!(event, AcsEvent::Set { .. })).count()
        })
    };
    assert_eq!(times("pci=disable_acs_redir=02:00.0", true), [1, 1, 2]);
    assert_eq!(times("pci=disable_acs_redir=02:00.0", false), [1, 1, 1]);
    assert_eq!(times("pci=config_acs=10x00xx@02:00.0;x@02:01.0", true), [0, 2, 4]);
    assert_eq!(times("", true), [0; 3]);
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

/// Random text in place of lists: nothing panics, and a list that reads well to its end is never complained about.
#[test]
fn any_text_is_a_command_line() {
    let alphabet: Vec<char> = "01xX@;:./,pci:02:00.0 1b36é\"=-".chars().collect();
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000u64);
    let mut state = 0x5eed_u64;
    println!("seed {state:#x}, {cases} cases");
    let (mut good, mut applied) = (0, 0);
    for _ in 0..cases {
        let mut next = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % bound
        };
        let starts = ["", "1@", "x10@02:", "pci:", "pci:1b36:", "02:00.0;", "00:02.0/00.0/"];
        let mut text = starts[next(starts.len())].to_owned();
        text.extend((0..next(12)).map(|_| alphabet[next(alphabet.len())]));
        let line = format!("a pci=config_acs={text},disable_acs_redir={text} {text}");
        let _ = Parameters::parse(&text);
        let parameters = parameters(&line, next(2) == 1);
        let fine = [
            check_config_list(&parameters.config).is_ok(),
            check_device_list(&parameters.disable_redirect).is_ok(),
        ];
        for profile in Profile::ALL {
            let mut machine = switch([(0x5f, 0x2c); 3]);
            machine.program(profile, &parameters);
            for event in &machine.tree.acs.log {
                match event {
                    AcsEvent::Syntax { list: AcsList::Config, .. } => assert!(!fine[0], "{line}"),
                    AcsEvent::Syntax { list: AcsList::DisableRedirect, .. } => assert!(!fine[1], "{line}"),
                    AcsEvent::Set { .. } => applied += 1,
                    AcsEvent::NoCapability(_) => {}
                }
            }
        }
        good += usize::from(fine.contains(&true) && !text.is_empty());
    }
    assert!(good > 10 && applied > 10, "{good} lists read well, {applied} words were set");
}
