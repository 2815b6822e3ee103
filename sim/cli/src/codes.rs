//! Codes of what can be wrong with a file before anything is read in it (C0001, C0002), what can be wrong with a name on the
//! command line (C0003), and the way to the
//! entries of all codes.

use peerbus_machine::codes::Entry;
use peerbus_machine::{Code, import};

/// The file cannot be read at all.
pub const UNREADABLE: Code = Code("C0001");
/// The file is not text.
pub const NOT_TEXT: Code = Code("C0002");

/// A name on the command line that stands for no function of the machine, or for several.
pub const NO_SUCH_FUNCTION: Code = Code("C0003");

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
    Entry {
        code: NO_SUCH_FUNCTION,
        title: "No function, or more than one, has this name",
        explanation: "A function is named by its address (`0000:01:00.0`, or `01:00.0` in domain 0), by the short name of \
                      its device, or by its path as `peerbus plan` shows it. Of a path, elements may be left out as long \
                      as the last one is there and only one function fits.",
        wrong: "peerbus p2p 1rc:1sw:2gpu --why gpu0 gpu7",
        right: "peerbus p2p 1rc:1sw:2gpu --why gpu0 gpu1",
    },
];

/// The entry of `code`, in upper or lower case, whichever crate it belongs to.
pub fn explain(code: &str) -> Option<&'static Entry> {
    let of_captures = import::codes::ENTRIES.iter().chain(import::codes::LISTING_ENTRIES);
    let others = of_captures.chain(peerbus_system::replay::codes::ENTRIES).chain(ENTRIES);
    peerbus_scenario::codes::explain(code)
        .or_else(|| others.into_iter().find(|entry| entry.code.0.eq_ignore_ascii_case(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_is_asked() {
        for code in ["C0001", "c0002", "M0001", "i0001", "I0104", "S0101", "r0103"] {
            assert!(explain(code).is_some_and(|entry| entry.code.0.eq_ignore_ascii_case(code)), "{code}");
        }
        assert!(explain("X0001").is_none());
    }
}
