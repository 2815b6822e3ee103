//! Virtual channels: a second set of buffers for some traffic classes on the wires of one link.
//!
//! Virtual channel 1 of a link is a link of its own, with its own queues, credits and name (`…:up.vc1`); what both share is
//! the wire (see `crate::channel`). So nothing is different, and nothing costs anything, on links that have one channel.

use peerbus_machine::model::{Machine, VirtualChannel};
use peerbus_machine::part::Credits;

use super::{LinkId, LinkSpec, Spec};

/// The other virtual channel on the wires of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sharing {
    /// The link that stands for it.
    pub partner: LinkId,
    /// True of virtual channel 1.
    pub is_second: bool,
    /// Traffic classes of virtual channel 1, a bit each.
    pub classes: u8,
    /// Which of both goes first.
    pub turns: Turns,
}

/// Which of two channels on one wire goes first when both have something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turns {
    /// The second.
    Strict,
    /// One packet each, in turn.
    ByPacket,
    /// The one that has had the wire for less time, as if flits took turns.
    ByTime,
}

impl Spec {
    /// Divides the links that have two virtual channels. Called when the links are made and not yet numbered at their nodes.
    pub(super) fn divide_links(&mut self, machine: &Machine) {
        for link in &machine.links {
            let Some(channel) = &link.virtual_channel else { continue };
            let name = format!("{}:up", link.name);
            let Some(up) = self.links.iter().position(|known| known.name == name) else { continue };
            let up = LinkId::from_index(up);
            self.divide(up, channel);
        }
    }

    fn divide(&mut self, up: LinkId, channel: &VirtualChannel) {
        let down = self.links[up.at()].reverse;
        let second_up = LinkId::from_index(self.links.len());
        let second_down = LinkId::from_index(self.links.len() + 1);
        let classes = channel.traffic_classes.iter().fold(0, |bits, class| bits | 1u8 << (class & 7));
        let turns = if channel.strict { Turns::Strict } else { Turns::ByPacket };
        let shares = |partner, is_second| Some(Sharing { partner, is_second, classes, turns });
        for (link, second, reverse) in [(up, second_up, second_down), (down, second_down, second_up)] {
            let first = &mut self.links[link.at()];
            let granted = first.credits;
            let twin = LinkSpec {
                name: format!("{}.vc1", first.name),
                reverse,
                // DLLPs of both channels travel together.
                dllps_to: first.reverse,
                credits: granted.map(|credits| part_of(credits, channel.buffers)),
                sharing: shares(link, true),
                ..first.clone()
            };
            first.credits = granted.map(|credits| part_of(credits, 100 - channel.buffers));
            first.sharing = shares(second, false);
            self.links.push(twin);
        }
    }

    /// The link that packets of traffic class `class` take where others take `link`.
    pub fn channel(&self, link: LinkId, class: u8) -> LinkId {
        match self.links[link.at()].sharing {
            Some(sharing) if !sharing.is_second && sharing.classes >> class & 1 != 0 => sharing.partner,
            _ => link,
        }
    }

    /// Virtual channel 0 of the wires of `link`.
    pub fn first_channel(&self, link: LinkId) -> LinkId {
        match self.links[link.at()].sharing {
            Some(sharing) if sharing.is_second => sharing.partner,
            _ => link,
        }
    }

    /// Both directions of the wires of `link`, with all of their channels.
    pub(crate) fn wires(&self, link: LinkId) -> Vec<LinkId> {
        let first = self.first_channel(link);
        let directions = [first, self.links[first.at()].reverse];
        let partner = |link: LinkId| self.links[link.at()].sharing.map(|sharing| sharing.partner);
        directions.into_iter().flat_map(|link| [Some(link), partner(link)]).flatten().collect()
    }

    /// Whether any link has a second virtual channel.
    pub fn has_channels(&self) -> bool {
        self.links.iter().any(|link| link.sharing.is_some_and(|sharing| sharing.classes != 0))
    }
}

/// A share of a buffer, in hundredths; never none of one that ends, which would mean one without end.
fn part_of(credits: Credits, share: u8) -> Credits {
    let part = |count: u16| match count {
        0 => 0,
        count => u16::try_from(u32::from(count) * u32::from(share) / 100).unwrap_or(u16::MAX).max(1),
    };
    Credits { header: part(credits.header), data: part(credits.data) }
}
