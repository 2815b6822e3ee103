//! Payload and read request sizes: worked examples for every policy.

use peerbus_os::pci::{
    FunctionIndex, MpsPolicy, PayloadEvent, PcieType, ReadRequestError, configure_bus, max_payload,
    max_read_request, set_read_request,
};
use peerbus_os::{BootOptions, ConfigAccess, Profile, RulesOptions, Tree, boot};

use crate::fake::{Above, Fake, PCIE};

const POLICIES: [MpsPolicy; 5] =
    [MpsPolicy::Off, MpsPolicy::Default, MpsPolicy::Safe, MpsPolicy::Performance, MpsPolicy::PeerToPeer];

/// A function's PCI Express kind and where it hangs, the payload it supports and what firmware programmed.
#[derive(Clone, Copy)]
struct Part {
    /// Position of the function above; `None` on the root bus.
    above: Option<usize>,
    device: u8,
    kind: PcieType,
    supported: u32,
    firmware: u32,
    hotplug: bool,
}

const fn part(above: Option<usize>, device: u8, kind: PcieType, supported: u32, firmware: u32) -> Part {
    Part { above, device, kind, supported, firmware, hotplug: false }
}

fn machine(parts: &[Part]) -> Fake {
    let mut fake = Fake::arm64();
    for part in parts {
        let above = part.above.map_or(Above::Host(0), Above::Bridge);
        let function = match part.kind {
            PcieType::Endpoint | PcieType::IntegratedEndpoint => {
                let function = fake.function(above, part.device, 0, (0x10de, 0x20b0), 0x03_0200);
                fake.pcie(function, part.kind);
                function
            }
            kind => fake.port(above, part.device, 0, kind, part.hotplug),
        };
        fake.sizes(function, part.supported, part.firmware);
    }
    fake
}

fn booted(parts: &[Part], policy: MpsPolicy) -> (Fake, Tree) {
    let mut fake = machine(parts);
    let hosts = fake.hosts.clone();
    let options = BootOptions { mps: policy, ..BootOptions::default() };
    let tree = boot(&mut fake, &hosts, &Profile::Linux_7_3.rules(RulesOptions::default()), &options);
    (fake, tree)
}

/// Payload sizes in the kernel's order, and how many lines were logged.
fn sizes(parts: &[Part], policy: MpsPolicy) -> (Vec<u32>, usize) {
    let (fake, tree) = booted(parts, policy);
    let sizes = tree.iter().map(|(index, _)| max_payload(&tree, &fake, index).unwrap());
    (sizes.collect(), tree.payload_log.len())
}

fn check(parts: &[Part], expect: [(&[u32], usize); 5]) {
    for (policy, expect) in POLICIES.into_iter().zip(expect) {
        let found = sizes(parts, policy);
        assert_eq!((found.0.as_slice(), found.1), expect, "{policy:?}");
    }
}

/// Root port, upstream port and three downstream ports that support 512; endpoints that support 512, 256 and 128.
fn switch(bridges: u32, endpoints: u32) -> [Part; 8] {
    [
        part(None, 2, PcieType::RootPort, 512, bridges),
        part(Some(0), 0, PcieType::Upstream, 512, bridges),
        part(Some(1), 0, PcieType::Downstream, 512, bridges),
        part(Some(1), 1, PcieType::Downstream, 512, bridges),
        part(Some(1), 2, PcieType::Downstream, 512, bridges),
        part(Some(2), 0, PcieType::Endpoint, 512, endpoints),
        part(Some(3), 0, PcieType::Endpoint, 256, endpoints),
        part(Some(4), 0, PcieType::Endpoint, 128, endpoints),
    ]
}

/// Property B12.
#[test]
fn firmware_at_the_smallest() {
    let same: &[u32] = &[128; 8];
    let largest: &[u32] = &[512, 512, 512, 512, 512, 512, 256, 128];
    check(&switch(128, 128), [(same, 0), (same, 0), (same, 0), (largest, 0), (same, 0)]);
}

/// Property B12.
#[test]
fn firmware_with_larger_bridges() {
    let untouched: &[u32] = &[256, 256, 256, 256, 256, 128, 128, 128];
    let raised: &[u32] = &[256, 256, 256, 256, 256, 256, 256, 128];
    let same: &[u32] = &[128; 8];
    let largest: &[u32] = &[512, 512, 512, 512, 512, 512, 256, 128];
    check(&switch(256, 128), [(untouched, 3), (raised, 1), (same, 0), (largest, 0), (same, 0)]);
    let (_, tree) = booted(&switch(256, 128), MpsPolicy::Default);
    let small = FunctionIndex(7);
    assert_eq!(tree.payload_log, [PayloadEvent::TooLarge { function: small, wanted: 256, supported: 128 }]);
    let (_, tree) = booted(&switch(256, 128), MpsPolicy::Off);
    assert_eq!(tree.payload_log[2], PayloadEvent::Differs { function: small, own: 128, above: 256 });
}

/// Property B12.
#[test]
fn a_root_port_comes_down_to_its_endpoint() {
    let parts = [part(None, 2, PcieType::RootPort, 512, 512), part(Some(0), 0, PcieType::Endpoint, 128, 128)];
    let (both, split): (&[u32], &[u32]) = (&[128, 128], &[512, 128]);
    check(&parts, [(split, 1), (both, 0), (both, 0), (split, 0), (both, 0)]);
}

#[test]
fn integrated_endpoints_take_what_they_support() {
    let parts = [part(None, 2, PcieType::IntegratedEndpoint, 512, 128)];
    let (most, least): (&[u32], &[u32]) = (&[512], &[128]);
    check(&parts, [(most, 0), (most, 0), (most, 0), (most, 0), (least, 0)]);
}

/// A slot of a switch may get a smaller function later; a root port's slot can follow it.
#[test]
fn slots_of_switches_keep_safe_sizes_small() {
    let with_slot = |position: usize| {
        let mut parts = switch(256, 256).to_vec();
        parts.truncate(6);
        parts[position].hotplug = true;
        sizes(&parts, MpsPolicy::Safe).0
    };
    assert_eq!(with_slot(0), [512; 6]);
    assert_eq!(with_slot(3), [128; 6]);
}

#[test]
fn read_requests_follow_payloads_only_for_performance() {
    for policy in POLICIES {
        let (fake, tree) = booted(&switch(128, 128), policy);
        let found: Vec<u32> =
            tree.iter().map(|(index, _)| max_read_request(&tree, &fake, index).unwrap()).collect();
        let expect = match policy {
            MpsPolicy::Performance => [512, 512, 512, 512, 512, 512, 256, 128],
            _ => [512; 8],
        };
        assert_eq!(found, expect, "{policy:?}");
    }
}

#[test]
fn drivers_wishes() {
    let (mut fake, tree) = booted(&switch(128, 128), MpsPolicy::Performance);
    let middle = FunctionIndex(6);
    let mut set = |policy, wanted, may_grow| {
        let answer = set_read_request(&tree, &mut fake, middle, policy, wanted, may_grow);
        (answer, max_read_request(&tree, &fake, middle).unwrap())
    };
    let invalid = Err(ReadRequestError::Invalid);
    assert_eq!(set(MpsPolicy::Performance, 4096, true), (Ok(()), 256), "no more than the payload size");
    assert_eq!(set(MpsPolicy::Default, 4096, true), (Ok(()), 4096));
    assert_eq!(set(MpsPolicy::Default, 8192, true), (invalid, 4096));
    assert_eq!(set(MpsPolicy::Default, 64, true), (invalid, 4096));
    assert_eq!(set(MpsPolicy::Default, 384, true), (invalid, 4096));
    assert_eq!(set(MpsPolicy::Default, 1024, false), (Ok(()), 1024));
    assert_eq!(set(MpsPolicy::Default, 2048, false), (invalid, 1024), "a host bridge forbids it");
}

/// Registers that hold reserved codes or do not keep what is written.
#[test]
fn hostile_registers() {
    for policy in POLICIES {
        let mut parts = switch(256, 128);
        for (position, part) in parts.iter_mut().enumerate() {
            part.supported = [16384, 8192, 128][position % 3];
            part.firmware = [16384, 128, 8192][position % 3];
        }
        let (fake, tree) = booted(&parts, policy);
        for (index, function) in tree.iter() {
            let size = max_payload(&tree, &fake, index).unwrap();
            assert!(size.is_power_of_two() && size >= 128, "{policy:?} {}: {size}", function.id);
        }
    }
    let mut fake = machine(&switch(128, 128));
    fake.freeze(7, PCIE + 8);
    let hosts = fake.hosts.clone();
    let options = BootOptions { mps: MpsPolicy::Performance, ..BootOptions::default() };
    let rules = Profile::Linux_6_1.rules(RulesOptions::default());
    let tree = boot(&mut fake, &hosts, &rules, &options);
    assert_eq!(tree.payload_log, [PayloadEvent::ReadRequestRefused(FunctionIndex(7))]);
}

/// After something was plugged in, the bus of its slot is configured alone.
#[test]
fn one_slot_after_a_hot_plug() {
    let (mut fake, mut tree) = booted(&switch(128, 128), MpsPolicy::Default);
    let slot = tree[FunctionIndex(2)].subordinate.unwrap();
    configure_bus(&mut tree, &mut fake, MpsPolicy::Safe, slot);
    let found: Vec<u32> = tree.iter().map(|(index, _)| max_payload(&tree, &fake, index).unwrap()).collect();
    assert_eq!(found, [128, 128, 512, 128, 128, 512, 128, 128]);
    assert_eq!(fake.read_word("0000:02:00.0".parse().unwrap(), PCIE + 8) >> 5 & 7, 2);
}
