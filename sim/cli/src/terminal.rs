//! [`Terminal`]: what is said on standard error, and whether colours are used.
//!
//! Nothing here fails: when nobody listens any more, talking is pointless but no error.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

use anstream::{AutoStream, ColorChoice};
use peerbus_machine::Diagnostic;
use peerbus_machine::diagnostic::render;

use crate::args::Color;

/// Texts of files by the names that diagnostics call them.
pub type Sources = BTreeMap<String, String>;

/// An error about which everything has been said already.
#[derive(Clone, Copy, Debug)]
pub struct Reported;

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reported above")
    }
}

impl std::error::Error for Reported {}

/// How to talk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terminal {
    /// Colours on standard output.
    pub answer_color: bool,
    /// Colours on standard error.
    talk_color: bool,
}

impl Terminal {
    /// Decides about colours, from the terminal and the environment where `color` leaves it open.
    pub fn new(color: Color) -> Terminal {
        let used = |auto: ColorChoice| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => auto != ColorChoice::Never,
        };
        Terminal {
            answer_color: used(AutoStream::choice(&std::io::stdout())),
            talk_color: used(AutoStream::choice(&std::io::stderr())),
        }
    }

    /// A line on standard error.
    pub fn say(&self, line: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    /// An error on standard error.
    pub fn error(&self, message: &str) {
        let word = if self.talk_color { "\u{1b}[1;31merror\u{1b}[0m" } else { "error" };
        self.say(&format!("{word}: {message}"));
    }

    /// Diagnostics on standard error.
    pub fn diagnostics(&self, diagnostics: &[Diagnostic], sources: &Sources) {
        let text = render(diagnostics, sources, self.talk_color);
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    /// Diagnostics on standard error, as the error that ends the program.
    pub fn refuse(&self, diagnostics: &[Diagnostic], sources: &Sources) -> anyhow::Error {
        self.diagnostics(diagnostics, sources);
        Reported.into()
    }
}
