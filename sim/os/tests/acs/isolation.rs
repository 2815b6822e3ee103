//! Which functions and paths count as isolated, and models that are known to be.

use peerbus_os::pci::acs::acs_program;
use peerbus_os::pci::{AcsWord, FunctionIndex, PcieType, acs_control, acs_enabled, acs_path, enumerate};
use peerbus_os::{Profile, Tree};
use peerbus_units::FunctionId;

use super::{parameters, rules, switch};
use crate::fake::{ACS, Above, Fake};

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
    assert!(!path(end("0000:03:00.0"), None, AcsWord::EC), "egress control must be on, not merely absent");
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
