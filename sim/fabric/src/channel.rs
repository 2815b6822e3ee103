//! Two virtual channels on one wire: which of them may send, and what they share.
//!
//! Each has queues and credits of its own (`spec::channels`), so that neither waits for buffers of the other. One packet at
//! a time is on the wire. Arbitration between channels (Base Specification, VC Arbitration) is strict, the second channel
//! first, or in turn. CXL.io and CXL.mem, which share a wire in the same way, have it for equal times when both can fill it,
//! since their flits take turns.

use crate::run::Fabric;
use crate::spec::{LinkId, Turns};

impl Fabric {
    /// Either channel of the wire of `link` may send one TLP now.
    #[cold]
    pub(crate) fn start_shared(&mut self, link: LinkId) {
        let Some(sharing) = self.spec.links[link.at()].sharing else { return };
        let (first, second) =
            if sharing.is_second { (sharing.partner, link) } else { (link, sharing.partner) };
        let second_first = match sharing.turns {
            Turns::Strict => true,
            Turns::ByPacket => !self.state.links[second.at()].sent_last,
            Turns::ByTime => self.state.links[second.at()].served <= self.state.links[first.at()].served,
        };
        let order = if second_first { [second, first] } else { [first, second] };
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
        let now = self.state.now;
        let own = &mut self.state.links[link.at()];
        let free_at = own.free_at;
        own.served += free_at - now;
        let served = own.served;
        let other = &mut self.state.links[sharing.partner.at()];
        other.free_at = free_at;
        if !other.is_waiting() {
            // Who has nothing to send saves nothing up.
            other.served = other.served.max(served);
        }
    }
}
