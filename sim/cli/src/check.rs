//! `check`: everything that is wrong with files, whatever they hold.

use std::path::Path;

use peerbus_machine::diagnostic::{any_error, render};
use peerbus_machine::{Catalogue, Diagnostic, file, load, load_machine, part};
use peerbus_scenario::file::Scenario;
use peerbus_system::replay;
use serde_json::json;

use crate::Answer;
use crate::args::{self, Format};
use crate::files;
use crate::machines;
use crate::terminal::{Reported, Sources, Terminal};

/// Checks files. The answer is the list of diagnostics; with an error among them the exit code is that of
/// unusable input.
pub fn check(args: &args::Check, terminal: &Terminal) -> anyhow::Result<Answer> {
    let catalogue = Catalogue::embedded();
    let mut sources = Sources::new();
    let mut diagnostics = Vec::new();
    for path in &args.files {
        let found = check_file(path, &catalogue, &mut sources);
        if args.format == Format::Text && !any_error(&found) {
            terminal.say(&format!("{}: ok", files::label(path)));
        }
        // Several scenarios may name one machine, whose problems are told once.
        diagnostics.extend(found.into_iter().filter(|new| !diagnostics.contains(new)).collect::<Vec<_>>());
    }
    let text = match args.format {
        Format::Text => render(&diagnostics, &sources, terminal.answer_color),
        Format::Json => {
            format!("{}\n", serde_json::to_string_pretty(&json!({ "diagnostics": diagnostics }))?)
        }
    };
    files::answer(&text)?;
    if any_error(&diagnostics) { Err(Reported.into()) } else { Ok(Answer::Yes) }
}

fn check_file(path: &Path, catalogue: &Catalogue, sources: &mut Sources) -> Vec<Diagnostic> {
    let label = files::label(path);
    let text = match files::read_text(path) {
        Ok(text) => text,
        Err(problem) => return vec![*problem],
    };
    let found = match kind(&text, &label) {
        Kind::Machine => load_machine(&text, &label, catalogue).1,
        Kind::Scenario => {
            let provider = machines::Provider::default();
            let found = peerbus_scenario::load(&text, &label, &|name| provider.text(name), catalogue).1;
            sources.extend(provider.into_sources());
            found
        }
        Kind::Replay => {
            let provider = machines::Provider::default();
            let found = replay::load(&text, &label, &|name| provider.text(name), catalogue).1;
            sources.extend(provider.into_sources());
            found
        }
        Kind::Parts => Catalogue::default().add_file(&text, &label),
    };
    sources.insert(label, text);
    found
}

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Machine,
    Scenario,
    Replay,
    Parts,
}

/// The kind whose shape has the fewest problems with `text`; a machine when nothing tells.
fn kind(text: &str, label: &str) -> Kind {
    let problems = [
        (load::parse::<file::Machine>(text, label).1.len(), Kind::Machine),
        (load::parse::<Scenario>(text, label).1.len(), Kind::Scenario),
        (load::parse::<replay::file::Replay>(text, label).1.len(), Kind::Replay),
        (load::parse::<Vec<part::Part>>(text, label).1.len(), Kind::Parts),
    ];
    problems.into_iter().min_by_key(|(count, _)| *count).map_or(Kind::Machine, |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_tells_the_kind() {
        for (text, expect) in [
            (peerbus_machine::schema::TEMPLATE, Kind::Machine),
            (peerbus_scenario::schema::TEMPLATE, Kind::Scenario),
            (peerbus_system::replay::schema::TEMPLATE, Kind::Replay),
            (Catalogue::files()[0].1, Kind::Parts),
            ("(machine: \"m.ron\", kernle: (), workloads: [])", Kind::Scenario),
            ("(name: \"m\", cpsu: [], host_bridges: [])", Kind::Machine),
            ("{\"machine\": \"m.ron\", \"expect\": []}", Kind::Scenario),
            ("", Kind::Machine),
        ] {
            assert_eq!(kind(text, "x"), expect, "{text}");
        }
    }
}
