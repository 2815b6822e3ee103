//! The link inside a non-transparent bridge, from one side to the other.

use peerbus_machine::model::Machine;

use super::{LinkSpec, Spec};
use crate::cause::Cause;

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
                bridge: true,
                latency: part.latency,
                pipeline: Cause::Switch,
                credits: [buffers.posted, buffers.non_posted, buffers.completion],
                credit_latency: part.latency,
                ..LinkSpec::plain(format!("{name}-{other_name}"), from, to, part.rate)
            };
            let back = LinkSpec { name: format!("{other_name}-{name}"), from: to, to: from, ..there.clone() };
            self.add_pair(there, back);
        }
    }
}
