//! Devices: their functions, and what the file says over what the part has.

use peerbus_units::Bytes;

use super::context::{Context, Place};
use super::draft::DraftDevice;
use super::facts::{assumed, is_assumed, timing};
use super::limits::is_transfer_size;
use super::link::{self, End};
use super::tree::{Builder, Joint, NO_ID, STAND_IN, Spot, plain_function};
use super::{config, function};
use crate::codes;
use crate::file;
use crate::model::{Bar, Config, Fact, Facts, Function, OrderingEnables, Role};
use crate::part::{AperturePart, DevicePart, PciId, ResourceKind};

const PCI: &str = "vendor and device, such as `(vendor: 0x10de, device: 0x20b2)`";
const ID: &str = "a function such as \"0000:1b:00.0\"";

/// Functions of a device beside the first. More exist only with alternative routing ids, and then have an id.
const MOST_FURTHER_FUNCTIONS: usize = 7;

/// The link of a device: its index, its upper end, and its description with its place.
pub(super) type DeviceLink<'f> = (usize, Joint, Option<&'f file::Link>, Place);

impl Builder<'_, '_> {
    /// Adds a device at `spot`.
    pub fn device(&mut self, given: &file::Device, place: &Place, spot: Spot, link: Option<DeviceLink>) {
        let part: Option<DevicePart> = self.ctx.part(&given.part, place);
        let facts = self.ctx.facts(&given.assumed, place);
        let index = self.draft.devices.len();
        let name = self.ctx.take(&given.name, place, "name", "a name such as \"gpu0\"");
        let name = name.filter(|name| self.name_is_usable(name, &place.field("name")));
        let memory = self.ctx.take(&given.memory, place, "memory", "a size such as \"80GiB\"");
        let max_read_request = self.read_request(given, part.as_ref(), place);
        let mut device = DraftDevice {
            place: place.clone(),
            name_lost: given.name.is_some() && name.is_none(),
            name,
            functions: Vec::new(),
            memory: memory.or(part.as_ref().and_then(|part| part.memory)),
            link: link.as_ref().map(|(index, ..)| *index),
            max_read_request,
            ordering: self.ordering(given, place),
            aperture: None,
            assumed: device_facts(given, part.as_ref(), &facts),
            part: None,
        };
        let first = self.first_function(given, part.as_ref(), place, spot, index, &facts);
        let base = first.clone();
        device.functions.push(self.add(first, spot, place));
        for (position, function) in given.functions.iter().enumerate() {
            let place = place.element("functions", position);
            if position == MOST_FURTHER_FUNCTIONS && function.id.is_none() {
                let message = "a device has functions 0 to 7; no number is left for this one".to_owned();
                self.ctx.error(codes::NO_NUMBER_LEFT, &place, message, "make it another device");
            }
            let function = self.further_function(function, &base, &place);
            device.functions.push(self.add(function, spot, &place));
        }
        if let Some((link, joint, description, at)) = link {
            let config = &self.draft.functions[device.functions[0]].config;
            let ends = [joint.end.clone(), part.as_ref().map(|part| End::device(part).limited(config))];
            let resolved = link::resolve(self.ctx, description, &at, &ends);
            self.draft.links[link] = joint.link(device.functions[0], resolved, &facts);
        }
        let bars = &self.draft.functions[device.functions[0]].bars;
        device.aperture = aperture(self.ctx, given, part.as_ref(), bars, place);
        device.part = part;
        self.draft.devices.push(device);
    }

    fn name_is_usable(&mut self, name: &str, place: &Place) -> bool {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let usable = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(good);
        if !usable {
            let message = format!("{name:?} cannot be a name");
            let help = "write letters, digits, `-`, `_` and `.`, beginning with a letter or digit";
            self.ctx.error(codes::BAD_NAME, place, message, help);
        }
        usable
    }

    fn read_request(&mut self, given: &file::Device, part: Option<&DevicePart>, place: &Place) -> Bytes {
        let default = part.map_or(Bytes(512), |part| part.max_read_request);
        let expected = "a read request size such as \"512B\"";
        let Some(size) = self.ctx.take(&given.max_read_request, place, "max_read_request", expected) else {
            return default;
        };
        if is_transfer_size(size) {
            return size;
        }
        let message = format!("{size} is not a read request size");
        let help = "write \"128B\", \"256B\", \"512B\", \"1KiB\", \"2KiB\" or \"4KiB\"";
        self.ctx.error(codes::BAD_READ_REQUEST, &place.field("max_read_request"), message, help);
        default
    }

    fn ordering(&mut self, given: &file::Device, place: &Place) -> OrderingEnables {
        let default = OrderingEnables::default();
        let mut take =
            |leaf, name, default| self.ctx.take(leaf, place, name, "true or false").unwrap_or(default);
        OrderingEnables {
            relaxed: take(&given.relaxed_ordering, "relaxed_ordering", default.relaxed),
            id_based: take(&given.id_based_ordering, "id_based_ordering", default.id_based),
        }
    }

    fn first_function(
        &mut self,
        given: &file::Device,
        part: Option<&DevicePart>,
        place: &Place,
        spot: Spot,
        device: usize,
        facts: &Facts,
    ) -> Function {
        let ctx = &mut *self.ctx;
        let mut facts = facts.clone();
        let default = part.and_then(|part| part.pci.first().copied()).unwrap_or(STAND_IN);
        let pci: PciId = ctx.take(&given.pci, place, "pci", PCI).unwrap_or(default);
        let class = function::class(ctx, &given.class, place);
        let bars = match (&given.bars, part) {
            (Some(bars), _) => function::bars(ctx, bars, place),
            (None, Some(part)) => {
                facts.extend(assumed(&part.sources, &["bars"]));
                function::part_bars(&part.bars)
            }
            (None, None) => Vec::new(),
        };
        let (acs, by_part) = function::acs(ctx, given.acs.as_ref(), place, part.and_then(|part| part.acs));
        if by_part && part.is_some_and(|part| is_assumed(&part.sources, "acs")) {
            facts.insert(Fact::Acs);
        }
        let mut function = Function {
            id: ctx.take(&given.id, place, "id", ID),
            subsystem: ctx.take(&given.subsystem, place, "subsystem", PCI).unwrap_or(NO_ID),
            class: class.or(part.map(|part| part.class)).unwrap_or(0),
            bars,
            acs,
            max_payload: part.map_or(Bytes(128), |part| part.max_payload),
            assumed: facts,
            ..plain_function(spot.bridge, Role::Endpoint(device), pci)
        };
        let listed = given.bars.as_deref().unwrap_or_default();
        config::apply(ctx, given.config.as_deref(), listed, place, &mut function);
        function
    }

    fn further_function(&mut self, given: &file::Function, first: &Function, place: &Place) -> Function {
        let ctx = &mut *self.ctx;
        let mut function = Function {
            id: ctx.take(&given.id, place, "id", ID),
            pci: ctx.take(&given.pci, place, "pci", PCI).unwrap_or(first.pci),
            subsystem: ctx.take(&given.subsystem, place, "subsystem", PCI).unwrap_or(first.subsystem),
            class: function::class(ctx, &given.class, place).unwrap_or(first.class),
            bars: function::bars(ctx, &given.bars, place),
            acs: function::acs(ctx, given.acs.as_ref(), place, None).0,
            config: Config::default(),
            ..first.clone()
        };
        config::apply(ctx, given.config.as_deref(), &given.bars, place, &mut function);
        function
    }
}

/// The table by which the device's largest memory BAR shows its memory.
fn aperture(
    ctx: &mut Context,
    given: &file::Device,
    part: Option<&DevicePart>,
    bars: &[Bar],
    place: &Place,
) -> Option<AperturePart> {
    let by_part = part.and_then(|part| part.aperture);
    let Some(aperture) = ctx.take(&given.aperture, place, "aperture", "a table such as `(page: \"64KiB\")`")
    else {
        return by_part;
    };
    let memory = bars.iter().filter(|bar| bar.kind != ResourceKind::Io).map(|bar| bar.size).max();
    if !aperture.is_possible() || memory.is_none_or(|largest| largest < aperture.page) {
        let message = match memory {
            Some(largest) => {
                format!("a memory BAR of {largest} cannot be shown in pages of {}", aperture.page)
            }
            None => "it has no memory BAR".to_owned(),
        };
        let help = "write a page from 4KiB to 1GiB, a power of two and no larger than the BAR, and a look-up of at most 10us";
        ctx.error(codes::BAD_APERTURE, &place.field("aperture"), message, help);
    }
    Some(aperture)
}

/// What is assumed about a device: what its file lists, and numbers of its part that are guesses and that the
/// file does not replace.
fn device_facts(given: &file::Device, part: Option<&DevicePart>, listed: &Facts) -> Facts {
    let mut facts = listed.clone();
    let Some(part) = part else { return facts };
    facts.extend(timing(&part.sources));
    if given.bars.is_none() {
        facts.extend(assumed(&part.sources, &["bars"]));
    }
    if given.memory.is_none() {
        facts.extend(assumed(&part.sources, &["memory"]));
    }
    if given.pci.is_none() {
        facts.extend(assumed(&part.sources, &["pci"]));
    }
    facts
}
