//! Links: encodings, flits, retimers, replays, training, all to the picosecond.

use peerbus_fabric::{Cause, Direction, Fabric, Fault};
use peerbus_units::{BitErrorRate, Picos};

use super::{causes, fabric};
use crate::machines::{Shape, bar, machine};
use crate::traffic::run;

/// Causes of one write of 256 bytes between two devices of `shape`, whose links `change` alters.
fn write(shape: &Shape, change: impl Fn(&mut peerbus_machine::model::Link)) -> Vec<(Cause, u64)> {
    let (mut machine, registers) = machine(shape);
    machine.links.iter_mut().for_each(change);
    let mut fabric = fabric(&machine, &registers);
    run(&mut fabric, &[(0, Direction::Write, bar(shape, 1), 256)]);
    causes(&fabric, 0)
}

fn time(causes: &[(Cause, u64)], wanted: Cause) -> u64 {
    causes.iter().find(|(cause, _)| *cause == wanted).map_or(0, |(_, time)| *time)
}

/// A fabric of the default shape with faults planned at time 0.
fn faulty(shape: &Shape, faults: &[Fault]) -> Fabric {
    let (machine, registers) = machine(shape);
    let mut fabric = fabric(&machine, &registers);
    faults.iter().for_each(|fault| fabric.plan(Picos::ZERO, *fault));
    fabric
}

/// The link of a device, towards the root.
fn uplink(fabric: &Fabric, device: usize) -> peerbus_fabric::LinkId {
    fabric.spec.nodes[fabric.spec.device(device).0 as usize].upstream.unwrap()
}

#[test]
fn eight_of_ten_bits_are_data_at_5_gt_per_second() {
    // Gen2 x4: 5 GT/s × 4 / 8 × 8/10 × 1180/1184 between skip ordered sets = 1,993.243 MB/s; 280 bytes are 140,474 ps.
    let causes = write(&Shape { generation: 2, lanes: 4, ..Shape::default() }, |_| {});
    assert_eq!(time(&causes, Cause::Serialisation), 140_474);
}

#[test]
fn twelve_lanes_are_twelve_lanes() {
    // Gen4 x12: 16 GT/s × 12 / 8 × 128/130 × 370/371 = 23,567.08 MB/s; 280 bytes are 11,880 ps.
    let causes = write(&Shape { lanes: 12, ..Shape::default() }, |_| {});
    assert_eq!(time(&causes, Cause::Serialisation), 11_880);
}

#[test]
fn nothing_of_a_flit_can_be_used_before_all_of_it_is_there() {
    // Gen6 x4: 64 GT/s × 4 / 8 = 32 GB/s, a flit of 256 bytes every 8 ns, whose 236 bytes carry TLPs. The write of 272
    // bytes (no framing, no LCRC) starts at 50,000 ps, in the flit that ends at 56,000 ps. Its head is usable then:
    // 6,000. It leaves the switch 115,000 ps later, at 171,000; 272 bytes take 9,220 ps, to 180,220, in the flit that
    // ends at 184,000: 13,000 more.
    let causes = write(&Shape { generation: 6, lanes: 4, ..Shape::default() }, |_| {});
    assert_eq!(time(&causes, Cause::Serialisation), 6_000 + 13_000);
}

#[test]
fn slots_of_a_flit_are_not_lost_under_load() {
    // 1 MiB in writes of 272 bytes on 236 of 256 bytes of 32 GB/s: 4096 × 272 / 29.5 GB/s = 37.767 us from the first
    // byte on, and the parts of flits at both ends.
    let shape = Shape { generation: 6, lanes: 4, ..Shape::default() };
    let mut fabric = faulty(&shape, &[]);
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 1 << 20)]);
    let time = fabric.ledger.flows[0].last - 50_000 - 115_000;
    assert!((37_767_000..37_790_000).contains(&time), "{time}");
}

#[test]
fn retimers_and_wires_add_their_time_on_every_link() {
    let far = write(&Shape::default(), |link| link.propagation = Picos::nanos(45));
    let near = write(&Shape::default(), |_| {});
    assert_eq!(time(&far, Cause::Serialisation), time(&near, Cause::Serialisation) + 2 * 45_000);
    assert_eq!(time(&far, Cause::Switch), time(&near, Cause::Switch));
}

#[test]
fn a_bad_tlp_is_sent_again_after_its_nak() {
    // Each replay on an idle Gen4 x16
    // link takes the TLP's own 8,910 ps, the receiver's and the transmitter's 115 ns, and the Nak's 8 bytes: 255 ps.
    let shape = Shape::default();
    let rate: BitErrorRate = "5e-6".parse().unwrap();
    let mut fabric = faulty(&shape, &[]);
    let link = uplink(&fabric, 0);
    fabric.plan(Picos::ZERO, Fault::ErrorRate { link, rate });
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 512 << 10)]);
    let faults = &fabric.ledger.faults[link.0 as usize];
    assert!(faults.bad_tlps > 0 && faults.replays == faults.bad_tlps, "{faults:?}");
    assert_eq!(faults.rollovers, 0);
    let each = faults.held_up / faults.replays;
    // Fractions of a picosecond are kept, so a TLP takes 8,910 or 8,911.
    assert!((239_165..=239_166).contains(&each), "{each}");
    assert_eq!(fabric.ledger.flows[0].delivered, 512 << 10);
    // The packet itself and those behind it were held up.
    let errors = fabric.ledger.flows[0].time[Cause::LinkErrors as usize];
    assert!(errors >= faults.held_up, "{errors}");
}

#[test]
fn the_fourth_replay_in_a_row_trains_the_link() {
    // With one wrong bit in 10,000 a TLP of 280 bytes arrives with a chance of 80 %: among 65,536 some fail four times.
    let shape = Shape::default();
    let mut fabric = faulty(&shape, &[]);
    let link = uplink(&fabric, 0);
    fabric.plan(Picos::ZERO, Fault::ErrorRate { link, rate: BitErrorRate::MOST });
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 1 << 20)]);
    let faults = &fabric.ledger.faults[link.0 as usize];
    assert!(faults.rollovers > 0 && faults.rollovers == faults.retrains, "{faults:?}");
    // Four in a row of 4096 at 20 % each: about 6.6.
    assert!((2..20).contains(&faults.rollovers), "{faults:?}");
    assert_eq!(fabric.ledger.flows[0].delivered, 1 << 20);
}

#[test]
fn a_flit_is_mended_unless_two_errors_meet_in_one_group() {
    let shape = Shape { generation: 6, ..Shape::default() };
    let mut fabric = faulty(&shape, &[]);
    let link = uplink(&fabric, 0);
    fabric.plan(Picos::ZERO, Fault::ErrorRate { link, rate: "1e-5".parse().unwrap() });
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 16 << 20)]);
    let faults = &fabric.ledger.faults[link.0 as usize];
    // 17.8 MB of TLPs in 75,500 flits of 2,048 bits: 1,550 errors. Two in one group of one flit: λ²/6 = 7e-5 of the
    // flits (λ = 0.02), 5 flits.
    assert!((1_400..1_700).contains(&faults.corrected), "{faults:?}");
    assert!((1..15).contains(&faults.bad_flits) && faults.bad_flits == faults.replays, "{faults:?}");
    assert_eq!((faults.bad_tlps, faults.bad_dllps), (0, 0));
}

#[test]
fn a_link_without_errors_draws_nothing() {
    let shape = Shape::default();
    let mut fabric = faulty(&shape, &[]);
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 1 << 20)]);
    assert!(fabric.ledger.faults.iter().all(|faults| faults.replays + faults.held_up == 0));
}

#[test]
fn a_machines_error_rate_holds_from_the_first_byte() {
    let shape = Shape::default();
    let (mut machine, registers) = machine(&shape);
    machine.links.iter_mut().for_each(|link| link.bit_errors = "1e-6".parse().unwrap());
    let mut fabric = fabric(&machine, &registers);
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 1 << 20)]);
    // 4096 TLPs of 2,240 bits: 9.2 errors.
    let bad = fabric.ledger.faults[uplink(&fabric, 0).0 as usize].bad_tlps;
    assert!((3..20).contains(&bad), "{bad}");
}

#[test]
fn a_seed_makes_the_errors() {
    let shape = Shape::default();
    let run_with = |seed| {
        let mut fabric = faulty(&shape, &[]);
        fabric.set_error_seed(seed);
        let link = uplink(&fabric, 0);
        fabric.plan(Picos::ZERO, Fault::ErrorRate { link, rate: "1e-6".parse().unwrap() });
        run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 4 << 20)]);
        fabric.ledger.digest()
    };
    assert_eq!(run_with(1), run_with(1));
    assert_ne!(run_with(1), run_with(2));
}

#[test]
fn a_link_that_trains_sends_nothing_and_then_at_its_new_rate() {
    // From time 0 the link trains for 60 ns while the engine starts for 50: 10 ns are the link's. At Gen1 x4 280 bytes
    // take 280 / (1 GB/s × 1180/1184) = 280,949 ps, and the switch may not cut through to the faster link behind it:
    // 8,910 more.
    let shape = Shape::default();
    let mut fabric = faulty(&shape, &[]);
    let link = uplink(&fabric, 0);
    let time = Picos::nanos(60);
    fabric.plan(Picos::ZERO, Fault::Retrain { link, generation: 1, lanes: 4, time });
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 256)]);
    assert_eq!(
        causes(&fabric, 0),
        [
            (Cause::Engine, 50_000),
            (Cause::Serialisation, 280_949 + 8_910),
            (Cause::Switch, 115_000),
            (Cause::Memory, 512),
            (Cause::LinkErrors, 10_000),
        ]
    );
}

#[test]
fn packets_behind_a_slow_link_go_on_at_its_pace() {
    // A width of 4 of 16 lanes is a quarter of the rate, from the middle of a transfer on.
    let shape = Shape::default();
    let mut fabric = faulty(&shape, &[]);
    let link = uplink(&fabric, 1);
    let fault = Fault::Retrain { link, generation: 4, lanes: 4, time: Picos::ZERO };
    fabric.plan(Picos::ZERO, fault);
    run(&mut fabric, &[(0, Direction::Write, bar(&shape, 1), 1 << 20)]);
    let taken = fabric.ledger.flows[0].last - 50_000;
    // 4096 × 280 bytes at 7,855.7 MB/s: 145.99 us.
    assert!((145_900_000..146_300_000).contains(&taken), "{taken}");
}
