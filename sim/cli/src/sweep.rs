//! `sweep`: a scenario at every combination of values of its `sweep`.
//!
//! Points run side by side; their lines are put together in order, so the number of threads changes nothing.

use anyhow::{Context, bail};
use peerbus_machine::{Catalogue, Diagnostic};
use peerbus_report::sweep::line;
use peerbus_scenario::{Sweep, assemble, cells, run_cell};
use rayon::prelude::*;

use crate::Answer;
use crate::args;
use crate::files::{self, Destination};
use crate::run::load_one;
use crate::terminal::{Reported, Sources, Terminal};

/// Why a point has no line.
enum Failure {
    /// Its values do not go together.
    Wrong(Vec<Diagnostic>),
    /// It cannot be run.
    Run(anyhow::Error),
}

/// Runs every point; the answer is no when an expectation fails at any of them.
pub fn run(args: &args::SweepRun, terminal: &Terminal) -> anyhow::Result<Answer> {
    let catalogue = Catalogue::embedded();
    let loaded = load_one(&args.scenario, &catalogue, terminal).ok_or(Reported)?;
    let Some(sweep) = loaded.sweep else {
        bail!("{} has no `sweep`; `peerbus run` runs it", files::label(&args.scenario));
    };
    let destination = Destination::open(args.output.as_deref())?;
    let threads = args.threads.map_or(0, usize::from);
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("cannot start threads")?;
    let points: Vec<Result<(String, bool), Failure>> = pool.install(|| {
        (0..sweep.points())
            .into_par_iter()
            .map(|point| run_point(&sweep, point, args.seed, &catalogue))
            .collect()
    });
    let (mut text, mut passed) = (String::new(), true);
    for (number, point) in points.into_iter().enumerate() {
        match point {
            Ok((line, holds)) => {
                text.push_str(&line);
                passed &= holds;
            }
            Err(Failure::Wrong(diagnostics)) => {
                terminal.say(&format!("point {number}, {}:", described(&sweep, number)));
                return Err(terminal.refuse(&diagnostics, &Sources::new()));
            }
            Err(Failure::Run(error)) => {
                return Err(error.context(format!("point {number}, {}", described(&sweep, number))));
            }
        }
    }
    destination.write(&text)?;
    Ok(Answer::from(passed))
}

/// The line of a point, and whether its expectations hold.
fn run_point(
    sweep: &Sweep,
    point: usize,
    seed: Option<u64>,
    catalogue: &Catalogue,
) -> Result<(String, bool), Failure> {
    let mut loaded = sweep.point(point, catalogue).map_err(Failure::Wrong)?;
    if let Some(seed) = seed {
        loaded.seed = seed;
        loaded.cells.iter_mut().for_each(|cell| cell.input.seed = seed);
    }
    let outcomes: Result<Vec<_>, _> = cells(&loaded).iter().map(run_cell).collect();
    let outcomes = outcomes.map_err(|error| Failure::Run(error.into()))?;
    let result = assemble(loaded, outcomes);
    Ok((line(point, &sweep.values(point), &result), result.passed()))
}

/// `kernel.acs: "On", seed: 2`.
fn described(sweep: &Sweep, point: usize) -> String {
    let values = sweep.values(point).into_iter().map(|(path, value)| format!("{path}: {value}"));
    values.collect::<Vec<_>>().join(", ")
}
