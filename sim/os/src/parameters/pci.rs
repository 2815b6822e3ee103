//! `pci=`: options of the PCI core.

use alloc::borrow::ToOwned;
use alloc::string::String;

use super::value;
use crate::pci::{MpsPolicy, Realloc};

/// What stands behind `pci=`, all occurrences together.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PciParameters {
    /// `realloc`, `realloc=on`, `realloc=off`.
    pub realloc: Option<Realloc>,
    /// `disable_acs_redir=`: functions whose redirection is cleared.
    pub disable_acs_redir: Option<String>,
    /// `config_acs=`: bits of ACS control words and the functions they are for.
    pub config_acs: Option<String>,
    /// `pcie_bus_tune_off`, `pcie_bus_safe`, `pcie_bus_perf`, `pcie_bus_peer2peer`.
    pub mps: Option<MpsPolicy>,
    /// `hpiosize=`: I/O ports kept for a hot-plug bridge.
    pub hotplug_io: Option<u64>,
    /// `hpmmiosize=` or `hpmemsize=`: bytes of memory kept for a hot-plug bridge.
    pub hotplug_memory: Option<u64>,
    /// `hpmmioprefsize=` or `hpmemsize=`: bytes of prefetchable memory kept for a hot-plug bridge.
    pub hotplug_prefetch: Option<u64>,
    /// `noats`: address translation services stay off.
    pub no_ats: bool,
    /// `nocrs` (false) or `use_crs` (true): whether host-bridge windows come from firmware.
    pub host_bridge_windows: Option<bool>,
}

impl PciParameters {
    /// Options behind one `pci=`. The list of an option ends at the next comma, whatever it holds.
    pub(super) fn options(&mut self, options: &str) {
        for option in options.split(',') {
            match option.split_once('=') {
                Some((name, value)) => self.valued(name, value),
                None => self.plain(option),
            }
        }
    }

    fn plain(&mut self, option: &str) {
        match option {
            "realloc" => self.realloc = Some(Realloc::On),
            "pcie_bus_tune_off" => self.mps = Some(MpsPolicy::Off),
            "pcie_bus_safe" => self.mps = Some(MpsPolicy::Safe),
            "pcie_bus_perf" => self.mps = Some(MpsPolicy::Performance),
            "pcie_bus_peer2peer" => self.mps = Some(MpsPolicy::PeerToPeer),
            "noats" => self.no_ats = true,
            "nocrs" => self.host_bridge_windows = Some(false),
            "use_crs" => self.host_bridge_windows = Some(true),
            _ => {}
        }
    }

    fn valued(&mut self, name: &str, text: &str) {
        let size = value::size(text);
        match name {
            "realloc" if text == "on" => self.realloc = Some(Realloc::On),
            "realloc" if text == "off" => self.realloc = Some(Realloc::Off),
            "disable_acs_redir" => self.disable_acs_redir = Some(text.to_owned()),
            "config_acs" => self.config_acs = Some(text.to_owned()),
            "hpiosize" => self.hotplug_io = size.or(self.hotplug_io),
            "hpmmiosize" => self.hotplug_memory = size.or(self.hotplug_memory),
            "hpmmioprefsize" => self.hotplug_prefetch = size.or(self.hotplug_prefetch),
            "hpmemsize" => {
                self.hotplug_memory = size.or(self.hotplug_memory);
                self.hotplug_prefetch = size.or(self.hotplug_prefetch);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Parameters;
    use super::*;

    fn check(line: &str, expect: PciParameters) {
        assert_eq!(Parameters::parse(line).pci, expect, "{line}");
    }

    #[test]
    fn options() {
        let base = PciParameters::default;
        check("pci=realloc", PciParameters { realloc: Some(Realloc::On), ..base() });
        check("pci=realloc=on pci=realloc=off", PciParameters { realloc: Some(Realloc::Off), ..base() });
        check("pci=realloc=maybe", base());
        check(
            "pci=hpmemsize=16M,hpmmiosize=8M,hpiosize=4K",
            PciParameters {
                hotplug_memory: Some(8 << 20),
                hotplug_prefetch: Some(16 << 20),
                hotplug_io: Some(4096),
                ..base()
            },
        );
        check(
            "pci=hpmmioprefsize=1G pci=hpmmioprefsize=much",
            PciParameters { hotplug_prefetch: Some(1 << 30), ..base() },
        );
        check("pci=noats,nocrs", PciParameters { no_ats: true, host_bridge_windows: Some(false), ..base() });
        check(
            "pci=pcie_bus_safe pci=pcie_bus_peer2peer",
            PciParameters { mps: Some(MpsPolicy::PeerToPeer), ..base() },
        );
    }

    /// A list ends at the comma that separates options, so only semicolons can separate its functions.
    #[test]
    fn lists_end_at_commas() {
        check(
            "pci=disable_acs_redir=00:01.0,00:02.0;00:03.0",
            PciParameters { disable_acs_redir: Some("00:01.0".to_owned()), ..base() },
        );
        fn base() -> PciParameters {
            PciParameters::default()
        }
    }
}
