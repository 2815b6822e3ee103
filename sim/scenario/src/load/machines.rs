//! The machines a scenario names: read once each, however many variants use them.

use std::collections::BTreeMap;
use std::sync::Arc;

use peerbus_machine::diagnostic::any_error;
use peerbus_machine::{Catalogue, Machine, load_machine};

use super::context::{Context, Place};
use crate::codes;

/// Reads the text of a file, by a path as written in a scenario. The error says why it cannot.
pub type Provider<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// Machines by the name they have in the scenario; `None` for those that cannot be used.
pub(super) struct Machines<'a> {
    provider: &'a Provider<'a>,
    catalogue: &'a Catalogue,
    /// Folder of the scenario file with its last `/`, or nothing.
    folder: &'a str,
    known: BTreeMap<String, Option<Arc<Machine>>>,
}

impl<'a> Machines<'a> {
    pub fn new(provider: &'a Provider<'a>, catalogue: &'a Catalogue, scenario_file: &'a str) -> Machines<'a> {
        let folder = scenario_file.rfind('/').map_or("", |slash| &scenario_file[..=slash]);
        Machines { provider, catalogue, folder, known: BTreeMap::new() }
    }

    /// The machine called `name` at `place`; what is wrong with it is reported where it is first named.
    pub fn get(&mut self, context: &mut Context<'_>, name: &str, place: &Place) -> Option<Arc<Machine>> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let machine = self.read(context, name, place).map(Arc::new);
        self.known.insert(name.to_owned(), machine.clone());
        machine
    }

    fn read(&self, context: &mut Context<'_>, name: &str, place: &Place) -> Option<Machine> {
        let (path, text) = match self.text(name) {
            Ok(found) => found,
            Err(reason) => {
                let help = "paths are seen from where the program runs, or else from the scenario file";
                context.error(codes::MACHINE_MISSING, place, format!("cannot read `{name}`: {reason}"), help);
                return None;
            }
        };
        let (machine, diagnostics) = load_machine(&text, &path, self.catalogue);
        let broken = machine.is_none() || any_error(&diagnostics);
        if broken {
            let errors = diagnostics.iter().filter(|found| found.is_error()).count();
            let message = format!("`{name}` cannot be used: it has {errors} {}", if errors == 1 { "error" } else { "errors" });
            context.error(codes::MACHINE_BROKEN, place, message, format!("mend {path}; `peerbus check` shows it"));
        }
        context.diagnostics.extend(diagnostics);
        machine.filter(|_| !broken)
    }

    /// The path that could be read, and its text.
    fn text(&self, name: &str) -> Result<(String, String), String> {
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
