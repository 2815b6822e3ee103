//! Importers: from what other programs write about a real machine to a machine file.
//!
//! An importer keeps every fact its source states and adds what the source leaves out but a PCI hierarchy
//! needs. What it adds is marked in the file it produces (`inserted`, `assumed`), and what it chose or changed is
//! told in [`Note`]s, one line each. It looks nothing up but parts, reads no file and never fails half-way: the
//! result is either a whole machine file or everything that is wrong with the input.

pub mod codes;
mod cpu_link;
mod listing_codes;
pub mod live;
mod lspci;
mod nccl;
mod text;

use std::collections::BTreeMap;
use std::fmt;

use crate::file;

pub use live::live;
pub use lspci::{Capture, Identity, Processor, Text, lspci};
pub use nccl::nccl;
pub use text::to_ron;

/// What an importer makes of its input.
#[derive(Clone, Debug)]
pub struct Import {
    /// The machine as a file states it.
    pub machine: file::Machine,
    /// What was assumed or changed, in the order of the machine file.
    pub notes: Vec<Note>,
}

/// One thing an importer assumed or changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// What it is about: a function, a device, a CPU, or the file.
    pub subject: String,
    /// What was done, and why.
    pub text: String,
}

impl Note {
    fn new(subject: impl fmt::Display, text: impl Into<String>) -> Note {
        Note { subject: subject.to_string(), text: text.into() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.text)
    }
}

/// Notes with the same text as one, in order of first appearance.
fn merged(notes: Vec<Note>) -> Vec<Note> {
    let mut merged: Vec<Note> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for note in notes {
        match places.get(&note.text) {
            Some(place) => merged[*place].subject = format!("{}, {}", merged[*place].subject, note.subject),
            None => {
                places.insert(note.text.clone(), merged.len());
                merged.push(note);
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests;
