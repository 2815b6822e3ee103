//! [`Context`]: what every step of loading needs: the fields of the text, and where problems go.

use std::ops::{Deref, DerefMut};

use peerbus_machine::codes::WRONG_VALUE;
use peerbus_machine::diagnostic::Diagnostic;
use peerbus_machine::load::{FieldReader, Source, Wording};

use crate::replay::codes;

pub(super) use peerbus_machine::load::Place;

/// State of one loading: a reader of fields, to which every file of this folder adds what it lowers.
pub(super) struct Context<'a>(pub FieldReader<'a>);

impl<'a> Context<'a> {
    /// A loading of what was read from `source`; reading it found `diagnostics`.
    pub fn new(source: &'a Source<'a>, diagnostics: Vec<Diagnostic>) -> Context<'a> {
        // Many values have fields of their own, whose problems explain themselves.
        let advise_whole = |code| code == WRONG_VALUE;
        let wording = Wording { missing_field: codes::MISSING_FIELD, advise_whole };
        Context(FieldReader { source, diagnostics, wording })
    }
}

impl<'a> Deref for Context<'a> {
    type Target = FieldReader<'a>;

    fn deref(&self) -> &FieldReader<'a> {
        &self.0
    }
}

impl DerefMut for Context<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
