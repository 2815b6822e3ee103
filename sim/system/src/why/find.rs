//! From what a person writes to a function: an address, a device's name, a path, or enough of one.

use std::fmt;

use peerbus_machine::Machine;
use peerbus_machine::load::{list_words, nearest};
use peerbus_machine::model::FunctionIndex;
use peerbus_units::FunctionId;

use crate::boot::Booted;

/// Why a text names no function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FindError {
    /// Nothing is called that.
    Unknown {
        /// The text.
        given: String,
        /// The name most like it.
        nearest: Option<String>,
        /// Some names there are.
        names: Vec<String>,
    },
    /// Several functions are.
    Ambiguous {
        /// The text.
        given: String,
        /// Their paths.
        paths: Vec<String>,
    },
    /// The function is there, but the operating system does not find it.
    NotReached {
        /// Its path.
        path: String,
    },
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FindError::Unknown { given, .. } => write!(f, "no function is called `{given}`"),
            FindError::Ambiguous { given, paths } => {
                write!(f, "`{given}` may be any of {} functions", paths.len())
            }
            FindError::NotReached { path } => write!(f, "the operating system does not find `{path}`"),
        }
    }
}

impl std::error::Error for FindError {}

impl FindError {
    /// What to write instead.
    pub fn help(&self) -> String {
        match self {
            FindError::Unknown { nearest: Some(name), .. } => format!("did you mean `{name}`?"),
            FindError::Unknown { names, .. } => format!(
                "write a device such as {}, a path such as `host0/rp1/sw0/gpu2`, or an address such as `0000:01:00.0`",
                list_words(names, 6)
            ),
            FindError::Ambiguous { paths, .. } => format!("write one of {}", list_words(paths, 6)),
            FindError::NotReached { .. } => {
                "it has no bus number: `peerbus plan` shows which functions are reached".to_owned()
            }
        }
    }
}

/// The function that `text` names: by bus, device and function (`0000:01:00.0`, `01:00.0`), by a device's short name
/// (`gpu2`, its first function), or by the last element of its path, with as many of the elements above it, in order, as it
/// takes to tell it from others (`gpu2.1`, `sw0/p2`, `host0/rp1/sw0/gpu2`).
///
/// # Errors
///
/// Nothing or more than one function is called that, or the operating system does not find it.
pub fn find(machine: &Machine, booted: &Booted, text: &str) -> Result<FunctionIndex, FindError> {
    let found =
        by_address(booted, text).or_else(|| machine.device(text).map(|at| machine.devices[at].functions[0]));
    let function = match found {
        Some(function) => function,
        None => by_path(machine, text)?,
    };
    match booted.os_function(function) {
        Some(_) => Ok(function),
        None => Err(FindError::NotReached { path: machine.functions[function].name.clone() }),
    }
}

fn by_address(booted: &Booted, text: &str) -> Option<FunctionIndex> {
    let id: FunctionId = text.parse().ok()?;
    booted.registers.at(id)
}

fn by_path(machine: &Machine, text: &str) -> Result<FunctionIndex, FindError> {
    let path = |index: &FunctionIndex| machine.functions[*index].name.as_str();
    if let Some(exact) = machine.functions.node_indices().find(|index| path(index) == text) {
        return Ok(exact);
    }
    let matching: Vec<FunctionIndex> =
        machine.functions.node_indices().filter(|index| abbreviates(text, path(index))).collect();
    match matching.as_slice() {
        [one] => Ok(*one),
        [] => Err(unknown(machine, text)),
        several => Err(FindError::Ambiguous {
            given: text.to_owned(),
            paths: several.iter().map(|index| path(index).to_owned()).collect(),
        }),
    }
}

/// True when the elements of `text` are among those of `path`, in order, and end with its last.
fn abbreviates(text: &str, path: &str) -> bool {
    let mut above = path.split('/').rev();
    let mut wanted = text.split('/').rev();
    let last = wanted.next();
    last == above.next() && wanted.all(|element| above.any(|found| found == element))
}

fn unknown(machine: &Machine, given: &str) -> FindError {
    let devices: Vec<&str> = machine.devices.iter().map(|device| device.name.as_str()).collect();
    let paths = machine.functions.node_weights().map(|function| function.name.as_str());
    // Who writes a path means a path.
    let device = if given.contains('/') { None } else { nearest(given, devices.iter().copied()) };
    let like = device.or_else(|| nearest(given, paths));
    FindError::Unknown {
        given: given.to_owned(),
        nearest: like.map(str::to_owned),
        names: devices.iter().map(|name| format!("`{name}`")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_leave_elements_out() {
        let path = "host0/rp1/sw0/p2/gpu2";
        for text in [path, "gpu2", "sw0/gpu2", "host0/rp1/sw0/gpu2", "p2/gpu2", "host0/gpu2"] {
            assert!(abbreviates(text, path), "{text}");
        }
        for text in ["sw0", "gpu", "rp0/gpu2", "sw0/rp1/gpu2", "", "/gpu2", "host0/rp1/sw0/p2"] {
            assert!(!abbreviates(text, path), "{text}");
        }
    }
}
