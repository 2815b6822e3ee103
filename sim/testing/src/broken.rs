//! [`BrokenTexts`]: a file of broken texts, and exactly what is said about each.
//!
//! Per case the file holds `=== ` and the intent, the text, a line `---`, then what is said: the lines of its
//! diagnostics. With PEERBUS_UPDATE set the expectations are written anew; read the difference before committing it.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of cases.
pub struct BrokenTexts(PathBuf);

/// One broken text.
pub struct Case {
    /// What is wrong with it, in words.
    pub intent: String,
    /// The text.
    pub input: String,
    /// What should be said about it.
    pub expected: String,
}

impl BrokenTexts {
    /// The file at `path` of a crate's folder; `folder` is the crate's `CARGO_MANIFEST_DIR`.
    pub fn new(folder: &str, path: &str) -> BrokenTexts {
        BrokenTexts(Path::new(folder).join(path))
    }

    /// All cases, in the order of the file.
    ///
    /// # Panics
    /// When the file is absent or a case of it has another form.
    pub fn cases(&self) -> Vec<Case> {
        let text =
            fs::read_to_string(&self.0).unwrap_or_else(|error| panic!("{}: {error}", self.0.display()));
        text.split("=== ").skip(1).map(case).collect()
    }

    /// The only case whose intent begins with `intent`.
    ///
    /// # Panics
    /// When there is none, or another.
    pub fn case(&self, intent: &str) -> Case {
        let mut found: Vec<Case> =
            self.cases().into_iter().filter(|case| case.intent.starts_with(intent)).collect();
        assert_eq!(found.len(), 1, "cases of the intent {intent}");
        found.remove(0)
    }

    /// Compares what is `said` about every case with what the file expects; there are `least` cases at least.
    ///
    /// # Panics
    /// When anything else is said about a case, or nothing, which shows all such cases.
    pub fn check(&self, least: usize, said: impl Fn(&Case) -> String) {
        let cases = self.cases();
        assert!(cases.len() >= least, "{} cases", cases.len());
        let (mut written, mut wrong) = (String::new(), String::new());
        for case in &cases {
            let said = said(case);
            let Case { intent, input, expected } = case;
            written += &format!("=== {intent}\n{input}\n---\n{said}\n");
            if said.trim_end() != expected || said.is_empty() {
                let found = format!("=== {intent}\n{input}\n--- expected\n{expected}\n--- found\n{said}");
                writeln!(wrong, "{found}").expect("a String takes everything");
            }
        }
        if std::env::var_os("PEERBUS_UPDATE").is_some() {
            fs::write(&self.0, written).unwrap_or_else(|error| panic!("{}: {error}", self.0.display()));
        }
        assert!(wrong.is_empty(), "{wrong}");
    }
}

fn case(text: &str) -> Case {
    let (intent, rest) = text.split_once('\n').expect("a line with the intent");
    let (input, expected) = rest.split_once("\n---\n").expect("a line of dashes");
    Case { intent: intent.to_owned(), input: input.to_owned(), expected: expected.trim_end().to_owned() }
}
