//! The machine of the recordings: two processes, two devices, one file, and the operations on them.

use std::collections::BTreeMap;

use peerbus_os::Rules;
use peerbus_os::mm::rules::HugePolicy;
use peerbus_os::mm::vma::Advice;
use peerbus_os::mm::{CpuError, DeviceId, Errno, FileId, Mapping, Mm, Move, PageState, SpaceId, Vpn};
use peerbus_os::notifier::MirrorId;
use peerbus_os::test_device::{self, Kind};

use super::checker::Checker;
use super::line::{Operation, Recording, runs};
use super::platform::{self, with_huge};

/// Where the range starts: 2 MiB aligned.
pub const BASE: Vpn = 512 * 1000;

/// Pages of memory: more than any recording needs.
const MEMORY: u64 = 1 << 20;

/// The machine.
pub struct Machine {
    pub mm: Mm,
    file: FileId,
    pages: u64,
    one_exclusive_type: bool,
    spaces: [Option<SpaceId>; 2],
    mirrors: BTreeMap<(usize, u32), MirrorId>,
    checker: Checker,
}

/// What an operation answered, in the form of the recordings.
pub type Results = BTreeMap<String, Vec<String>>;

impl Machine {
    pub fn new(recording: &Recording, rules: Rules) -> Machine {
        let huge_policy = if recording.huge == "always" { HugePolicy::Always } else { HugePolicy::Never };
        let mut mm = platform::machine(with_huge(rules, huge_policy), MEMORY);
        let file = mm.files.create(recording.file_pages);
        for index in 0..recording.written {
            mm.files.write(&mut mm.frames, file, index, recording.first + index).expect("memory");
        }
        let first = mm.create_space();
        let mut machine = Machine {
            mm,
            file,
            pages: recording.pages,
            one_exclusive_type: recording.kernel.starts_with('7'),
            spaces: [Some(first), None],
            mirrors: BTreeMap::new(),
            checker: Checker::new(recording),
        };
        for device in 0..2 {
            test_device::add(&mut machine.mm, DeviceId(device), Kind::Private);
            machine.open(0, device);
        }
        machine
    }

    fn open(&mut self, process: usize, device: u32) -> (MirrorId, bool) {
        if let Some(mirror) = self.mirrors.get(&(process, device)) {
            return (*mirror, false);
        }
        let space = self.spaces[process].expect("a process that acts exists");
        let mirror = test_device::open(&mut self.mm, space, DeviceId(device)).expect("the device exists");
        self.mirrors.insert((process, device), mirror);
        (mirror, true)
    }

    /// Does one operation.
    pub fn apply(&mut self, operation: &Operation) -> Results {
        let mut results = Results::new();
        let ret = match self.run(operation, &mut results) {
            Ok(()) => 0,
            Err(error) => {
                results.retain(|key, _| key == "opened");
                -error.number()
            }
        };
        results.insert("ret".to_owned(), vec![ret.to_string()]);
        if let Some(check) = self.checker.follow(&self.mm, &self.spaces, operation, &results) {
            results.insert("check".to_owned(), vec![check]);
        }
        results
    }

    fn run(&mut self, operation: &Operation, results: &mut Results) -> Result<(), Errno> {
        let process = operation.process;
        let pages = operation.number_of("n");
        let from = BASE + operation.number_of("pg");
        let to = from + pages;
        let device = operation.arguments.get("dev").map(|text| text.parse::<u32>().expect("a device"));
        match operation.name.as_str() {
            "FORK" => {
                let parent = self.spaces[process].expect("the parent exists");
                self.spaces[1] = Some(self.mm.fork(parent)?);
                Ok(())
            }
            "EXIT" => {
                self.exit(process);
                Ok(())
            }
            "CLOSE" => {
                let device = device.expect("a device");
                let mirror = self.mirrors.remove(&(process, device)).ok_or(Errno::BadFile)?;
                test_device::close(&mut self.mm, mirror)
            }
            "FREAD" => {
                let index = operation.number_of("pg");
                let read = |index| self.mm.files.read(&self.mm.frames, self.file, index);
                let data =
                    (index..index + pages).map(|index| read(index).map_or("EOF".into(), |v| v.to_string()));
                results.insert("data".to_owned(), data.collect());
                Ok(())
            }
            "FWRITE" => {
                let (index, value) = (operation.number_of("pg"), operation.number_of("val"));
                (0..pages).try_for_each(|one| {
                    self.mm.files.write(&mut self.mm.frames, self.file, index + one, value + one)
                })
            }
            _ if device.is_some() => self.device(operation, results, from, to),
            _ => self.memory(operation, results, from, to),
        }
    }

    fn exit(&mut self, process: usize) {
        let space = self.spaces[process].take().expect("the process exists");
        self.mm.exit(space).expect("nobody holds its lock");
        let open: Vec<(usize, u32)> = self.mirrors.keys().copied().filter(|key| key.0 == process).collect();
        for key in open {
            let mirror = self.mirrors.remove(&key).expect("listed above");
            test_device::close(&mut self.mm, mirror).expect("it was open");
        }
    }

    fn memory(
        &mut self,
        operation: &Operation,
        results: &mut Results,
        from: Vpn,
        to: Vpn,
    ) -> Result<(), Errno> {
        let space = self.spaces[operation.process].expect("the process exists");
        let prot = operation.text_of("prot");
        let (read, write) = (prot.contains('r'), prot.contains('w'));
        match operation.name.as_str() {
            "MMAP" => self.map(operation, results, (space, from, to), (read, write)),
            "MUNMAP" => self.mm.unmap(space, from, to),
            "MPROT" => self.mm.protect(space, from, to, read, write),
            "DONTNEED" => self.mm.drop_pages(space, from, to),
            "FREE" => self.mm.may_lose(space, from, to),
            "MREMAP" => {
                let keep = operation.number_of("keep") == 1;
                let to_page = BASE + operation.number_of("to");
                self.mm.remap(space, Move { from, pages: to - from, to: to_page, keep })
            }
            "CREAD" => {
                let data = (from..to).map(|page| match self.mm.read(space, page) {
                    Ok(value) => value.to_string(),
                    Err(error) => signal(error),
                });
                results.insert("data".to_owned(), data.collect());
                Ok(())
            }
            "CWRITE" => {
                let value = operation.number_of("val");
                let done = (from..to).map(|page| match self.mm.write(space, page, value + page - from) {
                    Ok(()) => "ok".to_owned(),
                    Err(error) => signal(error),
                });
                results.insert("done".to_owned(), done.collect());
                Ok(())
            }
            other => panic!("unknown operation {other}"),
        }
    }

    fn map(
        &mut self,
        operation: &Operation,
        results: &mut Results,
        (space, from, to): (SpaceId, Vpn, Vpn),
        (read, write): (bool, bool),
    ) -> Result<(), Errno> {
        let offset = operation.number_of("pg");
        let what = match operation.text_of("kind") {
            "ap" => Mapping::anonymous(read, write),
            "as" => {
                let shared = self.mm.files.create(to - from);
                Mapping::file(shared, 0, true, read, write)
            }
            kind => Mapping::file(self.file, offset, kind == "fs", read, write),
        };
        self.mm.map(space, from, to, what)?;
        let advice = match operation.number_of("thp") {
            0 => return Ok(()),
            1 => Advice::Huge,
            _ => Advice::NoHuge,
        };
        let result = self.mm.advise_huge(space, from, to, advice);
        let number = result.map_or_else(|error| -error.number(), |()| 0);
        results.insert("advice".to_owned(), vec![number.to_string()]);
        Ok(())
    }

    fn device(
        &mut self,
        operation: &Operation,
        results: &mut Results,
        from: Vpn,
        to: Vpn,
    ) -> Result<(), Errno> {
        let device = u32::try_from(operation.number_of("dev")).expect("a device");
        let (mirror, opened) = self.open(operation.process, device);
        if opened {
            results.insert("opened".to_owned(), vec![]);
        }
        let mm = &mut self.mm;
        let value = operation.number_of("val");
        let answer = match operation.name.as_str() {
            "DREAD" => test_device::read(mm, mirror, from, to),
            "DWRITE" => test_device::write(mm, mirror, from, to, value),
            "TODEV" => test_device::to_device(mm, mirror, from, to),
            "TOSYS" => test_device::to_system(mm, mirror, from, to),
            "EXCL" => test_device::make_exclusive(mm, mirror, from, to),
            "CHKEX" => return test_device::check_exclusive(mm, mirror, from, to),
            "RELEASE" => {
                test_device::evict(mm, DeviceId(device));
                return Ok(());
            }
            "SNAP" => {
                let list = test_device::snapshot(mm, mirror, from, to)?;
                results.insert("cpages".to_owned(), vec![list.len().to_string()]);
                results.insert("codes".to_owned(), list.iter().map(|code| format!("{code:02x}")).collect());
                return Ok(());
            }
            other => panic!("unknown operation {other}"),
        }?;
        results.insert("cpages".to_owned(), vec![answer.pages.to_string()]);
        if matches!(operation.name.as_str(), "DREAD" | "DWRITE") {
            results.insert("faults".to_owned(), vec![answer.faults.to_string()]);
        }
        if !answer.data.is_empty() {
            results.insert("data".to_owned(), answer.data.iter().map(u64::to_string).collect());
        }
        Ok(())
    }

    /// All state lines as they would be now.
    pub fn state(&mut self) -> BTreeMap<String, String> {
        let mut state = BTreeMap::new();
        for process in 0..2 {
            let Some(space) = self.spaces[process] else { continue };
            state.insert(format!("m{process}"), self.mappings(space));
            for device in 0..2 {
                state.insert(format!("s{process}.{device}"), self.snapshot(process, device));
            }
            let pages: Vec<String> =
                (0..self.pages).map(|page| self.letter(self.mm.page_state(space, BASE + page))).collect();
            state.insert(format!("g{process}"), runs(&pages));
        }
        state
    }

    fn mappings(&self, space: SpaceId) -> String {
        let list: Vec<String> = self.mm.spaces[&space]
            .vmas
            .iter()
            .map(|vma| {
                let prot = match (vma.read, vma.write) {
                    (true, true) => "rw",
                    (true, false) => "r",
                    _ => "-",
                };
                let kind = if vma.shared { 's' } else { 'p' };
                format!("{}-{}:{prot}{kind}", vma.start - BASE, vma.end - BASE)
            })
            .collect();
        list.join(" ")
    }

    fn snapshot(&mut self, process: usize, device: u32) -> String {
        let Some(mirror) = self.mirrors.get(&(process, device)) else { return "closed".to_owned() };
        match test_device::snapshot(&mut self.mm, *mirror, BASE, BASE + self.pages) {
            Ok(list) => runs(&list.iter().map(|code| format!("{code:02x}")).collect::<Vec<_>>()),
            Err(error) => error.to_string(),
        }
    }

    fn letter(&self, state: PageState) -> String {
        let text = match state {
            PageState::None => "-",
            PageState::Anonymous { once: true } => "ax",
            PageState::Anonymous { once: false } => "a",
            PageState::File { once: true } => "fx",
            PageState::File { once: false } => "f",
            PageState::Private { write: true } => "dw",
            PageState::Private { write: false } => "dr",
            PageState::Exclusive { .. } if self.one_exclusive_type => "e",
            PageState::Exclusive { write: true } => "ew",
            PageState::Exclusive { write: false } => "er",
            PageState::Migration => "migration",
            PageState::Marker => "marker",
        };
        text.to_owned()
    }
}

fn signal(error: CpuError) -> String {
    match error {
        CpuError::Segv => "SEGV".to_owned(),
        CpuError::Bus => "BUS".to_owned(),
        CpuError::NoMemory => "OOM".to_owned(),
        CpuError::Wait(wait) => format!("{wait:?}"),
    }
}
