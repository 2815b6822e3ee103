//! Worked examples of providers: registration, remembered types, search, addresses, attributes.

use peerbus_os::dma::{PeerTypes, ProviderId};
use peerbus_os::p2pdma::{
    Client, DmaError, DmaMapping, InitError, MapState, MemoryBug, MemoryError, Message, P2pdma, Peers,
    PhysicalMemory, RegisterError, Warning,
};
use peerbus_os::pagemap::{NoPageMap, PageMapId};
use peerbus_os::pci::{FunctionIndex, Parent, PcieType, Place, Resource, ResourceFlags};
use peerbus_os::pool::AllocError;
use peerbus_os::{MapType, Profile, ResourceKind, Window};
use peerbus_units::{BusAddr, Bytes, CpuAddr, FunctionId, Range};

use super::machine::{INTEL, Machine, ZEN, rules};

pub const RAM: [Range<CpuAddr>; 0] = [];
const BASE: u64 = 0x10_0000_0000;

pub fn memory(ram: &[Range<CpuAddr>]) -> PhysicalMemory<'_> {
    let mappable = Range::new(CpuAddr(0), CpuAddr((1 << 46) - 1)).unwrap();
    PhysicalMemory { system_ram: ram, mappable }
}

pub fn bar(machine: &mut Machine, function: FunctionIndex, number: usize, first: u64, mebibytes: u64) {
    let parent = Parent::HostBridge { host_bridge: 0, window: 0 };
    machine.tree[function].resources[number] = Resource {
        flags: ResourceFlags::MEM | ResourceFlags::PREFETCH,
        size: Bytes::mib(mebibytes),
        align: 0,
        at: Some(Place { first: CpuAddr(first), parent }),
        firmware: None,
    };
}

/// A switch with two endpoints, `a` and `b`, below one root port, and endpoint `c` below another. `a` has BAR 0 of
/// 64 MiB and BAR 4 of 2 MiB, `b` and `c` BAR 0 of 64 MiB. The CPU is 16 MiB away from the bus.
pub struct Example {
    pub machine: Machine,
    pub p2pdma: P2pdma,
    pub ports: [FunctionIndex; 2],
    pub a: FunctionIndex,
    pub b: FunctionIndex,
    pub c: FunctionIndex,
}

pub fn example(profile: Profile) -> Example {
    let mut machine = Machine::default();
    let root = machine.host(0, 0);
    machine.function(root, 0, 0);
    let cpu = Range::sized(CpuAddr(BASE), Bytes::gib(4)).unwrap();
    let window = Window { cpu, bus: BusAddr(BASE - (16 << 20)), kind: ResourceKind::Mem };
    machine.tree.host_bridges[0].windows = vec![window];
    let (_, below) = machine.bridge(root, 1, PcieType::RootPort, 1);
    let (_, inner) = machine.bridge(below, 0, PcieType::Upstream, 2);
    let (first, first_bus) = machine.bridge(inner, 0, PcieType::Downstream, 3);
    let (second, second_bus) = machine.bridge(inner, 1, PcieType::Downstream, 4);
    let (_, other) = machine.bridge(root, 2, PcieType::RootPort, 5);
    let [a, b, c] = [first_bus, second_bus, other].map(|bus| machine.function(bus, 0, 0));
    for (function, number, first, size) in
        [(a, 0, 0, 64), (a, 4, 1 << 30, 2), (b, 0, 64 << 20, 64), (c, 0, 128 << 20, 64)]
    {
        bar(&mut machine, function, number, BASE + first, size);
    }
    let p2pdma = P2pdma::new(&rules(profile), &INTEL);
    Example { machine, p2pdma, ports: [first, second], a, b, c }
}

impl Example {
    pub fn id(&self, function: FunctionIndex) -> FunctionId {
        self.machine.tree[function].id
    }

    /// Sizes and offsets in MiB.
    pub fn register(
        &mut self,
        function: FunctionIndex,
        bar: usize,
        size: u64,
        offset: u64,
    ) -> Result<Range<CpuAddr>, RegisterError> {
        let (size, offset) = (Bytes::mib(size), Bytes::mib(offset));
        self.p2pdma.add_resource(&self.machine.tree, &memory(&RAM), function, bar, size, offset)
    }

    pub fn registered(&mut self, functions: &[FunctionIndex]) {
        for function in functions {
            self.register(*function, 0, 0, 0).unwrap();
        }
        self.p2pdma.take_log();
    }

    fn map_type(&mut self, from: FunctionIndex, to: Client) -> MapType {
        let (machine, p2pdma) = (&self.machine, &mut self.p2pdma);
        let first = machine.tree[from].resources[0].range().unwrap().first();
        let provider = p2pdma.provider_of(first).unwrap();
        p2pdma.map_type(&machine.tree, machine, provider, to)
    }

    fn distance(&mut self, from: FunctionIndex, clients: &[Client], verbose: bool) -> Option<u32> {
        self.p2pdma.distance_many(&self.machine.tree, &self.machine, from, clients, verbose)
    }

    fn nearest(&mut self, clients: &[Client]) -> Vec<FunctionIndex> {
        self.p2pdma.nearest(&self.machine.tree, &self.machine, clients)
    }

    fn cached(&self, from: FunctionIndex, to: FunctionIndex) -> Option<MapType> {
        self.p2pdma.cached(self.id(from), self.id(to))
    }
}

/// Property A13, and of A19 what concerns peer memory.
#[test]
fn registration_is_refused_as_the_rules_say() {
    for profile in Profile::ALL {
        let mut example = example(profile);
        let a = example.a;
        bar(&mut example.machine, a, 1, BASE + (2 << 30), 1);
        bar(&mut example.machine, a, 2, BASE + (2 << 30) + (1 << 20), 64);
        example.machine.tree[a].resources[3].flags = ResourceFlags::IO;
        bar(&mut example.machine, a, 5, 0, 4);
        example.machine.tree[a].resources[5].at = None;
        let ram = [Range::sized(CpuAddr(BASE + (63 << 20)), Bytes::mib(1)).unwrap()];
        let mut check = |bar, size, offset, ram: &[Range<CpuAddr>], expect: Result<(), RegisterError>| {
            let (size, offset) = (Bytes(size), Bytes(offset));
            let tree = &example.machine.tree;
            let found = example.p2pdma.add_resource(tree, &memory(ram), a, bar, size, offset);
            assert_eq!(found.map(|_| ()), expect, "{profile}: BAR {bar} {size} at {offset}");
        };
        let mib = |count: u64| count << 20;
        let unaligned = Err(RegisterError::Pages(NoPageMap::NoSubSections));
        for number in [3, 6, 15, usize::MAX] {
            check(number, 0, 0, &RAM, Err(RegisterError::NotMemory));
        }
        check(5, 0, 0, &RAM, Err(RegisterError::NoAddress));
        check(0, 0, mib(64), &RAM, Err(RegisterError::OffsetBeyondBar));
        check(0, mib(65), 0, &RAM, Err(RegisterError::SizeBeyondBar));
        check(0, u64::MAX, mib(2), &RAM, Err(RegisterError::SizeBeyondBar));
        check(1, 0, 0, &RAM, unaligned);
        check(2, 0, 0, &RAM, unaligned);
        check(0, mib(3), 0, &RAM, unaligned);
        check(0, mib(2), mib(1), &RAM, unaligned);
        check(0, 0, 0, &ram, Err(RegisterError::Pages(NoPageMap::OverlapsRam { ram: ram[0] })));
        check(0, mib(2), 0, &ram, Ok(()));
        let owned = |by| Err(RegisterError::Pages(NoPageMap::Owned { by: PageMapId(by) }));
        check(0, mib(2), 0, &ram, owned(0));
        check(0, 0, 0, &ram, owned(0));
        check(0, mib(2), mib(4), &ram, Ok(()));
        check(0, mib(4), mib(2), &ram, owned(1));
        check(0, 0, mib(6), &RAM, Ok(()));
        assert_eq!(example.p2pdma.size(example.id(a)), Bytes::mib(62));
        assert_eq!(example.p2pdma.page_maps().iter().count(), 3);
    }
}

#[test]
fn memory_beyond_the_linear_mapping_is_refused() {
    let mut example = example(Profile::Linux_7_3);
    let a = example.a;
    bar(&mut example.machine, a, 0, (1 << 46) - (2 << 20), 4);
    let allowed = Some(memory(&RAM).mappable);
    assert_eq!(
        example.register(a, 0, 0, 0),
        Err(RegisterError::Pages(NoPageMap::OutsideAllowed { allowed }))
    );
    assert!(example.register(a, 0, 2, 0).is_ok());
}

/// Property A12.
#[test]
fn the_newest_registration_is_used_first() {
    for profile in Profile::ALL {
        let mut example = example(profile);
        let (a, id) = (example.a, example.id(example.a));
        let [first, second] =
            [example.register(a, 0, 4, 0), example.register(a, 4, 0, 0)].map(Result::unwrap);
        let added = [first, second].map(|range| Message::Added { function: id, range });
        assert_eq!(example.p2pdma.take_log(), added);
        assert_eq!(example.p2pdma.alloc(id, Bytes(1)), Ok(second.first()));
        assert_eq!(example.p2pdma.alloc(id, Bytes::mib(3)), Ok(first.first()));
        assert_eq!(example.p2pdma.available(id), Bytes(Bytes::mib(3).0 - 4096));
        let fragmented = example.p2pdma.alloc_sgl(id, Bytes::mib(2));
        assert_eq!(fragmented, Err(MemoryError::Pool(AllocError::Exhausted)));
        let entry = example.p2pdma.alloc_sgl(id, Bytes::mib(1)).unwrap();
        assert_eq!((entry.address, entry.length), (CpuAddr(second.first().0 + 4096), Bytes::mib(1)));
        assert_eq!(example.p2pdma.free_sgl(id, entry), Ok(()));
        let maps: Vec<u64> = example.p2pdma.page_maps().iter().map(|map| map.references).collect();
        assert_eq!(maps, [1, 1]);
    }
}

#[test]
fn bus_addresses_are_noted_at_registration() {
    let mut example = example(Profile::Linux_6_12);
    let (a, id) = (example.a, example.id(example.a));
    let to_bus = |example: &Example, address| example.p2pdma.virt_to_bus(id, CpuAddr(address));
    assert_eq!(to_bus(&example, BASE), BusAddr(0));
    example.register(a, 0, 2, 2).unwrap();
    let first = BASE + (2 << 20);
    assert_eq!(to_bus(&example, first + 5), BusAddr(first - (16 << 20) + 5));
    assert_eq!(to_bus(&example, 0), BusAddr(0));
    assert_eq!(to_bus(&example, BASE), BusAddr(u64::MAX));
}

/// A host bridge window moves after the first registration.
#[test]
fn a_bar_keeps_its_first_bus_offset_where_bars_are_providers() {
    for (profile, second_moves) in
        [(Profile::Linux_6_1, true), (Profile::Linux_6_12, true), (Profile::Linux_7_3, false)]
    {
        let mut example = example(profile);
        let a = example.a;
        example.register(a, 0, 2, 0).unwrap();
        example.machine.tree.host_bridges[0].windows[0].bus = BusAddr(BASE);
        example.register(a, 0, 2, 2).unwrap();
        example.register(a, 4, 0, 0).unwrap();
        let mut state = MapState::default();
        let mut map = |offset: u64| {
            let (tree, client) = (&example.machine.tree, Client::Function(example.b));
            let found =
                example.p2pdma.map_page(tree, &example.machine, &mut state, client, CpuAddr(BASE + offset));
            match found {
                Some(Ok(DmaMapping::Bus(bus))) => BASE + offset - bus.0,
                other => panic!("{other:?}"),
            }
        };
        let late = if second_moves { 0 } else { 16 << 20 };
        assert_eq!(
            [map(0), map(2 << 20), map(1 << 30), map(4096)],
            [16 << 20, late, late, 16 << 20],
            "{profile}"
        );
        let bus = example.p2pdma.virt_to_bus(example.id(a), CpuAddr(BASE + (2 << 20)));
        assert_eq!(bus, BusAddr(BASE + (2 << 20)));
    }
}

/// Property A9.
#[test]
fn a_remembered_type_stays_until_it_is_asked_again() {
    for profile in Profile::ALL {
        let mut example = example(profile);
        let (a, b) = (example.a, example.b);
        example.registered(&[a]);
        assert_eq!((example.cached(a, b), example.cached(b, a)), (None, None));
        assert_eq!(example.map_type(a, Client::Function(b)), MapType::BusAddr);
        example.machine.set_acs(example.ports[0], 0x1d);
        assert_eq!(example.map_type(a, Client::Function(b)), MapType::BusAddr);
        assert!(example.p2pdma.take_log().is_empty());
        assert_eq!(example.distance(a, &[Client::Function(b)], false), None);
        assert_eq!(example.map_type(a, Client::Function(b)), MapType::NotSupported);
        // A provider without state remembers nothing.
        assert_eq!(example.distance(b, &[Client::Function(a)], false), None);
        assert_eq!(example.cached(b, a), None);
        example.machine.set_acs(example.ports[0], 0);
        example.machine.set_ids(FunctionIndex(0), 0x8086, 0x2030);
        assert_eq!(example.map_type(a, Client::Function(b)), MapType::NotSupported);
        assert_eq!(example.distance(a, &[Client::Function(b)], false), Some(4));
        assert_eq!(example.map_type(a, Client::Function(b)), MapType::BusAddr);
    }
}

#[test]
fn the_first_mapping_of_a_pair_warns() {
    for profile in Profile::ALL {
        let mut example = example(profile);
        let (a, c) = (example.a, example.c);
        example.registered(&[a]);
        assert_eq!(example.map_type(a, Client::Function(c)), MapType::NotSupported);
        let warned = Message::Pair {
            provider: example.id(a),
            client: example.id(c),
            warning: Warning::NoSharedBridge,
        };
        assert_eq!(example.p2pdma.take_log(), [warned]);
        assert_eq!(example.map_type(a, Client::Function(c)), MapType::NotSupported);
        assert_eq!(example.p2pdma.take_log(), []);
        // Distances are a parent's, types are not.
        assert_eq!(example.map_type(a, Client::Below(example.b)), MapType::NotSupported);
        assert_eq!(example.distance(a, &[Client::Below(example.b)], false), Some(4));
        assert_eq!(example.map_type(a, Client::NotPci), MapType::NotSupported);
    }
}

/// Property A10.
#[test]
fn silent_sums_stop_at_the_first_refusal() {
    for (profile, verbose) in Profile::ALL.into_iter().flat_map(|p| [(p, false), (p, true)]) {
        let mut example = example(profile);
        let (a, b, c) = (example.a, example.b, example.c);
        example.registered(&[a]);
        let clients = [Client::Function(c), Client::Function(b)];
        assert_eq!(example.distance(a, &clients, verbose), None);
        assert_eq!(example.cached(a, c), Some(MapType::NotSupported));
        assert_eq!(example.cached(a, b), verbose.then_some(MapType::BusAddr));
        example.p2pdma.take_log();
        assert_eq!(example.distance(a, &[Client::NotPci, Client::Function(b)], verbose), None);
        assert_eq!(example.p2pdma.take_log(), Vec::from_iter(verbose.then_some(Message::NotPci)));
        assert_eq!(example.distance(a, &[], verbose), None);
        let several = [Client::Function(b), Client::Function(a), Client::Below(b)];
        assert_eq!(example.distance(a, &several, verbose), Some(8));
    }
}

/// Property A11.
#[test]
fn search_finds_the_nearest_published_providers() {
    for profile in Profile::ALL {
        let mut example = example(profile);
        example.p2pdma = P2pdma::new(&rules(profile), &ZEN);
        let (a, b, c) = (example.a, example.b, example.c);
        example.registered(&[a, b, c]);
        assert_eq!(example.nearest(&[Client::Function(a)]), []);
        assert_eq!(example.distance(a, &[Client::Function(a)], false), Some(0));
        for function in [a, b, c] {
            example.p2pdma.publish(example.id(function), true);
        }
        assert_eq!(example.nearest(&[Client::Function(b)]), [b]);
        assert_eq!(example.nearest(&[Client::Function(a), Client::Function(b)]), [a, b]);
        assert_eq!(example.nearest(&[]), []);
        assert_eq!(example.nearest(&[Client::NotPci]), []);
        example.p2pdma.publish(example.id(a), false);
        assert_eq!(example.nearest(&[Client::Function(a), Client::Function(b)]), [b]);
        // Nothing was known of it: publishing does nothing.
        let head = example.id(FunctionIndex(0));
        example.p2pdma.publish(head, true);
        assert!(!example.p2pdma.is_published(head) && !example.p2pdma.has_state(head));
    }
}

#[test]
fn one_number_is_drawn_when_anything_was_found() {
    for profile in Profile::ALL {
        let mut example = example(profile);
        let (a, b) = (example.a, example.b);
        example.registered(&[a, b]);
        let mut drawn = 0;
        let mut pick = |example: &mut Example, number: u32| {
            let both = [Client::Function(a), Client::Function(b)];
            let tree = &example.machine.tree;
            example.p2pdma.find_many(tree, &example.machine, &both, &mut || {
                drawn += 1;
                number
            })
        };
        assert_eq!(pick(&mut example, 0), None);
        example.p2pdma.publish(example.id(a), true);
        assert_eq!(pick(&mut example, 7), Some(a));
        example.p2pdma.publish(example.id(b), true);
        assert_eq!(pick(&mut example, u32::MAX / 4), Some(a));
        assert_eq!(pick(&mut example, u32::MAX / 4 * 3), Some(b));
        assert_eq!(drawn, 3);
    }
}

/// 600 functions at equal distance: a page holds 512 pointers.
#[test]
fn the_list_of_the_nearest_is_a_page() {
    let mut machine = Machine::default();
    let root = machine.host(0, 0);
    let (_, below) = machine.bridge(root, 1, PcieType::RootPort, 1);
    let (_, inner) = machine.bridge(below, 0, PcieType::Upstream, 2);
    let mut functions = Vec::new();
    for number in 0..75u8 {
        let (_, bus) = machine.bridge(inner, number % 32, PcieType::Downstream, 3 + number);
        functions.extend((0..8).map(|function| machine.function(bus, 0, function)));
    }
    let client = Client::Function(machine.function(inner, 31, 1));
    for (at, function) in (0u64..).zip(&functions) {
        bar(&mut machine, *function, 0, BASE + (at << 21), 2);
    }
    for (p2pdma, count) in [
        (P2pdma::new(&rules(Profile::Linux_7_3), &INTEL), 512),
        (P2pdma::new(&rules(Profile::Linux_7_3), &INTEL).with_pages_of_64_kib(), 600),
    ] {
        let mut p2pdma = p2pdma;
        for function in &functions {
            p2pdma.add_resource(&machine.tree, &memory(&RAM), *function, 0, Bytes(0), Bytes(0)).unwrap();
            p2pdma.publish(machine.tree[*function].id, true);
        }
        assert_eq!(p2pdma.nearest(&machine.tree, &machine, &[client]), functions[..count]);
    }
}

#[test]
fn providers_of_bars_need_no_registration() {
    let mut example = example(Profile::Linux_7_3);
    let (a, b, id) = (example.a, example.b, example.id(example.a));
    let provider = |example: &mut Example, bar| {
        let found = example.p2pdma.bar_provider(&example.machine.tree, a, bar);
        found.map(|found| *example.p2pdma.provider(found).unwrap())
    };
    assert_eq!(provider(&mut example, 0), None);
    assert_eq!(example.p2pdma.take_log(), [Message::ProviderBeforeInit { function: id }]);
    assert_eq!(example.p2pdma.init(&example.machine.tree, a), Ok(()));
    example.machine.tree.host_bridges[0].windows[0].bus = BusAddr(BASE);
    assert_eq!(example.p2pdma.init(&example.machine.tree, a), Ok(()));
    let found = provider(&mut example, 4).unwrap();
    assert_eq!((found.function, found.bar, found.bus_offset), (id, 4, (16u64 << 20).wrapping_neg()));
    assert_eq!((provider(&mut example, 1), provider(&mut example, 6)), (None, None));
    assert!(example.p2pdma.take_log().is_empty());
    // Memory is asked of it all the same: there is no pool.
    assert_eq!(example.p2pdma.alloc(id, Bytes(1)), Err(MemoryError::Bug(MemoryBug::NoPool)));
    assert_eq!((example.p2pdma.size(id), example.p2pdma.available(id)), (Bytes(0), Bytes(0)));
    let number = example.p2pdma.bar_provider(&example.machine.tree, a, 0).unwrap();
    let mut peers =
        Peers { p2pdma: &mut example.p2pdma, tree: &example.machine.tree, config: &example.machine };
    let answer = peers.peer_type(number, b);
    assert_eq!((answer.map_type, answer.bus_offset), (MapType::BusAddr, (16u64 << 20).wrapping_neg()));
    assert_eq!(peers.peer_type(ProviderId(u32::MAX), b).map_type, MapType::NotSupported);
    example.p2pdma.unbind(id).unwrap();
    let mut peers =
        Peers { p2pdma: &mut example.p2pdma, tree: &example.machine.tree, config: &example.machine };
    assert_eq!(peers.peer_type(number, b).map_type, MapType::NotSupported);
}

#[test]
fn bars_the_cpu_cannot_map_are_not_provided() {
    for (profile, expect) in [(Profile::Linux_6_12, None), (Profile::Linux_7_3, Some(InitError::NotMappable))]
    {
        let mut example = example(profile);
        let a = example.a;
        example.p2pdma.set_not_mappable(example.id(a));
        assert_eq!(example.register(a, 0, 0, 0).err(), expect.map(RegisterError::Init));
        assert_eq!(example.p2pdma.bar_provider(&example.machine.tree, a, 0), None);
        let found = example.p2pdma.init(&example.machine.tree, a);
        assert_eq!(found, Err(expect.unwrap_or(InitError::NoProviders)));
    }
}

#[test]
fn a_failed_registration_leaves_state_behind() {
    for (profile, pool) in [(Profile::Linux_6_12, true), (Profile::Linux_7_3, false)] {
        let mut example = example(profile);
        let (a, id) = (example.a, example.id(example.a));
        assert!(example.register(a, 0, 1, 0).is_err());
        assert!(example.p2pdma.has_state(id));
        let error =
            if pool { MemoryError::Pool(AllocError::Exhausted) } else { MemoryError::Bug(MemoryBug::NoPool) };
        assert_eq!(example.p2pdma.alloc(id, Bytes(1)), Err(error));
        // Parameters are looked at before.
        let b = example.b;
        assert!(example.register(b, 0, 65, 0).is_err());
        assert!(!example.p2pdma.has_state(example.id(b)));
        assert_eq!(example.p2pdma.alloc(example.id(b), Bytes(1)), Err(MemoryError::NoState));
    }
}

#[test]
fn other_memory_has_no_provider() {
    let mut example = example(Profile::Linux_6_12);
    example.registered(&[example.a]);
    let mut map = |function, address| {
        let (tree, state) = (&example.machine.tree, &mut MapState::default());
        example.p2pdma.map_page(tree, &example.machine, state, Client::Function(function), CpuAddr(address))
    };
    assert_eq!(map(example.b, 0x1000), None);
    assert_eq!(map(example.b, BASE), Some(Ok(DmaMapping::Bus(BusAddr(BASE - (16 << 20))))));
    assert_eq!(map(example.c, BASE), Some(Err(DmaError::RemoteIo)));
}
