//! A text with the output of `lspci`, in any of its forms and with anything around it: headings, details, rows of
//! hexadecimal dumps and trees, in any order and from several calls, plain or quoted.
//!
//! Lines that are not understood are none of ours and are passed over; a line whose form is known and whose values
//! mean nothing is reported.

use std::collections::BTreeMap;

use peerbus_units::FunctionId;

use super::details::Details;
use super::dump::{self, Dump};
use super::facts::Facts;
use super::heading::{self, Heading};
use super::source::{Text, unquoted};
use super::tree;
use crate::diagnostic::Diagnostic;
use crate::import::codes;

/// What the texts of one capture say.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// What is said in words, by function.
    pub functions: BTreeMap<FunctionId, Facts>,
    /// What is said in bytes, by function.
    pub dumps: BTreeMap<FunctionId, Dump>,
    /// Root buses that a tree shows.
    pub roots: Vec<(u32, u8)>,
    /// Texts that end in the middle of a line, which is passed over.
    pub cut: Vec<String>,
}

/// Reads `text` into `listing`.
pub fn read(text: Text, listing: &mut Listing, diagnostics: &mut Vec<Diagnostic>) {
    let mut reader = Reader { text, listing, diagnostics, current: None, tree: tree::Reader::default() };
    let mut lines = text.text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_cut = lines.peek().is_none() && !text.text.ends_with('\n');
        reader.line(line, is_cut);
    }
    reader.close();
}

struct Reader<'a, 'l> {
    text: Text<'a>,
    listing: &'l mut Listing,
    diagnostics: &'l mut Vec<Diagnostic>,
    /// The function whose details are being read.
    current: Option<(FunctionId, Details)>,
    tree: tree::Reader,
}

impl<'a> Reader<'a, '_> {
    /// Reads a line. One without an end `is_cut`, maybe in the middle of a number: of its details nothing is taken.
    fn line(&mut self, whole: &'a str, is_cut: bool) {
        if self.tree.line(whole, |found| tree_branch(self.listing, self.text, found)) {
            return;
        }
        let line = unquoted(whole);
        if let Some(heading) = heading::heading(line) {
            self.close();
            self.open(&heading, line);
        } else if is_cut && self.current.is_some() {
            self.listing.cut.push(self.text.name.to_owned());
        } else if let Some((id, details)) = &mut self.current {
            match dump::row(line) {
                Some(Ok(row)) => self.listing.dumps.entry(*id).or_default().add(&row),
                Some(Err(part)) => {
                    let help = "a row has an offset and up to sixteen bytes, as in `10: 0c 00 00 e0 …`";
                    let message = format!("`{part}` does not belong in a row of a dump");
                    self.diagnostics.push(self.text.error(codes::BAD_DUMP, part, message, help));
                }
                None => {
                    let Some(facts) = self.listing.functions.get_mut(id) else { return };
                    if let Err(wrong) = details.line(line, facts) {
                        let message = format!("`{}` means nothing here", wrong.part);
                        let help = format!("expected {}", wrong.expected);
                        self.diagnostics.push(self.text.error(codes::BAD_LINE, wrong.part, message, &help));
                    }
                }
            }
        }
    }

    fn open(&mut self, heading: &Heading, line: &str) {
        let facts = entry(self.listing, self.text, heading.id, line);
        let Heading { description, pci, class, revision, .. } = heading;
        facts.description = facts.description.take().or(description.map(str::to_owned));
        facts.pci = facts.pci.or(*pci);
        facts.class = facts.class.or(*class);
        facts.revision = facts.revision.or(*revision);
        self.current = Some((heading.id, Details::default()));
    }

    fn close(&mut self) {
        if let Some((id, details)) = self.current.take()
            && let Some(facts) = self.listing.functions.get_mut(&id)
        {
            details.finish(facts);
        }
    }
}

/// The facts of a function, new ones when `part` is the first to mention it.
fn entry<'l>(listing: &'l mut Listing, text: Text, id: FunctionId, part: &str) -> &'l mut Facts {
    let place = || (text.name.to_owned(), text.span(part));
    listing.functions.entry(id).or_insert_with(|| Facts::new(id, place()))
}

/// Takes a branch of a tree over.
fn tree_branch(listing: &mut Listing, text: Text, found: tree::Found) {
    match found {
        tree::Found::Root(domain, bus) => listing.roots.push((domain, bus)),
        tree::Found::Function { id, buses, description, part } => {
            let facts = entry(listing, text, id, part);
            facts.buses = facts.buses.or(buses);
            if let Some(description) = description {
                let (words, pci) = heading::product(description);
                facts.description = facts.description.take().or(words.map(str::to_owned));
                facts.pci = facts.pci.or(pci);
            }
        }
    }
}
