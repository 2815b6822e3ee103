//! [`Catalogue`]: the parts machines refer to.
//!
//! The shipped parts are the files in `topologies/parts`, built into the program. A part with no PCI id (or, for
//! a CPU, no models) is *generic*: it stands for everything of its kind that is not known better, and is what
//! importers fall back to. Nothing looks at a part's name to decide anything; names only find parts.

use peerbus_units::Bytes;

use crate::diagnostic::Diagnostic;
use crate::load;
use crate::part::{CpuLinkPart, CpuPart, DeviceKind, DevicePart, InterconnectPart, Part, PciId, SwitchPart};

/// File name and text of every file of shipped parts.
const FILES: [(&str, &str); 6] = [
    ("topologies/parts/cpus.ron", include_str!("../../../topologies/parts/cpus.ron")),
    ("topologies/parts/switches.ron", include_str!("../../../topologies/parts/switches.ron")),
    ("topologies/parts/gpus.ron", include_str!("../../../topologies/parts/gpus.ron")),
    ("topologies/parts/nics.ron", include_str!("../../../topologies/parts/nics.ron")),
    ("topologies/parts/ssds.ron", include_str!("../../../topologies/parts/ssds.ron")),
    ("topologies/parts/links.ron", include_str!("../../../topologies/parts/links.ron")),
];

/// A set of parts with distinct ids, in the order in which they were added.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Catalogue {
    parts: Vec<Part>,
}

impl Catalogue {
    /// The shipped parts. Panics when a shipped file is broken, which a test rules out.
    pub fn embedded() -> Catalogue {
        let mut catalogue = Catalogue::default();
        for (file, text) in FILES {
            let diagnostics = catalogue.add_file(text, file);
            assert!(diagnostics.is_empty(), "{file}: {diagnostics:?}");
        }
        catalogue
    }

    /// File name and text of every file of shipped parts.
    pub fn files() -> &'static [(&'static str, &'static str)] {
        &FILES
    }

    /// Adds the parts of a text, a list of [`Part`]. Parts whose id is taken are reported and left out.
    pub fn add_file(&mut self, text: &str, file_name: &str) -> Vec<Diagnostic> {
        let (parts, mut diagnostics) = load::parse::<Vec<Part>>(text, file_name);
        for part in parts.into_iter().flatten() {
            let id = part.id().to_owned();
            if !self.add(part) {
                let message = format!("part `{id}` is defined twice");
                diagnostics.push(Diagnostic::error(crate::codes::DUPLICATE_PART, file_name, message));
            }
        }
        diagnostics
    }

    /// Adds a part; false, and nothing changed, when its id is taken.
    pub fn add(&mut self, part: Part) -> bool {
        let free = self.find(part.id()).is_none();
        if free {
            self.parts.push(part);
        }
        free
    }

    /// All parts.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The part with that id.
    pub fn find(&self, id: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.id() == id)
    }

    /// All CPU packages.
    pub fn cpus(&self) -> impl Iterator<Item = &CpuPart> {
        self.parts.iter().filter_map(|part| if let Part::Cpu(part) = part { Some(part) } else { None })
    }

    /// All switches.
    pub fn switches(&self) -> impl Iterator<Item = &SwitchPart> {
        self.parts.iter().filter_map(|part| if let Part::Switch(part) = part { Some(part) } else { None })
    }

    /// All devices.
    pub fn devices(&self) -> impl Iterator<Item = &DevicePart> {
        self.parts.iter().filter_map(|part| if let Part::Device(part) = part { Some(part) } else { None })
    }

    /// All links between CPU packages.
    pub fn cpu_links(&self) -> impl Iterator<Item = &CpuLinkPart> {
        self.parts.iter().filter_map(|part| if let Part::CpuLink(part) = part { Some(part) } else { None })
    }

    /// All private interconnects.
    pub fn interconnects(&self) -> impl Iterator<Item = &InterconnectPart> {
        self.parts
            .iter()
            .filter_map(|part| if let Part::Interconnect(part) = part { Some(part) } else { None })
    }

    /// The CPU with that id.
    pub fn find_cpu(&self, id: &str) -> Option<&CpuPart> {
        self.cpus().find(|part| part.id == id)
    }

    /// The switch with that id.
    pub fn find_switch(&self, id: &str) -> Option<&SwitchPart> {
        self.switches().find(|part| part.id == id)
    }

    /// The device with that id.
    pub fn find_device(&self, id: &str) -> Option<&DevicePart> {
        self.devices().find(|part| part.id == id)
    }

    /// The CPU link with that id.
    pub fn find_cpu_link(&self, id: &str) -> Option<&CpuLinkPart> {
        self.cpu_links().find(|part| part.id == id)
    }

    /// The interconnect with that id.
    pub fn find_interconnect(&self, id: &str) -> Option<&InterconnectPart> {
        self.interconnects().find(|part| part.id == id)
    }

    /// The device that appears with that PCI id. Of several (memory variants of one chip share ids) the first.
    pub fn device_by_pci(&self, pci: PciId) -> Option<&DevicePart> {
        self.devices().find(|part| part.pci.contains(&pci))
    }

    /// The switch whose ports appear with that PCI id.
    pub fn switch_by_pci(&self, pci: PciId) -> Option<&SwitchPart> {
        self.switches().find(|part| part.pci.contains(&pci))
    }

    /// The generic device for a class code: same base class and subclass, else same base class, else any of
    /// `kind`.
    pub fn device_by_class(&self, class: u32, kind: DeviceKind) -> Option<&DevicePart> {
        let generic = || self.devices().filter(|part| part.pci.is_empty());
        let same = |shift: u32| generic().find(|part| part.class >> shift == class >> shift);
        same(8).or_else(|| same(16)).or_else(|| generic().find(|part| part.kind == kind))
    }

    /// The generic device of `kind` that has all of `memory`, when such products differ in it.
    pub fn generic_device(&self, kind: DeviceKind, memory: Option<Bytes>) -> Option<&DevicePart> {
        let generic = || self.devices().filter(|part| part.pci.is_empty() && part.kind == kind);
        generic().find(|part| part.memory >= memory).or_else(|| generic().next())
    }

    /// The CPU of that vendor, family and model as in /proc/cpuinfo. Without one for the model: the one of the
    /// same family whose models come nearest, as generations of a family share their root complex's ways.
    /// Without one for the family: the generic one.
    pub fn cpu_by_identity(&self, vendor: &str, family: u32, model: u32) -> Option<&CpuPart> {
        let of_family = || self.cpus().filter(|part| part.vendor == vendor && part.family == family);
        let distance = |part: &&CpuPart| part.models.iter().map(|known| known.abs_diff(model)).min();
        of_family()
            .find(|part| part.models.contains(&model))
            .or_else(|| of_family().filter(|part| !part.models.is_empty()).min_by_key(distance))
            .or_else(|| self.generic_cpu())
    }

    /// True when [`Catalogue::cpu_by_identity`] knows exactly this model.
    pub fn knows_cpu(&self, vendor: &str, family: u32, model: u32) -> bool {
        let knows =
            |part: &CpuPart| part.vendor == vendor && part.family == family && part.models.contains(&model);
        self.cpus().any(knows)
    }

    /// The CPU that stands for unknown ones: it has no models.
    pub fn generic_cpu(&self) -> Option<&CpuPart> {
        self.cpus().find(|part| part.models.is_empty())
    }
}

/// What kind of thing a part is, in words.
pub(crate) fn kind_word(part: &Part) -> &'static str {
    match part {
        Part::Cpu(_) => "CPU",
        Part::Switch(_) => "switch",
        Part::Device(_) => "device",
        Part::CpuLink(_) => "CPU link",
        Part::Interconnect(_) => "interconnect",
    }
}
