//! Translation at the root complex: what an IOMMU makes of a request from below, by the tables software wrote.
//!
//! Every request that reaches a root complex from a requester with a domain is translated before anything else looks at
//! its address, so also one whose address lies in a window of the host bridge: to such a requester the root complex
//! offers no bus addresses. What the tables do not hold is refused as a fault. Requests that a switch turns back below
//! never come here.

use peerbus_machine::model::FunctionIndex;
use peerbus_machine::registers::{DomainNumber, Translation};
use peerbus_units::{Iova, Range};

use crate::cursor::Cursor;
use crate::decode::{Decode, MissKind, Next};
use crate::spec::NodeId;

impl Decode {
    /// The domain in which requests of `function` are translated.
    pub(crate) fn domain_of(&self, function: FunctionIndex) -> Option<DomainNumber> {
        self.functions[function.index()].id.and_then(|id| self.iommu.domain_of(id))
    }

    /// Makes a CPU address of the cursor's, if its requester's requests are translated, and tells whether they are.
    /// `Err`: there is no translation.
    pub(crate) fn translate(&self, node: NodeId, cursor: &mut Cursor) -> Result<bool, Next> {
        let Some(requester) = cursor.requester() else { return Ok(false) };
        let Some(domain) = self.domain_of(requester) else { return Ok(false) };
        let requester = &self.functions[requester.index()];
        let iova = Iova(cursor.addr());
        match self.iommu.translate(domain, iova) {
            Translation::Mapped { run, to } => {
                cursor.is_in(run);
                cursor.translate(run.first().0, to.0);
                Ok(true)
            }
            Translation::Unmapped(gap) => {
                cursor.is_in(gap);
                let text = match nearest(iova, gap) {
                    Some(text) => format!("{} has no translation; {text}", requester.name),
                    None => format!("{} has no translation: nothing is mapped for it", requester.name),
                };
                Err(self.refuse(MissKind::IommuFault, node, cursor, text))
            }
        }
    }
}

/// Which end of a gap is nearer: what is mapped begins or ends there. `None` when the gap is all there is.
fn nearest(iova: Iova, gap: Range<Iova>) -> Option<String> {
    let below = (gap.first() > Iova(0)).then(|| (iova.0 - gap.first().0, "above", gap.first().0 - 1));
    let above = (gap.last() < Iova(u64::MAX)).then(|| (gap.last().0 - iova.0, "below", gap.last().0 + 1));
    let (distance, side, edge) = below.into_iter().chain(above).min()?;
    Some(format!("it lies {:#x} bytes {side} the nearest address that has one, {edge:#x}", distance + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_end_of_a_gap_is_told() {
        let check = |iova, first, last, expect: Option<&str>| {
            let gap = Range::new(Iova(first), Iova(last)).unwrap();
            assert_eq!(nearest(Iova(iova), gap).as_deref(), expect, "{iova:#x} in {gap}");
        };
        let lies = "it lies 0x1 bytes above the nearest address that has one, 0xfff";
        check(0x1000, 0x1000, 0x9fff, Some(lies));
        check(0x1000, 0x1000, u64::MAX, Some(lies));
        let lies = "it lies 0x2 bytes below the nearest address that has one, 0xa000";
        check(0x9ffe, 0x1000, 0x9fff, Some(lies));
        check(0x9ffe, 0, 0x9fff, Some(lies));
        check(0x9ffe, 0, u64::MAX, None);
    }
}
