//! The `kernel` section: its fields, and whether they and the command line agree.

use peerbus_system::kernel::{KernelSettings, Problem, ProblemKind};

use super::context::{Context, Place};
use crate::{codes, file};

impl Context<'_> {
    /// The settings at `kernel` of `place`; what is not named stays as in `base`, whose own problems are known.
    pub(super) fn kernel(
        &mut self,
        given: &Option<file::Kernel>,
        place: &Place,
        base: KernelSettings,
    ) -> KernelSettings {
        let Some(given) = given else { return base };
        let place = place.field("kernel");
        let known = base.problems();
        let profile = self.take(&given.profile, &place, "profile", "the name of a kernel");
        let iommu = self.take(&given.iommu, &place, "iommu", "None, Passthrough or Translate");
        let acs = self.take(&given.acs, &place, "acs", "FirmwareDefault, Off or On");
        let mps = self.take(&given.mps, &place, "mps", "Off, Default, Safe, Performance or PeerToPeer");
        let cmdline = self.take(&given.cmdline, &place, "cmdline", "a kernel command line");
        let settings = KernelSettings {
            profile: profile.unwrap_or(base.profile),
            iommu: iommu.or(base.iommu),
            acs: acs.unwrap_or(base.acs),
            mps: mps.or(base.mps),
            cmdline: cmdline.unwrap_or(base.cmdline),
        };
        for problem in settings.problems().into_iter().filter(|problem| !known.contains(problem)) {
            self.kernel_problem(given, &place, problem);
        }
        settings
    }

    /// Reports `problem` where the command line has it, or at the field that disagrees with a line given elsewhere.
    fn kernel_problem(&mut self, given: &file::Kernel, place: &Place, problem: Problem) {
        let Problem { kind, span, message, help } = problem;
        let (code, field) = match kind {
            ProblemKind::Contradiction(field) => (codes::CONTRADICTION, field),
            ProblemKind::List => (codes::ACS_LIST, "cmdline"),
            ProblemKind::NoEffect => (codes::NO_EFFECT, "profile"),
            ProblemKind::NotSimulated => (codes::NOT_SIMULATED, "cmdline"),
        };
        match &given.cmdline {
            Some(leaf) => {
                let span = self.inside(leaf, &span);
                self.error_in(code, span, &place.field("cmdline"), message, help);
            }
            None => self.error(code, &place.field(field), message, help),
        }
        if kind == ProblemKind::NoEffect
            && let Some(last) = self.diagnostics.pop()
        {
            self.diagnostics.push(last.warning());
        }
    }
}
