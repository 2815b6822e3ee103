//! The addresses booted kernels gave out for one page of peer-to-peer memory, mapped as a list of one entry and unmapped
//! at once, for every pair in order: bus addresses, physical addresses and IOVAs.

use std::collections::BTreeMap;

use peerbus_os::dma::{
    Attributes, Call, Context, Dma, DmaError, DmaKind, DmaSettings, DmaWork, DomainParameters, FlushShape,
    IntegratedIntel, Iommu, IommuDriver, Memory, NoBounce, PeerType, PeerTypes, ProviderId, ReservedRegion,
    Translations, amd_aperture_end, intel_aperture_end,
};
use peerbus_os::p2pdma::Resolver;
use peerbus_os::pci::{FunctionIndex, Resource, ResourceRef};
use peerbus_os::{CpuIdentity, MapType, Profile};
use peerbus_units::{Bytes, CpuAddr, Iova, Range};
use serde_json::Value;

use crate::p2pdma::captures::{
    Boot, Listed, Tally, boots, build, conformance, cpu, find, hex, items, rows, set_acs, set_ids, text,
};
use crate::p2pdma::machine::{Machine, rules};

/// The emulator's IOMMU, if the kernel that was booted so uses it. `own`: the functions that are IOMMUs.
fn iommu(arguments: &str, command_line: &str, own: Vec<FunctionIndex>) -> Option<Iommu> {
    let has = |word: &str| command_line.split_whitespace().any(|it| it == word);
    let (driver, last, not_covered, mut reserved) = if arguments.contains("intel-iommu") {
        let (pass_through, second_level) = (true, true);
        let driver =
            IommuDriver::Intel { pass_through, caching_mode: false, second_level, graphics_off: false };
        has("intel_iommu=on").then(|| (driver, intel_aperture_end(39, false), Vec::new(), Vec::new()))?
    } else if arguments.contains("amd-iommu") {
        let driver = IommuDriver::Amd { caches_not_present: true };
        let reserved = vec![ReservedRegion::hyper_transport()];
        (!has("amd_iommu=off")).then(|| (driver, amd_aperture_end(None), own, reserved))?
    } else {
        return None;
    };
    reserved.push(ReservedRegion::interrupts());
    let (aperture, flush) = (Range::new(Iova(0), last).unwrap(), Some(FlushShape::ORDINARY));
    Some(Iommu { driver, not_covered, granule_shift: 12, aperture, reserved, flush, identity: true })
}

/// The DMA layer as booted, every device with a 64-bit mask.
fn booted(machine: &Machine, profile: Profile, iommu: Option<&Iommu>, command_line: &str) -> Dma {
    let pass_through = command_line.split_whitespace().any(|it| it == "iommu=pt").then_some(true);
    let domains = DomainParameters { pass_through, ..DomainParameters::default() };
    let settings = DmaSettings { domains, ..DmaSettings::default() };
    let rules = rules(profile).dma;
    let mut dma = match iommu {
        Some(iommu) => Dma::probe(&machine.tree, machine, &IntegratedIntel, &rules, iommu, &settings),
        None => Dma::without_iommu(&machine.tree, &rules, &settings),
    };
    for (function, _) in machine.tree.iter() {
        dma.device_mut(function).unwrap().mask = u64::MAX;
    }
    dma
}

/// One answer for one pair.
struct Pair(PeerType);

impl PeerTypes for Pair {
    fn peer_type(&mut self, _: ProviderId, _: FunctionIndex) -> PeerType {
        self.0
    }
}

/// Maps a page of `at` for `client` and unmaps it.
fn map_once(
    dma: &mut Dma,
    client: FunctionIndex,
    at: u64,
    peer: PeerType,
) -> Result<(u64, DmaKind), DmaError> {
    let (mut tables, mut peers) = (Translations::default(), Pair(peer));
    let mut context = Context {
        call: Call::default(),
        work: DmaWork::default(),
        tables: &mut tables,
        bounce: &mut NoBounce,
        peers: &mut peers,
    };
    let page = Memory::peer(ProviderId(0), CpuAddr(at), Bytes(0x1000));
    let mapped = dma.map_list(client, &[page], Attributes::default(), &mut context)?;
    let [segment] = mapped.segments[..] else { panic!("one entry gave {mapped:?}") };
    assert_eq!(segment.length, Bytes(0x1000));
    dma.unmap(client, mapped, &mut context)?;
    assert!(tables.is_empty());
    Ok((segment.address.0, segment.kind))
}

/// Answers compared, and how many of them are IOVAs, or host-path addresses although there is an IOMMU.
#[derive(Default)]
struct Figures {
    all: Tally,
    iovas: usize,
    identity: usize,
}

impl Figures {
    /// `recorded` is the result, the address and the mark of a bus address, as the kernel gave them.
    fn compare(
        &mut self,
        found: Result<(u64, DmaKind), DmaError>,
        recorded: (i64, &str, &str),
        [present, translates]: [bool; 2],
        name: impl Fn() -> String,
    ) {
        let expect = match recorded {
            (0, address, bus) => Ok((hex(address), bus == "1")),
            (error, ..) => Err(error),
        };
        let same = match (found, expect) {
            (Ok((address, kind)), Ok((wanted, bus))) => {
                address == wanted && (kind == DmaKind::Bus) == bus && (translates || kind != DmaKind::Iova)
            }
            (Err(DmaError::RemoteIo), Err(-121)) => true,
            _ => false,
        };
        self.all.count(same, || format!("{}: {recorded:?} gave {found:x?}", name()));
        if let Ok((_, kind)) = found {
            self.iovas += usize::from(kind == DmaKind::Iova);
            self.identity += usize::from(kind == DmaKind::Cpu && present);
        }
    }
}

/// Bus address − CPU address of the BAR of `provider` that contains `at`.
fn bus_offset(machine: &Machine, provider: FunctionIndex, at: u64) -> u64 {
    let bars = machine.tree[provider].resources.iter().take(6).map(Resource::range).enumerate();
    let (number, range) = bars
        .filter_map(|(number, range)| Some((number, range?)))
        .find(|(_, range)| range.contains(CpuAddr(at)))
        .unwrap();
    let bus = machine.tree.bus_address(ResourceRef { function: provider, number }).unwrap();
    bus.0.wrapping_sub(range.first().0)
}

/// The type recorded for a mapping whose ACS words are not: its own.
fn type_of(row: &[&str]) -> MapType {
    match (row[3], row[6]) {
        ("0", "1") => MapType::BusAddr,
        ("0", _) => MapType::ThruHostBridge,
        _ => MapType::NotSupported,
    }
}

fn replay(boot: &Boot, figures: &mut Figures) {
    let file = |name: &str| std::fs::read_to_string(boot.folder.join(name));
    let (Ok(table), Ok(case)) = (file("dmamap.tsv"), file("case.json")) else { return };
    let case: Value = serde_json::from_str(&case).unwrap();
    let (arguments, command_line) = (text(&case["qemu_args"]), text(&case["cmdline"]));
    let machine = boot.booted().unwrap_or_else(|| boot.machine.clone());
    let devices = file("devices.tsv").unwrap();
    // An AMD IOMMU is a function of class 0806.
    let own = rows(&devices).filter(|row| row[2].starts_with("0806"));
    let own = own.map(|row| find(&machine, row[0])).collect();
    let iommu = iommu(arguments, command_line, own);
    let mut dma = booted(&machine, boot.profile, iommu.as_ref(), command_line);
    let mut phases: BTreeMap<String, Option<(Machine, Resolver)>> = BTreeMap::new();
    let mut left_out = 0;
    for row in rows(&table) {
        // `o winoff` moves a host bridge's window, which the table of windows does not show.
        let moved = boot.before(row[0]).is_some_and(|mut commands| commands.any(|it| it.contains("winoff")));
        let known = phases.entry(row[0].to_string()).or_insert_with(|| {
            let machine = boot.phase(row[0]).filter(|_| !moved)?;
            let resolver = Resolver::new(&machine.tree, &machine, &boot.cpu, &rules(boot.profile));
            Some((machine, resolver))
        });
        let (provider, client) = (find(&machine, row[1]), find(&machine, row[2]));
        let map_type = match (known, iommu.is_some()) {
            (Some((_, resolver)), _) => resolver.resolve(provider, client).map_type,
            (None, true) => type_of(&row),
            (None, false) => {
                left_out += 1;
                continue;
            }
        };
        let peer = PeerType { map_type, bus_offset: bus_offset(&machine, provider, hex(row[4])) };
        let found = map_once(&mut dma, client, hex(row[4]), peer);
        let recorded = (row[3].parse().unwrap(), row[5], row[6]);
        let name = || format!("{}: {row:?}", boot.folder.display());
        figures.compare(found, recorded, [iommu.is_some(), dma.is_translated(client)], name);
    }
    if left_out > 0 {
        println!("{}: {left_out} left out, ACS words or windows unknown", boot.folder.display());
    }
}

#[test]
fn booted_kernels_gave_these_addresses() {
    let (boots, mut figures) = (boots(), Figures::default());
    if boots.is_empty() {
        println!("skipped: the recordings are absent");
        return;
    }
    boots.iter().for_each(|boot| replay(boot, &mut figures));
    let Figures { all, iovas, identity } = &figures;
    println!("addresses: {}, {iovas} IOVAs and {identity} physical ones in spite of an IOMMU", all.agreed());
    assert!(*iovas > 0);
}

/// Brings ACS words and ids to where they were in a phase.
fn enter(machine: &mut Machine, phase: &Value) {
    if let Some(words) = phase["acs"].as_object() {
        let words = words.iter();
        let pair = |words: &Value| [0, 1].map(|word| words[word].as_u64().unwrap());
        set_acs(machine, words.map(|(id, words)| (id.as_str(), pair(words))));
    }
    for spoofed in items(&phase["spoof"]) {
        let function = find(machine, text(&spoofed[0]));
        set_ids(machine, function, text(&spoofed[1]));
    }
}

fn replay_random(recorded: &Value, cpu: &CpuIdentity, figures: &mut Figures, profile: Profile) {
    let mut machine = build(items(&recorded["devices"]).map(|device| Listed {
        id: text(&device["bdf"]).parse().unwrap(),
        ids: text(&device["id"]),
        pcie_type: device["ptype"].as_i64().unwrap(),
        above: text(&device["up"]),
    }));
    let endpoints: Vec<_> = items(&recorded["endpoints"]).map(|id| find(&machine, text(id))).collect();
    let command_line = text(&recorded["cmdline"]);
    let own = items(&recorded["devices"]).filter(|device| text(&device["cls"]).starts_with("0806"));
    let own = own.map(|device| find(&machine, text(&device["bdf"]))).collect();
    let iommu = iommu(text(&recorded["qemu_args"]), command_line, own);
    let mut dma = None;
    for phase in items(&recorded["phases"]) {
        enter(&mut machine, phase);
        let dma = dma.get_or_insert_with(|| booted(&machine, profile, iommu.as_ref(), command_line));
        let resolver = Resolver::new(&machine.tree, &machine, cpu, &rules(profile));
        for row in items(&phase["map"]) {
            let endpoint = |at: usize| endpoints[usize::try_from(row[at].as_u64().unwrap()).unwrap()];
            let (provider, client) = (endpoint(0), endpoint(1));
            let map_type = resolver.resolve(provider, client).map_type;
            let found = map_once(dma, client, hex(text(&row[3])), PeerType { map_type, bus_offset: 0 });
            let answer = (row[2].as_i64().unwrap(), text(&row[4]), text(&row[5]));
            let name = || format!("{} {} {profile}: {row}", recorded["name"], phase["tag"]);
            figures.compare(found, answer, [iommu.is_some(), dma.is_translated(client)], name);
        }
    }
}

#[test]
fn random_machines_gave_these_addresses() {
    let path = conformance().join("random/p2p.jsonl");
    let Ok(lines) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is absent", path.display());
        return;
    };
    let mut figures = Figures::default();
    for line in lines.lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let cpu = cpu(&recorded["cpu"]);
        for profile in [Profile::Linux_6_12, Profile::Linux_7_3] {
            replay_random(&recorded, &cpu, &mut figures, profile);
        }
    }
    let Figures { all, iovas, identity } = &figures;
    println!(
        "random machines, 2 profiles: {}, {iovas} IOVAs and {identity} physical ones in spite of an IOMMU",
        all.agreed()
    );
    assert!(*iovas > 0 && *identity > 0);
}
