//! One process, its devices and a buffer: what the kernel's own tests start with.

use peerbus_os::Rules;
use peerbus_os::mm::rules::HugePolicy;
use peerbus_os::mm::{DeviceId, Errno, FileId, Mapping, Mm, SpaceId, Vpn};
use peerbus_os::notifier::MirrorId;
use peerbus_os::test_device::{self, Answer};

use super::platform::{kind, machine, with_huge};

/// Where buffers start: 2 MiB aligned.
pub const BASE: Vpn = 512 * 4000;

/// Pages of the usual buffer: 4 MiB.
pub const PAGES: u64 = 1024;

/// What a test says: nothing, or what did not hold.
pub type Outcome = Result<(), String>;

/// The fixture.
pub struct Bench {
    pub mm: Mm,
    pub space: SpaceId,
    pub first: MirrorId,
    pub second: MirrorId,
}

/// Fails with `text` unless `holds`.
pub fn ensure(holds: bool, text: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(text.into()) }
}

/// Fails unless the two are equal.
pub fn equal<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Outcome {
    if got == expected { Ok(()) } else { Err(format!("{what}: {got:?}, expected {expected:?}")) }
}

impl Bench {
    pub fn new(rules: Rules, coherent: bool) -> Bench {
        let mut mm = machine(with_huge(rules, HugePolicy::Advised), 1 << 20);
        let space = mm.create_space();
        let mut open = |number| {
            test_device::add(&mut mm, DeviceId(number), kind(DeviceId(number), coherent));
            test_device::open(&mut mm, space, DeviceId(number)).expect("the device was added")
        };
        let (first, second) = (open(0), open(1));
        Bench { mm, space, first, second }
    }

    /// Anonymous memory of `pages` pages at the buffer's place.
    pub fn anonymous(&mut self, pages: u64) {
        let what = Mapping::anonymous(true, true);
        self.mm.map(self.space, BASE, BASE + pages, what).expect("memory can be mapped");
    }

    /// The same, wanting huge pages.
    pub fn huge(&mut self, pages: u64) {
        self.anonymous(pages);
        let advice = peerbus_os::mm::vma::Advice::Huge;
        self.mm.advise_huge(self.space, BASE, BASE + pages, advice).expect("advice is taken");
    }

    /// Every page gets its number plus `first`.
    pub fn fill(&mut self, from: u64, to: u64, first: u64) -> Outcome {
        for page in from..to {
            let result = self.mm.write(self.space, BASE + page, first + page);
            ensure(result.is_ok(), format!("CPU write of page {page}: {result:?}"))?;
        }
        Ok(())
    }

    /// What a process reads there.
    pub fn cpu(&mut self, space: SpaceId, from: u64, to: u64) -> Result<Vec<u64>, String> {
        (from..to)
            .map(|page| {
                self.mm
                    .read(space, BASE + page)
                    .map_err(|error| format!("CPU read of page {page}: {error:?}"))
            })
            .collect()
    }

    /// Fails unless the process reads page numbers plus `first`.
    pub fn cpu_counts(&mut self, space: SpaceId, from: u64, to: u64, first: u64) -> Outcome {
        let got = self.cpu(space, from, to)?;
        equal("CPU data", got, (from + first..to + first).collect())
    }

    pub fn protect(&mut self, from: u64, to: u64, read: bool, write: bool) -> Outcome {
        let result = self.mm.protect(self.space, BASE + from, BASE + to, read, write);
        equal("mprotect", result, Ok(()))
    }

    pub fn read(&mut self, mirror: MirrorId, from: u64, to: u64) -> Result<Answer, Errno> {
        test_device::read(&mut self.mm, mirror, BASE + from, BASE + to)
    }

    pub fn write(&mut self, mirror: MirrorId, from: u64, to: u64, first: u64) -> Result<Answer, Errno> {
        test_device::write(&mut self.mm, mirror, BASE + from, BASE + to, first + from)
    }

    pub fn move_to_device(&mut self, mirror: MirrorId, from: u64, to: u64) -> Result<Answer, Errno> {
        test_device::to_device(&mut self.mm, mirror, BASE + from, BASE + to)
    }

    pub fn move_to_system(&mut self, mirror: MirrorId, from: u64, to: u64) -> Result<Answer, Errno> {
        test_device::to_system(&mut self.mm, mirror, BASE + from, BASE + to)
    }

    pub fn exclusive(&mut self, from: u64, to: u64) -> Result<Answer, Errno> {
        test_device::make_exclusive(&mut self.mm, self.first, BASE + from, BASE + to)
    }

    pub fn snapshot(&mut self, from: u64, to: u64) -> Result<Vec<u8>, Errno> {
        test_device::snapshot(&mut self.mm, self.first, BASE + from, BASE + to)
    }

    /// A file of the buffer's size with page numbers as contents.
    pub fn file(&mut self, pages: u64) -> FileId {
        let file = self.mm.files.create(pages);
        for index in 0..pages {
            self.mm.files.write(&mut self.mm.frames, file, index, index).expect("memory");
        }
        file
    }

    /// Moves the whole of `0..pages` to the first device and checks that it reads page numbers.
    pub fn migrate_counted(&mut self, pages: u64) -> Outcome {
        let answer = self.move_to_device(self.first, 0, pages);
        check_answer("migrate", &answer, pages, 0)?;
        equal("device data", answer.map(|answer| answer.data), Ok((0..pages).collect()))
    }
}

/// Fails unless a command succeeded with these counts.
pub fn check_answer(what: &str, answer: &Result<Answer, Errno>, pages: u64, faults: u64) -> Outcome {
    match answer {
        Ok(answer) => equal(what, (answer.pages, answer.faults), (pages, faults)),
        Err(error) => Err(format!("{what}: {error}")),
    }
}
