//! The shipped parts: every number has a source, and importers find what they name.

use std::collections::BTreeSet;

use super::catalogue;
use crate::part::Part;

/// Fields that name or describe and hold no number.
const WORDS: [&str; 6] = ["id", "description", "vendor", "kind", "switched", "sources"];

#[test]
fn every_number_names_its_source() {
    for part in catalogue().parts() {
        let value = serde_json::to_value(part).unwrap_or_default();
        let fields = value.as_object().and_then(|variant| variant.values().next()?.as_object());
        let fields: BTreeSet<&str> = fields.into_iter().flatten().map(|(field, _)| field.as_str()).collect();
        let numbers: BTreeSet<&str> = fields.into_iter().filter(|field| !WORDS.contains(field)).collect();
        let sources: BTreeSet<&str> = part.sources().keys().map(String::as_str).collect();
        let missing: Vec<_> = numbers.difference(&sources).collect();
        assert!(missing.is_empty(), "{}: no source for {missing:?}", part.id());
        let empty: Vec<_> = part.sources().iter().filter(|(_, source)| source.trim().len() < 4).collect();
        assert!(empty.is_empty(), "{}: {empty:?}", part.id());
        let extra: Vec<_> = sources.difference(&numbers).filter(|field| !WORDS.contains(field)).collect();
        assert!(extra.is_empty(), "{}: sources for fields it does not have: {extra:?}", part.id());
    }
}

#[test]
fn no_pci_id_belongs_to_two_parts() {
    let mut seen = BTreeSet::new();
    for part in catalogue().parts() {
        let ids = match part {
            Part::Switch(part) => &part.pci,
            Part::Device(part) => &part.pci,
            _ => continue,
        };
        for id in ids {
            assert!(seen.insert(*id), "{}: {id:?} belongs to another part too", part.id());
        }
    }
}

/// Without their own number, buffers must not be what limits a link.
#[test]
fn posted_buffers_cover_half_a_microsecond_of_the_link() {
    for part in catalogue().parts() {
        let (generation, lanes, buffers) = match part {
            Part::Cpu(part) => (part.generation, part.lanes, part.buffers),
            Part::Switch(part) => (part.generation, part.lanes, part.buffers),
            Part::Device(part) => (part.generation, part.lanes, part.buffers),
            _ => continue,
        };
        // Bytes in 500 ns: 8, 16 or 32 GT/s per lane and 128 of 130 bits, so 0.985, 1.969 or 3.938 bytes per ns.
        let bytes = [0, 0, 0, 493, 985, 1969][usize::from(generation)] * u32::from(lanes);
        let posted = buffers.posted;
        assert!(u32::from(posted.data) * 16 >= bytes, "{}: {posted:?} for {bytes} bytes", part.id());
        // The smallest writes worth counting have 64 bytes and 24 of framing.
        assert!(u32::from(posted.header) * 88 >= bytes, "{}: {posted:?} for {bytes} bytes", part.id());
        let infinite = buffers.completion.header == 0 && buffers.completion.data == 0;
        // What passes completions on has no infinite buffer for them: switches, and sides of non-transparent bridges.
        let bridge = matches!(part, Part::Device(part) if part.ntb.is_some());
        assert_eq!(infinite, !bridge && !matches!(part, Part::Switch(_)), "{}", part.id());
    }
}
