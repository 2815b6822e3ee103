//! `plan --device-memory`: whether all device memory gets its page structs, and how often if what is unknown is drawn.

use anyhow::{Context, bail};
use peerbus_machine::Machine;
use peerbus_system::boot::Booted;
use peerbus_system::device_memory::{Design, Question, TrialReport, Trials, render_device_memory};
use rayon::prelude::*;

use crate::Answer;
use crate::args::{self, PlanFormat};
use crate::files::Destination;
use crate::look::json;

/// Shows the plan of device memory; the answer is no when something does not fit with the chosen kernel as released.
pub fn plan(
    args: &args::Plan,
    machine: &Machine,
    booted: &Booted,
    destination: Destination,
) -> anyhow::Result<Answer> {
    let asked = &args.device_memory;
    let question = Question::new(machine, booted, asked.conditions());
    if question.askers().is_empty() && !asked.gpus.is_empty() {
        bail!("{} has no GPU with memory of its own, so --gpus has nothing to count", args.machine.display());
    }
    let trials = asked.trial_options().map(|options| Trials::new(&question, options));
    let trials = trials.map(|trials| judge(&trials, asked.threads)).transpose()?;
    let document = question.document(trials);
    let text = match args.format() {
        PlanFormat::Text => render_device_memory(&document),
        PlanFormat::Json => json(&document)?,
        PlanFormat::Lspci => bail!("registers say nothing about page structs; use --format text or json"),
    };
    destination.write(&text)?;
    let released = |profile| profile == args.kernel.profile;
    let mut answers = document.answers.iter();
    let refused = answers
        .any(|answer| released(answer.profile) && answer.design == Design::PhysicalSpace && !answer.fits());
    Ok(Answer::from(!refused))
}

/// Judges all draws, `threads` at a time. They are counted in the order of the draws.
fn judge(trials: &Trials, threads: Option<u16>) -> anyhow::Result<TrialReport> {
    let threads = threads.map_or(0, usize::from);
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("cannot start threads")?;
    let draws = trials.draws();
    let verdicts: Vec<_> = pool.install(|| draws.par_iter().map(|(draw, _)| trials.judge(draw)).collect());
    Ok(trials.report(&draws, &verdicts))
}
