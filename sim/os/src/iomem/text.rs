//! The tree as `/proc/iomem` shows it to root: one line per entry, two spaces of indentation per level,
//! `first-last : name` in hexadecimal. The indentation ends at a level that depends on the kernel
//! ([`indented_levels`](super::IoMemRules::indented_levels)): what lies deeper stands at that level too, and is told from a sibling by lying
//! inside of the entry above.
//!
//! Neither flags nor uses are in the text. What is read back is memory, not busy; only `System RAM` is known
//! by its name.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use peerbus_units::{CpuAddr, Range};

use super::resource::{IoResource, Refusal, ResourceId};
use super::tree::IoMem;
use crate::pci::ResourceFlags;
use crate::profile::Rules;

/// A line that does not belong into such a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseIoMemError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: ParseProblem,
}

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ParseProblem {
    /// It is not `first-last : name`.
    Form,
    /// The last address lies below the first.
    Reversed,
    /// It does not fit where its indentation puts it.
    Refused(Refusal),
    /// Every address is zero, which is what users without privileges are shown.
    Hidden,
}

impl fmt::Display for ParseIoMemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.problem {
            ParseProblem::Form => f.write_str("expected `first-last : name` in hexadecimal"),
            ParseProblem::Reversed => f.write_str("the last address lies below the first"),
            ParseProblem::Refused(refusal) => refusal.fmt(f),
            ParseProblem::Hidden => {
                f.write_str("the addresses are hidden; read /proc/iomem as the superuser")
            }
        }
    }
}

impl core::error::Error for ParseIoMemError {}

/// Lowest level at which any kernel ends the indentation.
const LEAST_DEEPEST: usize = 5;

impl IoMem {
    /// The text of `/proc/iomem`.
    pub fn render(&self, rules: &Rules) -> String {
        // Hexadecimal digits of every address; longer ones take what they need.
        let end = self.get(self.root()).map_or(0, |root| root.range.last().0);
        let digits = if end < 0x1_0000 { 4 } else { 8 };
        let mut text = String::new();
        for (depth, _, found) in self.walk() {
            let (first, last) = (found.range.first().0, found.range.last().0);
            let indent = 2 * depth.min(rules.iomem.indented_levels);
            let written = writeln!(text, "{:indent$}{first:0digits$x}-{last:0digits$x} : {}", "", found.name);
            assert!(written.is_ok(), "writing to a string cannot fail");
        }
        text
    }

    /// Reads such a text into a tree of `0..=end`. Empty lines are skipped.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str, end: CpuAddr) -> Result<IoMem, ParseIoMemError> {
        let mut tree = IoMem::new(end);
        // Entries around the next line, outermost first, each with its indentation.
        let mut around: Vec<(usize, ResourceId)> = Vec::new();
        let mut hidden = true;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        for (index, line) in lines {
            let problem = |problem| ParseIoMemError { line: index + 1, problem };
            let (indent, resource) = entry(line).map_err(problem)?;
            hidden &= resource.range.last() == CpuAddr(0);
            let outer = |(level, id): &(usize, ResourceId)| {
                let holds = || tree.get(*id).is_some_and(|above| above.range.covers(resource.range));
                *level < indent || (*level == indent && indent >= 2 * LEAST_DEEPEST && holds())
            };
            around.truncate(around.iter().rposition(outer).map_or(0, |index| index + 1));
            let parent = around.last().map_or(tree.root(), |(_, id)| *id);
            let entered = tree.request(parent, resource).map_err(|refusal| {
                problem(if hidden { ParseProblem::Hidden } else { ParseProblem::Refused(refusal) })
            });
            around.push((indent, entered?));
        }
        Ok(tree)
    }
}

/// Indentation and entry of one line.
fn entry(line: &str) -> Result<(usize, IoResource), ParseProblem> {
    let body = line.trim_start();
    let (addresses, name) = body.split_once(" : ").ok_or(ParseProblem::Form)?;
    let (first, last) = addresses.split_once('-').ok_or(ParseProblem::Form)?;
    let address = |digits: &str| {
        let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u64::from_str_radix(digits, 16).ok().filter(|_| plain).map(CpuAddr).ok_or(ParseProblem::Form)
    };
    let range = Range::new(address(first)?, address(last)?).ok_or(ParseProblem::Reversed)?;
    let mut resource = IoResource::memory(range, name);
    if name == "System RAM" {
        resource.flags |= ResourceFlags::SYSTEM_RAM | ResourceFlags::BUSY;
    }
    Ok((line.len() - body.len(), resource))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use crate::profile::{Profile, RulesOptions};

    use super::*;

    fn rules(profile: Profile) -> Rules {
        profile.rules(RulesOptions::default())
    }

    #[test]
    fn text_round_trips() {
        let text = "00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n\
                    c0000000-febfffff : PCI Bus 0000:00\n  f8000000-fbffffff : PCI Bus 0000:01\n    \
                    f8000000-fbffffff : 0000:01:00.0\n280000000-a7fffffff : PCI Bus 0000:00\n";
        let tree = IoMem::parse(text, CpuAddr(u64::MAX)).unwrap();
        assert_eq!(tree.render(&rules(Profile::Linux_6_12)), text);
        let ram = tree.find(CpuAddr(0x2000)).and_then(|id| tree.get(id)).unwrap();
        assert!(ram.flags.has(ResourceFlags::BUSY | ResourceFlags::SYSTEM_RAM | ResourceFlags::MEM));
    }

    #[test]
    fn levels_beyond_the_fifth_are_told_by_their_ranges() {
        let text = "00000000-000fffff : 0\n  00000000-000fffff : 1\n    00000000-000fffff : 2\n      \
                    00000000-000fffff : 3\n        00000000-000fffff : 4\n          00000000-0007ffff : 5\n          \
                    00000000-0007ffff : 6\n          00000000-0003ffff : 7a\n          \
                    00040000-0007ffff : 7b\n          00080000-000fffff : 5b\n00100000-001fffff : 0b\n";
        let tree = IoMem::parse(text, CpuAddr(u64::MAX)).unwrap();
        let depths: Vec<usize> = tree.walk().map(|(depth, _, _)| depth).collect();
        assert_eq!(depths, [0, 1, 2, 3, 4, 5, 6, 7, 7, 5, 0]);
        let newer = tree.render(&rules(Profile::Linux_7_3));
        assert!(newer.contains("\n              00040000-0007ffff : 7b\n"), "{newer}");
        let again = IoMem::parse(&newer, CpuAddr(u64::MAX)).unwrap();
        assert_eq!(again.render(&rules(Profile::Linux_6_12)), text);
        assert_eq!(tree.render(&rules(Profile::Linux_6_12)), text);
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, expected) in [
            ("00000000-00000fff: x", "line 1: expected `first-last : name` in hexadecimal"),
            ("+0-ff : x", "line 1: expected `first-last : name` in hexadecimal"),
            ("0-11111111111111111 : x", "line 1: expected `first-last : name` in hexadecimal"),
            ("0-f : a\n\n20-10 : b", "line 3: the last address lies below the first"),
            ("0-f : a\n  8-10 : b", "line 2: lies outside of a [0x0-0xf]"),
            ("0-f : a\n8-10 : b", "line 2: overlaps a [0x0-0xf]"),
            ("0-1000000 : a", "line 1: lies outside of PCI mem [0x0-0xffff]"),
            (
                "00000000-00000000 : Reserved\n00000000-00000000 : System RAM",
                "line 2: the addresses are hidden; read /proc/iomem as the superuser",
            ),
        ] {
            let found = IoMem::parse(text, CpuAddr(0xffff)).unwrap_err();
            assert_eq!(found.to_string(), expected, "{text:?}");
        }
    }
}
