//! [`KernelSettings`]: the `kernel` section of a scenario file: which kernel runs, and how it was told to behave.

use peerbus_os::Profile;
use peerbus_os::pci::AcsSetting;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the kernel is configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KernelSettings {
    /// Which kernel.
    pub profile: ProfileName,
    /// What happens to ACS control words.
    pub acs: AcsPolicy,
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

/// What the kernel does with ACS control words at boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum AcsPolicy {
    /// They stay as firmware left them.
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
        assert_eq!(set, Some(KernelSettings { profile: ProfileName::Linux_6_12, acs: AcsPolicy::Off }));
        for wrong in [r#"{"mps": "Safe"}"#, r#"{"profile": "Linux_5_4"}"#, r#"{"acs": "on"}"#] {
            assert!(read(wrong).is_err(), "{wrong} was accepted");
        }
    }
}
