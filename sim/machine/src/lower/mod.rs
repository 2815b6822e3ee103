//! From a machine file to a machine: parts looked up, references resolved, defaults filled in, everything checked.
//!
//! Lowering never stops at a problem: it reports it and goes on with what is left, so that all problems of a file
//! are known at once. Only a file without errors becomes a [`Machine`]; warnings do not prevent it.
//!
//! Modules in reading order: `limits` (what the specification allows), `facts` (what is assumed), `context`,
//! `draft`, then the steps: `cpu`, `tree`, `device`, `function`, `config`, `link`, `arbitration`, `chips`, `interconnect`, `ntb`, `bus` and `numbering`,
//! `windows`, `placed` (addresses of BARs), `finish` (names and order), `cxl` (memory that CPUs use as theirs).

mod arbitration;
mod bus;
mod chips;
mod config;
mod context;
mod cpu;
mod cxl;
mod device;
mod draft;
mod facts;
mod finish;
mod function;
mod interconnect;
mod limits;
mod link;
mod ntb;
mod numbering;
mod placed;
mod tree;
mod windows;

use crate::catalogue::Catalogue;
use crate::codes;
use crate::diagnostic::{self, Diagnostic, any_error};
use crate::file;
use crate::firmware;
use crate::load::{self, Source};
use crate::model::{Facts, Machine};
use crate::part::Part;
use context::{Context, Place};
use draft::Draft;
pub use limits::part_problems;
use tree::Builder;

/// Reads and lowers a machine file, RON or JSON. All problems are returned, in order of place.
pub fn load_machine(
    text: &str,
    file_name: &str,
    catalogue: &Catalogue,
) -> (Option<Machine>, Vec<Diagnostic>) {
    let reading = load::read::<file::Machine>(text, file_name);
    let Some(machine) = &reading.value else { return (None, reading.diagnostics) };
    let (machine, mut diagnostics) = lower_source(machine, &reading.source, catalogue);
    diagnostics.extend(reading.diagnostics);
    diagnostic::sort(&mut diagnostics);
    (machine.filter(|_| !any_error(&diagnostics)), diagnostics)
}

/// Lowers a machine that was not read by [`load_machine`]: one made by an importer or from a synthetic form, with an
/// empty `text`, or one that was read from exactly this `text` as RON.
pub fn lower(
    machine: &file::Machine,
    text: &str,
    file_name: &str,
    catalogue: &Catalogue,
) -> (Option<Machine>, Vec<Diagnostic>) {
    let (machine, mut diagnostics) = lower_source(machine, &Source::borrowed(text, file_name), catalogue);
    diagnostic::sort(&mut diagnostics);
    (machine, diagnostics)
}

fn lower_source(
    file: &file::Machine,
    source: &Source,
    catalogue: &Catalogue,
) -> (Option<Machine>, Vec<Diagnostic>) {
    let mut ctx = Context::new(source, catalogue.clone());
    let machine = steps(&mut ctx, file);
    let machine = machine.filter(|_| !any_error(&ctx.diagnostics));
    (machine, ctx.reader.diagnostics)
}

fn steps(ctx: &mut Context, file: &file::Machine) -> Option<Machine> {
    let top = Place::default();
    let name = ctx.take(&file.name, &top, "name", "a string").unwrap_or_default();
    let origin = ctx.take(&file.source, &top, "source", "a string").unwrap_or_default();
    let assumed: Facts = ctx.facts(&file.assumed, &top);
    parts(ctx, file);
    check_not_empty(ctx, file);
    let draft = Draft { cpus: cpu::cpus(ctx, &file.cpus), ..Draft::default() };
    let capture = cpu::capture(ctx, file);
    let cpu_links = cpu::links(ctx, file, draft.cpus.len());
    let mut builder = Builder { ctx, draft };
    builder.host_bridges(&file.host_bridges);
    let mut draft = builder.draft;
    chips::check_switches(ctx, &draft);
    interconnect::name_devices(ctx, &mut draft.devices);
    let interconnects =
        interconnect::interconnects(ctx, &file.interconnects, &draft.devices, draft.cpus.len());
    let ntbs = ntb::ntbs(ctx, &file.ntbs, &draft.devices);
    numbering::number(ctx, &mut draft);
    windows::lay_out(ctx, &mut draft, &capture.memory);
    placed::check(ctx, &draft);
    if any_error(&ctx.diagnostics) {
        return None;
    }
    placed::open_bridges(&mut draft);
    let places: Vec<Place> = draft.devices.iter().map(|device| device.place.clone()).collect();
    let mut machine = finish::finish(
        draft,
        finish::Rest { name, source: origin, cpu_links, interconnects, ntbs, capture, assumed },
    )?;
    cxl::check(ctx, &machine, &places);
    firmware::run(&mut machine);
    Some(machine)
}

/// Adds the parts of the file to the catalogue.
fn parts(ctx: &mut Context, file: &file::Machine) {
    for (index, leaf) in file.parts.iter().enumerate() {
        let place = Place::default().element("parts", index);
        let Some(part): Option<Part> = ctx.read(leaf, &place, "") else { continue };
        for (_, problem) in part_problems(&part) {
            let help = "write what the product's data sheet says; `peerbus explain M0204` lists the limits";
            ctx.error(codes::IMPOSSIBLE_PART, &place, problem, help);
        }
        let id = part.id().to_owned();
        if !ctx.catalogue.add(part) {
            let message = format!("part id `{id}` is taken");
            ctx.error(
                codes::DUPLICATE_PART,
                &place,
                message,
                "write another id, and use it where the part is meant",
            );
        }
    }
}

fn check_not_empty(ctx: &mut Context, file: &file::Machine) {
    let top = Place::default();
    if file.cpus.is_empty() && !ctx.incomplete(&top.field("cpus")) {
        let help = "add `cpus: [(part: \"generic-cpu\")]`, or the part of a product";
        ctx.error(codes::NO_CPUS, &top, "the machine has no CPU".to_owned(), help);
    }
    if file.host_bridges.is_empty() && !ctx.incomplete(&top.field("host_bridges")) {
        let help = "add `host_bridges: [(ports: [(below: Device(part: …))])]`";
        ctx.error(codes::NO_HOST_BRIDGES, &top, "the machine has no host bridge".to_owned(), help);
    }
}
