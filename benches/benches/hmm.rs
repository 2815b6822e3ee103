//! Device memory in memory management: CPU faults, range faults, migration and look-ups of 2 MiB, as 512 pages of 4 KiB and
//! as one folio, in both designs of private memory, on a machine with eight devices.
//!
//! Compared in the same run: the designs with each other, folios with pages, and private memory with RAM: a CPU's first
//! touch beside its fault on a private page, the look of a device at pages of RAM beside that at its own.
#![allow(missing_docs)] // criterion's macros make public items

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use peerbus_os::device_private::{Platform, PrivateDesign, PrivateMemory};
use peerbus_os::hmm::{Flags, Range as HmmRange, RangeFault};
use peerbus_os::iomem::{DirectMap, IoMem, IoResource, Paging, PhysicalSpace};
use peerbus_os::mm::{DeviceId, HugePolicy, Mapping, Mm, SpaceId};
use peerbus_os::notifier::MirrorId;
use peerbus_os::pci::ResourceFlags;
use peerbus_os::test_device::{self, Kind};
use peerbus_os::{Profile, RulesOptions};
use peerbus_units::{Bytes, CpuAddr, Range};

const PAGES: u64 = 512;
const FIRST: u64 = PAGES * 4000;
const DEVICES: u32 = 8;

/// A process with 2 MiB of memory, and a mirror of every device. Every device has pages in use.
struct Bench {
    mm: Mm,
    space: SpaceId,
    mirrors: Vec<MirrorId>,
}

/// 1 TiB of RAM below 52 bits of physical addresses.
fn memory(design: PrivateDesign, huge: bool) -> PrivateMemory {
    let policy = if huge { HugePolicy::Always } else { HugePolicy::Never };
    let options =
        RulesOptions { private_design: Some(design), huge_policy: Some(policy), ..RulesOptions::default() };
    let direct_map = DirectMap::distribution(CpuAddr(1 << 40));
    let space = PhysicalSpace::X86 { paging: Paging::FiveLevel, physical_bits: 52, direct_map };
    let mut iomem = IoMem::new(space.end());
    let ram = Range::sized(CpuAddr(0), Bytes::gib(1024)).map(|range| IoResource::memory(range, "System RAM"));
    let entered = ram.and_then(|mut ram| {
        ram.flags |= ResourceFlags::SYSTEM_RAM;
        iomem.request(iomem.root(), ram.busy()).ok()
    });
    assert!(entered.is_some(), "the tree is empty");
    PrivateMemory::new(Platform::new(Profile::Linux_7_3.rules(options), iomem, &space))
}

impl Bench {
    fn new(design: PrivateDesign, huge: bool) -> Bench {
        let mut mm = Mm::new(memory(design, huge));
        let space = mm.create_space();
        let mirrors = (0..DEVICES).map(|number| {
            test_device::add(&mut mm, DeviceId(number), Kind::Private);
            let mirror = test_device::open(&mut mm, space, DeviceId(number));
            let Ok(mirror) = mirror else { unreachable!("the device was added") };
            let page = FIRST - PAGES * 2 - u64::from(number);
            let mapped = mm.map(space, page, page + 1, Mapping::anonymous(true, true));
            assert!(mapped.is_ok() && mm.write(space, page, 1).is_ok());
            assert!(test_device::to_device(&mut mm, mirror, page, page + 1).is_ok());
            mirror
        });
        let mirrors = mirrors.collect();
        let mapped = mm.map(space, FIRST, FIRST + PAGES, Mapping::anonymous(true, true));
        assert!(mapped.is_ok(), "memory can be mapped");
        Bench { mm, space, mirrors }
    }

    /// Every page has contents in RAM.
    fn filled(mut self) -> Bench {
        touch(&mut self.mm, self.space);
        self
    }

    /// They are in the last device's memory.
    fn moved(mut self) -> Bench {
        to_device(&mut self.mm, self.mirrors[7]);
        self
    }
}

fn touch(mm: &mut Mm, space: SpaceId) {
    for page in FIRST..FIRST + PAGES {
        assert!(mm.write(space, black_box(page), page).is_ok(), "the page can be written");
    }
}

fn to_device(mm: &mut Mm, mirror: MirrorId) {
    let answer = test_device::to_device(mm, mirror, FIRST, black_box(FIRST + PAGES));
    assert_eq!(answer.map(|answer| answer.pages), Ok(PAGES));
}

fn to_system(mm: &mut Mm, mirror: MirrorId) {
    assert!(test_device::to_system(mm, mirror, FIRST, black_box(FIRST + PAGES)).is_ok());
}

/// A device asks for the pages; `device`: whose private pages it takes.
fn range_fault(mm: &mut Mm, space: SpaceId, device: u32, flags: Flags) {
    let owner = mm.devices.get(&DeviceId(device)).map(|memory| memory.owner());
    let mut fault = RangeFault::new(HmmRange::new(space, FIRST, PAGES, flags, owner));
    assert_eq!(fault.run(mm), Ok(()));
    assert!(black_box(&fault.range.words).iter().all(|word| word.is_valid()));
}

fn sizes() -> [(&'static str, bool); 2] {
    [("512x4KiB", false), ("2MiB", true)]
}

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    bench: &Bench,
    mut run: impl FnMut(&mut Mm),
) {
    let make = || bench.mm.clone();
    group.bench_function(id, |b| b.iter_batched_ref(make, &mut run, BatchSize::LargeInput));
}

fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    group.throughput(Throughput::Elements(PAGES));
    group
}

/// A CPU touches every page: never touched, or in device memory.
fn cpu_fault(c: &mut Criterion) {
    let mut group = group(c, "hmm_cpu_fault");
    for (size, huge) in sizes() {
        let bench = Bench::new(PrivateDesign::PhysicalSpace, huge);
        let space = bench.space;
        measure(&mut group, BenchmarkId::new(size, "first touch"), &bench, |mm| touch(mm, space));
        for design in PrivateDesign::ALL {
            let bench = Bench::new(design, huge).filled().moved();
            measure(&mut group, BenchmarkId::new(size, design), &bench, |mm| touch(mm, space));
        }
    }
    group.finish();
}

/// A device's driver moves every page to its memory, and back.
fn migrate(c: &mut Criterion) {
    let mut group = group(c, "hmm_migrate");
    for (size, huge) in sizes() {
        for design in PrivateDesign::ALL {
            let bench = Bench::new(design, huge).filled();
            let mirror = bench.mirrors[7];
            let there = BenchmarkId::new(format!("{size} to device"), design);
            measure(&mut group, there, &bench, |mm| to_device(mm, mirror));
            let bench = bench.moved();
            let back = BenchmarkId::new(format!("{size} to RAM"), design);
            measure(&mut group, back, &bench, |mm| to_system(mm, mirror));
        }
    }
    group.finish();
}

/// A device looks at pages: of RAM, and its own, of which each is looked up; and one that may not have them asks.
fn ranges(c: &mut Criterion) {
    for (name, device, flags) in
        [("hmm_look_up", 7, Flags::NONE), ("hmm_range_fault_of_foreign_pages", 0, Flags::FAULT)]
    {
        let mut group = group(c, name);
        for (size, huge) in sizes() {
            let bench = Bench::new(PrivateDesign::PhysicalSpace, huge).filled();
            let space = bench.space;
            let look = |mm: &mut Mm| range_fault(mm, space, device, flags);
            measure(&mut group, BenchmarkId::new(size, "RAM"), &bench, look);
            for design in PrivateDesign::ALL {
                let bench = Bench::new(design, huge).filled().moved();
                measure(&mut group, BenchmarkId::new(size, design), &bench, look);
            }
        }
        group.finish();
    }
}

criterion_group!(benches, cpu_fault, migrate, ranges);
criterion_main!(benches);
