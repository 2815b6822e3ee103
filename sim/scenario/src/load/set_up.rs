//! How devices are set up, as written → [`peerbus_system::aperture`] and [`peerbus_system::ntb`], and whether it fits a machine.

use peerbus_machine::Machine;
use peerbus_machine::file::Leaf;
use peerbus_machine::part::DeviceKind;
use peerbus_system::aperture::{self, Aperture, Pages, Run};
use peerbus_system::device_memory::{Binding, Levels};
use peerbus_system::expand::devices;
use peerbus_system::ntb::{self, Requesters};
use peerbus_system::workload::WhenRefused;
use peerbus_units::Bytes;

use super::context::{Context, Place};
use crate::{codes, file};

const PIB: u64 = 1 << 50;

/// Something and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub value: T,
    pub place: Place,
}

impl Context<'_> {
    /// The apertures of the list at `apertures` of `holder`; those that are wrong are missing.
    pub fn apertures(&mut self, given: &[file::Aperture], holder: &Place) -> Vec<At<Aperture>> {
        let mut placed = Vec::new();
        for (index, item) in given.iter().enumerate() {
            let place = holder.element("apertures", index);
            placed.extend(self.aperture(item, &place).map(|value| At { value, place }));
        }
        placed
    }

    fn aperture(&mut self, given: &file::Aperture, place: &Place) -> Option<Aperture> {
        let device = self.require(&given.device, place, "device", "a device, such as \"gpu0\"");
        let from = match &given.from {
            None => Some(None),
            from => self.size(from, place, "from", 0..=PIB).map(Some),
        };
        let runs: Vec<Option<Run>> = given
            .runs
            .iter()
            .enumerate()
            .map(|(index, run)| self.run(run, &place.element("runs", index)))
            .collect();
        let left_out = self.left_out(place, "runs");
        let pages = match (from?, runs.is_empty()) {
            (Some(_), false) => {
                let message = "both a start and runs are given".to_owned();
                let help = "drop `from`: runs say where each begins";
                self.error(codes::WRONG_APERTURE, &place.field("from"), message, help);
                return None;
            }
            (Some(from), true) => Pages::From(from),
            (None, true) if !left_out => {
                self.missing(place, "from", "a place in the memory, such as \"1GiB\", or `runs`");
                return None;
            }
            (None, _) => Pages::Runs(runs.into_iter().collect::<Option<_>>()?),
        };
        Some(Aperture { device: device?, pages })
    }

    /// The conditions at `device_memory` of `holder`; what is not named stays as in `base`.
    pub fn device_memory(
        &mut self,
        given: &Option<file::DeviceMemory>,
        holder: &Place,
        base: Option<At<Binding>>,
    ) -> Option<At<Binding>> {
        let Some(given) = given else { return base };
        let place = holder.field("device_memory");
        let mut binding = base.map_or_else(Binding::default, |base| base.value);
        let design = self.take(&given.design, &place, "design", "PhysicalSpace or OwnSpace");
        let drivers = self.take(&given.drivers, &place, "drivers", "AtStart or OnDemand");
        binding.design = design.unwrap_or(binding.design);
        binding.drivers = drivers.unwrap_or(binding.drivers);
        let conditions = &mut binding.conditions;
        let bits = self.within(&given.physical_bits, &place, "physical_bits", 32..=57);
        let levels = self.within(&given.paging, &place, "paging", 4..=5);
        let window = self.within(&given.guest_window, &place, "guest_window", 2..=128);
        conditions.physical_bits = bits.or(conditions.physical_bits);
        let levels = levels.map(|levels| if levels == 4 { Levels::Four } else { Levels::Five });
        conditions.paging = levels.or(conditions.paging);
        conditions.guest_window = window.or(conditions.guest_window);
        let trimmed = self.take(&given.trimmed, &place, "trimmed", "true or false");
        conditions.trimmed = trimmed.unwrap_or(conditions.trimmed);
        Some(At { value: binding, place })
    }

    /// A number that must lie in a range.
    fn within(
        &mut self,
        given: &Option<Leaf<u8>>,
        place: &Place,
        field: &'static str,
        range: std::ops::RangeInclusive<u8>,
    ) -> Option<u8> {
        let (first, last) = (range.start(), range.end());
        let help = format!("a whole number from {first} to {last}");
        let value = self.take(given, place, field, &help)?;
        if !range.contains(&value) {
            let message = format!("`{field}` of {value} is out of range");
            self.error(codes::WRONG_COUNT, &place.field(field), message, format!("write {first} to {last}"));
            return None;
        }
        Some(value)
    }

    /// Reports conditions for a machine that has no memory for them.
    pub fn fit_device_memory(&mut self, placed: &At<Binding>, machine: &Machine) {
        let gpus = machine.devices.iter().filter(|device| device.part.kind == DeviceKind::Gpu);
        if !gpus.into_iter().any(|gpu| gpu.memory.is_some_and(|memory| memory > Bytes::ZERO)) {
            let message = format!("{} has no GPU with memory of its own", machine.name);
            let help = "drop `device_memory`, or describe GPUs whose parts have `memory`";
            self.error(codes::UNKNOWN_DEVICE, &placed.place, message, help);
        }
    }

    fn run(&mut self, given: &file::Run, place: &Place) -> Option<Run> {
        let mut start = |leaf: &Option<Leaf<Bytes>>, name| match leaf {
            None => Some(Bytes::ZERO),
            leaf => self.size(leaf, place, name, 0..=PIB),
        };
        let (bar, memory) = (start(&given.bar, "bar"), start(&given.memory, "memory"));
        if given.size.is_none() {
            self.missing(place, "size", "a size such as \"64MiB\"");
        }
        let size = self.size(&given.size, place, "size", 1..=PIB);
        Some(Run { bar: bar?, memory: memory?, size: size? })
    }

    /// The tables of requesters of the list at `ntbs` of `holder`; those that are wrong are missing.
    pub fn ntbs(&mut self, given: &[file::Requesters], holder: &Place) -> Vec<At<Requesters>> {
        let mut placed = Vec::new();
        for (index, item) in given.iter().enumerate() {
            let place = holder.element("ntbs", index);
            let device = self.require(&item.device, &place, "device", "a side of a bridge, such as \"ntb0\"");
            let read = |(index, leaf)| self.read(leaf, &place.element("requesters", index), "a device");
            let requesters: Vec<_> = item.requesters.iter().enumerate().filter_map(read).collect();
            placed.extend(device.map(|device| At { value: Requesters { device, requesters }, place }));
        }
        placed
    }

    /// Reports everything about `placed` that `machine` does not have.
    pub fn fit_aperture(&mut self, placed: &At<Aperture>, machine: &Machine) {
        let found = devices(machine, &placed.value.device);
        if found.is_empty() {
            self.no_device(&placed.value.device, &placed.place.field("device"), machine);
        }
        let problems = found.into_iter().map(|device| aperture::table(machine, device, &placed.value.pages));
        // One of several that are alike says enough.
        if let Some(message) = problems.filter_map(Result::err).next() {
            let help = "pages are given in multiples of the device's, and lie in its BAR and its memory";
            self.error(codes::WRONG_APERTURE, &placed.place, message, help);
        }
    }

    /// Reports everything about `placed` that `machine` does not have.
    pub fn fit_requesters(&mut self, placed: &At<Requesters>, machine: &Machine) {
        let At { value, place } = placed;
        let mut known = self.one_device(&value.device, &place.field("device"), machine).is_some();
        for (index, pattern) in value.requesters.iter().enumerate() {
            if devices(machine, pattern).is_empty() {
                self.no_device(pattern, &place.element("requesters", index), machine);
                known = false;
            }
        }
        if let (true, Err(message)) = (known, ntb::table(machine, value)) {
            self.error(codes::WRONG_BRIDGE, place, message, "`ntbs` of the machine file lists the bridges");
        }
    }

    /// Reports a `through` that is no side of a bridge of `machine`, or that cannot be used like this.
    pub fn fit_through(
        &mut self,
        through: Option<&String>,
        refused: WhenRefused,
        place: &Place,
        machine: &Machine,
    ) {
        let Some(name) = through else { return };
        let at = place.field("through");
        if self.one_device(name, &at, machine).is_none() {
            return;
        }
        if let Err(message) = ntb::sides(machine, name) {
            self.error(codes::WRONG_BRIDGE, &at, message, "`ntbs` of the machine file lists the bridges");
        }
        if refused != WhenRefused::Fail {
            let message = "two hosts share no buffer in host memory".to_owned();
            self.error(codes::WRONG_BRIDGE, &place.field("refused"), message, "write `refused: Fail`");
        }
    }
}
