//! Debug builds check the order of what arrives: writes of a flow by one link, unless they may pass each other, and
//! completions of a read (Base Specification: in order of their addresses).

use std::collections::BTreeMap;

use crate::run::Fabric;
use crate::spec::LinkId;
use crate::tlp::{Attributes, Class, Tlp};

/// What arrived last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    /// Per flow and last link, when the newest write that arrived was issued.
    writes: BTreeMap<(u16, LinkId), u64>,
    /// Per engine and tag, when its request was issued and the address behind the last completion.
    completions: BTreeMap<(u16, u16), (u64, u64)>,
}

impl Fabric {
    /// Checks that `tlp`, which has reached its end by `link`, overtook nothing that it must not.
    pub(crate) fn check_order(&mut self, link: LinkId, tlp: &Tlp) {
        match tlp.class {
            Class::Posted if !tlp.attributes.has(Attributes::RELAXED) => {
                let newest = self.order.writes.entry((tlp.flow, link)).or_default();
                assert!(tlp.issued >= *newest, "{tlp:?} was overtaken by a write issued at {newest}");
                *newest = tlp.issued;
            }
            Class::Completion => {
                let behind = tlp.addr.wrapping_add(u64::from(tlp.length));
                let last = self.order.completions.insert((tlp.engine, tlp.tag), (tlp.issued, behind));
                let expected = last.filter(|(issued, _)| *issued == tlp.issued).map(|(_, addr)| addr);
                // One in between may be lost with a link.
                assert!(
                    expected.is_none_or(|addr| addr <= tlp.addr),
                    "{tlp:?} comes after a completion of {expected:x?}"
                );
            }
            _ => {}
        }
    }
}
