//! BARs whose address the file gives: that they are apart and reachable, and the bridge windows firmware must have
//! programmed for them.

use std::collections::BTreeMap;

use peerbus_units::{BusAddr, Range};

use super::bus::parent;
use super::context::{Context, Place};
use super::draft::Draft;
use crate::codes;
use crate::model::{Bar, FunctionIndex};
use crate::part::ResourceKind;

/// A BAR with its place in the file.
type Placed = (Range<BusAddr>, Place);

/// The bus addresses of a BAR, when its file gives one.
fn range(bar: &Bar) -> Option<Range<BusAddr>> {
    Range::sized(bar.address?, bar.size)
}

/// Reports BARs that share addresses below one host bridge, and those in none of its windows.
pub(super) fn check(ctx: &mut Context, draft: &Draft) {
    // Per host bridge, I/O apart from memory.
    let mut seen: BTreeMap<(usize, bool), Vec<Placed>> = BTreeMap::new();
    for function in draft.functions.node_indices() {
        let bridge = draft.functions[function].host_bridge;
        for (index, bar) in draft.functions[function].bars.iter().enumerate() {
            let Some(range) = range(bar) else { continue };
            let place = draft.places[function.index()].element("bars", index);
            let is_io = bar.kind == ResourceKind::Io;
            let others = seen.entry((bridge, is_io)).or_default();
            if let Some((other, first)) = others.iter().find(|(other, _)| other.overlaps(range)) {
                let message = format!("bus addresses {range} overlap {other}, which is `{first}`");
                let help = "write another `address`, or leave it out for the operating system to choose";
                ctx.error(codes::BAR_ADDRESSES_OVERLAP, &place.field("address"), message, help);
            }
            others.push((range, place.clone()));
            if !in_a_window(draft, bridge, range, is_io) {
                let message = format!("bus addresses {range} are in no window of the host bridge");
                let help = "write an `address` in one of its windows, or leave it out for the operating system to choose";
                ctx.warning(codes::BAR_OUTSIDE_WINDOWS, &place.field("address"), message, help);
            }
        }
    }
}

/// True when a window covers `range`, and when windows are not given, so that nothing is known. I/O is only held to
/// windows where the host bridge lists some for it.
fn in_a_window(draft: &Draft, bridge: usize, range: Range<BusAddr>, is_io: bool) -> bool {
    let bridge = &draft.bridges[bridge];
    let mut windows =
        bridge.windows.iter().filter(|window| (window.kind == ResourceKind::Io) == is_io).peekable();
    if !bridge.windows_given || (is_io && windows.peek().is_none()) {
        return true;
    }
    windows
        .any(|window| Range::sized(window.bus, window.cpu.size()).is_some_and(|window| window.covers(range)))
}

/// Which of a bridge's windows a BAR goes through.
fn window_kind(kind: ResourceKind) -> ResourceKind {
    match kind {
        ResourceKind::Io => ResourceKind::Io,
        ResourceKind::Mem32 | ResourceKind::Mem64 => ResourceKind::Mem32,
        ResourceKind::Mem32Prefetch | ResourceKind::Mem64Prefetch => ResourceKind::Mem64Prefetch,
    }
}

/// Gives every bridge above BARs with addresses the windows that reach them: from the lowest to the highest, widened
/// to what window registers can express, 1 MiB for memory and 4 KiB for I/O.
pub(super) fn open_bridges(draft: &mut Draft) {
    let mut hulls: BTreeMap<(FunctionIndex, ResourceKind), (u64, u64)> = BTreeMap::new();
    for function in draft.functions.node_indices() {
        for bar in &draft.functions[function].bars {
            let Some(range) = range(bar) else { continue };
            let kind = window_kind(bar.kind);
            let unit: u64 = if kind == ResourceKind::Io { 0xfff } else { 0xf_ffff };
            let (first, last) = (range.first().0 & !unit, range.last().0 | unit);
            let mut above = parent(draft, function);
            while let Some(bridge) = above {
                if draft.functions[bridge].config.windows_stated {
                    above = parent(draft, bridge);
                    continue;
                }
                let hull = hulls.entry((bridge, kind)).or_insert((first, last));
                *hull = (hull.0.min(first), hull.1.max(last));
                above = parent(draft, bridge);
            }
        }
    }
    for ((bridge, kind), (first, last)) in hulls {
        let window = Range::new(BusAddr(first), BusAddr(last));
        if let (Some(firmware), Some(window)) = (&mut draft.functions[bridge].firmware, window) {
            firmware.windows.push((kind, window));
        }
    }
}
