//! Lines of capabilities: what `lspci` prints between `Capabilities: [54] Express …` and the next one.

use peerbus_units::Bytes;

use super::facts::{Express, Link, port_type};
use super::source::between;

/// The bits of ACS words by the names `lspci` gives them, lowest first.
const ACS_BITS: [&str; 7] =
    ["SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans"];

/// Speeds by generation.
const SPEEDS: [(&str, u8); 11] = [
    ("2.5GT/s", 1),
    ("5GT/s", 2),
    ("5.0GT/s", 2),
    ("8GT/s", 3),
    ("8.0GT/s", 3),
    ("16GT/s", 4),
    ("32GT/s", 5),
    ("64GT/s", 6),
    ("128GT/s", 7),
    // Until 2007.
    ("2.5Gb/s", 1),
    ("5Gb/s", 2),
];

/// Port types by the words of `lspci`; longer ones first where one begins like another.
const PORTS: [(&str, u8); 11] = [
    ("Endpoint", port_type::ENDPOINT),
    ("Legacy Endpoint", port_type::LEGACY_ENDPOINT),
    ("Root Port", port_type::ROOT_PORT),
    ("Upstream Port", port_type::UPSTREAM),
    ("Downstream Port", port_type::DOWNSTREAM),
    ("PCI-Express to PCI/PCI-X Bridge", port_type::TO_CONVENTIONAL),
    ("PCI/PCI-X to PCI-Express Bridge", port_type::FROM_CONVENTIONAL),
    ("PCI-E to PCI/PCI-X Bridge", port_type::TO_CONVENTIONAL),
    ("PCI/PCI-X to PCI-E Bridge", port_type::FROM_CONVENTIONAL),
    ("Root Complex Integrated Endpoint", port_type::INTEGRATED),
    ("Root Complex Event Collector", port_type::EVENT_COLLECTOR),
];

/// The capability of `Express (v2) Root Port (Slot+), MSI 00`; `None` for another capability.
pub fn express(text: &str) -> Option<Express> {
    let text = text.strip_prefix("Express ")?;
    let (version, text) = match text.strip_prefix("(v") {
        Some(rest) => {
            let (version, rest) = rest.split_once(") ")?;
            (version.parse().ok(), rest)
        }
        None => (None, text),
    };
    let (_, port) = PORTS.iter().find(|(words, _)| text.starts_with(words))?;
    Some(Express { port: *port, version, slot: text.contains("(Slot+)"), ..Express::default() })
}

/// Whether `name` stands in `text` with a plus or with a minus.
pub fn flag(text: &str, name: &str) -> Option<bool> {
    text.match_indices(name).find_map(|(at, _)| {
        let whole = !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        match text[at + name.len()..].chars().next() {
            Some('+') if whole => Some(true),
            Some('-') if whole => Some(false),
            _ => None,
        }
    })
}

/// The word of `SrcValid+ TransBlk- …`; `None` when no bit is named.
pub fn acs_word(text: &str) -> Option<u16> {
    let mut word = None;
    for (bit, name) in ACS_BITS.iter().enumerate() {
        if let Some(set) = flag(text, name) {
            word = Some(word.unwrap_or(0) | u16::from(set) << bit);
        }
    }
    word
}

/// Speed and width of `Speed 16GT/s (downgraded), Width x16`; `None` where either is unknown.
pub fn link(text: &str) -> Option<Link> {
    let speed = between(text, "Speed ", &[',', ' '])?;
    let width = between(text, "Width x", &[',', ' ', '\t'])?;
    let (_, generation) = SPEEDS.iter().find(|(words, _)| *words == speed)?;
    Some(Link { generation: *generation, lanes: width.parse().ok()? })
}

/// The size of `MaxPayload 256 bytes`, by the word before it.
pub fn transfer_size(text: &str, name: &str) -> Option<Bytes> {
    let number: u64 = between(text, name, &[' ', ',', '\t'])?.parse().ok()?;
    let possible = number.is_power_of_two() && (128..=4096).contains(&number);
    possible.then_some(Bytes(number))
}

/// The number behind `name` in `Initial VFs: 16, Total VFs: 16`.
pub fn number(text: &str, name: &str) -> Option<u16> {
    between(text, name, &[',', ' '])?.parse().ok()
}

/// Register and sizes of `BAR 1: current size: 64GB, supported: 64MB 128MB`; bit n of the sizes means 2^n MiB.
pub fn resizable(text: &str) -> Option<(u8, u64)> {
    let index = between(text, "BAR ", &[':'])?.parse::<u8>().ok().filter(|index| *index < 6)?;
    let (_, list) = text.split_once("supported:")?;
    let bit = |word: &str| {
        let size = super::region::parse_size(word).filter(|size| size.is_power_of_two())?;
        size.0.trailing_zeros().checked_sub(20).filter(|bit| *bit < 44)
    };
    let bits = list.split_whitespace().filter_map(bit).fold(0u64, |bits, bit| bits | 1 << bit);
    (bits != 0).then_some((index, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_types() {
        let port = |text| express(text).map(|found| (found.port, found.version, found.slot));
        assert_eq!(port("Express (v2) Root Port (Slot+), MSI 00"), Some((4, Some(2), true)));
        assert_eq!(port("Express Endpoint, MSI 00"), Some((0, None, false)));
        assert_eq!(port("Express (v1) PCI-Express to PCI/PCI-X Bridge, MSI 00"), Some((7, Some(1), false)));
        assert_eq!(port("Express (v2) Legacy Endpoint, MSI 00"), Some((1, Some(2), false)));
        assert_eq!(port("MSI: Enable+"), None);
    }

    #[test]
    fn words_and_links() {
        let text = "ACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-";
        assert_eq!(acs_word(text), Some(0x1d));
        assert_eq!(acs_word("nothing here"), None);
        assert_eq!(flag("Cap+ 66MHz-", "Cap"), Some(true));
        assert_eq!(flag("I/O- Mem+", "Mem"), Some(true));
        let found = |text| link(text).map(|link| (link.generation, link.lanes));
        assert_eq!(found("LnkSta:\tSpeed 2.5GT/s (downgraded), Width x16 (ok)"), Some((1, 16)));
        assert_eq!(found("LnkCap:\tPort #0, Speed 16GT/s, Width x32, ASPM L0s"), Some((4, 32)));
        assert_eq!(found("LnkCap: Port #0, Speed unknown, Width x0"), None);
        assert_eq!(
            transfer_size("MaxPayload 256 bytes, MaxReadReq 512 bytes", "MaxReadReq "),
            Some(Bytes(512))
        );
        assert_eq!(transfer_size("MaxPayload 100 bytes", "MaxPayload "), None);
        assert_eq!(resizable("BAR 1: current size: 64GB, supported: 64MB 128MB 1GB"), Some((1, 0x4c0)));
    }
}
