//! Recorded boots replayed on [`P2pdma`]: registrations with their errors, distances and the cache they fill, searches,
//! mappings by cached types, providers of 7.x, in the order in which they were asked.

use std::collections::{BTreeMap, BTreeSet};

use peerbus_os::dma::Dma;
use peerbus_os::p2pdma::{
    Client, DmaMapping, MapState, Message, P2pdma, Peers, PhysicalMemory, RegisterError, Warning,
};
use peerbus_os::pci::{FunctionIndex, ResourceRef};
use peerbus_units::{BusAddr, Bytes, CpuAddr, Range};

use super::booted_machines::says;
use super::captures::{Boot, Tally, all_boots, find, hex, rows, set_ids};
use super::machine::{Machine, rules};
use crate::dma::recorded::{Figures, booted_kernel, map_once};

/// One kind of answer each.
#[derive(Default)]
struct Tallies {
    registrations: Tally,
    distances: Tally,
    cached: Tally,
    mappings: Tally,
    addresses: Figures,
    searches: Tally,
    providers: Tally,
    left_out: BTreeMap<String, usize>,
    /// Candidates that 64 tries did not pick.
    missed: usize,
}

struct Replay<'a> {
    boot: &'a Boot,
    machine: Machine,
    p2pdma: P2pdma,
    dma: Dma,
    has_iommu: bool,
    log: Vec<&'a str>,
    ram: Vec<Range<CpuAddr>>,
    mappable: Range<CpuAddr>,
}

fn field(line: &str, key: &str) -> u64 {
    hex(word(line, key))
}

fn word<'a>(line: &'a str, key: &str) -> &'a str {
    line.split_once(&format!(" {key}=")).unwrap().1.split(' ').next().unwrap()
}

fn errno(name: &str) -> &str {
    match name {
        "EINVAL" => "-22",
        "ENOMEM" => "-12",
        "ENXIO" => "-6",
        "EOPNOTSUPP" => "-95",
        "EREMOTEIO" => "-121",
        other => panic!("unknown {other}"),
    }
}

/// `System RAM` lines.
fn system_ram(iomem: &str) -> Vec<Range<CpuAddr>> {
    let lines = iomem.lines().filter_map(|line| line.trim().strip_suffix(" : System RAM"));
    lines
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap();
            Range::new(CpuAddr(hex(first)), CpuAddr(hex(last))).unwrap()
        })
        .collect()
}

impl<'a> Replay<'a> {
    fn new(boot: &'a Boot, oracle: &'a str) -> Replay<'a> {
        let limit = oracle.lines().find(|line| line.starts_with("LIM physmem_end="));
        let last = limit.map_or(u64::MAX, |line| field(line, "physmem_end"));
        let mut machine = boot.machine.clone();
        for (id, _, control) in boot.acs_words("boot") {
            let function = find(&machine, id);
            machine.set_acs(function, u16::try_from(control).unwrap());
        }
        let (dma, has_iommu) = booted_kernel(boot);
        let mut replay = Replay {
            boot,
            machine,
            p2pdma: P2pdma::new(&rules(boot.profile), &boot.cpu),
            dma,
            has_iommu,
            log: oracle.lines().collect(),
            ram: system_ram(&boot.file("iomem.txt")),
            mappable: Range::new(CpuAddr(0), CpuAddr(last)).unwrap(),
        };
        replay.registered_by_drivers();
        replay
    }

    /// What drivers registered while booting is in the kernel's log. The NVMe driver puts the submission queue of its
    /// one I/O queue there: 1024 entries of 64 bytes.
    fn registered_by_drivers(&mut self) {
        let log = self.boot.file("dmesg.txt");
        let added = log.lines().filter_map(|line| {
            let (owner, range) = line.split_once(": added peer-to-peer DMA memory ")?;
            owner.strip_prefix("nvme ").zip(range.split_once('-'))
        });
        for (owner, (first, last)) in added {
            let function = find(&self.machine, owner);
            let range = Range::new(CpuAddr(hex(first)), CpuAddr(hex(last))).unwrap();
            let bars = self.machine.tree[function].resources.iter().map(|bar| bar.range());
            let bar = bars
                .enumerate()
                .find_map(|(number, bar)| Some((number, bar?)).filter(|bar| bar.1.covers(range)));
            let (bar, whole) = bar.unwrap();
            let offset = Bytes(range.first().0 - whole.first().0);
            assert_eq!(self.register(function, bar, range.size(), offset), Ok(range));
            assert_eq!(self.p2pdma.alloc(self.machine.tree[function].id, Bytes::kib(64)), Ok(range.first()));
        }
    }

    fn register(
        &mut self,
        function: FunctionIndex,
        bar: usize,
        size: Bytes,
        offset: Bytes,
    ) -> Result<Range<CpuAddr>, RegisterError> {
        let memory = PhysicalMemory { system_ram: &self.ram, mappable: self.mappable };
        let found = self.p2pdma.add_resource(&self.machine.tree, &memory, function, bar, size, offset);
        let added =
            found.ok().map(|range| Message::Added { function: self.machine.tree[function].id, range });
        assert_eq!(self.p2pdma.take_log(), Vec::from_iter(added));
        if found.is_ok() {
            self.p2pdma.publish(self.machine.tree[function].id, true);
        }
        found
    }

    /// The next line of the module's log that starts with `kind`, if nothing else comes first.
    fn next(&mut self, kind: &str) -> Option<&'a str> {
        const KINDS: [&str; 6] = ["REG ", "SPOOF ", "WINOFF ", "PROVINIT ", "PROV ", "PROVTYPE "];
        let at = self.log.iter().position(|line| KINDS.iter().any(|kind| line.starts_with(kind)))?;
        self.log[at].starts_with(kind).then(|| {
            let line = self.log[at];
            self.log.drain(..=at);
            line
        })
    }

    fn registrations(&mut self, limit: usize, tally: &mut Tally) {
        for _ in 0..limit {
            let Some(line) = self.next("REG ") else { return };
            let function = find(&self.machine, line.split(' ').nth(1).unwrap());
            let bar = usize::try_from(field(line, "bar")).unwrap();
            let (size, offset) = (Bytes(field(line, "size")), Bytes(field(line, "off")));
            let found = self.register(function, bar, size, offset);
            let code = found.err().map_or("0", |error| errno(error.errno()));
            tally.count(code == word(line, "rc"), || {
                format!("{}: {line}: {found:?}", self.boot.folder.display())
            });
        }
    }

    fn distances(&mut self, tag: &str, all: &mut Tallies) {
        let boot = self.boot;
        for row in rows(&boot.distances).filter(|row| row[0] == tag) {
            let [provider, client] = [row[1], row[2]].map(|id| find(&self.machine, id));
            let (tree, p2pdma) = (&self.machine.tree, &mut self.p2pdma);
            let (map_type, distance) = p2pdma.calculate(tree, &self.machine, provider, client, false);
            p2pdma.take_log();
            let many = p2pdma.distance(tree, &self.machine, provider, Client::Function(client), true);
            let said: Vec<Warning> =
                p2pdma.take_log().into_iter().map(|message| warning(message, row[1], row[2])).collect();
            let many = many.map_or("-1".into(), |distance| distance.to_string());
            let log: Vec<&str> =
                row.get(7).map_or("", |text| text).split(" | ").filter(|line| !line.is_empty()).collect();
            let same = [map_type.to_string(), distance.to_string(), many] == [row[3], row[4], row[5]]
                && said.len() == log.len()
                && log.iter().zip(&said).all(|(line, warning)| says(line, warning));
            all.distances.count(same, || format!("{}: {row:?}", boot.folder.display()));
            let cached = p2pdma.cached(tree[provider].id, tree[client].id);
            let cached = cached.map_or("-".into(), |cached| cached.to_string());
            all.cached.count(cached == row[6], || format!("{}: cached {row:?}", boot.folder.display()));
        }
    }

    /// Each row is one page of the provider, mapped for the client.
    fn mappings(&mut self, tag: &str, all: &mut Tallies) {
        let table = self.boot.file("dmamap.tsv");
        for row in rows(&table).filter(|row| row[0] == tag) {
            let [provider, client] = [row[1], row[2]].map(|id| find(&self.machine, id));
            let (id, page) = (self.machine.tree[provider].id, self.p2pdma.page_size());
            let address = self.p2pdma.alloc(id, page).unwrap();
            let found = self.p2pdma.map_page(
                &self.machine.tree,
                &self.machine,
                &mut MapState::default(),
                Client::Function(client),
                address,
            );
            self.address(client, address, &row, &mut all.addresses);
            self.p2pdma.free(id, address, page).unwrap();
            let found = found.unwrap();
            let same = match found {
                Ok(DmaMapping::Bus(bus)) => row[6] == "1" && BusAddr(hex(row[5])) == bus,
                Ok(DmaMapping::Cpu(cpu)) if self.boot.iommu => row[6] == "0" && cpu == address,
                Ok(DmaMapping::Cpu(cpu)) => row[6] == "0" && CpuAddr(hex(row[5])) == cpu,
                Err(error) => row[3] == errno(error.errno()),
            };
            let same = same && (row[3] == "0") == found.is_ok() && CpuAddr(hex(row[4])) == address;
            all.mappings.count(same, || format!("{}: {row:?} gave {found:?}", self.boot.folder.display()));
        }
    }

    /// The page at `at` as the DMA layer maps it: by IOVA where that was so.
    fn address(&mut self, client: FunctionIndex, at: CpuAddr, row: &[&str], figures: &mut Figures) {
        let provider = self.p2pdma.provider_of(at).unwrap();
        let (p2pdma, tree, config) = (&mut self.p2pdma, &self.machine.tree, &self.machine);
        let found = map_once(&mut self.dma, client, provider, at, &mut Peers { p2pdma, tree, config });
        let recorded = (row[3].parse().unwrap(), row[5], row[6]);
        let translates = [self.has_iommu, self.dma.is_translated(client)];
        figures.compare(found, recorded, translates, || format!("{}: {row:?}", self.boot.folder.display()));
    }

    /// The recorded picks of 64 tries are among the nearest; of few candidates all are picked.
    fn searches(&mut self, tag: &str, all: &mut Tallies) {
        let table = self.boot.file("find.tsv");
        for row in rows(&table).filter(|row| row[0] == tag) {
            let clients: Vec<Client> =
                row[1].split(',').map(|id| Client::Function(find(&self.machine, id))).collect();
            let nearest = self.p2pdma.nearest(&self.machine.tree, &self.machine, &clients);
            let nearest: BTreeSet<String> =
                nearest.iter().map(|function| self.machine.tree[*function].id.to_string()).collect();
            let picked: BTreeSet<String> =
                row[2].split(',').filter(|id| *id != "none").map(String::from).collect();
            // Each of k is missed with probability (1 − 1/k)^64: 1 in 5,000 of 8.
            let (is_subset, missing) = (picked.is_subset(&nearest), nearest.difference(&picked).count());
            let same = is_subset && (missing == 0 || nearest.len() >= 8 && missing == 1);
            all.missed += missing;
            all.searches
                .count(same, || format!("{}: {row:?}, nearest {nearest:?}", self.boot.folder.display()));
            self.p2pdma.take_log();
        }
    }

    /// 7.x: initialisations, providers of BARs, and their types.
    fn providers(&mut self, tag: &str, tally: &mut Tally) {
        let kinds = ["PROVINIT", "PROV", "PROVTYPE"].map(|kind| format!("{kind} {tag} "));
        while let Some(line) = kinds.iter().find_map(|kind| self.next(kind)) {
            let same = self.provider_line(line);
            tally.count(same, || format!("{}: {line}", self.boot.folder.display()));
        }
    }

    fn provider_line(&mut self, line: &str) -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        let function = find(&self.machine, words[2]);
        let (tree, p2pdma) = (&self.machine.tree, &mut self.p2pdma);
        if words[0] == "PROVINIT" {
            let code = p2pdma.init(tree, function).err().map_or("0", |error| errno(error.errno()));
            // Other BARs than the listed ones are no providers.
            let mut bars = (0..6).filter_map(|bar| Some((bar, p2pdma.bar_provider(tree, function, bar)?)));
            let listed =
                self.log.iter().filter(|next| next.starts_with(&format!("PROV {} {} ", words[1], words[2])));
            return code == word(line, "rc")
                && listed.map(|line| field(line, "bar")).eq(bars.by_ref().map(|(bar, _)| bar as u64));
        }
        if words[0] == "PROV" {
            let bar = usize::try_from(field(line, "bar")).unwrap();
            let provider = p2pdma.bar_provider(tree, function, bar).unwrap();
            let provider = *p2pdma.provider(provider).unwrap();
            let start = tree.resource(ResourceRef { function, number: bar }).range().unwrap().first();
            return start == CpuAddr(field(line, "start"))
                && provider.function.to_string() == word(line, "owner")
                && provider.bus_offset == field(line, "bus_offset");
        }
        let client = Client::Function(find(&self.machine, words[3]));
        let provider = (0..6).find_map(|bar| p2pdma.bar_provider(tree, function, bar)).unwrap();
        p2pdma.map_type(tree, &self.machine, provider, client).to_string() == word(line, "type")
    }

    /// The bus offset of a host bridge's window is moved.
    fn move_window(&mut self) {
        let line = self.next("WINOFF ").unwrap();
        let host = line.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
        let (start, offset) = (field(line, "start"), field(line, "offset"));
        let windows = self.machine.tree.host_bridges[host].windows.iter_mut();
        let window = windows.into_iter().find(|window| window.cpu.first().0 == start).unwrap();
        window.bus = BusAddr(start.wrapping_sub(offset));
    }

    fn set_acs_words(&mut self, tag: &str) {
        let boot = self.boot;
        for (id, _, control) in boot.acs_words(tag) {
            let function = find(&self.machine, id);
            self.machine.set_acs(function, u16::try_from(control).unwrap());
        }
    }

    /// `setpci -s BDF ECAP_ACS+6.w=VALUE`.
    fn write_acs(&mut self, function: &str, value: &str) {
        let (id, boot) = (format!("0000:{function}"), self.boot);
        let (_, capability, _) = boot.acs_words("boot").find(|words| words.0 == id).unwrap();
        let function = find(&self.machine, &id);
        self.machine.set_acs(function, u16::try_from(hex(value) & capability).unwrap());
    }

    /// Obeys one command; false for one that is not known.
    fn obey(&mut self, command: &str, all: &mut Tallies) -> bool {
        let fields: Vec<&str> = command.split(' ').collect();
        match fields[..] {
            ["o", "reg", _] => self.registrations(usize::MAX, &mut all.registrations),
            ["o", "regbar", ..] => self.registrations(1, &mut all.registrations),
            ["o", "dist", tag] => self.distances(tag, all),
            ["o", "map", tag] => self.mappings(tag, all),
            ["o", "find", tag] => self.searches(tag, all),
            ["o", "prov", tag] => self.providers(tag, &mut all.providers),
            ["o", "acs", tag] => self.set_acs_words(tag),
            ["o", "winoff", ..] => self.move_window(),
            ["o", "spoof", id, vendor, device] => {
                let function = find(&self.machine, &format!("0000:{id}"));
                set_ids(&mut self.machine, function, &format!("{vendor}:{device}"));
                assert!(self.next("SPOOF ").is_some());
            }
            ["setpci", "-s", function, write] if write.starts_with("ECAP_ACS+6.w=") => {
                self.write_acs(function, write.split_once('=').unwrap().1);
            }
            // Allocator sequences and device-private memory are looked at elsewhere.
            ["o", "alloc" | "gfr" | "gfrfree" | "gfrfill" | "gfrclear" | "devpriv", ..] => {}
            _ => return command.is_empty() || command.starts_with("W=$(dmesg"),
        }
        true
    }
}

fn warning(message: Message, from: &str, to: &str) -> Warning {
    match message {
        Message::Pair { provider, client, warning } => {
            assert_eq!((provider.to_string(), client.to_string()), (from.into(), to.into()));
            warning
        }
        other => panic!("{other:?}"),
    }
}

/// Obeys the commands; of those written as loops and functions of a shell, what each phase recorded: distances, then
/// mappings.
fn replay(boot: &Boot, all: &mut Tallies) {
    let oracle = boot.file("oracle.txt");
    if !oracle.contains("\nREG ") && boot.distances.is_empty() {
        return;
    }
    let mut replay = Replay::new(boot, &oracle);
    for command in boot.commands.lines() {
        if replay.obey(command, all) {
            continue;
        }
        let mut tags: Vec<&str> = rows(&boot.distances).map(|row| row[0]).collect();
        tags.dedup();
        for tag in tags {
            match boot.phase(tag) {
                Some(machine) => replay.machine = machine,
                None => {
                    let rows = rows(&boot.distances).filter(|row| row[0] == tag).count();
                    *all.left_out
                        .entry(format!("{:?}: {command}", boot.folder.file_name().unwrap()))
                        .or_default() += rows;
                    continue;
                }
            }
            replay.distances(tag, all);
            replay.mappings(tag, all);
        }
        return;
    }
}

#[test]
fn recorded_boots_are_answered_alike_in_their_order() {
    let boots = all_boots();
    if boots.is_empty() {
        println!("skipped: the recordings are absent");
        return;
    }
    let mut all = Tallies::default();
    boots.iter().for_each(|boot| replay(boot, &mut all));
    for (reason, rows) in &all.left_out {
        println!("{rows} distances left out, the state of the machine is not written down: {reason}");
    }
    println!("registrations: {}", all.registrations.agreed());
    println!("distances, sums and warnings: {}", all.distances.agreed());
    println!("cached types: {}", all.cached.agreed());
    println!("mappings by cached types: {}", all.mappings.agreed());
    println!("addresses: {}", all.addresses.agreed());
    println!("searches: {}; {} candidates not picked in 64 tries", all.searches.agreed(), all.missed);
    println!("lines about 7.x providers: {}", all.providers.agreed());
}
