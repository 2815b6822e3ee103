//! Events as written → [`peerbus_system::event`], and whether they fit a machine.

use peerbus_machine::Machine;
use peerbus_machine::load::{list_words, nearest};
use peerbus_system::event::{self, Event, What};
use peerbus_units::{BitErrorRate, Picos};

use super::context::{Context, Place};
use crate::{codes, file};

/// 1000 s.
const LATEST: Picos = Picos(1_000_000_000_000_000);
/// Widths a link can have.
const LANES: [u8; 7] = [1, 2, 4, 8, 12, 16, 32];
/// No link trains longer: the specification gives up after some tens of milliseconds.
const LONGEST_TRAINING: Picos = Picos(100_000_000_000);

/// An event and where it stands.
#[derive(Clone, Debug)]
pub(super) struct PlacedEvent {
    pub event: Event,
    pub place: Place,
}

impl Context<'_> {
    /// The events of the list at `events` of `holder`; those that are wrong are missing.
    pub fn events(&mut self, given: &[file::Event], holder: &Place) -> Vec<PlacedEvent> {
        let mut placed = Vec::new();
        for (index, item) in given.iter().enumerate() {
            let place = holder.element("events", index);
            placed.extend(self.event(item, &place).map(|event| PlacedEvent { event, place }));
        }
        placed
    }

    fn event(&mut self, given: &file::Event, place: &Place) -> Option<Event> {
        let at = self.require(&given.at, place, "at", "a time such as \"10us\"");
        let what = self.require(&given.what, place, "what", "what happens, such as LinkDown");
        if let Some(at) = at.filter(|at| *at > LATEST) {
            let message = format!("an event at {at} is out of range");
            self.error(codes::WRONG_TIME, &place.field("at"), message, format!("write 0s to {LATEST}"));
        }
        let what = what?;
        self.possible(what, place);
        let (wanted, other, example) = match what.is_of_device() {
            true => ((&given.device, "device"), (&given.link, "link"), "a device, such as \"gpu0\""),
            false => ((&given.link, "link"), (&given.device, "device"), "a link, such as \"host0/rp0/gpu0\""),
        };
        if other.0.is_some() {
            let message = format!("this happens to a {}, not to a {}", wanted.1, other.1);
            let help = format!("write `{}:` instead", wanted.1);
            self.error(codes::WRONG_EVENT, &place.field(other.1), message, help);
        }
        let to = self.require(wanted.0, place, wanted.1, example);
        Some(Event { at: at?, to: to?, what })
    }

    /// Reports numbers that no link has.
    fn possible(&mut self, what: What, place: &Place) {
        let place = place.field("what");
        match what {
            What::Downgrade { lanes, .. } if !LANES.contains(&lanes) => {
                let widths: Vec<String> = LANES.iter().map(u8::to_string).collect();
                let message = format!("a link cannot have {lanes} lanes");
                self.error(codes::WRONG_EVENT, &place, message, format!("write {}", list_words(&widths, 9)));
            }
            What::Downgrade { training: Some(training), .. } if training > LONGEST_TRAINING => {
                let message = format!("no link trains for {training}");
                self.error(codes::WRONG_EVENT, &place, message, format!("write at most {LONGEST_TRAINING}"));
            }
            What::ErrorRate(rate) if rate > BitErrorRate::MOST => {
                let message = format!("with a bit error rate of {rate} hardly a packet would arrive");
                let help = format!("write at most \"{}\"", BitErrorRate::MOST);
                self.error(codes::WRONG_EVENT, &place, message, help);
            }
            What::PoisonMemory { every: 0 } => {
                let help = "write PoisonMemory(every: 1) to poison all reads, 2 for every second one";
                self.error(codes::WRONG_EVENT, &place, "no read is poisoned".to_owned(), help);
            }
            What::LeakCredits { header: 0, data: 0, .. } => {
                let help = "write how many: LeakCredits(class: Posted, header: 8, data: 64)";
                self.error(codes::WRONG_EVENT, &place, "no credits leak".to_owned(), help);
            }
            _ => {}
        }
    }

    /// Reports everything about `placed` that `machine` does not have.
    pub fn fit_event(&mut self, placed: &PlacedEvent, machine: &Machine) {
        let PlacedEvent { event, place } = placed;
        if event.cpu(machine).is_some() {
            return;
        }
        if event.what.is_of_device() {
            if let Some(device) = self.one_device(&event.to, &place.field("device"), machine) {
                self.linked(device, &place.field("device"), machine);
            }
            return;
        }
        let at = place.field("link");
        let Some((index, way)) = event::link(machine, &event.to) else {
            let names: Vec<&str> = machine.links.iter().map(|link| link.name.as_str()).collect();
            let message = format!("{} has no link `{}`", machine.name, event.to);
            let shown = list_words(&names, 12).replace(" or ", " and ");
            let help = match nearest(&event.to, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? it has {shown}"),
                None => format!("it has {shown}"),
            };
            self.error(codes::UNKNOWN_LINK, &at, message, help);
            return;
        };
        if way.is_some() && !event.what.has_direction() {
            let message = "this happens to both directions of a link".to_owned();
            self.error(codes::WRONG_EVENT, &at, message, "leave `:up` or `:down` out");
        }
        let link = &machine.links[index];
        if let What::Downgrade { generation, lanes, .. } = event.what
            && !((1..=link.generation).contains(&generation) && lanes <= link.lanes)
        {
            let message = format!("`{}` is Gen{} x{}", link.name, link.generation, link.lanes);
            let help = format!("write a gen from 1 to {} and at most {} lanes", link.generation, link.lanes);
            self.error(codes::WRONG_EVENT, &place.field("what"), message, help);
        }
    }
}
