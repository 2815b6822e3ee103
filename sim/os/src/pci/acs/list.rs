//! Lists of functions on the command line, of `pci=disable_acs_redir=` and `pci=config_acs=`.
//!
//! ```text
//! disable_acs_redir = devspec *( ";" devspec )
//! config_acs        = bits "@" devspec *( ";" bits "@" devspec )
//! bits              = *( "0" | "1" | "x" | "X" )    right-most is bit 0: SV, then TB RR CR UF EC DT; x leaves a bit
//! devspec           = "pci:" vendor ":" device [ ":" subvendor ":" subdevice ]     hexadecimal, 0 fits any
//!                   | [ domain ":" ] bus ":" dev "." fn *( "/" dev "." fn )    way down from a bridge
//! ```
//!
//! A list is read from its beginning for every function anew and only as far as its first match, so a mistake
//! behind a match is never seen by the functions that match before it.

use core::fmt;

use peerbus_units::FunctionId;

use super::register::AcsWord;
use crate::pci::capability::find_capability;
use crate::pci::regs;
use crate::pci::tree::{FunctionIndex, HeaderType, Tree};
use crate::{ConfigAccess, ConfigSpace};

/// What is wrong with a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcsSyntax {
    /// Bits are not followed by `@`.
    NoAt,
    /// A character before `@` is none of `0`, `1`, `x`, `X`.
    NotABit,
    /// A `0` or `1` stands for a bit above DT.
    TooManyBits,
    /// What should name functions is neither `pci:` with ids nor a path.
    NotAFunction,
}

/// A mistake in a list, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcsSyntaxError {
    /// Byte of the list where the part begins that cannot be read.
    pub at: usize,
    /// What is wrong with it.
    pub kind: AcsSyntax,
}

impl fmt::Display for AcsSyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            AcsSyntax::NoAt => "bits and `@` are missing in front of the function",
            AcsSyntax::NotABit => "a character in front of `@` is none of 0, 1 and x",
            AcsSyntax::TooManyBits => "more than 7 bits are given",
            AcsSyntax::NotAFunction => "this names no function",
        })
    }
}

impl core::error::Error for AcsSyntaxError {}

/// Bits of a control word that a list sets or clears.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AcsBits {
    /// Which bits.
    pub mask: AcsWord,
    /// To what; nothing outside `mask`.
    pub value: AcsWord,
}

impl AcsBits {
    /// `word` with these bits.
    pub fn applied(self, word: AcsWord) -> AcsWord {
        word & !self.mask | self.value
    }
}

/// Whether `list` names `function`.
///
/// # Errors
///
/// A mistake in front of the first match.
pub(super) fn device_list_names(
    list: &str,
    tree: &Tree,
    cs: &impl ConfigSpace,
    function: FunctionIndex,
) -> Result<bool, AcsSyntaxError> {
    for (at, entry) in entries(list) {
        if DeviceSpec::parse(entry, at)?.names(tree, cs, function) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The bits that `list` gives `function`.
///
/// # Errors
///
/// A mistake in front of the first match.
pub(super) fn config_list_bits(
    list: &str,
    tree: &Tree,
    cs: &impl ConfigSpace,
    function: FunctionIndex,
) -> Result<Option<AcsBits>, AcsSyntaxError> {
    for (at, entry) in entries(list) {
        let (bits, spec) = config_entry(entry, at)?;
        if spec.names(tree, cs, function) {
            return Ok(Some(bits));
        }
    }
    Ok(None)
}

/// Reads a whole list of `pci=disable_acs_redir=`.
///
/// # Errors
///
/// The first mistake, also one that a kernel would only meet on some functions.
pub fn check_device_list(list: &str) -> Result<(), AcsSyntaxError> {
    entries(list).try_for_each(|(at, entry)| DeviceSpec::parse(entry, at).map(drop))
}

/// Reads a whole list of `pci=config_acs=`.
///
/// # Errors
///
/// The first mistake, also one that a kernel would only meet on some functions.
pub fn check_config_list(list: &str) -> Result<(), AcsSyntaxError> {
    entries(list).try_for_each(|(at, entry)| config_entry(entry, at).map(drop))
}

/// Parts between semicolons and where they begin. Nothing behind a last semicolon is no part.
fn entries(list: &str) -> impl Iterator<Item = (usize, &str)> {
    let parts = list.split(';').scan(0, |at, entry| {
        let start = *at;
        *at += entry.len() + 1;
        Some((start, entry))
    });
    parts.filter(|(start, _)| *start < list.len())
}

/// `bits@devspec`.
fn config_entry(entry: &str, at: usize) -> Result<(AcsBits, DeviceSpec<'_>), AcsSyntaxError> {
    let error = |kind| AcsSyntaxError { at, kind };
    let end = entry.find(|character| !matches!(character, '0' | '1' | 'x' | 'X'));
    let Some((bits, rest)) = end.and_then(|end| entry.split_at_checked(end)) else {
        return Err(error(AcsSyntax::NoAt));
    };
    let Some(device) = rest.strip_prefix('@') else {
        return Err(error(if rest.contains('@') { AcsSyntax::NotABit } else { AcsSyntax::NoAt }));
    };
    let bits = parse_bits(bits).ok_or(error(AcsSyntax::TooManyBits))?;
    Ok((bits, DeviceSpec::parse(device, at + entry.len() - device.len())?))
}

fn parse_bits(text: &str) -> Option<AcsBits> {
    let mut bits = AcsBits::default();
    for (position, digit) in text.bytes().rev().enumerate().filter(|(_, digit)| matches!(digit, b'0' | b'1'))
    {
        let bit = u32::try_from(position).ok().and_then(|shift| 1u16.checked_shl(shift))?;
        let bit = Some(AcsWord(bit)).filter(|bit| AcsWord::NAMED.contains(*bit))?;
        bits.mask = bits.mask | bit;
        if digit == b'1' {
            bits.value = bits.value | bit;
        }
    }
    Some(bits)
}

/// Which functions a part of a list means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DeviceSpec<'a> {
    /// Vendor, device, subsystem vendor, subsystem device; 0 fits any.
    Ids([u16; 4]),
    /// The elements below a first one, separated by `/`; the last is the function.
    Path { first: FunctionId, below: &'a str },
}

impl<'a> DeviceSpec<'a> {
    fn parse(text: &'a str, at: usize) -> Result<DeviceSpec<'a>, AcsSyntaxError> {
        let spec = match text.strip_prefix("pci:") {
            Some(ids) => parse_ids(ids).map(DeviceSpec::Ids),
            None => DeviceSpec::parse_path(text),
        };
        spec.ok_or(AcsSyntaxError { at, kind: AcsSyntax::NotAFunction })
    }

    fn parse_path(text: &'a str) -> Option<DeviceSpec<'a>> {
        let (first, below) = text.split_once('/').unwrap_or((text, ""));
        let has_end = text.contains('/');
        let valid = !has_end || below.split('/').all(|element| devfn(element).is_some());
        let (numbers, element) = first.rsplit_once(':')?;
        let (domain, bus) = numbers.split_once(':').unwrap_or(("0", numbers));
        let (domain, bus) = (hexadecimal(domain)?, u8::try_from(hexadecimal(bus)?).ok()?);
        let first = FunctionId { devfn: devfn(element)?, ..FunctionId::new(domain, bus, 0, 0) };
        valid.then_some(DeviceSpec::Path { first, below })
    }

    fn names(&self, tree: &Tree, cs: &impl ConfigSpace, function: FunctionIndex) -> bool {
        match *self {
            DeviceSpec::Ids(ids) => {
                let own = &tree[function];
                let [vendor, device, subvendor, subdevice] = ids;
                let fits = |wanted: u16, found: u16| wanted == 0 || wanted == found;
                fits(vendor, own.vendor) && fits(device, own.device) && {
                    let (subsystem_vendor, subsystem) = match subvendor | subdevice {
                        0 => (0, 0),
                        _ => subsystem(tree, cs, function),
                    };
                    fits(subvendor, subsystem_vendor) && fits(subdevice, subsystem)
                }
            }
            DeviceSpec::Path { first, below } => is_at(tree, function, first, below),
        }
    }
}

/// True when `function` lies at the end of the way down from `first`.
fn is_at(tree: &Tree, function: FunctionIndex, first: FunctionId, below: &str) -> bool {
    let mut above = function;
    for element in below.rsplit('/').filter(|element| !element.is_empty()) {
        if devfn(element) != Some(tree[above].id.devfn) {
            return false;
        }
        match tree.upstream(above) {
            Some(bridge) => above = bridge,
            None => return false,
        }
    }
    tree[above].id == first
}

fn parse_ids(text: &str) -> Option<[u16; 4]> {
    let mut ids = [0; 4];
    let mut count = 0;
    for part in text.split(':') {
        *ids.get_mut(count)? = u16::try_from(hexadecimal(part)?).ok()?;
        count += 1;
    }
    matches!(count, 2 | 4).then_some(ids)
}

/// `dev.fn` as one number.
fn devfn(text: &str) -> Option<u8> {
    let (device, function) = text.split_once('.')?;
    let device = u8::try_from(hexadecimal(device)?).ok().filter(|device| *device < 32)?;
    let function = u8::try_from(hexadecimal(function)?).ok().filter(|function| *function < 8)?;
    Some(device << 3 | function)
}

fn hexadecimal(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    // The conversion itself would take a sign.
    digits.starts_with(|first: char| first.is_ascii_hexdigit()).then_some(())?;
    u32::from_str_radix(digits, 16).ok()
}

/// Subsystem vendor and device: in the header of an endpoint, in a capability of a bridge; 0 when there is none.
fn subsystem(tree: &Tree, cs: &impl ConfigSpace, function: FunctionIndex) -> (u16, u16) {
    let id = tree[function].id;
    let position = match tree[function].header {
        HeaderType::Normal => Some(regs::SUBSYSTEM_VENDOR),
        HeaderType::Bridge => find_capability(cs, id, regs::CAP_SUBSYSTEM).map(|position| position + 4),
        HeaderType::CardBus | HeaderType::Unknown(_) => None,
    };
    position.map_or((0, 0), |position| (cs.read_word(id, position), cs.read_word(id, position + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_read_from_the_right() {
        let bits = |mask, value| Some(AcsBits { mask: AcsWord(mask), value: AcsWord(value) });
        for (text, expect) in [
            ("10x00xx", bits(0x6c, 0x40)),
            ("", bits(0, 0)),
            ("x", bits(0, 0)),
            ("1", bits(1, 1)),
            ("1111111", bits(0x7f, 0x7f)),
            ("xxX0000000", bits(0x7f, 0)),
            ("01111111", None),
            ("1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", None),
        ] {
            assert_eq!(parse_bits(text), expect, "{text}");
        }
    }

    fn config(list: &str) -> Option<(usize, AcsSyntax)> {
        check_config_list(list).err().map(|error| (error.at, error.kind))
    }

    #[test]
    fn config_lists() {
        use AcsSyntax::{NoAt, NotABit, NotAFunction, TooManyBits};
        for (list, expect) in [
            ("", None),
            ("10x00xx@pci:0:0", None),
            ("@00:01.0", None),
            ("x@00:01.0;1@0001:00:02.0/00.0;", None),
            ("1@pci:8086:1:2:3", None),
            ("00:01.0", Some((0, NoAt))),
            ("1@00:01.0;00:02.0", Some((10, NoAt))),
            ("1@00:01.0;", None),
            ("1;0@00:01.0", Some((0, NoAt))),
            ("12@00:01.0", Some((0, NotABit))),
            ("00000000@00:01.0", Some((0, TooManyBits))),
            ("1@", Some((2, NotAFunction))),
            ("1@pci:8086", Some((2, NotAFunction))),
            ("1@pci:8086:1:2", Some((2, NotAFunction))),
            ("1@pci:18086:1", Some((2, NotAFunction))),
            ("1@00:01", Some((2, NotAFunction))),
            ("1@01.0", Some((2, NotAFunction))),
            ("1@00:20.0", Some((2, NotAFunction))),
            ("1@00:01.0/", Some((2, NotAFunction))),
            ("1@00:01.0/00:00.0", Some((2, NotAFunction))),
            ("1@+0:01.0", Some((2, NotAFunction))),
        ] {
            assert_eq!(config(list), expect, "{list}");
        }
    }

    #[test]
    fn device_lists() {
        for (list, at) in [
            ("", None),
            ("00:02.0/00.0/00.0", None),
            ("pci:0:0;0000:02:00.0;", None),
            ("00:02.0;;00:03.0", Some(8)),
            ("1@00:02.0", Some(0)),
            ("pci:0x8086:0;xyz", Some(13)),
        ] {
            assert_eq!(check_device_list(list).err().map(|error| error.at), at, "{list}");
        }
    }
}
