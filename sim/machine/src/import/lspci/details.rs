//! The indented lines below a heading.
//!
//! Most facts stand on a line of their own. Which capability a line belongs to, and which of its registers, is
//! remembered from the lines before.

use super::capability;
use super::facts::{Acs, Bar, Buses, Express, Facts, Known, Sriov};
use super::heading;
use super::region::{self, Which, Wrong};
use super::source::{between, hex};
use crate::part::PciId;

/// Which capability the lines are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Section {
    /// None yet: the standard header.
    #[default]
    Header,
    Express,
    Acs,
    Sriov,
    Ari,
    /// One that says nothing we need.
    Other,
}

/// The state of reading one function's details.
#[derive(Clone, Debug, Default)]
pub struct Details {
    section: Section,
    /// The register of the PCI Express capability a line continues: `DevCtl`, `SltCap`, …
    register: String,
    /// `Capabilities: <access denied>` was seen.
    denied: bool,
    /// A line of capabilities was seen, so that what is not listed does not exist.
    listed: bool,
    /// The status register says that there is no list.
    no_list: bool,
    /// Written by an lspci of before 2007, which knows no extended capabilities.
    old: bool,
    /// More than names of capabilities is shown.
    decoded: bool,
    express: Option<Express>,
    acs_seen: bool,
    acs_capability: Option<u16>,
    acs_control: Option<u16>,
    sriov: Option<Sriov>,
    /// Virtual functions are switched off, however many are set.
    sriov_off: bool,
}

impl Details {
    /// Takes one line over into `facts`.
    ///
    /// # Errors
    ///
    /// The piece of a known form that means nothing.
    pub fn line<'a>(&mut self, line: &'a str, facts: &mut Facts) -> Result<(), Wrong<'a>> {
        if let Some(rest) = line.strip_prefix("Capabilities: ") {
            self.capability(rest);
        } else if self.section == Section::Header {
            self.header_line(line, facts)?;
        } else {
            self.capability_line(line, facts)?;
        }
        Ok(())
    }

    fn capability(&mut self, rest: &str) {
        self.register.clear();
        if rest.starts_with("<access denied>") {
            self.denied = true;
            return;
        }
        let Some((offset, name)) = rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")) else {
            return;
        };
        self.listed = true;
        let extended = offset.split(' ').next().and_then(hex).is_some_and(|offset| offset >= 0x100);
        self.section = match name {
            name if name.starts_with("Access Control Services") => {
                self.acs_seen = true;
                Section::Acs
            }
            name if extended && name.starts_with(NAMELESS_ACS) => {
                self.acs_seen = true;
                Section::Other
            }
            name if name.starts_with("Single Root I/O Virtualization") => {
                self.sriov.get_or_insert_default();
                Section::Sriov
            }
            name if name.starts_with("Alternative Routing-ID Interpretation") => Section::Ari,
            name => match capability::express(name) {
                Some(express) => {
                    self.express = self.express.or(Some(express));
                    Section::Express
                }
                None => Section::Other,
            },
        };
    }

    /// A line of the standard header.
    fn header_line<'a>(&mut self, line: &'a str, facts: &mut Facts) -> Result<(), Wrong<'a>> {
        if let Some(rest) = line.strip_prefix("Control: ") {
            facts.detailed = true;
            self.decoded = true;
            let bits = [("I/O", 0), ("Mem", 1), ("BusMaster", 2)];
            let set =
                |(name, bit): (&str, u16)| capability::flag(rest, name).map(|set| u16::from(set) << bit);
            facts.command = bits.into_iter().map(set).sum::<Option<u16>>().or(facts.command);
        } else if let Some(rest) = line.strip_prefix("Flags: ") {
            facts.detailed = true;
            facts.command = facts.command.or(Some(if rest.contains("bus master") { 7 } else { 3 }));
            facts.node =
                between(rest, "NUMA node ", &[',', ' ']).and_then(|node| node.parse().ok()).or(facts.node);
        } else if line.starts_with("Status: ") {
            self.no_list = capability::flag(line, "Cap") == Some(false);
        } else if let Some(rest) = line.strip_prefix("Subsystem: ") {
            facts.subsystem = facts.subsystem.or(heading::product(rest).1).filter(|pci| *pci != NOTHING);
        } else if let Some(rest) = line.strip_prefix("NUMA node: ") {
            facts.node = rest.trim().parse().ok();
        } else if line.starts_with("Device tree node: ") {
            facts.device_tree = true;
        } else if let Some(rest) = line.strip_prefix("Bus: ") {
            facts.buses = Some(buses(rest)?);
            facts.header = Some(1);
        } else if let Some(found) = region::window(line) {
            let (which, window) = found?;
            let place = match which {
                Which::Io => &mut facts.windows.io,
                Which::Memory => &mut facts.windows.memory,
                Which::Prefetch => &mut facts.windows.prefetch,
            };
            *place = Known::Present(window);
        } else if let Some(found) = region::rom(line) {
            facts.rom = Some(found?);
        } else if let Some(found) = region::bar(line, next_register(&facts.bars)) {
            add_bar(&mut facts.bars, found?);
        }
        Ok(())
    }

    /// A line below the name of a capability.
    fn capability_line<'a>(&mut self, line: &'a str, facts: &mut Facts) -> Result<(), Wrong<'a>> {
        match self.section {
            Section::Express => self.express_line(line),
            Section::Acs => {
                if line.starts_with("ACSCap:") {
                    self.acs_capability = capability::acs_word(line);
                } else if line.starts_with("ACSCtl:") {
                    self.acs_control = capability::acs_word(line);
                }
            }
            Section::Sriov => return self.sriov_line(line),
            Section::Ari => {
                if let Some(next) = between(line, "Next Function: ", &[',', ' ']) {
                    facts.ari = next.parse().ok();
                }
            }
            Section::Header | Section::Other => {}
        }
        if let Some(found) = capability::resizable(line).filter(|_| line.contains("supported:"))
            && facts.resizable.iter().all(|(index, _)| *index != found.0)
        {
            facts.resizable.push(found);
        }
        // Rest of the standard header, printed behind the capabilities.
        if line.starts_with("NUMA node: ") || line.starts_with("Device tree node: ") {
            self.header_line(line, facts)?;
        }
        Ok(())
    }

    fn express_line(&mut self, line: &str) {
        if let Some((name, rest)) = line.split_once(':')
            && !name.contains(' ')
        {
            let current = old_register(name, rest);
            self.old |= current.is_some();
            self.register = current.unwrap_or(name).to_owned();
        }
        self.decoded |= self.register == "LnkCap" || self.register == "DevCap";
        let Some(express) = &mut self.express else { return };
        match self.register.as_str() {
            "DevCap" => {
                let found = capability::transfer_size(line, "MaxPayload ");
                express.max_payload = express.max_payload.or(found);
            }
            "DevCtl" if line.contains("MaxReadReq") => {
                express.payload = capability::transfer_size(line, "MaxPayload ");
                express.read_request = capability::transfer_size(line, "MaxReadReq ");
            }
            "DevCtl" => {
                let extended = capability::flag(line, "ExtTag");
                express.tag_bits = extended.map(|extended| if extended { 8 } else { 5 }).or(express.tag_bits);
            }
            "LnkCap" if line.contains("Width") => express.capable = capability::link(line),
            "LnkSta" if line.contains("Width") => express.status = capability::link(line),
            "SltCap" if line.contains("HotPlug") => {
                express.hot_plug = capability::flag(line, "HotPlug") == Some(true);
            }
            "DevCap2" => express.ari_forwarding |= capability::flag(line, "ARIFwd") == Some(true),
            "DevCtl2" => {
                express.ari_enabled |= capability::flag(line, "ARIFwd") == Some(true);
                if capability::flag(line, "10BitTagReq") == Some(true) {
                    express.tag_bits = Some(10);
                }
            }
            _ => {}
        }
    }

    fn sriov_line<'a>(&mut self, line: &'a str) -> Result<(), Wrong<'a>> {
        let Some(sriov) = &mut self.sriov else { return Ok(()) };
        if let Some(total) = capability::number(line, "Total VFs: ") {
            sriov.total = total;
            sriov.enabled = capability::number(line, "Number of VFs: ").unwrap_or(0);
        } else if line.starts_with("IOVCtl:") {
            self.sriov_off = capability::flag(line, "Enable") == Some(false);
        } else if line.starts_with("VF offset: ") {
            sriov.offset = capability::number(line, "VF offset: ").unwrap_or(0);
            sriov.stride = capability::number(line, "stride: ").unwrap_or(0);
            let device = between(line, "Device ID: ", &[',', ' ']).and_then(hex);
            sriov.device = device.and_then(|device| u16::try_from(device).ok()).unwrap_or(0);
        } else if let Some(pages) = between(line, "Supported Page Size: ", &[',', ' ']).and_then(hex) {
            sriov.page_sizes = u32::try_from(pages).unwrap_or(0);
        } else if let Some(found) = region::bar(line, next_register(&sriov.bars)) {
            // The address that is printed here is the register's.
            let found = found?;
            add_bar(&mut sriov.bars, Bar { bus: found.cpu, cpu: None, ..found });
        }
        Ok(())
    }

    /// Decides what the absence of lines means.
    pub fn finish(self, facts: &mut Facts) {
        let readable = !self.denied && (self.listed || self.no_list);
        if let Some(express) = self.express {
            facts.express = Known::Present(express);
        } else if readable {
            facts.express = Known::Absent;
        }
        match (self.acs_capability, self.acs_control) {
            (Some(capability), Some(control)) => facts.acs = Known::Present(Acs { capability, control }),
            _ if self.acs_seen => {}
            _ if readable && self.decoded && !self.old => facts.acs = Known::Absent,
            _ => {}
        }
        if let Some(mut sriov) = self.sriov.filter(|sriov| sriov.total > 0) {
            sriov.enabled = if self.sriov_off { 0 } else { sriov.enabled };
            facts.sriov = Some(sriov);
        }
    }
}

/// How an lspci calls ACS that knows no name for it.
const NAMELESS_ACS: &str = "#0d";

/// The present name of a register of the PCI Express capability as listings called it until 2007.
fn old_register(name: &str, rest: &str) -> Option<&'static str> {
    let supported = rest.trim_start().starts_with("Supported");
    match name {
        "Device" if supported => Some("DevCap"),
        "Device" => Some("DevCtl"),
        "Link" if supported => Some("LnkCap"),
        "Link" => Some("LnkSta"),
        "Slot" => Some("SltCap"),
        _ => None,
    }
}

const NOTHING: PciId = PciId { vendor: 0, device: 0 };

/// `primary=00, secondary=01, subordinate=04, sec-latency=0`.
fn buses(text: &str) -> Result<Buses, Wrong<'_>> {
    let number = |name: &str| {
        let word = between(text, name, &[',', ' ']).unwrap_or(text);
        let value = hex(word).and_then(|value| u8::try_from(value).ok());
        value.ok_or(Wrong { part: word, expected: "a bus number from 00 to ff" })
    };
    Ok(Buses { secondary: number("secondary=")?, subordinate: number("subordinate=")? })
}

/// The register behind those in use, for listings that do not number them.
fn next_register(bars: &[Bar]) -> u8 {
    bars.iter().map(|bar| bar.index + if bar.kind.is_64bit() { 2 } else { 1 }).max().unwrap_or(0)
}

fn add_bar(bars: &mut Vec<Bar>, bar: Bar) {
    let room = u16::from(bar.index) + u16::from(bar.kind.is_64bit()) < 6;
    if room && bars.iter().all(|other| other.index != bar.index) {
        bars.push(bar);
    }
}
