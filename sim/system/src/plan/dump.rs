//! The registers of a booted machine as `lspci` prints and reads them.
//!
//! `lspci -xxxx` writes a heading and rows of sixteen bytes for each function, and `lspci -F FILE` reads them back as if
//! they were a machine: its tree, its links and its addresses are then shown by a program that knows nothing of ours.

use std::fmt::{self, Write};

use peerbus_machine::Machine;
use peerbus_units::FunctionId;

use crate::boot::Booted;

/// Bytes of a function without PCI Express.
const CONVENTIONAL: usize = 256;

/// Every function that answers, in order of bus, with all of its configuration space. Ends with a newline.
pub fn render_dump(machine: &Machine, booted: &Booted) -> String {
    let mut out = String::new();
    let mut functions: Vec<_> =
        booted.registers.functions().filter_map(|index| Some((booted.registers.id(index)?, index))).collect();
    functions.sort_unstable_by_key(|(id, _)| *id);
    for (id, index) in functions {
        let bytes = booted.registers.bytes(index);
        let extended = bytes[CONVENTIONAL..].iter().any(|byte| *byte != 0);
        let shown = if extended { bytes } else { &bytes[..CONVENTIONAL] };
        let function = &machine.functions[index];
        let heading = Heading {
            id,
            class: function.class,
            pci: (function.pci.vendor, function.pci.device),
            revision: function.config.revision,
        };
        let written = write_function(&mut out, &heading, shown);
        assert!(written.is_ok(), "writing to a string cannot fail");
    }
    out
}

/// The line above a function's bytes.
struct Heading {
    id: FunctionId,
    class: u32,
    pci: (u16, u16),
    revision: u8,
}

fn write_function(out: &mut String, heading: &Heading, bytes: &[u8]) -> fmt::Result {
    let Heading { id, class, pci, revision } = heading;
    write!(out, "{id} {:04x}: {:04x}:{:04x}", class >> 8, pci.0, pci.1)?;
    if *revision != 0 {
        write!(out, " (rev {revision:02x})")?;
    }
    writeln!(out)?;
    for (row, bytes) in bytes.chunks(16).enumerate() {
        write!(out, "{:02x}:", 16 * row)?;
        for byte in bytes {
            write!(out, " {byte:02x}")?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}
