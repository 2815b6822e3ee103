//! The page and the names: what a person sees and may write.

use std::path::PathBuf;

use peerbus_machine::Machine;
use peerbus_system::boot::{BootOptions, boot};
use peerbus_system::kernel::{AcsPolicy, KernelSettings, ProfileName};
use peerbus_system::why::{FindError, find, render_why};
use peerbus_units::Bytes;

use super::{ask, firmware_acs};
use crate::build::*;
use crate::shipped::shipped;

/// A page with a route, both host bridges, a log and changes of several kinds. `PEERBUS_BLESS=1` rewrites it.
#[test]
fn the_page_is_as_committed() {
    let mut build = two_hosts(HASWELL, HostSpec::default());
    for device in [0, 1] {
        let port = build.machine.slot(device).unwrap();
        firmware_acs(&mut build, port, 0x1d);
    }
    let settings = KernelSettings { profile: ProfileName::Linux_6_12, ..KernelSettings::default() };
    let pages = [("gpu0", "gpu1"), ("gpu0", "gpu2")]
        .map(|(provider, client)| render_why(&ask(&build.machine, &settings, provider, client)));
    let text = pages.join("\n----\n\n");
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/main/why/page.txt"));
    if std::env::var_os("PEERBUS_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "see {}", path.display());
}

/// Every shipped machine, pairs of its devices: one page of at most 100 columns, the same every time.
#[test]
fn pages_of_shipped_machines_fit() {
    let mut pages = 0;
    for (name, machine) in shipped() {
        let last = machine.devices.len() - 1;
        for (provider, client) in [(0, 1.min(last)), (0, last), (last, last / 2)] {
            for acs in [AcsPolicy::FirmwareDefault, AcsPolicy::On] {
                let settings =
                    KernelSettings { acs, profile: ProfileName::Linux_6_12, ..KernelSettings::default() };
                let page = || {
                    let [provider, client] = [provider, client].map(|at| machine.devices[at].name.as_str());
                    render_why(&ask(&machine, &settings, provider, client))
                };
                let text = page();
                assert!(text.lines().all(|line| line.chars().count() <= 100), "{name}\n{text}");
                assert!(text.lines().count() <= 80, "{name}\n{text}");
                pages += 1;
                if provider == 0 && client == 1 {
                    assert_eq!(text, page(), "{name}");
                }
            }
        }
    }
    println!("{pages} pages");
    assert!(pages > 0);
}

fn named(machine: &Machine, text: &str) -> Result<String, FindError> {
    let booted = boot(machine, &KernelSettings::default(), &BootOptions::default());
    find(machine, &booted, text).map(|function| machine.functions[function].name.clone())
}

#[test]
fn functions_have_many_names() {
    let machine = two_hosts(MILAN, HostSpec::default()).machine;
    let path = "host0/rp1/sw0/p0/gpu0";
    for text in ["gpu0", path, "host0/rp1/sw0/gpu0", "sw0/gpu0", "0000:03:00.0", "03:00.0"] {
        assert_eq!(named(&machine, text).as_deref(), Ok(path), "{text}");
    }
    assert_eq!(named(&machine, "sw0/p1").as_deref(), Ok("host0/rp1/sw0/p1"));
    assert_eq!(named(&machine, "host1/head").as_deref(), Ok("host1/head"));
}

#[test]
fn wrong_names_are_answered_with_right_ones() {
    let machine = two_hosts(MILAN, HostSpec::default()).machine;
    let check = |text: &str, message: &str, help: &str| {
        let problem = named(&machine, text).unwrap_err();
        assert!(problem.to_string().contains(message), "{text}: {problem}");
        assert!(problem.help().contains(help), "{text}: {}", problem.help());
    };
    check("gpo1", "no function is called `gpo1`", "did you mean `gpu1`?");
    check("hots0/rp1/sw0/p0/gpu0", "no function", "did you mean `host0/rp1/sw0/p0/gpu0`?");
    check("0000:99:00.0", "no function", "`gpu0`");
    check("zzzzzzzz", "no function", "such as `gpu0`, `gpu1`, `nic0` or `gpu2`");
    check("", "no function", "such as");
    check("head", "may be any of 2", "host0/head or host1/head");
    check("gpu0/sw0", "no function", "");
}

/// A sender that is programmed for more than a port on its way takes.
#[test]
fn payloads_that_do_not_fit_are_told() {
    let mut build = Build::new(MILAN);
    let host = build.host(HostSpec::default());
    let ports = [build.root_port(host), build.root_port(host)];
    build.gpu("gpu0", ports[0], Bytes::gib(1));
    build.gpu("gpu1", ports[1], Bytes::gib(1));
    let small = build.machine.devices[1].functions[0];
    build.machine.functions[small].max_payload = Bytes(128);
    let why = ask(&build.machine, &KernelSettings::default(), "gpu0", "gpu1");
    let conflict = &why.payload_conflicts[..];
    assert_eq!(conflict.len(), 1, "{conflict:?}");
    assert_eq!((conflict[0].sends, conflict[0].takes), (512, 128));
    assert!(render_why(&why).contains("malformed"));
}
