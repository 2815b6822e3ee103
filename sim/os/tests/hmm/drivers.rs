//! Drivers of GPUs: what each moves on a fault, brings home for a CPU, and evicts.

use peerbus_os::drivers::{
    ATOMIC_TRIES, DeviceAccess, DeviceFault, Driver, DriverKind, HomeComing, Piece, Policy, Served, Work,
};
use peerbus_os::mm::rules::HugePolicy;
use peerbus_os::mm::{CpuError, DeviceId, Errno, Mapping, Mm, Pin, SpaceId, Vpn, Wait};
use peerbus_os::pagemap::Owner;
use peerbus_os::test_device::Kind;
use peerbus_units::{Bytes, Picos};

use super::platform::{kernels, machine, name, with_huge};

const BASE: Vpn = 512 * 700;
const KINDS: [DriverKind; 4] = [DriverKind::Nouveau, DriverKind::Amdkfd, DriverKind::Xe, DriverKind::Uvmem];
const READ: DeviceAccess = DeviceAccess { write: false, migrates: true, atomic: false };
const ATOMIC: DeviceAccess = DeviceAccess { write: true, migrates: true, atomic: true };
/// A long-term pin for writing.
const PIN: Pin = Pin { write: true, pinned: true, long_term: true, split: false };

/// Pages of a driver's blocks in a mapping that holds the largest.
fn block_of(kind: DriverKind, rules: &peerbus_os::Rules) -> u64 {
    match kind {
        DriverKind::Nouveau if !rules.mm.huge_migration => 128,
        DriverKind::Uvmem => 1,
        _ => 512,
    }
}

struct Machine {
    mm: Mm,
    space: SpaceId,
    driver: Driver,
}

impl Machine {
    /// A process with `blocks` mappings of 2 MiB that a CPU filled, and a device with `memory` MiB.
    fn new(rules: peerbus_os::Rules, kind: DriverKind, blocks: u64, memory: u64) -> Machine {
        let mut mm = machine(rules, 1 << 16);
        mm.defer_driver_work(true);
        let space = mm.create_space();
        mm.map(space, BASE, BASE + 512 * blocks, Mapping::anonymous(true, true)).unwrap();
        for page in BASE..BASE + 512 * blocks {
            mm.write(space, page, page).unwrap();
        }
        let policy = Policy::of(kind, &rules);
        let mut driver =
            Driver::load(&mut mm, DeviceId(0), policy, (Bytes::mib(memory), Kind::Private), Owner(0))
                .expect("there is room");
        driver.follow(&mut mm, space).unwrap();
        Machine { mm, space, driver }
    }

    /// A device's read fault, to its end: what came of it, and everything that was copied.
    fn fault(&mut self, page: Vpn) -> (Served, Vec<Piece>) {
        self.faults(page, READ)
    }

    /// The same for any access.
    fn faults(&mut self, page: Vpn, access: DeviceAccess) -> (Served, Vec<Piece>) {
        let mut fault = DeviceFault::new(&self.mm, &self.driver, self.space, page, access).unwrap();
        let mut copied = Vec::new();
        loop {
            match fault.go_on(&mut self.mm, &mut self.driver) {
                Work::Done(served) => return (served, copied),
                Work::Copy(pieces) => copied.extend(pieces),
                Work::Kernel(..) => {}
                Work::Wait(wait) => panic!("nobody else is there, but the fault waits for {wait:?}"),
            }
        }
    }

    /// A CPU's read; pages that came home for it.
    fn read(&mut self, page: Vpn) -> u64 {
        let mut home = 0;
        loop {
            match self.mm.read(self.space, page) {
                Ok(value) => {
                    assert_eq!(value, page, "every page keeps what was written");
                    return home;
                }
                Err(CpuError::Wait(Wait::Driver)) => home += self.bring_home(),
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    fn bring_home(&mut self) -> u64 {
        let mut coming = HomeComing::of_last_fault(&self.mm).expect("the fault was met just now");
        loop {
            if let Work::Done(pages) = coming.go_on(&mut self.mm) {
                return pages;
            }
        }
    }

    fn on_device(&self, page: Vpn) -> bool {
        let mirror = self.driver.mirror(self.space).and_then(|mirror| self.mm.mirrors.get(mirror));
        let entry = mirror.and_then(|mirror| mirror.table.get(&page));
        entry.is_some_and(|entry| self.mm.offset_in_device(entry.pfn).is_some())
    }
}

fn pages(pieces: &[Piece]) -> u64 {
    pieces.iter().map(|piece| piece.pages).sum()
}

/// A fault moves the driver's block around the page, and a CPU's touch brings home what the driver brings.
#[test]
fn blocks_move_and_come_home_as_drivers_do_it() {
    for rules in kernels() {
        for huge in [HugePolicy::Always, HugePolicy::Never] {
            let rules = with_huge(rules, huge);
            let whole = rules.mm.huge_migration && huge == HugePolicy::Always;
            for kind in KINDS {
                let what = format!("{kind:?}, {}, {huge:?}", name(&rules));
                let mut machine = Machine::new(rules, kind, 2, 8);
                let (served, copied) = machine.fault(BASE + 512 + 5);
                let block = block_of(kind, &rules);
                assert_eq!((served.moved, pages(&copied)), (block, block), "{what}: {served:?}");
                // Only drivers that ask for huge folios get them.
                let single = !(whole && [DriverKind::Nouveau, DriverKind::Xe].contains(&kind));
                assert_eq!(copied.len(), if single { usize::try_from(block).unwrap() } else { 1 }, "{what}");
                assert!(machine.on_device(BASE + 512 + 5) && !machine.on_device(BASE), "{what}");
                let home = machine.read(BASE + 512 + 5);
                let alone = kind == DriverKind::Uvmem || kind == DriverKind::Nouveau && single;
                let expected = if alone { 1 } else { 512 };
                assert_eq!(home, expected, "{what}");
                assert!(!machine.on_device(BASE + 512 + 5), "{what}: the device has to ask again");
            }
        }
    }
}

/// A page that is pinned stays. Around it amdkfd and nouveau move the rest, where pages are single; xe leaves the block whole.
#[test]
fn a_pinned_page_stays_and_with_it_what_the_driver_leaves() {
    for rules in kernels() {
        let rules = with_huge(rules, HugePolicy::Never);
        for kind in KINDS {
            let what = format!("{kind:?}, {}", name(&rules));
            let mut machine = Machine::new(rules, kind, 1, 8);
            let pinned = machine.mm.hold(machine.space, BASE + 9, PIN).unwrap();
            let (served, _) = machine.fault(BASE + 5);
            let moved = match kind {
                DriverKind::Xe => 0,
                DriverKind::Uvmem => 1,
                _ => block_of(kind, &rules) - 1,
            };
            assert_eq!(
                (served.moved, served.stayed_whole),
                (moved, kind == DriverKind::Xe),
                "{what}: {served:?}"
            );
            assert!(!machine.on_device(BASE + 9), "{what}");
            machine.mm.release_hold(pinned, true).unwrap();
            (BASE..BASE + 512).for_each(|page| {
                machine.read(page);
            });
        }
    }
}

/// With memory for two blocks, the one used longest ago makes room for the third.
#[test]
fn the_block_used_longest_ago_makes_room() {
    for rules in kernels() {
        for kind in [DriverKind::Amdkfd, DriverKind::Xe] {
            let what = format!("{kind:?}, {}", name(&rules));
            let mut machine = Machine::new(rules, kind, 3, 4);
            let [first, second, third] = [BASE, BASE + 512, BASE + 1024];
            machine.fault(first);
            machine.fault(second);
            machine.driver.used(machine.space, first + 17);
            let (served, copied) = machine.fault(third);
            assert_eq!((served.evicted, served.moved), (512, 512), "{what}");
            let (there, back): (Vec<Piece>, Vec<Piece>) =
                copied.into_iter().partition(|piece| piece.to_device);
            assert_eq!((pages(&there), pages(&back)), (512, 512), "{what}");
            let on_device = [first, second, third].map(|page| machine.on_device(page));
            assert_eq!(on_device, [true, false, true], "{what}");
            for page in [first, second, third] {
                machine.read(page + 100);
            }
        }
    }
}

/// What an atomic access brought stays for a time slice; others come home at once. Only xe makes that difference.
#[test]
fn a_block_of_an_atomic_access_stays_for_its_time_slice() {
    for rules in kernels() {
        for kind in KINDS {
            for access in [READ, ATOMIC] {
                let what = format!("{kind:?}, {}, {access:?}", name(&rules));
                let mut machine = Machine::new(rules, kind, 1, 8);
                machine.mm.now = Picos::micros(100);
                machine.faults(BASE + 5, access);
                let until = Picos::micros(5_100);
                let stays = kind == DriverKind::Xe && access.atomic;
                machine.mm.now = Picos(until.0 - 1);
                if stays {
                    let wait = machine.mm.read(machine.space, BASE + 5);
                    assert_eq!(wait, Err(CpuError::Wait(Wait::TimeSlice(until))), "{what}");
                    machine.mm.now = until;
                }
                assert!(machine.read(BASE + 5) > 0, "{what}");
                // Where it comes again without being atomic, nothing is left of the time slice.
                machine.fault(BASE + 5);
                assert!(machine.read(BASE + 5) > 0, "{what}");
            }
        }
    }
}

/// An atomic access to a page that cannot come to the device is tried again, and then fails; other drivers let it be.
#[test]
fn an_atomic_access_to_a_pinned_page_fails_where_it_needs_device_memory() {
    for rules in kernels() {
        let rules = with_huge(rules, HugePolicy::Never);
        for kind in KINDS {
            let what = format!("{kind:?}, {}", name(&rules));
            let mut machine = Machine::new(rules, kind, 1, 8);
            machine.mm.hold(machine.space, BASE + 5, PIN).unwrap();
            let (served, _) = machine.faults(BASE + 5, ATOMIC);
            let expected = match kind {
                DriverKind::Xe => (Some(Errno::Busy), ATOMIC_TRIES),
                _ => (None, 0),
            };
            assert_eq!((served.error, served.atomic_retries), expected, "{what}: {served:?}");
        }
    }
}

/// xe takes the largest of 2 MiB, 64 KiB and 4 KiB that lies in the mapping, shares no page with another block and, up to
/// 64 KiB, has all its pages for the CPU.
#[test]
fn xe_chooses_the_block_around_a_fault() {
    for rules in kernels() {
        let rules = with_huge(rules, HugePolicy::Never);
        let mut mm = machine(rules, 1 << 16);
        mm.defer_driver_work(true);
        let space = mm.create_space();
        // 512 pages, of which the first 40 are there, in a mapping that begins in the middle of a block.
        let first = BASE + 256;
        mm.map(space, first, first + 512, Mapping::anonymous(true, true)).unwrap();
        (first..first + 40).for_each(|page| mm.write(space, page, 1).unwrap());
        let policy = Policy::of(DriverKind::Xe, &rules);
        let mut driver =
            Driver::load(&mut mm, DeviceId(0), policy, (Bytes::mib(8), Kind::Private), Owner(0)).unwrap();
        driver.follow(&mut mm, space).unwrap();
        let mut machine = Machine { mm, space, driver };
        for (page, block) in [
            (first + 3, (first, first + 16)),
            (first + 31, (first + 16, first + 32)),
            // Pages from 40 on are not there.
            (first + 39, (first + 39, first + 40)),
            (first + 45, (first + 45, first + 46)),
        ] {
            let fault = DeviceFault::new(&machine.mm, &machine.driver, space, page, READ).unwrap();
            assert_eq!(fault.block(), block, "{}", name(&rules));
        }
        machine.fault(first + 39);
        (first + 40..first + 48).for_each(|page| machine.mm.write(space, page, 1).unwrap());
        let fault = DeviceFault::new(&machine.mm, &machine.driver, space, first + 41, READ).unwrap();
        assert_eq!(
            fault.block(),
            (first + 41, first + 42),
            "the block of 16 holds one that is there already"
        );
    }
}

/// A range's granule is amdkfd's block, in both directions.
#[test]
fn the_granule_of_amdkfd_is_what_moves() {
    for rules in kernels() {
        let rules = with_huge(rules, HugePolicy::Never);
        for (order, pages) in [(0, 1), (4, 16), (9, 512), (10, 1024)] {
            let what = format!("2^{order} pages, {}", name(&rules));
            let mut machine = Machine::new(rules, DriverKind::Amdkfd, 4, 8);
            machine.driver.policy = machine.driver.policy.with_granule(order);
            let granule = machine.driver.policy.brings_back;
            machine.mm.devices.get_mut(&DeviceId(0)).unwrap().brings_back = granule;
            let page = BASE / 1024 * 1024 + 1024 + 77;
            let (served, _) = machine.fault(page);
            assert_eq!((served.moved, machine.read(page)), (pages, pages), "{what}");
        }
    }
}

/// Pages come home without a fault where somebody asks for it.
#[test]
fn a_range_comes_home_when_it_is_asked_for() {
    for rules in kernels() {
        for kind in KINDS {
            let what = format!("{kind:?}, {}", name(&rules));
            let mut machine = Machine::new(rules, kind, 1, 8);
            let (served, _) = machine.fault(BASE);
            let Machine { mm, space, driver } = &mut machine;
            let mut home =
                HomeComing::of_range(mm, driver, *space, BASE, BASE + 512).expect("some are there");
            let came = loop {
                if let Work::Done(pages) = home.go_on(mm) {
                    break pages;
                }
            };
            assert_eq!(came, served.moved, "{what}");
            assert!(HomeComing::of_range(mm, driver, *space, BASE, BASE + 512).is_none(), "{what}");
            assert!(!machine.on_device(BASE), "{what}");
            assert_eq!(machine.read(BASE), 0, "{what}: nothing is left to bring home");
        }
    }
}

/// A chunk may have more page structs than there is memory behind it: no more is handed out than there is, and each page has its
/// own place there.
#[test]
fn no_driver_hands_out_more_than_its_device_has() {
    for rules in kernels() {
        for kind in KINDS {
            let what = format!("{kind:?}, {}", name(&rules));
            let mut machine = Machine::new(rules, kind, 4, 4);
            for page in (BASE..BASE + 2048).step_by(if kind == DriverKind::Uvmem { 1 } else { 128 }) {
                if !machine.on_device(page) {
                    machine.fault(page);
                }
            }
            let there: Vec<u64> = (BASE..BASE + 2048)
                .filter_map(|page| machine.mm.page_behind(machine.space, page))
                .filter_map(|pfn| machine.mm.offset_in_device(pfn))
                .collect();
            let places: std::collections::BTreeSet<u64> = there.iter().copied().collect();
            assert_eq!(places.len(), there.len(), "{what}: no place is used twice");
            assert!(places.iter().all(|place| *place < 1024), "{what}: {:?}", places.last());
            // Single pages of a newer nouveau come from pieces that leave their last page out.
            assert!((1022..=1024).contains(&there.len()), "{what}: {} pages", there.len());
        }
    }
}
