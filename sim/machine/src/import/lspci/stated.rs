//! The parts of a machine file that repeat what registers show: capabilities, windows, ACS words.

use peerbus_units::{BusAddr, Bytes};

use super::apertures::Apertures;
use super::facts::{Express, Facts, Known, Link, Window};
use super::topology::Bus;
use crate::file::{self, Leaf};
use crate::import::Note;
use crate::model::{PortKind, WindowWidth};
use crate::part::ResourceKind;

/// Widths a link can have.
pub const LANES: [u8; 7] = [1, 2, 4, 8, 12, 16, 32];

pub fn leaf<T>(value: T) -> Option<Leaf<T>> {
    Some(Leaf::new(value))
}

/// What the registers of a function show; `root` is the root bus above.
pub fn config(facts: &Facts, root: Bus, apertures: &Apertures) -> Option<Box<file::Config>> {
    let mut config = file::Config {
        revision: facts.revision.filter(|revision| *revision != 0).map(Leaf::new),
        command: facts.command.map(|command| Leaf::new(command & 7)),
        express: facts.express.get().and_then(express),
        conventional: facts.express == Known::Absent,
        rom: rom(facts, root, apertures),
        ari: facts.ari.map(Leaf::new),
        ..file::Config::default()
    };
    if facts.is_bridge() {
        config.buses = facts.buses.map(|buses| file::Buses {
            secondary: leaf(buses.secondary),
            subordinate: leaf(buses.subordinate),
        });
        config.windows = windows(facts, root, apertures);
        config.io_window = width(facts.windows.io).map(Leaf::new);
        config.prefetch_window = width(facts.windows.prefetch).map(Leaf::new);
    } else {
        config.sriov = sriov(facts);
    }
    Some(Box::new(config))
}

fn express(given: Express) -> Option<file::Express> {
    let capable = given.capable;
    let lanes = capable.map(|link| link.lanes).filter(|lanes| LANES.contains(lanes));
    Some(file::Express {
        port: leaf(PortKind::from_number(given.port)?),
        version: given.version.filter(|version| *version == 1).map(Leaf::new),
        generation: capable.map(|link| Leaf::new(link.generation)),
        lanes: lanes.map(Leaf::new),
        max_payload: given.max_payload.map(Leaf::new),
        payload: given.payload.map(Leaf::new),
        read_request: given.read_request.map(Leaf::new),
        tag_bits: given.tag_bits.map(Leaf::new),
        slot: given.slot,
        hot_plug: given.slot && given.hot_plug,
        ari_forwarding: given.ari_forwarding,
        ari_enabled: given.ari_forwarding && given.ari_enabled,
    })
}

/// An expansion ROM of known size.
fn rom(facts: &Facts, root: Bus, apertures: &Apertures) -> Option<file::Rom> {
    let rom = facts.rom?;
    let size = rom.size.filter(|size| size.is_power_of_two() && (1 << 11..=1 << 24).contains(&size.0))?;
    let address = rom.cpu.map(|cpu| apertures.to_bus(root, false, cpu)).or(rom.bus);
    let fits = |address: &u64| {
        *address != 0 && address & (size.0 - 1) == 0 && address.saturating_add(size.0) <= 1 << 32
    };
    let address = address.filter(fits).map(|address| Leaf::new(BusAddr(address)));
    Some(file::Rom { size: leaf(size), address })
}

/// All open windows of a bridge; `None` when nothing is shown of them.
fn windows(facts: &Facts, root: Bus, apertures: &Apertures) -> Option<Vec<file::BridgeWindow>> {
    let shown = [
        (facts.windows.io, ResourceKind::Io),
        (facts.windows.memory, ResourceKind::Mem32),
        (facts.windows.prefetch, ResourceKind::Mem64Prefetch),
    ];
    if shown.iter().all(|(window, _)| *window == Known::Unknown) {
        return None;
    }
    let open = shown.into_iter().filter_map(|(window, kind)| {
        let (first, last) = window.get()?.range?;
        let io = kind == ResourceKind::Io;
        // What a listing in words shows may be the kernel's view.
        let first_on_bus = apertures.to_bus(root, io, first);
        let (first, last) = (first_on_bus, first_on_bus.wrapping_add(last - first));
        let granule = if io { 0xfff } else { 0xf_ffff };
        let limit = if kind == ResourceKind::Mem64Prefetch { u64::MAX } else { u64::from(u32::MAX) };
        let whole = first & granule == 0 && last & granule == granule && first <= last && last <= limit;
        whole.then(|| file::BridgeWindow {
            kind: leaf(kind),
            first: leaf(BusAddr(first)),
            last: leaf(BusAddr(last)),
        })
    });
    Some(open.collect())
}

fn width(window: Known<Window>) -> Option<WindowWidth> {
    match window {
        Known::Absent => Some(WindowWidth::Absent),
        Known::Present(window) if window.wide == Some(false) => Some(WindowWidth::Narrow),
        _ => None,
    }
}

/// SR-IOV, with those registers whose size is known.
fn sriov(facts: &Facts) -> Option<file::Sriov> {
    let given = facts.sriov.as_ref()?;
    let bars = given.bars.iter().filter_map(|bar| {
        let size = bar.size.filter(|size| size.is_power_of_two() && size.0 >= 4096)?;
        let limit = if bar.kind.is_64bit() { u64::MAX } else { u64::from(u32::MAX) };
        let address = bar.bus.filter(|address| {
            *address != 0 && address & (size.0 - 1) == 0 && *address <= limit - (size.0 - 1)
        });
        let fits = bar.kind != ResourceKind::Io && (bar.kind.is_64bit() || size <= Bytes::gib(2));
        fits.then(|| file::Bar {
            index: leaf(bar.index),
            size: leaf(size),
            kind: leaf(bar.kind),
            address: address.map(|address| Leaf::new(BusAddr(address))),
            ..file::Bar::default()
        })
    });
    Some(file::Sriov {
        total: leaf(given.total),
        enabled: Some(given.enabled.min(given.total)).filter(|enabled| *enabled > 0).map(Leaf::new),
        offset: leaf(given.offset),
        stride: leaf(given.stride),
        device: leaf(given.device),
        page_sizes: Some(given.page_sizes).filter(|sizes| *sizes != 0).map(Leaf::new),
        bars: bars.collect(),
    })
}

/// ACS words as they are; a function that is known to have none says so, because its part may have.
pub fn acs(facts: &Facts, notes: &mut Vec<Note>) -> Option<file::Acs> {
    match facts.acs {
        Known::Unknown => None,
        Known::Absent => Some(file::Acs { capability: leaf(0), control: None }),
        Known::Present(words) => {
            let able = words.capability & 0x7f | if words.capability & 0x80 == 0 { 0 } else { 0x1f80 };
            if words.control & !able != 0 {
                let text = format!(
                    "ACS control {:#06x} has bits that capability {:#06x} lacks; the capability is extended",
                    words.control, words.capability
                );
                notes.push(Note::new(facts.id, text));
            }
            let capability = words.capability | words.control & !able & 0x7f;
            let control = words.control & (able | capability & 0x7f);
            Some(file::Acs { capability: leaf(capability), control: leaf(control) })
        }
    }
}

/// The link above `lower` as a file states it, at most as fast and wide as `most`, and a word about it.
///
/// Accelerators lower the speed of an idle link: theirs counts as fast as both ends can.
pub fn link(
    lower: &Facts,
    upper: Option<&Facts>,
    most: (u8, u8),
) -> (Option<file::Link>, Option<&'static str>) {
    let status = |facts: &Facts| facts.express.get()?.status.filter(|link| link.lanes > 0);
    let Some(Link { generation, lanes }) = status(lower).or_else(|| status(upper?)) else {
        return (
            None,
            Some("speed and width of its link are not shown; taken as the best that both ends support"),
        );
    };
    let saves_power =
        lower.class.is_some_and(|class| matches!(class >> 16, 0x03 | 0x12)) && generation < most.0;
    let stated = if saves_power { most.0 } else { generation.min(most.0) };
    let lanes = Some(lanes.min(most.1)).filter(|lanes| LANES.contains(lanes));
    let note = match lanes {
        _ if saves_power => Some("its link was idle and slowed down; taken as fast as both ends can be"),
        None => {
            Some("the width of its link is none that links have; taken as the widest that both ends support")
        }
        Some(_) => None,
    };
    (
        Some(file::Link { generation: leaf(stated), lanes: lanes.map(Leaf::new), ..file::Link::default() }),
        note,
    )
}
