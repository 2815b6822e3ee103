//! Random machines: whatever is assigned is sound, and what the registers hold is what was decided, at boot and
//! after virtual functions were enabled and BARs resized.

use std::collections::BTreeMap;

use peerbus_os::pci::{
    FunctionIndex, Parent, PcieType, Platform, Realloc, ResizableSize, Resize, ResourceRef,
    enable_virtual_functions, rescan, resize, resource,
};
use peerbus_os::{BootOptions, ConfigAccess, Profile, ResourceKind, Rules, RulesOptions, Tree, Window, boot};
use peerbus_units::{BusAddr, CpuAddr, Range};

use crate::fake::{Above, Fake, range};
use crate::random::{Random, cases};

fn endpoint(fake: &mut Fake, random: &mut Random, above: Above, device: u8, function: u8) {
    let index = fake.function(above, device, function, (0x10de, 0x20b0), 0x03_0200);
    let mut bar = 0;
    while bar < 6 {
        match random.below(6) {
            0 => fake.bar(index, bar, 1 << (4 + random.below(8)), 0x1),
            1 => fake.bar(index, bar, 1 << (12 + random.below(14)), 0x0),
            2 => fake.bar(index, bar, 1 << (12 + random.below(14)), 0x8),
            3 if bar < 5 => {
                fake.bar(index, bar, 1 << (12 + random.below(26)), 0xc);
                bar += 1;
            }
            4 if bar < 5 => {
                fake.bar(index, bar, 1 << (12 + random.below(14)), 0x4);
                bar += 1;
            }
            _ => {}
        }
        bar += 1;
    }
}

/// Some endpoints get virtual functions or resizable BARs.
fn capabilities(fake: &mut Fake, random: &mut Random, function: usize) {
    fake.pcie(function, PcieType::Endpoint);
    if random.below(4) == 0 {
        let total = u16::from(random.small(40)) + 1;
        let size = 1 << (12 + random.below(10));
        let low = if random.below(2) == 0 { 0xc } else { 0x0 };
        fake.sriov(function, (total, 8 + total, 1), &[(0, size, low)]);
    }
    let is_memory = fake.register(function, 0x10) & 0x1 == 0;
    let size = fake.bar_size(function, 0);
    if is_memory && size >= 1 << 20 && random.below(2) == 0 {
        let size = size.trailing_zeros() - 20;
        fake.rebar(function, &[(0, 0xfff << (size.max(4) - 4), size)]);
    }
}

fn subtree(fake: &mut Fake, random: &mut Random, above: Above, depth: u32) {
    if depth == 0 || random.below(3) == 0 {
        for function in 0..=random.small(2) {
            endpoint(fake, random, above, 0, function);
            let newest = fake.functions.len() - 1;
            capabilities(fake, random, newest);
        }
        return;
    }
    let up = fake.port(above, 0, 0, PcieType::Upstream, false);
    for device in 0..=random.small(3) {
        let hotplug = random.below(2) == 0;
        let down = fake.port(Above::Bridge(up), device, 0, PcieType::Downstream, hotplug);
        if random.below(4) > 0 {
            subtree(fake, random, Above::Bridge(down), depth - 1);
        }
    }
}

fn machine(random: &mut Random) -> Fake {
    let mut fake = Fake::default();
    for host in 0..=random.below(2) {
        let base = 0x1000_0000 + host * 0x2000_0000;
        let high = (0x80 + host * 0x80) << 32;
        // The second host bridge's bus addresses equal the first one's. The offsets are multiples of the
        // largest BAR: a kernel aligns CPU addresses, and relies on the offset for the bus side.
        let window =
            |cpu: Range<CpuAddr>, offset, kind| Window { cpu, bus: BusAddr(cpu.first().0 - offset), kind };
        let size = 1 << (24 + random.below(14));
        let kind = [ResourceKind::Mem, ResourceKind::MemPrefetch][usize::from(random.small(2))];
        let windows = vec![
            window(range(base, base + 0x1fff_ffff), host * 0x2000_0000, ResourceKind::Mem),
            window(range(high, high + size - 1), host * (0x80 << 32), kind),
            Window { cpu: range(host << 16, (host << 16) + 0xffff), bus: BusAddr(0), kind: ResourceKind::Io },
        ];
        let domain = u32::try_from(host).unwrap();
        let index = fake.host(domain, 0, 0xff, windows);
        for device in 0..=random.small(4) {
            let hotplug = random.below(2) == 0;
            let port = fake.port(Above::Host(index), device, 0, PcieType::RootPort, hotplug);
            subtree(&mut fake, random, Above::Bridge(port), 2);
        }
    }
    fake
}

pub fn parent_range(tree: &Tree, parent: Parent) -> Option<Range<CpuAddr>> {
    match parent {
        Parent::HostBridge { host_bridge, window } => {
            Some(tree.host_bridges[host_bridge].windows[window].cpu)
        }
        Parent::Window(at) => tree.resource(at).range(),
        Parent::Outside { .. } => None,
    }
}

/// No overlap, inside the parent, aligned, translating back and forth, and entered where it says.
fn check(tree: &Tree, seed: u64) {
    let mut by_parent: BTreeMap<Parent, Vec<(Range<CpuAddr>, ResourceRef)>> = BTreeMap::new();
    for (function, entry) in tree.iter() {
        for (number, resource) in entry.resources.iter().enumerate() {
            let at = ResourceRef { function, number };
            let (Some(place), Some(range)) = (resource.at, resource.range()) else { continue };
            let parent = parent_range(tree, place.parent);
            assert!(parent.is_some_and(|parent| parent.covers(range)), "seed {seed}: {} {number}", entry.id);
            if !resource::is_window(number) {
                assert!(range.first().0.is_multiple_of(resource.align), "seed {seed}: {} {number}", entry.id);
            }
            let host = tree.host_bridge_of(function);
            let bus = tree.bus_address(at).and_then(|first| Range::sized(first, resource.size)).unwrap();
            assert_eq!(host.to_cpu(resource.flags, bus), range.first(), "seed {seed}: {} {number}", entry.id);
            by_parent.entry(place.parent).or_default().push((range, at));
        }
    }
    for (parent, mut ranges) in by_parent {
        ranges.sort();
        let apart = ranges.windows(2).all(|pair| pair[0].0.last() < pair[1].0.first());
        assert!(apart, "seed {seed}: {parent:?} {ranges:?}");
        let claims: Vec<_> =
            tree.space.claims(parent).iter().map(|claim| (claim.range, claim.owner)).collect();
        assert_eq!(claims, ranges, "seed {seed}: {parent:?}");
    }
}

/// What the BARs hold is what the tree says.
fn check_registers(tree: &Tree, fake: &Fake, seed: u64) {
    for (function, entry) in tree.iter().filter(|(_, entry)| entry.physical_function.is_none()) {
        for (register, number) in (0x10u16..).step_by(4).zip(0..6) {
            let Some(bus) = tree.bus_address(ResourceRef { function, number }) else { continue };
            let mask = if entry.resources[number].flags.is_io() { !0x3 } else { !0xf };
            let held = u64::from(fake.read_dword(entry.id, register) & mask);
            assert_eq!(held, bus.0 & 0xffff_ffff, "seed {seed}: {} BAR {number}", entry.id);
        }
    }
}

/// Resizes BARs and enables virtual functions at random; counts what succeeded.
fn change(
    (tree, fake): (&mut Tree, &mut Fake),
    random: &mut Random,
    rules: &Rules,
    options: &BootOptions,
    seed: u64,
) -> (u32, u32) {
    let (mut resized, mut enabled) = (0, 0);
    for function in (0..tree.functions.len()).map(FunctionIndex) {
        let id = tree[function].id;
        if tree[function].capabilities.rebar.is_some() {
            fake.write_word(id, 4, 0);
            let bar = ResourceRef { function, number: 0 };
            let size = ResizableSize::new(random.small(20)).unwrap();
            let request = Resize { bar, size, exclude: u32::from(random.small(64)) };
            let (before, registers) = (tree.clone(), fake.dump());
            match resize(fake, tree, rules, options, request) {
                Ok(()) => {
                    assert_eq!(tree.resource(bar).size, size.bytes(), "seed {seed}: {id}");
                    resized += 1;
                }
                Err(error) => {
                    assert!(*tree == before && fake.dump() == registers, "seed {seed}: {id} {error}");
                }
            }
            check(tree, seed);
            check_registers(tree, fake, seed);
        }
        let total = tree[function].total_vfs;
        if total > 0 {
            let count = u16::from(random.small(48));
            let before = tree.functions.len();
            let added = enable_virtual_functions(tree, fake, function, count).map_or(0, |new| new.len());
            assert_eq!(tree.functions.len(), before + added, "seed {seed}: {id}");
            enabled += u32::try_from(added).unwrap();
            check(tree, seed);
        }
    }
    check_registers(tree, fake, seed);
    (resized, enabled)
}

#[test]
fn changes_while_running_keep_everything_sound() {
    let cases = cases(300);
    let first = std::env::var("PEERBUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
    let mut done = (0, 0);
    for seed in first..first + cases {
        let mut random = Random(seed);
        let mut fake = machine(&mut random);
        let rules = Profile::ALL[usize::from(random.small(3))].rules(RulesOptions::default());
        let options = BootOptions { reassign: true, ..BootOptions::default() };
        let hosts = fake.hosts.clone();
        let mut tree = boot(&mut fake, &hosts, &rules, &options);
        let changed = change((&mut tree, &mut fake), &mut random, &rules, &options, seed);
        done = (done.0 + changed.0, done.1 + changed.1);
        rescan(&mut fake, &mut tree, &rules, &options);
        check(&tree, seed);
    }
    println!("{cases} machines from seed {first}: {} BARs resized, {} virtual functions", done.0, done.1);
    assert!(done.0 > 0 && done.1 > 0, "nothing was changed");
}

#[test]
fn whatever_is_assigned_is_sound() {
    let cases = cases(500);
    let first = std::env::var("PEERBUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
    println!("{cases} machines from seed {first}");
    for seed in first..first + cases {
        let mut random = Random(seed);
        let mut fake = machine(&mut random);
        let profile = Profile::ALL[usize::from(random.small(3))];
        let realloc = [Realloc::Auto, Realloc::On][usize::from(random.small(2))];
        let platform = if random.below(2) == 0 { Platform::generic() } else { Platform::x86(0x1000_0000) };
        let options = BootOptions { reassign: true, realloc, platform, ..BootOptions::default() };
        let hosts = fake.hosts.clone();
        let rules = profile.rules(RulesOptions::default());
        let tree = boot(&mut fake, &hosts, &rules, &options);
        check(&tree, seed);
        check_registers(&tree, &fake, seed);
        // What was decided reads as firmware's decision to the next boot, which keeps all of it unless it may
        // release windows.
        let keep = BootOptions { reassign: false, realloc: Realloc::Off, ..options };
        let kept = boot(&mut fake, &hosts, &rules, &keep);
        check(&kept, seed);
        for (function, entry) in tree.iter().filter(|(f, _)| tree.upstream(*f).is_none()) {
            for (number, resource) in entry.resources.iter().enumerate().filter(|(_, r)| r.is_assigned()) {
                let again = kept[function].resources[number].range();
                assert_eq!(again, resource.range(), "seed {seed}: {} {number}", entry.id);
            }
        }
    }
}
