//! A [`Why`] as one page of at most 100 columns, for a kernel developer who has not seen this tool before.

mod changes;

use std::fmt::{self, Write};

use peerbus_machine::model::Fact;

use super::{Hop, HostBridgeRule, Side, Standing, Transfer, Why};
use crate::p2p::{DmaKind, MapType};
use crate::page::wrap;

/// The page, ending with a newline.
pub fn render_why(why: &Why) -> String {
    let mut out = String::new();
    let written = write_why(&mut out, why);
    assert!(written.is_ok(), "writing to a string cannot fail");
    out
}

fn write_why(out: &mut String, why: &Why) -> fmt::Result {
    write_verdict(out, why)?;
    write_route(out, why)?;
    write_host(out, why)?;
    write_log(out, why)?;
    if !why.assumed.is_empty() {
        let facts: Vec<&str> = why.assumed.iter().map(|fact| fact.word()).collect();
        writeln!(out, "\nAssumed, not in the machine's source: {}", facts.join(", "))?;
    }
    changes::write(out, why)
}

fn write_verdict(out: &mut String, why: &Why) -> fmt::Result {
    let (provider, client) = (last(&why.provider.name), last(&why.client.name));
    writeln!(out, "{}, {}: requests of {client} to memory of {provider}\n", why.machine, why.profile.name())?;
    let verdict = match why.map_type {
        MapType::BusAddr => "DIRECT, by bus address (BUS_ADDR)",
        MapType::ThruHostBridge => "THROUGH THE HOST BRIDGE (THRU_HOST_BRIDGE)",
        MapType::NotSupported => "NOT SUPPORTED (NOT_SUPPORTED)",
    };
    writeln!(out, "{verdict}, distance {}; the same from {provider} to {client}", why.distance)?;
    for end in [&why.provider, &why.client] {
        let part = end.part.as_ref().map_or(String::new(), |part| format!("  {part}"));
        writeln!(out, "  {:<8} {}  [{}]{part}", last(&end.name), end.function, end.pci)?;
    }
    for one in &why.transfers {
        write_transfer(out, why, one)?;
    }
    Ok(())
}

fn write_transfer(out: &mut String, why: &Why, one: &Transfer) -> fmt::Result {
    let name = |function| {
        let end = if why.provider.function == function { &why.provider } else { &why.client };
        last(&end.name)
    };
    let (provider, client) = (name(one.provider), name(one.client));
    match (one.bar, one.dma_addr, one.dma_kind) {
        (None, ..) => writeln!(out, "  {provider} has no prefetchable BAR to offer"),
        (Some(bar), Some(address), kind) => {
            let kind = match kind {
                Some(DmaKind::Bus) => "a bus address",
                Some(DmaKind::Iova) => "an IOVA",
                _ => "a CPU physical address",
            };
            writeln!(out, "  for BAR {bar} of {provider} the driver of {client} gets {address:#x}, {kind}")
        }
        (Some(bar), None, _) if one.cpu_addr.is_none() => {
            writeln!(out, "  BAR {bar} of {provider} has no address; `peerbus plan` says why")
        }
        (Some(bar), None, _) => {
            writeln!(out, "  for BAR {bar} of {provider} the driver of {client} gets an error (EREMOTEIO)")
        }
    }
}

fn write_route(out: &mut String, why: &Why) -> fmt::Result {
    let names: Vec<String> = why.route.iter().map(|hop| clipped(last(&hop.name))).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    writeln!(
        out,
        "\nRoute, as the kernel walks it (ACS: control/capability word, bits set, ? where assumed)"
    )?;
    let mut previous = None;
    for (hop, name) in why.route.iter().zip(names) {
        if why.common.is_none() && previous == Some(Side::Provider) && hop.side == Side::Client {
            writeln!(out, "          -- nothing is above both: through the root complex --")?;
        }
        previous = Some(hop.side);
        let arrow = match hop.side {
            Side::Provider => "up",
            Side::Common => "common",
            Side::Client => "down",
        };
        let link = hop.link.map_or(String::new(), |link| format!("gen{} x{}", link.generation, link.lanes));
        let line = format!(
            "  {arrow:<6}  {name:<width$}  {}  {:<15}  {link:<8}  {}",
            hop.function,
            hop.role,
            acs(hop, why.common.is_some())
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    let unless = if why.map_type == MapType::BusAddr { "" } else { " unless the root complex splits them" };
    for conflict in &why.payload_conflicts {
        let (sender, receiver) = (conflict.sender, conflict.receiver);
        let line = format!(
            "payload: {sender} sends up to {} bytes, {receiver} takes {}: larger writes are malformed there{unless}; the \
             kernel's decision does not look at this",
            conflict.sends, conflict.takes
        );
        wrap(out, "  ", &line)?;
    }
    Ok(())
}

/// A name of at most [`NAME`] characters.
fn clipped(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.to_owned();
    }
    name.chars().take(NAME - 1).chain(['~']).collect()
}

/// Room for a name in the route; longer ones are told in full above it.
const NAME: usize = 9;

/// Words and bits; `decides` is false on a route that has nothing above both, where redirection is not asked for.
fn acs(hop: &Hop, decides: bool) -> String {
    let assumed = if hop.assumed.contains(&Fact::Acs) { "?" } else { "" };
    let Some(words) = &hop.acs else { return format!("no ACS{assumed}") };
    let set = if words.set.is_empty() { "-".to_owned() } else { words.set.join(" ") };
    let mark = match (words.redirects.is_empty(), decides) {
        (true, _) => "",
        (false, true) => " <- redirects",
        (false, false) => " (not asked)",
    };
    format!("{:02x}/{:02x}{assumed} {set}{mark}", words.control, words.capability)
}

fn write_host(out: &mut String, why: &Why) -> fmt::Result {
    let host = &why.host;
    if !host.asked {
        return writeln!(out, "\nHost bridges: not asked, the route does not leave the functions above");
    }
    writeln!(out, "\nHost bridges")?;
    let (vendor, family) = (&host.cpu.vendor, host.cpu.family);
    if host.cpu.forwards {
        writeln!(
            out,
            "  CPU {vendor} family {family:#x}: AMD from 0x17 on forwards everywhere, the table is not read"
        )?;
    } else {
        writeln!(
            out,
            "  CPU {vendor} family {family:#x}: not AMD from 0x17 on, so the kernel's table decides"
        )?;
    }
    for bridge in &host.bridges {
        writeln!(out, "  {} (root bus {}): {}", bridge.name, bridge.root_bus, standing(bridge))?;
        if !host.cpu.forwards {
            writeln!(out, "    {}", row(bridge))?;
        }
    }
    Ok(())
}

fn standing(bridge: &HostBridgeRule) -> String {
    let first = bridge.first.map_or(String::new(), |first| first.to_string());
    let pci = bridge.pci.as_deref().unwrap_or_default();
    match bridge.standing {
        Standing::At00 => format!("{first} [{pci}] stands for it, being at 00.0"),
        Standing::RootPort => format!("{first} [{pci}] stands for it, being a root port"),
        Standing::Neither => format!("{first} [{pci}] is first, but neither at 00.0 nor a root port"),
        Standing::Empty => "its root bus is empty".to_owned(),
    }
}

fn row(bridge: &HostBridgeRule) -> String {
    let Some(row) = &bridge.row else {
        let refusal = "no row of the table: refused";
        return match bridge.standing {
            Standing::At00 | Standing::RootPort => refusal.to_owned(),
            Standing::Neither | Standing::Empty => {
                "nothing stands for it: refused, without a line in the log".to_owned()
            }
        };
    };
    let device = row.device.map_or("any".to_owned(), |device| format!("{device:04x}"));
    let condition = if row.same_host_bridge { ", for traffic within one host bridge" } else { "" };
    let verdict = if bridge.allows { "allowed" } else { "refused, the other side is elsewhere" };
    format!("row {:04x}:{device}{condition}: {verdict}", row.vendor)
}

fn write_log(out: &mut String, why: &Why) -> fmt::Result {
    if why.log.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nThe kernel logs, at the first mapping")?;
    for line in &why.log {
        wrap(out, "  ", &line.text)?;
        if let Some(remark) = &line.remark {
            wrap(out, "    ", remark)?;
        }
    }
    Ok(())
}

/// The last element of a path.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
