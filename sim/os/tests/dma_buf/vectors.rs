//! BAR memory without pages as an importer is given it: by bus, through the host bridge, translated and not.

use peerbus_os::dma::{
    BounceArea, Call, Context, Dma, DmaError, DmaKind, DmaSettings, DmaWork, DomainParameters, FlushShape,
    Iommu, IommuDriver, ProviderId, Segment, Translations, intel_aperture_end,
};
use peerbus_os::dma_buf::{MappedVectors, PhysicalVector, VectorError, map_vectors};
use peerbus_os::p2pdma::{P2pdma, Peers};
use peerbus_os::pci::FunctionIndex;
use peerbus_os::{CpuIdentity, Profile};
use peerbus_units::{Bytes, CpuAddr, DmaAddr, Iova, Range};

use super::{MIB, vector};
use crate::p2pdma::machine::{INTEL, ZEN, rules};
use crate::p2pdma::worked_memory::{Example, bar, example};

/// Importers of memory of `a`: `b` below the same switch, `c` below another root port.
struct Bench {
    example: Example,
    dma: Dma,
    tables: Translations,
    bounce: BounceArea,
    provider: ProviderId,
}

/// BAR 2 of `a`: 16 GiB.
const FIRST: u64 = 0x20_0000_0000;
/// What its addresses on the bus are less.
const OFFSET: u64 = 16 << 20;

impl Bench {
    fn new(cpu: &CpuIdentity, translated: bool) -> Bench {
        let mut example = example(Profile::Linux_7_3);
        example.p2pdma = P2pdma::new(&rules(Profile::Linux_7_3), cpu);
        let window = &mut example.machine.tree.host_bridges[0].windows[0];
        window.cpu = Range::new(window.cpu.first(), CpuAddr(FIRST + (16 << 30) - 1)).unwrap();
        let a = example.a;
        bar(&mut example.machine, a, 2, FIRST, 16 << 10);
        example.p2pdma.init(&example.machine.tree, a).unwrap();
        let provider = example.p2pdma.bar_provider(&example.machine.tree, a, 2).unwrap();
        let rules = rules(Profile::Linux_7_3).dma;
        let domains = DomainParameters { strict: Some(true), ..DomainParameters::default() };
        let settings = DmaSettings { domains, ..DmaSettings::default() };
        let iommu = Iommu {
            driver: IommuDriver::Other,
            not_covered: Vec::new(),
            granule_shift: 12,
            aperture_start: Iova(0),
            aperture_end: intel_aperture_end(39, false),
            reserved: Vec::new(),
            flush: Some(FlushShape::ORDINARY),
            identity: true,
        };
        let (tree, machine) = (&example.machine.tree, &example.machine);
        let mut dma = match translated {
            true => Dma::probe(tree, machine, &rules, &iommu, &settings),
            false => Dma::without_iommu(tree, &rules, &settings),
        };
        for function in [example.b, example.c] {
            dma.device_mut(function).unwrap().mask = u64::MAX;
        }
        let bounce = BounceArea::new(Range::new(CpuAddr(0x10_0000), CpuAddr(0x1f_ffff)).unwrap());
        Bench { example, dma, tables: Translations::default(), bounce, provider }
    }

    fn with<T>(&mut self, run: impl FnOnce(&mut Dma, &mut Context<'_>) -> T) -> T {
        let Example { machine, p2pdma, .. } = &mut self.example;
        let mut peers = Peers { p2pdma, tree: &machine.tree, config: machine };
        let mut context = Context {
            call: Call::default(),
            work: DmaWork::default(),
            tables: &mut self.tables,
            bounce: &mut self.bounce,
            peers: &mut peers,
        };
        run(&mut self.dma, &mut context)
    }

    fn map(
        &mut self,
        importer: FunctionIndex,
        vectors: &[PhysicalVector],
    ) -> Result<MappedVectors, VectorError> {
        let provider = self.provider;
        self.with(|dma, context| map_vectors(dma, importer, provider, vectors, context))
    }

    /// Checks addresses, undoes, and checks that nothing stayed.
    fn check(
        &mut self,
        importer: FunctionIndex,
        vectors: &[PhysicalVector],
        kind: DmaKind,
        expect: &[(u64, u64)],
    ) {
        let mapped = self.map(importer, vectors).unwrap();
        let segment =
            |(at, length): &(u64, u64)| Segment { address: DmaAddr(*at), length: Bytes(*length), kind };
        assert_eq!(mapped.segments, expect.iter().map(segment).collect::<Vec<_>>());
        assert_eq!(self.tables.is_empty(), kind != DmaKind::Iova);
        assert_eq!(self.with(|dma, context| mapped.unmap(dma, importer, context)), Ok(()));
        assert!(self.tables.is_empty() && self.bounce.is_empty());
    }
}

#[test]
fn vectors_become_bus_addresses_one_area_or_pieces() {
    let vectors = [vector(FIRST + 0x1000, 0x2000), vector(FIRST + MIB, 0x1000)];
    for translated in [false, true] {
        let mut bench = Bench::new(&ZEN, translated);
        let (b, c) = (bench.example.b, bench.example.c);
        let bus = [(FIRST + 0x1000 - OFFSET, 0x2000), (FIRST + MIB - OFFSET, 0x1000)];
        bench.check(b, &vectors, DmaKind::Bus, &bus);
        if translated {
            // The highest three pages below 4 GiB.
            bench.check(c, &vectors, DmaKind::Iova, &[(0xffff_c000, 0x3000)]);
        } else {
            bench.check(c, &vectors, DmaKind::Cpu, &[(FIRST + 0x1000, 0x2000), (FIRST + MIB, 0x1000)]);
        }
    }
}

#[test]
fn an_area_holds_all_vectors_one_behind_the_other() {
    let mut bench = Bench::new(&ZEN, true);
    let c = bench.example.c;
    let mapped = bench.map(c, &[vector(FIRST + 0x1000, 0x2000), vector(FIRST + MIB, 0x1000)]).unwrap();
    let first = mapped.segments[0].address.0;
    let group = bench.dma.groups().of(c).unwrap();
    let leads = [0, 0x1000, 0x2000].map(|at| bench.tables.translate(group, Iova(first + at)));
    assert_eq!(leads, [0x1000, 0x2000, MIB].map(|at| Some(CpuAddr(FIRST + at))));
    assert_eq!(bench.with(|dma, context| mapped.unmap(dma, c, context)), Ok(()));
}

#[test]
fn without_a_path_there_are_no_addresses() {
    let mut bench = Bench::new(&INTEL, false);
    let found = bench.map(bench.example.c, &[vector(FIRST, 0x1000)]);
    assert_eq!(found, Err(VectorError::NotSupported));
    assert_eq!(VectorError::NotSupported.errno(), "EINVAL");
    let endless = [vector(0, u64::MAX), vector(0, 1)];
    assert_eq!(bench.map(bench.example.b, &endless), Err(VectorError::TooLarge));
}

#[test]
fn long_pieces_are_cut_at_the_last_page_of_32_bits() {
    let largest = 0xffff_f000;
    let mut bench = Bench::new(&ZEN, false);
    let (b, c) = (bench.example.b, bench.example.c);
    let start = FIRST - OFFSET;
    bench.check(b, &[vector(FIRST, largest)], DmaKind::Bus, &[(start, largest)]);
    let cut = [(start, largest), (start + largest, 0x1000)];
    bench.check(b, &[vector(FIRST, largest + 0x1000)], DmaKind::Bus, &cut);
    let whole = 0x2_0000_0000;
    let rest = whole - 2 * largest;
    let cut = [(FIRST, largest), (FIRST + largest, largest), (FIRST + 2 * largest, rest)];
    bench.check(c, &[vector(FIRST, whole)], DmaKind::Cpu, &cut);
}

#[test]
fn a_refused_vector_undoes_the_others() {
    let mut bench = Bench::new(&ZEN, true);
    let c = bench.example.c;
    // Half a granule into the area: the second cannot be linked.
    let odd = [vector(FIRST, 0x800), vector(FIRST + 0x1000, 0x1000)];
    assert_eq!(bench.map(c, &odd), Err(VectorError::Dma(DmaError::Invalid)));
    assert!(bench.tables.is_empty());
    // A device that must bounce is given no device memory through the area.
    bench.dma.device_mut(c).unwrap().untrusted = true;
    let found = bench.map(c, &[vector(FIRST, 0x1000), vector(FIRST + 0x2000, 0x800)]);
    assert_eq!(found, Err(VectorError::Dma(DmaError::NotPermitted)));
    let mut bench = Bench::new(&ZEN, false);
    bench.dma.device_mut(c).unwrap().mask = FIRST + 0x1fff;
    let found = bench.map(c, &[vector(FIRST + 0x1000, 0x1000), vector(FIRST + 0x2000, 0x1000)]);
    assert_eq!(found, Err(VectorError::Dma(DmaError::Io)));
    assert!(bench.tables.is_empty() && bench.bounce.is_empty());
}
