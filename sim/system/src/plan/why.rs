//! The cause chain of a resource without an address, as a sentence.

use peerbus_os::Tree;
use peerbus_os::pci::{Cause, ConsideredWindow, FunctionIndex, Parent, Rejection, WhyNot, resource};
use peerbus_units::Bytes;

/// Why a resource has no address. Where the window above it has none either, that one's reason is the cause, and so
/// on up to the host bridge: the windows that are missing are named from the bottom up, then what the topmost of them
/// asked for and what was tried.
pub(super) fn explain(tree: &Tree, why: &WhyNot) -> String {
    let mut missing = Vec::new();
    let mut cause = why;
    while let Some(above) = missing_window(tree, cause) {
        missing.push(format!("{} ({})", above.function, above.size));
        cause = above;
    }
    if missing.is_empty() {
        return reason(tree, cause);
    }
    format!("no window of {}: {}", missing.join(", "), reason(tree, cause))
}

/// What one resource asked for, and what was tried.
fn reason(tree: &Tree, why: &WhyNot) -> String {
    match &why.cause {
        Cause::AlignmentTooLarge => {
            format!("alignment {} is more than the kernel can size", Bytes(why.align))
        }
        Cause::NoSpace(windows) if windows.is_empty() => {
            let above = tree.upstream(why.resource.function);
            let whose = above.map_or("the host bridge".to_string(), |bridge| tree[bridge].id.to_string());
            format!("{whose} has no window of its kind")
        }
        Cause::NoSpace(windows) => {
            let tried: Vec<String> = windows.iter().map(|window| tried(tree, window)).collect();
            format!("no room for {} aligned to {}; {}", why.size, Bytes(why.align), tried.join("; "))
        }
    }
}

fn tried(tree: &Tree, window: &ConsideredWindow) -> String {
    let whose = match window.window {
        Parent::HostBridge { host_bridge, .. } => {
            let bridge = &tree.host_bridges[host_bridge];
            format!("host bridge {:04x}:{:02x}", bridge.domain, bridge.bus_first)
        }
        Parent::Window(at) => tree[at.function].id.to_string(),
        Parent::Outside { .. } => "outside all windows".to_string(),
    };
    let range = window.range;
    match window.rejection {
        Rejection::WrongKind => format!("{whose} {range} is of another kind"),
        Rejection::OutOfReach => format!("{whose} {range} is out of its reach"),
        Rejection::NoHole => {
            format!("{whose} {range} has {} free, largest hole {}", window.free, window.largest_hole)
        }
    }
}

/// Why a window of the bridge above has no address: the largest of those without, for it would have taken the
/// resource. `None` when all windows above that were wanted are there.
fn missing_window<'a>(tree: &'a Tree, why: &WhyNot) -> Option<&'a WhyNot> {
    let bridge: FunctionIndex = tree.upstream(why.resource.function)?;
    let of_bridge = |above: &&WhyNot| {
        above.resource.function == bridge
            && resource::is_window(above.resource.number)
            && above.flags.is_io() == why.flags.is_io()
    };
    tree.failures.iter().filter(of_bridge).max_by_key(|above| above.size)
}
