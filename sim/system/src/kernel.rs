//! [`KernelSettings`]: the `kernel` section of a scenario file: which kernel runs, and how it was told to behave.
//!
//! A kernel is told by its command line. The other fields are shorthands for what one would have to write there, or
//! would have to know about the machine's firmware; where both speak of the same thing they must agree.

mod problem;

use peerbus_machine::model::Capture;
pub use peerbus_machine::model::IommuMode;
use peerbus_os::parameters::{FirmwareTables, IommuSwitch};
use peerbus_os::pci::{self, AcsParameters};
use peerbus_os::{Parameters, Profile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use problem::{Problem, ProblemKind};

/// How the kernel is configured.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KernelSettings {
    /// Which kernel.
    pub profile: ProfileName,
    /// Whether an IOMMU is in use, and how; without it, what the command line says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iommu: Option<IommuMode>,
    /// What happens to ACS control words beside what an IOMMU driver and the command line ask for.
    pub acs: AcsPolicy,
    /// How payload sizes are chosen; without it, what the command line says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mps: Option<MpsPolicy>,
    /// The kernel command line, as in `/proc/cmdline`. Words that concern nothing simulated are ignored, as a
    /// kernel ignores words it does not know.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cmdline: String,
}

/// What the kernel knows of its machine before it looks at a PCI function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Firmware {
    /// An x86 machine.
    pub pc: bool,
    /// With AMD's IOMMU, if with any: an AMD or Hygon CPU.
    pub amd: bool,
}

impl KernelSettings {
    /// True when nothing but the kernel is chosen.
    pub fn says_nothing(&self) -> bool {
        *self == KernelSettings { profile: self.profile, ..KernelSettings::default() }
    }

    /// The same, where it leaves something open as the kernel of the machine's capture was told.
    pub fn or_captured(&self, capture: &Capture) -> KernelSettings {
        let mut settings = self.clone();
        if settings.cmdline.is_empty() {
            settings.cmdline = capture.cmdline.clone().unwrap_or_default();
        }
        settings.iommu = settings.iommu.or(capture.iommu);
        settings
    }

    /// What the command line says.
    pub fn parameters(&self) -> Parameters {
        Parameters::parse(&self.cmdline)
    }

    /// Whether an IOMMU is in use. Without the field, Intel's driver runs where the command line switches it on;
    /// that other drivers would find their hardware is not known from a command line.
    pub fn iommu_in_use(&self, firmware: Firmware) -> IommuMode {
        let said = self.parameters().iommu;
        let on = firmware.pc && said.intel == Some(IommuSwitch::On) && !said.all_off;
        let by_line = match (on, said.passthrough) {
            (false, _) => IommuMode::None,
            (true, Some(true)) => IommuMode::Passthrough,
            (true, _) => IommuMode::Translate,
        };
        self.iommu.unwrap_or(by_line)
    }

    /// How payload sizes are chosen.
    pub fn payload_policy(&self) -> pci::MpsPolicy {
        self.mps.map(MpsPolicy::policy).or(self.parameters().pci.mps).unwrap_or_default()
    }

    /// True when redirection is off everywhere, whatever firmware left in the control words.
    pub fn clears_redirection(&self) -> bool {
        let parameters = self.parameters().pci;
        let everywhere = |list: &String| list.split(';').next() == Some(EVERY_FUNCTION);
        let configured = parameters.config_acs.is_some() && self.profile != ProfileName::Linux_6_1;
        let off = self.acs == AcsPolicy::Off || parameters.disable_acs_redir.as_ref().is_some_and(everywhere);
        off && !configured
    }

    /// What the kernel's PCI code is told; addresses of `platform`, and whether all are placed anew, come from
    /// elsewhere.
    pub(crate) fn boot_options(&self, firmware: Firmware) -> pci::BootOptions {
        let parameters = self.parameters();
        let iommu = self.iommu_in_use(firmware).is_on();
        let off = (self.acs == AcsPolicy::Off).then(|| EVERY_FUNCTION.to_owned());
        let said = parameters.pci;
        let acs = AcsParameters {
            requested: iommu || self.acs == AcsPolicy::On,
            device_tree: !firmware.pc && parameters.tables == Some(FirmwareTables::DeviceTree),
            disable_redirect: off.or(said.disable_acs_redir).unwrap_or_default(),
            config: said.config_acs.unwrap_or_default(),
            ats_disabled: said.no_ats,
            amd_iommu_described: iommu && firmware.amd && parameters.iommu.intel != Some(IommuSwitch::On),
            ..AcsParameters::default()
        };
        let usual = pci::BootOptions::default();
        pci::BootOptions {
            realloc: said.realloc.unwrap_or(usual.realloc),
            hotplug_io: said.hotplug_io.unwrap_or(usual.hotplug_io),
            hotplug_memory: said.hotplug_memory.unwrap_or(usual.hotplug_memory),
            hotplug_prefetch: said.hotplug_prefetch.unwrap_or(usual.hotplug_prefetch),
            acs,
            mps: self.payload_policy(),
            ..usual
        }
    }
}

/// In lists of the command line: any vendor, any device.
const EVERY_FUNCTION: &str = "pci:0:0";

/// Name of a kernel, as files and the command line write it; stands for [`Profile`], which knows no files.
#[expect(non_camel_case_types, reason = "the names are those of files and of the command line")]
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
pub enum ProfileName {
    /// 6.1.192, long-term.
    Linux_6_1,
    /// 6.12.117, long-term.
    Linux_6_12,
    /// 7.3.4, mainline in November 2026.
    #[default]
    Linux_7_3,
}

impl ProfileName {
    /// All of them, oldest first.
    pub const ALL: [ProfileName; 3] =
        [ProfileName::Linux_6_1, ProfileName::Linux_6_12, ProfileName::Linux_7_3];

    /// The kernel whose rules apply.
    pub fn profile(self) -> Profile {
        match self {
            ProfileName::Linux_6_1 => Profile::Linux_6_1,
            ProfileName::Linux_6_12 => Profile::Linux_6_12,
            ProfileName::Linux_7_3 => Profile::Linux_7_3,
        }
    }

    /// As files write it.
    pub fn name(self) -> &'static str {
        self.profile().name()
    }
}

/// How the kernel chooses the payload size (MPS) of every function, by its `pci=pcie_bus_…` options.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum MpsPolicy {
    /// `pcie_bus_tune_off`: sizes stay as firmware left them.
    Off,
    /// No option: a function takes the size of the port above it.
    #[default]
    Default,
    /// `pcie_bus_safe`: one size below each root port, the largest that all support.
    Safe,
    /// `pcie_bus_perf`: as large as each function and the port above it support; read requests likewise.
    Performance,
    /// `pcie_bus_peer2peer`: 128 bytes everywhere, so that any two functions understand each other.
    PeerToPeer,
}

impl MpsPolicy {
    /// All of them.
    pub const ALL: [MpsPolicy; 5] =
        [MpsPolicy::Off, MpsPolicy::Default, MpsPolicy::Safe, MpsPolicy::Performance, MpsPolicy::PeerToPeer];

    /// The option behind `pci=` that says so; [`MpsPolicy::Default`] has none.
    pub fn option(self) -> &'static str {
        match self {
            MpsPolicy::Off => "pcie_bus_tune_off",
            MpsPolicy::Default => "nothing",
            MpsPolicy::Safe => "pcie_bus_safe",
            MpsPolicy::Performance => "pcie_bus_perf",
            MpsPolicy::PeerToPeer => "pcie_bus_peer2peer",
        }
    }

    /// As the operating system calls it.
    pub fn policy(self) -> pci::MpsPolicy {
        match self {
            MpsPolicy::Off => pci::MpsPolicy::Off,
            MpsPolicy::Default => pci::MpsPolicy::Default,
            MpsPolicy::Safe => pci::MpsPolicy::Safe,
            MpsPolicy::Performance => pci::MpsPolicy::Performance,
            MpsPolicy::PeerToPeer => pci::MpsPolicy::PeerToPeer,
        }
    }
}

/// What the kernel does with ACS control words at boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum AcsPolicy {
    /// They stay as firmware left them, unless an IOMMU driver or the command line asks for something else.
    #[default]
    FirmwareDefault,
    /// Redirection is cleared everywhere, as `pci=disable_acs_redir=pci:0:0` does.
    Off,
    /// Set as a kernel does whose IOMMU driver asks for isolation.
    On,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_profiles_own() {
        for name in ProfileName::ALL {
            assert_eq!(name.name().parse(), Ok(name.profile()));
            assert_eq!(serde_json::to_value(name).ok(), Some(name.name().into()));
        }
        assert_eq!(ProfileName::ALL.map(ProfileName::profile), Profile::ALL);
    }

    #[test]
    fn settings_have_defaults_and_no_unknown_fields() {
        let read = |text| serde_json::from_str::<KernelSettings>(text);
        assert_eq!(read("{}").ok(), Some(KernelSettings::default()));
        let set = read(r#"{"profile": "Linux_6_12", "acs": "Off"}"#).ok();
        let expect = KernelSettings {
            profile: ProfileName::Linux_6_12,
            acs: AcsPolicy::Off,
            ..KernelSettings::default()
        };
        assert_eq!(set, Some(expect));
        let set = read(r#"{"iommu": "Passthrough", "mps": "PeerToPeer", "cmdline": "nokaslr"}"#).ok();
        let expect = KernelSettings {
            iommu: Some(IommuMode::Passthrough),
            mps: Some(MpsPolicy::PeerToPeer),
            cmdline: "nokaslr".to_owned(),
            ..KernelSettings::default()
        };
        assert_eq!(set, Some(expect));
        for wrong in
            [r#"{"mps": "safe"}"#, r#"{"profile": "Linux_5_4"}"#, r#"{"acs": "on"}"#, r#"{"nokaslr": true}"#]
        {
            assert!(read(wrong).is_err(), "{wrong} was accepted");
        }
    }

    fn line(cmdline: &str) -> KernelSettings {
        KernelSettings { cmdline: cmdline.to_owned(), ..KernelSettings::default() }
    }

    const INTEL: Firmware = Firmware { pc: true, amd: false };

    #[test]
    fn the_command_line_holds_where_no_field_is_given() {
        for (cmdline, expect) in [
            ("", IommuMode::None),
            ("intel_iommu=on", IommuMode::Translate),
            ("intel_iommu=on iommu=pt", IommuMode::Passthrough),
            ("iommu=pt", IommuMode::None),
            ("intel_iommu=on iommu=off", IommuMode::None),
        ] {
            assert_eq!(line(cmdline).iommu_in_use(INTEL), expect, "{cmdline}");
        }
        let arm = Firmware { pc: false, amd: false };
        assert_eq!(line("intel_iommu=on").iommu_in_use(arm), IommuMode::None);
        let field = KernelSettings { iommu: Some(IommuMode::Translate), ..KernelSettings::default() };
        assert_eq!(field.iommu_in_use(arm), IommuMode::Translate);
        assert_eq!(line("pci=pcie_bus_perf").payload_policy(), pci::MpsPolicy::Performance);
    }

    #[test]
    fn boot_options_say_what_the_line_says() {
        let options = |cmdline: &str, firmware| line(cmdline).boot_options(firmware);
        let told = options("pci=realloc,hpmemsize=1G,hpiosize=4K,noats intel_iommu=on", INTEL);
        assert_eq!(told.realloc, pci::Realloc::On);
        assert_eq!((told.hotplug_memory, told.hotplug_prefetch, told.hotplug_io), (1 << 30, 1 << 30, 4096));
        assert!(told.acs.requested && told.acs.ats_disabled && !told.acs.amd_iommu_described);
        let arm = Firmware { pc: false, amd: false };
        assert!(options("acpi=off", arm).acs.device_tree && !options("acpi=off", INTEL).acs.device_tree);
        let amd = Firmware { pc: true, amd: true };
        let on = KernelSettings { iommu: Some(IommuMode::Passthrough), ..KernelSettings::default() };
        assert!(on.boot_options(amd).acs.amd_iommu_described && on.boot_options(amd).acs.requested);
        let off = KernelSettings { acs: AcsPolicy::Off, ..on };
        assert_eq!(off.boot_options(amd).acs.disable_redirect, EVERY_FUNCTION);
        assert!(off.clears_redirection());
        assert!(!line("pci=disable_acs_redir=01:00.0").clears_redirection());
    }
}
