//! Replays for people: a table of calls and results, and the first difference from a recording.

use std::fmt::{self, Write};

use serde_json::{Map, Value};

use super::call::Replay;
use super::diff::{Comparison, Difference};
use super::result::{Document, Outcome};
use crate::p2p::DmaKind;

/// Calls shown before a difference.
const BEFORE: usize = 5;

/// One line per call with what it returned. Ends with a newline.
pub fn render_replay(replay: &Replay, document: &Document) -> String {
    let mut out = format!("{} calls as {} makes them\n\n", replay.calls.len(), replay.profile.name());
    let written = write_calls(&mut out, replay, document, 0..replay.calls.len());
    assert!(written.is_ok(), "writing to a string cannot fail");
    out
}

/// How many results agree with the recording, and the first that does not with the calls that lead to it.
pub fn render_comparison(replay: &Replay, document: &Document, comparison: &Comparison) -> String {
    let mut out = String::new();
    let written = write_comparison(&mut out, replay, document, comparison);
    assert!(written.is_ok(), "writing to a string cannot fail");
    out
}

fn write_calls(
    out: &mut String,
    replay: &Replay,
    document: &Document,
    range: std::ops::Range<usize>,
) -> fmt::Result {
    let shown = replay.shown();
    let calls = &shown[range.clone()];
    // A few long calls need not push all results to the right.
    let width = calls.iter().map(|call| call.chars().count()).max().unwrap_or(0).min(64);
    let digits = range.end.saturating_sub(1).to_string().len();
    let first = document.results.partition_point(|entry| entry.call < range.start);
    let mut results = document.results[first..].iter().peekable();
    for (number, call) in range.zip(calls) {
        let result = results.next_if(|entry| entry.call == number).map(|entry| outcome(&entry.outcome));
        match result {
            Some(result) => writeln!(out, "{number:>digits$}  {call:<width$}  {result}")?,
            None => writeln!(out, "{number:>digits$}  {call}")?,
        }
    }
    Ok(())
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Allocated { address } => format!("{address:#x}"),
        Outcome::Available { bytes } => format!("{bytes} bytes"),
        Outcome::Region { first, last, probes } => {
            let s = if *probes == 1 { "" } else { "s" };
            format!("{first:#x}-{last:#x}, {probes} probe{s}")
        }
        Outcome::Resolved { map_type, distance } => format!("{} {distance}", map_type.letter()),
        Outcome::Distance { distance } => format!("{distance}"),
        Outcome::Found { providers } => {
            providers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        Outcome::Mapped { dma_addr, dma_kind } => match dma_kind {
            DmaKind::Bus => format!("bus address {dma_addr:#x}"),
            DmaKind::Cpu => format!("CPU address {dma_addr:#x}"),
            DmaKind::Iova => format!("IOVA {dma_addr:#x}"),
        },
        Outcome::Failed { error, reason } => format!("{error}: {reason}"),
    }
}

fn write_comparison(
    out: &mut String,
    replay: &Replay,
    document: &Document,
    comparison: &Comparison,
) -> fmt::Result {
    let Comparison { compared, equal, first } = comparison;
    writeln!(out, "{equal} of {compared} results as recorded ({})", replay.profile.name())?;
    let Some(Difference { call, recorded, found }) = first else { return Ok(()) };
    writeln!(out, "\nfirst difference, at call {call}:\n")?;
    let end = (call + 1).min(replay.calls.len());
    write_calls(out, replay, document, call.saturating_sub(BEFORE).min(end)..end)?;
    writeln!(out, "\n  recorded  {}", fields(recorded.as_ref()))?;
    writeln!(out, "  found     {}", fields(found.as_ref()))
}

/// `address: 0x1000`; addresses in hexadecimal.
fn fields(fields: Option<&Map<String, Value>>) -> String {
    let Some(fields) = fields else { return "no result".to_owned() };
    let shown = fields.iter().map(|(name, value)| match (name.as_str(), value.as_u64(), value.as_str()) {
        ("address" | "first" | "last" | "dma_addr", Some(number), _) => format!("{name}: {number:#x}"),
        (_, _, Some(text)) => format!("{name}: {text}"),
        _ => format!("{name}: {value}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}
