//! `SharedVirtual` as written → [`peerbus_system::shared_virtual`], and whether it fits a machine.

use peerbus_machine::Machine;
use peerbus_machine::file::Leaf;
use peerbus_machine::load::list_words;
use peerbus_machine::part::ResourceKind;
use peerbus_system::expand::{devices, single};
use peerbus_system::shared_virtual::{
    Activity, GpuDriver, GpuPages, LARGEST_PROCESS, MOST_TOUCHES, Order, Reaching, SharedGpu, SharedRange,
    SharedVirtual, Touch,
};
use peerbus_units::{Bytes, Picos};

use super::context::{Context, Place};
use crate::codes;
use crate::file::shared_virtual as file;

const LARGEST_EXPONENT: u32 = 4;
const PAGE: Bytes = Bytes::kib(4);
/// The longest time slice.
const LONGEST_SLICE: Picos = Picos(1_000_000_000_000);
/// The largest granule, as a power of two of pages.
const LARGEST_GRANULE: u32 = peerbus_system::shared_virtual::LARGEST_GRANULE;
/// The smallest memory a GPU can give: one huge page.
const LEAST_MEMORY: u64 = 2 << 20;

impl Context<'_> {
    /// The workload at `place`.
    pub fn shared_virtual(&mut self, given: &file::SharedVirtual, place: &Place) -> Option<SharedVirtual> {
        let name = self.name(&given.name, place);
        let ranges = self.ranges(&given.ranges, place);
        let gpus: Vec<Option<SharedGpu>> = given
            .gpus
            .iter()
            .enumerate()
            .map(|(index, gpu)| self.shared_gpu(gpu, &place.element("gpus", index)))
            .collect();
        let numbers = match &given.numbers {
            None => Some(None),
            given => self.take(given, place, "numbers", "PhysicalSpace or OwnSpace").map(Some),
        };
        let phases = self.phases(&given.phases, place);
        let (ranges, phases) = (ranges?, phases?);
        let known = self.ranges_are_known(&ranges, given, place);
        let gpus: Option<Vec<SharedGpu>> = gpus.into_iter().collect();
        let shared = SharedVirtual { name: name?, ranges, gpus: gpus?, numbers: numbers?, phases };
        known.then_some(shared)
    }

    fn ranges(&mut self, given: &[file::Range], place: &Place) -> Option<Vec<SharedRange>> {
        if given.is_empty() {
            self.none_given(place, "ranges", "a list such as [(name: \"data\", bytes: \"64MiB\")]");
            return None;
        }
        let mut ranges = Vec::new();
        for (index, range) in given.iter().enumerate() {
            let at = place.element("ranges", index);
            let name = self.name(&range.name, &at);
            let bytes = self.size(&range.bytes, &at, "bytes", 1..=LARGEST_PROCESS.0);
            let huge = match &range.huge {
                None => Some(true),
                given => self.take(given, &at, "huge", "true or false"),
            };
            let process = match &range.process {
                None => Some(None),
                given => self.take(given, &at, "process", "a word, such as \"render\"").map(Some),
            };
            let preferred = match &range.preferred {
                None => Some(None),
                given => self.take(given, &at, "preferred", "a CPU or a GPU, such as \"gpu0\"").map(Some),
            };
            let all = name.zip(bytes).zip(huge).zip(process.zip(preferred));
            ranges.push(all.map(|(((name, bytes), huge), (process, preferred))| SharedRange {
                name,
                bytes,
                huge,
                process,
                preferred,
            }));
        }
        let names: Vec<Option<&Leaf<String>>> = given.iter().map(|range| range.name.as_ref()).collect();
        self.distinct(&names, "range", |index| place.element("ranges", index).field("name"));
        let ranges: Vec<SharedRange> = ranges.into_iter().collect::<Option<_>>()?;
        let all = ranges.iter().fold(0u64, |sum, range| sum.saturating_add(range.bytes.0));
        if all > LARGEST_PROCESS.0 {
            let message = format!("the ranges have {} together", Bytes(all));
            let help = format!("write ranges of up to {LARGEST_PROCESS} together");
            self.error(codes::WRONG_SIZE, &place.field("ranges"), message, help);
            return None;
        }
        Some(ranges)
    }

    fn shared_gpu(&mut self, given: &file::Gpu, place: &Place) -> Option<SharedGpu> {
        let device = self.require(&given.device, place, "device", "a device, such as \"gpu*\"");
        let driver = self.choice(&given.driver, place, "driver");
        let memory = match &given.memory {
            None => Some(None),
            given => self.size(given, place, "memory", LEAST_MEMORY..=1 << 50).map(Some),
        };
        let owner = match &given.owner {
            None => Some(None),
            given => self.take(given, place, "owner", "a word, such as \"hive\"").map(Some),
        };
        let peer_pages = match &given.peer_pages {
            None => Some(false),
            given => self.take(given, place, "peer_pages", "true or false"),
        };
        let pages = self.choice(&given.pages, place, "pages");
        let granule = self.granule(given, driver, place);
        let time_slice = self.time_slice(given, driver, place);
        Some(SharedGpu {
            pages: pages?,
            granule: granule?,
            time_slice: time_slice?,
            device: device?,
            driver: driver?,
            memory: memory?,
            owner: owner?,
            peer_pages: peer_pages?,
        })
    }

    /// Powers of two of pages; of amdkfd alone.
    fn granule(
        &mut self,
        given: &file::Gpu,
        driver: Option<GpuDriver>,
        place: &Place,
    ) -> Option<Option<u32>> {
        if given.granule.is_none() {
            return Some(None);
        }
        let bytes = self.size(&given.granule, place, "granule", PAGE.0..=PAGE.0 << LARGEST_GRANULE)?;
        if driver.is_some_and(|driver| driver != GpuDriver::Amdkfd) {
            self.other_driver(&place.field("granule"), "granule", "Amdkfd");
            return None;
        }
        if !bytes.0.is_power_of_two() {
            let message = format!("`granule` of {bytes} is no power of two");
            let below = Bytes(1 << bytes.0.ilog2());
            let help = format!("write {below} or {}", Bytes(below.0 * 2));
            self.error(codes::WRONG_SIZE, &place.field("granule"), message, help);
            return None;
        }
        Some(Some((bytes.0 / PAGE.0).ilog2()))
    }

    /// Of xe alone.
    fn time_slice(
        &mut self,
        given: &file::Gpu,
        driver: Option<GpuDriver>,
        place: &Place,
    ) -> Option<Option<Picos>> {
        if given.time_slice.is_none() {
            return Some(None);
        }
        let time = self.take(&given.time_slice, place, "time_slice", "a time such as \"5ms\"")?;
        let at = place.field("time_slice");
        if driver.is_some_and(|driver| driver != GpuDriver::Xe) {
            self.other_driver(&at, "time_slice", "Xe");
            return None;
        }
        if time > LONGEST_SLICE {
            let message = format!("`time_slice` of {time} is out of range");
            self.error(codes::WRONG_TIME, &at, message, format!("write 0s to {LONGEST_SLICE}"));
            return None;
        }
        Some(Some(time))
    }

    fn other_driver(&mut self, at: &Place, field: &str, driver: &str) {
        let message = format!("`{field}` is a choice of {driver}, and this is another driver");
        let help = format!("leave `{field}` out, or write `driver: {driver}`");
        self.error(codes::OTHER_DRIVER, at, message, help);
    }

    fn phases(&mut self, given: &[Vec<file::Activity>], place: &Place) -> Option<Vec<Vec<Activity>>> {
        if given.iter().all(Vec::is_empty) {
            let example = "lists of activities, such as [[(name: \"fill\", by: \"cpu0\", range: \"data\", touch: Write)]]";
            self.none_given(place, "phases", example);
            return None;
        }
        let mut phases = Vec::new();
        for (index, phase) in given.iter().enumerate() {
            let at = place.element("phases", index);
            let activities: Vec<Option<Activity>> = phase
                .iter()
                .enumerate()
                .map(|(index, activity)| self.activity(activity, &at.index(index)))
                .collect();
            phases.push(activities.into_iter().collect::<Option<Vec<Activity>>>());
        }
        let places: Vec<(usize, usize)> = given
            .iter()
            .enumerate()
            .flat_map(|(phase, all)| (0..all.len()).map(move |at| (phase, at)))
            .collect();
        let names: Vec<Option<&Leaf<String>>> =
            given.iter().flatten().map(|item| item.name.as_ref()).collect();
        self.distinct(&names, "activity", |index| {
            let (phase, at) = places[index];
            place.element("phases", phase).index(at).field("name")
        });
        phases.into_iter().collect()
    }

    fn activity(&mut self, given: &file::Activity, place: &Place) -> Option<Activity> {
        let name = self.name(&given.name, place);
        let by = self.require(&given.by, place, "by", "a CPU or a device, such as \"cpu0\" or \"gpu0\"");
        let range = self.require(&given.range, place, "range", "the name of a range");
        let touch = self.choice(&given.touch, place, "touch");
        let order = self.order_of_touches(&given.order, place);
        let touches = match &given.touches {
            None => Some(None),
            given => self.count(given, place, "touches", 1..=MOST_TOUCHES, 1).map(Some),
        };
        let bytes = match &given.bytes {
            None => Some(PAGE),
            given => self.size(given, place, "bytes", 1..=PAGE.0),
        };
        let reach = self.choice(&given.reach, place, "reach");
        if touch == Some(Touch::Prefetch) && reach == Some(Reaching::Pinned) {
            let message = "pages that are pinned first cannot be asked for".to_owned();
            let help = "write `reach: Migrate` or `reach: InPlace`, or another `touch`";
            self.error(codes::OTHER_DRIVER, &place.field("reach"), message, help);
            return None;
        }
        Some(Activity {
            name: name?,
            by: by?,
            range: range?,
            touch: touch?,
            order: order?,
            touches: touches?,
            bytes: bytes?,
            reach: reach?,
        })
    }

    /// The order at `order` of `place`.
    pub fn order_of_touches(&mut self, given: &Option<Leaf<Order>>, place: &Place) -> Option<Order> {
        let order = self.choice(given, place, "order")?;
        let (wrong, help) = match order {
            Order::Strided(0) => ("a stride of 0 pages never gets on", "write 1 or more pages"),
            Order::Zipf(exponent) if !(1..=LARGEST_EXPONENT).contains(&exponent) => {
                ("the exponent of Zipf is out of range", "write 1 to 4")
            }
            order => return Some(order),
        };
        self.error(codes::WRONG_COUNT, &place.field("order"), wrong.to_owned(), help);
        None
    }

    /// Every activity's range is one of the workload's.
    fn ranges_are_known(
        &mut self,
        ranges: &[SharedRange],
        given: &file::SharedVirtual,
        place: &Place,
    ) -> bool {
        let names: Vec<&str> = ranges.iter().map(|range| range.name.as_str()).collect();
        let mut known = true;
        for (phase, activities) in given.phases.iter().enumerate() {
            for (index, activity) in activities.iter().enumerate() {
                let Some(wanted) = activity.range.as_ref().and_then(Leaf::get) else { continue };
                if names.contains(&wanted.as_str()) {
                    continue;
                }
                known = false;
                let message = format!("there is no range `{wanted}`");
                let help = format!("the workload has {}", list_words(&names, 6).replace(" or ", " and "));
                let at = place.element("phases", phase).index(index).field("range");
                self.error(codes::UNKNOWN_RANGE, &at, message, help);
            }
        }
        known
    }

    /// Reports everything about `shared` that `machine` does not have.
    pub fn fit_shared_virtual(&mut self, shared: &SharedVirtual, place: &Place, machine: &Machine) {
        for (index, gpu) in shared.gpus.iter().enumerate() {
            let at = place.element("gpus", index).field("device");
            let found = devices(machine, &gpu.device);
            if found.is_empty() {
                self.no_device(&gpu.device, &at, machine);
            }
            for device in found {
                self.linked(device, &at, machine);
                if gpu.pages == GpuPages::Coherent {
                    self.has_memory_bar(device, &place.element("gpus", index).field("pages"), machine);
                }
                let memory = machine.devices[device].memory.unwrap_or_default();
                if memory.0 < LEAST_MEMORY {
                    let message = format!("`{}` has no memory of its own", machine.devices[device].name);
                    self.error(
                        codes::WRONG_SIZE,
                        &at,
                        message,
                        "choose a device with 2 MiB of memory or more",
                    );
                }
            }
        }
        for (index, range) in shared.ranges.iter().enumerate() {
            let at = place.element("ranges", index).field("preferred");
            self.fit_preferred(range, shared, &at, machine);
        }
        for (phase, activities) in shared.phases.iter().enumerate() {
            for (index, activity) in activities.iter().enumerate() {
                let at = place.element("phases", phase).index(index).field("by");
                let cpu = activity.by.strip_prefix("cpu").and_then(|number| number.parse::<usize>().ok());
                match (cpu, single(machine, &activity.by)) {
                    (Some(cpu), None) if cpu < machine.cpus.len() => {}
                    (_, Some(device)) => {
                        self.linked(device, &at, machine);
                    }
                    (Some(cpu), None) => self.no_cpu(cpu, &at, machine),
                    (None, None) => self.no_device(&activity.by, &at, machine),
                }
            }
        }
    }

    /// Coherent pages have the addresses of a BAR.
    fn has_memory_bar(&mut self, device: usize, at: &Place, machine: &Machine) {
        let own = &machine.devices[device];
        let bars = own.functions.iter().flat_map(|function| &machine.functions[*function].bars);
        if !bars.into_iter().any(|bar| bar.kind != ResourceKind::Io) {
            let message = format!("`{}` has no memory BAR that CPUs could reach its pages by", own.name);
            self.error(codes::OTHER_DRIVER, at, message, "write `pages: Private`");
        }
    }

    /// A range's pages belong to a CPU of the machine, or to one of the workload's GPUs.
    fn fit_preferred(&mut self, range: &SharedRange, shared: &SharedVirtual, at: &Place, machine: &Machine) {
        let Some(who) = &range.preferred else { return };
        let cpu = who.strip_prefix("cpu").and_then(|number| number.parse::<usize>().ok());
        match (cpu, single(machine, who)) {
            (Some(cpu), None) if cpu < machine.cpus.len() => {}
            (Some(cpu), None) => self.no_cpu(cpu, at, machine),
            (_, Some(device)) => {
                let own = shared.gpus.iter().any(|gpu| devices(machine, &gpu.device).contains(&device));
                if !own {
                    let message = format!("`{who}` is none of the workload's GPUs");
                    let help = "name one of `gpus`, or a CPU";
                    self.error(codes::OTHER_DRIVER, at, message, help);
                }
            }
            (None, None) => self.no_device(who, at, machine),
        }
    }
}
