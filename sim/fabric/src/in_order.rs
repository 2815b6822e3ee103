//! Switches whose inputs keep one queue each: what came in by a port leaves in the order in which it came, whatever port it
//! leaves by, one packet at a time. A packet whose way is not free then holds up all of its kind behind it (head-of-line
//! blocking). Posted requests, non-posted requests and completions still go past each other as ordering rules allow.

use crate::run::Fabric;
use crate::spec::{LinkId, LinkSpec};
use crate::tlp::Class;

impl Fabric {
    /// Until when the input number `input` in front of `link` reads out another packet.
    #[inline]
    pub(crate) fn input_is_read_until(&self, link: LinkId, input: u32) -> u64 {
        let from = &self.spec.nodes[self.spec.links[link.at()].from.at()];
        self.state.read_until[from.inputs[input as usize].at()]
    }

    /// True when an older packet of `class` came in by `input` and waits for another output than `link`.
    pub(crate) fn is_behind_another(&self, link: LinkId, input: u32, class: Class, order: u32) -> bool {
        let LinkSpec { from, output, .. } = self.spec.links[link.at()];
        let (base, stride) = self.queue_base[link.at()];
        let first = base - output + input * stride;
        (first..first + stride).any(|queue| {
            let list = self.state.queues[queue as usize][class.at()];
            let other = self.state.arena.front(list);
            debug_assert!(self.spec.nodes[from.at()].in_order);
            other.is_some_and(|other| crate::transmit::older(other.order, order))
        })
    }

    /// A packet that came by `from` is read out until `time`: what is behind it may go on then, whatever its output.
    pub(crate) fn read_out(&mut self, link: LinkId, from: LinkId, time: u64) {
        self.state.read_until[from.at()] = time;
        let (node, input) = (self.spec.links[link.at()].from, self.spec.links[from.at()].input);
        for output in 0..self.spec.nodes[node.at()].outputs.len() {
            let other = self.spec.nodes[node.at()].outputs[output];
            let waiting = &self.state.links[other.at()].waiting;
            if other != link && (waiting[0] | waiting[1] | waiting[2]) & 1 << input != 0 {
                self.wake(other, time);
            }
        }
    }
}
