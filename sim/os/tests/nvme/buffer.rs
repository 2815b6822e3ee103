//! Memory buffers of controllers, by their registers.

use peerbus_os::Profile;
use peerbus_os::drivers::memory_buffer::*;
use peerbus_os::p2pdma::RegisterError;
use peerbus_units::Bytes;

use crate::p2pdma::worked_memory::{RAM, bar, example, memory};

const BASE: u64 = 0x10_0000_0000;

/// Registers by hand: unit and numbers of units as the specification counts them; `support` is bits 4:3.
fn raw(bar: u32, unit: u32, offset: u32, size: u32, support: u32) -> MemoryBufferRegisters {
    MemoryBufferRegisters { location: bar | offset << 12, size: support << 3 | unit << 8 | size << 12 }
}

#[test]
fn registers_hold_what_they_are_made_of() {
    let check = |offset: Bytes, size: Bytes, expect: Option<MemoryBufferRegisters>| {
        assert_eq!(MemoryBufferRegisters::new(4, offset, size, true, true), expect, "{offset} {size}");
    };
    check(Bytes(0), Bytes::kib(4), Some(raw(4, 0, 0, 1, 3)));
    check(Bytes::mib(2), Bytes::mib(64), Some(raw(4, 0, 512, 16384, 3)));
    check(Bytes(0), Bytes::gib(8), Some(raw(4, 1, 0, 131_072, 3)));
    check(Bytes(0), Bytes::gib(64 << 19), Some(raw(4, 6, 0, 1 << 19, 3)));
    // No unit divides half a page, and none has fields for a page and 2^53 bytes.
    check(Bytes(0), Bytes::kib(2), None);
    check(Bytes::kib(4), Bytes(1 << 53), None);
    let half = MemoryBufferRegisters::new(2, Bytes(0), Bytes::mib(2), true, false).unwrap();
    assert_eq!((half, half.holds_data(), half.bar()), (raw(2, 0, 0, 512, 1), false, 2));
}

#[test]
fn a_buffer_is_registered_within_its_bar_and_published_if_it_holds_data() {
    let pages = |mib: u32| mib * 256;
    for profile in Profile::ALL {
        // BAR 0 of 64 MiB, BAR 1 of 1 MiB, BAR 2 of 64 MiB that begins 1 MiB beside a multiple of 2 MiB.
        for (registers, expect) in [
            (raw(0, 0, 0, pages(64), 3), Ok((0, 64, true))),
            (raw(0, 2, 0, 64, 3), Ok((0, 64, true))),
            (raw(0, 0, 0, pages(64), 1), Ok((0, 64, false))),
            (raw(0, 0, 0, pages(64), 2), Ok((0, 64, false))),
            (raw(0, 0, pages(2), pages(4), 3), Ok((2, 4, true))),
            // Clipped.
            (raw(0, 2, 60, 64, 3), Ok((60, 4, true))),
            (raw(0, 6, 0, 1, 3), Ok((0, 64, true))),
            (raw(0, 2, 64, 1, 3), Err(NoMemoryBuffer::OutsideBar)),
            (raw(0, 0, 0, 0, 3), Err(NoMemoryBuffer::Absent)),
            (raw(0, 7, 0, 1, 3), Err(NoMemoryBuffer::Absent)),
            (raw(6, 0, 0, 512, 3), Err(NoMemoryBuffer::OutsideBar)),
            (raw(7, 0, 0, 512, 3), Err(NoMemoryBuffer::OutsideBar)),
            (raw(3, 0, 0, 512, 3), Err(NoMemoryBuffer::OutsideBar)),
            (MemoryBufferRegisters { location: u32::MAX, size: u32::MAX }, Err(NoMemoryBuffer::Absent)),
        ] {
            let mut example = example(profile);
            let (a, tree) = (example.a, &example.machine.tree);
            let found = add_memory_buffer(&mut example.p2pdma, tree, &memory(&RAM), a, registers);
            let id = tree[a].id;
            let found = found.map(|range| {
                let offset = (range.first().0 - BASE) >> 20;
                (offset, range.size().0 >> 20, example.p2pdma.is_published(id))
            });
            assert_eq!(found, expect, "{profile}: {registers:x?}");
        }
    }
}

/// A buffer that could not be registered: newer drivers do not try, older ones are refused and leave the function's state behind.
#[test]
fn unaligned_buffers_are_not_registered() {
    for profile in Profile::ALL {
        let tries = profile != Profile::Linux_7_3;
        for registers in [raw(1, 0, 0, 256, 3), raw(2, 0, 0, 512, 3), raw(0, 0, 0, 513, 3)] {
            let mut example = example(profile);
            let a = example.a;
            bar(&mut example.machine, a, 1, BASE + (2 << 30), 1);
            bar(&mut example.machine, a, 2, BASE + (2 << 30) + (1 << 20), 64);
            let tree = &example.machine.tree;
            let found = add_memory_buffer(&mut example.p2pdma, tree, &memory(&RAM), a, registers);
            let refused = matches!(found, Err(NoMemoryBuffer::Register(RegisterError::Pages(_))));
            assert!(
                if tries { refused } else { found == Err(NoMemoryBuffer::Unaligned) },
                "{profile}: {found:?}"
            );
            assert_eq!(example.p2pdma.has_state(tree[a].id), tries);
        }
        // The offset is left to registration in all of them.
        let mut example = example(profile);
        let (a, tree) = (example.a, &example.machine.tree);
        let found = add_memory_buffer(&mut example.p2pdma, tree, &memory(&RAM), a, raw(0, 0, 256, 512, 3));
        assert!(
            matches!(found, Err(NoMemoryBuffer::Register(RegisterError::Pages(_)))),
            "{profile}: {found:?}"
        );
    }
}
