//! Which domain a group gets before any driver binds: identity or translated, strict or lazy.
//!
//! The command line and the build choose a type for all; the IOMMU's driver may wish otherwise for single devices, and
//! an untrusted device is always translated.

use crate::ConfigSpace;
use crate::pci::{FunctionIndex, Tree, find_extended_capability};

use super::DmaRules;

/// A group's domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DomainType {
    /// Devices use CPU physical addresses, as without an IOMMU.
    Identity,
    /// Translated; each unmapping is flushed at once.
    Strict,
    /// Translated; unmapped ranges wait for a common flush.
    Lazy,
}

/// What decides the type for all groups.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DomainParameters {
    /// The kernel was built to pass through by default.
    pub built_pass_through: bool,
    /// The kernel was built strict by default: usual on arm64, not on x86.
    pub built_strict: bool,
    /// `iommu=pt` or `iommu.passthrough=1` (true), `iommu=nopt` or `iommu.passthrough=0` (false).
    pub pass_through: Option<bool>,
    /// `iommu.strict=`.
    pub strict: Option<bool>,
    /// Memory is encrypted: devices could not read it untranslated.
    pub memory_encryption: bool,
    /// Secure nested paging: AMD's IOMMU must not pass through by itself.
    pub secure_nested_paging: bool,
}

/// The type for all groups whose driver wishes nothing. `expensive_updates`: the IOMMU driver said so
/// ([`IommuDriver::needs_strict`]), which overrules the command line.
pub fn global_domain_type(parameters: &DomainParameters, expensive_updates: bool) -> DomainType {
    let built = parameters.built_pass_through && !parameters.memory_encryption;
    if parameters.pass_through.unwrap_or(built) {
        DomainType::Identity
    } else if expensive_updates || parameters.strict.unwrap_or(parameters.built_strict) {
        DomainType::Strict
    } else {
        DomainType::Lazy
    }
}

/// A wish for one device's domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Identity.
    Identity,
    /// Translated.
    Translated,
}

impl Wish {
    /// A wish for translation is one for the plain, strict type.
    const fn domain(self) -> DomainType {
        match self {
            Wish::Identity => DomainType::Identity,
            Wish::Translated => DomainType::Strict,
        }
    }
}

/// One device of a group, as the choice of its domain sees it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Member {
    /// Firmware marks its port as facing outside.
    pub untrusted: bool,
    /// What the IOMMU's driver wishes for it.
    pub wish: Option<Wish>,
}

/// The domain of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupDomain {
    /// Its type.
    pub domain: DomainType,
    /// Two devices' wishes contradicted each other; the kernel logs it.
    pub contradiction: bool,
}

/// A driver wishes to pass an untrusted device through: the device gets no IOMMU and its driver none to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeRefused;

/// The domain of a group with `members`, when all others get `global`.
pub fn group_domain(
    rules: &DmaRules,
    global: DomainType,
    members: &[Member],
) -> Result<GroupDomain, ProbeRefused> {
    let untrusted = members.iter().any(|member| member.untrusted);
    let by_global = GroupDomain { domain: global, contradiction: false };
    if rules.contradiction_means_identity {
        let (wish, contradiction) = combined(members.iter().filter_map(|member| member.wish));
        let wish = if contradiction { Some(Wish::Identity) } else { wish };
        return match (untrusted, wish) {
            (true, Some(Wish::Identity)) => Err(ProbeRefused),
            (true, _) => Ok(GroupDomain { domain: DomainType::Strict, contradiction }),
            (false, Some(wish)) => Ok(GroupDomain { domain: wish.domain(), contradiction }),
            (false, None) => Ok(by_global),
        };
    }
    let wishes = members.iter().filter_map(|it| if it.untrusted { Some(Wish::Translated) } else { it.wish });
    let (wish, contradiction) = combined(wishes);
    let wish = wish.filter(|_| !contradiction);
    Ok(GroupDomain {
        contradiction,
        ..wish.map_or(by_global, |it| GroupDomain { domain: it.domain(), ..by_global })
    })
}

/// The first wish, and whether another differs.
fn combined(mut wishes: impl Iterator<Item = Wish>) -> (Option<Wish>, bool) {
    let first = wishes.next();
    (first, wishes.any(|wish| Some(wish) != first))
}

/// What a device offers an IOMMU.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TranslationFeatures {
    /// It can keep translations (ATS).
    pub ats: bool,
    /// It can ask for pages (PRI).
    pub pri: bool,
    /// It can name address spaces (PASID).
    pub pasid: bool,
}

pub(super) const ATS: u16 = 0x0f;
const PRI: u16 = 0x13;
const PASID: u16 = 0x1b;

/// Which of these capabilities `function` has.
pub fn translation_features(
    tree: &Tree,
    cs: &impl ConfigSpace,
    function: FunctionIndex,
) -> TranslationFeatures {
    let express = tree[function].capabilities.pcie.is_some();
    let has = |wanted| express && find_extended_capability(cs, tree[function].id, wanted).is_some();
    TranslationFeatures { ats: has(ATS), pri: has(PRI), pasid: has(PASID) }
}

/// An IOMMU's driver, and what its hardware says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IommuDriver {
    /// Intel's.
    Intel {
        /// The unit can pass requests through.
        pass_through: bool,
        /// The unit also caches entries that are not present, as virtual ones do.
        caching_mode: bool,
        /// It walks second-level tables.
        second_level: bool,
        /// `intel_iommu=igfx_off`: integrated graphics are left alone.
        graphics_off: bool,
    },
    /// AMD's.
    Amd {
        /// The unit also caches entries that are not present, as QEMU's does.
        caches_not_present: bool,
    },
    /// Any other, arm64's included: it wishes nothing.
    Other,
}

/// One device as an IOMMU driver sees it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DeviceKind {
    /// Firmware marks its port as facing outside.
    pub untrusted: bool,
    /// What it offers.
    pub features: TranslationFeatures,
    /// The sound device of a machine whose firmware is known to be wrong about it.
    pub azalia: bool,
    /// A graphics device inside the CPU's root complex.
    pub integrated_graphics: bool,
}

impl IommuDriver {
    /// True where updating the tables traps to a hypervisor, so that waiting for a common flush gains nothing.
    pub fn needs_strict(&self) -> bool {
        match *self {
            IommuDriver::Intel { caching_mode, second_level, .. } => caching_mode && second_level,
            IommuDriver::Amd { caches_not_present } => caches_not_present,
            IommuDriver::Other => false,
        }
    }

    /// The driver's wish for a device. On AMD a device with PASID, a GPU for one, is passed through even if nothing on
    /// the command line says so.
    pub fn wish(&self, rules: &DmaRules, parameters: &DomainParameters, device: &DeviceKind) -> Option<Wish> {
        match *self {
            IommuDriver::Intel { pass_through, graphics_off, .. } => {
                if rules.no_pass_through_means_translated && !pass_through {
                    Some(Wish::Translated)
                } else {
                    let identity = device.azalia || graphics_off && device.integrated_graphics;
                    identity.then_some(Wish::Identity)
                }
            }
            IommuDriver::Amd { .. } => {
                if rules.amd_translates_untrusted && device.untrusted {
                    return Some(Wish::Translated);
                }
                let TranslationFeatures { ats, pri, pasid } = device.features;
                let usable = pasid && (!rules.amd_identity_needs_ats_and_pri || ats && pri);
                let plain = !parameters.memory_encryption && !parameters.secure_nested_paging;
                (usable && plain).then_some(Wish::Identity)
            }
            IommuDriver::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [DmaRules; 3] = [DmaRules::LINUX_6_1, DmaRules::LINUX_6_12, DmaRules::LINUX_7_3];

    #[test]
    fn the_command_line_beats_the_build_and_the_hardware_beats_lazy() {
        let base = DomainParameters::default();
        let check = |parameters, expensive, expect| {
            assert_eq!(global_domain_type(&parameters, expensive), expect, "{parameters:?} {expensive}");
        };
        check(base, false, DomainType::Lazy);
        check(base, true, DomainType::Strict);
        check(DomainParameters { built_strict: true, ..base }, false, DomainType::Strict);
        check(DomainParameters { built_strict: true, strict: Some(false), ..base }, false, DomainType::Lazy);
        check(DomainParameters { strict: Some(false), ..base }, true, DomainType::Strict);
        check(DomainParameters { pass_through: Some(true), ..base }, true, DomainType::Identity);
        let built = DomainParameters { built_pass_through: true, ..base };
        check(built, false, DomainType::Identity);
        check(DomainParameters { pass_through: Some(false), ..built }, false, DomainType::Lazy);
        let encrypted = DomainParameters { memory_encryption: true, ..built };
        check(encrypted, false, DomainType::Lazy);
        check(DomainParameters { pass_through: Some(true), ..encrypted }, false, DomainType::Identity);
    }

    #[test]
    fn wishes_are_combined_by_each_kernels_rule() {
        let member = |untrusted, wish| Member { untrusted, wish };
        let none = member(false, None);
        let [identity, translated] = [Wish::Identity, Wish::Translated].map(|it| member(false, Some(it)));
        let check = |members: &[Member], expect: [Result<(DomainType, bool), ProbeRefused>; 2]| {
            for (rules, expect) in RULES.iter().zip([expect[0], expect[1], expect[1]]) {
                let found = group_domain(rules, DomainType::Lazy, members);
                assert_eq!(found.map(|it| (it.domain, it.contradiction)), expect, "{members:?}");
            }
        };
        let (lazy, strict) = (Ok((DomainType::Lazy, false)), Ok((DomainType::Strict, false)));
        let pass = Ok((DomainType::Identity, false));
        check(&[], [lazy; 2]);
        check(&[none, none], [lazy; 2]);
        check(&[none, identity, identity], [pass; 2]);
        check(&[translated, none], [strict; 2]);
        check(&[translated, identity], [Ok((DomainType::Lazy, true)), Ok((DomainType::Identity, true))]);
        check(&[none, member(true, None)], [strict; 2]);
        check(&[member(true, Some(Wish::Translated))], [strict; 2]);
        check(&[member(true, Some(Wish::Identity))], [strict, Err(ProbeRefused)]);
        check(&[member(true, None), identity], [Ok((DomainType::Lazy, true)), Err(ProbeRefused)]);
    }

    #[test]
    fn drivers_wish_by_hardware_and_device() {
        let parameters = DomainParameters::default();
        let intel = |pass_through, graphics_off| IommuDriver::Intel {
            pass_through,
            caching_mode: false,
            second_level: true,
            graphics_off,
        };
        let amd = IommuDriver::Amd { caches_not_present: true };
        let check = |driver: IommuDriver, device: DeviceKind, expect: [Option<Wish>; 2]| {
            for (rules, expect) in RULES.iter().zip([expect[0], expect[1], expect[1]]) {
                assert_eq!(driver.wish(rules, &parameters, &device), expect, "{driver:?} {device:?}");
            }
        };
        let (plain, identity) = (DeviceKind::default(), Some(Wish::Identity));
        check(intel(true, true), plain, [None; 2]);
        check(intel(false, false), plain, [None, Some(Wish::Translated)]);
        check(intel(true, false), DeviceKind { azalia: true, ..plain }, [identity; 2]);
        let graphics = DeviceKind { integrated_graphics: true, ..plain };
        check(intel(true, true), graphics, [identity; 2]);
        check(intel(true, false), graphics, [None; 2]);
        let pasid = TranslationFeatures { pasid: true, ..TranslationFeatures::default() };
        check(amd, DeviceKind { features: pasid, ..plain }, [None, identity]);
        let all = TranslationFeatures { ats: true, pri: true, pasid: true };
        check(amd, DeviceKind { features: all, ..plain }, [identity; 2]);
        let untrusted = DeviceKind { features: all, untrusted: true, ..plain };
        check(amd, untrusted, [identity, Some(Wish::Translated)]);
        check(IommuDriver::Other, untrusted, [None; 2]);
        let encrypted = DomainParameters { memory_encryption: true, ..parameters };
        let device = DeviceKind { features: all, ..plain };
        assert_eq!(amd.wish(&DmaRules::LINUX_7_3, &encrypted, &device), None);
        let strict = [intel(true, true), amd, IommuDriver::Other].map(|driver| driver.needs_strict());
        assert_eq!(strict, [false, true, false]);
    }
}
