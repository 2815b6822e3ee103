//! [`Parameters`]: what a kernel command line says about the things this crate does.
//!
//! The line is cut at blanks outside double quotes; `--` ends the kernel's part. In names, `-` and `_` are the same.
//! `pci=`, `iommu=`, `intel_iommu=` and `amd_iommu=` hold several options, cut at commas; a word given twice counts
//! twice, and of two values for one thing the later holds. Unknown words, unknown options and values that cannot be
//! read change nothing, as in the kernel: they are other programs' business.
//!
//! Lists of functions (`disable_acs_redir=`, `config_acs=`) are kept as text: the kernel reads them anew for every
//! function it finds, and so does [`pci::acs`](crate::pci::acs).

mod iommu;
mod pci;
mod value;
mod words;

pub use iommu::{IommuParameters, IommuSwitch};
pub use pci::PciParameters;

/// Where firmware's tables come from, on architectures that know two ways (`acpi=`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirmwareTables {
    /// `acpi=off`: the device tree.
    DeviceTree,
    /// `acpi=on` or `acpi=force`.
    Acpi,
}

/// A command line, understood. `None` and empty mean: not said.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Parameters {
    /// `pci=`.
    pub pci: PciParameters,
    /// `iommu=`, `intel_iommu=`, `amd_iommu=` and the parameters of the module `iommu`.
    pub iommu: IommuParameters,
    /// `nokaslr`: nothing is placed at random.
    pub no_kaslr: bool,
    /// `no5lvl`: four levels of page tables, whatever the CPU can do.
    pub four_level_paging: bool,
    /// `acpi=`.
    pub tables: Option<FirmwareTables>,
}

impl Parameters {
    /// Reads a command line such as `/proc/cmdline` shows.
    pub fn parse(line: &str) -> Parameters {
        let mut parameters = Parameters::default();
        for word in words::words(line) {
            parameters.word(&word);
        }
        parameters
    }

    fn word(&mut self, word: &words::Word) {
        let value = word.value.as_deref();
        match (word.name.as_str(), value) {
            ("pci", Some(options)) => self.pci.options(options),
            ("iommu", Some(options)) => self.iommu.generic(options),
            ("intel_iommu", Some(options)) => self.iommu.intel(options),
            ("amd_iommu", Some(options)) => self.iommu.amd(options),
            ("nokaslr", _) => self.no_kaslr = true,
            ("no5lvl", _) => self.four_level_paging = true,
            ("acpi", Some("off")) => self.tables = Some(FirmwareTables::DeviceTree),
            ("acpi", Some("on" | "force")) => self.tables = Some(FirmwareTables::Acpi),
            (name, value) => {
                if let Some(parameter) = name.strip_prefix("iommu.") {
                    self.iommu.module(parameter, value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::{MpsPolicy, Realloc};
    use alloc::string::ToString;

    #[test]
    fn a_whole_line() {
        let line = "BOOT_IMAGE=/vmlinuz root=\"LABEL=a b\" intel_iommu=on,sm_on iommu=pt nokaslr no5lvl quiet \
                    pci=realloc=off,config_acs=10x00xx@pci:0:0;x@00:02.0/00.0,pcie_bus_perf -- pci=noats";
        let parameters = Parameters::parse(line);
        assert_eq!(parameters.pci.realloc, Some(Realloc::Off));
        assert_eq!(parameters.pci.config_acs.as_deref(), Some("10x00xx@pci:0:0;x@00:02.0/00.0"));
        assert_eq!(parameters.pci.mps, Some(MpsPolicy::Performance));
        assert!(!parameters.pci.no_ats, "behind -- the words are init's");
        assert_eq!(parameters.iommu.intel, Some(IommuSwitch::On));
        assert_eq!(parameters.iommu.passthrough, Some(true));
        assert!(parameters.no_kaslr && parameters.four_level_paging);
    }

    #[test]
    fn unknown_words_change_nothing() {
        for line in [
            "",
            "quiet",
            "pci",
            "pci=",
            "pci=,,",
            "pci=foo,bar=1",
            "iommu",
            "iommu=",
            "iommu.=1",
            "acpi=ht",
            "=",
            "\"",
        ] {
            assert_eq!(Parameters::parse(line), Parameters::default(), "{line}");
        }
    }

    #[test]
    fn the_later_word_holds_and_dashes_are_underscores() {
        let parameters =
            Parameters::parse("pci=disable_acs_redir=00:01.0 intel-iommu=on pci=disable_acs_redir=a;b");
        assert_eq!(parameters.pci.disable_acs_redir, Some("a;b".to_string()));
        assert_eq!(parameters.iommu.intel, Some(IommuSwitch::On));
        assert_eq!(Parameters::parse("intel_iommu=on intel_iommu=off").iommu.intel, Some(IommuSwitch::Off));
        assert_eq!(Parameters::parse("acpi=off").tables, Some(FirmwareTables::DeviceTree));
    }
}
