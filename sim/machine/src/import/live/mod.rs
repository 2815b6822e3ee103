//! The machine that a Linux runs on, by what its `/sys/bus/pci/devices` and `/proc` say.
//!
//! The same facts as in an `lspci` listing, nearer to their source: configuration space as bytes, addresses and sizes
//! as the kernel has them. Without root rights the files of configuration space end after 64 bytes, and capabilities
//! stay unknown. Whoever reads the files gives their contents here; nothing is read.

mod cpuinfo;
mod resource;

use std::collections::BTreeMap;

use super::lspci::dump::Dump;
use super::lspci::facts::{Express, Facts, Known, Link, port_type};
use super::lspci::heading::function_id;
use super::lspci::source::hex;
use super::lspci::{self, Capture, Shown, decode, iomem};
use super::{Import, codes};
use crate::catalogue::Catalogue;
use crate::diagnostic::{Diagnostic, any_error};
use crate::model::IommuMode;
use crate::part::PciId;

pub use cpuinfo::processor;

/// One folder of `/sys/bus/pci/devices`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Folder {
    /// Its name, such as `0000:1b:00.0`.
    pub name: String,
    /// The file `config`.
    pub config: Vec<u8>,
    /// Other files by name, as text: `resource`, `class`, `current_link_speed`, … `iommu_group/type` is that of its
    /// IOMMU group, `physfn` is there for a virtual function and `of_node` for a function in a device tree.
    pub files: BTreeMap<String, String>,
}

/// Files of [`Folder`] that are worth reading.
pub const FILES: [&str; 14] = [
    "class",
    "current_link_speed",
    "current_link_width",
    "device",
    "iommu_group/type",
    "max_link_speed",
    "max_link_width",
    "numa_node",
    "resource",
    "revision",
    "sriov_numvfs",
    "subsystem_device",
    "subsystem_vendor",
    "vendor",
];

/// Links of [`Folder`] whose being there says something.
pub const LINKS: [&str; 4] = ["iommu_group", "of_node", "physfn", "subsystem"];

/// Imports a machine from its folders. Of `capture`, `listing` only gives the machine's name, and what is not told is
/// looked for in the folders.
///
/// # Errors
///
/// Everything that is wrong with the files; nothing is imported then.
///
/// # Panics
///
/// When `catalogue` lacks the generic parts that [`super::lspci()`] needs.
pub fn live(folders: &[Folder], capture: &Capture, catalogue: &Catalogue) -> Result<Import, Vec<Diagnostic>> {
    let mut diagnostics = Vec::new();
    let mut functions = BTreeMap::new();
    for folder in folders {
        match facts(folder) {
            Ok(facts) => {
                functions.insert(facts.id, facts);
            }
            Err((file, message)) => {
                let name = format!("{}/{file}", folder.name);
                let help = "the folder is one of /sys/bus/pci/devices, with the files Linux puts there";
                diagnostics.push(Diagnostic::error(codes::BAD_FOLDER, &name, message).help(help));
            }
        }
    }
    if functions.is_empty() && diagnostics.is_empty() {
        let message = "there is no PCI function in sys/bus/pci/devices";
        let help = "the folder given by --root is that of a whole system, as / is";
        diagnostics.push(Diagnostic::error(codes::EMPTY, capture.listing.name, message).help(help));
    }
    let mut ranges =
        |text: Option<lspci::Text>| text.map(|text| iomem::read(text, &mut diagnostics)).unwrap_or_default();
    let (memory, ports) = (ranges(capture.iomem), ranges(capture.ioports));
    if any_error(&diagnostics) {
        return Err(diagnostics);
    }
    let mut capture = capture.clone();
    capture.iommu = capture.iommu.or_else(|| iommu(folders));
    let shown = Shown { functions, roots: Vec::new(), memory, ports, source: "sysfs of" };
    lspci::machine(&capture, shown, catalogue)
}

/// What a folder shows of its function; the file and what is wrong with it.
fn facts(folder: &Folder) -> Result<Facts, (&'static str, String)> {
    let id = function_id(&folder.name).ok_or_else(|| ("", format!("`{}` is no function", folder.name)))?;
    let mut facts = Facts::new(id, (folder.name.clone(), 0..0));
    let file = |name: &str| folder.files.get(name).map(|text| text.trim());
    let number = |name: &'static str| -> Result<Option<u64>, (&'static str, String)> {
        let Some(text) = file(name) else { return Ok(None) };
        let value = text.strip_prefix("0x").and_then(hex);
        value.map(Some).ok_or_else(|| (name, format!("`{text}` is not a hexadecimal number")))
    };
    let ids = |vendor: Option<u64>, device: Option<u64>| {
        Some(PciId { vendor: u16::try_from(vendor?).ok()?, device: u16::try_from(device?).ok()? })
    };
    facts.pci = ids(number("vendor")?, number("device")?);
    let subsystem = ids(number("subsystem_vendor")?, number("subsystem_device")?);
    facts.subsystem = subsystem.filter(|pci| pci.vendor != 0);
    facts.class =
        number("class")?.and_then(|class| u32::try_from(class).ok()).filter(|class| class >> 24 == 0);
    facts.revision = number("revision")?.and_then(|revision| u8::try_from(revision).ok());
    facts.node = file("numa_node").and_then(|node| node.parse().ok());
    facts.device_tree = folder.files.contains_key("of_node");
    facts.detailed = true;
    if let Some(text) = file("resource") {
        resource::read(text, &mut facts)
            .map_err(|line| ("resource", format!("`{line}` is no line of a resource file")))?;
    }
    decode::decode(&Dump::of(&folder.config), &mut facts);
    if facts.express == Known::Unknown && !folder.files.contains_key("physfn") {
        facts.express = link(folder).map_or(Known::Unknown, Known::Present);
    }
    Ok(facts)
}

/// What a capability that cannot be read must be, by the links that only functions with one have.
fn link(folder: &Folder) -> Option<Express> {
    let file = |name: &str| folder.files.get(name).map(|text| text.trim());
    let link = |speed: &str, width: &str| {
        let speeds = [
            ("2.5 ", 1),
            ("5.0 ", 2),
            ("5 ", 2),
            ("8.0 ", 3),
            ("8 ", 3),
            ("16.0 ", 4),
            ("32.0 ", 5),
            ("64.0 ", 6),
        ];
        let text = file(speed)?;
        let (_, generation) = speeds.iter().find(|(words, _)| text.starts_with(words))?;
        Some(Link { generation: *generation, lanes: file(width)?.parse().ok()? })
    };
    let capable = link("max_link_speed", "max_link_width")?;
    // Which port it is decides its place in the tree; an endpoint is all that can be told of what is no bridge.
    let is_bridge = file("class").is_some_and(|class| class.starts_with("0x0604"));
    (!is_bridge).then(|| Express {
        port: port_type::ENDPOINT,
        version: None,
        capable: Some(capable),
        status: link("current_link_speed", "current_link_width"),
        ..Express::default()
    })
}

/// How the kernel uses an IOMMU, by the types of its groups; `None` when they are not shown.
fn iommu(folders: &[Folder]) -> Option<IommuMode> {
    let types: Vec<&str> = folders
        .iter()
        .filter_map(|folder| folder.files.get("iommu_group/type"))
        .map(|text| text.trim())
        .collect();
    if types.is_empty() {
        // Every function of Linux has `subsystem`: where it is missing, links were not copied and their absence says
        // nothing. A group whose type was not copied says nothing of its kind either.
        let has = |link: &str| folders.iter().any(|folder| folder.files.contains_key(link));
        return (has("subsystem") && !has("iommu_group")).then_some(IommuMode::None);
    }
    let translates = types.iter().any(|group| group.starts_with("DMA"));
    Some(if translates { IommuMode::Translate } else { IommuMode::Passthrough })
}
