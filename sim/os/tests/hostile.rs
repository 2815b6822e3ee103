//! Hardware that lies: registers full of noise, capability lists that run in circles or off the end, BARs with
//! any mask, bus numbers that lead back. Whatever a boot makes of it, it ends, reads and writes registers that
//! exist, and what it assigned is sound.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use peerbus_os::dma::{AliasQuirks, Grouping, Groups};
use peerbus_os::p2pdma::{Resolver, resolve};
use peerbus_os::pci::{
    AcsParameters, FunctionIndex, MpsPolicy, Platform, Realloc, ResizableSize, Resize, ResourceRef,
    enable_virtual_functions, rescan, resize,
};
use peerbus_os::{
    BootOptions, ConfigSpace, CpuIdentity, CpuVendor, HostBridge, Profile, ResourceKind, Rules, RulesOptions,
    Tree, Width, Window, boot,
};
use peerbus_units::{BusAddr, CpuAddr, FunctionId, Range};

use crate::fake;
use crate::properties::parent_range;
use crate::random::{Random, cases};

const SPACE: usize = 4096;

/// Registers of one function and which of their bits can be written.
struct Registers {
    bytes: Vec<u8>,
    writable: Vec<u8>,
}

/// Functions at places of their own choice, whatever bus numbers the bridges hold.
struct Liar {
    seed: u64,
    /// One of so many places has a function.
    rarity: u64,
    /// One of so many reads is noise; 0 for none.
    noise: u64,
    functions: RefCell<BTreeMap<FunctionId, Option<Registers>>>,
    accesses: Cell<u64>,
}

/// More than any boot of such a machine needs. One that never ends needs more than that.
const ENDLESS: u64 = 50_000_000;

impl Liar {
    fn new(seed: u64, random: &mut Random) -> Liar {
        let (rarity, noise) = (random.pick(&[12, 40, 200]), random.pick(&[0, 0, 0, 50, 1000]));
        Liar { seed, rarity, noise, functions: RefCell::default(), accesses: Cell::new(0) }
    }

    fn count(&self, offset: u16, width: Width) {
        let bytes = bytes_of(width);
        assert!(usize::from(offset) + bytes <= SPACE, "seed {}: register {offset:#x}", self.seed);
        assert!(usize::from(offset).is_multiple_of(bytes), "seed {}: register {offset:#x}", self.seed);
        self.accesses.set(self.accesses.get() + 1);
        assert!(self.accesses.get() < ENDLESS, "seed {}: never ends", self.seed);
    }

    fn with<R>(&self, id: FunctionId, run: impl FnOnce(&mut Registers) -> R) -> Option<R> {
        let mut functions = self.functions.borrow_mut();
        let found = functions.entry(id).or_insert_with(|| {
            let place = u64::from(id.requester()) | u64::from(id.domain) << 16;
            let mut random = Random(self.seed ^ place.wrapping_mul(0xd6e8_feb8_6659_fd93));
            let first = id.devfn == 0 && random.below(3) > 0;
            (first || random.below(self.rarity) == 0).then(|| Registers::any(&mut random))
        });
        found.as_mut().map(run)
    }
}

fn bytes_of(width: Width) -> usize {
    match width {
        Width::Byte => 1,
        Width::Word => 2,
        Width::Dword => 4,
    }
}

impl ConfigSpace for Liar {
    fn read(&self, function: FunctionId, offset: u16, width: Width) -> u32 {
        self.count(offset, width);
        let (at, bytes) = (usize::from(offset), bytes_of(width));
        let held = self.with(function, |registers| {
            registers.bytes[at..at + bytes].iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
        });
        let mut random = Random(self.seed ^ self.accesses.get() << 20);
        let noisy = self.noise > 0 && random.below(self.noise) == 0;
        let noise = u32::try_from(random.next() >> 32).unwrap();
        held.map_or(width.ones(), |value| if noisy { noise & width.ones() } else { value })
    }

    fn write(&mut self, function: FunctionId, offset: u16, width: Width, value: u32) {
        self.count(offset, width);
        self.with(function, |registers| {
            for (at, new) in (usize::from(offset)..).zip(value.to_le_bytes()).take(bytes_of(width)) {
                let writable = registers.writable[at];
                registers.bytes[at] = registers.bytes[at] & !writable | new & writable;
            }
        });
    }
}

impl Registers {
    /// All noise, with enough sense in a part of them that a boot gets beyond their first registers.
    fn any(random: &mut Random) -> Registers {
        let mut noise = || (0..SPACE / 8).flat_map(|_| random.next().to_le_bytes()).collect::<Vec<u8>>();
        let mut it = Registers { bytes: noise(), writable: noise() };
        if random.below(8) == 0 {
            return it;
        }
        // Header type 0 or 1, a class that is assigned, a vendor.
        it.bytes[0x0e] = random.pick(&[0, 1, 1, 0x80, 0x81]);
        it.bytes[0x08..0x0c]
            .copy_from_slice(&random.pick(&[0x0604_0000u32, 0x0302_0000, 0x0604_0100]).to_le_bytes());
        it.writable[0x04] |= random.pick(&[0, 7]);
        for register in 0..6 {
            it.bar(0x10 + 4 * register, random);
        }
        if random.below(2) == 0 {
            it.bus_numbers(random);
        }
        for register in [0x1c, 0x1d, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27] {
            it.writable[register] |= random.pick(&[0, 0xf0, 0xff]);
        }
        it.capabilities(random);
        it
    }

    fn dword(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Mostly a contiguous mask of any size, sometimes left as it is; any type bits.
    fn bar(&mut self, at: usize, random: &mut Random) {
        if random.below(4) == 0 {
            return;
        }
        let mask = u32::MAX.checked_shl(u32::try_from(random.below(33)).unwrap()).unwrap_or(0);
        let (low, value) = (random.pick(&[0x0, 0x1, 0x4, 0x8, 0xc, 0xc]), random.next() & 0xffff_ffff);
        let value = if random.below(2) == 0 { 0 } else { u32::try_from(value).unwrap() };
        self.dword(at, value & mask & !0xf | low);
        self.writable[at..at + 4].copy_from_slice(&(mask & !0xf).to_le_bytes());
    }

    fn bus_numbers(&mut self, random: &mut Random) {
        let near = |random: &mut Random| random.small(8);
        let numbers = [near(random), near(random), random.pick(&[3, 7, 0xff]), 0];
        self.bytes[0x18..0x1c].copy_from_slice(&numbers);
        self.writable[0x18..0x1b].copy_from_slice(&[random.pick(&[0, 0xff]); 3]);
    }

    /// A PCI Express capability anywhere, and extended ones anywhere, up to the last dword.
    fn capabilities(&mut self, random: &mut Random) {
        self.bytes[0x06] |= 0x10;
        let at = 0x40 + 4 * random.index(48);
        (self.bytes[0x34], self.bytes[at]) = (u8::try_from(at).unwrap(), 0x10);
        let kind = random.pick(&[0, 1, 4, 4, 5, 6, 6, 7, 8, 9, 10, 15]);
        self.bytes[at + 2] = kind << 4 | 2;
        let mut here = 0x100;
        for _ in 0..random.below(6) {
            let id = random.pick(&[0x0d, 0x0e, 0x10, 0x15, 0x0f, 0x13, 0x1b]);
            let next = random.pick(&[0x100, 0xff8, 0xffc, 0x200, 0x300, 0x3fc, 0]) as usize;
            self.dword(here, u32::try_from(next).unwrap() << 20 | 0x1_0000 | id);
            if id == 0x10 && here + 0x40 <= SPACE {
                // Few virtual functions: a boot asks for each number of them where the last one lies.
                self.dword(here + 0x0c, random.pick(&[0x0004_0004, 0x0000_0000, 0x0008_0000, 0x00ff_0010]));
                self.dword(here + 0x1c, random.pick(&[1, 0x553, 0]));
                self.writable[here + 0x08] |= 9;
                for register in 0..6 {
                    self.bar(here + 0x24 + 4 * register, random);
                }
            }
            if next == 0 || next == 0x100 {
                break;
            }
            here = next;
        }
    }
}

/// Up to three host bridges, of one domain or several, with windows anywhere, also at both ends of 64 bits, also
/// one over another.
fn hosts(random: &mut Random) -> Vec<HostBridge> {
    let kinds = [
        ResourceKind::Io,
        ResourceKind::Mem,
        ResourceKind::Mem64,
        ResourceKind::MemPrefetch,
        ResourceKind::Mem64Prefetch,
    ];
    let mut hosts = Vec::new();
    for _ in 0..=random.below(3) {
        let (a, b) = (random.pick(&[0, 0, 0x80, 0xff]), random.pick(&[0xff, 0x7f, 0]));
        let windows = (0..random.below(6)).filter_map(|_| {
            let first = random.pick(&[0, 1, 0x1000, 0x8000_0000, 1 << 40, u64::MAX - 0xff_ffff, u64::MAX]);
            let length = random.pick(&[0, 0xfff, 0xffff, 0xfff_ffff, (1 << 40) - 1, u64::MAX]);
            let cpu = Range::new(CpuAddr(first), CpuAddr(first.saturating_add(length)))?;
            let bus = random.pick(&[first, 0, 0x8000_0000, u64::MAX - 0xfff]);
            Some(Window { cpu, bus: BusAddr(bus), kind: random.pick(&kinds) })
        });
        let mut windows: Vec<Window> = windows.collect();
        if random.below(2) == 0 {
            windows.push(fake::window(0x1000, 0xffff, ResourceKind::Io));
            windows.push(fake::window(0x8000_0000, 0xdfff_ffff, ResourceKind::Mem));
            windows.push(fake::window(1 << 40, (1 << 44) - 1, ResourceKind::Mem));
        }
        hosts.push(HostBridge { domain: random.pick(&[0, 0, 1]), bus_first: a, bus_last: b, windows });
    }
    hosts
}

fn options(random: &mut Random) -> BootOptions {
    let size = |random: &mut Random| random.pick(&[0, 1, 256, 2 << 20, 3 << 30, 1 << 63, u64::MAX]);
    let text = |random: &mut Random| random.pick(&["", "pci:0:0", "00:00.0;x", "0:00.0/00.0"]).to_string();
    BootOptions {
        reassign: random.below(2) == 0,
        keep: random.pick(&[&[][..], &[0], &[0, 7]]).to_vec(),
        preserve_firmware: random.below(4) == 0,
        realloc: random.pick(&[Realloc::Auto, Realloc::Off, Realloc::On]),
        hotplug_io: size(random),
        hotplug_memory: size(random),
        hotplug_prefetch: size(random),
        acs: AcsParameters {
            requested: random.below(2) == 0,
            device_tree: random.below(2) == 0,
            disable_redirect: text(random),
            config: random.pick(&["", "10x00xx@pci:0:0", "x@", "1111111@0:00.0"]).to_string(),
            ..AcsParameters::default()
        },
        mps: random.pick(&[
            MpsPolicy::Off,
            MpsPolicy::Default,
            MpsPolicy::Safe,
            MpsPolicy::Performance,
            MpsPolicy::PeerToPeer,
        ]),
        platform: if random.below(2) == 0 { Platform::generic() } else { Platform::x86(0x8000_0000) },
    }
}

/// Inside its parent, apart from its siblings, and entered where it says.
fn check(tree: &Tree, seed: u64) {
    let mut entered = 0;
    for (function, entry) in tree.iter() {
        for (number, resource) in entry.resources.iter().enumerate() {
            let Some(place) = resource.at else { continue };
            let name = || format!("seed {seed}: {} resource {number}", entry.id);
            let range = resource.range();
            let range = range.unwrap_or_else(|| panic!("{}: {resource:?}", name()));
            let parent = parent_range(tree, place.parent);
            assert!(parent.is_none_or(|parent| parent.covers(range)), "{} outside {parent:?}", name());
            let owner = ResourceRef { function, number };
            let claims = tree.space.claims(place.parent);
            let own = claims.iter().filter(|claim| claim.owner == owner);
            assert_eq!(own.map(|claim| claim.range).collect::<Vec<_>>(), [range], "{}", name());
            let apart = claims.windows(2).all(|pair| pair[0].range.last() < pair[1].range.first());
            assert!(apart, "{}: {claims:?}", name());
            entered += 1;
        }
    }
    let hosts = tree.host_bridges.iter().enumerate().flat_map(|(host_bridge, host)| {
        (0..host.windows.len()).map(move |window| peerbus_os::pci::Parent::HostBridge { host_bridge, window })
    });
    let outside = [true, false].map(|io| peerbus_os::pci::Parent::Outside { io });
    let all =
        tree.iter().flat_map(|(function, _)| (0..16).map(move |number| ResourceRef { function, number }));
    let parents = hosts.chain(outside).chain(all.map(peerbus_os::pci::Parent::Window));
    let claims: usize = parents.map(|parent| tree.space.claims(parent).len()).sum();
    assert_eq!(claims, entered, "seed {seed}: claims without owner");
    for bus in &tree.buses {
        let same = tree.buses.iter().filter(|other| {
            let domain = |bus: &peerbus_os::pci::Bus| tree.host_bridges[bus.host_bridge].domain;
            other.number == bus.number && domain(other) == domain(bus)
        });
        assert_eq!(same.count(), 1, "seed {seed}: bus {:#x}", bus.number);
    }
}

/// What drivers and IOMMUs do to such a machine later.
fn live(tree: &mut Tree, liar: &mut Liar, rules: &Rules, options: &BootOptions, random: &mut Random) {
    let seed = liar.seed;
    let functions = tree.functions.len();
    if functions == 0 {
        return;
    }
    for _ in 0..20 {
        let function = FunctionIndex(random.index(functions));
        let bar = ResourceRef { function, number: random.index(6) };
        let size = ResizableSize::new(random.small(28)).unwrap();
        drop(resize(liar, tree, rules, options, Resize { bar, size, exclude: u32::from(random.small(64)) }));
        check(tree, seed);
        let count = u16::from(random.small(20));
        drop(enable_virtual_functions(tree, liar, function, count));
        check(tree, seed);
    }
    let cpu = CpuIdentity { vendor: CpuVendor::Intel, family: 6, model: 85, x86: true };
    let quiet = liar.noise == 0;
    let resolver = Resolver::new(tree, liar, &cpu, rules);
    for _ in 0..50 {
        let [a, b] = [0; 2].map(|_| FunctionIndex(random.index(tree.functions.len())));
        let single = resolve(tree, liar, &cpu, rules, a, b);
        assert!(!quiet || single == resolver.resolve(a, b), "seed {seed}: {a:?} {b:?}");
    }
    let quirks = AliasQuirks::default();
    let grouping = Grouping { tree, cs: liar, quirks: &quirks, rules: &rules.dma };
    let groups = Groups::probe(&grouping, |_| true);
    assert!(tree.iter().all(|(function, _)| groups.of(function).is_some()), "seed {seed}");
    rescan(liar, tree, rules, options);
    check(tree, seed);
}

#[test]
fn noise_in_every_register_ends_in_a_sound_tree() {
    let cases = cases(150);
    let first = std::env::var("PEERBUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
    let (mut functions, mut buses, mut assigned) = (0, 0, 0);
    for seed in first..first + cases {
        let mut random = Random(seed);
        let mut liar = Liar::new(seed, &mut random);
        let hosts = hosts(&mut random);
        let rules = random.pick(&Profile::ALL).rules(RulesOptions::default());
        let options = options(&mut random);
        let mut tree = boot(&mut liar, &hosts, &rules, &options);
        check(&tree, seed);
        functions += tree.functions.len();
        buses += tree.buses.len();
        let resources = tree.iter().flat_map(|(_, function)| function.resources);
        assigned += resources.filter(|resource| resource.is_assigned()).count();
        live(&mut tree, &mut liar, &rules, &options, &mut random);
    }
    println!("{cases} machines from seed {first}: {functions} functions, {buses} buses, {assigned} assigned");
    assert!(cases < 50 || assigned > 1000 && buses > 200, "the noise never gets far");
}
