//! What was measured and reported of address spaces (`address_space.tsv`), computed on machines described here.
//!
//! Each row states a configuration and what came of it, or one fact about a part. The former is computed by the operating
//! system's half on a machine of that configuration, the latter looked up in the catalogue. Rows that say nothing Linux
//! decides are left out, each with its reason. Where the table is at hand, every row of it must be one of these.

use std::collections::BTreeMap;

use peerbus_machine::model::Bar;
use peerbus_machine::model::FunctionIndex;
use peerbus_machine::part::{BarPart, CpuPart, DevicePart, ResourceKind};
use peerbus_machine::{Catalogue, Machine};
use peerbus_os::ConfigAccess;
use peerbus_os::pci::{ResizableSize, Resize, ResourceRef, resize};
use peerbus_system::boot::{BootOptions, Booted, boot};
use peerbus_system::device_memory::{Answer, Conditions, Design, Question, ReachedBy};
use peerbus_system::kernel::{IommuMode, KernelSettings, ProfileName};
use peerbus_units::{BusAddr, Bytes, CpuAddr, Range};

use crate::build::{Build, CpuModel, HostSpec, ICE_LAKE, MEM64, MILAN, bar};

/// A row: what it is about (hardware, path, metric), its value, and where we get the same.
struct Row {
    hardware: &'static str,
    path: &'static str,
    metric: &'static str,
    value: &'static str,
    from: From,
}

enum From {
    /// Computed: the value, in the table's words.
    Here(fn() -> String),
    /// Left out, and why.
    LeftOut(&'static str),
}

const fn row(
    hardware: &'static str,
    path: &'static str,
    metric: &'static str,
    value: &'static str,
    from: From,
) -> Row {
    Row { hardware, path, metric, value, from }
}

/// Physical and virtual bits of a part of the catalogue.
macro_rules! widths {
    ($hardware:literal, $part:literal, $physical:literal, $virtual:literal) => {
        [
            row(
                $hardware,
                "CPU",
                "physical_bits",
                $physical,
                From::Here(|| cpu($part).physical_bits.to_string()),
            ),
            row($hardware, "CPU", "virtual_bits", $virtual, From::Here(|| virtual_bits($part))),
        ]
    };
}

const HMM_HOST: &str = "52-bit host, about 3 TiB RAM, 4 NVIDIA GPUs, UVM HMM on";
const SIX_4090: &str = "6x RTX 4090 class (10de:2684) desktop, ReBAR";
const VEGA_DUO: &str = "Mac Pro 7,1, Vega II Duo module: root port 06:00.0 -> switch 07:00.0 -> 08:08.0, 08:10.0, \
                        one 32 GiB BAR0 behind each";

fn rows() -> Vec<Row> {
    let parts = [
        widths!("Intel Core i5-3470 (Ivy Bridge desktop)", "intel-ivy-bridge", "36", "48"),
        widths!(
            "Intel Core i7-2600 / 3770K class (Hyper-V limit 0x1000000000)",
            "intel-ivy-bridge",
            "36",
            "48"
        ),
        widths!("Intel Xeon E5-2699 v4 (Broadwell) VM", "intel-broadwell-ep", "46", "48"),
        widths!("Intel Xeon Silver 4310 (Ice Lake-SP)", "intel-ice-lake-sp", "46", "57"),
        widths!("AMD EPYC 7763 (Milan)", "amd-milan", "48", "48"),
        widths!("AMD EPYC 9554 (Genoa)", "amd-genoa", "52", "57"),
        widths!("AMD Threadripper PRO 7965WX", "amd-storm-peak", "52", "57"),
    ];
    let milan = "AMD EPYC-Milan QEMU model, VM";
    let others = [
        row(milan, "CPU", "physical_bits", "40", From::Here(bits_of_a_guest)),
        row(milan, "CPU", "virtual_bits", "48", From::Here(|| virtual_bits("amd-milan"))),
        row(HMM_HOST, "System RAM", "address", "0x3007fffffff", From::Here(end_of_ram)),
        row(HMM_HOST, "HMM device-private ranges", "address", "0xfffffffffffff", From::Here(end_of_span)),
        row(HMM_HOST, "GPU DMA", "address", "0x7fffffffffff", From::Here(mask_below_the_span)),
        row(
            "OVMF guest, 46-bit guest",
            "64-bit PCI window",
            "result",
            "70368744177664",
            From::Here(|| (guest_window().last().0 + 1).to_string()),
        ),
        row(
            "OVMF guest, 46-bit guest, rule 1/8 of the space",
            "64-bit PCI window",
            "result",
            "8796093022208",
            From::Here(|| guest_window().size().0.to_string()),
        ),
        row(SIX_4090, "PCI bus 0a", "window", "0x4100000000-0x43ffffffff", From::Here(|| six_gpus(5))),
        row(SIX_4090, "PCI bus 01", "window", "0x4400000000-0x4fffffffff", From::Here(|| six_gpus(0))),
        row(
            VEGA_DUO,
            "root port 06:00.0",
            "size",
            "103081312256",
            From::LeftOut(
                "the arithmetic of a tool that sets windows itself, each aligned to its largest BAR; kernels up to 6.12 ask for \
                 48 GiB for each child, and need 96 GiB",
            ),
        ),
        row(
            "Vega II Duo behind switch, in-place pci_resize_resource",
            "1b:00.0",
            "assigned",
            "0",
            From::Here(grown),
        ),
        row(
            "Intel discrete GPU behind its own switch (02:01.0)",
            "03:00.0 BAR2",
            "assigned",
            "1",
            From::Here(before_it_grows),
        ),
        row(
            "Tesla M40 24 GB in a desktop, BIOS without Above 4G decoding",
            "01:00.0 BAR1",
            "assigned",
            "0",
            From::Here(nothing_above_4_gib),
        ),
        row(
            "A100 PCIe 40GB in a Kata/QEMU guest",
            "02:00.0 BAR1",
            "window",
            "0x4000000000-0x4fffffffff",
            From::Here(one_in_a_guest),
        ),
        row(
            "AMD GPUs limited to 44-bit physical addressing",
            "P2P peers",
            "reachable",
            "0",
            From::Here(peer_beyond_the_mask),
        ),
        row(
            "VMs with limited phys-bits, KASLR",
            "request_free_mem_region",
            "observed_failure",
            "1",
            From::Here(refused_in_a_guest),
        ),
        row(
            "RTX PRO 6000 Blackwell 96 GB",
            "BAR1",
            "size",
            "98304",
            From::Here(|| usable("rtx-pro-6000-blackwell")),
        ),
        row("RTX 6000 Ada 48 GB", "BAR1", "size", "65536", From::Here(|| largest_bar("rtx-6000-ada"))),
        row(
            "i7-3770K / i7-2600 hosts, Hyper-V GPU-PV",
            "upper MMIO region",
            "address",
            "0x17dffff000",
            From::LeftOut("Hyper-V's choice, not Linux's"),
        ),
        row(
            "x86 with 46-bit physical addresses",
            "KASLR",
            "entropy",
            "15",
            From::LeftOut(
                "bits of virtual addresses, of which there is no model; that the direct map is not shortened, their cause, is \
                 `paging_and_randomisation_move_the_limit`",
            ),
        ),
    ];
    parts.into_iter().flatten().chain(others).collect()
}

#[test]
fn rows_come_out_as_measured() {
    let (mut tested, mut wrong) = (0, Vec::new());
    for row in rows() {
        match row.from {
            From::Here(value) => {
                tested += 1;
                let found = value();
                if found != row.value {
                    wrong.push(format!(
                        "{}, {}, {}: {found}, not {}",
                        row.hardware, row.path, row.metric, row.value
                    ));
                }
            }
            From::LeftOut(why) => println!("left out: {}, {}: {why}", row.hardware, row.path),
        }
    }
    println!("address_space.tsv: {} of {tested} rows", tested - wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every row of the table is one of ours, with its value, and there are no others.
#[test]
fn the_table_has_no_other_rows() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/measurements/address_space.tsv");
    let path = if std::path::Path::new(path).exists() {
        path.to_owned()
    } else {
        println!("skipped: {path} is not there");
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let column = |title: &str| titles.iter().position(|known| *known == title).unwrap();
    let columns = ["hardware", "path", "metric", "value"].map(column);
    let mut table: Vec<[String; 4]> = lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            columns.map(|at| fields[at].to_owned())
        })
        .collect();
    let mut ours: Vec<[String; 4]> =
        rows().iter().map(|row| [row.hardware, row.path, row.metric, row.value].map(str::to_owned)).collect();
    table.sort();
    ours.sort();
    println!("{} rows", table.len());
    assert_eq!(ours, table);
}

const GIB: u64 = 1 << 30;

fn cpu(id: &str) -> CpuPart {
    Catalogue::embedded().find_cpu(id).cloned().unwrap_or_else(|| panic!("no part {id}"))
}

fn virtual_bits(id: &str) -> String {
    cpu(id).virtual_bits.map_or("unknown".to_owned(), |bits| bits.to_string())
}

fn device(id: &str) -> DevicePart {
    Catalogue::embedded().find_device(id).cloned().unwrap_or_else(|| panic!("no part {id}"))
}

/// The largest BAR in MiB.
fn largest_bar(id: &str) -> String {
    let bytes = device(id).bars.iter().map(|bar| bar.size.0).max().unwrap_or(0);
    (bytes >> 20).to_string()
}

/// MiB of memory that the largest BAR shows; BARs have powers of two.
fn usable(id: &str) -> String {
    let part = device(id);
    let bar = part.bars.iter().map(|bar| bar.size).max().unwrap_or(Bytes::ZERO);
    assert_eq!(bar.0, part.memory.map_or(0, |memory| memory.0.next_power_of_two()), "{id}");
    (part.memory.unwrap_or(Bytes::ZERO).min(bar).0 >> 20).to_string()
}

fn range(first: u64, last: u64) -> Range<CpuAddr> {
    Range::new(CpuAddr(first), CpuAddr(last)).unwrap()
}

fn text(range: Range<CpuAddr>) -> String {
    format!("{:#x}-{:#x}", range.first().0, range.last().0)
}

/// A host bridge with a window below 4 GiB and one above that spans `upper`.
fn host(model: CpuModel, bits: u8, upper: Option<Range<CpuAddr>>) -> Build {
    let mut build = Build::new(model);
    let host = build.host(HostSpec::default());
    build.machine.cpus[0].part.physical_bits = bits;
    let windows = &mut build.machine.host_bridges[host].windows;
    match upper {
        Some(upper) => (windows[1].cpu, windows[1].bus) = (upper, BusAddr(upper.first().0)),
        None => windows.truncate(1),
    }
    build
}

/// Boots with one kernel; `assign`: the kernel chooses all addresses.
fn booted(machine: &Machine, profile: ProfileName, assign: bool) -> Booted {
    let settings = KernelSettings { profile, ..KernelSettings::default() };
    boot(machine, &settings, &BootOptions { reassign: assign })
}

fn resource(booted: &Booted, function: FunctionIndex, number: usize) -> Option<Range<CpuAddr>> {
    let function = booted.os_function(function).unwrap();
    booted.tree.resource(ResourceRef { function, number }).range()
}

/// What all kernels say.
fn agreed(values: impl IntoIterator<Item = String>) -> String {
    let mut times = BTreeMap::new();
    values.into_iter().for_each(|value| *times.entry(value).or_insert(0) += 1);
    let all: Vec<String> = times.into_keys().collect();
    all.join(" or ")
}

fn answers(machine: &Machine, conditions: Conditions) -> Vec<Answer> {
    let booted = boot(machine, &KernelSettings::default(), &BootOptions::default());
    Question::new(machine, &booted, conditions).answers()
}

fn physical(answers: &[Answer]) -> impl Iterator<Item = &Answer> {
    answers.iter().filter(|answer| answer.design == Design::PhysicalSpace)
}

/// A BAR of the catalogue on a machine.
fn described(part: &BarPart) -> Bar {
    bar(part.index, part.size, part.kind)
}

/// GPUs with so many GiB of memory each, below ports of their own.
fn gpus(build: &mut Build, sizes: &[u64]) {
    for (number, gib) in sizes.iter().enumerate() {
        let port = build.root_port(0);
        build.device(&format!("gpu{number}"), 0, Some(port), &[bar(0, Bytes::mib(1), ResourceKind::Mem32)]);
        build.machine.devices[number].memory = Some(Bytes::gib(*gib));
    }
}

/// A guest on a CPU of 48 bits whose hypervisor says 40: addresses end there for every kernel.
fn bits_of_a_guest() -> String {
    let mut build = host(MILAN, 48, None);
    build.machine.cpus[0].part = cpu("amd-milan");
    let conditions = Conditions { physical_bits: Some(40), ..Conditions::default() };
    // The host's own kernels reach 46 of its 48 bits, with four levels of page tables.
    for answer in physical(&answers(&build.machine, Conditions::default())) {
        assert_eq!((answer.reach.last, answer.reach.by), ((1 << 46) - 1, ReachedBy::PageTables));
    }
    agreed(
        physical(&answers(&build.machine, conditions))
            .map(|answer| (answer.reach.last + 1).ilog2().to_string()),
    )
}

/// 3 TiB of RAM around a hole of 2 GiB below 4 GiB, four GPUs of 96 GiB, a CPU of 52 bits.
fn hmm_host() -> Machine {
    let mut build = host(MILAN, 52, Some(range(4096 * GIB, 8192 * GIB - 1)));
    gpus(&mut build, &[96; 4]);
    build.machine.cpus[0].memory = Bytes::gib(3 << 10);
    build.machine
}

fn end_of_ram() -> String {
    let last = hmm_host().ram().iter().map(|range| range.last().0).max();
    format!("{:#x}", last.unwrap_or(0))
}

/// Last address of RAM and of the devices' ranges, which follow one another from the top down.
fn spans() -> Vec<(Answer, u64)> {
    let machine = hmm_host();
    let ram = machine.ram().iter().map(|range| range.last().0).max().unwrap_or(0);
    let with_span = |answer: Answer| {
        let ranges = answer.granted.iter().map(|grant| grant.first + grant.size - 1);
        let ends: Vec<u64> = if answer.design == Design::PhysicalSpace { ranges.collect() } else { vec![] };
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1] + 96 * GIB), "{ends:x?}");
        let span = ends.into_iter().max().unwrap_or(0).max(ram);
        (answer, span)
    };
    answers(&machine, Conditions::default()).into_iter().map(with_span).collect()
}

fn end_of_span() -> String {
    let of_kernels = spans().into_iter().filter(|(answer, _)| answer.design == Design::PhysicalSpace);
    agreed(of_kernels.map(|(_, span)| format!("{span:#x}")))
}

/// The highest address that a GPU with 47 bits can be told, which lies below the node's end: hence its driver's fallback. In a
/// design with a space of its own the node ends where RAM does, and nobody falls back.
fn mask_below_the_span() -> String {
    let machine = hmm_host();
    let mut booted = booted(&machine, ProfileName::Linux_7_3, false);
    let gpu = booted.os_function(machine.devices[0].functions[0]).unwrap();
    let gpu = booted.dma.device_mut(gpu).unwrap();
    gpu.mask = (1 << 47) - 1;
    for (answer, span) in spans() {
        assert_eq!(gpu.reaches(span, 1), answer.design == Design::OwnSpace, "{:?}", answer.profile);
    }
    format!("{:#x}", gpu.limit())
}

/// The window of a guest with 46 bits whose firmware takes an eighth.
fn guest_window() -> Range<CpuAddr> {
    let build = host(MILAN, 46, Some(range(1024 * GIB, 2048 * GIB - 1)));
    let booted = boot(&build.machine, &KernelSettings::default(), &BootOptions::default());
    let conditions = Conditions { guest_window: Some(8), ..Conditions::default() };
    Question::new(&build.machine, &booted, conditions).guest_window().unwrap()
}

/// The window of one of six ports, as kernels of that time place them behind 256 GiB of RAM and the hole below 4 GiB: five GPUs
/// show 32 GiB, and the sixth, whose window is that much smaller, 8 GiB.
fn six_gpus(number: usize) -> String {
    let mut build = host(ICE_LAKE, 39, Some(range(260 * GIB, 512 * GIB - 1)));
    let shown = [32, 32, 32, 32, 32, 8];
    let ports: Vec<FunctionIndex> = shown
        .iter()
        .enumerate()
        .map(|(number, gib)| {
            let port = build.root_port(0);
            let bars = [
                bar(0, Bytes::mib(16), ResourceKind::Mem32),
                bar(1, Bytes::gib(*gib), MEM64),
                bar(3, Bytes::mib(32), MEM64),
            ];
            build.device(&format!("gpu{number}"), 0, Some(port), &bars);
            port
        })
        .collect();
    agreed([ProfileName::Linux_6_1, ProfileName::Linux_6_12].map(|profile| {
        let booted = booted(&build.machine, profile, true);
        resource(&booted, ports[number], 15).map_or("none".to_owned(), text)
    }))
}

/// 256 MiB that are to become 32 GiB, behind a switch whose window holds the sibling as well and so stays: the old addresses
/// are the new ones.
fn grown() -> String {
    let memory = Bar { resizable: Some(0x3ff << 8), ..bar(0, Bytes::mib(256), MEM64) };
    let upper = range(0xbff_e000_0000, 0xc10_0000_0000 - 1);
    let mut build = host(ICE_LAKE, 46, Some(upper));
    let port = build.root_port(0);
    let below = build.switch(port, 2);
    let [gpu, _] = [0, 1].map(|at| build.device(&format!("gpu{at}"), 0, Some(below[at]), &[memory]));
    let assigned = ProfileName::ALL.map(|profile| {
        let mut booted = booted(&build.machine, profile, true);
        let before = resource(&booted, gpu, 0).map(text);
        assert_eq!(before.as_deref(), Some("0xbffe0000000-0xbffefffffff"), "{profile:?}");
        let function = booted.os_function(gpu).unwrap();
        booted.registers.write_word(booted.tree[function].id, 4, 0);
        let request = Resize {
            bar: ResourceRef { function, number: 0 },
            size: ResizableSize::holding(Bytes::gib(32)).unwrap(),
            exclude: 0,
        };
        let Booted { registers, tree, rules, .. } = &mut booted;
        let result = resize(registers, tree, rules, &peerbus_os::BootOptions::default(), request);
        let error = result.as_ref().err().map(|error| error.errno());
        assert_eq!((error, resource(&booted, gpu, 0).map(text)), (Some("ENOSPC"), before), "{profile:?}");
        u8::from(result.is_ok()).to_string()
    });
    agreed(assigned)
}

/// 16 GiB and 16 MiB below a switch of the card's own.
fn before_it_grows() -> String {
    let upper = range(0x60_0000_0000, 0x7f_ffff_ffff);
    let mut build = host(ICE_LAKE, 46, Some(upper));
    let port = build.root_port(0);
    let below = build.switch(port, 1);
    let bars = [bar(0, Bytes::mib(16), MEM64), bar(2, Bytes::gib(16), MEM64)];
    let gpu = build.device("gpu0", 0, Some(below[0]), &bars);
    agreed(ProfileName::ALL.map(|profile| {
        let booted = booted(&build.machine, profile, true);
        let [registers, memory] = [0, 2].map(|bar| resource(&booted, gpu, bar).map(text));
        assert_eq!(memory.as_deref(), Some("0x6000000000-0x63ffffffff"), "{profile:?}");
        assert_eq!(registers.as_deref(), Some("0x6400000000-0x6400ffffff"), "{profile:?}");
        u8::from(memory.is_some()).to_string()
    }))
}

/// All windows lie below 4 GiB: neither 24 GiB nor 32 MiB of prefetchable memory get a place, and their port has no window.
fn nothing_above_4_gib() -> String {
    let mut build = host(ICE_LAKE, 39, None);
    let port = build.root_port(0);
    let bars = [
        bar(0, Bytes::mib(16), ResourceKind::Mem32),
        bar(1, Bytes::gib(32), MEM64),
        bar(3, Bytes::mib(32), MEM64),
    ];
    let gpu = build.device("gpu0", 0, Some(port), &bars);
    agreed(ProfileName::ALL.map(|profile| {
        let booted = booted(&build.machine, profile, true);
        let [registers, memory, small] = [0, 1, 3].map(|bar| resource(&booted, gpu, bar));
        let window = resource(&booted, port, 15);
        assert_eq!((registers.is_some(), small, window), (true, None, None), "{profile:?}");
        u8::from(memory.is_some()).to_string()
    }))
}

/// A guest of 40 bits whose window begins at 256 GiB.
fn one_in_a_guest() -> String {
    let mut build = host(ICE_LAKE, 40, Some(range(256 * GIB, 768 * GIB - 1)));
    let port = build.root_port(0);
    let gpu = build.device(
        "gpu0",
        0,
        Some(port),
        &device("a100-pcie-40g").bars.iter().map(described).collect::<Vec<_>>(),
    );
    agreed(ProfileName::ALL.map(|profile| {
        resource(&booted(&build.machine, profile, true), gpu, 1).map_or("none".to_owned(), text)
    }))
}

/// A page of a peer's BAR at `window`, mapped for a GPU that sends 44 bits of address, below another port.
fn maps(window: u64, iommu: IommuMode) -> bool {
    let mut build = host(MILAN, 48, Some(range(window, window + 256 * GIB - 1)));
    let functions = [0, 1].map(|number| {
        let port = build.root_port(0);
        build.gpu(&format!("gpu{number}"), port, Bytes::gib(64))
    });
    let settings = KernelSettings { iommu: Some(iommu), ..KernelSettings::default() };
    let mut booted = boot(&build.machine, &settings, &BootOptions { reassign: true });
    let [client, peer] = functions.map(|function| booted.os_function(function).unwrap());
    booted.dma.device_mut(client).unwrap().mask = (1 << 44) - 1;
    let way = booted.resolve(functions[1], functions[0]).unwrap();
    assert!(booted.tree[peer].resources[1].range().is_some());
    let memory = booted.bar_memory(way.map_type, functions[1], 1).unwrap();
    booted.map_bar(functions[0], &memory, Bytes::ZERO, Bytes::kib(4)).is_ok()
}

/// Beyond 2^44 a peer is not reached; what helps is what the page says.
fn peer_beyond_the_mask() -> String {
    assert!(maps(1 << 43, IommuMode::None), "below 44 bits");
    assert!(maps(1 << 44, IommuMode::Translate), "with an IOMMU");
    u8::from(maps(1 << 44, IommuMode::None)).to_string()
}

/// Eight GPUs of 141 GiB in a guest of 40 bits: kernels that shorten the direct map or not refuse one at least; a space of its
/// own holds them all.
fn refused_in_a_guest() -> String {
    let mut build = host(MILAN, 48, Some(range(1024 * GIB, 2048 * GIB - 1)));
    gpus(&mut build, &[141; 8]);
    agreed([false, true].into_iter().flat_map(|trimmed| {
        let conditions = Conditions { physical_bits: Some(40), trimmed, ..Conditions::default() };
        let found = answers(&build.machine, conditions);
        assert!(found.iter().all(|answer| answer.fits() == (answer.design == Design::OwnSpace)));
        found.into_iter().filter(|answer| answer.design == Design::PhysicalSpace).map(|answer| {
            assert!(answer.refused.iter().all(|refused| refused.error == Some("ERANGE")));
            u8::from(!answer.fits()).to_string()
        })
    }))
}
