//! Whose requests each domain's table is for, and a copy of the layer to try things on.

use super::{AliasQuirks, Dma, IommuTables, dma_aliases};
use crate::pci::{FunctionIndex, Tree};

impl Dma {
    /// Tells the IOMMUs by which table the requests of each function are translated: under its own requester id, and
    /// under those that bridges above it put on its requests. Functions in identity domains, and those that no IOMMU
    /// covers, pass as they are. Once after probing; again when a function was added or removed.
    ///
    /// Functions that share an id share a group, so the order does not matter.
    pub fn attach(&self, tree: &Tree, quirks: &AliasQuirks, tables: &mut dyn IommuTables) {
        for (function, it) in tree.iter() {
            let group = self.groups.of(function).filter(|_| self.is_translated(function));
            if group.is_none() {
                tables.attach(it.id.domain, it.id.requester(), None);
                continue;
            }
            for alias in dma_aliases(tree, quirks, &self.rules, function) {
                tables.attach(it.id.domain, alias.requester, group);
            }
        }
    }

    /// A copy that knows no group but that of `function`: to see what mapping for that function would give, at the cost
    /// of one group.
    pub fn alone(&self, function: FunctionIndex) -> Dma {
        let group = self.groups.of(function);
        let domain = group.and_then(|group| Some((group, self.domains.get(&group)?.clone())));
        Dma {
            rules: self.rules,
            groups: group.map(|group| self.groups.only(group)).unwrap_or_default(),
            domains: domain.into_iter().collect(),
            devices: self.devices.clone(),
        }
    }
}
