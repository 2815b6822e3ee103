//! The catalogue of diagnostic codes: what each means, with a wrong and a right example.
//!
//! `peerbus explain CODE` prints an entry. Codes are stable: a code is never used for something else, and a
//! retired one is not given away again. M00xx: reading a text; M01xx: structure and references; M02xx: parts;
//! M03xx: links and ports; M04xx: functions; M05xx: address windows and memory; M06xx: numbering; M07xx:
//! synthetic machines. The tests load every example: the wrong one yields the code, the right one nothing.

use crate::diagnostic::Code;

/// Declares a catalogue: a constant for each code, and all entries as `ENTRIES`, in the order given, which is that of
/// the codes. An entry is `NAME "CODE" "title" "explanation" wrong "input" right "input";`.
#[macro_export]
macro_rules! code_entries {
    ($($name:ident $code:literal $title:literal $explanation:literal wrong $wrong:literal right $right:literal;)*) => {
        $(#[doc = $title] pub const $name: $crate::Code = $crate::Code($code);)*

        /// All entries, in order of their codes.
        pub const ENTRIES: &[$crate::codes::Entry] = &[
            $($crate::codes::Entry {
                code: $name, title: $title, explanation: $explanation, wrong: $wrong, right: $right,
            },)*
        ];
    };
}

mod entries;

pub use entries::*;

/// One entry of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The code.
    pub code: Code,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// Why it is wrong, and what the rule is.
    pub explanation: &'static str,
    /// An input that has the problem.
    pub wrong: &'static str,
    /// The same, put right.
    pub right: &'static str,
}

/// The entry of `code`, in upper or lower case.
pub fn explain(code: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.code.0.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        assert!(ENTRIES.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(explain("m0101").is_some_and(|entry| entry.code == MISSING_FIELD));
        assert!(explain("M9999").is_none());
    }

    #[test]
    fn every_entry_teaches() {
        for entry in ENTRIES {
            assert!(!entry.title.is_empty() && entry.explanation.len() > 30, "{}", entry.code);
            assert_ne!(entry.wrong, entry.right, "{}", entry.code);
        }
    }
}
