//! What a TLP costs on a link: rate after encoding, header and framing bytes, and DLLPs by rule.
//!
//! Bytes on the wire of one TLP, generations 1–5 (PCI Express Base Specification, transaction, data link and
//! physical layer chapters):
//!
//! ```text
//! framing + sequence number + LCRC   8   (Gen1/2: STP 1, sequence 2, LCRC 4, END 1; Gen3–5: STP token 4, LCRC 4)
//! header                            12 or 16   (16 for requests with a 64-bit address)
//! payload                           rounded up to double words
//! ```
//!
//! A 256-byte write to a 64-bit address is 280 bytes, its completion counterpart 276. In flit mode (generations 6 and
//! 7) there is no framing and no LCRC per TLP; of every 256-byte flit 236 bytes carry TLPs, which fill them without
//! gaps, and acknowledgements and credits have their place in every flit. Headers have three or four double words there
//! too, when all bytes of the payload count.
//!
//! DLLPs have 8 bytes. The receiver of a TLP acknowledges and returns credits; both travel the other way, at the
//! latest once per `factor * (MPS + 28)` bytes received, where `factor` is the AckFactor/UpdateFactor table of the
//! specification (1.0–3.0 by width and MPS). A 64-byte margin of doubt: real receivers may send more.
//!
//! Skip ordered sets take one block in 371 (Gen3–5) or 4 symbols in 1184 (Gen1/2): the specification's longest
//! interval between them, common reference clock.

use peerbus_units::{Bytes, Rate};

/// How the cost of DLLPs and skip ordered sets is charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkLayer {
    /// ACK and UpdateFC DLLPs are bytes on the reverse link, skip ordered sets shorten every link.
    ByRule,
    /// The accounting of closed-form models (pcie-bench): the encoded rate times a flat share is left for TLPs,
    /// and payload is not rounded up to double words. The share is in parts per million.
    Flat {
        /// Share of the encoded rate left for TLPs, 1–1,000,000 parts per million.
        share_ppm: u32,
    },
}

/// Bytes of one DLLP with its framing (Gen1/2: SDP, 6 bytes, END; Gen3–5: SDP token 2, 6 bytes).
pub const DLLP_BYTES: u64 = 8;

/// Bytes of a flit, and those among them that carry TLPs; the others are 6 of data link payload (acknowledgements and
/// credits), 8 of CRC and 6 of error-correcting code.
pub const FLIT_BYTES: u64 = 256;
/// See [`FLIT_BYTES`].
pub const FLIT_TLP_BYTES: u64 = 236;

/// Signalling rate per lane in MT/s of generations 1–7.
const MEGATRANSFERS: [u64; 7] = [2_500, 5_000, 8_000, 16_000, 32_000, 64_000, 128_000];

/// Rate of a link for TLPs after encoding and, by rule, skip ordered sets. Generation 1–7; from 64 GT/s on every
/// link is in flit mode, and one that can go so fast is (`flits`) when it runs slower.
pub fn tlp_rate(generation: u8, lanes: u8, flits: bool, layer: LinkLayer) -> Rate {
    let generation = usize::from(generation.clamp(1, 7));
    let raw_bits = MEGATRANSFERS[generation - 1] * 1_000_000 * u64::from(lanes);
    // Data bits over line bits of the encoding, then blocks between skip ordered sets.
    let (encoding, skip) = match generation {
        1 | 2 => ((8, 10), (1180, 1184)),
        3..=5 => ((128, 130), (370, 371)),
        _ => ((1, 1), (1, 1)),
    };
    let rate = Rate::new(raw_bits, 8 * 1_000_000_000_000).and_then(|raw| raw.scaled(encoding.0, encoding.1));
    let rate = match flits || generation >= 6 {
        true => rate.and_then(|rate| rate.scaled(FLIT_TLP_BYTES, FLIT_BYTES)),
        false => rate,
    };
    let rate = match layer {
        LinkLayer::ByRule => rate.and_then(|rate| rate.scaled(skip.0, skip.1)),
        LinkLayer::Flat { share_ppm } => rate.and_then(|rate| rate.scaled(u64::from(share_ppm), 1_000_000)),
    };
    rate.expect("a link has at least one lane and a share above zero")
}

/// Bytes that packets of one kind of link cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framing {
    /// Framing, sequence number and LCRC of one TLP; header of a packet of another kind.
    per_packet: u64,
    /// Whether a TLP's header travels as it is.
    header: bool,
    /// Payload is rounded up to a multiple of this.
    payload_unit: u64,
    /// No packet is smaller.
    least: u64,
    /// Packets stand for messages of CXL.mem: see [`memory_bytes`].
    lines: bool,
}

/// Bytes of a slot of a CXL flit.
pub const SLOT_BYTES: u64 = 16;
/// Bytes of a line: what a message of CXL.mem carries.
const LINE: u64 = 64;

/// Bytes of slots that the messages of CXL.mem for `bytes` bytes from `addr` on take, one message per line of 64 bytes:
///
/// ```text
/// read request   M2S Req            a slot
/// write request  M2S RwD            a slot, four of data, and one of byte enables for a part of a line
/// data           S2M DRS            half a slot, since two share one, and four of data
/// no data        S2M NDR            half a slot: the answer to a write, or to a read that failed
/// ```
pub fn memory_bytes(message: Message, addr: u64, bytes: u64) -> u64 {
    let (first, last) = (addr / LINE, (addr + bytes.max(1) - 1) / LINE);
    let lines = last - first + 1;
    match message {
        Message::Read => lines * SLOT_BYTES,
        Message::Data => lines * (LINE + SLOT_BYTES / 2),
        Message::NoData => lines * SLOT_BYTES / 2,
        Message::Write => {
            let ends = [!addr.is_multiple_of(LINE), !(addr + bytes).is_multiple_of(LINE)];
            let partial =
                ends.into_iter().filter(|end| *end).count().min(usize::try_from(lines).unwrap_or(2));
            let partial = u64::try_from(partial).unwrap_or(0);
            lines * (LINE + SLOT_BYTES) + partial * SLOT_BYTES
        }
    }
}

/// Kinds of messages of CXL.mem.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// A read request.
    Read,
    /// A write request.
    Write,
    /// Data of a read.
    Data,
    /// An answer without data.
    NoData,
}

impl Framing {
    /// Framing of a PCIe link of that generation.
    pub fn new(generation: u8, layer: LinkLayer) -> Framing {
        let per_packet = if generation >= 6 { 0 } else { 8 };
        let payload_unit = if layer == LinkLayer::ByRule { 4 } else { 1 };
        Framing { per_packet, header: true, payload_unit, least: 0, lines: false }
    }

    /// No framing at all: a path inside a chip, where a request costs what its address does.
    pub const fn none() -> Framing {
        Framing { per_packet: 0, header: false, payload_unit: 1, least: 16, lines: false }
    }

    /// A private interconnect: a header per packet, data in units; a request costs at least what its address does.
    pub fn private(header: u64, unit: u64) -> Framing {
        Framing { per_packet: header, header: false, payload_unit: unit.max(1), least: 16, lines: false }
    }

    /// CXL.mem: see [`memory_bytes`].
    pub const fn memory() -> Framing {
        Framing { per_packet: 0, header: false, payload_unit: 1, least: 0, lines: true }
    }

    /// True for CXL.mem.
    #[inline]
    pub fn counts_lines(self) -> bool {
        self.lines
    }

    /// Bytes on the wire of a packet with a TLP header of `header` bytes and `payload` bytes of data.
    #[inline]
    pub fn wire_bytes(self, header: u64, payload: u64) -> u64 {
        let header = if self.header { header } else { 0 };
        (self.per_packet + header + payload.next_multiple_of(self.payload_unit)).max(self.least)
    }
}

/// Bytes received after which one ACK, and one UpdateFC per credit type in use, must have been sent:
/// `AckFactor * (MPS + 28)`, rounded down.
pub fn dllp_interval(max_payload: Bytes, lanes: u8) -> u64 {
    // AckFactor times ten by MPS and width (Base Specification, Ack Transmission Latency Limit tables).
    let tenths = match (max_payload.0, lanes) {
        (0..=256, 0..=4) => 14,
        (0..=256, 5..=8) => 25,
        (0..=256, _) => 30,
        (_, 0..=8) => 10,
        (_, _) => 20,
    };
    (max_payload.0 + 28) * tenths / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tlps_cost_what_the_specification_says() {
        for (generation, header, payload, expected) in [
            (3, 16, 256, 280), // write, 64-bit address
            (3, 12, 256, 276), // completion
            (5, 16, 0, 24),    // read request
            (1, 12, 4, 24),
            (4, 16, 5, 32), // rounded up to two double words
            (6, 16, 256, 272),
        ] {
            let framing = Framing::new(generation, LinkLayer::ByRule);
            assert_eq!(framing.wire_bytes(header, payload), expected);
        }
        let flat = Framing::new(3, LinkLayer::Flat { share_ppm: 900_000 });
        assert_eq!(flat.wire_bytes(16, 5), 29);
    }

    #[test]
    fn rates_after_encoding() {
        let all = LinkLayer::Flat { share_ppm: 1_000_000 };
        for (generation, lanes, flits, bytes_per_second) in [
            (1, 1, false, 250_000_000),
            (1, 12, false, 3_000_000_000),
            (2, 16, false, 8_000_000_000),
            (3, 2, false, 1_969_230_769),
            (3, 8, false, 7_876_923_076),
            (5, 16, false, 63_015_384_615),
            (5, 16, true, 58_092_307_692), // a Gen6 link at 32 GT/s: 236 of 256 bytes
            (6, 16, true, 118_000_000_000),
            (6, 32, true, 236_000_000_000),
            (7, 16, true, 236_000_000_000),
        ] {
            let rate = tlp_rate(generation, lanes, flits, all).bytes_per_second();
            assert_eq!(rate, bytes_per_second, "generation {generation} x{lanes}");
        }
        assert!(tlp_rate(5, 16, false, LinkLayer::ByRule) < tlp_rate(5, 16, false, all));
    }

    #[test]
    fn dllp_intervals_follow_the_table() {
        for (max_payload, lanes, interval) in [
            (128, 1, 218),
            (128, 2, 218),
            (256, 8, 710),
            (256, 12, 852),
            (256, 16, 852),
            (512, 8, 540),
            (512, 32, 1080),
        ] {
            assert_eq!(dllp_interval(Bytes(max_payload), lanes), interval);
        }
    }
    #[test]
    fn acknowledgement_latency_limits_are_those_of_the_specification() {
        // Symbol times at 2.5 GT/s: bytes by factor over the width, and the internal delay of 19.
        for (max_payload, lanes, limit) in [
            (128, 1, 237),
            (128, 2, 128),
            (128, 4, 73),
            (128, 8, 67),
            (128, 12, 58),
            (128, 16, 48),
            (128, 32, 33),
            (256, 1, 416),
            (256, 8, 107),
            (256, 16, 72),
            (512, 1, 559),
            (512, 16, 86),
            (512, 32, 52),
        ] {
            let bytes = dllp_interval(Bytes(max_payload), lanes);
            assert_eq!(bytes / u64::from(lanes) + 19, limit, "MPS {max_payload} x{lanes}");
        }
    }
}
