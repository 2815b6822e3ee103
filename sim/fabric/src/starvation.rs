//! Since when a class of packets has had no credits on a link, and for how long in all.

use crate::tlp::Class;

/// No time that is ever reached.
const NEVER: u64 = u64::MAX;

/// Want of credits at the sender of a link, per class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starvation {
    since: [u64; 3],
    past: [u64; 3],
}

impl Starvation {
    /// None so far.
    pub const NONE: Starvation = Starvation { since: [NEVER; 3], past: [0; 3] };

    /// `class` could not be sent for want of credits.
    #[inline]
    pub fn begin(&mut self, class: usize, now: u64) {
        self.since[class] = self.since[class].min(now);
    }

    /// `class` has been sent, or nothing of it waits any more.
    #[inline]
    pub fn end(&mut self, class: usize, now: u64) {
        if self.since[class] != NEVER {
            self.past[class] += now - self.since[class];
            self.since[class] = NEVER;
        }
    }

    /// It has begun and not ended.
    #[inline]
    pub fn lasts(&self, class: Class) -> bool {
        self.since[class.at()] != NEVER
    }

    /// All times until `now` together.
    #[inline]
    pub fn until(&self, class: Class, now: u64) -> u64 {
        self.past[class.at()] + now.saturating_sub(self.since[class.at()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_add_up() {
        let (class, mut starvation) = (Class::NonPosted, Starvation::NONE);
        assert_eq!(starvation.until(class, 50), 0);
        starvation.begin(class.at(), 100);
        starvation.begin(class.at(), 120);
        assert!(starvation.lasts(class) && !starvation.lasts(Class::Posted));
        assert_eq!(starvation.until(class, 130), 30);
        starvation.end(class.at(), 140);
        starvation.end(class.at(), 150);
        assert_eq!(starvation.until(class, 1_000), 40);
        starvation.begin(class.at(), 2_000);
        assert_eq!(starvation.until(class, 2_001), 41);
    }
}
