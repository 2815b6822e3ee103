//! What configuration requests to a small machine must show.
#![allow(clippy::disallowed_methods)] // PEERBUS_CASES says how long property tests run.

use peerbus_units::{BusAddr, Bytes, FunctionId, Range};

use super::Registers;
use super::layout::*;
use super::test_machine::{MEMORY64, function, machine};
use crate::model::*;
use crate::part::*;

fn id(text: &str) -> FunctionId {
    text.parse().unwrap()
}

/// Assigns buses 1–4 depth first, as an operating system would.
fn assign_buses(registers: &mut Registers) {
    for (bridge, numbers) in [
        ("00:01.0", 0x0004_0100),
        ("01:00.0", 0x0004_0201),
        ("02:00.0", 0x0003_0302),
        ("02:01.0", 0x0004_0402),
    ] {
        registers.write(id(bridge), PRIMARY_BUS, 4, numbers);
    }
}

#[test]
fn requests_follow_programmed_bus_numbers() {
    let (machine, at) = machine();
    let mut registers = Registers::power_on(&machine);
    assert_eq!(registers.id(at.head), Some(id("00:00.0")));
    assert_eq!(registers.id(at.root_port), Some(id("00:01.0")));
    assert_eq!(registers.id(at.accelerator), Some(id("00:02.0")));
    for function in [at.upstream, at.gpu, at.nic] {
        assert_eq!(registers.id(function), None, "no bus number yet");
    }
    assign_buses(&mut registers);
    for (function, text) in [
        (at.upstream, "01:00.0"),
        (at.downstream[0], "02:00.0"),
        (at.downstream[1], "02:01.0"),
        (at.gpu, "03:00.0"),
        (at.gpu_audio, "03:00.1"),
        (at.nic, "04:00.0"),
    ] {
        assert_eq!(registers.id(function), Some(id(text)));
        assert_eq!(registers.at(id(text)), Some(function));
    }
    for nobody in ["00:1f.0", "01:01.0", "03:01.0", "05:00.0", "7f:00.0", "80:00.0", "0001:00:00.0"] {
        assert_eq!(registers.at(id(nobody)), None, "{nobody}");
    }
    // A subordinate number that excludes the bus hides it; the bridges above decide too.
    registers.write(id("00:01.0"), SUBORDINATE_BUS, 1, 3);
    assert_eq!(registers.id(at.nic), None);
    assert_eq!(registers.id(at.gpu), Some(id("03:00.0")));
}

#[test]
fn nobody_answers_with_ones() {
    let (machine, _) = machine();
    let mut registers = Registers::power_on(&machine);
    let before = registers.clone();
    for (width, ones) in [(1, 0xff), (2, 0xffff), (4, 0xffff_ffff)] {
        assert_eq!(registers.read(id("05:00.0"), 0, width), ones);
        registers.write(id("05:00.0"), 4, width, 0);
    }
    assert_eq!(registers, before);
}

#[test]
fn headers_say_what_functions_are() {
    let (machine, at) = machine();
    let mut registers = Registers::power_on(&machine);
    assign_buses(&mut registers);
    // Identity, class and header type, device/port type.
    for (function, expect) in [
        (at.root_port, (0x347a_1234, 0x0604_0000, 1, Some(4))),
        (at.upstream, (0xc010_1234, 0x0604_0000, 1, Some(5))),
        (at.downstream[1], (0xc011_1234, 0x0604_0000, 1, Some(6))),
        (at.gpu, (0x2330_1234, 0x0604_0000, 0x80, Some(0))),
        (at.gpu_audio, (0x2331_1234, 0x0604_0000, 0x80, Some(0))),
        (at.accelerator, (0x0b25_1234, 0x0604_0000, 0, Some(9))),
        (at.head, (0x09a2_1234, 0x0880_0000, 0, Some(9))),
    ] {
        let read = |offset, width| registers.read(registers.id(function).unwrap(), offset, width);
        let express = (read(CAPABILITIES, 1) == 0x40).then(|| read(EXPRESS + EXPRESS_FLAGS, 2) >> 4);
        assert_eq!((read(0, 4), read(CLASS, 4), read(HEADER_TYPE, 1), express), expect);
    }
}

#[test]
fn a_conventional_head_has_no_capabilities() {
    let (mut machine, at) = machine();
    machine.functions[at.head].class = 0x060000;
    let registers = Registers::power_on(&machine);
    let read = |offset| registers.read(id("00:00.0"), offset, 4);
    assert_eq!((read(CAPABILITIES), read(COMMAND), read(0x100)), (0, 0, 0xffff_ffff));
}

#[test]
fn links_show_what_was_negotiated() {
    let (machine, at) = machine();
    let mut registers = Registers::power_on(&machine);
    assign_buses(&mut registers);
    // Fastest generation and widest width of the port; negotiated generation and width.
    for (function, expect) in [
        (at.root_port, (5, 16, 4, 16)),
        (at.upstream, (4, 16, 4, 16)),
        (at.downstream[0], (4, 16, 4, 8)),
        (at.gpu_audio, (5, 16, 4, 8)),
        (at.nic, (5, 16, 3, 12)),
        (at.accelerator, (0, 0, 0, 0)),
    ] {
        let read = |offset| registers.read(registers.id(function).unwrap(), EXPRESS + offset, 2);
        let (capabilities, status) = (read(LINK_CAPABILITIES), read(LINK_STATUS));
        let speed_and_width = |word: u32| (word & 0xf, word >> 4 & 0x3f);
        let ((speed, width), (now, lanes)) = (speed_and_width(capabilities), speed_and_width(status));
        assert_eq!((speed, width, now, lanes), expect);
        assert_eq!(read(LINK_CAPABILITIES2), ((1 << (speed + 1)) - 2) & 0xfe, "speeds up to the fastest");
    }
}

/// Writes ones, reads back, restores: what software learns about a register.
fn probe(registers: &mut Registers, function: FunctionId, offset: u16) -> u32 {
    let before = registers.read(function, offset, 4);
    registers.write(function, offset, 4, u32::MAX);
    let probed = registers.read(function, offset, 4);
    registers.write(function, offset, 4, before);
    assert_eq!(registers.read(function, offset, 4), before);
    probed
}

#[test]
fn sizing_protocol() {
    let (machine, _) = machine();
    let mut registers = Registers::power_on(&machine);
    assign_buses(&mut registers);
    let gpu = id("03:00.0");
    for (register, expect) in [
        (0, 0xff00_0000), // 16 MiB, 32-bit
        (1, 0x0000_000c), // 8 GiB, 64-bit prefetchable
        (2, 0xffff_fffe),
        (3, 0xfe00_0004), // 32 MiB, 64-bit
        (4, 0xffff_ffff),
        (5, 0xffff_ff81), // 128 bytes of I/O
    ] {
        assert_eq!(probe(&mut registers, gpu, BAR0 + 4 * register), expect, "register {register}");
    }
    assert_eq!(probe(&mut registers, id("04:00.0"), BAR0), 0xffe0_0008, "2 MiB, 32-bit prefetchable");
    assert_eq!(probe(&mut registers, id("04:00.0"), BAR0 + 4), 0, "no BAR there");
    assert_eq!(probe(&mut registers, gpu, 0x30), 0, "no expansion ROM");
    assert_eq!(probe(&mut registers, id("02:00.0"), MEMORY_BASE), 0xfff0_fff0);
    assert_eq!(probe(&mut registers, id("02:00.0"), PREFETCH_BASE), 0xfff1_fff1);
}

#[test]
fn bars_decode_when_programmed_and_enabled() {
    let (machine, at) = machine();
    let mut registers = Registers::power_on(&machine);
    assign_buses(&mut registers);
    let gpu = id("03:00.0");
    registers.write(gpu, BAR0 + 4, 4, 0x0000_0000);
    registers.write(gpu, BAR0 + 8, 4, 0x0000_0382);
    registers.write(gpu, BAR0 + 20, 4, 0x1000);
    assert_eq!(registers.bars(at.gpu), [], "memory decoding is off");
    let before = registers.function_generation(at.gpu);
    registers.write(gpu, COMMAND, 2, 0x0003);
    assert_eq!(registers.function_generation(at.gpu), before + 1);
    let bars = registers.bars(at.gpu);
    let expect = Range::sized(BusAddr(0x382_0000_0000), Bytes::gib(8)).unwrap();
    assert_eq!(
        bars.iter().map(|bar| (bar.index, bar.range, bar.kind)).collect::<Vec<_>>(),
        [(1, expect, MEMORY64)]
    );
    let io = registers.io_bars(at.gpu);
    assert_eq!(
        io.iter().map(|bar| (bar.index, bar.range.first())).collect::<Vec<_>>(),
        [(5, BusAddr(0x1000))]
    );
    assert_eq!(registers.bar_size(at.gpu, 3), Some(Bytes::mib(32)));
    assert_eq!(registers.bar_size(at.nic, 3), None);
}

#[test]
fn resizing_changes_the_mask() {
    let (machine, at) = machine();
    let mut registers = Registers::power_on(&machine);
    assign_buses(&mut registers);
    let gpu = id("03:00.0");
    assert_eq!(registers.read(gpu, 0x100, 4), 0x0001_0015, "the only extended capability");
    assert_eq!(registers.read(gpu, 0x104, 4), 0x3ff0 << 4, "16 MiB to 8 GiB");
    assert_eq!(registers.read(gpu, 0x108, 4), 13 << 8 | 1 << 5 | 1, "8 GiB, one BAR, BAR 1");
    let size = |registers: &mut Registers, code: u32| {
        registers.write(gpu, 0x108, 4, code << 8);
        let upper = u64::from(probe(registers, gpu, BAR0 + 8)) << 32;
        let probed = upper | u64::from(probe(registers, gpu, BAR0 + 4) & !0xf);
        assert_eq!(registers.bar_size(at.gpu, 1), Some(Bytes(probed.wrapping_neg())));
        Bytes(probed.wrapping_neg())
    };
    assert_eq!(size(&mut registers, 8), Bytes::mib(256));
    assert_eq!(size(&mut registers, 11), Bytes::gib(2));
    let generation = registers.generation();
    for unsupported in [0, 3, 14, 63] {
        registers.write(gpu, 0x108, 4, unsupported << 8);
        assert_eq!(registers.bar_size(at.gpu, 1), Some(Bytes::gib(2)), "{unsupported}");
    }
    assert_eq!(registers.generation(), generation, "nothing changed");
}

#[test]
fn acs_control_takes_what_the_capability_has() {
    let (machine, at) = machine();
    let mut registers = Registers::power_on(&machine);
    assign_buses(&mut registers);
    let port = id("00:01.0");
    assert_eq!(registers.read(port, 0x100, 4), 0x0001_000d);
    assert_eq!(registers.read(port, 0x104, 4), 0x001d_005f);
    registers.write(port, 0x106, 2, 0xffff);
    assert_eq!(
        (registers.acs_capability(at.root_port), registers.acs_control(at.root_port)),
        (Some(0x5f), Some(0x5f))
    );
    // 32 bits of egress control vector.
    registers.write(id("02:00.0"), 0x108, 4, 1 << 9);
    assert!(registers.acs_egress(at.downstream[0], 9) && !registers.acs_egress(at.downstream[0], 8));
    assert!(!registers.acs_egress(at.root_port, 9));
    assert_eq!((registers.acs_control(at.gpu), registers.acs_control(at.upstream)), (None, None));
}

#[test]
fn firmware_sets_payloads_per_hierarchy() {
    let (machine, at) = machine();
    let registers = Registers::power_on(&machine);
    for function in [at.root_port, at.upstream, at.downstream[1], at.gpu, at.nic] {
        assert_eq!(registers.max_payload(function), Bytes(256), "the GPU is the smallest");
    }
    assert_eq!(registers.max_payload(at.accelerator), Bytes(512), "a hierarchy of its own");
    assert_eq!(registers.max_read_request(at.gpu), Bytes(4096));
    assert_eq!(registers.max_read_request(at.upstream), Bytes(512));
}

#[test]
fn tag_enables_stand_in_three_registers() {
    let (machine, at) = machine();
    for (bits, tags, control, control2) in
        [(5, 32, 0, 0), (8, 256, 1, 0), (10, 768, 1, 1), (14, 15_360, 1, 1)]
    {
        let mut machine = machine.clone();
        let mut express = stated_endpoint();
        express.tag_bits = Some(bits);
        machine.functions[at.gpu].config.express = Stated::Present(express);
        let registers = Registers::power_on(&machine);
        assert_eq!(registers.tags(at.gpu), tags, "{bits} bits");
        let space = registers.space(at.gpu);
        assert_eq!(space.u16(EXPRESS + DEVICE_CONTROL) >> 8 & 1, control);
        assert_eq!(space.u16(EXPRESS + DEVICE_CONTROL2) >> 12 & 1, control2);
        assert_eq!(space.device3.is_some(), bits == 14);
    }
}

/// An endpoint whose listing says nothing else.
fn stated_endpoint() -> Express {
    Express {
        port: PortKind::Endpoint,
        version: 2,
        slot: false,
        hot_plug: false,
        payload: None,
        read_request: None,
        tag_bits: None,
        generation: None,
        lanes: None,
        ari_forwarding: false,
        ari_enabled: false,
    }
}

#[test]
fn firmware_addresses_are_programmed() {
    let (mut machine, at) = machine();
    let range = |first, last| Range::new(BusAddr(first), BusAddr(last)).unwrap();
    let prefetch = range(0x380_0000_0000, 0x381_ffff_ffff);
    let memory = range(0x9000_0000, 0x91ff_ffff);
    let io = range(0x3000, 0x4fff);
    for (bridge, secondary, subordinate) in
        [(at.root_port, 1, 9), (at.upstream, 2, 9), (at.downstream[0], 3, 3), (at.downstream[1], 9, 9)]
    {
        machine.functions[bridge].firmware = Some(BridgeFirmware {
            secondary,
            subordinate,
            windows: vec![(MEMORY64, prefetch), (ResourceKind::Mem32, memory), (ResourceKind::Io, io)],
        });
    }
    machine.functions[at.gpu].bars[0].address = Some(BusAddr(0x9000_0000));
    machine.functions[at.gpu].bars[1].address = Some(BusAddr(0x380_0000_0000));
    machine.functions[at.nic].bars[0].address = Some(BusAddr(0x1_0000_0000));
    let registers = Registers::power_on(&machine);
    assert_eq!(registers.id(at.nic), Some(id("09:00.0")));
    let windows = registers.windows(at.downstream[0]);
    assert_eq!(windows.iter().map(|window| window.range).collect::<Vec<_>>(), [memory, prefetch]);
    assert_eq!(registers.io_window(at.downstream[0]).map(|window| window.range), Some(io));
    assert_eq!(registers.bus_numbers(at.downstream[0]).map(|bus| bus.primary), Some(2));
    let bars = registers.bars(at.gpu);
    assert_eq!(
        bars.iter().map(|bar| bar.range.first().0).collect::<Vec<_>>(),
        [0x9000_0000, 0x380_0000_0000]
    );
    assert_eq!(registers.bars(at.nic), [], "a 32-bit register cannot hold that address");
    assert_eq!(registers.windows(at.gpu), [], "not a bridge");
    assert_eq!(registers.generation(), 0);
}

#[test]
fn closed_windows_are_closed() {
    let (machine, at) = machine();
    let mut registers = Registers::power_on(&machine);
    registers.write(id("00:01.0"), COMMAND, 2, 0x0007);
    assert!(registers.windows(at.root_port).is_empty() && registers.io_window(at.root_port).is_none());
}

#[test]
fn stated_numbers_come_first_and_devices_run_out_gracefully() {
    let (mut machine, at) = machine();
    machine.functions[at.accelerator].id = Some(id("00:00.0"));
    let mut ports = Vec::new();
    for port in 0..300 {
        ports.push(machine.functions.add_node(function(&format!("host0/rp{port}"), Role::RootPort, 1)));
    }
    machine.host_bridges[0].functions.extend(&ports);
    let registers = Registers::power_on(&machine);
    assert_eq!(registers.id(at.accelerator), Some(id("00:00.0")));
    assert_eq!(registers.id(at.head), Some(id("00:01.0")), "its usual place is taken");
    assert_eq!(registers.id(ports[0]), Some(id("00:03.0")));
    assert_eq!(registers.id(ports[29]), Some(id("00:00.1")), "devices are used up");
    assert_eq!(registers.id(ports[299]), None, "functions are used up");
    assert_eq!(registers.functions().filter(|index| registers.id(*index).is_some()).count(), 256);
}

/// Every capability starts on a dword behind the header, chains end, and structures do not overlap.
#[test]
fn capability_chains_are_legal() {
    let (machine, at) = machine();
    let registers = Registers::power_on(&machine);
    for (function, expect) in
        [(at.root_port, vec![0xd]), (at.gpu, vec![0x15]), (at.nic, vec![]), (at.downstream[0], vec![0xd])]
    {
        let bytes = registers.bytes(function);
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        assert_eq!((bytes[0x34], bytes[0x40], bytes[0x41], word(6) & 0x10), (0x40, 0x10, 0, 0x10));
        let (mut ids, mut next) = (Vec::new(), 0x100);
        while next != 0 && word(next) != 0 {
            ids.push(word(next));
            assert_eq!(word(next + 2) & 0xf, 1, "version");
            next = usize::from(word(next + 2) >> 4);
        }
        assert_eq!(ids, expect);
    }
}

/// What no write may change, whatever its width and place: identity, layout, abilities.
const READ_ONLY: [(u16, u32); 12] = [
    (VENDOR, u32::MAX),
    (CLASS, u32::MAX),
    (HEADER_TYPE - 2, 0x00ff_0000),
    (CAPABILITIES, u32::MAX),
    (COMMAND, 0x06ff_fab8),
    (EXPRESS, u32::MAX),
    (EXPRESS + DEVICE_CAPABILITIES, u32::MAX),
    (EXPRESS + DEVICE_CONTROL, 0xfff0_8600),
    (EXPRESS + LINK_CAPABILITIES, u32::MAX),
    (EXPRESS + LINK_CONTROL, 0xffff_ff3c),
    (EXPRESS + LINK_CAPABILITIES2, u32::MAX),
    (EXTENDED, u32::MAX),
];

#[test]
fn read_only_bits_never_change() {
    let cases = std::env::var("PEERBUS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000u32);
    let seed = 0x5eed_0001_u64;
    println!("seed {seed:#x}, {cases} cases");
    let (machine, at) = machine();
    let mut registers = Registers::power_on(&machine);
    assign_buses(&mut registers);
    let first = registers.clone();
    let all =
        [at.head, at.root_port, at.upstream, at.downstream[0], at.gpu, at.gpu_audio, at.nic, at.accelerator];
    let total = |registers: &Registers| {
        all.map(|function| registers.function_generation(function)).iter().sum::<u64>()
    };
    let word = |registers: &Registers, function, offset: u16| {
        let bytes = &registers.bytes(function)[usize::from(offset)..];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    };
    let mut state = seed;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        u32::try_from((state >> 32) % below).unwrap()
    };
    for case in 0..cases {
        let function = all[usize::try_from(draw(8)).unwrap()];
        let width = [1u8, 2, 4][usize::try_from(draw(3)).unwrap()];
        let offset = u16::try_from(draw(if case % 8 == 0 { 0x1_0000 } else { 0x120 })).unwrap();
        // Bus numbers stay as they are, so that every function stays where it is.
        if first.is_bridge(function) && matches!(offset, 0x15..=0x1a) {
            continue;
        }
        registers.write(first.id(function).unwrap(), offset, width, draw(1 << 32));
        for (offset, mask) in READ_ONLY {
            let (before, after) = (word(&first, function, offset), word(&registers, function, offset));
            assert_eq!((before ^ after) & mask, 0, "seed {seed:#x} case {case} at {offset:#x}");
        }
        let bars = registers.bars(function).into_iter().chain(registers.io_bars(function));
        for bar in bars {
            assert_eq!(Some(bar.range.size()), registers.bar_size(function, bar.index));
            assert_eq!(bar.range.first().0 % bar.range.size().0, 0, "seed {seed:#x} case {case}");
        }
    }
    assert_eq!(registers.generation() - first.generation(), total(&registers) - total(&first));
}
