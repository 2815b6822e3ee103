//! Drivers of GPUs: what each moves on a fault, brings home for a CPU, and evicts.

use peerbus_os::drivers::{DeviceFault, Driver, DriverKind, HomeComing, Piece, Policy, Served, Work};
use peerbus_os::mm::rules::HugePolicy;
use peerbus_os::mm::{CpuError, DeviceId, Mapping, Mm, Pin, SpaceId, Vpn, Wait};
use peerbus_os::pagemap::Owner;
use peerbus_units::Bytes;

use super::platform::{kernels, machine, name, with_huge};

const BASE: Vpn = 512 * 700;
const KINDS: [DriverKind; 3] = [DriverKind::Nouveau, DriverKind::Amdkfd, DriverKind::Xe];

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
            Driver::load(&mut mm, DeviceId(0), policy, Bytes::mib(memory), Owner(0)).expect("there is room");
        driver.follow(&mut mm, space).unwrap();
        Machine { mm, space, driver }
    }

    /// A device's read fault, to its end: what came of it, and everything that was copied.
    fn fault(&mut self, page: Vpn) -> (Served, Vec<Piece>) {
        let mut fault = DeviceFault::new(&self.mm, &self.driver, self.space, page, false, true).unwrap();
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
                let block = if kind == DriverKind::Nouveau && !rules.mm.huge_migration { 128 } else { 512 };
                assert_eq!((served.moved, pages(&copied)), (block, block), "{what}: {served:?}");
                // Only drivers that ask for huge folios get them.
                let single = !(whole && kind != DriverKind::Amdkfd);
                assert_eq!(copied.len(), if single { usize::try_from(block).unwrap() } else { 1 }, "{what}");
                assert!(machine.on_device(BASE + 512 + 5) && !machine.on_device(BASE), "{what}");
                let home = machine.read(BASE + 512 + 7);
                let expected = if kind == DriverKind::Nouveau && single { 1 } else { 512 };
                assert_eq!(home, expected, "{what}");
                assert!(!machine.on_device(BASE + 512 + 7), "{what}: the device has to ask again");
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
            let pin = Pin { write: true, pinned: true, long_term: true, split: false };
            let pinned = machine.mm.hold(machine.space, BASE + 9, pin).unwrap();
            let (served, _) = machine.fault(BASE + 5);
            let block = if kind == DriverKind::Nouveau && !rules.mm.huge_migration { 128 } else { 512 };
            let moved = if kind == DriverKind::Xe { 0 } else { block - 1 };
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
