//! Which part of the catalogue an element of the file stands for.
//!
//! A PCI id that the catalogue knows decides. Without one, a GPU's instruction set names its product family, and
//! otherwise the class names a generic part; both are guesses and marked as such.

use std::ops::RangeInclusive;

use super::value;
use super::xml;
use crate::catalogue::Catalogue;
use crate::part::{CpuPart, DeviceKind, DevicePart, PciId, SwitchPart};

/// A part, and why it was taken although the file does not name it.
pub(super) struct Choice<'c, P> {
    /// The part.
    pub part: &'c P,
    /// The reason in words; `None` when the file names the part.
    pub guess: Option<String>,
}

/// A family of GPUs: what a file may say of its members, and what the catalogue has for them.
pub(super) struct Family {
    vendor: u16,
    devices: RangeInclusive<u16>,
    /// Names of its instruction set; older RCCL writes 910 for 90a.
    gcn: &'static [&'static str],
    /// CUDA compute capabilities.
    sm: RangeInclusive<u32>,
    /// Device id of the member taken where only the family is known.
    usual: u16,
    /// Interconnect part of one private link.
    pub link: &'static str,
}

const AMD: u16 = 0x1002;
const NVIDIA: u16 = 0x10de;
/// The upstream port of the bridge inside AMD's GPU packages.
const AMD_GPU_BRIDGE: PciId = PciId { vendor: 0x1022, device: 0x14a0 };

#[rustfmt::skip]
const FAMILIES: [Family; 8] = [
    Family { vendor: AMD, devices: 0x66a0..=0x66af, gcn: &["906"], sm: 0..=0, usual: 0x66a1, link: "xgmi-mi50" },
    Family { vendor: AMD, devices: 0x7388..=0x738f, gcn: &["908"], sm: 0..=0, usual: 0x738c, link: "xgmi-mi100" },
    Family { vendor: AMD, devices: 0x7408..=0x740f, gcn: &["90a", "910"], sm: 0..=0, usual: 0x740c, link: "xgmi-mi200" },
    Family { vendor: AMD, devices: 0x74a0..=0x74a0, gcn: &["940"], sm: 0..=0, usual: 0x74a0, link: "xgmi-mi300" },
    Family { vendor: AMD, devices: 0x74a1..=0x74bf, gcn: &["941", "942"], sm: 0..=0, usual: 0x74a1, link: "xgmi-mi300" },
    Family { vendor: NVIDIA, devices: 0x1db0..=0x1dff, gcn: &[], sm: 70..=72, usual: 0x1db1, link: "nvlink2" },
    Family { vendor: NVIDIA, devices: 0x20b0..=0x20ff, gcn: &[], sm: 80..=80, usual: 0x20b0, link: "nvlink3" },
    Family { vendor: NVIDIA, devices: 0x2300..=0x23ff, gcn: &[], sm: 90..=90, usual: 0x2330, link: "nvlink4" },
];

/// A CPU as the kernel counts: vendor, family, model.
pub(super) struct Identity<'x> {
    /// As in /proc/cpuinfo.
    pub vendor: &'x str,
    /// CPU family.
    pub family: u32,
    /// CPU model.
    pub model: u32,
}

/// The catalogue as the importer asks it.
#[derive(Clone, Copy)]
pub(super) struct Parts<'c> {
    catalogue: &'c Catalogue,
    generic_cpu: &'c CpuPart,
    generic_switch: &'c SwitchPart,
    generic_device: &'c DevicePart,
}

impl<'c> Parts<'c> {
    /// Asks `catalogue`, which must have a generic CPU, `generic-switch` and a generic device.
    pub fn new(catalogue: &'c Catalogue) -> Parts<'c> {
        let lacks = |what: &str| -> ! { panic!("the catalogue has no generic {what}") };
        Parts {
            catalogue,
            generic_cpu: catalogue.generic_cpu().unwrap_or_else(|| lacks("CPU")),
            generic_switch: catalogue.find_switch("generic-switch").unwrap_or_else(|| lacks("switch")),
            generic_device: catalogue
                .generic_device(DeviceKind::Other, None)
                .unwrap_or_else(|| lacks("device")),
        }
    }

    /// What stands for switches that are not known better; as large as a file needs.
    pub fn generic_switch(self) -> &'c SwitchPart {
        self.generic_switch
    }

    /// The CPU part of a `<cpu>` element and its identity, if stated. NCCL writes the family as base plus sixteen
    /// times the extended family; some hand-written files give it as the kernel counts.
    pub fn cpu<'x>(self, cpu: &'x xml::Cpu) -> (Choice<'c, CpuPart>, Option<Identity<'x>>) {
        let Some((raw, model)) = cpu.identity.filter(|_| !cpu.vendor.is_empty()) else {
            let part = self.generic_cpu;
            let guess = format!("the file does not name its model; taken as {}", part.id);
            return (Choice { part, guess: Some(guess) }, None);
        };
        let vendor = cpu.vendor.as_str();
        let families = [value::family(raw), raw];
        let known = families.into_iter().find(|family| self.catalogue.knows_cpu(vendor, *family, model));
        let family = known.unwrap_or(families[0]);
        let part = self.catalogue.cpu_by_identity(vendor, family, model).unwrap_or(self.generic_cpu);
        let guess = format!(
            "{vendor} family {family:#x} model {model:#x} is not in the catalogue; taken as {}",
            part.id
        );
        let guess = known.is_none().then_some(guess);
        (Choice { part, guess }, Some(Identity { vendor, family, model }))
    }

    /// The part of a device.
    pub fn device(self, function: &xml::Function) -> Choice<'c, DevicePart> {
        if let Some(part) = function.pci.and_then(|pci| self.catalogue.device_by_pci(pci)) {
            return Choice { part, guess: None };
        }
        let family = family_by_gcn(function).filter(|_| function.pci.is_none());
        let usual = family.map(|family| PciId { vendor: family.vendor, device: family.usual });
        if let Some(part) = usual.and_then(|pci| self.catalogue.device_by_pci(pci)) {
            let gcn = function.gpu.as_ref().and_then(|gpu| gpu.gcn.as_deref()).unwrap_or_default();
            let guess = format!("no PCI id is given; with instruction set gfx{gcn} taken as {}", part.id);
            return Choice { part, guess: Some(guess) };
        }
        let class = function.class;
        let part =
            self.catalogue.device_by_class(class, DeviceKind::of_class(class)).unwrap_or(self.generic_device);
        let why = what_is_known(function.pci);
        Choice { part, guess: Some(format!("{why}; by its class {class:#08x} taken as {}", part.id)) }
    }

    /// The part of a switch.
    pub fn switch(self, listed: &xml::Function) -> Choice<'c, SwitchPart> {
        if let Some(part) = listed.pci.and_then(|pci| self.catalogue.switch_by_pci(pci)) {
            return Choice { part, guess: None };
        }
        let inside = self.catalogue.switch_by_pci(AMD_GPU_BRIDGE);
        if let (Some(part), true) = (inside, listed.pci.is_none() && above_one_amd_gpu(listed)) {
            let guess = format!("no PCI id is given; with one AMD GPU below it taken as {}", part.id);
            return Choice { part, guess: Some(guess) };
        }
        let part = self.generic_switch;
        let why = if listed.is_pseudo() { "a stand-in".to_owned() } else { what_is_known(listed.pci) };
        Choice { part, guess: Some(format!("{why}; taken as {}", part.id)) }
    }
}

fn what_is_known(pci: Option<PciId>) -> String {
    match pci {
        Some(pci) => format!("{:04x}:{:04x} is not in the catalogue", pci.vendor, pci.device),
        None => "no PCI id is given".to_owned(),
    }
}

fn family_by_gcn(function: &xml::Function) -> Option<&'static Family> {
    let gcn = function.gpu.as_ref()?.gcn.as_deref()?;
    FAMILIES.iter().find(|family| family.gcn.contains(&gcn))
}

/// The family of a GPU, by its PCI id, its instruction set or its compute capability.
pub(super) fn family(function: &xml::Function) -> Option<&'static Family> {
    if let Some(pci) = function.pci {
        return FAMILIES
            .iter()
            .find(|family| family.vendor == pci.vendor && family.devices.contains(&pci.device));
    }
    let sm = function.gpu.as_ref().and_then(|gpu| gpu.sm);
    let by_sm = || {
        FAMILIES.iter().find(|family| family.vendor == NVIDIA && sm.is_some_and(|sm| family.sm.contains(&sm)))
    };
    let amd = function.gpu.as_ref().is_some_and(|gpu| gpu.gcn.is_some());
    if amd { family_by_gcn(function) } else { by_sm() }
}

fn above_one_amd_gpu(listed: &xml::Function) -> bool {
    let [child] = listed.below.as_slice() else { return false };
    let by_gcn = child.gpu.as_ref().is_some_and(|gpu| gpu.gcn.is_some());
    let by_id = child.pci.is_some_and(|pci| pci.vendor == AMD)
        && DeviceKind::of_class(child.class) == DeviceKind::Gpu;
    by_gcn || by_id
}

/// The part of the links between packages of this kind.
pub(super) fn cpu_link(cpu: Option<&Identity>) -> &'static str {
    crate::import::cpu_link::part(cpu.map(|cpu| (cpu.vendor, cpu.family, cpu.model)))
}
