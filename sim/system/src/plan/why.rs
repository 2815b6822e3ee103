//! The cause chain of a resource without an address, as a sentence.

use peerbus_os::Tree;
use peerbus_os::pci::{Cause, ConsideredWindow, Parent, Rejection, WhyNot};
use peerbus_units::Bytes;

/// Why a resource has no address. Where the window above it has none either, that one's reason is the cause, and so
/// on up to the host bridge: the windows that are missing are named from the bottom up, then what the topmost of them
/// asked for and what was tried.
pub(super) fn explain(tree: &Tree, why: &WhyNot) -> String {
    let chain = tree.cause_chain(why);
    let cause = chain.last().copied().unwrap_or(why);
    let missing: Vec<String> =
        chain.iter().skip(1).map(|above| format!("{} ({})", above.function, above.size)).collect();
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
        Cause::Immovable => "it cannot move, and its addresses are taken or lie in no window".to_owned(),
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
