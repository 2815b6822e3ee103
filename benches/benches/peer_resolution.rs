//! All ordered pairs of a machine with 4,096 endpoints: map type, distance and reasons of each.
//!
//! Sixteen root complexes of eight switches with 32 endpoints; every fourth downstream port redirects. Beside it, in
//! the same run, the same question asked for one pair after the other, which reads the hardware anew each time as
//! the kernel does; that one for the first 16 providers only, so the figures to compare are those per pair.
#![allow(missing_docs)] // criterion's macros make public items

#[path = "../../sim/os/tests/p2pdma/machine.rs"]
#[allow(dead_code)] // shared with the tests of the operating system half, which use all of it
mod machine;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use machine::{Machine, ZEN, rules};
use peerbus_os::Profile;
use peerbus_os::p2pdma::{resolve, resolve_all};
use peerbus_os::pci::{FunctionIndex, PcieType};

const ROOTS: u32 = 16;
const SWITCHES: u8 = 8;
const SLOTS: u8 = 32;

fn wide() -> (Machine, Vec<FunctionIndex>) {
    let mut machine = Machine::default();
    let mut endpoints = Vec::new();
    for domain in 0..ROOTS {
        let root = machine.host(domain, 0);
        let mut number = 0;
        for port in 0..SWITCHES {
            let (_, below) = machine.bridge(root, port, PcieType::RootPort, number + 1);
            let (_, inner) = machine.bridge(below, 0, PcieType::Upstream, number + 2);
            // Bus numbers repeat: eight switches of 32 ports need more than a domain has, and nothing here goes by
            // number.
            for slot in 0..SLOTS {
                let (down, leaf) = machine.bridge(inner, slot, PcieType::Downstream, number + 3);
                machine.set_acs(down, if slot % 4 == 0 { 0x1d } else { 0 });
                endpoints.push(machine.function(leaf, 0, 0));
            }
            number += 4;
        }
    }
    (machine, endpoints)
}

fn peer_resolution(criterion: &mut Criterion) {
    let (machine, endpoints) = wide();
    assert_eq!(endpoints.len(), 4096);
    let rules = rules(Profile::Linux_7_3);
    let count = endpoints.len() as u64;
    let mut group = criterion.benchmark_group("peer_resolution_4096");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    group.throughput(Throughput::Elements(count * count));
    group.bench_function("all_pairs", |bencher| {
        bencher.iter(|| {
            let all = resolve_all(&machine.tree, &machine, &ZEN, &rules, &endpoints);
            all.map(|(_, _, found)| u64::from(found.distance)).sum::<u64>()
        });
    });
    let some = &endpoints[..16];
    group.throughput(Throughput::Elements(some.len() as u64 * count));
    group.bench_function("one_by_one", |bencher| {
        bencher.iter(|| {
            let pairs =
                some.iter().flat_map(|provider| endpoints.iter().map(move |client| (*provider, *client)));
            pairs
                .map(|(provider, client)| {
                    u64::from(resolve(&machine.tree, &machine, &ZEN, &rules, provider, client).distance)
                })
                .sum::<u64>()
        });
    });
    group.finish();
}

criterion_group!(benches, peer_resolution);
criterion_main!(benches);
