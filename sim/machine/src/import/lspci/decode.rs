//! What the bytes of a function's configuration space mean.
//!
//! Registers hold bus addresses. Sizes of base address registers are not in them: they show only when all ones are
//! written, which a dump does not do.

use peerbus_units::Bytes;

use super::dump::Dump;
use super::facts::{Acs, Bar, Buses, Express, Facts, Known, Link, Rom, Sriov, Window, Windows, port_type};
use crate::part::{PciId, ResourceKind};
use crate::registers::layout::*;

/// Steps after which a list of capabilities counts as circular.
const STANDARD_STEPS: usize = 48;
const EXTENDED_STEPS: usize = 480;

/// Overlays `facts` with what `dump` shows. Where both speak of a register, the dump counts.
///
/// A function that does not answer, asleep or gone, reads as all ones, which say nothing of it.
pub fn decode(dump: &Dump, facts: &mut Facts) {
    if dump.has(VENDOR, 4) && dump.u32(VENDOR) == u32::MAX {
        return;
    }
    if dump.has(VENDOR, 4) && !matches!(dump.u16(VENDOR), 0 | 0xffff) {
        facts.pci = Some(PciId { vendor: dump.u16(VENDOR), device: dump.u16(VENDOR + 2) });
    }
    if dump.has(CLASS, 4) {
        facts.class = Some(dump.u32(CLASS) >> 8);
        facts.revision = Some(dump.u8(CLASS));
    }
    if dump.has(COMMAND, 2) {
        facts.command = Some(dump.u16(COMMAND) & 7);
    }
    if dump.has(HEADER_TYPE, 1) {
        facts.header = Some(dump.u8(HEADER_TYPE) & 0x7f);
    }
    if dump.has(0, 0x40) {
        header(dump, facts);
        facts.express = express(dump).or(facts.express);
        extended(dump, facts);
    }
}

fn header(dump: &Dump, facts: &mut Facts) {
    let (registers, rom) = match facts.header {
        Some(0) => (6, ROM_ADDRESS),
        Some(1) => (2, ROM_ADDRESS_BRIDGE),
        _ => return,
    };
    bars(dump, BAR0, registers, &mut facts.bars, facts.detailed);
    let address = u64::from(dump.u32(rom) & ROM_MASK);
    if let Some(known) = &mut facts.rom {
        known.bus = Some(address);
    } else if address != 0 && !facts.detailed {
        facts.rom = Some(Rom { size: None, cpu: None, bus: Some(address) });
    }
    if facts.header == Some(1) {
        facts.buses =
            Some(Buses { secondary: dump.u8(SECONDARY_BUS), subordinate: dump.u8(SUBORDINATE_BUS) });
        facts.windows = windows(dump);
    } else {
        let subsystem = PciId { vendor: dump.u16(SUBSYSTEM), device: dump.u16(SUBSYSTEM + 2) };
        facts.subsystem = Some(subsystem).filter(|pci| pci.vendor != 0).or(facts.subsystem);
    }
}

/// Base address registers from `base` on: what the register holds goes beside what the kernel shows. A register that
/// the kernel's view, where there is one, does not show has no place; without anything in it, it does not exist.
fn bars(dump: &Dump, base: u16, registers: u8, bars: &mut Vec<Bar>, detailed: bool) {
    let mut index = 0;
    while index < registers {
        let (kind, address) = register(dump, base + 4 * u16::from(index));
        let known = bars.iter_mut().find(|bar| bar.index == index);
        let wide = kind.is_64bit() && index + 1 < registers;
        match known {
            Some(bar) => (bar.kind, bar.bus) = (kind, Some(address)),
            None if address != 0 || kind != ResourceKind::Mem32 => {
                let bus = Some(address).filter(|address| *address != 0);
                bars.push(Bar {
                    index,
                    kind,
                    size: None,
                    cpu: None,
                    bus,
                    unplaced: detailed || bus.is_none(),
                });
            }
            None => {}
        }
        index += 1 + u8::from(wide);
    }
    bars.sort_by_key(|bar| bar.index);
}

/// Kind and address of the base address register at `offset`.
fn register(dump: &Dump, offset: u16) -> (ResourceKind, u64) {
    let low = dump.u32(offset);
    if low & BAR_IO != 0 {
        return (ResourceKind::Io, u64::from(low & !3));
    }
    let prefetch = low & BAR_PREFETCH != 0;
    let address = u64::from(low & !0xf);
    if low & BAR_64BIT != 0 {
        let kind = if prefetch { ResourceKind::Mem64Prefetch } else { ResourceKind::Mem64 };
        return (kind, address | u64::from(dump.u32(offset + 4)) << 32);
    }
    (if prefetch { ResourceKind::Mem32Prefetch } else { ResourceKind::Mem32 }, address)
}

fn windows(dump: &Dump) -> Windows {
    let open = |first: u64, last: u64, wide: bool| {
        Known::Present(Window { range: (first <= last).then_some((first, last)), wide: Some(wide) })
    };
    let (io_base, io_limit) = (dump.u8(IO_BASE), dump.u8(IO_LIMIT));
    let io_wide = io_base & 0xf == 1;
    let io_upper = |offset: u16| if io_wide { u64::from(dump.u16(offset)) << 16 } else { 0 };
    let io = open(
        u64::from(io_base & 0xf0) << 8 | io_upper(IO_BASE_UPPER),
        u64::from(io_limit & 0xf0) << 8 | io_upper(IO_LIMIT_UPPER) | 0xfff,
        io_wide,
    );
    let megabytes = |offset: u16| u64::from(dump.u16(offset) & 0xfff0) << 16;
    let memory = open(megabytes(MEMORY_BASE), megabytes(MEMORY_LIMIT) | 0xf_ffff, false);
    let prefetch_wide = dump.u16(PREFETCH_BASE) & 0xf == 1;
    let upper = |offset: u16| if prefetch_wide { u64::from(dump.u32(offset)) << 32 } else { 0 };
    let prefetch = open(
        megabytes(PREFETCH_BASE) | upper(PREFETCH_BASE_UPPER),
        megabytes(PREFETCH_LIMIT) | upper(PREFETCH_LIMIT_UPPER) | 0xf_ffff,
        prefetch_wide,
    );
    // A register that is not implemented reads zero in base and limit.
    let io_absent = dump.u16(IO_BASE) == 0;
    let prefetch_absent = dump.u32(PREFETCH_BASE) == 0;
    Windows {
        io: if io_absent { Known::Absent } else { io },
        memory,
        prefetch: if prefetch_absent { Known::Absent } else { prefetch },
    }
}

/// Offset of the standard capability with that id: `Unknown` when the list was not dumped.
fn find(dump: &Dump, wanted: u8) -> Known<u16> {
    if dump.u16(STATUS) & STATUS_CAPABILITIES == 0 {
        return Known::Absent;
    }
    let mut at = u16::from(dump.u8(CAPABILITIES) & !3);
    for _ in 0..STANDARD_STEPS {
        if at < 0x40 {
            return Known::Absent;
        }
        if !dump.has(at, 2) {
            return Known::Unknown;
        }
        match dump.u8(at) {
            0xff => return Known::Absent,
            found if found == wanted => return Known::Present(at),
            _ => at = u16::from(dump.u8(at + 1) & !3),
        }
    }
    Known::Absent
}

fn express(dump: &Dump) -> Known<Express> {
    let at = match find(dump, EXPRESS_ID) {
        Known::Present(at) => at,
        Known::Absent => return Known::Absent,
        Known::Unknown => return Known::Unknown,
    };
    let flags = dump.u16(at + EXPRESS_FLAGS);
    let device = dump.u32(at + DEVICE_CAPABILITIES);
    let control = dump.u16(at + DEVICE_CONTROL);
    let size = |code: u16| decode_transfer_size(code & 7);
    let port = (flags >> 4 & 0xf).to_le_bytes()[0];
    let slot = flags & SLOT_IMPLEMENTED != 0;
    let has_link = !matches!(port, port_type::INTEGRATED | port_type::EVENT_COLLECTOR);
    let second = flags & 0xf >= 2;
    let is_port = matches!(port, port_type::ROOT_PORT | port_type::DOWNSTREAM);
    let [capability, ..] = dump.u32(at + LINK_CAPABILITIES).to_le_bytes();
    let width = |register: u16| (register >> 4 & 0x3f).to_le_bytes()[0];
    let link_capabilities = dump.u16(at + LINK_CAPABILITIES);
    let status = dump.u16(at + LINK_STATUS);
    let link =
        |generation: u8, lanes: u8| (1..=7).contains(&generation).then_some(Link { generation, lanes });
    Known::Present(Express {
        port,
        version: Some((flags & 0xf).to_le_bytes()[0]),
        slot,
        hot_plug: slot && dump.u32(at + SLOT_CAPABILITIES) & HOT_PLUG_CAPABLE != 0,
        max_payload: Some(size(device.to_le_bytes()[0].into())),
        payload: Some(size(control >> 5)),
        read_request: Some(size(control >> 12)),
        tag_bits: Some(tag_bits(control, if second { dump.u16(at + DEVICE_CONTROL2) } else { 0 })),
        capable: link(capability & 0xf, width(link_capabilities)).filter(|_| has_link),
        status: link(status.to_le_bytes()[0] & 0xf, width(status)).filter(|_| has_link),
        ari_forwarding: is_port && second && dump.u32(at + DEVICE_CAPABILITIES2) & ARI_FORWARDING != 0,
        ari_enabled: is_port && second && dump.u16(at + DEVICE_CONTROL2) & ARI_FORWARDING_CONTROL != 0,
    })
}

/// Bits of the tags that two control registers enable. Enables of 14 bits stand in a capability of their own.
fn tag_bits(control: u16, control2: u16) -> u8 {
    match (control2 & TEN_BIT_TAGS != 0, control & EXTENDED_TAGS != 0) {
        (true, _) => 10,
        (false, true) => 8,
        _ => 5,
    }
}

/// Extended capabilities. Without a row of them nothing is known, unless the words of the listing say so.
fn extended(dump: &Dump, facts: &mut Facts) {
    if facts.express == Known::Absent {
        facts.acs = Known::Absent;
        return;
    }
    if !dump.has_extended() {
        return;
    }
    let shown = std::mem::replace(&mut facts.acs, Known::Absent);
    let mut at = EXTENDED;
    for _ in 0..EXTENDED_STEPS {
        if !dump.has(at, 4) {
            // The dump ends before the list does: what follows may be ACS.
            facts.acs = if facts.acs == Known::Absent { shown } else { facts.acs };
            return;
        }
        let header = dump.u32(at);
        if header == 0 || header == u32::MAX {
            return;
        }
        let id = dump.u16(at);
        match id {
            ACS_ID => {
                let (capability, control) = (dump.u16(at + ACS_CAPABILITY), dump.u16(at + ACS_CONTROL));
                facts.acs = Known::Present(Acs { capability, control });
            }
            ARI_ID => facts.ari = Some(dump.u8(at + ARI_NEXT)),
            RESIZABLE_ID => resizable(dump, at, facts),
            SRIOV_ID => sriov(dump, at, facts),
            _ => {}
        }
        at = dump.u16(at + 2) >> 4 & !3;
        if at < EXTENDED {
            return;
        }
    }
}

fn resizable(dump: &Dump, at: u16, facts: &mut Facts) {
    let count = dump.u8(at + RESIZABLE_FIRST + 4) >> 5 & 7;
    facts.resizable.clear();
    for entry in 0..u16::from(count.min(6)) {
        let register = at + RESIZABLE_FIRST + 8 * entry;
        let control = dump.u32(register + 4);
        let sizes = u64::from(dump.u32(register) >> 4) | u64::from(control >> 16) << 28;
        let [low, ..] = control.to_le_bytes();
        let index = low & 7;
        if index < 6 && sizes != 0 {
            facts.resizable.push((index, sizes));
            // The control register tells the present size, which no other register does.
            let exponent = 20 + (control >> 8 & 0x3f);
            if let Some(bar) = facts.bars.iter_mut().find(|bar| bar.index == index)
                && exponent < 64
            {
                bar.size = bar.size.or(Some(Bytes(1 << exponent)));
            }
        }
    }
}

fn sriov(dump: &Dump, at: u16, facts: &mut Facts) {
    let enabled = dump.u16(at + SRIOV_CONTROL) & 1 != 0;
    let mut found = facts.sriov.take().unwrap_or_default();
    found.total = dump.u16(at + SRIOV_TOTAL);
    found.enabled = if enabled { dump.u16(at + SRIOV_NUMBER) } else { 0 };
    found.offset = dump.u16(at + SRIOV_OFFSET);
    found.stride = dump.u16(at + SRIOV_STRIDE);
    found.device = dump.u16(at + SRIOV_DEVICE);
    found.page_sizes = dump.u32(at + SRIOV_PAGES);
    let kernel = std::mem::take(&mut found.bars);
    bars(dump, at + SRIOV_BAR, 6, &mut found.bars, false);
    for bar in &mut found.bars {
        // The kernel's resource is for all virtual functions together.
        let all = kernel.iter().find(|known| known.index == bar.index && known.cpu.is_some());
        let all = all.and_then(|known| known.size).filter(|_| found.total > 0);
        bar.size = all.map(|all| Bytes(all.0 / u64::from(found.total)));
    }
    facts.sriov = Some(found).filter(|sriov: &Sriov| sriov.total > 0);
}

#[cfg(test)]
mod tests {
    use peerbus_units::FunctionId;

    use super::*;
    use crate::import::lspci::dump::row;

    fn facts(rows: &[&str]) -> Facts {
        let mut dump = Dump::default();
        rows.iter().for_each(|line| dump.add(&row(line).unwrap().unwrap()));
        let mut facts = Facts::new(FunctionId::new(0, 1, 0, 0), ("a".into(), 0..0));
        decode(&dump, &mut facts);
        facts
    }

    /// A recorded root port of the emulator QEMU (conformance boots/n_pseries, 00:05.0 is a conventional bridge).
    #[test]
    fn a_conventional_bridge() {
        let found = facts(&[
            "00: 36 1b 01 00 07 01 b0 00 00 00 04 06 00 00 01 00",
            "10: 04 00 30 80 00 00 00 00 00 01 01 00 10 10 a0 00",
            "20: 10 80 20 80 01 00 f1 ff 01 21 00 00 01 21 00 00",
            "30: 00 00 00 00 4c 00 00 00 00 00 00 00 00 01 00 00",
            "40: 0c 00 00 00 00 00 00 00 04 40 20 01 05 48 80 01",
        ]);
        assert_eq!(found.buses, Some(Buses { secondary: 1, subordinate: 1 }));
        assert_eq!((found.express, found.acs), (Known::Absent, Known::Absent));
        assert_eq!(found.bars[0].kind, ResourceKind::Mem64);
        assert_eq!(found.bars[0].bus, Some(0x8030_0000));
        let range = |window: Known<Window>| window.get().and_then(|window| window.range);
        assert_eq!(range(found.windows.io), Some((0x1000, 0x1fff)));
        assert_eq!(range(found.windows.memory), Some((0x8010_0000, 0x802f_ffff)));
        assert_eq!(range(found.windows.prefetch), Some((0x2101_0000_0000, 0x2101_ffff_ffff)));
    }

    const GPU: [&str; 5] = [
        "00: de 10 30 23 06 04 10 00 a1 00 02 03 00 00 00 00",
        "30: 00 00 00 00 40 00 00 00 00 00 00 00 ff 01 00 00",
        "10: 0c 00 00 00 00 38 00 00 00 00 00 00 00 00 00 00",
        "20: 00 00 00 00 00 00 00 00 00 00 00 00 de 10 c0 16",
        "40: 10 00 02 00 01 8e 2c 01 30 21 0a 00 03 41 46 00",
    ];

    #[test]
    fn a_dump_that_ends_within_the_list_leaves_acs_unknown() {
        let acs = |first: &str| facts(&[&GPU[..], &[first]].concat()).acs;
        assert_eq!(acs("100: 01 00 02 00 00 00 00 00 00 00 00 00 00 00 00 00"), Known::Absent);
        assert_eq!(acs("100: 01 00 02 14 00 00 00 00 00 00 00 00 00 00 00 00"), Known::Unknown);
        let words = Acs { capability: 0x1f, control: 0x1d };
        assert_eq!(acs("100: 0d 00 01 14 1f 00 1d 00 00 00 00 00 00 00 00 00"), Known::Present(words));
    }

    #[test]
    fn a_function_that_does_not_answer_is_unknown() {
        let ones = "ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff";
        let rows: Vec<String> = (0..16).map(|row| format!("{row:x}0: {ones}")).collect();
        let found = facts(&rows.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((found.header, found.express, found.acs), (None, Known::Unknown, Known::Unknown));
    }

    #[test]
    fn a_short_dump_leaves_capabilities_unknown() {
        let found = facts(&[
            "00: de 10 30 23 06 04 10 00 a1 00 02 03 00 00 00 00",
            "10: 0c 00 00 00 00 38 00 00 00 00 00 00 00 00 00 00",
            "20: 00 00 00 00 00 00 00 00 00 00 00 00 de 10 c0 16",
            "30: 00 00 00 00 40 00 00 00 00 00 00 00 ff 01 00 00",
        ]);
        assert_eq!((found.express, found.acs), (Known::Unknown, Known::Unknown));
        assert_eq!(found.pci, Some(PciId { vendor: 0x10de, device: 0x2330 }));
        assert_eq!(found.bars.len(), 1);
        assert_eq!(found.bars[0].bus, Some(0x3800_0000_0000));
    }
}
