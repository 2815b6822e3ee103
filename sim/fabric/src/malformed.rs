//! Payload limits on the way: what a receiver throws away, and what a root complex cuts.
//!
//! A port or endpoint treats a packet with more payload than its own MPS as malformed (Base Specification, Data
//! Payload Rules): it is dropped, its buffer is freed, and nothing behind sees it. Bytes of a write are then refused;
//! a read whose completion is dropped would end in a completion timeout, which is a refusal at once for our purpose.
//! Switches never cut packets. A root complex may, between its root ports, and does: inside a CPU packets fall into
//! pieces anyway, and at the port they leave by they are put together up to its MPS.

use crate::aer::PacketError;
use crate::run::Fabric;
use crate::spec::{EngineId, LinkId, NodeKind};
use crate::store::Queued;
use crate::tlp::{Class, Status, Tlp};

/// Packets that one receiver dropped as malformed.
#[derive(Clone, Debug, Default)]
pub struct Malformed {
    /// Packets dropped.
    pub packets: u64,
    /// Bytes of their payload.
    pub bytes: u64,
    /// Of the first: time, flow, payload, and whether it was a completion.
    pub first: Option<(u64, u16, u64, bool)>,
}

impl Fabric {
    /// The receiver of `link` drops `tlp`.
    pub(crate) fn drop_malformed(&mut self, link: LinkId, tlp: &Tlp) {
        let (now, payload) = (self.state.now, tlp.payload());
        let completion = tlp.class == Class::Completion;
        let dropped = &mut self.ledger.malformed[link.at()];
        dropped.packets += 1;
        dropped.bytes += payload;
        dropped.first.get_or_insert((now, tlp.flow, payload, completion));
        self.return_credits(link, tlp, now);
        self.died(tlp.flow, now);
        self.count_error(self.spec.links[link.at()].receiver, PacketError::MalformedTlp, tlp.class);
        if completion {
            let engine = EngineId::from_index(usize::from(tlp.engine));
            self.complete(engine, &Tlp { status: Status::Failed, ..*tlp });
        } else {
            self.account(tlp.tag, tlp.flow, payload, false, now);
        }
    }

    /// Queues `tlp` in front of the root port that `next` leaves by, in pieces of at most `limit` bytes. All but the
    /// last keep the buffer they came in.
    pub(crate) fn queue_pieces(&mut self, queue: u32, packet: Queued, limit: u64) {
        // What host memory answers was cut for its root port when it was made, whichever CPU the memory belongs to: only
        // what comes from another port is cut on its way.
        let of_host = packet.tlp.class == Class::Completion
            && matches!(self.spec.nodes[self.completer_of(&packet.tlp).at()].kind, NodeKind::Cpu(_));
        if of_host {
            self.enqueue(queue, packet);
            return;
        }
        let mut piece = packet;
        let mut left = packet.tlp.length;
        let limit = u16::try_from(limit).unwrap_or(u16::MAX);
        while left > 0 {
            piece.tlp.length = left.min(limit);
            left -= piece.tlp.length;
            piece.tlp.status = if left > 0 { Status::Piece } else { Status::Good };
            self.enqueue(queue, piece);
            if left > 0 {
                // One packet more from here on.
                self.born(packet.tlp.flow, packet.ready);
            }
            piece.tlp.addr = piece.tlp.addr.wrapping_add(u64::from(piece.tlp.length));
        }
    }
}
