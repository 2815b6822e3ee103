//! The link inside a non-transparent bridge, from one side to the other.

use peerbus_machine::model::Machine;
use peerbus_units::{BitErrorRate, Bytes, Picos};

use super::{LinkId, LinkSpec, Spec};
use crate::cause::Cause;
use crate::link_layer::Framing;

impl Spec {
    /// What arrives at a side waits in that side's buffers, which are its part's, until the other side can send it on: the
    /// link between them is a pipeline with a rate.
    pub(super) fn add_ntbs(&mut self, machine: &Machine) {
        for (one, other) in &machine.ntbs {
            let Some(part) = machine.devices[*one].part.ntb.as_ref() else { continue };
            let buffers = &machine.devices[*other].part.buffers;
            let (from, to) = (self.device(*one), self.device(*other));
            let [name, other_name] = [one, other].map(|device| &machine.devices[*device].name);
            let there = LinkSpec {
                name: format!("{name}-{other_name}"),
                from,
                to,
                input: 0,
                output: 0,
                reverse: LinkId(0),
                dllps_to: LinkId(0),
                sharing: None,
                pcie: None,
                private: false,
                memory: false,
                bridge: true,
                rate: part.rate,
                port_rate: None,
                peer_rate: None,
                framing: Framing::none(),
                flits: false,
                flit: 0,
                propagation: Picos::ZERO,
                bit_errors: BitErrorRate::ZERO,
                latency: part.latency,
                pipeline: Cause::Switch,
                receiver: None,
                receiver_limit: u64::MAX,
                sender_limit: u64::MAX,
                credits: [buffers.posted, buffers.non_posted, buffers.completion],
                credit_latency: part.latency,
                dllp_interval: 0,
                dllp_payload: Bytes::ZERO,
                sources: Vec::new(),
            };
            let back = LinkSpec { name: format!("{other_name}-{name}"), from: to, to: from, ..there.clone() };
            self.add_pair(there, back);
        }
    }
}
