//! Importers: from what other programs write about a real machine to a machine file.
//!
//! An importer keeps every fact its source states and adds what the source leaves out but a PCI hierarchy
//! needs. What it adds is marked in the file it produces (`inserted`, `assumed`), and what it chose or changed is
//! told in [`Note`]s, one line each. It looks nothing up but parts, reads no file and never fails half-way: the
//! result is either a whole machine file or everything that is wrong with the input.

mod nccl;
mod text;

use std::fmt;

use crate::diagnostic::Code;
use crate::file;

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

/// The input is not well-formed XML.
pub const MALFORMED: Code = Code("I0001");
/// The input is well-formed, but not a topology.
pub const NOT_A_TOPOLOGY: Code = Code("I0002");
/// An element lacks an attribute that nothing can stand in for.
pub const MISSING: Code = Code("I0003");
/// An attribute's value means nothing.
pub const BAD_VALUE: Code = Code("I0004");
/// Two elements name the same function.
pub const DUPLICATE: Code = Code("I0005");
/// An element stands where it cannot.
pub const MISPLACED: Code = Code("I0006");
/// Elements are nested more deeply than PCI hierarchies are.
pub const TOO_DEEP: Code = Code("I0007");
/// The bus numbers leave no room for the functions between those that are listed.
pub const NO_ROOM: Code = Code("I0008");
/// The input describes no PCI function.
pub const EMPTY: Code = Code("I0009");

/// Every code of the importers with a longer explanation, for `peerbus explain`.
pub const CODES: [(Code, &str); 9] = [
    (MALFORMED, "The file is not well-formed XML: a tag is not closed, an attribute has no value, or the file is cut off."),
    (
        NOT_A_TOPOLOGY,
        "The file is XML, but not an NCCL topology: its first element is not <system>. NCCL writes the topology to the file \
         named by NCCL_TOPO_DUMP_FILE; NCCL_GRAPH_DUMP_FILE names the file for the channels it found, which say nothing about \
         PCI functions.",
    ),
    (MISSING, "An element lacks an attribute that nothing can stand in for, such as the busid of a PCI function."),
    (BAD_VALUE, "An attribute's value is not of the form NCCL writes: a bus id, a hexadecimal number, a link speed, a width."),
    (DUPLICATE, "Two elements have the same bus id. Every PCI function appears once."),
    (MISPLACED, "An element stands where it cannot: PCI functions below one that is not a bridge, or outside any <cpu>."),
    (TOO_DEEP, "Bridges are nested more deeply than the bus numbers of one PCI domain allow in practice."),
    (
        NO_ROOM,
        "NCCL lists a device and every second bridge above it: the upstream ports of switches. Root ports and switch downstream \
         ports are left out and must be put back, and each needs a bus number between those of its neighbours. The bus ids in \
         the file leave no such number, or put a function below a bridge that cannot lead to its bus.",
    ),
    (EMPTY, "The topology lists no PCI function."),
];
