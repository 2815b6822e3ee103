//! Bit errors: where the next one falls is drawn as a number of bytes, never per packet, and what it costs is arithmetic.
//!
//! Without flits (Base Specification, Data Link Layer): a TLP whose LCRC is wrong is thrown away and so is everything
//! behind it; the receiver sends a Nak; the transmitter sends again from the bad TLP on. So the link loses the TLP's own
//! time and the time until the Nak is there. A replay can be hit again; with the fourth in a row REPLAY_NUM rolls over
//! and the link trains. A DLLP that is hit is dropped: a later one says the same.
//!
//! In flit mode the error-correcting code of a flit has three interleaved groups and mends one byte of each. Two errors
//! in one group of one flit are seen by its CRC, and the flit is sent again in the same manner.
//!
//! The receiver's and the transmitter's internal delays are those of the specification's acknowledgement latency
//! limits: 19 symbol times at 2.5 GT/s, 70 at 5 GT/s, 115 at 8 GT/s. For faster links the specification counts more
//! symbols of shorter time; the 115 ns of 8 GT/s are kept for them (assumed).

use peerbus_engine::Stream;
use peerbus_units::{BitErrorRate, Picos};

use crate::cause::Cause;
use crate::link_layer::{DLLP_BYTES, FLIT_BYTES, FLIT_TLP_BYTES};
use crate::run::Fabric;
use crate::spec::LinkId;

/// Time a link trains (Recovery) at an unchanged rate and width. Assumed: some thousand symbols of training sets.
pub(crate) const RECOVERY: Picos = Picos::nanos(5_000);

/// REPLAY_NUM has two bits: with this many replays of one TLP it rolls over.
const REPLAYS_UNTIL_RECOVERY: u64 = 4;

/// Groups of the error-correcting code of a flit.
const ECC_GROUPS: u64 = 3;

/// Largest gap: far beyond any run, and small enough to be added up.
const NEVER: u64 = u64::MAX / 4;

/// Bit errors of a directed link.
#[derive(Clone, Debug, Default)]
pub(crate) struct BitErrors {
    pub rate: BitErrorRate,
    stream: Option<Stream>,
    /// The last flit that was hit, and which of its groups.
    hit: Option<(u64, u8)>,
}

/// A packet being sent: how many bytes, how many of them DLLPs in front of it, and how long it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub bytes: u64,
    pub dllps: u64,
    pub time: u64,
    pub flow: u16,
}

/// Internal delay of a receiver or transmitter, by generation.
fn internal_delay(generation: u8) -> u64 {
    match generation {
        1 => 19 * 4_000,
        2 => 70 * 2_000,
        _ => 115 * 1_000,
    }
}

impl Fabric {
    /// Bits of `link` go wrong at `rate` from now on.
    pub(crate) fn set_bit_errors(&mut self, link: LinkId, rate: BitErrorRate) {
        self.faults.links[link.at()].bit_errors.rate = rate;
        let gap = self.draw_gap(link);
        self.state.links[link.at()].wire.error_gap = if gap == NEVER { u64::MAX } else { gap };
    }

    /// Bytes of TLPs until the next error.
    fn draw_gap(&mut self, link: LinkId) -> u64 {
        let seed = self.faults.seed;
        let errors = &mut self.faults.links[link.at()].bit_errors;
        let Some(mean) = errors.rate.mean_gap() else { return NEVER };
        // Streams of links lie apart from those of clients, which are numbered from 0.
        let stream = errors.stream.get_or_insert_with(|| Stream::new(seed, 1 << 32 | u64::from(link.0)));
        let bytes = stream.exponential(mean) / 8;
        let bytes = match self.spec.links[link.at()].flits {
            true => bytes / FLIT_BYTES * FLIT_TLP_BYTES + bytes % FLIT_BYTES * FLIT_TLP_BYTES / FLIT_BYTES,
            false => bytes,
        };
        bytes.min(NEVER)
    }

    /// The gap ended within a packet that has just been put on `link`. Returns for how long the link sends it again,
    /// which it is held up for.
    #[cold]
    #[inline(never)]
    pub(crate) fn hit_by_errors(&mut self, link: LinkId, sent: Sent) -> u64 {
        let gap = self.state.links[link.at()].wire.error_gap.wrapping_add(sent.bytes);
        let errors = &mut self.faults.links[link.at()].bit_errors;
        let first = errors.stream.is_none();
        errors.rate = if first { self.spec.links[link.at()].bit_errors } else { errors.rate };
        let position = if first { self.draw_gap(link) } else { gap };
        let (delay, left) = match self.spec.links[link.at()].flits {
            true => self.correct_flits(link, sent, position),
            false => self.replay(link, sent, position),
        };
        self.state.links[link.at()].wire.error_gap = if left == NEVER { u64::MAX } else { left };
        if delay > 0 {
            self.hold_up(link, delay);
            self.charge(sent.flow, Cause::LinkErrors, delay);
        }
        delay
    }

    /// Sends a TLP again until it arrives. Returns for how long, and the bytes from its end to the next error.
    fn replay(&mut self, link: LinkId, sent: Sent, position: u64) -> (u64, u64) {
        let (mut delay, mut replays, mut bytes, mut dllps, mut position) =
            (0, 0, sent.bytes, sent.dllps, position);
        while position < bytes {
            if position < dllps {
                self.ledger.faults[link.at()].bad_dllps += 1;
                position += 1 + self.draw_gap(link);
                continue;
            }
            self.ledger.faults[link.at()].bad_tlps += 1;
            self.ledger.faults[link.at()].replays += 1;
            replays += 1;
            delay += sent.time + self.until_nak(link, delay + sent.time);
            if replays % REPLAYS_UNTIL_RECOVERY == 0 {
                self.ledger.faults[link.at()].rollovers += 1;
                self.ledger.faults[link.at()].retrains += 1;
                delay += RECOVERY.0;
            }
            (bytes, dllps) = (sent.bytes - sent.dllps, 0);
            position = self.draw_gap(link);
        }
        (delay, (position - bytes).min(NEVER))
    }

    /// Mends what the code of a flit can, and sends flits again that it cannot.
    fn correct_flits(&mut self, link: LinkId, sent: Sent, position: u64) -> (u64, u64) {
        let start = self.ledger.links[link.at()].wire_bytes - sent.bytes;
        let (mut delay, mut position) = (0, position);
        while position < sent.bytes {
            let byte = start + position;
            let (flit, group) = (byte / FLIT_TLP_BYTES, 1 << (byte % FLIT_TLP_BYTES % ECC_GROUPS));
            let hit = &mut self.faults.links[link.at()].bit_errors.hit;
            let before = hit.filter(|(other, _)| *other == flit).map_or(0, |(_, groups)| groups);
            let faults = &mut self.ledger.faults[link.at()];
            if before & group == 0 {
                *hit = Some((flit, before | group));
                faults.corrected += 1;
            } else {
                *hit = None;
                faults.bad_flits += 1;
                faults.replays += 1;
                delay += self.state.links[link.at()].wire.flit_time;
                delay += self.until_nak(link, delay + sent.time);
            }
            position += 1 + self.draw_gap(link);
        }
        (delay, (position - sent.bytes).min(NEVER))
    }

    /// From the end of a bad TLP on `link`, `end` from now, until the transmitter knows of it: checking, waiting for
    /// what is being sent the other way, the Nak itself, and the way there and back.
    fn until_nak(&mut self, link: LinkId, end: u64) -> u64 {
        let spec = &self.spec.links[link.at()];
        let delay = internal_delay(self.faults.links[link.at()].generation);
        let back = &self.state.links[spec.reverse.at()];
        let seen = end + spec.propagation.0 + delay;
        let waiting = back.free_at.saturating_sub(self.state.now + seen);
        let nak = if back.wire.flit_time > 0 {
            back.wire.flit_time
        } else {
            self.ledger.links[spec.reverse.at()].dllp_bytes += DLLP_BYTES;
            back.wire.rate.time_for(DLLP_BYTES).0
        };
        2 * (delay + spec.propagation.0) + waiting + nak
    }
}
