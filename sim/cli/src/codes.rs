//! Codes of what can be wrong with a file before anything is read in it (C0001, C0002), and the way to the
//! entries of all codes.

use peerbus_machine::codes::Entry;
use peerbus_machine::{Code, import};

/// The file cannot be read at all.
pub const UNREADABLE: Code = Code("C0001");
/// The file is not text.
pub const NOT_TEXT: Code = Code("C0002");

/// The entries of this crate, in order of their codes.
pub const ENTRIES: &[Entry] = &[
    Entry {
        code: UNREADABLE,
        title: "The file cannot be read",
        explanation: "The path leads to nothing, to a directory, or to a file that may not be read. Paths are seen from \
                      the folder where the program runs; `-` is standard input.",
        wrong: "peerbus check topologies",
        right: "peerbus check topologies/*.ron",
    },
    Entry {
        code: NOT_TEXT,
        title: "The file is not UTF-8 text",
        explanation: "All files read here are text in UTF-8, of which ASCII is a part. The place named is that of the \
                      first byte that is not; often the whole file is of another kind, such as an archive.",
        wrong: "peerbus check machine.ron.gz",
        right: "peerbus check machine.ron",
    },
];

/// The entry of `code`, in upper or lower case, whichever crate it belongs to.
pub fn explain(code: &str) -> Option<&'static Entry> {
    let others = import::codes::ENTRIES.iter().chain(peerbus_system::replay::codes::ENTRIES).chain(ENTRIES);
    peerbus_scenario::codes::explain(code)
        .or_else(|| others.into_iter().find(|entry| entry.code.0.eq_ignore_ascii_case(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_is_asked() {
        for code in ["C0001", "c0002", "M0001", "i0001", "S0101", "r0103"] {
            assert!(explain(code).is_some_and(|entry| entry.code.0.eq_ignore_ascii_case(code)), "{code}");
        }
        assert!(explain("X0001").is_none());
    }
}
