//! Pages of a range fault mapped one by one: kept flags, areas of IOVAs, direct mapping, peers, and every refusal.

use peerbus_os::device_private::{CpuAccess, Frame, FrameWord, HmmLayout, PrivateDesign};
use peerbus_os::dma::{
    BounceArea, Call, Context, Dma, DmaError, DmaSettings, DmaWork, DomainParameters, Iommu, PeerType,
    PeerTypes, ProviderId, ReservedRegion, Translations, intel_aperture_end,
};
use peerbus_os::hmm::{Flags, Range as HmmRange, RangeFault, Word};
use peerbus_os::hmm_dma::{HmmDmaError, HmmDmaMap, MapSettings, PeerState};
use peerbus_os::mm::DeviceId;
use peerbus_os::pagemap::Owner;
use peerbus_os::pci::FunctionIndex;
use peerbus_os::{MapType, Profile};
use peerbus_units::{Bytes, CpuAddr, DevicePage, DmaAddr, Iova, Pfn, Range};

use crate::hmm::bench::{BASE, Bench as Process};
use crate::hmm::platform::{kernel, name};
use crate::p2pdma::machine::{Machine, rules};
use crate::random::{Random, cases};

const DEVICE: FunctionIndex = FunctionIndex(0);
const BUS: ProviderId = ProviderId(1);
const HOST: ProviderId = ProviderId(2);
const REFUSED: ProviderId = ProviderId(3);
const PAGES: usize = 16;
const PEER_OFFSET: u64 = 0x1000u64.wrapping_neg();
const WORDS: HmmLayout = HmmLayout::LINUX_7_3;
const KEPT: u64 = HmmLayout::DMA_MAPPED | HmmLayout::P2PDMA | HmmLayout::P2PDMA_BUS;

struct Peers;

impl PeerTypes for Peers {
    fn peer_type(&mut self, provider: ProviderId, client: FunctionIndex) -> PeerType {
        assert_eq!(client, DEVICE);
        let map_type = match provider {
            BUS => MapType::BusAddr,
            HOST => MapType::ThruHostBridge,
            _ => MapType::NotSupported,
        };
        PeerType { map_type, bus_offset: PEER_OFFSET }
    }
}

struct Bench {
    dma: Dma,
    tables: Translations,
    bounce: BounceArea,
    work: DmaWork,
    state: PeerState,
}

impl Bench {
    /// One function, alone; translated strictly or not at all.
    fn new(translated: bool) -> Bench {
        let mut machine = Machine::default();
        let root = machine.host(0, 0);
        machine.function(root, 1, 0);
        let rules = rules(Profile::Linux_7_3).dma;
        let domains = DomainParameters { strict: Some(true), ..DomainParameters::default() };
        let settings = DmaSettings { domains, ..DmaSettings::default() };
        let iommu = Iommu::other(12, intel_aperture_end(39, false)).with(ReservedRegion::interrupts());
        let mut dma = match translated {
            true => Dma::probe(&machine.tree, &machine, &rules, &iommu, &settings),
            false => Dma::without_iommu(&machine.tree, &rules, &settings),
        };
        dma.device_mut(DEVICE).unwrap().mask = u64::MAX;
        let bounce = BounceArea::new(Range::new(CpuAddr(0x10_0000), CpuAddr(0x1f_ffff)).unwrap());
        let (tables, work, state) = Default::default();
        Bench { dma, tables, bounce, work, state }
    }

    fn with<T>(&mut self, run: impl FnOnce(&mut Dma, &mut PeerState, &mut Context<'_>) -> T) -> T {
        let Bench { dma, tables, bounce, work, state } = self;
        let mut context = Context { call: Call::default(), work: *work, tables, bounce, peers: &mut Peers };
        let result = run(dma, state, &mut context);
        *work = context.work;
        result
    }

    fn alloc(&mut self, settings: MapSettings) -> Result<HmmDmaMap, HmmDmaError> {
        self.with(|dma, _, context| HmmDmaMap::alloc(dma, DEVICE, settings, context))
    }

    fn map(
        &mut self,
        map: &mut HmmDmaMap,
        index: usize,
        provider: Option<ProviderId>,
    ) -> Result<DmaAddr, HmmDmaError> {
        self.with(|dma, state, context| map.map_pfn(dma, DEVICE, index, provider, state, context))
    }

    fn unmap(&mut self, map: &mut HmmDmaMap, index: usize) -> Result<bool, HmmDmaError> {
        self.with(|dma, _, context| map.unmap_pfn(dma, DEVICE, index, context))
    }

    fn free(&mut self, map: HmmDmaMap) {
        self.with(|dma, _, context| map.free(dma, DEVICE, context)).unwrap();
        assert!(self.tables.is_empty());
    }

    fn target(&self, address: DmaAddr) -> Option<CpuAddr> {
        self.tables.translate(self.dma.groups().of(DEVICE).unwrap(), Iova(address.0))
    }
}

const SETTINGS: MapSettings = MapSettings {
    words: WORDS,
    pages: PAGES,
    entry: Bytes::kib(4),
    page: Bytes::kib(4),
    highest_ram: CpuAddr(0xf_ffff_ffff),
};

/// The word of an accessible page.
fn word(pfn: u64) -> u64 {
    let frame = Frame::Physical(Pfn(pfn));
    WORDS.encode(FrameWord { frame, order: 0, flags: HmmLayout::VALID | HmmLayout::WRITE }).unwrap()
}

fn filled(bench: &mut Bench) -> HmmDmaMap {
    let mut map = bench.alloc(SETTINGS).unwrap();
    map.words_mut().iter_mut().zip(0x8000..).for_each(|(to, pfn)| *to = word(pfn));
    map
}

#[test]
fn ram_goes_through_one_area_or_by_its_address() {
    for translated in [true, false] {
        let mut bench = Bench::new(translated);
        let mut map = filled(&mut bench);
        assert_eq!(map.has_area(), translated);
        let addresses: Vec<u64> =
            (0..PAGES).map(|index| bench.map(&mut map, index, None).unwrap().0).collect();
        for (index, address) in addresses.iter().enumerate() {
            let physical = 0x800_0000 + 0x1000 * index as u64;
            if translated {
                assert_eq!(*address, addresses[0] + 0x1000 * index as u64, "one area");
                assert_eq!(bench.target(DmaAddr(*address)), Some(CpuAddr(physical)));
            } else {
                assert_eq!(*address, physical);
            }
            assert_eq!(map.words()[index] & KEPT, HmmLayout::DMA_MAPPED);
        }
        assert_eq!(map.linked().0, if translated { 0x10000 } else { 0 });
        // Once more: the same address, and no work.
        let work = bench.work;
        assert_eq!(bench.map(&mut map, 3, None).unwrap().0, addresses[3]);
        assert_eq!(bench.work, work);
        assert_eq!([bench.unmap(&mut map, 3), bench.unmap(&mut map, 3)], [Ok(true), Ok(false)]);
        assert_eq!(map.words()[3], word(0x8003));
        // Another page at the same place of the range.
        map.words_mut()[3] = word(0x9999);
        let again = bench.map(&mut map, 3, None).unwrap();
        if translated {
            assert_eq!((again.0, bench.target(again)), (addresses[3], Some(CpuAddr(0x999_9000))));
        }
        bench.free(map);
    }
}

#[test]
fn peers_by_bus_address_use_no_iova() {
    for translated in [true, false] {
        let mut bench = Bench::new(translated);
        let mut map = filled(&mut bench);
        let bus = bench.map(&mut map, 0, Some(BUS)).unwrap();
        assert_eq!(bus, DmaAddr(0x800_0000 - 0x1000));
        assert_eq!(map.words()[0] & KEPT, HmmLayout::DMA_MAPPED | HmmLayout::P2PDMA_BUS);
        assert_eq!((map.linked(), bench.tables.len()), (Bytes(0), 0));
        let host = bench.map(&mut map, 1, Some(HOST)).unwrap();
        assert_eq!(map.words()[1] & KEPT, HmmLayout::DMA_MAPPED | HmmLayout::P2PDMA);
        let expect = CpuAddr(0x800_1000);
        assert_eq!(if translated { bench.target(host) } else { Some(CpuAddr(host.0)) }, Some(expect));
        let refused = Err(HmmDmaError::NoPath(MapType::NotSupported));
        assert_eq!(bench.map(&mut map, 2, Some(REFUSED)), refused);
        assert_eq!(map.words()[2] & KEPT, 0);
        // The same provider is asked about once.
        assert_eq!(bench.work.provider_questions, 3);
        assert_eq!(bench.map(&mut map, 4, Some(REFUSED)), refused);
        assert_eq!(bench.work.provider_questions, 3);
        assert_eq!((bench.unmap(&mut map, 0), map.words()[0]), (Ok(true), word(0x8000)));
        bench.free(map);
    }
}

#[test]
fn devices_that_cannot_use_any_memory_get_no_map() {
    let check = |translated, change: fn(&mut peerbus_os::dma::Device), ram: u64, expect: bool| {
        let mut bench = Bench::new(translated);
        change(bench.dma.device_mut(DEVICE).unwrap());
        let made = bench.alloc(MapSettings { highest_ram: CpuAddr(ram), ..SETTINGS });
        match made {
            Ok(map) => {
                assert!(expect);
                bench.free(map);
            }
            Err(error) => {
                assert_eq!((error, error.errno(), expect), (HmmDmaError::NotSupported, "EOPNOTSUPP", false));
            }
        }
    };
    for translated in [true, false] {
        check(translated, |device| device.cache_coherent = false, 0, false);
        check(translated, |device| device.force_bounce = true, 0, false);
        check(translated, |device| device.mask = 0xffff_ffff, 0xffff_ffff, true);
        check(translated, |device| device.mask = 0xffff_ffff, 0x1_0000_0000, translated);
        check(translated, |device| device.mask = 0x7fff_ffff, 0xffff_ffff, false);
        check(translated, |device| device.bus_limit = 0x7fff_ffff, 0xffff_ffff, false);
    }
    let mut bench = Bench::new(false);
    let old = MapSettings { words: HmmLayout::LINUX_6_1, ..SETTINGS };
    assert_eq!(bench.alloc(old).map(|map| map.has_area()), Err(HmmDmaError::NoInterface));
    let huge = bench.alloc(MapSettings { pages: usize::MAX, ..SETTINGS });
    assert_eq!(huge.map(|map| map.has_area()), Err(HmmDmaError::Dma(DmaError::NoMemory)));
}

#[test]
fn words_without_a_mappable_page_are_refused() {
    let mut bench = Bench::new(true);
    let own = WORDS.with(PrivateDesign::OwnSpace);
    let mut map = bench.alloc(MapSettings { words: own, ..SETTINGS }).unwrap();
    assert_eq!(bench.map(&mut map, 0, None), Err(HmmDmaError::NotValid));
    let frame = Frame::Offset(DevicePage(5));
    map.words_mut()[0] = own.encode(FrameWord { frame, order: 0, flags: HmmLayout::VALID }).unwrap();
    assert_eq!(bench.map(&mut map, 0, None), Err(HmmDmaError::Private));
    assert_eq!(bench.map(&mut map, PAGES, None), Err(HmmDmaError::NoPage));
    assert_eq!(bench.unmap(&mut map, PAGES), Err(HmmDmaError::NoPage));
    // Flags that a driver invents: the area knows better.
    map.words_mut()[2] = word(0x77) | HmmLayout::DMA_MAPPED;
    assert_eq!(bench.unmap(&mut map, 2), Err(HmmDmaError::Dma(DmaError::NotMapped)));
    map.words_mut()[2] = 0;
    bench.free(map);
    // More bits than addresses have.
    let mut map = filled(&mut bench);
    map.words_mut()[1] = HmmLayout::VALID | ((1 << WORDS.order_shift()) - 1);
    assert_eq!(bench.map(&mut map, 1, None), Err(HmmDmaError::NotValid));
    bench.free(map);
}

/// No IOVAs for all pages together: each by itself, and remembered.
#[test]
fn without_an_area_each_page_is_mapped_by_itself() {
    let mut bench = Bench::new(true);
    // More than the device can be told at once, page by page it can.
    bench.dma.device_mut(DEVICE).unwrap().mask = 0xffff_ffff;
    let pages = (4 << 30) >> 12;
    let mut map = bench.alloc(MapSettings { pages, ..SETTINGS }).unwrap();
    assert!(!map.has_area());
    map.words_mut()[7] = word(0x123);
    map.words_mut()[9] = word(0x456);
    let [a, b] = [7, 9].map(|index| bench.map(&mut map, index, None).unwrap());
    assert_eq!([a, b].map(|at| bench.target(at)), [Some(CpuAddr(0x12_3000)), Some(CpuAddr(0x45_6000))]);
    assert_eq!(bench.map(&mut map, 7, None), Ok(a), "again");
    assert_eq!(map.linked(), Bytes::kib(8));
    assert_eq!(bench.unmap(&mut map, 7), Ok(true));
    assert_eq!((bench.target(a), map.linked()), (None, Bytes::kib(4)));
    bench.free(map);
}

/// Whatever order pages are mapped, remapped and unmapped in, the device sees the pages of the words.
#[test]
fn random_orders_leave_nothing_behind() {
    for seed in 0..cases(50) {
        println!("seed {seed}");
        for translated in [true, false] {
            let (mut bench, mut random) = (Bench::new(translated), Random(seed));
            let mut map = filled(&mut bench);
            for _ in 0..200 {
                let index = random.index(PAGES);
                let mapped = map.words()[index] & HmmLayout::DMA_MAPPED != 0;
                if random.below(3) == 0 {
                    assert_eq!(bench.unmap(&mut map, index), Ok(mapped));
                    map.words_mut()[index] = word(random.below(1 << 20));
                    continue;
                }
                let provider = random.pick(&[None, None, Some(BUS), Some(HOST)]);
                let physical = (map.words()[index] & ((1 << 53) - 1)) << 12;
                let bus = map.words()[index] & HmmLayout::P2PDMA_BUS != 0;
                // A page does not change its provider while it is mapped.
                if mapped && bus != (provider == Some(BUS)) {
                    continue;
                }
                let address = bench.map(&mut map, index, provider).unwrap();
                let by_bus = map.words()[index] & HmmLayout::P2PDMA_BUS != 0;
                let seen = match (by_bus, translated) {
                    (true, _) => Some(CpuAddr(address.0.wrapping_sub(PEER_OFFSET))),
                    (false, true) => bench.target(address),
                    (false, false) => Some(CpuAddr(address.0)),
                };
                assert_eq!(seen, Some(CpuAddr(physical)));
            }
            let links = map.words().iter().filter(|word| {
                **word & (HmmLayout::DMA_MAPPED | HmmLayout::P2PDMA_BUS) == HmmLayout::DMA_MAPPED
            });
            let linked = if translated { links.count() as u64 * 4096 } else { 0 };
            assert_eq!(map.linked().0, linked);
            bench.free(map);
        }
    }
}

/// What a device whose owner is 0 is given for a page in the memory of device 1.
fn word_of(process: &mut Process, peers: bool) -> Word {
    let mut range = HmmRange::new(process.space, BASE, 1, Flags::WRITE_FAULT, Some(Owner(0)));
    range.takes_peer_pages = peers;
    let mut fault = RangeFault::new(range);
    fault.run(&mut process.mm).unwrap();
    fault.range.words[0]
}

/// The three cases of a private page, down to the address that the device uses: none on the bus, a bus address of the
/// owner's window, an IOVA of system memory.
#[test]
fn a_private_page_has_an_address_in_each_case() {
    for design in PrivateDesign::ALL {
        let rules = kernel(Profile::Linux_7_3, design);
        let window = 3 << 40;
        let mut process = Process::new(rules, false);
        process.anonymous(1);
        process.fill(0, 1, 60).unwrap();
        process.move_to_device(process.second, 0, 1).unwrap();
        let private = process.mm.page_behind(process.space, BASE).unwrap();
        let mut bench = Bench::new(true);
        let words = process.mm.hmm_words();
        let mut map = bench.alloc(MapSettings { words, ..SETTINGS }).unwrap();

        // The owner's: the driver uses its interconnect. Mapped all the same, the frame leads nowhere or is refused.
        process.mm.set_owner(DeviceId(1), Owner(0));
        map.words_mut()[0] = word_of(&mut process, true).0;
        let mapped = bench.map(&mut map, 0, None);
        match design {
            PrivateDesign::OwnSpace => assert_eq!(mapped, Err(HmmDmaError::Private), "{}", name(&rules)),
            PrivateDesign::PhysicalSpace => {
                let target = bench.target(mapped.unwrap()).unwrap();
                let found =
                    process.mm.private_memory().platform.at_frame(Frame::Physical(Pfn(target.0 >> 12)));
                assert_eq!(found, CpuAccess::Nowhere { address: target }, "{}", name(&rules));
                assert_eq!(bench.unmap(&mut map, 0), Ok(true));
            }
        }

        // A foreign one, through the window: no IOVA, and the page stays.
        process.mm.set_owner(DeviceId(1), Owner(1));
        let bar = Range::sized(CpuAddr(window), Bytes::mib(256)).unwrap();
        process.mm.open_peer_window(DeviceId(1), bar).unwrap();
        map.words_mut()[0] = word_of(&mut process, true).0;
        let address = bench.map(&mut map, 0, Some(BUS)).unwrap();
        assert_eq!(address.0, (window + (65535 << 12)).wrapping_add(PEER_OFFSET), "{}", name(&rules));
        assert_eq!(map.linked(), Bytes::ZERO);
        assert_eq!(process.mm.page_behind(process.space, BASE), Some(private));
        assert_eq!(bench.unmap(&mut map, 0), Ok(true));

        // Otherwise: in system memory first.
        map.words_mut()[0] = word_of(&mut process, false).0;
        let there = process.mm.page_behind(process.space, BASE).unwrap();
        assert_ne!(there, private);
        let address = bench.map(&mut map, 0, None).unwrap();
        assert_eq!(bench.target(address), Some(CpuAddr(there.0 << 12)), "{}", name(&rules));
        assert_eq!(process.cpu(process.space, 0, 1), Ok(vec![60]));
        assert_eq!(bench.unmap(&mut map, 0), Ok(true));
        bench.free(map);
    }
}
