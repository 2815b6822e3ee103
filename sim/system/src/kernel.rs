//! [`KernelSettings`]: the `kernel` section of a scenario file: which kernel runs, and how it was told to behave.
//!
//! A kernel is told by its command line. The other fields are shorthands for what one would have to write there, or
//! would have to know about the machine's firmware; where both speak of the same thing they must agree.

use peerbus_os::Profile;
use peerbus_os::pci::AcsSetting;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the kernel is configured.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KernelSettings {
    /// Which kernel.
    pub profile: ProfileName,
    /// Whether an IOMMU is in use, and how; without it, what the command line says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iommu: Option<IommuPolicy>,
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

/// Whether the kernel uses an IOMMU, and what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum IommuPolicy {
    /// There is none, or it stays off: devices address memory directly.
    #[default]
    None,
    /// It is on and devices are in identity domains, as with `iommu=pt`. Its driver asks for ACS all the same.
    Passthrough,
    /// It is on and translates: devices get I/O virtual addresses.
    Translate,
}

impl IommuPolicy {
    /// True when an IOMMU driver runs, and so asks for ACS.
    pub fn is_on(self) -> bool {
        self != IommuPolicy::None
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

impl AcsPolicy {
    /// As the operating system calls it.
    pub fn setting(self) -> AcsSetting {
        match self {
            AcsPolicy::FirmwareDefault => AcsSetting::FirmwareDefault,
            AcsPolicy::Off => AcsSetting::Off,
            AcsPolicy::On => AcsSetting::On,
        }
    }
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
            iommu: Some(IommuPolicy::Passthrough),
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
}
