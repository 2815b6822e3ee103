//! `compare`: two results, value by value.

use std::path::Path;

use anyhow::Context;
use peerbus_report::compare::{self as report, Comparison, Document, Policy};
use peerbus_report::json;

use crate::Answer;
use crate::args::{self, ComparisonFormat};
use crate::files::{self, Destination};
use crate::terminal::Terminal;

/// Compares NEW with BASE; the answer is no when they differ in more than the policy allows. With `--bless` NEW
/// then becomes BASE, and the answer is yes.
pub fn compare(args: &args::Compare, terminal: &Terminal) -> anyhow::Result<Answer> {
    let policy = policy(args.policy.as_deref())?;
    let (new_text, new) = document(&args.new)?;
    if args.bless && !args.base.exists() {
        bless(&args.base, &new_text)?;
        terminal.say(&format!("wrote {}, which did not exist", args.base.display()));
        return Ok(Answer::Yes);
    }
    let (_, base) = document(&args.base)?;
    let comparison = report::compare(&base, &new, &policy)?;
    files::answer(&match args.format {
        ComparisonFormat::Text => comparison.text(),
        ComparisonFormat::Markdown => comparison.markdown(),
        ComparisonFormat::Json => comparison.json(),
    })?;
    if args.bless {
        bless(&args.base, &new_text)?;
        terminal.say(&format!("wrote {}", args.base.display()));
        return Ok(Answer::Yes);
    }
    Ok(Answer::from(comparison.is_equal()))
}

/// Writes a document as baseline.
fn bless(base: &Path, new_text: &str) -> anyhow::Result<()> {
    let document = json::parse(new_text).context("the new document has not all that a baseline needs")?;
    Destination::open(Some(base))?.write(&json::baseline_of(document))
}

/// A baseline and what may differ from it; read before a run, since a run may take long.
pub struct Baseline {
    document: Document,
    policy: Policy,
}

impl Baseline {
    /// Reads both.
    pub fn read(path: &Path, policy_file: Option<&Path>) -> anyhow::Result<Baseline> {
        Ok(Baseline { document: document(path)?.1, policy: policy(policy_file)? })
    }

    /// Compares the JSON document of a run with it.
    pub fn compare(&self, label: &str, run: &str) -> anyhow::Result<Comparison> {
        Ok(report::compare(&self.document, &Document::read(label, run)?, &self.policy)?)
    }
}

fn document(path: &Path) -> anyhow::Result<(String, Document)> {
    let text = text(path)?;
    let document = Document::read(&files::label(path), &text)?;
    Ok((text, document))
}

/// The policy in a file; without one, nothing may differ.
fn policy(path: Option<&Path>) -> anyhow::Result<Policy> {
    match path {
        None => Ok(Policy::default()),
        Some(path) => Policy::parse(&text(path)?).with_context(|| files::label(path)),
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    files::read_text(path).map_err(|problem| anyhow::Error::msg(problem.message))
}
