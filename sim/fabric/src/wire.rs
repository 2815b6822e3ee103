//! [`Wire`]: what a directed link runs at now, and what is wrong with it. The spec says what it was made for; this
//! changes when a link trains anew, goes down, or gets a bit error rate.

use peerbus_units::Rate;

use crate::spec::LinkSpec;

/// Something has held this link up: see the log in [`crate::outage`].
pub(crate) const OUTAGES: u8 = 1;
/// It is down: what would leave by it is lost.
pub(crate) const DOWN: u8 = 2;
/// Credits that come back on it are to be leaked.
pub(crate) const LEAKING: u8 = 4;

/// The present condition of a directed link.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    /// Rate for the bytes of TLPs.
    pub rate: Rate,
    /// Bytes until the next bit error; the largest number when there is none.
    pub error_gap: u64,
    /// Time of a flit in picoseconds; 0 for a link without.
    pub flit_time: u64,
    /// See [`LinkSpec::dllp_interval`].
    pub dllp_interval: u64,
    /// Bits [`OUTAGES`], [`DOWN`], [`LEAKING`].
    pub trouble: u8,
}

impl Wire {
    /// As the machine came up.
    pub fn new(spec: &LinkSpec) -> Wire {
        Wire {
            rate: spec.rate,
            // A link with errors draws its first gap when it sends its first byte.
            error_gap: if spec.bit_errors.mean_gap().is_some() { 0 } else { u64::MAX },
            flit_time: if spec.flit > 0 { flit_time(spec.rate, spec.flit) } else { 0 },
            dllp_interval: spec.dllp_interval,
            trouble: 0,
        }
    }

    #[inline]
    pub fn is_down(&self) -> bool {
        self.trouble & DOWN != 0
    }

    /// How long a TLP takes from its first byte at `now` until the receiver may use what it needs of it: all of it,
    /// `time` later, or with cut-through its beginning. In flit mode nothing of a flit can be used before all of it
    /// has arrived and been checked. Flits follow one another without a gap, and TLPs fill them without one: only the
    /// rest of the last flit is waited for.
    #[inline]
    pub fn until_usable(&self, now: u64, time: u64, cut_through: bool) -> u64 {
        if self.flit_time == 0 {
            return if cut_through { 0 } else { time };
        }
        let needed = if cut_through { 1 } else { time };
        (now + needed).next_multiple_of(self.flit_time) - now
    }
}

/// Time of a flit with `content` bytes on a link that carries those at `rate`.
pub(crate) fn flit_time(rate: Rate, content: u64) -> u64 {
    (content * rate.picos() / rate.bytes()).max(1)
}
