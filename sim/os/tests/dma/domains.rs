//! Which domain probing gives each group, and what a domain keeps free.

use peerbus_os::dma::{
    Attributes, Call, Context, Dma, DmaSettings, DmaWork, Domain, DomainError, DomainParameters, GroupNumber,
    Iommu, IommuDriver, Mapped, Memory, NoBounce, NoPeers, ReservedKind, ReservedRegion, Translations,
    reserved_ranges,
};
use peerbus_os::pci::{FunctionIndex, PcieType, Window};
use peerbus_os::{Profile, ResourceKind};
use peerbus_units::{BusAddr, Bytes, CpuAddr, Iova, Range};

use crate::p2pdma::machine::{Machine, rules};

/// Intel's, told to leave integrated graphics alone.
fn iommu() -> Iommu {
    let mut iommu = Iommu::intel(39);
    if let IommuDriver::Intel { graphics_off, .. } = &mut iommu.driver {
        *graphics_off = true;
    }
    iommu
}

fn iova(first: u64, last: u64) -> Range<Iova> {
    Range::new(Iova(first), Iova(last)).unwrap()
}

/// Graphics, sound and a plain device on the root bus, each in a group of its own.
fn machine() -> Machine {
    let mut machine = Machine::default();
    let root = machine.host(0, 0);
    let graphics = machine.function(root, 1, 0);
    machine.tree[graphics].class = 0x03_0000;
    machine.set_ids(graphics, 0x8086, 0x9a49);
    machine.function(root, 2, 0);
    machine.function(root, 3, 0);
    machine
}

const SOUND: FunctionIndex = FunctionIndex(1);
const PLAIN: FunctionIndex = FunctionIndex(2);

fn probe(machine: &Machine, iommu: &Iommu, settings: &DmaSettings, profile: Profile) -> Dma {
    Dma::probe(&machine.tree, machine, &rules(profile).dma, iommu, settings)
}

/// A page mapped twice for `device`, the first unmapped before: the two addresses.
fn two(dma: &mut Dma, device: FunctionIndex) -> [u64; 2] {
    let mut tables = Translations::default();
    let mut context = Context {
        call: Call::default(),
        work: DmaWork::default(),
        tables: &mut tables,
        bounce: &mut NoBounce,
        peers: &mut NoPeers,
    };
    let page = Memory::ram(CpuAddr(0x12_3000), Bytes(0x1000));
    dma.device_mut(device).unwrap().mask = u64::MAX;
    let mut map = || {
        let mapped = dma.map(device, &page, Attributes::default(), &mut context).unwrap();
        let address = mapped.segments[0].address.0;
        let unmapped: Mapped = mapped;
        dma.unmap(device, unmapped, &mut context).unwrap();
        address
    };
    [map(), map()]
}

#[test]
fn the_type_decides_which_addresses_devices_get() {
    let (lazy, strict, direct) =
        ([0xffff_f000, 0xffff_e000], [0xffff_f000, 0xffff_f000], [0x12_3000, 0x12_3000]);
    let check = |domains, iommu: &Iommu, expect| {
        for profile in Profile::ALL {
            let settings = DmaSettings { domains, ..DmaSettings::default() };
            let mut dma = probe(&machine(), iommu, &settings, profile);
            assert_eq!(two(&mut dma, PLAIN), expect, "{profile} {domains:?} {iommu:?}");
        }
    };
    let base = DomainParameters::default();
    let pass = DomainParameters { pass_through: Some(true), ..base };
    check(base, &iommu(), lazy);
    check(DomainParameters { strict: Some(true), ..base }, &iommu(), strict);
    check(pass, &iommu(), direct);
    check(base, &Iommu { flush: None, ..iommu() }, strict);
    check(pass, &Iommu { identity: false, ..iommu() }, strict);
    let aperture_end = Iova(0xfff);
    check(base, &Iommu { aperture_end, ..iommu() }, direct);
    check(base, &Iommu { aperture_start: Iova(0x1000), aperture_end, ..iommu() }, direct);
    check(base, &Iommu { not_covered: vec![PLAIN], ..iommu() }, direct);
    let dma =
        probe(&machine(), &Iommu { aperture_end, ..iommu() }, &DmaSettings::default(), Profile::Linux_6_12);
    assert_eq!(dma.domain(GroupNumber(2)), Some(&Domain::Unusable(DomainError::NoPages)));
}

#[test]
fn wishes_and_distrust_beat_the_global_type() {
    let settings = DmaSettings { wrong_sound: vec![SOUND], ..DmaSettings::default() };
    let kinds = |settings: &DmaSettings, profile| {
        let dma = probe(&machine(), &iommu(), settings, profile);
        [0, 1, 2].map(|group| match dma.domain(GroupNumber(group)) {
            Some(Domain::Identity) => 'i',
            Some(Domain::Translated(_)) => 't',
            Some(Domain::Refused) => 'r',
            other => panic!("{other:?}"),
        })
    };
    for profile in Profile::ALL {
        assert_eq!(kinds(&settings, profile), ['i', 'i', 't'], "{profile}");
        let untrusted = DmaSettings { untrusted: vec![SOUND, PLAIN], ..settings.clone() };
        let refused = if profile == Profile::Linux_6_1 { 't' } else { 'r' };
        assert_eq!(kinds(&untrusted, profile), ['i', refused, 't'], "{profile}");
        let pass = DomainParameters { pass_through: Some(true), ..DomainParameters::default() };
        let pass = DmaSettings { domains: pass, ..untrusted };
        assert_eq!(kinds(&pass, profile), ['i', refused, 't'], "{profile}");
        let mut dma = probe(&machine(), &iommu(), &pass, profile);
        assert_eq!(two(&mut dma, PLAIN), [0xffff_f000, 0xffff_f000], "an untrusted device is strict");
    }
}

#[test]
fn bus_addresses_of_windows_and_named_regions_are_kept_free() {
    let mut machine = Machine::default();
    let root = machine.host(0, 0);
    let (port, below) = machine.bridge(root, 1, PcieType::RootPort, 1);
    let endpoint = machine.function(below, 0, 0);
    let other = machine.function(root, 2, 0);
    let window = |first, last, bus, kind| {
        let cpu = Range::new(CpuAddr(first), CpuAddr(last)).unwrap();
        Window { cpu, bus: BusAddr(bus), kind }
    };
    machine.tree.host_bridges[0].windows = vec![
        window(0, 0xffff, 0, ResourceKind::Io),
        window(0x2000_8000_0000, 0x2000_ffff_ffff, 0x8000_0000, ResourceKind::Mem),
        window(0x2100_0000_0000, 0x21ff_ffff_ffff, 0x2100_0000_0000, ResourceKind::Mem64Prefetch),
    ];
    let region = |first, kind, scope: &[FunctionIndex]| {
        let scope = (!scope.is_empty()).then(|| scope.to_vec());
        ReservedRegion { range: iova(first, first + 0xfff), kind, scope }
    };
    let regions = [
        region(0x1000, ReservedKind::Direct, &[endpoint]),
        region(0x2000, ReservedKind::Direct, &[port]),
        region(0x3000, ReservedKind::Reserved, &[other]),
        region(0x4000, ReservedKind::SoftwareMsi, &[]),
        region(0x5000, ReservedKind::Msi, &[]),
        ReservedRegion::floppy(vec![other]),
    ];
    let windows = [iova(0x8000_0000, 0xffff_ffff), iova(0x2100_0000_0000, 0x21ff_ffff_ffff)];
    let check = |function, named: &[u64]| {
        let found = reserved_ranges(&machine.tree, function, &[], &regions);
        let named = named.iter().map(|first| iova(*first, first + 0xfff));
        let mut expect: Vec<_> = windows.into_iter().chain(named).collect();
        expect.extend((function == other).then(|| iova(0, 0xff_ffff)));
        assert_eq!(found, expect, "{function:?}");
    };
    check(endpoint, &[0x1000, 0x2000, 0x5000]);
    check(port, &[0x2000, 0x5000]);
    check(other, &[0x3000, 0x5000]);
    let inbound = [Range::new(BusAddr(0), BusAddr(0xffff_ffff)).unwrap()];
    let found = reserved_ranges(&machine.tree, endpoint, &inbound, &[]);
    assert_eq!(found[2..], [iova(0x1_0000_0000, u64::MAX)]);
}

#[test]
fn the_first_device_of_a_group_decides_what_is_reserved() {
    // Two functions of one slot, without ACS: one group, initialised by function 0.
    let mut machine = Machine::default();
    let root = machine.host(0, 0);
    let [first, second] = [0, 1].map(|function| machine.function(root, 4, function));
    machine.tree[first].multifunction = true;
    let scoped = |scope| ReservedRegion {
        range: iova(0xffff_f000, 0xffff_ffff),
        kind: ReservedKind::Direct,
        scope: Some(vec![scope]),
    };
    let check = |scope, expect| {
        let iommu = Iommu { reserved: vec![scoped(scope)], ..iommu() };
        let mut dma = probe(&machine, &iommu, &DmaSettings::default(), Profile::Linux_6_12);
        assert_eq!(dma.groups().members(GroupNumber(0)), [first, second]);
        assert_eq!(two(&mut dma, second)[0], expect);
        // The space is the group's.
        assert_eq!(two(&mut dma, first), [expect - 0x2000, expect - 0x3000]);
    };
    check(first, 0xffff_e000);
    check(second, 0xffff_f000);
}

#[test]
fn functions_come_and_go() {
    let mut machine = machine();
    let settings = DmaSettings::default();
    let mut dma = probe(&machine, &iommu(), &settings, Profile::Linux_6_12);
    assert_eq!(two(&mut dma, PLAIN), [0xffff_f000, 0xffff_e000]);
    let root = machine.tree[PLAIN].bus;
    let [late, outside] = [4, 5].map(|device| machine.function(root, device, 0));
    let iommu = Iommu { not_covered: vec![outside], ..iommu() };
    for function in [late, outside, late] {
        dma.add(&machine.tree, &machine, &iommu, &settings, function);
    }
    assert_eq!([late, outside].map(|it| dma.groups().of(it)), [Some(GroupNumber(3)), None]);
    assert_eq!(two(&mut dma, late), [0xffff_f000, 0xffff_e000]);
    assert_eq!(two(&mut dma, outside), [0x12_3000, 0x12_3000]);
    dma.remove(PLAIN);
    dma.remove(outside);
    assert_eq!((dma.domain(GroupNumber(2)), dma.is_translated(PLAIN)), (None, false));
    // Back again, with the lowest free number and an empty space.
    dma.add(&machine.tree, &machine, &iommu, &settings, PLAIN);
    assert_eq!(dma.groups().of(PLAIN), Some(GroupNumber(2)));
    assert_eq!(two(&mut dma, PLAIN), [0xffff_f000, 0xffff_e000]);
}
