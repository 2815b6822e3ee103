//! Whether a function, or a whole path, keeps its traffic apart.

use super::quirk;
use super::register::{AcsWord, acs_control, usable_capability};
use crate::ConfigSpace;
use crate::pci::tree::{FunctionIndex, PcieType, Tree};

/// True when `function` does everything in `flags`: by what is known of its model, else by its kind and its register.
///
/// A single function of an endpoint, and an upstream port that is one, reaches no sibling and counts as doing all. A
/// bit that the hardware does not offer counts as done, except egress control.
pub fn acs_enabled(tree: &Tree, cs: &impl ConfigSpace, function: FunctionIndex, flags: AcsWord) -> bool {
    if let Some(known) = quirk::isolates(tree, cs, function, flags) {
        return known;
    }
    match tree[function].pcie_type {
        None | Some(PcieType::ToPci | PcieType::FromPci | PcieType::EventCollector) => false,
        Some(PcieType::RootPort | PcieType::Downstream) => by_register(tree, cs, function, flags),
        Some(
            PcieType::Endpoint | PcieType::LegacyEndpoint | PcieType::Upstream | PcieType::IntegratedEndpoint,
        ) => !has_siblings(tree, function) || by_register(tree, cs, function, flags),
        Some(PcieType::Unknown(_)) => true,
    }
}

/// True when `start`, every bridge above it and `end` do everything in `flags`; `end` of `None` is the root bus.
/// False when the way up does not lead to `end`.
pub fn acs_path(
    tree: &Tree,
    cs: &impl ConfigSpace,
    start: FunctionIndex,
    end: Option<FunctionIndex>,
    flags: AcsWord,
) -> bool {
    let mut function = start;
    loop {
        if !acs_enabled(tree, cs, function, flags) {
            return false;
        }
        if Some(function) == end {
            return true;
        }
        match tree.upstream(function) {
            Some(above) => function = above,
            None => return end.is_none(),
        }
    }
}

/// A virtual function never counts as one of several.
fn has_siblings(tree: &Tree, function: FunctionIndex) -> bool {
    tree[function].multifunction && tree[function].physical_function.is_none()
}

fn by_register(tree: &Tree, cs: &impl ConfigSpace, function: FunctionIndex, flags: AcsWord) -> bool {
    let words = (usable_capability(tree, cs, function), acs_control(tree, cs, function));
    let (Some(capability), Some(control)) = words else { return false };
    control.contains(flags & (capability | AcsWord::EC))
}
