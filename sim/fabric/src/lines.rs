//! CXL.mem: what a packet stands for where memory of a device is used by a CPU as its own.
//!
//! Messages of CXL.mem are for lines of 64 bytes. A request that is larger, as those of devices are, is a run of messages
//! here: one packet that takes the slots of all of its lines, and one buffer for the request of a read. A write is answered by
//! a message without data, which is owed in the other direction like an acknowledgement; nothing waits for it.

use crate::completer::Service;
use crate::link_layer::{Message, memory_bytes};
use crate::run::Fabric;
use crate::spec::{LinkId, NodeId};
use crate::tlp::{Class, Status, Tlp};

/// Bytes of slots that `tlp` takes on a link of CXL.mem.
#[cold]
pub(crate) fn message_bytes(tlp: &Tlp) -> u64 {
    let message = match tlp.class {
        Class::Posted => Message::Write,
        Class::NonPosted => Message::Read,
        Class::Completion if tlp.status == Status::Failed => Message::NoData,
        Class::Completion => Message::Data,
    };
    memory_bytes(message, tlp.addr, u64::from(tlp.length))
}

impl Fabric {
    /// A write has been sent on a link of CXL.mem: its answer goes the other way.
    #[cold]
    pub(crate) fn owe_answer(&mut self, link: LinkId, tlp: &Tlp) {
        if tlp.class != Class::Posted {
            return;
        }
        let bytes = memory_bytes(Message::NoData, tlp.addr, u64::from(tlp.length));
        let back = self.spec.links[link.at()].reverse;
        self.state.links[back.at()].debt += bytes;
        self.ledger.links[back.at()].dllp_bytes += bytes;
    }

    /// Memory of a device that a CPU uses: it has the rate of what is behind the device's BARs, and a latency of its own.
    pub(crate) fn serve_lines(&mut self, node: NodeId, tlp: &Tlp) -> Service {
        let service = self.occupy_memory(node, tlp);
        let latency = self.spec.nodes[node.at()].line_latency.0;
        Service { latency, ..service }
    }
}
