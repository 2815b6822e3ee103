//! Under which requester ids the DMA of a function arrives at the root.
//!
//! A bridge to conventional PCI puts its own id on what comes from behind it, so an IOMMU cannot tell the functions
//! behind it apart. Some devices use ids that are not theirs; which ones is a matter of quirks, not of registers.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::pci::{FunctionIndex, PcieType, Tree};

use super::DmaRules;

/// What is known of devices beyond their registers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AliasQuirks {
    /// Device/function numbers, on its own bus, whose ids a function uses too.
    pub also_uses: BTreeMap<FunctionIndex, BTreeSet<u8>>,
    /// The function that really does the DMA of another.
    pub real_device: BTreeMap<FunctionIndex, FunctionIndex>,
    /// Bridges at which addresses are translated: ids above them do not matter.
    pub translation_roots: BTreeSet<FunctionIndex>,
    /// Bridges without a PCI Express capability that behave as if they were from PCI Express to PCI.
    pub really_express: BTreeSet<FunctionIndex>,
    /// Bridges from PCI Express to PCI that add no id; only newer kernels know any.
    pub without_alias: BTreeSet<FunctionIndex>,
}

impl AliasQuirks {
    /// True when one of two functions of a bus uses the other's id, or one does the other's DMA.
    pub(super) fn are_aliases(&self, tree: &Tree, a: FunctionIndex, b: FunctionIndex) -> bool {
        let uses = |a: FunctionIndex, b: FunctionIndex| {
            let also = self.also_uses.get(&a).is_some_and(|devfns| devfns.contains(&tree[b].id.devfn));
            also || self.real_device.get(&a) == Some(&b)
        };
        uses(a, b) || uses(b, a)
    }
}

/// A requester id and the function that puts it on a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alias {
    /// The function itself, or a bridge above it.
    pub function: FunctionIndex,
    /// Bus, device and function number.
    pub requester: u16,
}

/// The ids under which requests of `function` can arrive, its own first, then upwards. The root bus ends the walk.
pub fn dma_aliases(
    tree: &Tree,
    quirks: &AliasQuirks,
    rules: &DmaRules,
    function: FunctionIndex,
) -> Vec<Alias> {
    let function = quirks.real_device.get(&function).copied().unwrap_or(function);
    let id = tree[function].id;
    let own = quirks.also_uses.get(&function).into_iter().flatten();
    let mut aliases = Vec::from([Alias { function, requester: id.requester() }]);
    let bus = u16::from(id.bus) << 8;
    aliases.extend(own.map(|devfn| Alias { function, requester: bus | u16::from(*devfn) }));
    let bridges = core::iter::successors(tree.upstream(function), |bridge| tree.upstream(*bridge));
    for bridge in bridges.take_while(|bridge| !quirks.translation_roots.contains(bridge)) {
        aliases.extend(alias_of_bridge(tree, quirks, rules, bridge));
    }
    aliases
}

fn alias_of_bridge(
    tree: &Tree,
    quirks: &AliasQuirks,
    rules: &DmaRules,
    bridge: FunctionIndex,
) -> Option<Alias> {
    let secondary = || tree[bridge].subordinate.map(|bus| u16::from(tree[bus].number) << 8);
    let requester = match tree[bridge].pcie_type {
        Some(PcieType::ToPci) if rules.bridges_without_alias && quirks.without_alias.contains(&bridge) => {
            None
        }
        Some(PcieType::ToPci) => secondary(),
        Some(PcieType::FromPci) => Some(tree[bridge].id.requester()),
        Some(_) => None,
        None if quirks.really_express.contains(&bridge) => secondary(),
        None => Some(tree[bridge].id.requester()),
    };
    requester.map(|requester| Alias { function: bridge, requester })
}
