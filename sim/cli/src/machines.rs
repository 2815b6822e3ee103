//! Machines named on the command line or in a scenario: files, or one line that stands for one.
//!
//! A name that is no existing file and has the form of a synthetic machine is one; a file wins over a form.

use std::cell::RefCell;
use std::path::Path;

use peerbus_machine::import::to_ron;
use peerbus_machine::synthetic::{is_synthetic, synthetic};
use peerbus_machine::{Catalogue, Machine, load_machine, lower};

use crate::files;
use crate::terminal::{Sources, Terminal};

/// The machine called `name`; warnings are told, errors too, and end the program.
pub fn machine(name: &Path, terminal: &Terminal) -> anyhow::Result<Machine> {
    let catalogue = Catalogue::embedded();
    let mut sources = Sources::new();
    let (machine, diagnostics) = match form(name) {
        Some(text) => {
            sources.insert("<synthetic>".to_owned(), text.to_owned());
            match synthetic(text) {
                Ok(file) => lower(&file, "", text, &catalogue),
                Err(problem) => (None, vec![problem]),
            }
        }
        None => match files::read_text(name) {
            Ok(text) => {
                let label = files::label(name);
                let read = load_machine(&text, &label, &catalogue);
                sources.insert(label, text);
                read
            }
            Err(problem) => (None, vec![*problem]),
        },
    };
    match machine {
        Some(machine) => {
            terminal.diagnostics(&diagnostics, &sources);
            Ok(machine)
        }
        None => Err(terminal.refuse(&diagnostics, &sources)),
    }
}

/// Gives scenarios the texts of their machines, and remembers them for showing what is wrong with them.
#[derive(Debug, Default)]
pub struct Provider {
    given: RefCell<Sources>,
}

impl Provider {
    /// The text by which the machine called `name` is read: that of the file, or one that says the same as the
    /// synthetic form.
    pub fn text(&self, name: &str) -> Result<String, String> {
        let text = match form(Path::new(name)) {
            Some(form) => synthetic(form).map(|file| to_ron(&file, "")).map_err(Box::new),
            None => files::read_text(Path::new(name)),
        };
        let text = text.map_err(|problem| problem.message)?;
        self.given.borrow_mut().insert(name.to_owned(), text.clone());
        Ok(text)
    }

    /// The texts that were given, by name.
    pub fn into_sources(self) -> Sources {
        self.given.into_inner()
    }
}

/// The synthetic form that `name` is, unless there is a file of that name.
fn form(name: &Path) -> Option<&str> {
    name.to_str().filter(|text| is_synthetic(text) && !name.exists())
}
