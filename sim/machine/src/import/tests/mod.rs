//! Tests of the importers: small topologies, every capture at hand, and mutated input.

mod captures;
mod mutation;
mod numbering;
mod parts;
mod shapes;

use super::{Import, nccl};
use crate::catalogue::Catalogue;
use crate::diagnostic::Diagnostic;
use crate::file::{self, Leaf};

fn catalogue() -> Catalogue {
    Catalogue::embedded()
}

/// Imports `body` as the content of `<system>`.
fn import(body: &str) -> Result<Import, Vec<Diagnostic>> {
    nccl(&format!("<system version=\"1\">{body}</system>"), "test.xml", &catalogue())
}

/// The same inside one `<cpu>`, an EPYC 7002.
fn import_below_rome(body: &str) -> Result<Import, Vec<Diagnostic>> {
    let cpu = r#"<cpu numaid="0" arch="x86_64" vendor="AuthenticAMD" familyid="143" modelid="49">"#;
    import(&format!("{cpu}{body}</cpu>"))
}

fn pci(id: &str, class: &str, inside: &str) -> String {
    format!(r#"<pci busid="{id}" class="{class}" link_speed="16 GT/s" link_width="16">{inside}</pci>"#)
}

fn gpu(id: &str) -> String {
    pci(id, "0x030200", "")
}

fn switch(id: &str, inside: &[String]) -> String {
    pci(id, "0x060400", &inside.concat())
}

fn get<T>(leaf: &Option<Leaf<T>>) -> Option<&T> {
    leaf.as_ref().and_then(Leaf::get)
}

/// The element's place in one line per function, as `lspci -t` would show: name or part, and id.
fn outline(machine: &file::Machine) -> String {
    let mut out = String::new();
    for bridge in &machine.host_bridges {
        let domain = get(&bridge.domain).copied().unwrap_or_default();
        let bus = get(&bridge.bus).copied().unwrap_or_default();
        let cpu = get(&bridge.cpu).copied().unwrap_or_default();
        out.push_str(&format!("host {domain:04x}:{bus:02x} cpu{cpu}\n"));
        bridge.devices.iter().for_each(|device| device_line(&mut out, device, 1));
        bridge.ports.iter().for_each(|port| port_lines(&mut out, port, 1));
    }
    out
}

fn port_lines(out: &mut String, port: &file::Port, depth: usize) {
    let id = get(&port.id).map_or_else(|| "?".to_owned(), ToString::to_string);
    let link = port.link.as_ref().map_or_else(String::new, |link| {
        format!(" gen{} x{}", get(&link.generation).map_or(0, |v| *v), get(&link.lanes).map_or(0, |v| *v))
    });
    out.push_str(&format!("{}port {id}{link}\n", "  ".repeat(depth)));
    match port.below.as_deref() {
        Some(file::Below::Device(device)) => device_line(out, device, depth + 1),
        Some(file::Below::Switch(switch)) => {
            let id = get(&switch.id).map_or_else(|| "?".to_owned(), ToString::to_string);
            let part = get(&switch.part).map_or("?", String::as_str);
            out.push_str(&format!("{}switch {id} {part}\n", "  ".repeat(depth + 1)));
            switch.devices.iter().for_each(|device| device_line(out, device, depth + 2));
            switch.ports.iter().for_each(|port| port_lines(out, port, depth + 2));
        }
        None => {}
    }
}

fn device_line(out: &mut String, device: &file::Device, depth: usize) {
    let id = get(&device.id).map_or_else(|| "?".to_owned(), ToString::to_string);
    let name = get(&device.name).map_or("?", String::as_str);
    let part = get(&device.part).map_or("?", String::as_str);
    let further: Vec<_> = device.functions.iter().filter_map(|function| get(&function.id)).collect();
    let further = if further.is_empty() { String::new() } else { format!(" and {further:?}") };
    out.push_str(&format!("{}{name} {id} {part}{further}\n", "  ".repeat(depth)));
}
