//! What cannot be meant: fields and command line that contradict each other, and lists that no kernel can read.

use std::ops::Range;

use peerbus_os::parameters::IommuSwitch;
use peerbus_os::pci::acs::{AcsSyntax, AcsSyntaxError, check_config_list, check_device_list};

use super::{AcsPolicy, EVERY_FUNCTION, IommuMode, KernelSettings, MpsPolicy, ProfileName};

/// Kinds of [`Problem`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProblemKind {
    /// The field with that name says something else.
    Contradiction(&'static str),
    /// A list of functions cannot be read; a kernel would say so in its log and go on.
    List,
    /// This kernel does not know the option and ignores it.
    NoEffect,
    /// The kernel would do what nothing here does.
    NotSimulated,
}

/// Something about [`KernelSettings`] that cannot be meant, or in the case of [`ProblemKind::NoEffect`] should be known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What kind it is.
    pub kind: ProblemKind,
    /// Which bytes of the command line.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl KernelSettings {
    /// Everything that contradicts itself or cannot be read.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(self.iommu_contradiction());
        problems.extend(self.domain_contradiction());
        problems.extend(self.payload_contradiction());
        problems.extend(self.acs_contradiction());
        let said = self.parameters().pci;
        let lists = [
            (said.disable_acs_redir, check_device_list as fn(&str) -> _),
            (said.config_acs.clone(), check_config_list),
        ];
        for (list, check) in lists {
            let Some(list) = list else { continue };
            problems.extend(check(&list).err().map(|error| self.list_problem(&list, error)));
        }
        if said.config_acs.is_some() && self.profile == ProfileName::Linux_6_1 {
            problems.push(Problem {
                kind: ProblemKind::NoEffect,
                span: self.span(&["config_acs="]),
                message: "Linux_6_1 has no `config_acs` and ignores it".to_owned(),
                help: "use Linux_6_12 or later, or `disable_acs_redir`".to_owned(),
            });
        }
        if said.host_bridge_windows == Some(false) {
            problems.push(Problem {
                kind: ProblemKind::NotSimulated,
                span: self.span(&["nocrs"]),
                message: "`pci=nocrs` is not simulated: windows of host bridges are those of the machine"
                    .to_owned(),
                help:
                    "drop `nocrs`, and write the windows that such a kernel would use into the machine file"
                        .to_owned(),
            });
        }
        problems
    }

    /// An IOMMU is switched on by one and off by the other.
    fn iommu_contradiction(&self) -> Option<Problem> {
        let field = self.iommu?;
        let said = self.parameters().iommu;
        let on = said.intel == Some(IommuSwitch::On) && !said.all_off;
        let off = [said.intel, said.amd].contains(&Some(IommuSwitch::Off)) || said.all_off;
        match field {
            IommuMode::None if on => Some(self.contradiction(
                "iommu",
                &["intel_iommu=", "intel-iommu="],
                "None",
                "switches one on",
            )),
            IommuMode::Passthrough | IommuMode::Translate if off && !on => {
                let words = ["iommu=off", "iommu=soft,off", "intel_iommu=", "amd_iommu="];
                Some(self.contradiction("iommu", &words, &format!("{field:?}"), "switches IOMMUs off"))
            }
            _ => None,
        }
    }

    /// Domains are identity by one and translated by the other.
    fn domain_contradiction(&self) -> Option<Problem> {
        let words = ["iommu=pt", "iommu=nopt", "iommu.passthrough="];
        match (self.iommu?, self.parameters().iommu.passthrough?) {
            (IommuMode::Passthrough, false) => {
                Some(self.contradiction("iommu", &words, "Passthrough", "asks for translation"))
            }
            (IommuMode::Translate, true) => {
                Some(self.contradiction("iommu", &words, "Translate", "asks for no translation"))
            }
            _ => None,
        }
    }

    fn payload_contradiction(&self) -> Option<Problem> {
        let (field, said) = (self.mps?, self.parameters().pci.mps?);
        if field.policy() == said {
            return None;
        }
        let option = MpsPolicy::ALL.iter().find(|policy| policy.policy() == said).map_or("", |p| p.option());
        Some(self.contradiction("mps", &["pcie_bus_"], &format!("{field:?}"), &format!("says {option}")))
    }

    fn acs_contradiction(&self) -> Option<Problem> {
        let said = self.parameters().pci;
        let other =
            said.disable_acs_redir.is_some_and(|list| list != EVERY_FUNCTION) || said.config_acs.is_some();
        let words = ["disable_acs_redir=", "config_acs="];
        let found = self.acs == AcsPolicy::Off && other;
        found.then(|| self.contradiction("acs", &words, "Off", "chooses functions and bits itself"))
    }

    fn contradiction(&self, field: &'static str, words: &[&str], value: &str, does: &str) -> Problem {
        Problem {
            kind: ProblemKind::Contradiction(field),
            span: self.span(words),
            message: format!("`{field}` is {value}, and the command line {does}"),
            help: format!("drop `{field}`, or the words of the command line"),
        }
    }

    fn list_problem(&self, list: &str, error: AcsSyntaxError) -> Problem {
        let start = self.cmdline.rfind(list).map_or(0, |start| start + error.at);
        let length = list[error.at..].find(';').unwrap_or(list.len() - error.at);
        let help = match error.kind {
            AcsSyntax::NoAt | AcsSyntax::NotABit | AcsSyntax::TooManyBits => {
                "write up to 7 of 0, 1 and x in front of `@` for DT EC UF CR RR TB SV, as in \
                 `config_acs=10x00xx@0000:01:00.0`; every function needs its own"
            }
            AcsSyntax::NotAFunction => {
                "write `0000:01:00.0`, a path such as `00:02.0/00.0`, or `pci:VENDOR:DEVICE` with 0 for any; \
                 functions are separated by `;`"
            }
        };
        Problem {
            kind: ProblemKind::List,
            span: start..(start + length.max(1)).min(self.cmdline.len()).max(start),
            message: match &list[error.at..error.at + length] {
                "" => format!("nothing stands here: {error}"),
                part => format!("`{part}`: {error}"),
            },
            help: help.to_owned(),
        }
    }

    /// The word of the command line in which the last of `needles` stands.
    fn span(&self, needles: &[&str]) -> Range<usize> {
        let found = needles.iter().filter_map(|needle| self.cmdline.rfind(needle)).max().unwrap_or(0);
        let rest = &self.cmdline[found..];
        found..found + rest.find([' ', '\t']).unwrap_or(rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kinds found, each with the words pointed at.
    fn check(settings: KernelSettings, expect: &[(ProblemKind, &str)]) {
        let problems = settings.problems();
        let found: Vec<_> =
            problems.iter().map(|problem| (problem.kind, &settings.cmdline[problem.span.clone()])).collect();
        assert_eq!(found, expect, "{settings:?}");
    }

    fn line(cmdline: &str) -> KernelSettings {
        KernelSettings { cmdline: cmdline.to_owned(), ..KernelSettings::default() }
    }

    #[test]
    fn fields_and_line_must_agree() {
        use ProblemKind::Contradiction;
        let iommu = |policy, cmdline| KernelSettings { iommu: Some(policy), ..line(cmdline) };
        check(iommu(IommuMode::None, "quiet intel_iommu=on"), &[(Contradiction("iommu"), "intel_iommu=on")]);
        check(iommu(IommuMode::None, "iommu=pt"), &[]);
        check(iommu(IommuMode::Translate, "intel_iommu=on"), &[]);
        check(iommu(IommuMode::Translate, "iommu=pt"), &[(Contradiction("iommu"), "iommu=pt")]);
        check(iommu(IommuMode::Passthrough, "intel_iommu=on amd_iommu=off"), &[]);
        check(iommu(IommuMode::Passthrough, "iommu=off x"), &[(Contradiction("iommu"), "iommu=off")]);
        check(
            iommu(IommuMode::Passthrough, "iommu.passthrough=0 x"),
            &[(Contradiction("iommu"), "iommu.passthrough=0")],
        );
        let mps = |policy, cmdline| KernelSettings { mps: Some(policy), ..line(cmdline) };
        check(mps(MpsPolicy::Safe, "pci=pcie_bus_safe"), &[]);
        check(mps(MpsPolicy::Safe, "pci=pcie_bus_perf"), &[(Contradiction("mps"), "pcie_bus_perf")]);
        let off = |cmdline| KernelSettings { acs: AcsPolicy::Off, ..line(cmdline) };
        check(off("pci=disable_acs_redir=pci:0:0"), &[]);
        check(off("pci=config_acs=x@01:00.0"), &[(Contradiction("acs"), "config_acs=x@01:00.0")]);
    }

    #[test]
    fn lists_are_read_to_their_end() {
        check(line("pci=config_acs=1@01:00.0;02:00.0 quiet"), &[(ProblemKind::List, "02:00.0")]);
        check(line("pci=disable_acs_redir=nonsense;02:00.0"), &[(ProblemKind::List, "nonsense")]);
        check(line("pci=disable_acs_redir=02:00.0,config_acs=1@pci:8086:0"), &[]);
        let old = KernelSettings { profile: ProfileName::Linux_6_1, ..line("pci=config_acs=x@01:00.0 a") };
        check(old, &[(ProblemKind::NoEffect, "config_acs=x@01:00.0")]);
        check(line("quiet pci=noats,nocrs a"), &[(ProblemKind::NotSimulated, "nocrs")]);
        check(line("pci=nocrs,use_crs nokaslr no5lvl iommu.strict=1 iommu.forcedac=1"), &[]);
    }
}
