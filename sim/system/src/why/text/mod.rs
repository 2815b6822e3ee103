//! A [`Why`] as one page of at most 100 columns, for a kernel developer who has not seen this tool before.

mod changes;

use std::fmt::{self, Write};

use peerbus_machine::model::Fact;

use super::{Hop, HostBridgeRule, Side, Standing, Transfer, Why};
use crate::p2p::{DmaKind, MapType};

/// Columns of the page.
const WIDTH: usize = 100;

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
                Some(DmaKind::Bus) => "bus address",
                _ => "CPU physical address",
            };
            writeln!(out, "  for BAR {bar} of {provider} the driver of {client} gets {address:#x}, a {kind}")
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
    let names: Vec<&str> = why.route.iter().map(|hop| last(&hop.name)).collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    writeln!(out, "\nRoute, as the kernel walks it (ACS: control word of capability word, bits set)")?;
    let mut previous = None;
    for (hop, name) in why.route.iter().zip(names) {
        if why.common.is_none() && previous == Some(Side::Provider) && hop.side == Side::Client {
            writeln!(out, "        nothing is above both: through the root complex")?;
        }
        previous = Some(hop.side);
        let arrow = match hop.side {
            Side::Provider => "up",
            Side::Common => "common",
            Side::Client => "down",
        };
        let link = hop.link.map_or(String::new(), |link| format!("gen{} x{}", link.generation, link.lanes));
        let line = format!(
            "  {arrow:<6}  {name:<width$}  {}  {:<17}  {link:<8}  {}",
            hop.function,
            hop.role,
            acs(hop)
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    for conflict in &why.payload_conflicts {
        writeln!(
            out,
            "  payload: {} sends up to {} bytes, {} takes {}: malformed there, which the kernel does not check",
            conflict.sender, conflict.sends, conflict.receiver, conflict.takes
        )?;
    }
    Ok(())
}

fn acs(hop: &Hop) -> String {
    let assumed = if hop.assumed.contains(&Fact::Acs) { " (assumed)" } else { "" };
    let Some(words) = &hop.acs else { return format!("no ACS{assumed}") };
    let set = if words.set.is_empty() { "none set".to_owned() } else { words.set.join(" ") };
    let mark = if words.redirects.is_empty() { "" } else { "  <- redirects" };
    format!("{:04x} of {:04x}: {set}{assumed}{mark}", words.control, words.capability)
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

/// `text` behind `indent` in lines of [`WIDTH`] columns, broken at blanks and, where a word alone is longer, behind
/// semicolons; lines after the first are indented by two more.
fn wrap(out: &mut String, indent: &str, text: &str) -> fmt::Result {
    let mut line = String::new();
    let mut first = true;
    let mut flush = |line: &mut String| -> fmt::Result {
        let more = if first { "" } else { "  " };
        first = false;
        writeln!(out, "{indent}{more}{}", std::mem::take(line))
    };
    let room = WIDTH - indent.len() - 2;
    for word in text.split(' ') {
        if !line.is_empty() && line.len() + 1 + word.len() > room {
            flush(&mut line)?;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for piece in word.split_inclusive(';') {
            if !line.is_empty() && !line.ends_with(' ') && line.len() + piece.len() > room {
                flush(&mut line)?;
            }
            line.push_str(piece);
        }
    }
    flush(&mut line)
}

/// The last element of a path.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_at_blanks_and_semicolons() {
        let list = vec!["0000:01:00.0"; 20].join(";");
        let mut out = String::new();
        wrap(&mut out, "    ", &format!("add the parameter pci=disable_acs_redir={list} and boot")).unwrap();
        assert!(out.lines().count() >= 3 && out.lines().all(|line| line.len() <= WIDTH), "{out}");
        assert!(out.lines().skip(1).all(|line| line.starts_with("      ")), "{out}");
        assert_eq!(out.matches("0000:01:00.0").count(), 20, "{out}");
    }
}
