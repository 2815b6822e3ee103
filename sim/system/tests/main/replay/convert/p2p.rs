//! Peer-to-peer DMA as it was asked about on a booted machine: registrations with their errors, every pair's type and
//! distance, searches, and pages mapped and unmapped, in the order of the commands given, with what was changed between
//! them.

use std::collections::{BTreeMap, BTreeSet};

use super::machines::{Booting, Machines};
use super::shell::expand;
use super::{Boot, Converted, Writer, fields, number};

/// A recorded boot being asked again.
struct Questions<'a> {
    boot: &'a Boot,
    booting: Booting,
    writer: Writer,
    /// Lines of the recording's log that say what commands did, those behind what was obeyed so far.
    log: Vec<&'a str>,
    /// Rows by table and tag that no command asked for yet.
    rows: BTreeMap<(&'static str, String), Vec<Vec<String>>>,
    /// Searches that may have missed a provider.
    unlucky: usize,
}

/// Kinds of lines of the log that commands leave.
const LOGGED: [&str; 6] = ["REG ", "SPOOF ", "WINOFF ", "PROVINIT ", "PROV ", "PROVTYPE "];

fn errno(code: &str) -> &'static str {
    match code {
        "-6" => "ENXIO",
        "-12" => "ENOMEM",
        "-22" => "EINVAL",
        "-95" => "EOPNOTSUPP",
        "-121" => "EREMOTEIO",
        other => panic!("unknown error {other}"),
    }
}

/// Recordings write map types as replays do.
const TYPES: [&str; 3] = ["BUS_ADDR", "THRU_HOST_BRIDGE", "NOT_SUPPORTED"];

impl Boot {
    /// Everything asked about peer-to-peer DMA; `None` when that is nothing but the memory of an allocator sequence.
    pub(super) fn p2p(
        &self,
        machines: &mut Machines,
        left_out: &mut BTreeMap<String, usize>,
    ) -> Option<Converted> {
        let logged = |line: &&str| LOGGED.iter().any(|kind| line.starts_with(kind));
        let log: Vec<&str> = self.oracle.lines().filter(logged).collect();
        let rows = self.rows();
        if self.file("alloc.txt").is_some() || rows.is_empty() && log.is_empty() {
            return None;
        }
        let Some(booting) = machines.of(self) else {
            left_out.insert(format!("{}: its machine was not listed", self.source), log.len());
            return None;
        };
        let mut questions =
            Questions { boot: self, booting, writer: Writer::default(), log, rows, unlucky: 0 };
        questions.start();
        questions.all(left_out);
        let what = "Peer-to-peer DMA: registrations, all pairs, searches, pages mapped.";
        Some(questions.writer.finish(self, "p2p", what))
    }

    /// The rows of the three tables, by table and tag.
    fn rows(&self) -> BTreeMap<(&'static str, String), Vec<Vec<String>>> {
        let mut rows: BTreeMap<(&'static str, String), Vec<Vec<String>>> = BTreeMap::new();
        for table in ["distance.tsv", "dmamap.tsv", "find.tsv"] {
            let text = self.file(table).unwrap_or_default();
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                let row: Vec<String> = line.split('\t').map(str::to_owned).collect();
                rows.entry((table, row[0].clone())).or_default().push(row);
            }
        }
        rows
    }
}

impl Questions<'_> {
    /// Boots, and brings ACS words to where they were after booting, if the listing shows later ones.
    fn start(&mut self) {
        self.writer.call(&format!("Machine(file: {:?})", self.booting.path));
        let words = self.boot.file("acs.tsv").unwrap_or_default();
        for line in words.lines() {
            let row: Vec<&str> = line.split('\t').collect();
            let ["boot", function, _, _, control] = row[..] else { continue };
            let found = self.booting.booted.registers.at(function.parse().unwrap());
            let shown = found.and_then(|function| self.booting.booted.registers.acs_control(function));
            if shown.map(u64::from) != Some(number(control)) {
                self.set_acs(function, number(control));
            }
        }
        self.drivers();
    }

    fn set_acs(&mut self, function: &str, control: u64) {
        self.writer.call(&format!("SetAcs(function: {function:?}, control: {control:#x})"));
    }

    /// What drivers registered while booting is in the kernel's log.
    fn drivers(&mut self) {
        let log = self.boot.file("dmesg.txt").unwrap_or_default();
        for line in log.lines() {
            let Some((owner, range)) = line.split_once(": added peer-to-peer DMA memory ") else { continue };
            let (Some(function), Some((first, last))) = (owner.strip_prefix("nvme "), range.split_once('-'))
            else {
                continue;
            };
            let (first, last) = (number(first), number(last));
            let (bar, start) = self.bar(function, first);
            self.register(function, bar, last - first + 1, first - start);
            self.publish(function);
        }
    }

    /// The BAR of `function` that contains an address, and its first one.
    fn bar(&self, function: &str, address: u64) -> (u64, u64) {
        let table = self.boot.file("resources.tsv").unwrap_or_default();
        let rows = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let mut bars = rows.filter(|row| row[0] == function && ("0".."6").contains(&row[1]));
        let bar = bars.find(|row| (number(row[2])..=number(row[3])).contains(&address));
        let bar = bar.unwrap_or_else(|| panic!("{function} has no BAR with {address:#x}"));
        (number(bar[1]), number(bar[2]))
    }

    fn register(&mut self, function: &str, bar: u64, size: u64, offset: u64) {
        self.writer.call(&register(function, bar, size, offset));
    }

    fn publish(&mut self, function: &str) {
        self.writer.call(&format!("Publish(function: {function:?})"));
    }

    /// Obeys the commands. What is left in the tables, and in the log, was asked by commands that cannot be known.
    fn all(&mut self, left_out: &mut BTreeMap<String, usize>) {
        let commands = expand(&self.boot.phases);
        for command in &commands.known {
            let words: Vec<&str> = command.split(' ').collect();
            if let ["o", "prov", tag] = words[..] {
                let answers = self.skip_providers(tag);
                let reason = "providers of 7.x that register nothing, for which there are no calls";
                *left_out.entry(format!("{} {tag}: {reason}", self.boot.source)).or_default() += answers;
            } else if !self.obey(&words) {
                panic!("{}: what is `{command}`?", self.boot.source);
            }
        }
        let source = &self.boot.source;
        let unasked: usize = self.rows.values().map(Vec::len).sum::<usize>() + self.log.len();
        if unasked > 0 {
            let why = commands.unknown.as_deref();
            let why =
                why.unwrap_or_else(|| panic!("{source}: nobody asked for {:?} {:?}", self.rows, self.log));
            left_out
                .insert(format!("{source}: what is done depends on what a program prints: `{why}`"), unasked);
        }
        if self.unlucky > 0 {
            let why = "64 tries picked all but one of the providers that they picked for other clients";
            left_out.insert(format!("{source}: {why}"), self.unlucky);
        }
    }

    fn obey(&mut self, words: &[&str]) -> bool {
        match words {
            ["o", "reg", ..] => while self.registration() {},
            ["o", "regbar", ..] => assert!(self.registration()),
            ["o", "dist", tag] => self.pairs(tag),
            ["o", "map", tag] => self.mappings(tag),
            ["o", "find", tag] => self.searches(tag),
            ["o", "spoof", ..] => self.ids(),
            ["o", "winoff", ..] => self.window(),
            ["setpci", "-s", function, write] if write.starts_with("ECAP_ACS+6.w=") => {
                let value = u64::from_str_radix(&write["ECAP_ACS+6.w=".len()..], 16).unwrap();
                self.set_acs(&format!("0000:{function}"), value);
            }
            // These read, or are about something else.
            ["o", "acs" | "gfr" | "gfrfree" | "gfrfill" | "gfrclear" | "devpriv", ..] => {}
            _ => return false,
        }
        true
    }

    /// The next line of the log if it is of this kind.
    fn next(&mut self, kind: &str) -> Option<&str> {
        self.log.first()?.starts_with(kind).then(|| self.log.remove(0))
    }

    /// One registration; false when none follows.
    fn registration(&mut self) -> bool {
        let Some(line) = self.next("REG ").map(str::to_owned) else { return false };
        let given = fields(&line);
        let function = line.split(' ').nth(1).unwrap();
        let call = register(function, number(given["bar"]), number(given["size"]), number(given["off"]));
        match given["rc"] {
            "0" => {
                self.writer.call(&call);
                self.publish(function);
            }
            code => self.writer.answered(&call, &format!("error: {:?}", errno(code))),
        }
        true
    }

    fn take(&mut self, table: &'static str, tag: &str, what: &str) -> Vec<Vec<String>> {
        let rows = self.rows.remove(&(table, tag.to_owned())).unwrap_or_default();
        self.writer.note(&format!("{tag}: {what}"));
        rows
    }

    /// Type and distance, and the sum of distances to the one client.
    fn pairs(&mut self, tag: &str) {
        for row in self.take("distance.tsv", tag, "every pair") {
            let [provider, client, map_type, distance, sum] = &row[1..6] else { panic!("{row:?}") };
            assert!(TYPES.contains(&map_type.as_str()), "{row:?}");
            let call = format!("Resolve(provider: {provider:?}, client: {client:?})");
            self.writer.answered(&call, &format!("map_type: {map_type:?}, distance: {distance}"));
            let call = format!("Distance(provider: {provider:?}, clients: [{client:?}])");
            self.writer.answered(&call, &format!("distance: {sum}"));
        }
    }

    /// A page each. An address that is neither a bus address nor the CPU's is an IOVA.
    fn mappings(&mut self, tag: &str) {
        for row in self.take("dmamap.tsv", tag, "a page for every pair") {
            let [provider, client, code, cpu, dma, bus] = &row[1..7] else { panic!("{row:?}") };
            let (bar, start) = self.bar(provider, number(cpu));
            let offset = match number(cpu) - start {
                0 => String::new(),
                offset => format!(", offset: {offset:#x}"),
            };
            let call = format!("Map(provider: {provider:?}, client: {client:?}, bar: {bar}{offset})");
            let result = match (code.as_str(), bus.as_str()) {
                ("0", "1") => format!("dma_addr: {dma}, dma_kind: \"BUS\""),
                ("0", _) if dma == cpu => format!("dma_addr: {dma}, dma_kind: \"CPU\""),
                ("0", _) => format!("dma_addr: {dma}, dma_kind: \"IOVA\""),
                (code, _) => format!("error: {:?}", errno(code)),
            };
            self.writer.answered(&call, &result);
        }
    }

    /// Those picked in 64 tries. Of many, one may have been missed.
    fn searches(&mut self, tag: &str) {
        let rows = self.take("find.tsv", tag, "searches");
        let picks =
            |row: &Vec<String>| -> BTreeSet<String> { row[2].split(',').map(str::to_owned).collect() };
        let all: Vec<BTreeSet<String>> = rows.iter().map(picks).collect();
        for (row, picked) in rows.into_iter().zip(&all) {
            let missed_one =
                |other: &BTreeSet<String>| other.len() == picked.len() + 1 && other.is_superset(picked);
            if picked.len() >= MANY && all.iter().any(missed_one) {
                self.unlucky += 1;
                continue;
            }
            let list = |ids: &mut dyn Iterator<Item = &str>| {
                ids.map(|id| format!("{id:?}")).collect::<Vec<_>>().join(", ")
            };
            let call = format!("Find(clients: [{}])", list(&mut row[1].split(',')));
            let result = match row[2].as_str() {
                "none" => "error: \"ENODEV\"".to_owned(),
                _ => format!("providers: [{}]", list(&mut picked.iter().map(String::as_str))),
            };
            self.writer.answered(&call, &result);
        }
    }

    /// Ids overwritten in the kernel's memory.
    fn ids(&mut self) {
        let line = self.next("SPOOF ").unwrap().to_owned();
        let words: Vec<&str> = line.split(' ').collect();
        let (vendor, device) = words[4].split_once(':').unwrap();
        self.writer
            .call(&format!("SetIds(function: {:?}, vendor: 0x{vendor}, device: 0x{device})", words[1]));
    }

    /// A window's offset overwritten in the kernel's memory.
    fn window(&mut self) {
        let line = self.next("WINOFF ").unwrap().to_owned();
        let given = fields(&line);
        let (cpu, offset) = (number(given["start"]), number(given["offset"]));
        self.writer.call(&format!("SetWindow(cpu: {cpu:#x}, bus: {:#x})", cpu.wrapping_sub(offset)));
    }

    /// Passes over what `o prov TAG` left in the log; how many lines there were.
    fn skip_providers(&mut self, tag: &str) -> usize {
        let kinds = ["PROVINIT", "PROV", "PROVTYPE"].map(|kind| format!("{kind} {tag} "));
        let mut lines = 0;
        while kinds.iter().any(|kind| self.next(kind).is_some()) {
            lines += 1;
        }
        lines
    }
}

/// From this many on, 64 tries miss one of them in more than one search of a thousand.
const MANY: usize = 8;

fn register(function: &str, bar: u64, size: u64, offset: u64) -> String {
    let mut call = format!("Register(function: {function:?}, bar: {bar}");
    for (name, bytes) in [("size", size), ("offset", offset)] {
        if bytes != 0 {
            call.push_str(&format!(", {name}: {bytes:#x}"));
        }
    }
    call + ")"
}
