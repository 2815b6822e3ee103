//! A [`Plan`] as a person reads it: the tree with addresses, how full the windows are, what did not fit.

use std::fmt::{self, Write};

use peerbus_machine::model::Fact;
use peerbus_units::{Bytes, FunctionId};

use super::build::span;
use super::{BootLine, Plan, PlannedFunction, PlannedHostBridge, PlannedResource, Space};
use crate::resource::index_name;

/// The plan as text, ending with a newline.
pub fn render_plan(plan: &Plan) -> String {
    let mut out = String::new();
    let written = write_plan(&mut out, plan);
    assert!(written.is_ok(), "writing to a string cannot fail");
    out
}

fn write_plan(out: &mut String, plan: &Plan) -> fmt::Result {
    writeln!(out, "{}, resources as placed by {}", plan.machine, plan.profile.name())?;
    for bridge in &plan.host_bridges {
        writeln!(out)?;
        write_host_bridge(out, bridge)?;
        for function in plan.functions.iter().filter(|function| function.host_bridge == bridge.name) {
            write_function(out, function, bridge)?;
            let Some(id) = function.function else {
                continue;
            };
            for resource in plan.resources.iter().filter(|resource| resource.function == id) {
                write_resource(out, resource, function.depth)?;
            }
        }
    }
    write_spaces(out, &plan.spaces)?;
    write_log(out, &plan.log)?;
    write_misfits(out, plan)
}

fn write_log(out: &mut String, log: &[BootLine]) -> fmt::Result {
    if !log.is_empty() {
        writeln!(out, "\nthe kernel logs")?;
    }
    for line in log {
        match line.function {
            Some(function) => writeln!(out, "  {function} {}", line.text)?,
            None => writeln!(out, "  {}", line.text)?,
        }
    }
    Ok(())
}

fn write_host_bridge(out: &mut String, bridge: &PlannedHostBridge) -> fmt::Result {
    write!(
        out,
        "{} {:04x}:{:02x}  buses {:02x}-{:02x}  {} {}",
        bridge.name, bridge.domain, bridge.bus, bridge.bus, bridge.bus_last, bridge.cpu, bridge.part
    )?;
    writeln!(out, "{}", marks(false, &bridge.assumed))
}

fn write_function(out: &mut String, function: &PlannedFunction, bridge: &PlannedHostBridge) -> fmt::Result {
    let indent = 2 * function.depth + 2;
    // A path's last element is enough below its parent; names stay unique because the tree shows the rest.
    let name = function.name.rsplit('/').next().unwrap_or(&function.name);
    let id = function.function.map_or("unreachable".into(), |id| short(id, bridge.domain));
    write!(out, "{:indent$}{name}  {id}  {}", "", function.role)?;
    if !matches!(function.role, "root bus head" | "root port") {
        write!(out, " {}", function.part)?;
    }
    write!(out, " [{}]", function.pci)?;
    if let Some(link) = function.link {
        write!(out, "  gen{} x{}", link.generation, link.lanes)?;
    }
    if let Some((secondary, subordinate)) = function.buses {
        write!(out, "  buses {secondary:02x}-{subordinate:02x}")?;
    }
    writeln!(out, "{}", marks(function.inserted, &function.assumed))
}

fn short(id: FunctionId, domain: u32) -> String {
    let text = id.to_string();
    match text.split_once(':') {
        Some((_, rest)) if domain == 0 => rest.to_string(),
        _ => text,
    }
}

fn marks(inserted: bool, assumed: &[Fact]) -> String {
    let mut text = String::new();
    if inserted {
        text.push_str("  (inserted)");
    }
    if !assumed.is_empty() {
        let words: Vec<_> = assumed.iter().map(|fact| fact.word()).collect();
        text.push_str(&format!("  (assumed: {})", words.join(", ")));
    }
    text
}

fn write_resource(out: &mut String, resource: &PlannedResource, depth: usize) -> fmt::Result {
    let indent = 2 * depth + 6;
    let label = format!("{} {}", index_name(resource.index), resource.kind);
    write!(out, "{:indent$}{label:<18} {:>8}  ", "", size_text(resource))?;
    match (resource.cpu_addr, resource.bus_addr) {
        (Some(cpu), bus) => {
            write!(out, "{}", span(cpu, resource.size.unwrap_or(0)))?;
            if let Some(bus) = bus.filter(|bus| *bus != cpu) {
                write!(out, "  bus {bus:#x}")?;
            }
            writeln!(out)
        }
        (None, _) => writeln!(out, "not placed"),
    }
}

/// The size of a resource, or `?` when it is not known.
fn size_text(resource: &PlannedResource) -> String {
    resource.size.map_or_else(|| "?".to_owned(), |size| Bytes(size).to_string())
}

fn write_spaces(out: &mut String, spaces: &[Space]) -> fmt::Result {
    if spaces.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nhost-bridge windows")?;
    let width = spaces.iter().map(|space| span(space.cpu_addr, space.size).len()).max().unwrap_or(0);
    for space in spaces {
        write!(
            out,
            "  {} {:<10} {:<width$}  size {:>8}  used {:>8}  by BARs {:>8}  largest hole {:>8}",
            space.host_bridge,
            space.kind,
            span(space.cpu_addr, space.size),
            rounded(space.size),
            rounded(space.used),
            rounded(space.used_by_bars),
            rounded(space.largest_hole)
        )?;
        if space.bus_addr != space.cpu_addr {
            write!(out, "  bus {:#x}", space.bus_addr)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// A size with at most one decimal, rounded down; sizes in tables are compared at a glance.
fn rounded(size: u64) -> String {
    let unit = (0..=6u32).rev().find(|unit| size >= 1 << (10 * unit)).unwrap_or(0);
    let name = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"][unit as usize];
    let scale = 1u64 << (10 * unit);
    let tenths = size % scale * 10 / scale.max(1);
    match tenths {
        0 => format!("{}{name}", size / scale),
        tenths => format!("{}.{tenths}{name}", size / scale),
    }
}

fn write_misfits(out: &mut String, plan: &Plan) -> fmt::Result {
    let misfits: Vec<_> = plan.resources.iter().filter(|resource| resource.why_not.is_some()).collect();
    let unreachable: Vec<_> = plan.functions.iter().filter(|function| function.function.is_none()).collect();
    if misfits.is_empty() && unreachable.is_empty() {
        return writeln!(out, "\neverything fits");
    }
    writeln!(out, "\ndid not fit")?;
    for resource in misfits {
        let (name, size) = (&resource.name, size_text(resource));
        let what = format!("{} {}", index_name(resource.index), resource.kind);
        let why = resource.why_not.as_deref().unwrap_or_default();
        writeln!(out, "  {name} {} {what} {size}: {why}", resource.function)?;
    }
    for function in unreachable {
        writeln!(out, "  {}: no configuration request reaches it", function.name)?;
    }
    Ok(())
}
