//! The tree of `lspci -t`: which bus is behind which bridge.
//!
//! ```text
//! -+-[0000:00]-+-00.0  Advanced Micro Devices, Inc. [AMD] Device 14a4
//!  |           +-03.1-[01-13]----00.0-[02-13]--+-00.0-[03]----00.0  Samsung …
//!  |           |                               \-1c.0-[13]--
//!  \-[0000:80]---03.0-[81]----00.0  Red Hat, Inc. …
//! ```
//!
//! The functions of a bus stand below each other: the column of `+` or `\` says which bus a line goes on with.

use peerbus_units::FunctionId;

use super::facts::Buses;
use super::source::{hex, hex_byte};

/// One thing a tree shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<'a> {
    /// A root bus: domain and number.
    Root(u32, u8),
    /// A function.
    Function {
        /// Where it is.
        id: FunctionId,
        /// Bus numbers of a bridge.
        buses: Option<Buses>,
        /// What is printed behind the last function of a line.
        description: Option<&'a str>,
        /// Its piece of the text.
        part: &'a str,
    },
}

/// A bus that further lines may go on with.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Column of its `+` or `\`.
    column: usize,
    /// Domain and number; `None` for the list of root buses.
    bus: Option<(u32, u8)>,
}

/// Reads a tree line by line.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    open: Vec<Open>,
}

impl Reader {
    /// Reads a line; false when it belongs to no tree. What it shows is given to `take` only if all of it is a tree's.
    pub fn line<'a>(&mut self, line: &'a str, mut take: impl FnMut(Found<'a>)) -> bool {
        let column = line.find(|c: char| !matches!(c, ' ' | '|'));
        let first = column.map(|column| line.as_bytes()[column]);
        let (Some(column), Some(b'+' | b'\\' | b'-')) = (column, first) else {
            return false;
        };
        let mut line_reader = LineReader { line, at: column, open: self.open.clone(), found: Vec::new() };
        if line_reader.read(first == Some(b'-')).is_none() || line_reader.found.is_empty() {
            return false;
        }
        self.open = line_reader.open;
        line_reader.found.into_iter().for_each(&mut take);
        true
    }
}

struct LineReader<'a> {
    line: &'a str,
    at: usize,
    open: Vec<Open>,
    found: Vec<Found<'a>>,
}

impl<'a> LineReader<'a> {
    fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.line.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Reads the line from its first branch on; a tree begins where that is a `-`.
    fn read(&mut self, begins: bool) -> Option<()> {
        let mut bus = if begins {
            self.open = Vec::new();
            self.at += 1;
            None
        } else {
            let column = self.at;
            self.open.retain(|open| open.column <= column);
            let open = *self.open.last().filter(|open| open.column == column)?;
            if self.eat(b'\\') {
                self.open.pop();
            } else {
                self.at += 1;
            }
            open.bus
        };
        loop {
            if self.line.as_bytes().get(self.at) == Some(&b'+') {
                self.open.push(Open { column: self.at, bus });
                self.at += 1;
            }
            while self.eat(b'-') {}
            if self.rest().starts_with('[') {
                bus = Some(self.root()?);
                continue;
            }
            if self.line.as_bytes().get(self.at) == Some(&b'+') {
                continue;
            }
            if self.rest().trim_end().is_empty() {
                return Some(());
            }
            let below = self.function(bus?)?;
            match below {
                Some(below) => bus = Some(below),
                None => return Some(()),
            }
        }
    }

    /// `[0000:00]`.
    fn root(&mut self) -> Option<(u32, u8)> {
        let (inside, _) = self.rest().strip_prefix('[')?.split_once(']')?;
        let (domain, bus) = inside.split_once(':')?;
        let root = (hex(domain).and_then(|domain| u32::try_from(domain).ok())?, hex_byte(bus)?);
        self.at += inside.len() + 2;
        self.found.push(Found::Root(root.0, root.1));
        self.dash()?;
        Some(root)
    }

    /// What follows brackets is a `-`, unless the line ends.
    fn dash(&self) -> Option<()> {
        (self.rest().is_empty() || self.rest().starts_with(['-', '+'])).then_some(())
    }

    /// `03.1-[01-13]` or `00.0  Description`; the bus below a bridge.
    fn function(&mut self, (domain, bus): (u32, u8)) -> Option<Option<(u32, u8)>> {
        let part = self.rest().get(..4)?;
        let (device, function) = part.split_once('.')?;
        let function = hex(function).and_then(|function| u8::try_from(function).ok()).filter(|f| *f < 8)?;
        let device = hex_byte(device).filter(|device| *device < 32)?;
        let id = FunctionId::new(domain, bus, device, function);
        self.at += 4;
        if let Some(inside) = self.rest().strip_prefix("-[") {
            let (inside, _) = inside.split_once(']')?;
            let (secondary, subordinate) = inside.split_once('-').unwrap_or((inside, inside));
            let buses = Buses { secondary: hex_byte(secondary)?, subordinate: hex_byte(subordinate)? };
            self.at += inside.len() + 3;
            self.dash()?;
            self.found.push(Found::Function { id, buses: Some(buses), description: None, part });
            return Some(Some((domain, buses.secondary)));
        }
        let rest = self.rest();
        if !rest.is_empty() && !rest.starts_with(' ') {
            return None;
        }
        let description = Some(rest.trim()).filter(|text| !text.is_empty());
        self.at = self.line.len();
        self.found.push(Found::Function { id, buses: None, description, part });
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let mut reader = Reader::default();
        let mut found = Vec::new();
        for line in text.lines() {
            let understood = reader.line(line, |branch| {
                found.push(match branch {
                    Found::Root(domain, bus) => format!("root {domain:x}:{bus:02x}"),
                    Found::Function { id, buses, description, .. } => {
                        let below = buses
                            .map(|buses| format!(" [{:02x}-{:02x}]", buses.secondary, buses.subordinate))
                            .unwrap_or_default();
                        format!("{id}{below} {}", description.unwrap_or("-"))
                    }
                });
            });
            assert!(understood, "{line}");
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn several_roots_and_nested_switches() {
        check(
            "-+-[0000:00]-+-00.0  A\n \
             |           +-03.1-[01-13]----00.0-[02-13]--+-00.0-[03]----00.0  B\n \
             |           |                               \\-1c.0-[13]--\n \
             |           \\-04.0  C\n \
             \\-[0001:80]---03.0-[81]----00.0  D",
            &[
                "root 0:00",
                "0000:00:00.0 A",
                "0000:00:03.1 [01-13] -",
                "0000:01:00.0 [02-13] -",
                "0000:02:00.0 [03-03] -",
                "0000:03:00.0 B",
                "0000:02:1c.0 [13-13] -",
                "0000:00:04.0 C",
                "root 1:80",
                "0001:80:03.0 [81-81] -",
                "0001:81:00.0 D",
            ],
        );
    }

    #[test]
    fn one_root_without_words() {
        check(
            "-[0000:00]-+-00.0\n           +-02.0-[01]--+-00.0\n           |            \\-00.1\n           \\-1f.0",
            &[
                "root 0:00",
                "0000:00:00.0 -",
                "0000:00:02.0 [01-01] -",
                "0000:01:00.0 -",
                "0000:01:00.1 -",
                "0000:00:1f.0 -",
            ],
        );
    }

    #[test]
    fn other_lines_are_left_alone() {
        let mut reader = Reader::default();
        for line in ["--- a.txt", "+++ b", "- item", "-[x]", "", "  |", "+-00.0  orphan", "-+-", "---00.0"] {
            assert!(!reader.line(line, |_| {}), "{line}");
        }
    }
}
