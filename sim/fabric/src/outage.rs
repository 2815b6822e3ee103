//! Times in which a link carried nothing new: it trained, or it sent again what had arrived wrong.
//!
//! A packet that waited in front of a link is charged to [`Cause::LinkErrors`](crate::Cause) for the part of its wait in
//! which the link was held up. Of each link the last outages are known, more than any packet waits for.

use std::collections::VecDeque;

use crate::run::Fabric;
use crate::spec::LinkId;
use crate::wire::OUTAGES;

/// Outages remembered per link; older ones than these count as arbitration.
const REMEMBERED: usize = 64;

/// The last outages of a link, first and last picosecond, oldest first; they do not overlap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outages {
    log: VecDeque<(u64, u64)>,
}

impl Outages {
    fn add(&mut self, from: u64, until: u64) {
        if self.log.len() == REMEMBERED {
            self.log.pop_front();
        }
        self.log.push_back((from, until));
    }

    /// How much of the time from `since` to `now` was an outage.
    fn overlap(&self, since: u64, now: u64) -> u64 {
        let relevant = self.log.iter().rev().take_while(|(_, until)| *until > since);
        relevant.map(|(from, until)| (*until).min(now).saturating_sub((*from).max(since))).sum()
    }
}

impl Fabric {
    /// `link` carries nothing new from the end of what it is sending until `picos` later.
    pub(crate) fn hold_up(&mut self, link: LinkId, picos: u64) {
        let state = &mut self.state.links[link.at()];
        let from = state.free_at.max(self.state.now);
        state.free_at = from + picos;
        let shared = state.shared;
        state.wire.trouble |= OUTAGES;
        self.ledger.links[link.at()].busy += picos;
        self.ledger.faults[link.at()].held_up += picos;
        self.faults.links[link.at()].outages.add(from, from + picos);
        if shared {
            self.occupy_wire(link);
        }
    }

    /// How much of the time from `since` until now `link` was held up.
    pub(crate) fn held_up(&self, link: LinkId, since: u64) -> u64 {
        self.faults.links[link.at()].outages.overlap(since, self.state.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_what_both_share() {
        let mut outages = Outages::default();
        for from in [100, 200, 300] {
            outages.add(from, from + 50);
        }
        for (since, now, expected) in
            [(0, 1000, 150), (120, 320, 30 + 50 + 20), (150, 200, 0), (210, 220, 10), (350, 400, 0)]
        {
            assert_eq!(outages.overlap(since, now), expected, "{since}..{now}");
        }
    }
}
