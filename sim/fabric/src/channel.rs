//! Two virtual channels on one wire: which of them may send, and what they share.
//!
//! Each has queues and credits of its own (`spec::channels`), so that neither waits for buffers of the other. One packet at
//! a time is on the wire. Arbitration between channels (Base Specification, VC Arbitration) is strict, the second channel
//! first, or in turn.

use crate::run::Fabric;
use crate::spec::LinkId;

impl Fabric {
    /// Either channel of the wire of `link` may send one TLP now.
    #[cold]
    pub(crate) fn start_shared(&mut self, link: LinkId) {
        let Some(sharing) = self.spec.links[link.at()].sharing else { return };
        let (first, second) =
            if sharing.is_second { (sharing.partner, link) } else { (link, sharing.partner) };
        let second_last = self.state.links[second.at()].sent_last;
        let order = if sharing.strict || !second_last { [second, first] } else { [first, second] };
        for link in order {
            self.start_channel(link);
        }
    }

    /// `link` is about to send: DLLPs that either channel owes go out in front of its packet.
    #[cold]
    pub(crate) fn take_debt_of_wire(&mut self, link: LinkId) {
        let Some(sharing) = self.spec.links[link.at()].sharing else { return };
        let other = &mut self.state.links[sharing.partner.at()];
        let debt = std::mem::take(&mut other.debt);
        other.sent_last = false;
        let own = &mut self.state.links[link.at()];
        own.debt += debt;
        own.sent_last = true;
    }

    /// The other channel of the wire of `link` cannot send before this one has, nor a replay has ended.
    #[cold]
    pub(crate) fn occupy_wire(&mut self, link: LinkId) {
        let Some(sharing) = self.spec.links[link.at()].sharing else { return };
        self.state.links[sharing.partner.at()].free_at = self.state.links[link.at()].free_at;
    }
}
