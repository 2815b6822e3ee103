//! Steps that are words on the kernel's command line.

use peerbus_os::CpuVendor;
use peerbus_os::pci::AcsWord;
use peerbus_units::FunctionId;

use super::change::Step;
use crate::kernel::KernelSettings;

/// What is to be added to the command line for these steps; `None` when none of them is of that kind.
///
/// A second list of the same name takes the place of the first, so functions that are named already are named again: behind
/// the new ones, since of `config_acs` the first entry that fits counts.
pub(super) fn parameter(settings: &KernelSettings, vendor: CpuVendor, steps: &[Step]) -> Option<String> {
    let said = settings.parameters().pci;
    let mut words = Vec::new();
    let disabled = steps.iter().filter_map(|step| match step {
        Step::DisableAcsRedirect { function } => Some(function.to_string()),
        _ => None,
    });
    words.extend(list("disable_acs_redir", disabled, said.disable_acs_redir));
    let configured = steps.iter().filter_map(|step| match step {
        Step::ConfigureAcs { function, bits } => Some(entry(bits, *function)),
        _ => None,
    });
    words.extend(list("config_acs", configured, said.config_acs));
    if steps.contains(&Step::NoAcsRequest) {
        words.push(no_iommu(vendor).to_owned());
    }
    (!words.is_empty()).then(|| words.join(" "))
}

fn entry(bits: &str, function: FunctionId) -> String {
    format!("{bits}@{function}")
}

fn list(name: &str, new: impl Iterator<Item = String>, old: Option<String>) -> Option<String> {
    let new: Vec<String> = new.collect();
    let named = new.iter().map(String::as_str).chain(old.as_deref().filter(|old| !old.is_empty()));
    (!new.is_empty()).then(|| format!("pci={name}={}", named.collect::<Vec<_>>().join(";")))
}

/// What keeps the IOMMU driver of such a machine from running.
fn no_iommu(vendor: CpuVendor) -> &'static str {
    match vendor {
        CpuVendor::Amd | CpuVendor::Hygon => "amd_iommu=off",
        CpuVendor::Intel => "intel_iommu=off",
        CpuVendor::Other => "iommu=off",
    }
}

/// The bits of a `config_acs` entry that turns `found`, firmware's word, into `now` without redirection; a bit that is as it
/// should be is left alone. Where firmware's word is not known every bit is given.
pub(super) fn bits_without_redirect(found: Option<u16>, now: u16) -> String {
    let redirect = AcsWord::REDIRECT.0;
    let wanted = now & !redirect;
    let bit = |at: u16| match (found.map(|found| (found | now & redirect) >> at & 1), wanted >> at & 1) {
        (Some(was), is) if was == is => 'x',
        (_, 0) => '0',
        _ => '1',
    };
    (0..7).rev().map(bit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_say_what_differs_from_firmware() {
        let check = |found, now, expect: &str| assert_eq!(bits_without_redirect(Some(found), now), expect);
        // DT EC UF CR RR TB SV.
        check(0x1d, 0x1d, "xxx00xx");
        check(0x00, 0x1d, "xx100x1");
        check(0x40, 0x5d, "xx100x1");
        check(0x2c, 0x2c, "x0x00xx");
        check(0x00, 0x00, "xxxxxxx");
        assert_eq!(bits_without_redirect(None, 0x1d), "0010001");
    }

    #[test]
    fn lists_that_are_there_stay() {
        let id = |text: &str| text.parse::<FunctionId>().unwrap();
        let settings = KernelSettings {
            cmdline: "quiet pci=disable_acs_redir=00:01.0;00:02.0,config_acs=x1@00:03.0".to_owned(),
            ..KernelSettings::default()
        };
        let check = |steps: &[Step], expect: Option<&str>| {
            assert_eq!(parameter(&settings, CpuVendor::Amd, steps).as_deref(), expect);
        };
        let disable = Step::DisableAcsRedirect { function: id("0000:05:00.0") };
        let configure = Step::ConfigureAcs { function: id("0000:06:00.0"), bits: "xxx00xx".to_owned() };
        check(&[], None);
        check(std::slice::from_ref(&disable), Some("pci=disable_acs_redir=0000:05:00.0;00:01.0;00:02.0"));
        check(&[configure], Some("pci=config_acs=xxx00xx@0000:06:00.0;x1@00:03.0"));
        check(&[Step::NoAcsRequest], Some("amd_iommu=off"));
        let alone = parameter(&KernelSettings::default(), CpuVendor::Intel, &[disable]);
        assert_eq!(alone.as_deref(), Some("pci=disable_acs_redir=0000:05:00.0"));
    }
}
