//! Address plans of whole machines.

use peerbus_system::boot::{BootOptions, boot, kernel_memory};
use peerbus_system::kernel::{KernelSettings, ProfileName};
use peerbus_system::plan::{BootLine, Plan, plan, render_plan, unplaced};
use peerbus_system::space::{SpaceKind, windows};
use peerbus_units::Bytes;

use crate::build::*;

fn place(build: &Build, profile: ProfileName) -> Plan {
    let settings = KernelSettings { profile, ..KernelSettings::default() };
    plan(&build.machine, &boot(&build.machine, &settings, &BootOptions::default()))
}

#[test]
fn everything_has_an_address_or_a_reason() {
    for upper in [Bytes::gib(1024), Bytes::gib(128), Bytes::gib(64)] {
        for profile in ProfileName::ALL {
            let build = two_hosts(MILAN, HostSpec { upper, offset: 0x40_0000_0000 });
            let plan = place(&build, profile);
            let bars: Vec<_> = plan.resources.iter().filter(|resource| resource.index < 6).collect();
            assert_eq!(bars.len(), 7, "three GPUs with two BARs, a NIC with one");
            for resource in &plan.resources {
                assert_eq!(resource.cpu_addr.is_some(), resource.bus_addr.is_some());
                assert_ne!(resource.cpu_addr.is_some(), resource.why_not.is_some(), "{resource:?}");
            }
            for space in &plan.spaces {
                assert!(
                    space.used_by_bars <= space.used && space.used + space.largest_hole <= space.size,
                    "{space:?}"
                );
            }
        }
    }
}

#[test]
fn what_does_not_fit_says_why() {
    // Two GPUs with 64 GiB each share 64 GiB.
    let build = two_hosts(MILAN, HostSpec { upper: Bytes::gib(64), offset: 0 });
    let settings = KernelSettings::default();
    let booted = boot(&build.machine, &settings, &BootOptions::default());
    let missing = unplaced(&build.machine, &booted);
    assert!(!missing.is_empty());
    for (place, size, why) in &missing {
        assert!(place.contains("/gpu") && place.ends_with("BAR1"), "{place}");
        assert_eq!(*size, Bytes::gib(64));
        let chain = "0000:01:00.0 (128GiB), 0000:00:01.0 (128GiB): no room for 128GiB aligned to 64GiB; ";
        assert!(why.starts_with("no window of 0000:02:0") && why.contains(chain), "{why}");
        assert!(why.ends_with("has 64GiB free, largest hole 64GiB"), "{why}");
    }
    let text = render_plan(&plan(&build.machine, &booted));
    assert!(text.contains("did not fit") && text.contains("not placed"), "{text}");
    let hosts = windows(&build.machine, &booted);
    let hosts = hosts.iter().filter(|space| space.kind == SpaceKind::HostBridgeWindow);
    assert_eq!(hosts.count(), 4);
}

#[test]
fn documents_keep_their_contract() {
    let plan = place(&two_hosts(MILAN, HostSpec::default()), ProfileName::Linux_6_12);
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!((&json["schema"], &json["profile"]), (&"peerbus.plan/1".into(), &"Linux_6_12".into()));
    let resources = json["resources"].as_array().unwrap();
    let of = |function: &str, index: u64| {
        resources
            .iter()
            .find(|resource| resource["function"] == function && resource["index"] == index)
            .unwrap()
    };
    let gpu = of("0000:03:00.0", 1);
    assert_eq!((&gpu["size"], &gpu["flags"]), (&(64u64 << 30).into(), &0x14_220cu64.into()));
    assert_eq!(gpu["cpu_addr"], gpu["bus_addr"]);
    assert!(gpu["cpu_addr"].is_u64() && gpu["why_not"].is_null());
    assert_eq!(of("0000:03:00.0", 0)["flags"], 0x4_0200);
    assert_eq!(of("0000:02:00.0", 15)["flags"], 0x10_2201);
    assert_eq!(json["spaces"][1]["used"], (64u64 << 30) * 2 + (32 << 20));
}

#[test]
fn the_tree_reads_from_the_top() {
    let mut build = two_hosts(MILAN, HostSpec { offset: 0x80_0000_0000, ..HostSpec::default() });
    build.machine.switches[0].assumed = facts(&[peerbus_machine::model::Fact::Acs]);
    let text = render_plan(&place(&build, ProfileName::Linux_7_3));
    for line in [
        "host0 0000:00  buses 00-3f  cpu0 test-cpu",
        "  head  00:00.0  root bus head [1022:1480]",
        "    sw0  01:00.0  upstream port test-switch [8086:347a]  gen4 x16  buses 02-04  (assumed: acs)",
        "        gpu0  03:00.0  device test-gpu [10de:2330]  gen4 x16",
        "host-bridge windows",
        "everything fits",
    ] {
        assert!(text.lines().any(|got| got == line), "{line:?} is missing in\n{text}");
    }
}

#[test]
fn same_machine_same_bytes() {
    for profile in ProfileName::ALL {
        let document = || {
            let build = two_hosts(HASWELL, HostSpec { upper: Bytes::gib(64), offset: 0 });
            let plan = place(&build, profile);
            (render_plan(&plan), serde_json::to_string(&plan).unwrap())
        };
        assert_eq!(document(), document());
    }
}

/// What a list on the command line did to control words is in the plan: once at boot, and in newer kernels again for ports
/// where an IOMMU's driver looked first.
#[test]
fn the_plan_shows_what_the_kernel_logs() {
    let build = two_hosts(MILAN, HostSpec::default());
    for (profile, iommu, times) in [
        (ProfileName::Linux_6_12, "", 1),
        (ProfileName::Linux_6_12, "intel_iommu=on ", 1),
        (ProfileName::Linux_7_3, "", 1),
        (ProfileName::Linux_7_3, "intel_iommu=on ", 2),
    ] {
        let cmdline = format!("{iommu}pci=disable_acs_redir=0000:02:00.0;nonsense");
        let settings = KernelSettings { profile, cmdline, ..KernelSettings::default() };
        let plan = plan(&build.machine, &boot(&build.machine, &settings, &BootOptions::default()));
        let about = |line: &&BootLine| line.function == "0000:02:00.0".parse().ok();
        let lines: Vec<_> = plan.log.iter().filter(about).map(|line| line.text.as_str()).collect();
        assert_eq!(lines, vec!["ACS control word 0x0000 by disable_acs_redir"; times], "{profile:?} {iommu}");
        let mistakes = plan.log.iter().filter(|line| line.function.is_none()).count();
        assert_eq!(mistakes, 1, "the second name is a mistake, told once");
        let text = render_plan(&plan);
        assert!(text.contains("\nthe kernel logs\n"), "{text}");
        assert_eq!(text.matches("0000:02:00.0 ACS control word 0x0000").count(), times, "{text}");
    }
    assert!(place(&build, ProfileName::Linux_7_3).log.is_empty(), "nothing was said");
    assert!(!render_plan(&place(&build, ProfileName::Linux_7_3)).contains("the kernel logs"));
}

/// `no5lvl` shortens the direct map to 64 TiB, and with it what memory of devices may get pages.
#[test]
fn the_command_line_limits_the_linear_mapping() {
    let mut build = two_hosts(MILAN, HostSpec::default());
    for (bits, cmdline, expect) in [(48, "", 48), (48, "no5lvl", 46), (52, "nokaslr", 52), (44, "no5lvl", 44)]
    {
        build.machine.cpus[0].part.physical_bits = bits;
        let settings = KernelSettings { cmdline: cmdline.to_owned(), ..KernelSettings::default() };
        let booted = boot(&build.machine, &settings, &BootOptions::default());
        let (_, mappable) = kernel_memory(&build.machine, &booted);
        assert_eq!(mappable.last().0, (1 << expect) - 1, "{bits} {cmdline}");
    }
}
