//! What a packet takes on a link: bytes, and time by the link's rate and by the port's.
//!
//! Packets of a kind tend to be of one size on a link, so that what the last one of each took is kept. Rates are exact in the
//! long run: the part of a picosecond that a packet's time is rounded by goes to the next one.

use crate::lines::message_bytes;
use crate::spec::LinkSpec;
use crate::state::LinkState;
use crate::tlp::Tlp;

/// What the last packet of a kind took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    /// All that its size depends on: [`size_key`].
    key: u64,
    /// Bytes on the wire.
    pub wire: u64,
    /// Bytes of payload.
    pub payload: u64,
    /// Whole picoseconds by the rate of the link.
    time: u64,
    /// What is left of them, in units of 1 / bytes of the rate.
    remainder: u64,
    /// Picoseconds by the rate of the port; 0 without one.
    pub port_time: u64,
}

impl Sending {
    /// Nothing has been sent.
    pub const NONE: Sending =
        Sending { key: u64::MAX, wire: 0, payload: 0, time: 0, remainder: 0, port_time: 0 };
}

/// Everything in a packet of one class that its size on a wire depends on.
#[inline]
fn size_key(tlp: &Tlp) -> u64 {
    let long = u64::from(tlp.addr > 0xffff_ffff);
    u64::from(tlp.length) | u64::from(tlp.status as u8) << 16 | (tlp.addr & 3) << 24 | long << 32
}

impl LinkState {
    /// What `tlp` takes.
    #[inline]
    pub(crate) fn sending(&mut self, spec: &LinkSpec, tlp: &Tlp) -> Sending {
        let known = self.sendings[tlp.class.at()];
        if known.key == size_key(tlp) { known } else { self.work_out(spec, tlp) }
    }

    #[inline(never)]
    fn work_out(&mut self, spec: &LinkSpec, tlp: &Tlp) -> Sending {
        let lines = spec.framing.counts_lines();
        let wire = match lines {
            false => spec.framing.wire_bytes(tlp.header(), tlp.covered()),
            true => message_bytes(tlp),
        };
        let payload = tlp.payload();
        let (picos, bytes) = (self.wire.rate.picos(), self.wire.rate.bytes());
        let sending = Sending {
            // Lines depend on the whole address.
            key: if lines { u64::MAX } else { size_key(tlp) },
            wire,
            payload,
            time: wire * picos / bytes,
            remainder: wire * picos % bytes,
            port_time: spec.port_rate.map_or(0, |port| (payload * port.picos()).div_ceil(port.bytes())),
        };
        self.sendings[tlp.class.at()] = sending;
        sending
    }

    /// Picoseconds that the link takes for `sending` from `now` on, and how many bytes of DLLPs go out in front of it.
    #[inline]
    pub(crate) fn time_of(&mut self, sending: &Sending, now: u64) -> (u64, u64) {
        self.remainder += sending.remainder;
        if self.debt != 0 {
            return self.time_behind_dllps(sending, now);
        }
        let bytes = self.wire.rate.bytes();
        let full = self.remainder >= bytes;
        self.remainder -= if full { bytes } else { 0 };
        (sending.time + u64::from(full), 0)
    }

    #[inline(never)]
    fn time_behind_dllps(&mut self, sending: &Sending, now: u64) -> (u64, u64) {
        let rate = self.wire.rate;
        let debt = self.pay_in_idle_time(now);
        let exact = debt * rate.picos() + self.remainder;
        self.remainder = exact % rate.bytes();
        (sending.time + exact / rate.bytes(), debt)
    }

    /// The rate has changed: times that are remembered hold no more.
    pub(crate) fn forget_times(&mut self) {
        (self.sendings, self.remainder) = ([Sending::NONE; 3], 0);
    }

    /// DLLPs went out while the link was idle; what is left must be sent before the packet that starts now.
    fn pay_in_idle_time(&mut self, now: u64) -> u64 {
        let rate = self.wire.rate;
        let idle = now - self.free_at;
        let debt = std::mem::take(&mut self.debt);
        // A microsecond carries more DLLP bytes on any link than can be owed.
        if idle > 1_000_000 { 0 } else { debt.saturating_sub(idle * rate.bytes() / rate.picos()) }
    }
}
