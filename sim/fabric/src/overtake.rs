//! Posted requests that pass older posted requests (Base Specification, Transaction Ordering): one with Relaxed Ordering
//! may pass any of them, one with ID-based Ordering those of other requesters.
//!
//! A port has no reason to let one pass while the oldest can go. Only when it cannot, for want of credits or because
//! its translation is not there, the next few behind it are looked at, as a scheduler in hardware would.

use crate::run::Fabric;
use crate::spec::LinkId;
use crate::store::{List, Queued};
use crate::tlp::{Attributes, Class, Status};
use crate::transmit::Look;

/// Packets of a queue that are looked at behind the oldest. Assumed.
const WINDOW: usize = 16;

impl Fabric {
    /// Sends a posted request out of `queue` past older ones, none of which can go now. `otherwise` is the answer when
    /// there is no such request.
    #[cold]
    pub(crate) fn overtake(&mut self, link: LinkId, queue: usize, otherwise: Look) -> Look {
        let list = self.state.queues[queue][Class::Posted.at()];
        let (place, soonest) = self.first_to_pass(link, list);
        let Some(place) = place else {
            return match otherwise {
                Look::At(time) => Look::At(time.min(soonest)),
                Look::Nothing if soonest != u64::MAX => Look::At(soonest),
                other => other,
            };
        };
        let list = &mut self.state.queues[queue][Class::Posted.at()];
        let queued = self.state.arena.remove(list, place);
        self.send_queued(link, queue, &queued, queued.tlp.data_credits());
        self.ledger.links[link.at()].overtakes += 1;
        Look::Sent
    }

    /// Place in `posted` of the first request behind the oldest that may go now, and when the soonest of those that may pass
    /// and are not ready will be.
    fn first_to_pass(&self, link: LinkId, posted: List) -> (Option<usize>, u64) {
        let state = &self.state.links[link.at()];
        let mut soonest = u64::MAX;
        let later = self.state.arena.iter(posted).enumerate().skip(1).take(WINDOW);
        for (place, queued) in later.filter(|(place, queued)| self.passes_posted(posted, *place, queued)) {
            if queued.ready > self.state.now {
                soonest = soonest.min(queued.ready);
            } else if state.has_credits(Class::Posted, queued.tlp.data_credits()) {
                return (Some(place), soonest);
            }
        }
        (None, soonest)
    }

    /// Whether the request at `place` of `posted` may pass all that stand in front of it. Pieces of one packet stay in order.
    fn passes_posted(&self, posted: List, place: usize, queued: &Queued) -> bool {
        let attributes = queued.tlp.attributes;
        if queued.tlp.status == Status::Piece {
            return false;
        }
        if attributes.has(Attributes::RELAXED) {
            return true;
        }
        attributes.has(Attributes::ID_BASED) && {
            let sender = self.sender(&queued.tlp);
            self.state.arena.iter(posted).take(place).all(|older| self.sender(&older.tlp) != sender)
        }
    }
}
