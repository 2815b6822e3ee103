//! From the text of a scenario to what runs: machines, workloads per variant, conditions.
//!
//! [`load`] reports everything that is wrong, in the scenario and in its machines, each with its place. What it
//! returns without errors can be run: names are distinct, devices exist and conditions speak of flows that are made.

mod access;
mod context;
mod event;
mod fit;
mod kernel;
mod literal;
mod machines;
mod measured;
mod nvbandwidth;
mod peer_memory;
mod set_up;
mod shared_buffer;
mod shared_virtual;
mod sweep;
mod target;
mod tree;
mod workload;

use peerbus_fabric::LinkLayer;
use peerbus_machine::Catalogue;
use peerbus_machine::diagnostic::{Diagnostic, any_error, sort};
use peerbus_machine::file::Leaf;
use peerbus_machine::load::read;
use peerbus_system::aperture::Aperture;
use peerbus_system::device_memory::Binding;
use peerbus_system::expand;
use peerbus_system::kernel::KernelSettings;
use peerbus_system::ntb::Requesters;
use peerbus_system::run::RunInput;
use peerbus_system::workload::Workload;

use crate::expect::{self, Condition, Names};
use crate::measured::Measurement;
use crate::run::CellInput;
use crate::{codes, file};
use context::{Context, Place};
use event::PlacedEvent;
use literal::offset_in;
pub use machines::Provider;
use machines::{Machines, Named};
use set_up::At;
pub use sweep::Sweep;
use workload::Placed;

/// A scenario, ready to run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Path of the scenario file as given.
    pub file: String,
    /// First comment lines of the file: what it shows.
    pub description: String,
    /// Machine as the file names it; several, separated by commas, where variants name others.
    pub machine: String,
    /// Seed.
    pub seed: u64,
    /// One per variant, in the order of the file; one with an empty name in a scenario without variants.
    pub cells: Vec<CellInput>,
    /// Conditions, in the order of the file.
    pub expectations: Vec<Condition>,
    /// The points of its sweep, if it has one; all else is as without it.
    pub sweep: Option<Sweep>,
    /// Measured values, in the order of the file.
    pub measured: Vec<Measurement>,
}

/// Reads a scenario, RON or JSON (by the extension of `file_name`, or else by its first character), and the machines
/// it names. `provider` reads files: a machine's path is tried as it is and then beside the scenario file. All
/// problems are returned, the scenario's and the machines'; without errors, so is the scenario.
pub fn load(
    text: &str,
    file_name: &str,
    provider: &Provider<'_>,
    catalogue: &Catalogue,
) -> (Option<Loaded>, Vec<Diagnostic>) {
    let reading = read::<file::Scenario>(text, file_name);
    let mut context = Context::new(&reading.source, reading.diagnostics);
    let mut machines = Machines::new(provider, catalogue, file_name);
    let loaded = reading.value.map(|scenario| {
        let loaded = lower(&mut context, &scenario, &mut machines);
        let sweep = sweep::sweep(&mut context, &scenario, &machines, (file_name, description(text)));
        Loaded { sweep, ..loaded }
    });
    let mut diagnostics = context.0.diagnostics;
    sort(&mut diagnostics);
    let described = |loaded| Loaded { description: description(text), file: file_name.to_owned(), ..loaded };
    (loaded.filter(|_| !any_error(&diagnostics)).map(described), diagnostics)
}

/// The comment lines at the beginning of `text`, without their marks.
fn description(text: &str) -> String {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let comments = lines.skip_while(|line| line.is_empty()).map_while(|line| line.strip_prefix("//"));
    let words: Vec<&str> = comments.map(str::trim).collect();
    words.join("\n").trim().to_owned()
}

/// What a run is made from: of the file, or of a variant with what it changes.
#[derive(Clone)]
struct Settings<'f> {
    machine: Option<Named<'f>>,
    kernel: KernelSettings,
    link_layer: LinkLayer,
    workloads: Vec<Placed>,
    events: Vec<PlacedEvent>,
    apertures: Vec<At<Aperture>>,
    ntbs: Vec<At<Requesters>>,
    device_memory: Option<At<Binding>>,
    seed: u64,
}

fn lower(context: &mut Context<'_>, scenario: &file::Scenario, machines: &mut Machines<'_>) -> Loaded {
    let top = Place::default();
    let common = Settings {
        machine: machine_name(context, &scenario.machine, &top),
        kernel: context.kernel(&scenario.kernel, &top, KernelSettings::default()),
        link_layer: context.link_layer(&scenario.link_layer, &top, LinkLayer::ByRule),
        workloads: context.workloads(&scenario.workloads, &top),
        events: context.events(&scenario.events, &top),
        apertures: context.apertures(&scenario.apertures, &top),
        ntbs: context.ntbs(&scenario.ntbs, &top),
        device_memory: context.device_memory(&scenario.device_memory, &top, None),
        seed: context.take(&scenario.seed, &top, "seed", "a whole number from 0").unwrap_or_default(),
    };
    context.completeness(scenario);
    let cells = if scenario.variants.is_empty() {
        vec![cell(context, machines, String::new(), common.clone())]
    } else {
        variants(context, &scenario.variants, &common, machines)
    };
    let expectations = context.expectations(&scenario.expect, &cells);
    let names = context.all_names(&cells);
    let measured = context.measured(scenario, names.as_deref(), &mut |name| machines.beside(name));
    let cells: Vec<CellInput> = cells.into_iter().flatten().collect();
    Loaded {
        file: String::new(),
        description: String::new(),
        machine: machine_names(&cells),
        seed: common.seed,
        cells,
        expectations,
        sweep: None,
        measured,
    }
}

fn machine_name<'f>(
    context: &mut Context<'_>,
    leaf: &'f Option<Leaf<String>>,
    place: &Place,
) -> Option<Named<'f>> {
    let name = context.take(leaf, place, "machine", "the path of a machine file")?;
    leaf.as_ref().map(|leaf| Named { name, place: place.field("machine"), leaf })
}

fn machine_names(cells: &[CellInput]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for cell in cells {
        if !names.contains(&cell.machine_name.as_str()) {
            names.push(&cell.machine_name);
        }
    }
    names.join(", ")
}

fn variants(
    context: &mut Context<'_>,
    given: &[file::Variant],
    common: &Settings<'_>,
    machines: &mut Machines<'_>,
) -> Vec<Option<CellInput>> {
    let names: Vec<_> = given.iter().map(|variant| variant.name.as_ref()).collect();
    context.distinct(&names, "variant", |index| Place::default().element("variants", index).field("name"));
    let mut cells = Vec::new();
    for (index, variant) in given.iter().enumerate() {
        let place = Place::default().element("variants", index);
        let name = context.name(&variant.name, &place);
        let settings = Settings {
            machine: machine_name(context, &variant.machine, &place).or_else(|| common.machine.clone()),
            kernel: context.kernel(&variant.kernel, &place, common.kernel.clone()),
            link_layer: context.link_layer(&variant.link_layer, &place, common.link_layer),
            workloads: match &variant.workloads {
                Some(workloads) => context.workloads(workloads, &place),
                None => common.workloads.clone(),
            },
            events: match &variant.events {
                Some(events) => context.events(events, &place),
                None => common.events.clone(),
            },
            apertures: match &variant.apertures {
                Some(apertures) => context.apertures(apertures, &place),
                None => common.apertures.clone(),
            },
            ntbs: match &variant.ntbs {
                Some(ntbs) => context.ntbs(ntbs, &place),
                None => common.ntbs.clone(),
            },
            device_memory: context.device_memory(
                &variant.device_memory,
                &place,
                common.device_memory.clone(),
            ),
            seed: common.seed,
        };
        // Even without a name, so that everything else wrong with it is found.
        let cell = cell(context, machines, name.clone().unwrap_or_default(), settings);
        cells.push(cell.filter(|_| name.is_some()));
    }
    cells
}

/// One run; `None` when its machine cannot be used.
fn cell(
    context: &mut Context<'_>,
    machines: &mut Machines<'_>,
    variant: String,
    settings: Settings<'_>,
) -> Option<CellInput> {
    let named = settings.machine?;
    let machine = machines.get(context, &named)?;
    for placed in &settings.workloads {
        context.fit(placed, &machine);
    }
    for placed in &settings.events {
        context.fit_event(placed, &machine);
    }
    for placed in &settings.apertures {
        context.fit_aperture(placed, &machine);
    }
    for placed in &settings.ntbs {
        context.fit_requesters(placed, &machine);
    }
    if let Some(placed) = &settings.device_memory {
        context.fit_device_memory(placed, &machine);
    }
    let input = RunInput {
        kernel: settings.kernel,
        link_layer: settings.link_layer,
        workloads: settings.workloads.into_iter().map(|placed| placed.workload).collect(),
        events: settings.events.into_iter().map(|placed| placed.event).collect(),
        device_memory: settings.device_memory.map(|placed| placed.value),
        seed: settings.seed,
        apertures: settings.apertures.into_iter().map(|placed| placed.value).collect(),
        ntbs: settings.ntbs.into_iter().map(|placed| placed.value).collect(),
        scaling: Vec::new(),
    };
    Some(CellInput { variant, machine_name: named.name, machine, input })
}

impl Context<'_> {
    /// Every run has a machine, and something to do or to ask: expectations alone ask how the machine comes up.
    fn completeness(&mut self, scenario: &file::Scenario) {
        let top = Place::default();
        // Variants that were left out may have had their own.
        let unsure = self.left_out(&top, "variants");
        let all_have = |has: fn(&file::Variant) -> bool| {
            unsure || !scenario.variants.is_empty() && scenario.variants.iter().all(has)
        };
        if scenario.machine.is_none() && !all_have(|variant| variant.machine.is_some()) {
            self.missing(&top, "machine", "the path of a machine file");
        }
        let asks = !(scenario.expect.is_empty() && scenario.measured.is_empty())
            || self.left_out(&top, "expect")
            || self.left_out(&top, "measured");
        let idle = !asks && scenario.workloads.is_empty() && !all_have(|variant| variant.workloads.is_some());
        if idle && !self.left_out(&top, "workloads") {
            let help = "add `workloads:` with a list of Copy, PairMatrix, AllToAll, HostDma, PeerMemory, SharedVirtual or SharedBuffer";
            self.error(codes::NO_WORKLOADS, &top, "the scenario runs nothing".to_owned(), help);
        }
        for (index, variant) in scenario.variants.iter().enumerate() {
            let place = top.element("variants", index);
            let idle = !asks && variant.workloads.as_ref().is_some_and(Vec::is_empty);
            if idle && !self.left_out(&place, "workloads") {
                let place = place.field("workloads");
                let help = "list workloads, or drop the field to run those of the file";
                self.error(codes::NO_WORKLOADS, &place, "this variant runs nothing".to_owned(), help);
            }
        }
    }

    fn link_layer(
        &mut self,
        given: &Option<Leaf<file::LinkLayer>>,
        place: &Place,
        base: LinkLayer,
    ) -> LinkLayer {
        match self.take(given, place, "link_layer", "ByRule or Flat(share_ppm: 918526)") {
            None => base,
            Some(file::LinkLayer::ByRule) => LinkLayer::ByRule,
            Some(file::LinkLayer::Flat { share_ppm }) => {
                if !(1..=1_000_000).contains(&share_ppm) {
                    let message = format!("a share of {share_ppm} parts per million is out of range");
                    self.error(codes::WRONG_COUNT, &place.field("link_layer"), message, "write 1 to 1000000");
                }
                LinkLayer::Flat { share_ppm }
            }
        }
    }

    /// What each of `cells` makes; `None` unless all is well so far, since names may then be missing for other reasons.
    fn all_names(&self, cells: &[Option<CellInput>]) -> Option<Vec<Names>> {
        let complete = !any_error(&self.diagnostics) && cells.iter().all(Option::is_some);
        complete.then(|| cells.iter().flatten().map(names).collect())
    }

    /// The conditions. Their names are checked when all `cells` are known.
    fn expectations(&mut self, given: &[Leaf<String>], cells: &[Option<CellInput>]) -> Vec<Condition> {
        let known = self.all_names(cells);
        let mut conditions = Vec::new();
        for (index, leaf) in given.iter().enumerate() {
            let place = Place::default().element("expect", index);
            let Some(text) =
                self.read(leaf, &place, "a condition, such as \"flow.peer.throughput >= 24GB/s\"")
            else {
                continue;
            };
            let problems = match expect::parse(&text) {
                Ok(condition) => {
                    let problems =
                        known.as_ref().map(|names| expect::check(&condition, names)).unwrap_or_default();
                    conditions.push(condition);
                    problems
                }
                Err(problem) => vec![problem],
            };
            for problem in problems {
                let span = self.inside(leaf, &problem.span);
                self.error_in(problem.code, span, &place, problem.message, problem.help);
            }
        }
        conditions
    }

    /// Where bytes of a string's content stand in the parsed text.
    pub(super) fn inside(
        &self,
        leaf: &Leaf<String>,
        content: &std::ops::Range<usize>,
    ) -> Option<std::ops::Range<usize>> {
        let (start, literal) = (self.source.leaf(leaf)?.start, self.source.literal(leaf)?);
        let (from, to) = (offset_in(literal, content.start), offset_in(literal, content.end));
        Some(start + from..start + to.max(from))
    }
}

/// The flows, matrices and pools that a run makes.
fn names(cell: &CellInput) -> Names {
    let matrix = |workload: &Workload| match workload {
        Workload::PairMatrix(matrix) => Some(matrix.name.clone()),
        Workload::AllToAll(exchange) => Some(exchange.name.clone()),
        _ => None,
    };
    let flows = expand::flows(&cell.machine, &cell.input.workloads);
    let memories = cell.input.workloads.iter().filter_map(|workload| match workload {
        Workload::PeerMemory(memory) => Some(memory),
        _ => None,
    });
    let pools = memories.clone().flat_map(|memory| {
        let name = |device: usize| format!("{}.{}", memory.name, cell.machine.devices[device].name);
        expand::providers(&cell.machine, memory).into_iter().map(name)
    });
    Names {
        pools: pools.collect(),
        memories: memories.map(|memory| memory.name.clone()).collect(),
        variant: cell.variant.clone(),
        flows: flows.into_iter().map(|flow| flow.name).collect(),
        matrices: cell.input.workloads.iter().filter_map(matrix).collect(),
    }
}
