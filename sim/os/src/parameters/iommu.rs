//! Parameters that concern IOMMUs.

use super::value;

/// Whether a driver is switched on or off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IommuSwitch {
    /// It runs if its hardware is there.
    On,
    /// It stays off.
    Off,
}

/// `iommu=`, `intel_iommu=`, `amd_iommu=`, `iommu.passthrough=`, `iommu.strict=`, `iommu.forcedac=`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct IommuParameters {
    /// `intel_iommu=on` or `off`. Without it the driver's build default holds, which is off in the reproduced kernels.
    pub intel: Option<IommuSwitch>,
    /// `amd_iommu=off` (or on by `force_enable`). Without it the driver runs wherever firmware describes its hardware.
    pub amd: Option<IommuSwitch>,
    /// `iommu=off`: no IOMMU driver of a PC runs.
    pub all_off: bool,
    /// `iommu=pt` or `nopt`, `iommu.passthrough=`: domains are identity by default, or translated.
    pub passthrough: Option<bool>,
    /// `iommu.strict=`, `intel_iommu=strict`, `amd_iommu=fullflush`: translations are flushed at once when unmapped.
    pub strict: Option<bool>,
    /// `iommu.forcedac=`, `iommu=forcedac`, `intel_iommu=forcedac`: no preference for addresses below 4 GiB.
    pub force_dac: Option<bool>,
    /// `intel_iommu=sp_off`: tables hold no pages larger than the smallest.
    pub small_pages: bool,
    /// `iommu=soft`: bounce buffers although there is an IOMMU.
    pub soft: bool,
}

impl IommuParameters {
    /// Options behind `iommu=`.
    pub(super) fn generic(&mut self, options: &str) {
        for option in options.split(',') {
            match option {
                "off" => self.all_off = true,
                "force" | "noforce" => self.all_off = false,
                "pt" => self.passthrough = Some(true),
                "nopt" => self.passthrough = Some(false),
                "soft" => self.soft = true,
                "forcedac" => self.force_dac = Some(true),
                "usedac" => self.force_dac = Some(false),
                _ => {}
            }
        }
    }

    /// Options behind `intel_iommu=`.
    pub(super) fn intel(&mut self, options: &str) {
        for option in options.split(',') {
            match option {
                "on" => self.intel = Some(IommuSwitch::On),
                "off" => self.intel = Some(IommuSwitch::Off),
                "strict" => self.strict = Some(true),
                "forcedac" => self.force_dac = Some(true),
                "sp_off" => self.small_pages = true,
                _ => {}
            }
        }
    }

    /// Options behind `amd_iommu=`.
    pub(super) fn amd(&mut self, options: &str) {
        for option in options.split(',') {
            match option {
                "off" => self.amd = Some(IommuSwitch::Off),
                "force_enable" => self.amd = Some(IommuSwitch::On),
                "fullflush" => self.strict = Some(true),
                _ => {}
            }
        }
    }

    /// The parameter of the module `iommu` with that name.
    pub(super) fn module(&mut self, name: &str, text: Option<&str>) {
        let slot = match name {
            "passthrough" => &mut self.passthrough,
            "strict" => &mut self.strict,
            "forcedac" => &mut self.force_dac,
            _ => return,
        };
        *slot = text.and_then(value::boolean).or(*slot);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Parameters;
    use super::*;

    fn check(line: &str, expect: IommuParameters) {
        assert_eq!(Parameters::parse(line).iommu, expect, "{line}");
    }

    #[test]
    fn options_of_each_driver() {
        let base = IommuParameters::default;
        check("iommu=pt", IommuParameters { passthrough: Some(true), ..base() });
        check("iommu=soft,nopt", IommuParameters { soft: true, passthrough: Some(false), ..base() });
        check(
            "iommu.passthrough=0 iommu.strict=1",
            IommuParameters { passthrough: Some(false), strict: Some(true), ..base() },
        );
        check("iommu.passthrough=maybe iommu.strict iommu.unknown=1", base());
        check("iommu.forcedac=1", IommuParameters { force_dac: Some(true), ..base() });
        check(
            "intel_iommu=on,strict",
            IommuParameters { intel: Some(IommuSwitch::On), strict: Some(true), ..base() },
        );
        check(
            "intel_iommu=on,sp_off",
            IommuParameters { intel: Some(IommuSwitch::On), small_pages: true, ..base() },
        );
        check("amd_iommu=off", IommuParameters { amd: Some(IommuSwitch::Off), ..base() });
        check("amd_iommu=on", base());
        check("iommu=off", IommuParameters { all_off: true, ..base() });
    }
}
