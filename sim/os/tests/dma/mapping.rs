//! Mapping pieces and lists: direct, bounced, translated; what is shared, what fails, and what stays behind.

use peerbus_os::dma::{
    Attributes, BounceArea, Call, Context, Device, Dma, DmaError, DmaKind, DmaSettings, DmaWork,
    DomainParameters, GroupNumber, Iommu, Mapped, Memory, Operations, PeerType, PeerTypes, ProviderId,
    ReservedRegion, Translations, entries_or_zero, intel_aperture_end, peers_supported, translation_features,
};
use peerbus_os::pci::{FunctionIndex, enumerate};
use peerbus_os::{MapType, Profile};
use peerbus_units::{Bytes, CpuAddr, Iova, Range};

use crate::fake::{Above, Fake};
use crate::p2pdma::machine::{Machine, rules};

const DEVICE: FunctionIndex = FunctionIndex(0);
const MMIO: Attributes = Attributes { mmio: true, coherent: false };
const PLAIN: Attributes = Attributes { mmio: false, coherent: false };
const BUS: ProviderId = ProviderId(1);
const HOST: ProviderId = ProviderId(2);
const REFUSED: ProviderId = ProviderId(3);

/// Three providers: one by bus address, 0x1000 below the CPU's; one through the host bridge; one refused.
#[derive(Default)]
struct Peers {
    asked: Vec<ProviderId>,
}

impl PeerTypes for Peers {
    fn peer_type(&mut self, provider: ProviderId, client: FunctionIndex) -> PeerType {
        assert_eq!(client, DEVICE);
        self.asked.push(provider);
        let map_type = match provider {
            BUS => MapType::BusAddr,
            HOST => MapType::ThruHostBridge,
            _ => MapType::NotSupported,
        };
        PeerType { map_type, bus_offset: 0x1000u64.wrapping_neg() }
    }
}

struct Bench {
    dma: Dma,
    tables: Translations,
    bounce: BounceArea,
    peers: Peers,
    work: DmaWork,
}

/// A segment: address, length, kind.
type Plain = (u64, u64, DmaKind);

impl Bench {
    /// One function, alone on a root bus; translated strictly or not at all.
    fn new(profile: Profile, translated: bool) -> Bench {
        let mut machine = Machine::default();
        let root = machine.host(0, 0);
        machine.function(root, 1, 0);
        let rules = rules(profile).dma;
        let domains = DomainParameters { strict: Some(true), ..DomainParameters::default() };
        let settings = DmaSettings { domains, ..DmaSettings::default() };
        let tree = &machine.tree;
        let iommu = Iommu::other(12, intel_aperture_end(39, false)).with(ReservedRegion::interrupts());
        let mut dma = match translated {
            true => Dma::probe(tree, &machine, &rules, &iommu, &settings),
            false => Dma::without_iommu(tree, &rules, &settings),
        };
        assert_eq!(dma.is_translated(DEVICE), translated);
        dma.device_mut(DEVICE).unwrap().mask = u64::MAX;
        let bounce = BounceArea::new(Range::new(CpuAddr(0x10_0000), CpuAddr(0x1f_ffff)).unwrap());
        Bench {
            dma,
            tables: Translations::default(),
            bounce,
            peers: Peers::default(),
            work: DmaWork::default(),
        }
    }

    fn device(&mut self) -> &mut Device {
        self.dma.device_mut(DEVICE).unwrap()
    }

    fn with<T>(&mut self, run: impl FnOnce(&mut Dma, &mut Context<'_>) -> T) -> T {
        let Bench { dma, tables, bounce, peers, work } = self;
        let mut context = Context { call: Call::default(), work: *work, tables, bounce, peers };
        let result = run(dma, &mut context);
        *work = context.work;
        result
    }

    fn map(&mut self, memory: &Memory, attributes: Attributes) -> Result<Mapped, DmaError> {
        self.with(|dma, context| dma.map(DEVICE, memory, attributes, context))
    }

    fn list(&mut self, list: &[Memory]) -> Result<Mapped, DmaError> {
        self.with(|dma, context| dma.map_list(DEVICE, list, PLAIN, context))
    }

    fn unmap(&mut self, mapped: Mapped) -> Result<(), DmaError> {
        self.with(|dma, context| dma.unmap(DEVICE, mapped, context))
    }

    /// Maps, undoes, and asserts that nothing stays.
    fn once(
        &mut self,
        map: impl FnOnce(&mut Bench) -> Result<Mapped, DmaError>,
    ) -> Result<Vec<Plain>, DmaError> {
        let mapped = map(self);
        let segments = mapped.as_ref().map(plain).map_err(|error| *error);
        if let Ok(mapped) = mapped {
            let again = mapped.clone();
            let holds = mapped.iovas().next().is_some();
            assert_eq!(self.unmap(mapped), Ok(()));
            assert_eq!(self.unmap(again), if holds { Err(DmaError::NotMapped) } else { Ok(()) });
        }
        assert!(self.tables.is_empty() && self.bounce.is_empty(), "something stayed mapped");
        segments
    }

    fn where_to(&self, iova: u64) -> Option<u64> {
        self.tables.translate(GroupNumber(0), Iova(iova)).map(|to| to.0)
    }
}

fn plain(mapped: &Mapped) -> Vec<Plain> {
    let plain = |segment: &peerbus_os::dma::Segment| (segment.address.0, segment.length.0, segment.kind);
    mapped.segments.iter().map(plain).collect()
}

fn ram(at: u64, length: u64) -> Memory {
    Memory::ram(CpuAddr(at), Bytes(length))
}

fn peer(provider: ProviderId, at: u64, length: u64) -> Memory {
    Memory::peer(provider, CpuAddr(at), Bytes(length))
}

#[test]
fn direct_mapping_moves_by_the_devices_offset() {
    let mut bench = Bench::new(Profile::Linux_6_12, false);
    let at = |address| Ok(vec![(address, 0x100, DmaKind::Cpu)]);
    assert_eq!(bench.once(|it| it.map(&ram(0x1234, 0x100), PLAIN)), at(0x1234));
    bench.device().direct_offset = 0x1000u64.wrapping_neg();
    assert_eq!(bench.once(|it| it.map(&ram(0x1234, 0x100), PLAIN)), at(0x234));
    for (at, length) in [(0, 0), (u64::MAX, 2)] {
        assert_eq!(bench.once(|it| it.map(&ram(at, length), PLAIN)), Err(DmaError::Invalid));
    }
    assert_eq!(bench.work, DmaWork::default());
}

#[test]
fn what_a_device_cannot_reach_is_bounced_except_peer_memory_of_6_x() {
    const FAR: u64 = 0x1_0000_0000;
    let check = |profile, change: &dyn Fn(&mut Device), memory: Memory, attributes, bounced: Option<bool>| {
        let mut bench = Bench::new(profile, false);
        bench.device().mask = 0xffff_ffff;
        change(bench.device());
        let found = bench.once(|it| it.map(&memory, attributes));
        let expect = match bounced {
            None => Err(DmaError::Io),
            Some(true) => Ok(vec![(0x10_0000, memory.length.0, DmaKind::Cpu)]),
            Some(false) => Ok(vec![(memory.at.0, memory.length.0, DmaKind::Cpu)]),
        };
        assert_eq!(found, expect, "{profile} {memory:?} {attributes:?}");
        assert_eq!(bench.work.bounced_bytes > 0, bounced == Some(true));
    };
    let force: &dyn Fn(&mut Device) = &|device| device.force_bounce = true;
    let bus: &dyn Fn(&mut Device) = &|device| (device.mask, device.bus_limit) = (u64::MAX, 0x7fff_ffff);
    let incoherent: &dyn Fn(&mut Device) = &|device| device.cache_coherent = false;
    let small = Memory { shares_cache_lines: true, ..ram(0x8010, 0x20) };
    for profile in Profile::ALL {
        let six = profile != Profile::Linux_7_3;
        let peers = if six { None } else { Some(true) };
        check(profile, &|_| (), ram(FAR - 0x1000, 0x1000), PLAIN, Some(false));
        check(profile, &|_| (), ram(FAR - 0x1000, 0x1001), PLAIN, Some(true));
        check(profile, &|_| (), peer(HOST, FAR - 0x1000, 0x1000), PLAIN, Some(false));
        check(profile, &|_| (), peer(HOST, FAR, 0x1000), PLAIN, peers);
        check(profile, bus, ram(0x8000_0000, 0x1000), PLAIN, Some(true));
        check(profile, force, ram(0x8000, 0x1000), PLAIN, Some(true));
        check(profile, force, peer(HOST, 0x8000, 0x1000), PLAIN, peers);
        // Only kernels that map addresses know of MMIO; the others go by the page.
        check(profile, &|_| (), ram(FAR, 0x1000), MMIO, six.then_some(true));
        check(profile, force, ram(0x8000, 0x1000), MMIO, six.then_some(true));
        check(profile, force, peer(HOST, 0x8000, 0x1000), MMIO, None);
        check(profile, &|_| (), small, PLAIN, Some(false));
        check(profile, incoherent, small, PLAIN, Some(profile != Profile::Linux_6_1));
        check(profile, incoherent, ram(0x8010, 0x20), PLAIN, Some(false));
    }
}

#[test]
fn without_a_reachable_buffer_a_device_fails() {
    let mut bench = Bench::new(Profile::Linux_6_12, false);
    bench.device().mask = 0xf_ffff;
    assert_eq!(bench.once(|it| it.map(&ram(0x20_0000, 0x1000), PLAIN)), Err(DmaError::Io));
    bench.device().mask = 0x1f_ffff;
    assert_eq!(bench.once(|it| it.map(&ram(0x20_0000, 0x10_0001), PLAIN)), Err(DmaError::Io));
    assert_eq!(bench.once(|it| it.map(&ram(0x20_0000, 0x10_0000), PLAIN)).unwrap()[0].0, 0x10_0000);
    // Coherent memory has a mask of its own.
    bench.device().coherent_mask = 0xff_ffff;
    let coherent = Attributes { coherent: true, ..PLAIN };
    assert_eq!(bench.once(|it| it.map(&ram(0x20_0000, 0x1000), coherent)).unwrap()[0].0, 0x20_0000);
}

#[test]
fn a_direct_list_keeps_its_entries() {
    let mut bench = Bench::new(Profile::Linux_6_12, false);
    let list = [
        ram(0x5000, 0x1000),
        ram(0x6000, 0x1000),
        peer(BUS, 0x9_0000, 0x2000),
        peer(BUS, 0x9_2000, 0x1000),
        peer(HOST, 0xa_0000, 0x1000),
        peer(BUS, 0x9_3000, 0x1000),
    ];
    let expect = vec![
        (0x5000, 0x1000, DmaKind::Cpu),
        (0x6000, 0x1000, DmaKind::Cpu),
        (0x8_f000, 0x2000, DmaKind::Bus),
        (0x9_1000, 0x1000, DmaKind::Bus),
        (0xa_0000, 0x1000, DmaKind::Cpu),
        (0x9_2000, 0x1000, DmaKind::Bus),
    ];
    assert_eq!(bench.once(|it| it.list(&list)), Ok(expect));
    assert_eq!(bench.peers.asked, [BUS, HOST, BUS], "asked when the provider changes");
    assert_eq!(bench.work.provider_questions, 3);
}

#[test]
fn errors_of_a_list_leave_nothing_behind() {
    let far = ram(0x1_0000_0000, 0x1000);
    for (profile, translated) in Profile::ALL.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let mut bench = Bench::new(profile, translated);
        let mut check = |list: &[Memory], error| {
            assert_eq!(bench.once(|it| it.list(list)), Err(error), "{profile} {translated}");
            let result = bench.list(list);
            assert_eq!(entries_or_zero(&result), 0);
        };
        check(&[far, ram(0x5000, 0x1000), peer(REFUSED, 0x9_0000, 0x1000)], DmaError::RemoteIo);
        check(&[], DmaError::Io);
        check(&[ram(0x5000, 0)], DmaError::Invalid);
        check(&[ram(0x5000, 1 << 32)], DmaError::Invalid);
        check(&[ram(0x5000, 0x1000), peer(BUS, u64::MAX, 2)], DmaError::Invalid);
        // The device's last buffer goes to the first entry; then none is left, or no address.
        bench.device().mask = 0x1f_ffff;
        let large = ram(0x1_0000_0000, 0x10_0000);
        let error = if translated { DmaError::NoMemory } else { DmaError::Io };
        assert_eq!(bench.once(|it| it.list(&[large, large])), Err(error), "{profile} {translated}");
        bench.dma.device_mut(DEVICE).unwrap().function = None;
        assert_eq!(bench.once(|it| it.list(&[peer(BUS, 0x9_0000, 0x1000)])), Err(DmaError::RemoteIo));
        assert_eq!(bench.work.flushes, 0);
    }
}

#[test]
fn a_translated_list_shares_one_range() {
    let mut bench = Bench::new(Profile::Linux_6_12, true);
    let list = [
        ram(0x5800, 0x800),
        ram(0x9000, 0x1000),
        ram(0x2000, 0x800),
        ram(0x7000, 0x1000),
        peer(BUS, 0x9_0000, 0x2000),
        peer(HOST, 0xa_0000, 0x1000),
        ram(0x3100, 0x10),
    ];
    let mapped = bench.list(&list).unwrap();
    // Six granules at a multiple of eight; neighbours that meet on a granule's edge are one segment.
    let expect = vec![
        (0xffff_8800, 0x2000, DmaKind::Iova),
        (0xffff_b000, 0x1000, DmaKind::Iova),
        (0x8_f000, 0x2000, DmaKind::Bus),
        (0xffff_c000, 0x1000, DmaKind::Iova),
        (0xffff_d100, 0x10, DmaKind::Iova),
    ];
    assert_eq!(plain(&mapped), expect);
    let range = Range::sized(Iova(0xffff_8000), Bytes(0x6000)).unwrap();
    assert_eq!(mapped.iovas().collect::<Vec<_>>(), [(GroupNumber(0), range)]);
    let leads = [0xffff_8800, 0xffff_9fff, 0xffff_a010, 0xffff_b000, 0xffff_c000, 0xffff_d100, 0xffff_e000];
    let to = leads.map(|iova| bench.where_to(iova));
    assert_eq!(to[..4], [Some(0x5800), Some(0x9fff), Some(0x2010), Some(0x7000)]);
    assert_eq!(to[4..], [Some(0xa_0000), Some(0x3100), None]);
    assert_eq!(bench.unmap(mapped), Ok(()));
    assert!(bench.tables.is_empty());
    assert_eq!(bench.work.flushes, 1);
}

#[test]
fn bus_addresses_need_no_iova() {
    let mut bench = Bench::new(Profile::Linux_7_3, true);
    let list = [peer(BUS, 0x9_0000, 0x2000), peer(BUS, 0x9_2000, 0x1000)];
    let expect = vec![(0x8_f000, 0x2000, DmaKind::Bus), (0x9_1000, 0x1000, DmaKind::Bus)];
    assert_eq!(bench.once(|it| it.list(&list)), Ok(expect));
    assert_eq!((bench.work.tree_searches, bench.work.cache_misses, bench.work.table_changes), (0, 0, 0));
}

#[test]
fn segments_end_at_boundaries_and_at_the_longest_length() {
    let check = |boundary, max: u64, list: &[Memory], expect: &[(u64, u64)]| {
        let mut bench = Bench::new(Profile::Linux_6_12, true);
        (bench.device().segment_boundary, bench.device().max_segment) = (boundary, Bytes(max));
        let expect = expect.iter().map(|(at, length)| (*at, *length, DmaKind::Iova)).collect();
        assert_eq!(bench.once(|it| it.list(list)), Ok(expect), "{boundary:#x} {max:#x} {list:?}");
    };
    let pages =
        |count: u64| (0..count).map(|page| ram(0x10_0000 + page * 0x1000, 0x1000)).collect::<Vec<_>>();
    let long = 1 << 32;
    check(0xffff_ffff, long, &pages(6), &[(0xffff_8000, 0x6000)]);
    check(
        0xffff_ffff,
        0x2fff,
        &pages(5),
        &[(0xffff_8000, 0x2000), (0xffff_a000, 0x2000), (0xffff_c000, 0x1000)],
    );
    // The entry that would cross 0x4000 moves up to it: 0x1000, a hole, 0x4000, then 0x1000.
    let uneven = [ram(0x5000, 0x1000), ram(0x8000, 0x4000), ram(0x2000, 0x1000)];
    check(0x3fff, long, &uneven, &[(0xffff_0000, 0x1000), (0xffff_4000, 0x4000), (0xffff_8000, 0x1000)]);
    check(0x3fff, long, &pages(6), &[(0xffff_8000, 0x4000), (0xffff_c000, 0x2000)]);
}

#[test]
fn a_full_table_undoes_what_was_mapped() {
    let mut bench = Bench::new(Profile::Linux_6_12, true);
    bench.tables = Translations::limited_to(2);
    let list = [ram(0x5000, 0x1000), ram(0x7000, 0x1000), ram(0x9000, 0x1000)];
    assert_eq!(bench.once(|it| it.list(&list)), Err(DmaError::NoMemory));
    assert_eq!(bench.once(|it| it.list(&list[..2])).map(|it| it.len()), Ok(1));
    bench.tables = Translations::limited_to(0);
    assert_eq!(bench.once(|it| it.map(&list[0], PLAIN)), Err(DmaError::NoMemory));
    bench.tables = Translations::default();
    // Four pages, two and one were taken before, and went to the caches: the page that failed is given out again.
    assert_eq!(bench.once(|it| it.map(&list[0], PLAIN)).unwrap()[0].0, 0xffff_9000);
}

#[test]
fn an_untrusted_device_sees_no_foreign_bytes_and_nobody_asks_about_peers() {
    let mut bench = Bench::new(Profile::Linux_6_12, true);
    bench.device().untrusted = true;
    let list = [ram(0x5000, 0x1000), ram(0x7100, 0x10), peer(REFUSED, 0x9_0000, 0x1000)];
    let mapped = bench.list(&list).unwrap();
    let addresses: Vec<_> = mapped.segments.iter().map(|segment| segment.address.0).collect();
    assert_eq!(addresses, [0xffff_f000, 0xffff_e100, 0xffff_d000]);
    let to = [0xffff_f000, 0xffff_e100, 0xffff_d000].map(|iova| bench.where_to(iova));
    assert_eq!(to, [Some(0x5000), Some(0x10_0100), Some(0x9_0000)]);
    assert!(mapped.is_bounced() && bench.peers.asked.is_empty());
    assert_eq!(bench.unmap(mapped), Ok(()));
    assert!(bench.tables.is_empty() && bench.bounce.is_empty());
}

#[test]
fn reserving_first_links_memory_at_offsets() {
    for profile in [Profile::Linux_6_1, Profile::Linux_6_12] {
        let mut old = Bench::new(profile, true);
        let none = old.with(|dma, it| dma.reserve(DEVICE, CpuAddr(0), Bytes(0x1000), it));
        assert_eq!(none, Ok(None), "{profile}");
    }
    let mut direct = Bench::new(Profile::Linux_7_3, false);
    assert_eq!(direct.with(|dma, it| dma.reserve(DEVICE, CpuAddr(0), Bytes(0x1000), it)), Ok(None));
    let mut bench = Bench::new(Profile::Linux_7_3, true);
    assert_eq!(bench.with(|dma, it| dma.reserve(DEVICE, CpuAddr(0), Bytes(0), it)), Ok(None));
    assert_eq!(bench.with(|dma, it| dma.reserve(DEVICE, CpuAddr(0), Bytes(1 << 40), it)), Ok(None));

    bench.dma.set_up_again(DEVICE, false);
    let reserved = bench.with(|dma, it| dma.reserve(DEVICE, CpuAddr(0x5800), Bytes(0x3800), it));
    let mut area = reserved.unwrap().unwrap();
    assert_eq!((area.segment().address.0, area.segment().length), (0xffff_c800, Bytes(0x3800)));
    let mut link = |bench: &mut Bench, offset, memory: Memory, attributes| {
        bench.with(|dma, it| dma.link(DEVICE, &mut area, offset, &memory, attributes, it))
    };
    assert_eq!(link(&mut bench, 0, ram(0x5800, 0x800), PLAIN), Ok(()));
    assert_eq!(link(&mut bench, 0x800, peer(HOST, 0xa_0000, 0x2000), MMIO), Ok(()));
    // Taken, beyond the end, another position in the granule, nothing.
    for (offset, memory) in [
        (0x1800, ram(0x7000, 0x1000)),
        (0x2800, ram(0x7000, 0x1001)),
        (0x2800, ram(0x7010, 0x100)),
        (0x2800, ram(0x7000, 0)),
        (u64::MAX, ram(0x7000, 1)),
    ] {
        assert_eq!(link(&mut bench, offset, memory, PLAIN), Err(DmaError::Invalid), "{offset:#x}");
    }
    bench.device().untrusted = true;
    assert_eq!(link(&mut bench, 0x2800, peer(HOST, 0xb_0000, 0x10), MMIO), Err(DmaError::NotPermitted));
    assert_eq!(link(&mut bench, 0x2800, ram(0xb_0000, 0x10), PLAIN), Ok(()));
    assert_eq!(area.linked(), Bytes(0x2810));
    let leads = [0xffff_c800, 0xffff_d000, 0xffff_e123, 0xffff_f000].map(|iova| bench.where_to(iova));
    assert_eq!(leads, [Some(0x5800), Some(0xa_0000), Some(0xa_1123), Some(0x10_0000)]);
    assert_eq!(bench.with(|dma, it| dma.unlink(DEVICE, &mut area, 0x800, it)), Ok(()));
    assert_eq!(bench.with(|dma, it| dma.unlink(DEVICE, &mut area, 0x800, it)), Err(DmaError::NotMapped));
    assert_eq!(
        [area.address(0x37ff).map(|it| it.0), area.address(0x3800).map(|it| it.0)],
        [Some(0xffff_ffff), None]
    );
    assert_eq!(bench.with(|dma, it| dma.destroy(DEVICE, area, it)), Ok(()));
    assert!(bench.tables.is_empty() && bench.bounce.is_empty());
}

#[test]
fn a_device_of_no_tree_is_refused_and_another_devices_mapping_is_not_undone() {
    let mut bench = Bench::new(Profile::Linux_6_12, true);
    let memory = ram(0x5000, 0x1000);
    let found = bench.with(|dma, it| dma.map(FunctionIndex(9), &memory, PLAIN, it));
    assert_eq!(found, Err(DmaError::Invalid));
    let mapped = bench.map(&memory, PLAIN).unwrap();
    let mut other = Bench::new(Profile::Linux_6_12, false);
    assert_eq!(other.unmap(mapped.clone()), Err(DmaError::NotMapped));
    assert_eq!(bench.unmap(mapped), Ok(()));
}

#[test]
fn legacy_operations_may_know_peers_in_6_1_alone() {
    for profile in Profile::ALL {
        let supported = |operations| peers_supported(&rules(profile).dma, operations);
        assert!(supported(Operations::Direct) && supported(Operations::Iommu));
        assert_eq!(supported(Operations::Legacy { know_peers: true }), profile == Profile::Linux_6_1);
        assert!(!supported(Operations::Legacy { know_peers: false }));
    }
}

/// Property B5, of functions without group.
#[test]
fn an_amd_iommu_translates_neither_for_itself_nor_for_devices_with_pasid() {
    let mut fake = Fake::arm64();
    let own = fake.function(Above::Host(0), 1, 0, (0x1022, 0x1419), 0x08_0600);
    let gpu = fake.function(Above::Host(0), 2, 0, (0x1002, 0x7408), 0x03_8000);
    fake.pcie(gpu, peerbus_os::pci::PcieType::IntegratedEndpoint);
    fake.preset(gpu, 0x100, peerbus_os::Width::Dword, 0x0001_001b);
    let plain = fake.function(Above::Host(0), 3, 0, (0x8086, 0x10d3), 0x02_0000);
    let hosts = fake.hosts.clone();
    let tree = enumerate(&mut fake, &hosts);
    let iommu = Iommu::amd(vec![FunctionIndex(own)]);
    let translated = |profile| {
        let settings = DmaSettings::default();
        let dma = Dma::probe(&tree, &fake, &rules(profile).dma, &iommu, &settings);
        assert_eq!(dma.groups().of(FunctionIndex(own)), None);
        [own, gpu, plain].map(|function| dma.is_translated(FunctionIndex(function)))
    };
    assert_eq!(translated(Profile::Linux_6_1), [false, true, true], "6.1 wants ATS and page requests too");
    assert_eq!(translated(Profile::Linux_6_12), [false, false, true]);
    let features = translation_features(&tree, &fake, FunctionIndex(gpu));
    assert_eq!([features.ats, features.pri, features.pasid], [false, false, true]);
}
