//! `run`: scenarios.
//!
//! Everything that can go wrong with files is found before anything runs: scenarios and machines are loaded, the baseline
//! is read and outputs are prepared first. The variants of all scenarios then run side by side; their outcomes are put
//! together in order, so the number of threads changes nothing. A folder of scenarios is answered with one summary of what
//! was measured and predicted ([`folder`]).

mod folder;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use peerbus_machine::Catalogue;
use peerbus_machine::diagnostic::any_error;
use peerbus_report::text::{self, TextOptions};
use peerbus_report::{html, json};
use peerbus_scenario::{Loaded, ScenarioResult, assemble, cells, load, run_cell};
use peerbus_system::outcome::Outcome;
use rayon::prelude::*;

use crate::Answer;
use crate::args::{self, Format};
use crate::compare::Baseline;
use crate::files::{self, Destination};
use crate::machines::Provider;
use crate::terminal::{Reported, Sources, Terminal};

/// Runs scenarios; the answer is no when an expectation fails or a result differs from its baseline.
pub fn run(args: &args::Run, terminal: &Terminal) -> anyhow::Result<Answer> {
    if let [folder] = args.scenarios.as_slice()
        && folder.is_dir()
    {
        return folder::run(folder, args, terminal);
    }
    if args.scenarios.len() > 1 && (args.html.is_some() || args.baseline.is_some()) {
        bail!("--html and --baseline are for one scenario; run each by itself");
    }
    let loaded = load_all(&args.scenarios, args.seed, terminal)?;
    for scenario in loaded.iter().filter(|scenario| scenario.sweep.is_some()) {
        let file = &scenario.file;
        terminal.say(&format!(
            "note: {file} has a sweep, which `peerbus sweep run {file}` runs; this is one run"
        ));
    }
    let baseline = match &args.baseline {
        // What is about to be replaced need not exist yet.
        Some(path) if !args.bless || path.exists() => Some(Baseline::read(path, args.policy.as_deref())?),
        _ => None,
    };
    let outputs = Outputs::open(args)?;
    let results = run_all(loaded, args.threads)?;
    let compared = match (&baseline, results.first()) {
        (Some(baseline), Some(result)) => Some(baseline.compare("this run", &json::baseline(result))?),
        _ => None,
    };
    let answer = answer_text(args, terminal, &outputs, &results);
    let (blessed, html_file) = (outputs.blessed, outputs.html);
    outputs.answer.write(&answer)?;
    if let (Some(destination), Some(result)) = (html_file, results.first()) {
        destination.write(&html::render(result))?;
    }
    if let Some(comparison) = &compared {
        terminal.say(comparison.text().trim_end());
    }
    for ((path, destination), result) in blessed.into_iter().zip(&results) {
        destination.write(&json::baseline(result))?;
        terminal.say(&format!("wrote {}", path.display()));
    }
    let equal = args.bless || compared.is_none_or(|comparison| comparison.is_equal());
    Ok(Answer::from(equal && results.iter().all(ScenarioResult::passed)))
}

/// Where results go.
struct Outputs {
    answer: Destination,
    html: Option<Destination>,
    /// One per scenario with `--bless`, else none.
    blessed: Vec<(PathBuf, Destination)>,
}

impl Outputs {
    fn open(args: &args::Run) -> anyhow::Result<Outputs> {
        let html = args.html.as_deref().map(|path| Destination::open(Some(path))).transpose()?;
        if html.as_ref().is_some_and(Destination::is_standard) && args.output.output.is_none() {
            bail!("--html and the answer cannot both go to standard output; add -o FILE");
        }
        let mut blessed: Vec<(PathBuf, Destination)> = Vec::new();
        for scenario in args.scenarios.iter().filter(|_| args.bless) {
            let path = baseline_path(scenario, args.baseline.as_deref())?;
            if blessed.iter().any(|(taken, _)| *taken == path) {
                bail!("two scenarios have the baseline {}; bless each by itself", path.display());
            }
            let destination = Destination::open(Some(&path))?;
            blessed.push((path, destination));
        }
        Ok(Outputs { answer: Destination::open(args.output.output.as_deref())?, html, blessed })
    }
}

/// The file of a scenario's baseline; its folder is made.
fn baseline_path(scenario: &Path, given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let stem =
        scenario.file_stem().context("a scenario from standard input has no name: add --baseline FILE")?;
    let folder = Path::new("reports");
    std::fs::create_dir_all(folder).context("cannot make the folder reports")?;
    let mut name = stem.to_owned();
    name.push(".json");
    Ok(folder.join(name))
}

/// Loads every scenario, so that all problems of all of them are told at once.
fn load_all(scenarios: &[PathBuf], seed: Option<u64>, terminal: &Terminal) -> anyhow::Result<Vec<Loaded>> {
    let catalogue = Catalogue::embedded();
    let loaded: Vec<Option<Loaded>> =
        scenarios.iter().map(|path| load_one(path, &catalogue, terminal)).collect();
    let mut loaded = loaded.into_iter().collect::<Option<Vec<Loaded>>>().ok_or(Reported)?;
    if let Some(seed) = seed {
        for scenario in &mut loaded {
            scenario.seed = seed;
            scenario.cells.iter_mut().for_each(|cell| cell.input.seed = seed);
        }
    }
    Ok(loaded)
}

pub fn load_one(path: &Path, catalogue: &Catalogue, terminal: &Terminal) -> Option<Loaded> {
    let label = files::label(path);
    let text = match files::read_text(path) {
        Ok(text) => text,
        Err(problem) => {
            terminal.diagnostics(&[*problem], &Sources::new());
            return None;
        }
    };
    let provider = Provider::default();
    let (loaded, diagnostics) = load(&text, &label, &|name| provider.text(name), catalogue);
    let mut sources = provider.into_sources();
    sources.insert(label, text);
    terminal.diagnostics(&diagnostics, &sources);
    loaded.filter(|_| !any_error(&diagnostics))
}

/// Runs all cells of all scenarios, `threads` at a time.
fn run_all(loaded: Vec<Loaded>, threads: Option<u16>) -> anyhow::Result<Vec<ScenarioResult>> {
    let threads = threads.map_or(0, usize::from);
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("cannot start threads")?;
    let all: Vec<_> =
        loaded.iter().flat_map(|scenario| cells(scenario).iter().map(move |cell| (scenario, cell))).collect();
    let outcomes: Vec<Result<Outcome, _>> =
        pool.install(|| all.par_iter().map(|(_, cell)| run_cell(cell)).collect());
    let mut done = Vec::with_capacity(outcomes.len());
    for ((scenario, cell), outcome) in all.iter().zip(outcomes) {
        let variant =
            if cell.variant.is_empty() { String::new() } else { format!(", variant {}", cell.variant) };
        done.push(outcome.with_context(|| format!("{}{variant}", scenario.file))?);
    }
    let mut done = done.into_iter();
    let result = |scenario: Loaded| {
        let count = cells(&scenario).len();
        assemble(scenario, done.by_ref().take(count).collect())
    };
    Ok(loaded.into_iter().map(result).collect())
}

/// The results in the form asked for: texts one after the other, one document or a list of documents.
fn answer_text(
    args: &args::Run,
    terminal: &Terminal,
    outputs: &Outputs,
    results: &[ScenarioResult],
) -> String {
    match args.output.format() {
        Format::Text => {
            let color = terminal.answer_color && outputs.answer.is_standard();
            let options = TextOptions { verbose: args.verbose, color };
            let texts: Vec<String> = results.iter().map(|result| text::render(result, options)).collect();
            texts.join("\n")
        }
        Format::Json => match results {
            [result] => json::render(result),
            results => {
                let documents: Vec<String> = results.iter().map(json::render).collect();
                let documents: Vec<&str> = documents.iter().map(|document| document.trim_end()).collect();
                format!("[\n{}\n]\n", documents.join(",\n"))
            }
        },
    }
}
