//! Why pairs are not direct: pairs with the same kinds of reasons in one paragraph, in the order of their first pair.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use peerbus_units::FunctionId;

use super::super::{MapType, Pair};
use super::Shown;
use crate::page::wrap;

/// Functions and pairs that are named; of more only the number is told.
const NAMED: usize = 8;

/// Pairs of one map type and one list of kinds of reasons.
struct Group<'a> {
    map_type: MapType,
    /// Each kind with the functions of all pairs.
    reasons: Vec<(&'static str, BTreeSet<FunctionId>)>,
    pairs: Vec<(&'a str, &'a str)>,
}

/// Writes the paragraphs; both directions of a pair are one.
pub(super) fn write(out: &mut String, shown: &Shown<'_>) -> fmt::Result {
    let groups = groups(shown);
    if groups.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nnot direct, because (--why A B explains a pair, and what would change it)")?;
    for group in groups {
        let reasons: Vec<String> =
            group.reasons.iter().map(|(kind, functions)| reason(kind, functions)).collect();
        let count = group.pairs.len();
        let noun = if count == 1 { "pair" } else { "pairs" };
        wrap(out, "  ", &format!("{} {count} {noun}: {}", group.map_type.letter(), reasons.join("; ")))?;
        let pairs: Vec<String> = group.pairs.iter().map(|(from, to)| format!("{from}-{to}")).collect();
        wrap(out, "      ", &some(&pairs, " "))?;
    }
    Ok(())
}

fn groups<'a>(shown: &'a Shown<'_>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (position, from) in shown.rows.iter().enumerate() {
        for to in &shown.rows[position..] {
            let Some(pair) = shown.pair(from, to).filter(|pair| !pair.reasons.is_empty()) else { continue };
            let group = match groups.iter().position(|group| belongs(group, pair)) {
                Some(at) => &mut groups[at],
                None => {
                    let reasons = pair.reasons.iter().map(|reason| (reason.kind, BTreeSet::new())).collect();
                    groups.push(Group { map_type: pair.map_type, reasons, pairs: Vec::new() });
                    let last = groups.len() - 1;
                    &mut groups[last]
                }
            };
            for (kept, reason) in group.reasons.iter_mut().zip(&pair.reasons) {
                kept.1.extend(&reason.functions);
            }
            group.pairs.push((from.label, to.label));
        }
    }
    groups
}

fn belongs(group: &Group<'_>, pair: &Pair) -> bool {
    let kinds = pair.reasons.iter().map(|reason| reason.kind);
    group.map_type == pair.map_type && group.reasons.iter().map(|(kind, _)| *kind).eq(kinds)
}

/// `HOST_BRIDGE_NOT_LISTED` and its functions as words.
fn reason(kind: &str, functions: &BTreeSet<FunctionId>) -> String {
    let words = match kind {
        "ACS_REDIRECT" => "ACS redirects at",
        "NO_COMMON_UPSTREAM" => "nothing is above both, which are below",
        "HOST_BRIDGE_NOT_LISTED" => "host bridge not in the kernel's table:",
        "HOST_BRIDGES_DIFFER" => "host bridge in the table for traffic within it only:",
        "NO_IDENTIFYING_FUNCTION" => "nothing stands for the host bridge, first on its bus is",
        other => other,
    };
    let functions: Vec<String> = functions.iter().map(ToString::to_string).collect();
    format!("{words} {}", some(&functions, ", ")).trim_end().to_owned()
}

/// The first eight, and how many more.
fn some(words: &[String], separator: &str) -> String {
    match words.len() {
        0..=NAMED => words.join(separator),
        all => format!("{} and {} more", words[..NAMED].join(separator), all - NAMED),
    }
}
