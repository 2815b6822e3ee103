//! The addresses booted kernels gave out for one page of peer-to-peer memory, mapped as a list of one entry and unmapped
//! at once, for every pair in order: bus addresses, physical addresses and IOVAs. Random machines are replayed here;
//! named ones where their commands are obeyed one by one, with the types their providers remember.

use peerbus_os::dma::{
    Attributes, Call, Context, Dma, DmaError, DmaKind, DmaSettings, DmaWork, Iommu, IommuDriver, Memory,
    NoBounce, PeerType, PeerTypes, ProviderId, Translations,
};
use peerbus_os::p2pdma::Resolver;
use peerbus_os::parameters::{IommuSwitch, Parameters};
use peerbus_os::pci::FunctionIndex;
use peerbus_os::{CpuIdentity, Profile};
use peerbus_units::{Bytes, CpuAddr};
use serde_json::Value;

use crate::p2pdma::captures::{
    Boot, Listed, Tally, build, conformance, cpu, find, hex, items, rows, set_acs, set_ids, text,
};
use crate::p2pdma::machine::{Machine, rules};

/// The emulator's IOMMU, if the kernel that was booted so uses it. `own`: the functions that are IOMMUs.
fn iommu(arguments: &str, command_line: &str, own: Vec<FunctionIndex>) -> Option<Iommu> {
    let parameters = Parameters::parse(command_line).iommu;
    if arguments.contains("intel-iommu") {
        (parameters.intel == Some(IommuSwitch::On)).then(|| Iommu::intel(39))
    } else if arguments.contains("amd-iommu") && parameters.amd != Some(IommuSwitch::Off) {
        // The emulator's says that it caches entries which are not present.
        Some(Iommu { driver: IommuDriver::Amd { caches_not_present: true }, ..Iommu::amd(own) })
    } else {
        None
    }
}

/// The DMA layer as booted, every device with a 64-bit mask.
fn booted(machine: &Machine, profile: Profile, iommu: Option<&Iommu>, command_line: &str) -> Dma {
    let settings = DmaSettings::with_parameters(&Parameters::parse(command_line).iommu);
    let rules = rules(profile).dma;
    let mut dma = match iommu {
        Some(iommu) => Dma::probe(&machine.tree, machine, &rules, iommu, &settings),
        None => Dma::without_iommu(&machine.tree, &rules, &settings),
    };
    for (function, _) in machine.tree.iter() {
        dma.device_mut(function).unwrap().mask = u64::MAX;
    }
    dma
}

/// One answer for one pair.
pub struct Pair(pub PeerType);

impl PeerTypes for Pair {
    fn peer_type(&mut self, _: ProviderId, _: FunctionIndex) -> PeerType {
        self.0
    }
}

/// Maps the page of `provider` at `at` for `client` and unmaps it.
pub fn map_once(
    dma: &mut Dma,
    client: FunctionIndex,
    provider: ProviderId,
    at: CpuAddr,
    peers: &mut dyn PeerTypes,
) -> Result<(u64, DmaKind), DmaError> {
    let mut tables = Translations::default();
    let mut context = Context {
        call: Call::default(),
        work: DmaWork::default(),
        tables: &mut tables,
        bounce: &mut NoBounce,
        peers,
    };
    let page = Memory::peer(provider, at, Bytes(0x1000));
    let mapped = dma.map_list(client, &[page], Attributes::default(), &mut context)?;
    let [segment] = mapped.segments[..] else { panic!("one entry gave {mapped:?}") };
    assert_eq!(segment.length, Bytes(0x1000));
    dma.unmap(client, mapped, &mut context)?;
    assert!(tables.is_empty());
    Ok((segment.address.0, segment.kind))
}

/// Answers compared, and how many of them are IOVAs, or host-path addresses although there is an IOMMU.
#[derive(Default)]
pub struct Figures {
    all: Tally,
    iovas: usize,
    identity: usize,
}

impl Figures {
    /// `recorded` is the result, the address and the mark of a bus address, as the kernel gave them.
    pub fn compare(
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

    /// After asserting that nothing differs.
    pub fn agreed(&self) -> String {
        let Figures { all, iovas, identity } = self;
        format!("{}, {iovas} IOVAs and {identity} physical ones in spite of an IOMMU", all.agreed())
    }
}

/// The DMA layer as it was when the machine had booted, and whether there is an IOMMU.
pub fn booted_kernel(boot: &Boot) -> (Dma, bool) {
    let case: Value = serde_json::from_str(&boot.file("case.json")).unwrap();
    let (arguments, command_line) = (text(&case["qemu_args"]), text(&case["cmdline"]));
    let machine = boot.booted().unwrap_or_else(|| boot.machine.clone());
    let devices = boot.file("devices.tsv");
    // An AMD IOMMU is a function of class 0806.
    let own = rows(&devices).filter(|row| row[2].starts_with("0806"));
    let iommu = iommu(arguments, command_line, own.map(|row| find(&machine, row[0])).collect());
    (booted(&machine, boot.profile, iommu.as_ref(), command_line), iommu.is_some())
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
            let mut peers = Pair(PeerType { map_type, bus_offset: 0 });
            let at = CpuAddr(hex(text(&row[3])));
            let found = map_once(dma, client, ProviderId(0), at, &mut peers);
            let answer = (row[2].as_i64().unwrap(), text(&row[4]), text(&row[5]));
            let name = || format!("{} {} {profile}: {row}", recorded["name"], phase["tag"]);
            figures.compare(found, answer, [iommu.is_some(), dma.is_translated(client)], name);
        }
    }
}

/// Property B4, and B5 for identity domains.
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
    println!("random machines, 2 profiles: {}", figures.agreed());
    assert!(figures.iovas > 0 && figures.identity > 0);
}
