//! [`Context`]: what every step of lowering needs — the text, the parts, and where problems go.

use std::ops::{Deref, DerefMut};

use crate::catalogue::{Catalogue, kind_word};
use crate::codes;
use crate::file::Leaf;
use crate::load::{FieldReader, Source, Wording, list_words, nearest};
use crate::model::{Fact, Facts};
use crate::part::{CpuLinkPart, CpuPart, DevicePart, InterconnectPart, Part, SwitchPart};

pub(super) use crate::load::Place;

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

/// State of one lowering: a reader of fields that also knows the parts.
pub(super) struct Context<'a> {
    pub reader: FieldReader<'a>,
    pub catalogue: Catalogue,
}

impl<'a> Context<'a> {
    /// A lowering of what was read from `source`.
    pub fn new(source: &'a Source<'a>, catalogue: Catalogue) -> Context<'a> {
        // Values of machines are numbers and short words: what the field expects says more than what its first
        // character might have been. Only a list of choices is better.
        let advise_whole = |code| code != codes::UNKNOWN_VARIANT;
        let wording = Wording { missing_field: codes::MISSING_FIELD, advise_whole };
        Context { reader: FieldReader { source, diagnostics: Vec::new(), wording }, catalogue }
    }
}

impl<'a> Deref for Context<'a> {
    type Target = FieldReader<'a>;

    fn deref(&self) -> &FieldReader<'a> {
        &self.reader
    }
}

impl<'a> DerefMut for Context<'a> {
    fn deref_mut(&mut self) -> &mut FieldReader<'a> {
        &mut self.reader
    }
}

impl Context<'_> {
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
