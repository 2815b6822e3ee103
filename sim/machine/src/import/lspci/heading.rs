//! The first line of a function: `03:00.0 3D controller [0302]: NVIDIA Corporation GH100 [10de:2330] (rev a1)`.

use peerbus_units::FunctionId;

use super::class;
use super::source::{hex_byte, hex_word};
use crate::part::PciId;

/// What a heading says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heading<'a> {
    /// Where the function is.
    pub id: FunctionId,
    /// Vendor and product in words, unless only numbers are printed.
    pub description: Option<&'a str>,
    /// Vendor and device.
    pub pci: Option<PciId>,
    /// Class code, 24 bits.
    pub class: Option<u32>,
    /// Revision; 0 is not printed.
    pub revision: Option<u8>,
}

/// The heading that `line` is, if it is one.
pub fn heading(line: &str) -> Option<Heading<'_>> {
    let (id, rest) = line.split_once(' ')?;
    let id = function_id(id)?;
    let (class, product) = class_and_product(rest.trim_start())?;
    let (product, interface) = without(product, " (prog-if ");
    let (product, revision) = without(product, " (rev ");
    let interface = interface.and_then(|text| hex_byte(text.get(..2)?)).unwrap_or(0);
    let (product, pci) = product_ids(product.trim_end());
    let class = class.map(|class| u32::from(class) << 8 | u32::from(interface));
    let revision = revision.and_then(|text| hex_byte(text.get(..2)?));
    // Without any parenthesis at all the revision is 0; a cut-off line says nothing.
    let revision = revision.or_else(|| (class.is_some() && pci.is_some()).then_some(0));
    Some(Heading { id, description: product, pci, class, revision })
}

/// `00:1f.2` or `0000:00:1f.2`, and nothing shorter.
pub fn function_id(text: &str) -> Option<FunctionId> {
    let (front, function) = text.rsplit_once('.')?;
    let fields: Vec<&str> = front.split(':').collect();
    let (domain, bus, device) = match fields[..] {
        [bus, device] => (None, bus, device),
        [domain, bus, device] => (Some(domain), bus, device),
        _ => return None,
    };
    let domain_is_well_formed = domain.is_none_or(|domain| (4..=8).contains(&domain.len()));
    let well_formed = bus.len() == 2 && device.len() == 2 && function.len() == 1 && domain_is_well_formed;
    well_formed.then(|| text.parse().ok()).flatten()
}

/// Class code without interface, if known, and what follows the colon.
fn class_and_product(text: &str) -> Option<(Option<u16>, &str)> {
    let (class, product) = match text.split_once(": ") {
        Some(parts) => parts,
        None => (text.strip_suffix(':')?, ""),
    };
    if class.contains(['(', ')', '"', '=']) && !class.contains("FireWire") {
        return None;
    }
    let bracketed = class.strip_suffix(']').and_then(|class| class.rsplit_once('['));
    let number = match bracketed {
        Some((_, number)) => hex_word(number),
        // Before 2007 numbers had the word `Class` in front.
        None => {
            hex_word(class.strip_prefix("Class ").unwrap_or(class)).or_else(|| class::class_by_name(class))
        }
    };
    Some((number, product))
}

/// `text` up to `mark`, and what stands behind it.
fn without<'a>(text: &'a str, mark: &str) -> (&'a str, Option<&'a str>) {
    match text.rfind(mark) {
        Some(at) => (&text[..at], Some(&text[at + mark.len()..])),
        None => (text, None),
    }
}

/// The words of a product and its ids: `Vendor Device [1b36:0005]`, `1b36:0005`, or only words. A revision in
/// parentheses, as trees have it, is left out.
pub fn product(text: &str) -> (Option<&str>, Option<PciId>) {
    product_ids(without(text, " (rev ").0.trim_end())
}

/// The words of a product and its ids: `Vendor Device [1b36:0005]`, `1b36:0005`, or only words.
fn product_ids(text: &str) -> (Option<&str>, Option<PciId>) {
    if let Some(pci) = ids(text) {
        return (None, Some(pci));
    }
    if let Some((words, numbers)) = text.strip_suffix(']').and_then(|text| text.rsplit_once('['))
        && let Some(pci) = ids(numbers)
    {
        return (Some(words.trim_end()).filter(|words| !words.is_empty()), Some(pci));
    }
    let words = Some(text).filter(|text| !text.is_empty());
    (words, words.and_then(ids_of_unnamed))
}

/// `1b36:0005`.
pub fn ids(text: &str) -> Option<PciId> {
    let (vendor, device) = text.split_once(':')?;
    Some(PciId { vendor: hex_word(vendor)?, device: hex_word(device)? })
}

/// A product that the name database lacks is printed as `Device 14a4` behind its vendor's name.
fn ids_of_unnamed(text: &str) -> Option<PciId> {
    let (vendor, rest) = class::vendor_by_name(text)?;
    Some(PciId { vendor, device: hex_word(rest.strip_prefix("Device ")?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Place, vendor and product, class, revision.
    type Facts<'a> = (&'a str, Option<(u16, u16)>, Option<u32>, Option<u8>);

    fn check(line: &str, expected: Option<Facts<'_>>) {
        let found = heading(line).map(|found| {
            let pci = found.pci.map(|pci| (pci.vendor, pci.device));
            (found.id.to_string(), pci, found.class, found.revision)
        });
        let expected = expected.map(|(id, pci, class, revision)| (id.to_owned(), pci, class, revision));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn all_forms_are_read() {
        check(
            "00:1f.2 SATA controller [0106]: Intel Corporation ICH9 [AHCI mode] [8086:2922] (rev 02) (prog-if 01 [AHCI 1.0])",
            Some(("0000:00:1f.2", Some((0x8086, 0x2922)), Some(0x01_0601), Some(2))),
        );
        check(
            "10000:e1:00.0 0108: 8086:0a54",
            Some(("10000:e1:00.0", Some((0x8086, 0x0a54)), Some(0x01_0800), Some(0))),
        );
        check(
            "00:00.0 Host bridge: Advanced Micro Devices, Inc. [AMD] Device 14a4",
            Some(("0000:00:00.0", Some((0x1022, 0x14a4)), Some(0x06_0000), Some(0))),
        );
        check(
            "c1:00.0 VGA compatible controller: NVIDIA Corporation AD102GL [RTX 6000] (rev a1) (prog-if 00 [VGA controller])",
            Some(("0000:c1:00.0", None, Some(0x03_0000), Some(0xa1))),
        );
        check(
            "0000:01:00.0 Class 0300: 10de:0140 (rev a2) (prog-if 00 [VGA])",
            Some(("0000:01:00.0", Some((0x10de, 0x0140)), Some(0x03_0000), Some(0xa2))),
        );
        check("00:00.0 00ff: 1b36:0005", Some(("0000:00:00.0", Some((0x1b36, 5)), Some(0xff00), Some(0))));
        check("00:02.0 Class [0c99]: Device 1234:5678", Some(("0000:00:02.0", None, Some(0x0c_9900), None)));
    }

    #[test]
    fn other_lines_are_no_headings() {
        for line in [
            "",
            "Region 0: Memory at fe000000",
            "00: 86 80",
            "00:20.0 X: y",
            "lspci -s 00:00.0",
            "0:0.0 X: y",
        ] {
            check(line, None);
        }
    }
}
