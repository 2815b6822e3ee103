//! How the DMA engine of a device handles a transfer, beside the requests that it sends. Optional in a part: without a
//! description an engine starts after the part's `request_latency` and takes what arrives at once.

use peerbus_units::{Bytes, Picos, Rate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A DMA engine between a device's memory and its link. It copies every transfer whole between that memory and buffers of
/// its own: a write before its first request, a read after its last completion. In each direction it copies one transfer
/// after the other, while requests and completions of others are under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DmaPart {
    /// From a descriptor until its data can be copied or its first read requested, in place of the part's
    /// `request_latency`.
    pub request_latency: Picos,
    /// From a completion at the pins until the engine has taken it: so much longer than on the link a tag is used. The
    /// same time passes from the last request of a write until the engine says that it has sent it.
    pub completion_latency: Picos,
    /// Between two requests of writes, beside the time of their payload at the part's `write_rate`.
    #[serde(default)]
    pub write_gap: Picos,
    /// Copying the data of a write.
    pub write: CopyPart,
    /// Copying the data of a read.
    pub read: CopyPart,
    /// Rate of both directions together, payload; absent: they do not hold each other up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub both_rate: Option<Rate>,
}

/// How long copying one transfer takes: `transfer` and `piece` for each piece of it, of which an odd end takes two at least.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyPart {
    /// For a transfer, whatever its size.
    pub transfer: Picos,
    /// For each piece, the last one too, however short it is.
    pub piece: Picos,
    /// Size of a piece; a power of two from 4 B to 4 KiB.
    pub piece_size: Bytes,
    /// Whether a transfer that does not end at a double word takes at least two pieces: its end is written apart.
    #[serde(default)]
    pub end_apart: bool,
}

impl CopyPart {
    /// Time to copy `bytes` that end at `end`.
    pub fn time(&self, bytes: u64, end: u64) -> Picos {
        let apart = self.end_apart && !end.is_multiple_of(4);
        let pieces = bytes.div_ceil(self.piece_size.0.max(1)).max(if apart { 2 } else { 1 });
        Picos(self.transfer.0.saturating_add(self.piece.0.saturating_mul(pieces)))
    }

    /// Whether the numbers can be.
    pub fn is_possible(&self) -> bool {
        self.piece_size.is_power_of_two() && (4..=4096).contains(&self.piece_size.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_takes_its_time_and_that_of_its_pieces() {
        let part = |end_apart| CopyPart {
            transfer: Picos::nanos(4),
            piece: Picos::nanos(17),
            piece_size: Bytes(128),
            end_apart,
        };
        let check = |end_apart, bytes, end, nanos| {
            assert_eq!(part(end_apart).time(bytes, end), Picos::nanos(nanos), "{bytes} B up to {end}");
        };
        check(false, 1, 1, 21);
        check(false, 128, 128, 21);
        check(false, 129, 129, 38);
        check(false, 1024, 4096, 140);
        // An end inside a double word is one more piece only where there is but one.
        check(true, 63, 63, 38);
        check(true, 64, 64, 21);
        check(true, 63, 64, 21);
        check(true, 255, 255, 38);
    }
}
