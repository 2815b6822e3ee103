//! `run FOLDER`: all scenarios of a folder side by side, and one summary of measured and predicted values.
//!
//! The summary is Markdown, kept as `reports/NAME.md` of a folder NAME; it is compared as text.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use peerbus_report::validation;
use peerbus_scenario::ScenarioResult;

use super::{Outputs, answer_text, load_all, run_all};
use crate::Answer;
use crate::args::{self, Format};
use crate::files::{self, Destination};
use crate::terminal::{Reported, Terminal};

/// Runs the scenarios of `folder`; the answer is no when an expectation fails or the summary differs from its baseline.
pub fn run(folder: &Path, args: &args::Run, terminal: &Terminal) -> anyhow::Result<Answer> {
    if args.html.is_some() || args.policy.is_some() {
        bail!("--html and --policy are for one scenario; run a file of the folder by itself");
    }
    let scenarios = files::scenarios_in(folder)?;
    let loaded = load_all(&scenarios, args.seed, terminal)?;
    let baseline = match &args.baseline {
        Some(path) if !args.bless => Some((path, text_of(path, terminal)?)),
        _ => None,
    };
    let kept = if args.bless { Some(kept(folder, args.baseline.as_deref())?) } else { None };
    let answer = Destination::open(args.output.output.as_deref())?;
    let results = run_all(loaded, args.threads)?;
    let name = folder.file_name().map_or_else(|| "scenarios".into(), |name| name.to_string_lossy());
    let summary = validation::render(&title(&name), &results);
    let outputs = Outputs { answer, html: None, blessed: Vec::new() };
    let text = match (args.output.format(), args.verbose) {
        (Format::Text, false) => summary.clone(),
        (Format::Text, true) => format!("{}\n{summary}", answer_text(args, terminal, &outputs, &results)),
        (Format::Json, _) => answer_text(args, terminal, &outputs, &results),
    };
    outputs.answer.write(&text)?;
    if let Some((path, destination)) = kept {
        destination.write(&summary)?;
        terminal.say(&format!("wrote {}", path.display()));
    }
    let equal = baseline.is_none_or(|(path, before)| is_same(path, &before, &summary, terminal));
    Ok(Answer::from(equal && results.iter().all(ScenarioResult::passed)))
}

/// The name of a folder as a title: `validation` is `Validation`.
fn title(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn text_of(path: &Path, terminal: &Terminal) -> anyhow::Result<String> {
    match files::read_text(path) {
        Ok(text) => Ok(text),
        Err(problem) => {
            terminal.diagnostics(&[*problem], &crate::terminal::Sources::new());
            Err(Reported.into())
        }
    }
}

fn kept(folder: &Path, given: Option<&Path>) -> anyhow::Result<(PathBuf, Destination)> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => {
            let mut name =
                folder.file_name().context("this folder has no name: add --baseline FILE")?.to_owned();
            name.push(".md");
            std::fs::create_dir_all("reports").context("cannot make the folder reports")?;
            Path::new("reports").join(name)
        }
    };
    let destination = Destination::open(Some(&path))?;
    Ok((path, destination))
}

/// Whether the summary is as before; says which lines are not.
fn is_same(path: &Path, before: &str, now: &str, terminal: &Terminal) -> bool {
    if before == now {
        return true;
    }
    terminal.say(&format!("this run differs from {}:", path.display()));
    let lines = |text: &str, other: &str, sign: char| {
        let others: std::collections::BTreeSet<&str> = other.lines().collect();
        for line in text.lines().filter(|line| !others.contains(line)) {
            terminal.say(&format!("{sign} {line}"));
        }
    };
    lines(before, now, '-');
    lines(now, before, '+');
    false
}
