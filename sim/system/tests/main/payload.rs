//! Payload policies of the kernel, seen from the traffic.

use peerbus_machine::model::FunctionIndex;
use peerbus_system::boot::{BootOptions, boot};
use peerbus_system::kernel::{KernelSettings, MpsPolicy};
use peerbus_system::outcome::Outcome;
use peerbus_system::run::{RunInput, run};
use peerbus_system::workload::{Addresses, Copy, Engine, Packets, WhenRefused, Workload};
use peerbus_units::{Bytes, Picos};

use crate::build::{Build, HostSpec, MILAN, two_hosts};
use crate::run::input;

/// gpu0 supports 512 bytes, gpu1 256, the ports above them 512.
fn machine() -> Build {
    let mut build = two_hosts(MILAN, HostSpec::default());
    let small = build.machine.devices[1].functions[0];
    build.machine.functions[small].max_payload = Bytes(256);
    build
}

fn settings(mps: Option<MpsPolicy>, cmdline: &str) -> KernelSettings {
    KernelSettings { mps, cmdline: cmdline.to_owned(), ..KernelSettings::default() }
}

fn copy(from: &str, to: &str, engine: Engine, kernel: KernelSettings) -> Outcome {
    let copy = Copy {
        packets: Packets::default(),
        name: "peer".into(),
        from: from.into(),
        to: to.into(),
        bytes: Bytes::mib(1),
        chunk: Bytes::mib(1),
        engine,
        refused: WhenRefused::Fail,
        way: peerbus_system::workload::Way::Fastest,
        start: Picos::ZERO,
        dma_shift: Bytes::ZERO,
        addresses: Addresses::Dma,
        memory_at: None,
        through: None,
    };
    run(&machine().machine, &RunInput { kernel, ..input(vec![Workload::Copy(copy)]) }).unwrap()
}

#[test]
fn performance_makes_writes_to_smaller_receivers_malformed() {
    for kernel in [settings(Some(MpsPolicy::Performance), ""), settings(None, "pci=pcie_bus_perf")] {
        let outcome = copy("gpu0", "gpu1", Engine::Writer, kernel.clone());
        let [error] = outcome.errors.as_slice() else { panic!("{:?}", outcome.errors) };
        assert_eq!((error.kind.as_str(), error.count, error.bytes), ("MALFORMED_TLP", 2048, Bytes::mib(1)));
        assert_eq!(error.place, "host0/rp1/sw0/p1/gpu1");
        assert_eq!(
            error.text,
            "a write with 512B of payload is malformed for a receiver with an MPS of 256B"
        );
        assert_eq!(error.flow.as_deref(), Some("peer"));
        let flow = &outcome.flows[0];
        assert_eq!((flow.delivered, flow.refused), (Bytes::ZERO, Bytes::mib(1)));
        assert!(flow.limited_by.is_empty());
        for (from, to, engine) in [
            ("gpu0", "gpu1", Engine::Reader),
            ("gpu1", "gpu0", Engine::Writer),
            ("gpu1", "gpu0", Engine::Reader),
        ] {
            let outcome = copy(from, to, engine, kernel.clone());
            assert_eq!(outcome.errors, [], "{from} to {to}, {engine:?}");
            assert_eq!(outcome.flows[0].delivered, Bytes::mib(1), "{from} to {to}, {engine:?}");
        }
    }
}

/// Payload per packet on the link to the receiver.
fn payload(outcome: &Outcome) -> u64 {
    let link = outcome.links.iter().find(|link| link.name.ends_with("gpu1:down")).unwrap();
    link.payload_bytes.0 / link.tlps
}

#[test]
fn other_policies_are_safe_below_one_root_port() {
    for (mps, expect) in [
        (None, 256),
        (Some(MpsPolicy::Off), 256),
        (Some(MpsPolicy::Default), 256),
        (Some(MpsPolicy::Safe), 256),
        (Some(MpsPolicy::PeerToPeer), 128),
    ] {
        let outcome = copy("gpu0", "gpu1", Engine::Writer, settings(mps, ""));
        assert_eq!(outcome.errors, [], "{mps:?}");
        assert_eq!(payload(&outcome), expect, "{mps:?}");
    }
}

#[test]
fn the_kernel_programs_what_the_fabric_obeys() {
    let build = machine();
    let booted = |mps| boot(&build.machine, &settings(Some(mps), ""), &BootOptions::default());
    let sizes = |mps, function: FunctionIndex| {
        let registers = booted(mps).registers;
        (registers.max_payload(function).0, registers.max_read_request(function).0)
    };
    let (large, small) = (build.machine.devices[0].functions[0], build.machine.devices[1].functions[0]);
    assert_eq!((sizes(MpsPolicy::Safe, large), sizes(MpsPolicy::Safe, small)), ((256, 512), (256, 512)));
    let most = MpsPolicy::Performance;
    assert_eq!((sizes(most, large), sizes(most, small)), ((512, 512), (256, 256)));
    assert_eq!(sizes(MpsPolicy::PeerToPeer, large), (128, 512));
}
