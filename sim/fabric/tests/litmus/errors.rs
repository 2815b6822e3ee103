//! Errors of packets: who counts them, how grave they are, and what becomes of the bytes.

use peerbus_fabric::{Attributes, Descriptor, Direction, Fabric, Fault, LatencyOf, PacketError, Severity};
use peerbus_units::{Bytes, DmaAddr, Picos};

use super::fabric;
use crate::machines::{Shape, bar, machine};

/// Errors by name of their function, severity and kind.
type Counted = Vec<(String, Severity, PacketError, u64)>;

/// What is expected: function, severity, kind and how many.
type Expected = (&'static str, Severity, PacketError, u64);

/// One transfer of device 0 with attributes; what was delivered and refused, and the errors counted.
fn transfer(direction: Direction, addr: u64, bytes: u64, attributes: Attributes) -> (u64, u64, Counted) {
    let (machine, registers) = machine(&Shape::default());
    let mut fabric = fabric(&machine, &registers);
    let flow = fabric.add_flow(LatencyOf::Request);
    let engine = match direction {
        Direction::Write => fabric.spec.writer(0),
        Direction::Read => fabric.spec.reader(0),
    };
    let descriptor = Descriptor::new(engine, DmaAddr(addr), Bytes(bytes), flow, 0);
    fabric.submit(Descriptor { attributes, ..descriptor });
    while fabric.advance().is_some() {}
    fabric.finish();
    let counted = |fabric: &Fabric| {
        let errors = fabric.ledger.errors.iter();
        let name = |function: &Option<peerbus_machine::model::FunctionIndex>| {
            function.map_or("-".to_owned(), |f| machine.functions[f].name.clone())
        };
        errors
            .map(|((function, severity, error), count)| (name(function), *severity, *error, *count))
            .collect()
    };
    let flow = &fabric.ledger.flows[0];
    (flow.delivered, flow.refused, counted(&fabric))
}

fn check(direction: Direction, addr: u64, attributes: Attributes, expected: (u64, u64, &[Expected])) {
    let (delivered, refused, counted) = transfer(direction, addr, 512, attributes);
    let expected_errors: Counted = expected
        .2
        .iter()
        .map(|(name, severity, error, count)| ((*name).to_owned(), *severity, *error, *count))
        .collect();
    assert_eq!((delivered, refused, counted), (expected.0, expected.1, expected_errors), "{direction:?}");
}

#[test]
fn a_poisoned_write_is_counted_where_it_would_be_used() {
    // Two writes of 256 bytes. The switch passes them on; the device that is written to throws them away.
    let errors = [("host0/rp0/sw0/p1/gpu1", Severity::NonFatal, PacketError::PoisonedTlp, 2)];
    check(Direction::Write, bar(&Shape::default(), 1), Attributes::POISONED, (0, 512, &errors));
    check(Direction::Write, bar(&Shape::default(), 1), Attributes::NONE, (512, 0, &[]));
}

#[test]
fn a_poisoned_completion_is_counted_by_its_requester() {
    // One read of 512 bytes, two completions of 256.
    let errors = [("host0/rp0/sw0/p0/gpu0", Severity::NonFatal, PacketError::PoisonedTlp, 2)];
    check(Direction::Read, bar(&Shape::default(), 1), Attributes::POISONED, (0, 512, &errors));
    check(Direction::Read, bar(&Shape::default(), 1), Attributes::NONE, (512, 0, &[]));
}

#[test]
fn an_unsupported_read_is_advisory_since_its_requester_is_told() {
    // Above every window: the root complex finds nobody. It is counted at the root port, the last function on the way.
    let nowhere = bar(&Shape::default(), 1) + (8 << 30);
    let error = |severity, count| [("host0/rp0", severity, PacketError::UnsupportedRequest, count)];
    check(Direction::Read, nowhere, Attributes::NONE, (0, 512, &error(Severity::Correctable, 1)));
    check(Direction::Write, nowhere, Attributes::NONE, (0, 512, &error(Severity::NonFatal, 2)));
}

/// One transfer of device 0 to or from device 1, the memory of `bad` being bad from the start on.
fn with_bad_memory(direction: Direction, bad: usize, every: u32) -> (u64, u64, Vec<u64>) {
    let (machine, registers) = machine(&Shape::default());
    let mut fabric = fabric(&machine, &registers);
    let flow = fabric.add_flow(LatencyOf::Request);
    let node = fabric.spec.device(bad);
    fabric.plan(Picos::ZERO, Fault::PoisonMemory { node, every });
    let engine = match direction {
        Direction::Write => fabric.spec.writer(0),
        Direction::Read => fabric.spec.reader(0),
    };
    // The event is due before anything else: let it happen.
    fabric.set_timer(Picos(1));
    fabric.advance();
    for part in 0..4 {
        let addr = DmaAddr(bar(&Shape::default(), 1) + part * 512);
        fabric.submit(Descriptor::new(engine, addr, Bytes(512), flow, part));
    }
    while fabric.advance().is_some() {}
    fabric.finish();
    let flow = &fabric.ledger.flows[0];
    let lost = fabric.ledger.poisoned.values().map(|lost| lost.bytes).collect();
    (flow.delivered, flow.refused, lost)
}

#[test]
fn bad_memory_answers_reads_with_poisoned_data() {
    // Four reads of 512 bytes, of which every second finds bad data; the reader throws its two completions away.
    assert_eq!(with_bad_memory(Direction::Read, 1, 2), (1024, 1024, vec![1024]));
    assert_eq!(with_bad_memory(Direction::Read, 1, 1), (0, 2048, vec![2048]));
    // The reader's own memory is not read.
    assert_eq!(with_bad_memory(Direction::Read, 0, 1), (2048, 0, vec![]));
}

#[test]
fn what_an_engine_writes_from_bad_memory_is_poisoned() {
    assert_eq!(with_bad_memory(Direction::Write, 0, 4), (1536, 512, vec![512]));
    assert_eq!(with_bad_memory(Direction::Write, 1, 1), (2048, 0, vec![]));
}

#[test]
fn a_read_that_times_out_is_counted_by_its_requester() {
    // A device that is silent answers neither of two reads of 512 bytes.
    let (machine, registers) = machine(&Shape::default());
    let mut fabric = fabric(&machine, &registers);
    let flow = fabric.add_flow(LatencyOf::Request);
    fabric.plan(Picos::ZERO, Fault::StopCompleting(fabric.spec.device(1)));
    let addr = DmaAddr(bar(&Shape::default(), 1));
    fabric.submit(Descriptor::new(fabric.spec.reader(0), addr, Bytes(1024), flow, 0));
    while fabric.advance().is_some() {}
    fabric.finish();
    let counted: Vec<_> = fabric.ledger.errors.iter().collect();
    let requester = fabric.spec.engines[1].requester;
    assert_eq!(counted, [(&(requester, Severity::NonFatal, PacketError::CompletionTimeout), &2)]);
}
