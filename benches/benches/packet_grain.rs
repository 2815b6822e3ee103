//! TLP-hops per second of the packet grain, credits and accounting on.
//!
//! Four cases: a chain of three links (device, switch, root, memory), the same with 16 credits, all-to-all of 8 devices below one switch, and of
//! 16 devices below four switches and a root. Writes, and every third pair reads. Beside them, in the same run,
//! a bare binary heap that holds as many events as the machine has links and handles as many as the chain does.
#![allow(missing_docs)] // criterion's macros make public items

#[path = "../../sim/fabric/tests/machines.rs"]
#[allow(dead_code)] // shared with the fabric's tests, which use all of it
mod machines;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use machines::{Shape, bar, machine};
use peerbus_engine::Stream;
use peerbus_fabric::{Descriptor, Fabric, LatencyOf, LinkLayer, Options};
use peerbus_units::{Bytes, DmaAddr};

struct Case {
    name: &'static str,
    shape: Shape,
    /// Every ordered pair, or only the first device to host memory.
    all_to_all: bool,
    bytes: u64,
}

/// In the memory of the machine's only CPU, above the 32-bit windows.
const HOST_MEMORY: u64 = 8 << 30;

fn cases() -> [Case; 4] {
    let gen5 = Shape { generation: 5, ..Shape::default() };
    [
        // Up to the switch, across the root complex's switch port, down: two switches in a row make three links.
        Case { name: "chain", shape: gen5.clone(), all_to_all: false, bytes: 16 << 20 },
        Case {
            name: "chain_16_credits",
            shape: Shape { credits: 16, ..gen5.clone() },
            all_to_all: false,
            bytes: 16 << 20,
        },
        Case {
            name: "all_to_all_8",
            shape: Shape { devices: 8, ..gen5.clone() },
            all_to_all: true,
            bytes: 256 << 10,
        },
        Case {
            name: "all_to_all_16_root",
            shape: Shape { switches: 4, devices: 4, ..gen5 },
            all_to_all: true,
            bytes: 64 << 10,
        },
    ]
}

fn loaded(case: &Case) -> Fabric {
    let (machine, registers) = machine(&case.shape);
    let options = Options { link_layer: LinkLayer::ByRule, scaling: vec![] };
    let mut fabric = Fabric::new(&machine, &registers, &options);
    let devices = machine.devices.len();
    for from in 0..devices {
        for to in (0..devices).filter(|to| *to != from) {
            if !case.all_to_all && (from, to) != (0, 1) {
                continue;
            }
            let reads = case.all_to_all && (from + to) % 3 == 0;
            let engine = if reads { fabric.spec.reader(from) } else { fabric.spec.writer(from) };
            let flow = fabric.add_flow(LatencyOf::Request);
            let addr = if case.all_to_all { bar(&case.shape, to) } else { HOST_MEMORY };
            let (addr, bytes) = (DmaAddr(addr), Bytes(case.bytes));
            fabric.submit(Descriptor::new(engine, addr, bytes, flow, 0));
        }
    }
    fabric.watch();
    fabric
}

fn finish(mut fabric: Fabric) -> Fabric {
    while fabric.advance().is_some() {}
    fabric.finish();
    fabric
}

fn packets(c: &mut Criterion) {
    let mut group = c.benchmark_group("packet_grain");
    group.sample_size(10).measurement_time(Duration::from_secs(4));
    for case in cases() {
        let hops = finish(loaded(&case)).ledger.tlp_hops();
        group.throughput(Throughput::Elements(hops));
        group.bench_function(case.name, |b| b.iter_batched(|| loaded(&case), finish, BatchSize::LargeInput));
    }
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("bare_binary_heap_of_80", |b| {
        b.iter(|| {
            let mut stream = Stream::new(1, 0);
            let mut heap: BinaryHeap<Reverse<(u64, u32)>> = (0..80).map(|slot| Reverse((0, slot))).collect();
            for _ in 0..100_000 {
                if let Some(Reverse((time, slot))) = heap.pop() {
                    heap.push(Reverse((time + stream.below(10_000), slot)));
                }
            }
            heap.len()
        });
    });
    group.finish();
}

criterion_group!(benches, packets);
criterion_main!(benches);
