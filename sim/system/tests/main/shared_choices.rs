//! What drivers, ranges and agents of shared memory can choose, and what comes of it.

use peerbus_system::kernel::ProfileName;
use peerbus_system::outcome::Outcome;
use peerbus_system::shared_virtual::*;
use peerbus_system::space::SpaceKind;
use peerbus_units::{Bytes, Picos};

use super::shared_virtual::{activity, count, flow, gpu, machine, range, run_one, shared};

const MACHINE: &str = "1rc:1sw:2gpu@gen4x16";

fn fill() -> Vec<Activity> {
    vec![activity("fill", "cpu0", Touch::Write)]
}

fn run(spec: SharedVirtual) -> Outcome {
    let outcome = run_one(&machine(MACHINE), ProfileName::Linux_7_3, spec);
    for own in outcome.counters.iter().filter(|own| own.counter == "hmm.wrong_reads") {
        assert_eq!(own.count, 0, "{own:?}");
    }
    for flow in &outcome.flows {
        assert_eq!(flow.refusal, None, "{}", flow.name);
    }
    outcome
}

fn lasted(outcome: &Outcome, name: &str) -> u64 {
    let flow = flow(outcome, &format!("svm.{name}"));
    flow.end.0 - flow.start.0
}

/// Pages that were asked for ahead are used without a fault, and come faster than by faults.
#[test]
fn prefetched_pages_are_not_faulted_on() {
    let using = || vec![activity("use", "gpu0", Touch::Read)];
    let faulting = run(shared(16, vec![gpu("gpu0", 64)], vec![fill(), using()]));
    let ahead = vec![activity("ahead", "gpu0", Touch::Prefetch)];
    let asked = run(shared(16, vec![gpu("gpu0", 64)], vec![fill(), ahead, using()]));
    assert_eq!(count(&faulting, "gpu0", "hmm.device_faults"), 8);
    assert_eq!(count(&asked, "gpu0", "hmm.device_faults"), 0);
    assert_eq!(
        (count(&asked, "gpu0", "hmm.prefetches"), count(&asked, "gpu0", "hmm.pages_arrived")),
        (8, 4096)
    );
    let (together, alone) = (lasted(&asked, "ahead") + lasted(&asked, "use"), lasted(&faulting, "use"));
    assert!(together < alone, "{together} against {alone}");
    assert_eq!(flow(&asked, "svm.ahead").delivered, Bytes::mib(16));
}

/// The same on the way home, for a CPU.
#[test]
fn pages_prefetched_by_a_cpu_are_at_home() {
    let phases = vec![
        fill(),
        vec![activity("use", "gpu0", Touch::Write)],
        vec![activity("back", "cpu0", Touch::Prefetch)],
        vec![activity("read", "cpu0", Touch::Read)],
    ];
    let outcome = run(shared(16, vec![gpu("gpu0", 64)], phases));
    assert_eq!(count(&outcome, "cpu0", "hmm.cpu_faults"), 0);
    assert_eq!(count(&outcome, "cpu0", "hmm.pages_fetched"), 4096);
    assert_eq!(flow(&outcome, "svm.gpu0.leave").bytes, Bytes::mib(16));
}

/// One handler serves a fault at a time: those that come meanwhile wait in the buffer, and go with it without an interrupt.
/// A driver with four handlers lets nobody wait.
#[test]
fn faults_wait_for_a_handler() {
    for (driver, waits) in [(GpuDriver::Amdkfd, true), (GpuDriver::Xe, false)] {
        let users: Vec<Activity> = (0..3u64)
            .map(|user| Activity {
                order: Order::Strided(512 * (user + 1)),
                ..activity(&format!("use{user}"), "gpu0", Touch::Read)
            })
            .collect();
        let outcome = run(shared(16, vec![SharedGpu { driver, ..gpu("gpu0", 64) }], vec![fill(), users]));
        let counts =
            ["hmm.faults_batched", "hmm.ns_queue"].map(|counter| count(&outcome, "gpu0", counter) > 0);
        assert_eq!(counts, [waits; 2], "{driver:?}");
        let faults = count(&outcome, "gpu0", "hmm.device_faults");
        assert!(count(&outcome, "gpu0", "hmm.faults_together") < faults, "{driver:?}");
        assert_eq!(count(&outcome, "gpu0", "hmm.pages_arrived"), 4096, "{driver:?}");
    }
    // Three agents on one page: the first fault serves all of them.
    let users = (0..3)
        .map(|user| Activity { touches: Some(1), ..activity(&format!("use{user}"), "gpu0", Touch::Read) });
    let amdkfd = SharedGpu { driver: GpuDriver::Amdkfd, ..gpu("gpu0", 64) };
    let outcome = run(shared(2, vec![amdkfd], vec![fill(), users.collect()]));
    assert_eq!(count(&outcome, "gpu0", "hmm.faults_together"), 2);
}

/// A GPU updates atomically what a CPU reads. Atomic accesses that need the GPU's own memory get it, and keep it for a time slice;
/// the CPU waits that long. Where they do not, whoever is late uses pages where they are.
#[test]
fn atomic_accesses_keep_their_pages_for_a_time_slice() {
    for slice in [0, 50, 500] {
        let xe = SharedGpu { time_slice: Some(Picos::micros(slice)), ..gpu("gpu0", 64) };
        let look = Activity { bytes: Bytes(64), ..activity("look", "cpu0", Touch::Read) };
        let both = vec![
            Activity { touches: Some(100_000), ..activity("add", "gpu0", Touch::Atomic) },
            Activity { touches: Some(200_000), ..look },
        ];
        let outcome = run(shared(2, vec![xe], vec![fill(), both]));
        let of = |place, counter| count(&outcome, place, counter);
        assert_eq!(of("cpu0", "hmm.faults_kept") > 0, slice > 0, "{slice} us");
        assert_eq!(of("gpu0", "hmm.touches_ram") > 0, slice == 0, "{slice} us");
        // A CPU waits for the rest of each slice.
        let waited = of("cpu0", "hmm.ns_time_slice");
        assert!(waited <= of("cpu0", "hmm.faults_kept") * slice * 1000, "{slice} us: {waited} ns");
    }
}

/// Faults of other GPUs leave pages where they belong; asking for them moves them all the same.
#[test]
fn preferred_places_keep_their_pages() {
    for (preferred, touch, arrived) in [
        (None, Touch::Read, 512),
        (Some("gpu0"), Touch::Read, 512),
        (Some("cpu0"), Touch::Read, 0),
        (Some("gpu1"), Touch::Read, 0),
        (Some("cpu0"), Touch::Prefetch, 512),
    ] {
        let mut spec = shared(
            2,
            vec![gpu("gpu0", 64), gpu("gpu1", 64)],
            vec![fill(), vec![activity("use", "gpu0", touch)]],
        );
        spec.ranges[0].preferred = preferred.map(str::to_owned);
        let outcome = run(spec);
        assert_eq!(count(&outcome, "gpu0", "hmm.pages_arrived"), arrived, "{preferred:?}, {touch:?}");
        let in_ram = if arrived == 0 { 512 } else { 0 };
        assert_eq!(count(&outcome, "gpu0", "hmm.touches_ram"), in_ram, "{preferred:?}, {touch:?}");
    }
}

/// Two processes share a GPU's memory: what fits for one alone does not for both.
#[test]
fn processes_share_a_gpus_memory() {
    for (second, evicted) in [(false, false), (true, true)] {
        let mut spec = shared(24, vec![gpu("gpu0", 32)], Vec::new());
        spec.ranges.push(SharedRange { process: Some("other".into()), ..range("more", 24) });
        let using = |name: &str, range: &str| Activity {
            range: range.into(),
            touches: Some(2 * 6144),
            ..activity(name, "gpu0", Touch::Write)
        };
        let mut phase = vec![using("use", "data")];
        if second {
            phase.push(using("other", "more"));
        }
        spec.phases = vec![phase];
        let outcome = run(spec);
        assert_eq!(count(&outcome, "gpu0", "hmm.pages_evicted") > 0, evicted);
    }
}

/// Coherent pages stay where they are when a CPU or a peer touches them: the links are used instead.
#[test]
fn coherent_pages_stay_when_a_cpu_touches_them() {
    for (pages, fetched) in [(GpuPages::Private, 512), (GpuPages::Coherent, 0)] {
        let phases = vec![
            fill(),
            vec![activity("make", "gpu0", Touch::Write)],
            vec![activity("look", "cpu0", Touch::Read)],
            vec![activity("change", "cpu0", Touch::Write)],
            vec![Activity { reach: Reaching::InPlace, ..activity("peer", "gpu1", Touch::Read) }],
            vec![activity("again", "gpu0", Touch::Read)],
        ];
        let owner = SharedGpu { pages, owner: Some("one".into()), ..gpu("gpu0", 64) };
        let outcome = run(shared(2, vec![owner, gpu("gpu1", 64)], phases));
        assert_eq!(count(&outcome, "cpu0", "hmm.pages_fetched"), fetched, "{pages:?}");
        let again = if pages == GpuPages::Private { 1024 } else { 512 };
        assert_eq!(count(&outcome, "gpu0", "hmm.pages_arrived"), again, "{pages:?}");
        if pages == GpuPages::Coherent {
            for word in ["loads", "stores"] {
                assert_eq!(flow(&outcome, &format!("svm.cpu0.gpu0.{word}")).bytes, Bytes::mib(2), "{word}");
            }
            assert_eq!(count(&outcome, "gpu1", "hmm.touches_peer"), 512);
            assert_eq!(count(&outcome, "gpu0", "hmm.page_struct_bytes"), (64 << 20) / 4096 * 64);
            let (look, change) = (lasted(&outcome, "look"), lasted(&outcome, "change"));
            assert!(look > 2 * change, "loads wait for each line, stores do not: {look} and {change}");
        }
    }
}

/// What is more than the BAR shows has no coherent pages.
#[test]
fn coherent_memory_ends_with_the_bar() {
    let mut machine = machine(MACHINE);
    machine.devices[0].memory = Some(Bytes::gib(1024));
    let owner = SharedGpu { pages: GpuPages::Coherent, memory: None, ..gpu("gpu0", 64) };
    let phases = vec![vec![activity("use", "gpu0", Touch::Write)]];
    let outcome = run_one(&machine, ProfileName::Linux_7_3, shared(2, vec![owner], phases));
    let structs = count(&outcome, "gpu0", "hmm.page_struct_bytes");
    assert!(structs > 0 && structs < (1 << 40) / 64, "{structs} bytes");
}

/// Every chunk of nouveau's takes numbers of frames and RAM for page structs, 64 times as much as older kernels use of it: both are
/// followed over time, and have an owner.
#[test]
fn chunks_take_numbers_and_page_structs_as_they_come() {
    for (profile, chunks, each) in
        [(ProfileName::Linux_6_12, 16, 128 << 20), (ProfileName::Linux_7_3, 1, 256 << 20)]
    {
        let nouveau = SharedGpu { driver: GpuDriver::Nouveau, ..gpu("gpu0", 256) };
        let using = Activity { touches: Some(3 * 8192), ..activity("use", "gpu0", Touch::Write) };
        let outcome =
            run_one(&machine(MACHINE), profile, shared(32, vec![nouveau], vec![fill(), vec![using]]));
        let of = |kind| outcome.spaces.iter().find(|space| space.kind == kind).expect("the space is there");
        let numbers = of(SpaceKind::PhysicalAddresses);
        let before = numbers.samples[0].used;
        assert_eq!(numbers.used - before, chunks * each, "{profile:?}");
        assert!(numbers.owners.iter().any(|owner| owner.name == "gpu0" && owner.amount == chunks * each));
        let structs = of(SpaceKind::PageStructMemory);
        assert_eq!((structs.samples[0].used, structs.used), (0, chunks * each / 64), "{profile:?}");
        let steps: std::collections::BTreeSet<u64> =
            structs.samples.iter().map(|sample| sample.used).collect();
        assert!(steps.len() as u64 > chunks.min(5), "{profile:?}: {steps:?}");
        assert_eq!(structs.used, count(&outcome, "gpu0", "hmm.page_struct_bytes"), "{profile:?}");
    }
}

/// Left to themselves, xe's GPUs are one owner where a path leads from each to the other, amdkfd's on a private interconnect, and
/// nouveau's never: then a page that another GPU uses in place comes to RAM first.
#[test]
fn drivers_form_owners() {
    for (driver, profile, together) in [
        (GpuDriver::Xe, ProfileName::Linux_7_3, true),
        (GpuDriver::Xe, ProfileName::Linux_6_12, false),
        (GpuDriver::Amdkfd, ProfileName::Linux_7_3, false),
        (GpuDriver::Nouveau, ProfileName::Linux_7_3, false),
    ] {
        let machine = machine(MACHINE);
        let gpus = ["gpu0", "gpu1"].map(|name| SharedGpu { driver, ..gpu(name, 64) });
        let reading = Activity { reach: Reaching::InPlace, ..activity("read", "gpu1", Touch::Read) };
        let phases = vec![fill(), vec![activity("make", "gpu0", Touch::Write)], vec![reading]];
        let outcome = run_one(&machine, profile, shared(2, gpus.to_vec(), phases));
        let moved = flow(&outcome, "svm.gpu0.leave").bytes;
        assert_eq!(moved == Bytes::ZERO, together, "{driver:?}, {profile:?}: {moved}");
        assert_eq!(count(&outcome, "gpu1", "hmm.touches_peer"), if together { 512 } else { 0 }, "{driver:?}");
    }
}

/// A page of another GPU of the same owner moves straight to the one that faults: no byte goes through RAM.
#[test]
fn pages_of_one_owner_move_from_gpu_to_gpu() {
    let phases = vec![
        fill(),
        vec![activity("make", "gpu0", Touch::Write)],
        vec![activity("take", "gpu1", Touch::Write)],
        vec![activity("back", "cpu0", Touch::Read)],
    ];
    let outcome = run(shared(16, vec![gpu("gpu0", 64), gpu("gpu1", 64)], phases));
    let bytes = |name: &str| flow(&outcome, &format!("svm.{name}")).bytes;
    assert_eq!((bytes("gpu0.leave"), bytes("gpu1.arrive")), (Bytes::ZERO, Bytes::mib(16)));
    assert_eq!(count(&outcome, "gpu1", "hmm.pages_arrived"), 4096);
    assert_eq!(bytes("gpu1.leave"), Bytes::mib(16));
    let path = &flow(&outcome, "svm.gpu1.arrive").path;
    assert!(!path.iter().any(|node| node.starts_with("cpu")), "{path:?}");
}
