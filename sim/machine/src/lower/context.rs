//! [`Context`]: what every step of lowering needs — the text, the parts, and where problems go.

use serde::de::DeserializeOwned;

use crate::catalogue::{Catalogue, kind_word};
use crate::codes;
use crate::diagnostic::{Code, Diagnostic};
use crate::file::Leaf;
use crate::load::{Path, Source, Step, list_words, nearest};
use crate::model::{Fact, Facts};
use crate::part::{CpuLinkPart, CpuPart, DevicePart, InterconnectPart, Part, SwitchPart};

/// Where something stands in the file: fields and indices from the top.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Place(Vec<Step>);

impl Place {
    /// The field `name` of this.
    pub fn field(&self, name: &'static str) -> Place {
        self.then(Step::Field(name))
    }

    /// The element `index` of this list.
    pub fn index(&self, index: usize) -> Place {
        self.then(Step::Index(index))
    }

    /// The element `index` of the list `name`.
    pub fn element(&self, name: &'static str, index: usize) -> Place {
        self.field(name).index(index)
    }

    fn then(&self, step: Step) -> Place {
        let mut steps = self.0.clone();
        steps.push(step);
        Place(steps)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Path(&self.0).fmt(f)
    }
}

/// A kind of part that lowering looks up by id.
pub(super) trait Lookup: Sized {
    /// The part, if it is of this kind.
    fn of(part: &Part) -> Option<&Self>;
    /// The kind in words, with its article.
    const KIND: &'static str;
}

macro_rules! lookup {
    ($($part:ident $variant:ident $kind:literal)*) => {
        $(impl Lookup for $part {
            fn of(part: &Part) -> Option<&$part> {
                if let Part::$variant(part) = part { Some(part) } else { None }
            }
            const KIND: &'static str = $kind;
        })*
    };
}

lookup! {
    CpuPart Cpu "CPU"
    SwitchPart Switch "switch"
    DevicePart Device "device"
    CpuLinkPart CpuLink "CPU link"
    InterconnectPart Interconnect "interconnect"
}

/// State of one lowering.
pub(super) struct Context<'a> {
    pub source: &'a Source<'a>,
    pub catalogue: Catalogue,
    pub diagnostics: Vec<Diagnostic>,
}

impl Context<'_> {
    /// Adds an error about what stands at `place`.
    pub fn error(&mut self, code: Code, place: &Place, message: String, help: impl Into<String>) {
        let found = self.source.diagnostic_at(code, &place.0, message).help(help);
        self.diagnostics.push(found);
    }

    /// Adds a warning about what stands at `place`.
    pub fn warning(&mut self, code: Code, place: &Place, message: String, help: impl Into<String>) {
        let found = self.source.diagnostic_at(code, &place.0, message).help(help).warning();
        self.diagnostics.push(found);
    }

    /// True when something at or below `place` was left out while reading, so that its absence proves nothing.
    pub fn incomplete(&self, place: &Place) -> bool {
        self.source.incomplete(&place.0)
    }

    /// True when the field `name` of what stands at `place` was left out while reading.
    pub fn left_out(&self, place: &Place, name: &str) -> bool {
        self.source.left_out(&place.0, name)
    }

    /// The value of a leaf at `place`. Reports a value that was not understood; `expected` says what is.
    pub fn read<T: DeserializeOwned + Clone>(
        &mut self,
        leaf: &Leaf<T>,
        place: &Place,
        expected: &str,
    ) -> Option<T> {
        if let Ok(value) = &leaf.value {
            return Some(value.clone());
        }
        let (value, mut problems) = self.source.explain(leaf, &place.0);
        for problem in problems.iter_mut().filter(|problem| problem.code != codes::UNKNOWN_VARIANT) {
            if !expected.is_empty() {
                problem.help = Some(format!("write {expected}"));
            }
        }
        self.diagnostics.extend(problems);
        // What remains of a structure after leaving out its wrong fields is not what was meant.
        drop(value);
        None
    }

    /// The value of the optional field `name` of what stands at `place`.
    pub fn take<T: DeserializeOwned + Clone>(
        &mut self,
        leaf: &Option<Leaf<T>>,
        place: &Place,
        name: &'static str,
        expected: &str,
    ) -> Option<T> {
        let leaf = leaf.as_ref()?;
        self.read(leaf, &place.field(name), expected)
    }

    /// The required field `name` of what stands at `place`; reports its absence.
    pub fn require_leaf<'f, T>(
        &mut self,
        leaf: &'f Option<Leaf<T>>,
        place: &Place,
        name: &'static str,
        expected: &str,
    ) -> Option<&'f Leaf<T>> {
        if leaf.is_none() && !self.left_out(place, name) {
            let message = format!("field `{name}` is missing");
            let found = self.source.diagnostic_at(codes::MISSING_FIELD, &place.0, message);
            let found = found
                .label(format!("`{name}` is missing here"))
                .help(format!("add `{name}:` with {expected}"));
            self.diagnostics.push(found);
        }
        leaf.as_ref()
    }

    /// The value of the required field `name` of what stands at `place`.
    pub fn require<T: DeserializeOwned + Clone>(
        &mut self,
        leaf: &Option<Leaf<T>>,
        place: &Place,
        name: &'static str,
        expected: &str,
    ) -> Option<T> {
        self.require_leaf(leaf, place, name, expected)?;
        self.take(leaf, place, name, expected)
    }

    /// The facts listed in `assumed` of what stands at `place`.
    pub fn facts(&mut self, leaves: &[Leaf<Fact>], place: &Place) -> Facts {
        let read = |(index, leaf)| self.read(leaf, &place.element("assumed", index), "");
        leaves.iter().enumerate().filter_map(read).collect()
    }

    /// The part that the required field `part` of what stands at `place` names.
    pub fn part<P: Lookup + Clone>(&mut self, leaf: &Option<Leaf<String>>, place: &Place) -> Option<P> {
        let expected = format!("the id of a {} part", P::KIND);
        let id = self.require(leaf, place, "part", &expected)?;
        let found = self.catalogue.find(&id).map(|part| (P::of(part).cloned(), kind_word(part)));
        match found {
            Some((Some(part), _)) => return Some(part),
            Some((None, kind)) => {
                let message = format!("`{id}` is a {kind} part, not a {} part", P::KIND);
                let below = ["switch", "device"].contains(&P::KIND);
                let help = match kind {
                    "switch" if below => {
                        "a switch stands below a port: `below: Switch(part: …, ports: […])`".to_owned()
                    }
                    "device" if below => "a device stands below a port: `below: Device(part: …)`".to_owned(),
                    _ => self.part_help::<P>(&id),
                };
                self.error(codes::WRONG_PART_KIND, &place.field("part"), message, help);
            }
            // The part may be among those that were not understood.
            None if self.incomplete(&Place::default().field("parts")) => {}
            None => {
                let message = format!("there is no part `{id}`");
                let help = self.part_help::<P>(&id);
                self.error(codes::UNKNOWN_PART, &place.field("part"), message, help);
            }
        }
        None
    }

    fn part_help<P: Lookup>(&self, id: &str) -> String {
        let ids: Vec<&str> =
            self.catalogue.parts().iter().filter(|part| P::of(part).is_some()).map(Part::id).collect();
        let list = format!("{} parts: {}", P::KIND, list_words(&ids, 30).replace(" or ", ", "));
        match nearest(id, ids.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? {list}"),
            None => list,
        }
    }
}
