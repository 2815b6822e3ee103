//! The shipped parts: readable, possible, and each number with its source.

use std::collections::BTreeSet;

use peerbus_machine::part::{DeviceKind, Part, PciId};
use peerbus_machine::{Catalogue, load};
use peerbus_units::Bytes;
use serde_json::Value;

#[test]
fn every_file_of_parts_is_readable_and_ids_are_unique() {
    let mut ids = BTreeSet::new();
    for (file, text) in Catalogue::files() {
        let (parts, found) = load::parse::<Vec<Part>>(text, file);
        assert_eq!(found, [], "{file}");
        for part in parts.expect("a list of parts") {
            assert!(ids.insert(part.id().to_owned()), "{} is defined twice", part.id());
        }
    }
    assert_eq!(Catalogue::embedded().parts().len(), ids.len());
}

/// Fields that say what the part is called, not what it is like.
const NOT_FACTS: [&str; 6] = ["id", "description", "kind", "vendor", "sources", "switched"];

#[test]
fn every_number_has_a_source() {
    for part in Catalogue::embedded().parts() {
        let Ok(Value::Object(variant)) = serde_json::to_value(part) else {
            panic!("{} is no structure", part.id())
        };
        let fields: BTreeSet<&str> =
            variant.values().filter_map(Value::as_object).flatten().map(|(k, _)| &**k).collect();
        let sources: BTreeSet<&str> = part.sources().keys().map(String::as_str).collect();
        for field in fields.iter().filter(|field| !NOT_FACTS.contains(field)) {
            let source = part.sources().get(*field).map(|source| source.trim());
            assert!(
                source.is_some_and(|source| !source.is_empty()),
                "{}: `{field}` has no source",
                part.id()
            );
        }
        let unknown: Vec<_> = sources.difference(&fields).collect();
        assert!(unknown.is_empty(), "{}: sources for {unknown:?}, which are no fields", part.id());
    }
}

#[test]
fn no_part_is_impossible() {
    for part in Catalogue::embedded().parts() {
        assert_eq!(peerbus_machine::lower::part_problems(part), [], "{}", part.id());
    }
}

#[test]
fn parts_are_found_by_what_importers_know() {
    let catalogue = Catalogue::embedded();
    let a100 = PciId { vendor: 0x10de, device: 0x20b2 };
    assert!(catalogue.device_by_pci(a100).is_some_and(|part| part.id.starts_with("a100")));
    assert!(catalogue.device_by_pci(PciId { vendor: 0x1af4, device: 0xffff }).is_none());
    for (class, kind, expected) in [
        (0x030200, DeviceKind::Gpu, "generic-gpu"),
        (0x038000, DeviceKind::Gpu, "generic-gpu"),
        (0x020700, DeviceKind::Nic, "generic-nic"),
        (0x010802, DeviceKind::Ssd, "generic-ssd"),
        (0x120000, DeviceKind::Gpu, "generic-gpu"),
    ] {
        assert_eq!(
            catalogue.device_by_class(class, kind).map(|part| part.id.as_str()),
            Some(expected),
            "{class:#x}"
        );
    }
    for (vendor, family, model, expected, exact) in [
        ("AuthenticAMD", 0x17, 0x31, "amd-rome", true),
        ("AuthenticAMD", 0x17, 0x32, "amd-rome", false),
        ("GenuineIntel", 6, 0x8f, "intel-sapphire-rapids", true),
        ("ARM", 8, 1, "generic-cpu", false),
    ] {
        let found = catalogue.cpu_by_identity(vendor, family, model).map(|part| part.id.as_str());
        assert_eq!(
            (found, catalogue.knows_cpu(vendor, family, model)),
            (Some(expected), exact),
            "{vendor} {model:#x}"
        );
    }
    let small = catalogue.generic_device(DeviceKind::Gpu, Some(Bytes::gib(1)));
    assert!(small.is_some_and(|part| part.pci.is_empty()));
}
