//! What a capture shows of a function's configuration space: read, checked, and put into the function.

use peerbus_units::{BusAddr, Bytes, Range};

use super::context::{Context, Place};
use super::function;
use super::limits::{GENERATIONS, LANES, is_transfer_size};
use crate::codes;
use crate::file::{self, Leaf};
use crate::model::{BridgeFirmware, Config, Express, Function, PortKind, Rom, Sriov, Stated, UnsizedBar};
use crate::part::ResourceKind;

/// Page sizes of virtual functions that do not say: 4 KiB, 8 KiB, 64 KiB, 256 KiB, 1 MiB, 4 MiB (SR-IOV
/// specification, required ones).
const PAGE_SIZES: u32 = 0x553;
/// Widths of tags.
const TAG_BITS: [u8; 4] = [5, 8, 10, 14];
/// Smallest expansion ROM.
const SMALLEST_ROM: Bytes = Bytes(2048);

/// Puts what the field `config` of what stands at `place` says into `function`.
pub(super) fn apply(
    ctx: &mut Context,
    given: Option<&file::Config>,
    bars: &[file::Bar],
    place: &Place,
    function: &mut Function,
) {
    function.config.unsized_bars = unsized_bars(ctx, bars, place);
    let Some(given) = given else { return };
    let place = place.field("config");
    function.config = Config {
        revision: ctx.take(&given.revision, &place, "revision", "a revision from 0x00 to 0xff").unwrap_or(0),
        command: command(ctx, given, &place),
        express: express(ctx, given, &place),
        rom: given.rom.as_ref().and_then(|rom| self::rom(ctx, rom, &place.field("rom"))),
        io_window: ctx.take(&given.io_window, &place, "io_window", "Absent, Narrow or Wide"),
        prefetch_window: ctx.take(
            &given.prefetch_window,
            &place,
            "prefetch_window",
            "Absent, Narrow or Wide",
        ),
        sriov: given.sriov.as_ref().and_then(|sriov| self::sriov(ctx, sriov, &place.field("sriov"))),
        ari: ctx.take(&given.ari, &place, "ari", "a function number, 0 for none"),
        unsized_bars: std::mem::take(&mut function.config.unsized_bars),
        windows_stated: given.windows.is_some(),
    };
    if let Some(express) = &given.express
        && let Some(size) = transfer_size(ctx, &express.max_payload, &place.field("express"), "max_payload")
    {
        function.max_payload = size;
    }
    function.firmware = firmware(ctx, given, &place);
}

/// Registers whose size is not known.
fn unsized_bars(ctx: &mut Context, bars: &[file::Bar], place: &Place) -> Vec<UnsizedBar> {
    let mut found = Vec::new();
    for (position, bar) in bars.iter().enumerate().filter(|(_, bar)| bar.size_unknown) {
        let place = place.element("bars", position);
        let index = ctx.require(&bar.index, &place, "index", "a register number, 0 to 5");
        let kind = ctx.require(&bar.kind, &place, "kind", "Mem32, Mem32Prefetch, Mem64, Mem64Prefetch or Io");
        found.extend(index.zip(kind).map(|(index, kind)| UnsizedBar { index, kind }));
    }
    found
}

fn command(ctx: &mut Context, given: &file::Config, place: &Place) -> Option<u16> {
    let command = ctx.take(&given.command, place, "command", "command bits from 0x0 to 0x7")?;
    if command > 7 {
        let message = format!("command {command:#x} has bits beside I/O, memory and bus master");
        ctx.error(codes::BAD_CONFIG, &place.field("command"), message, "write a number from 0x0 to 0x7");
    }
    Some(command & 7)
}

fn express(ctx: &mut Context, given: &file::Config, place: &Place) -> Stated<Express> {
    let Some(given) = given.express.as_ref().filter(|_| !given.conventional) else {
        return if given.conventional { Stated::Absent } else { Stated::ByRole };
    };
    let place = place.field("express");
    let port = ctx.require(&given.port, &place, "port", "a port type such as RootPort");
    let version = ctx.take(&given.version, &place, "version", "1 or 2").unwrap_or(2);
    let generation = ctx.take(&given.generation, &place, "gen", "a PCIe generation, 1 to 7");
    let lanes = ctx.take(&given.lanes, &place, "lanes", "a number of lanes");
    let tag_bits = ctx.take(&given.tag_bits, &place, "tag_bits", "5, 8, 10 or 14");
    let mut impossible = |field: &'static str, bad: bool, message: String, help: &str| {
        if bad {
            ctx.error(codes::BAD_CONFIG, &place.field(field), message, help);
        }
    };
    impossible(
        "version",
        !(1..=2).contains(&version),
        format!("there is no version {version}"),
        "write 1 or 2",
    );
    let wrong = generation.filter(|generation| !GENERATIONS.contains(generation));
    let message = format!("there is no PCIe generation {}", wrong.unwrap_or(0));
    impossible("gen", wrong.is_some(), message, "write a generation from 1 to 7");
    let wrong = lanes.filter(|lanes| !LANES.contains(lanes));
    let message = format!("a link cannot have {} lanes", wrong.unwrap_or(0));
    impossible("lanes", wrong.is_some(), message, "write 1, 2, 4, 8, 12, 16 or 32");
    let wrong = tag_bits.filter(|bits| !TAG_BITS.contains(bits));
    let message = format!("tags cannot have {} bits", wrong.unwrap_or(0));
    impossible("tag_bits", wrong.is_some(), message, "write 5, 8, 10 or 14");
    let payload = transfer_size(ctx, &given.payload, &place, "payload");
    let read_request = transfer_size(ctx, &given.read_request, &place, "read_request");
    Stated::Present(Express {
        port: port.unwrap_or(PortKind::Endpoint),
        version,
        slot: given.slot,
        hot_plug: given.slot && given.hot_plug,
        payload,
        read_request,
        tag_bits: tag_bits.filter(|bits| TAG_BITS.contains(bits)),
        generation,
        lanes,
        ari_forwarding: given.ari_forwarding,
        ari_enabled: given.ari_enabled,
    })
}

fn transfer_size(
    ctx: &mut Context,
    leaf: &Option<Leaf<Bytes>>,
    place: &Place,
    name: &'static str,
) -> Option<Bytes> {
    let size = ctx.take(leaf, place, name, "a size such as \"256B\"")?;
    if is_transfer_size(size) {
        return Some(size);
    }
    let help = "write \"128B\", \"256B\", \"512B\", \"1KiB\", \"2KiB\" or \"4KiB\"";
    ctx.error(codes::BAD_CONFIG, &place.field(name), format!("{size} is no payload or request size"), help);
    None
}

fn rom(ctx: &mut Context, given: &file::Rom, place: &Place) -> Option<Rom> {
    let size = ctx.require(&given.size, place, "size", "a size such as \"512KiB\"")?;
    let address = ctx.take(&given.address, place, "address", "a bus address such as 0x9000_0000");
    if !size.is_power_of_two() || !(SMALLEST_ROM..=Bytes::mib(16)).contains(&size) {
        let help = "write a power of two from \"2KiB\" to \"16MiB\"";
        ctx.error(codes::BAD_CONFIG, &place.field("size"), format!("no expansion ROM has {size}"), help);
        return None;
    }
    let fits =
        |address: &BusAddr| address.0.is_multiple_of(size.0) && address.0.saturating_add(size.0) <= 1 << 32;
    if let Some(address) = address.filter(|address| !fits(address)) {
        let message = format!("an expansion ROM of {size} cannot be at {address}");
        let help = "write a multiple of its size below 4GiB";
        ctx.error(codes::BAD_CONFIG, &place.field("address"), message, help);
        return None;
    }
    Some(Rom { size, address })
}

fn sriov(ctx: &mut Context, given: &file::Sriov, place: &Place) -> Option<Sriov> {
    let total = ctx.require(&given.total, place, "total", "a number of virtual functions")?;
    let enabled = ctx.take(&given.enabled, place, "enabled", "a number of virtual functions").unwrap_or(0);
    if enabled > total {
        let message = format!("{enabled} virtual functions are more than there are: {total}");
        let help = format!("write `enabled: {total}` at most");
        ctx.error(codes::BAD_CONFIG, &place.field("enabled"), message, help);
    }
    Some(Sriov {
        total,
        enabled: enabled.min(total),
        offset: ctx.take(&given.offset, place, "offset", "a distance of routing ids").unwrap_or(1),
        stride: ctx.take(&given.stride, place, "stride", "a distance of routing ids").unwrap_or(1),
        device: ctx.take(&given.device, place, "device", "a device id such as 0x101e").unwrap_or(0),
        page_sizes: ctx.take(&given.page_sizes, place, "page_sizes", "a set of bits").unwrap_or(PAGE_SIZES),
        bars: function::bars(ctx, &given.bars, place),
    })
}

/// Bus numbers and windows of a bridge, when its source shows the former.
fn firmware(ctx: &mut Context, given: &file::Config, place: &Place) -> Option<BridgeFirmware> {
    let mut windows = Vec::new();
    for (index, window) in given.windows.iter().flatten().enumerate() {
        windows.extend(self::window(ctx, window, &place.element("windows", index)));
    }
    let buses = given.buses.as_ref()?;
    let place = place.field("buses");
    let expected = "a bus number from 0x00 to 0xff";
    let secondary = ctx.require(&buses.secondary, &place, "secondary", expected)?;
    let subordinate = ctx.take(&buses.subordinate, &place, "subordinate", expected).unwrap_or(secondary);
    if subordinate < secondary {
        let message = format!("subordinate bus {subordinate:02x} lies below secondary bus {secondary:02x}");
        let help = format!("write at least {secondary:#04x}");
        ctx.error(codes::BAD_CONFIG, &place.field("subordinate"), message, help);
        return None;
    }
    Some(BridgeFirmware { secondary, subordinate, windows })
}

fn window(
    ctx: &mut Context,
    given: &file::BridgeWindow,
    place: &Place,
) -> Option<(ResourceKind, Range<BusAddr>)> {
    let kind = ctx.require(&given.kind, place, "kind", "Io, Mem32 or Mem64Prefetch")?;
    let first = ctx.require(&given.first, place, "first", "a bus address such as 0x9000_0000")?;
    let last = ctx.require(&given.last, place, "last", "a bus address such as 0x9fff_ffff")?;
    let granule = if kind == ResourceKind::Io { 0xfff } else { 0xf_ffff };
    let range = Range::new(first, last).filter(|_| first.0 & granule == 0 && last.0 & granule == granule);
    if range.is_none() {
        let message = format!("no bridge can pass on {first} to {last}");
        let help = "windows begin and end at multiples of 4KiB (I/O) or 1MiB (memory)";
        ctx.error(codes::BAD_CONFIG, place, message, help);
    }
    range.map(|range| (kind, range))
}
