//! Page structs of all device memory: what fits is arithmetic, and stands beside each case.
//!
//! The machine has 24 GiB of RAM (2 GiB, and 22 GiB from 4 GiB on, so up to 26 GiB), 512 MiB of windows from 2 GiB on, and a
//! window of 1 TiB from 1 TiB on unless another is given. Holes below 40 bits are 1.5 GiB below 4 GiB, and 998 GiB.

use peerbus_engine::Stream;
use peerbus_machine::Machine;
use peerbus_system::boot::{BootOptions, boot};
use peerbus_system::device_memory::{
    Answer, Conditions, Design, Hole, Levels, Obstacle, Question, ReachedBy, TrialOptions, Trials, Weighted,
    render_device_memory,
};
use peerbus_system::kernel::{KernelSettings, ProfileName};
use peerbus_units::{BusAddr, Bytes, CpuAddr, Range};

use crate::build::{Build, CpuModel, HostSpec, MILAN, bar};

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const SIZE: u64 = 141 * GIB;

/// A machine with GPUs of so many GiB, the CPU's address width, and a window in GiB.
fn machine(model: CpuModel, gpus: &[u64], bits: u8, window: (u64, u64)) -> Machine {
    let mut build = Build::new(model);
    let host = build.host(HostSpec::default());
    for (number, gib) in gpus.iter().enumerate() {
        let port = build.root_port(host);
        let bars = [bar(0, Bytes::mib(1), peerbus_machine::part::ResourceKind::Mem32)];
        build.device(&format!("gpu{number}"), host, Some(port), &bars);
        build.machine.devices[number].memory = Some(Bytes::gib(*gib));
    }
    build.machine.cpus[0].memory = Bytes::gib(24);
    build.machine.cpus[0].part.physical_bits = bits;
    let high = &mut build.machine.host_bridges[host].windows[1];
    high.cpu = Range::new(CpuAddr(window.0 * GIB), CpuAddr(window.1 * GIB - 1)).unwrap();
    high.bus = BusAddr(window.0 * GIB);
    build.machine
}

fn eight(bits: u8) -> Machine {
    machine(MILAN, &[141; 8], bits, (1024, 2048))
}

fn asked<T>(machine: &Machine, cmdline: &str, conditions: Conditions, ask: impl Fn(&Question) -> T) -> T {
    let settings = KernelSettings { cmdline: cmdline.to_owned(), ..KernelSettings::default() };
    let booted = boot(machine, &settings, &BootOptions::default());
    ask(&Question::new(machine, &booted, conditions))
}

fn answers(machine: &Machine, cmdline: &str, conditions: Conditions) -> Vec<Answer> {
    let found = asked(machine, cmdline, conditions, |question| question.answers());
    let own = found.iter().filter(|answer| answer.design == Design::OwnSpace);
    assert_eq!((found.len(), own.count()), (6, 3));
    found
}

fn physical(answers: &[Answer]) -> impl Iterator<Item = &Answer> {
    answers.iter().filter(|answer| answer.design == Design::PhysicalSpace)
}

/// End of the highest range, number of ranges granted, the largest hole afterwards, and why others are refused.
type Expect = (u64, u64, Hole, Obstacle);

fn hole(first: u64, size: u64) -> Hole {
    Hole { first: first * GIB, size: size * GIB }
}

/// The same for every kernel, refused by the limit.
fn all(top: u64, count: u64, left: Hole) -> [Expect; 2] {
    [(top, count, left, Obstacle::Limit); 2]
}

/// The same for later kernels. 6.1 takes no place at or below 141 GiB, its distance of places: it grants `old` ranges, and what
/// is left is large enough, but no place lies in it.
fn not_low(top: u64, old: u64, left: Hole, new: [Expect; 2]) -> [Expect; 2] {
    [(top, old, left, Obstacle::Alignment), new[1]]
}

/// 6.1 grants ranges of 141 GiB as the first expectation says, later kernels as the second; a space of its own all.
fn check(machine: &Machine, cmdline: &str, conditions: Conditions, by: ReachedBy, expect: [Expect; 2]) {
    let found = answers(machine, cmdline, conditions);
    for answer in physical(&found) {
        let (top, count, left, obstacle) = expect[usize::from(answer.profile != ProfileName::Linux_6_1)];
        let firsts: Vec<u64> = answer.granted.iter().map(|grant| grant.first).collect();
        let expect: Vec<u64> = (1..=count).map(|number| top - number * SIZE).collect();
        assert_eq!(firsts, expect, "{cmdline} {conditions:?} {:?}", answer.profile);
        assert_eq!(answer.granted.len() + answer.refused.len(), 8);
        assert_eq!((answer.reach.by, answer.largest_hole), (by, Some(left)));
        assert_eq!(answer.page_structs, count * SIZE / 64);
        for refused in &answer.refused {
            assert_eq!((refused.obstacle, refused.error), (obstacle, Some("ERANGE")));
            let links: Vec<_> = refused.chain.iter().map(|cause| cause.what).collect();
            assert_eq!(links, ["granule", "alignment", "holes", "limit"]);
        }
    }
    for answer in found.iter().filter(|answer| answer.design == Design::OwnSpace) {
        assert!(answer.fits(), "64 TiB or more of offsets are for device memory alone");
        let firsts: Vec<u64> = answer.granted.iter().map(|grant| grant.first).collect();
        assert_eq!(firsts, (0..8).map(|number| number * SIZE).collect::<Vec<_>>());
    }
}

/// Of 1 TiB: 998 GiB above RAM are seven ranges (987 GiB) and 11 GiB; 6.1 stops at 1024 - 6 · 141 = 178 GiB.
fn forty() -> [Expect; 2] {
    not_low(1 << 40, 6, hole(26, 152), all(1 << 40, 7, hole(26, 11)))
}

#[test]
fn eight_gpus_fit_by_the_width_of_addresses() {
    let (usual, width) = (Conditions::default(), ReachedBy::CpuWidth);
    // 64 TiB: from the top; between the window's end at 2 TiB and the lowest range 62 TiB - 8 · 141 GiB are left.
    check(&eight(46), "", usual, width, all(1 << 46, 8, hole(2048, 62 * 1024 - 1128)));
    // 1 TiB: 998 GiB above RAM are seven ranges (987 GiB) and 11 GiB. The window lies beyond the CPU's reach.
    check(&eight(40), "", usual, width, forty());
    // 512 GiB: 486 GiB above RAM are three ranges (423 GiB) and 63 GiB.
    check(&eight(39), "", usual, width, not_low(1 << 39, 2, hole(26, 204), all(1 << 39, 3, hole(26, 63))));
    // 64 GiB: none.
    check(&eight(36), "", usual, width, all(1 << 36, 0, hole(26, 38)));
    // The same with a CPU of 46 bits that a hypervisor shows with 40.
    let shown = Conditions { physical_bits: Some(40), ..usual };
    check(&eight(46), "", shown, width, forty());
}

#[test]
fn paging_and_randomisation_move_the_limit() {
    let (usual, width) = (Conditions::default(), ReachedBy::CpuWidth);
    let trimmed = Conditions { trimmed: true, ..usual };
    let four = Conditions { paging: Some(Levels::Four), ..usual };
    let above = |top: u64| all(top, 8, Hole { first: 2 * TIB, size: top - 2 * TIB - 8 * SIZE });
    check(&eight(52), "", usual, width, above(1 << 52));
    check(&eight(52), "", four, ReachedBy::PageTables, above(1 << 46));
    check(&eight(52), "no5lvl", usual, ReachedBy::PageTables, above(1 << 46));
    // RAM ends below 1 TiB: 1 + 10 TiB of direct map.
    check(&eight(46), "", trimmed, ReachedBy::ShortenedDirectMap, above(11 * TIB));
    check(&eight(46), "nokaslr", trimmed, width, above(1 << 46));
    check(&eight(40), "", trimmed, width, forty());
}

/// A window from 1 to 12 TiB leaves only the 998 GiB above RAM to a direct map of 11 TiB.
#[test]
fn a_window_behind_ram_and_a_short_direct_map_leave_little() {
    let behind = machine(MILAN, &[141; 8], 46, (1024, 12 * 1024));
    let usual = Conditions::default();
    check(&behind, "", usual, ReachedBy::CpuWidth, all(1 << 46, 8, hole(12 * 1024, 52 * 1024 - 1128)));
    // 6.1 tries 11264 GiB less multiples of 141: the first to end below 1024 ends at 971 = 11264 - 73 · 141, five fit down to 266.
    let old = (971 * GIB, 5, hole(26, 240), Obstacle::Alignment);
    let [_, new] = all(TIB, 7, hole(26, 11));
    let trimmed = Conditions { trimmed: true, ..usual };
    check(&behind, "", trimmed, ReachedBy::ShortenedDirectMap, [old, new]);
}

/// A guest's window lies at the top.
#[test]
fn a_guest_has_its_window_at_the_top() {
    let guest = |parts| Conditions { guest_window: Some(parts), ..Conditions::default() };
    // Tried by 6.1: 65536 GiB less multiples of 141, of which 59 end below 57344 GiB.
    let eighth =
        [65_536 - 59 * 141, 57_344].map(|top| (top * GIB, 8, hole(26, top - 26 - 1128), Obstacle::Limit));
    check(&eight(46), "", guest(8), ReachedBy::CpuWidth, eighth);
    // 1 TiB less a quarter: 742 GiB above RAM are five ranges (705 GiB). 6.1 begins at 1024 - 2 · 141 = 742 GiB, and
    // stops at 178 GiB.
    let [_, new] = all(768 * GIB, 5, hole(26, 37));
    let old = (742 * GIB, 4, hole(26, 152), Obstacle::Alignment);
    check(&eight(40), "", guest(4), ReachedBy::CpuWidth, [old, new]);
}

/// A window from 400 to 700 GiB below 40 bits, and three GPUs of 200 GiB: one fits above (324 GiB), one below (374 GiB).
#[test]
fn obstacles_are_told_apart() {
    let split = machine(MILAN, &[200; 3], 40, (400, 700));
    for answer in physical(&answers(&split, "", Conditions::default())) {
        let firsts: Vec<u64> = answer.granted.iter().map(|grant| grant.first / GIB).collect();
        let obstacles: Vec<Obstacle> = answer.refused.iter().map(|refused| refused.obstacle).collect();
        match answer.profile {
            // Places are 824, 624, 424 and 224 GiB: the last one ends inside the window.
            ProfileName::Linux_6_1 => {
                assert_eq!((firsts, obstacles), (vec![824], vec![Obstacle::Alignment; 2]));
            }
            // 124 GiB and 174 GiB are left.
            _ => assert_eq!((firsts, obstacles), (vec![824, 200], vec![Obstacle::Fragments])),
        }
    }
    // 141 GiB need 2.2 GiB of page structs in either design.
    let mut poor = machine(MILAN, &[141], 46, (1024, 2048));
    poor.cpus[0].memory = Bytes::gib(2);
    for answer in answers(&poor, "", Conditions::default()) {
        let refused = &answer.refused[0];
        assert_eq!((refused.obstacle, refused.error), (Obstacle::PageStructs, Some("ENOMEM")));
    }
}

const ARM: CpuModel = CpuModel { vendor: "ARM", family: 0, head: None };

/// RAM from 1 GiB on, a CPU with 44 bits: recorded without randomisation is an end at 0x80003fffffff.
fn arm() -> Machine {
    let mut arm = machine(ARM, &[141, 80], 44, (1024, 2048));
    arm.host_bridges[0].windows.remove(0);
    arm.capture.memory = vec![(0, Range::sized(CpuAddr(GIB), Bytes::gib(24)).unwrap())];
    arm
}

#[test]
fn arm64_is_limited_by_its_linear_map() {
    for answer in physical(&answers(&arm(), "nokaslr", Conditions::default())) {
        let (end, by) = match answer.profile {
            ProfileName::Linux_6_1 => (0xf_ffff_ffff_ffff, ReachedBy::ConfiguredWidth),
            _ => (0x8000_3fff_ffff, ReachedBy::LinearMap),
        };
        assert_eq!((answer.reach.last, answer.reach.by), (end, by), "{:?}", answer.profile);
        assert_eq!(answer.granted[0].first + SIZE - 1, end);
    }
    let options = TrialOptions { trials: 50, seed: 3, ram: vec![], devices: vec![] };
    let draws = |line| {
        asked(&arm(), line, Conditions::default(), |question| Trials::new(question, options.clone()).draws())
    };
    assert!(draws("").len() > 40, "the linear map is drawn");
    assert_eq!(draws("nokaslr").len(), 2, "the order alone is drawn");
}

/// Orders of 200, 160 and 40 GiB below 40 bits with a window from 400 to 700 GiB: judging equals asking in that order, and every
/// order comes about equally often.
#[test]
fn trials_count_what_answers_say() {
    let orders =
        [[200, 160, 40], [200, 40, 160], [160, 200, 40], [160, 40, 200], [40, 200, 160], [40, 160, 200]];
    let whole: Vec<Vec<usize>> = orders
        .iter()
        .map(|order| {
            let found = answers(&machine(MILAN, order, 40, (400, 700)), "", Conditions::default());
            found.iter().map(|answer| answer.granted.len()).collect()
        })
        .collect();
    let fits = |column: usize| whole.iter().filter(|row| row[column] == 3).count();
    assert!((1..6).contains(&fits(0)), "the order matters to 6.1: {whole:?}");
    let base = machine(MILAN, &orders[0], 40, (400, 700));
    let report = |seed| {
        asked(&base, "", Conditions::default(), |question| {
            let trials =
                Trials::new(question, TrialOptions { trials: 6000, seed, ram: vec![], devices: vec![] });
            let draws = trials.draws();
            assert_eq!((draws.len(), draws.iter().map(|(_, times)| times).sum::<u64>()), (6, 6000));
            let verdicts: Vec<_> = draws.iter().map(|(draw, _)| trials.judge(draw)).collect();
            let mut seen: Vec<Vec<usize>> =
                verdicts.iter().map(|row| row.iter().map(|verdict| verdict.granted).collect()).collect();
            let mut expect = whole.clone();
            seen.sort();
            expect.sort();
            assert_eq!(seen, expect);
            trials.report(&draws, &verdicts)
        })
    };
    let found = report(1);
    for (column, row) in found.rows.iter().enumerate() {
        let share = 1_000_000 * fits(column) as u64 / 6;
        // Six standard deviations and more of 6000 trials are 0.04.
        assert!((row.fits.low.saturating_sub(30_000)..=row.fits.high + 30_000).contains(&share), "{row:?}");
        let failed: u64 = row.first_failures.values().sum();
        assert_eq!(row.fits.times + failed, 6000);
    }
    assert_eq!(found, report(1));
    assert_ne!(found.rows, report(2).rows);
}

/// RAM of 24 GiB or of 64 GiB: with 40 bits, seven and six GPUs get theirs from 6.12.
#[test]
fn the_size_of_ram_is_drawn() {
    asked(&eight(40), "", Conditions::default(), |question| {
        let ram = [24 * GIB, 64 * GIB].map(Weighted::once).to_vec();
        let options = TrialOptions { trials: 100, seed: 0, ram, devices: vec![] };
        let trials = Trials::new(question, options);
        let draws = trials.draws();
        let mut granted: Vec<_> = draws.iter().map(|(draw, _)| trials.judge(draw)[2].granted).collect();
        granted.sort_unstable();
        assert_eq!(granted, [6, 7]);
    });
}

/// Drivers that ask for 2 MiB (256 MiB from 7.x on) take 128 MiB (256 MiB) of addresses each time, and 2 MiB (4 MiB) of RAM.
/// What runs out first depends on the machine; a space of its own takes what is asked for.
#[test]
fn drivers_that_ask_on_demand_come_to_the_end_sooner() {
    let conditions = Conditions { on_demand: true, ..Conditions::default() };
    let check = |machine: &Machine, old: (u64, Option<Obstacle>), new: (u64, Option<Obstacle>)| {
        for answer in answers(machine, "", conditions) {
            let found = answer.on_demand.as_ref().expect("it was asked for");
            let chunk = if answer.profile == ProfileName::Linux_7_3 { 256 << 20 } else { 2u64 << 20 };
            let (wanted, physical) = (8 * SIZE / chunk, answer.design == Design::PhysicalSpace);
            let expect = match (physical, answer.profile) {
                (false, _) => (wanted, None),
                (true, ProfileName::Linux_7_3) => new,
                (true, _) => old,
            };
            let refused = found.refused.as_ref().map(|refused| refused.obstacle);
            assert_eq!((found.granted, refused), expect, "{:?} {:?}", answer.profile, answer.design);
            assert_eq!((found.chunk, found.wanted), (chunk, wanted));
            let taken = if physical { chunk.max(128 << 20) } else { chunk };
            assert_eq!(
                (found.taken, found.page_structs),
                (found.granted * taken, found.granted * taken / 64)
            );
        }
    };
    // 40 bits: 998 GiB above RAM and 1.5 GiB below 4 GiB, in pieces of 128 MiB and of 256 MiB. Asked for at once, all but one fit.
    let [old, new] = [8, 4].map(|per_gib| 998 * per_gib + 3 * per_gib / 2);
    check(&eight(40), (old, Some(Obstacle::Limit)), (new, Some(Obstacle::Limit)));
    // 46 bits: 24 GiB of RAM hold page structs of 12288 sections; in 7.x they hold those of all memory.
    let structs = Some(Obstacle::PageStructs);
    check(&eight(46), (24 << 9, structs), (4512, None));
    // With 2 TiB of RAM, up to 2050 GiB, and a window from 4 to 8 TiB, addresses run out: 64 TiB less both.
    let mut large = machine(MILAN, &[141; 8], 46, (4096, 8192));
    large.cpus[0].memory = Bytes::gib(2048);
    let free = 8 * (2046 + 57_344) + 12;
    check(&large, (free, Some(Obstacle::Limit)), (4512, None));
}

/// A fleet: machines with 4 or 8 GPUs of 141 GiB, with 24 or 64 GiB of RAM. With 40 bits eight fit in neither, four in both.
#[test]
fn numbers_of_devices_are_drawn_by_weight() {
    let weighted = |value, weight| Weighted { value, weight };
    asked(&eight(40), "", Conditions::default(), |question| {
        let options = TrialOptions {
            trials: 8000,
            seed: 2,
            ram: vec![weighted(24 * GIB, 1), weighted(64 * GIB, 1)],
            devices: vec![weighted(4, 3), weighted(8, 1)],
        };
        let trials = Trials::new(question, options);
        let draws = trials.draws();
        assert_eq!(draws.len(), 4);
        let verdicts: Vec<_> = draws.iter().map(|(draw, _)| trials.judge(draw)).collect();
        let row = &trials.report(&draws, &verdicts).rows[2];
        assert_eq!((row.profile, row.design), (ProfileName::Linux_6_12, Design::PhysicalSpace));
        // Three of four; six standard deviations of 8000 trials are 0.03.
        assert!((5760..=6240).contains(&row.fits.times), "{row:?}");
        // The worst is the larger machine with more RAM.
        assert_eq!((row.fewest, row.of), (6, 8));
        assert!(row.fits.low < 750_000 + 30_000 && row.fits.high > 750_000 - 30_000);
    });
    // More than there are: the first again.
    asked(&machine(MILAN, &[200, 40], 46, (1024, 2048)), "", Conditions::default(), |question| {
        let options = TrialOptions { trials: 1, seed: 0, ram: vec![], devices: vec![Weighted::once(5)] };
        let trials = Trials::new(question, options);
        let verdicts = trials.judge(&trials.draws()[0].0);
        assert!(verdicts.iter().all(|verdict| (verdict.granted, verdict.of) == (5, 5)));
    });
}

/// Whatever is asked: nothing panics, no range overlaps another, RAM or a window, and every refusal has its chain.
#[test]
fn random_questions_have_sound_answers() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40);
    println!("seed 5, {cases} cases");
    for case in 0..cases {
        let mut stream = Stream::new(5, case);
        let mut below = |bound: u64| stream.below(bound);
        let gpus: Vec<u64> = (0..below(6)).map(|_| 1 + below(300)).collect();
        let (start, size) = (30 + below(1000), 1 + below(500));
        let mut machine = machine(MILAN, &gpus, 46, (start, start + size));
        machine.cpus[0].memory = Bytes::mib(1 + below(24 << 10));
        let chosen = Conditions {
            physical_bits: (below(2) == 0).then(|| u8::try_from(32 + below(26)).unwrap()),
            paging: [None, Some(Levels::Four), Some(Levels::Five)][usize::try_from(below(3)).unwrap()],
            guest_window: (below(3) == 0).then(|| u8::try_from(2 + below(127)).unwrap()),
            trimmed: below(2) == 0,
            on_demand: below(4) == 0,
        };
        let document = asked(&machine, "", chosen, |question| question.document(None));
        for answer in &document.answers {
            assert_eq!(answer.granted.len() + answer.refused.len(), gpus.len());
            assert!(
                answer
                    .refused
                    .iter()
                    .all(|refused| refused.chain.len() >= 2 && refused.obstacle != Obstacle::Other)
            );
            let mut taken: Vec<(u64, u64)> =
                answer.granted.iter().map(|grant| (grant.first, grant.first + grant.size - 1)).collect();
            assert!(taken.iter().all(|range| range.1 <= answer.reach.last), "{chosen:?}");
            if answer.design == Design::PhysicalSpace {
                taken.extend(machine.ram().iter().map(|ram| (ram.first().0, ram.last().0)));
                let windows =
                    machine.host_bridges[0].windows.iter().filter(|_| chosen.guest_window.is_none());
                taken.extend(windows.map(|window| (window.cpu.first().0, window.cpu.last().0)));
            }
            taken.sort_unstable();
            assert!(taken.windows(2).all(|pair| pair[0].1 < pair[1].0), "case {case}: {taken:x?}");
        }
        assert!(render_device_memory(&document).ends_with('\n'));
    }
}
