//! The machines a scenario names: read once each, however many variants use them.

use std::collections::BTreeMap;
use std::sync::Arc;

use peerbus_machine::diagnostic::{Diagnostic, any_error};
use peerbus_machine::file::Leaf;
use peerbus_machine::load::list_words;
use peerbus_machine::synthetic::{is_synthetic, synthetic};
use peerbus_machine::{Catalogue, Machine, load_machine};

use super::context::{Context, Place};
use crate::codes;

/// Reads the text of a file, by a path as written in a scenario. The error says why it cannot.
pub type Provider<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// A machine's name, where a scenario gives it.
#[derive(Clone)]
pub(super) struct Named<'f> {
    pub name: String,
    pub place: Place,
    pub leaf: &'f Leaf<String>,
}

/// Machines by the name they have in the scenario; `None` for those that cannot be used.
pub(super) struct Machines<'a> {
    provider: &'a Provider<'a>,
    pub catalogue: &'a Catalogue,
    /// Folder of the scenario file with its last `/`, or nothing.
    folder: &'a str,
    known: BTreeMap<String, Option<Arc<Machine>>>,
}

impl<'a> Machines<'a> {
    pub fn new(provider: &'a Provider<'a>, catalogue: &'a Catalogue, scenario_file: &'a str) -> Machines<'a> {
        let folder = scenario_file.rfind('/').map_or("", |slash| &scenario_file[..=slash]);
        Machines { provider, catalogue, folder, known: BTreeMap::new() }
    }

    /// Machines that are known already, and no others.
    pub fn known(known: BTreeMap<String, Arc<Machine>>, catalogue: &'a Catalogue) -> Machines<'a> {
        let known = known.into_iter().map(|(name, machine)| (name, Some(machine))).collect();
        Machines {
            provider: &|_| Err("it was not read with the scenario".to_owned()),
            catalogue,
            folder: "",
            known,
        }
    }

    /// The machine that `named` names; what is wrong with it is reported where it is first named.
    pub fn get(&mut self, context: &mut Context<'_>, named: &Named<'_>) -> Option<Arc<Machine>> {
        if let Some(known) = self.known.get(&named.name) {
            return known.clone();
        }
        let machine = match is_synthetic(&named.name) {
            true => self.synthetic(context, named),
            false => self.read(context, named),
        };
        let machine = machine.map(Arc::new);
        self.known.insert(named.name.clone(), machine.clone());
        machine
    }

    /// A machine of one line. Its problems are about a text that stands in the scenario, so they are told there.
    fn synthetic(&self, context: &mut Context<'_>, named: &Named<'_>) -> Option<Machine> {
        let file = match synthetic(&named.name) {
            Ok(file) => file,
            Err(problem) => {
                let span = problem.span.and_then(|span| context.inside(named.leaf, &span));
                context.error_in(
                    problem.code,
                    span,
                    &named.place,
                    problem.message,
                    problem.help.unwrap_or_default(),
                );
                return None;
            }
        };
        let (machine, problems) = peerbus_machine::lower(&file, "", &named.name, self.catalogue);
        for problem in &problems {
            let before = context.diagnostics.len();
            let help = problem.help.clone().unwrap_or_default();
            context.error(problem.code, &named.place, without_path(&problem.message).to_owned(), help);
            let found = &mut context.diagnostics[before..];
            found.iter_mut().for_each(|found| found.severity = problem.severity);
        }
        machine.filter(|_| !any_error(&problems))
    }

    fn read(&self, context: &mut Context<'_>, named: &Named<'_>) -> Option<Machine> {
        let (name, place) = (&named.name, &named.place);
        let (path, text) = match self.text(name) {
            Ok(found) => found,
            Err(reason) => {
                let help = "paths are seen from where the program runs, or else from the scenario file";
                context.error(codes::MACHINE_MISSING, place, format!("cannot read `{name}`: {reason}"), help);
                return None;
            }
        };
        let (machine, diagnostics) = load_machine(&text, &path, self.catalogue);
        if machine.is_none() {
            let message = format!("`{name}` cannot be used: {}", summary(&diagnostics));
            context.error(
                codes::MACHINE_BROKEN,
                place,
                message,
                format!("mend {path}; `peerbus check` shows it"),
            );
        }
        context.diagnostics.extend(diagnostics);
        machine
    }

    /// The text of another file that the scenario names.
    pub fn beside(&self, name: &str) -> Result<String, String> {
        self.text(name).map(|(_, text)| text)
    }

    /// The path that could be read, and its text.
    pub fn text(&self, name: &str) -> Result<(String, String), String> {
        let direct = (self.provider)(name);
        let reason = match direct {
            Ok(text) => return Ok((name.to_owned(), text)),
            Err(reason) => reason,
        };
        let beside = format!("{}{name}", self.folder);
        if self.folder.is_empty() || name.starts_with('/') {
            return Err(reason);
        }
        match (self.provider)(&beside) {
            Ok(text) => Ok((beside, text)),
            Err(_) => Err(reason),
        }
    }
}

/// `3 errors (M0002 and M0301)`.
fn summary(diagnostics: &[Diagnostic]) -> String {
    let mut codes: Vec<&str> =
        diagnostics.iter().filter(|found| found.is_error()).map(|found| found.code.0).collect();
    let count = codes.len();
    codes.sort_unstable();
    codes.dedup();
    let codes = list_words(&codes, 4).replace(" or ", " and ");
    format!("{count} {} ({codes})", if count == 1 { "error" } else { "errors" })
}

/// A message without the path in front that says where in a file it is: a machine of one line has no such places.
fn without_path(message: &str) -> &str {
    message.split_once(": ").filter(|(path, _)| !path.contains(' ')).map_or(message, |(_, rest)| rest)
}
