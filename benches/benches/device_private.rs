//! Page frames of private memory in both designs, on a machine with eight devices of 141 GiB: the way from a frame to its
//! page and back, per page and per 2 MiB, and reserving and releasing chunks.
//!
//! A look-up per 2 MiB is one look-up for a compound page; without compound pages it is 512, one after the other.
#![allow(missing_docs)] // criterion's macros make public items

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerbus_os::device_private::{
    AnyDesign, DevicePrivate, Frame, Platform, PrivateDesign, PrivateRequest, Reserved, design_of,
};
use peerbus_os::iomem::{DirectMap, IoMem, IoResource, Paging, PhysicalSpace};
use peerbus_os::pagemap::{MapPage, Owner};
use peerbus_os::{Profile, RulesOptions};
use peerbus_units::{Bytes, CpuAddr, Range};

const GIB: u64 = 1 << 30;
const CHUNK: Bytes = Bytes::mib(256);
/// Chunks of 256 MiB in eight devices of 141 GiB.
const CHUNKS: u64 = 8 * 141 * 4;

/// 1 TiB of RAM below 52 bits of physical addresses.
fn platform(design: PrivateDesign) -> Platform {
    let options = RulesOptions { private_design: Some(design), ..RulesOptions::default() };
    let direct_map = DirectMap::distribution(CpuAddr(1 << 40));
    let space = PhysicalSpace::X86 { paging: Paging::FiveLevel, physical_bits: 52, direct_map };
    let mut iomem = IoMem::new(space.end());
    let ram = Range::sized(CpuAddr(0), Bytes::gib(1024)).map(|range| IoResource::memory(range, "System RAM"));
    let entered = ram.and_then(|ram| iomem.request(iomem.root(), ram.busy()).ok());
    assert!(entered.is_some(), "the tree is empty");
    Platform::new(Profile::Linux_7_3.rules(options), iomem, &space)
}

fn reserve(design: &mut dyn DevicePrivate, platform: &mut Platform, size: Bytes) -> Reserved {
    let reserved = design.reserve(platform, &PrivateRequest::new(size, Owner(1), "device"));
    let Ok(reserved) = reserved else { unreachable!("there is room for {size}") };
    reserved
}

struct Machine {
    platform: Platform,
    design: AnyDesign,
    chunks: Vec<Reserved>,
}

fn machine(design: PrivateDesign, count: u64, size: Bytes) -> Machine {
    let mut platform = platform(design);
    let mut design = design_of(&platform);
    let chunks = (0..count).map(|_| reserve(&mut design, &mut platform, size)).collect();
    Machine { platform, design, chunks }
}

/// Frames all over the machine, in an order that jumps between chunks.
fn frames(machine: &Machine) -> Vec<Frame> {
    let chunks = machine.chunks.iter().cycle().step_by(37).take(1024);
    let frame = |(number, chunk): (u64, &Reserved)| chunk.first.checked_add(number * 61 * 512 % chunk.pages);
    (0..).zip(chunks).filter_map(frame).collect()
}

fn look_up(c: &mut Criterion) {
    for (name, count, size) in [("devices", 8, Bytes(141 * GIB)), ("chunks", CHUNKS, CHUNK)] {
        let mut group = c.benchmark_group(format!("private_look_up_{name}"));
        for design in PrivateDesign::ALL {
            let machine = machine(design, count, size);
            let Machine { platform, design: frames_of, .. } = &machine;
            let frames = frames(&machine);
            let pages: Vec<MapPage> = frames
                .iter()
                .filter_map(|frame| frames_of.page(platform, *frame))
                .map(|looked| looked.found)
                .collect();
            assert_eq!(pages.len(), frames.len(), "every frame has a page");
            group.throughput(Throughput::Elements(1024));
            group.bench_function(BenchmarkId::new("page_of_frame", design), |b| {
                b.iter(|| {
                    frames.iter().filter_map(|frame| frames_of.page(platform, black_box(*frame))).count()
                });
            });
            group.bench_function(BenchmarkId::new("frame_of_page", design), |b| {
                b.iter(|| {
                    pages.iter().filter_map(|page| frames_of.frame(platform, black_box(*page))).count()
                });
            });
            group.bench_function(BenchmarkId::new("2mib_page_by_page", design), |b| {
                b.iter(|| {
                    let found = |frame: &Frame| {
                        (0..512)
                            .filter_map(|page| frames_of.page(platform, black_box(frame.checked_add(page)?)))
                            .count()
                    };
                    frames.iter().map(found).sum::<usize>()
                });
            });
        }
        group.finish();
    }
}

fn reserve_and_release(c: &mut Criterion) {
    let mut group = c.benchmark_group("private_reserve_release");
    group.sample_size(20);
    for design in PrivateDesign::ALL {
        for (name, size) in [("2MiB", Bytes::mib(2)), ("256MiB", CHUNK), ("141GiB", Bytes(141 * GIB))] {
            // Every second of the chunks is gone again: there are gaps.
            let make = || {
                let mut machine = machine(design, 512, CHUNK);
                let Machine { platform, design, chunks } = &mut machine;
                for chunk in chunks.iter().step_by(2) {
                    assert!(design.release(platform, chunk.map).is_ok(), "nothing of it is in use");
                }
                machine
            };
            group.bench_function(BenchmarkId::new(name, design), |b| {
                b.iter_batched_ref(
                    make,
                    |machine| {
                        let Machine { platform, design, .. } = machine;
                        for _ in 0..16 {
                            let reserved = reserve(design, platform, size);
                            assert!(
                                design.release(platform, black_box(reserved.map)).is_ok(),
                                "nobody uses it"
                            );
                        }
                    },
                    BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, look_up, reserve_and_release);
criterion_main!(benches);
