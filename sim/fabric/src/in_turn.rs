//! Reads that a completer answers in turn: a completion of one, then of the next (Base Specification, Completion Rules:
//! completions of different requests may come in any order, those of one request only by rising address). All data of one
//! request comes from one completer: a request never crosses 4 KiB, and BARs and windows are whole pages.
//!
//! The first `in_turn` of the reads that wait for an output take part. Whichever sent a completion goes behind the others.

use crate::state::LinkState;

impl LinkState {
    /// Which of the reads that are answered by this output is next: the first that takes part and has its data, or else
    /// the first to have it.
    #[inline]
    pub(crate) fn next_job(&self, now: u64) -> usize {
        if self.in_turn == 1 { 0 } else { self.next_of_several(now) }
    }

    fn next_of_several(&self, now: u64) -> usize {
        let jobs = || self.jobs.iter().take(usize::from(self.in_turn)).enumerate();
        let ready = jobs().find(|(_, job)| job.ready <= now);
        let next = ready.or_else(|| jobs().min_by_key(|(_, job)| job.ready));
        next.map_or(0, |(place, _)| place)
    }

    /// The read at `place`, which sent a completion and has more to send, goes behind the others that take part.
    pub(crate) fn let_others_answer(&mut self, place: usize) {
        let Some(job) = self.jobs.remove(place) else { return };
        let last = usize::from(self.in_turn - 1).min(self.jobs.len());
        self.jobs.insert(last, job);
    }
}
