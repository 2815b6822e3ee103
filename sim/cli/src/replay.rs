//! `replay`: calls into the operating system's allocators and its peer-to-peer DMA, and what they return.

use anyhow::bail;
use peerbus_machine::Catalogue;
use peerbus_system::replay::{
    Comparison, Document, Replay, compare, load, render_comparison, render_replay, run,
};
use serde::Serialize;

use crate::Answer;
use crate::args::{self, Format};
use crate::files::{self, Destination};
use crate::machines;
use crate::terminal::{Sources, Terminal};

/// The document of `--diff`.
#[derive(Serialize)]
struct Compared<'a> {
    #[serde(flatten)]
    document: &'a Document,
    diff: &'a Comparison,
}

/// Makes the calls of a file. With `--diff` the answer is whether they return what the file recorded.
pub fn replay(args: &args::Replay, terminal: &Terminal) -> anyhow::Result<Answer> {
    let destination = Destination::open(args.output.output.as_deref())?;
    let replay = read(args, terminal)?;
    let document = run(&replay);
    let format = args.output.format();
    if !args.diff {
        destination.write(&match format {
            Format::Text => render_replay(&replay, &document),
            Format::Json => json(&document)?,
        })?;
        return Ok(Answer::Yes);
    }
    let Some(comparison) = compare(&replay, &document) else {
        let label = files::label(&args.file);
        bail!("{label} has no `results` to compare with; those of `--format json` can be written into it");
    };
    destination.write(&match format {
        Format::Text => render_comparison(&replay, &document, &comparison),
        Format::Json => json(&Compared { document: &document, diff: &comparison })?,
    })?;
    Ok(Answer::from(comparison.first.is_none()))
}

fn read(args: &args::Replay, terminal: &Terminal) -> anyhow::Result<Replay> {
    let mut sources = Sources::new();
    let (replay, diagnostics) = match files::read_text(&args.file) {
        Ok(text) => {
            let label = files::label(&args.file);
            let provider = machines::Provider::default();
            let read = load(&text, &label, &|name| provider.text(name), &Catalogue::embedded());
            sources.extend(provider.into_sources());
            sources.insert(label, text);
            read
        }
        Err(problem) => (None, vec![*problem]),
    };
    match replay {
        Some(replay) => {
            terminal.diagnostics(&diagnostics, &sources);
            Ok(replay)
        }
        None => Err(terminal.refuse(&diagnostics, &sources)),
    }
}

fn json(value: &impl Serialize) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}
