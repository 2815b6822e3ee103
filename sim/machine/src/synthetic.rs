//! Machines from one line: `2rc:2sw:4gpu@gen5x16`.
//!
//! ```text
//! machine  = levels [ "@" link ] { "/" kind "=" part }
//! levels   = level { ":" level }             from the root complexes down
//! level    = item { "+" item }               only the last level has more than one item
//! item     = count word                      count from 1 to 256
//! word     = "rc" | "sw" | "gpu" | "nic" | "ssd"
//! link     = "gen" (1-6) "x" lanes
//! kind     = "cpu" | "sw" | "gpu" | "nic" | "ssd"
//! ```
//!
//! The first level is `rc`: host bridges, all of one CPU. Each following level hangs below every element of the one
//! before: `sw` are switches, the last level are devices. Every element has a port of its own. Links are those of
//! `@`, except that drives keep their own width when it is more than the four lanes that drives have; without `@`
//! each is the fastest and widest that both ends support, `gen5x16` with the generic parts of switches, GPUs and NICs.
//! Parts are the generic ones unless `/kind=ID` names others.
//!
//! `1rc:1sw:2sw:4gpu+1nic@gen4x16/gpu=a100-sxm4-80g` is a root complex with a switch, below which are two switches
//! with four GPUs and a NIC each.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::file::{Below, Cpu, Device, HostBridge, Leaf, Link, Machine, Port, Switch};
use crate::load::{list_words, nearest};

/// Counts of one level beyond this are a mistake: no domain has that many buses.
const MOST: usize = 256;
/// Levels beyond this are a mistake, whatever their counts.
const MOST_LEVELS: usize = 16;
/// Lanes of an NVMe drive's connector (U.2, M.2, E1.S).
const DRIVE_LANES: u8 = 4;
/// Devices beyond this are a mistake: several levels multiply.
const MOST_DEVICES: usize = 4096;

const HELP: &str = "write levels from the root down, such as `2rc:2sw:4gpu+1nic@gen5x16/gpu=h100-sxm5-80g`: `rc` first, \
                    then any number of `sw`, then devices `gpu`, `nic`, `ssd`";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    RootComplex,
    Switch,
    Gpu,
    Nic,
    Ssd,
}

const WORDS: [(&str, Word); 5] = [
    ("rc", Word::RootComplex),
    ("sw", Word::Switch),
    ("gpu", Word::Gpu),
    ("nic", Word::Nic),
    ("ssd", Word::Ssd),
];

/// The parts to build with.
#[derive(Clone, Debug)]
struct Parts {
    cpu: String,
    switch: String,
    gpu: String,
    nic: String,
    ssd: String,
}

/// Everything a line says.
#[derive(Clone, Debug)]
struct Shape {
    root_complexes: usize,
    /// Switches per element of the level above, from the root down.
    switches: Vec<usize>,
    devices: Vec<(usize, Word)>,
    /// Generation and lanes.
    link: Option<(u8, u8)>,
    parts: Parts,
}

/// True for texts that mean a synthetic machine and not a file: they begin with a number and `rc`.
pub fn is_synthetic(text: &str) -> bool {
    text.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with("rc")
        && text.starts_with(|c: char| c.is_ascii_digit())
}

/// The machine file that `text` stands for. Its diagnostics are about `text` as a file called `<synthetic>`.
#[expect(clippy::result_large_err, reason = "made once for each line that a person typed")]
pub fn synthetic(text: &str) -> Result<Machine, Diagnostic> {
    let shape = Reader { text }.shape().map_err(|found| *found)?;
    let bridge = HostBridge { ports: below(&shape, &shape.switches), ..HostBridge::default() };
    Ok(Machine {
        name: Some(Leaf::new(text.to_owned())),
        source: Some(Leaf::new("synthetic".to_owned())),
        cpus: vec![Cpu { part: Some(Leaf::new(shape.parts.cpu.clone())), ..Cpu::default() }],
        host_bridges: vec![bridge; shape.root_complexes],
        ..Machine::default()
    })
}

/// The ports with what is below a root complex or switch, above `switches` and the devices.
fn below(shape: &Shape, switches: &[usize]) -> Vec<Port> {
    let port = |below: Below, most: u8| {
        let link = shape.link.map(|(generation, lanes)| Link {
            generation: Some(Leaf::new(generation)),
            lanes: Some(lanes).filter(|lanes| *lanes <= most).map(Leaf::new),
            ..Link::default()
        });
        Port { link, below: Some(Box::new(below)), ..Port::default() }
    };
    if let Some((count, rest)) = switches.split_first() {
        let part = Some(Leaf::new(shape.parts.switch.clone()));
        let switch = Switch { part, ports: below(shape, rest), ..Switch::default() };
        return vec![port(Below::Switch(Box::new(switch)), u8::MAX); *count];
    }
    let device = |word: &Word| {
        let (part, most) = match word {
            Word::Nic => (&shape.parts.nic, u8::MAX),
            Word::Ssd => (&shape.parts.ssd, DRIVE_LANES),
            _ => (&shape.parts.gpu, u8::MAX),
        };
        port(
            Below::Device(Box::new(Device { part: Some(Leaf::new(part.clone())), ..Device::default() })),
            most,
        )
    };
    shape.devices.iter().flat_map(|(count, word)| vec![device(word); *count]).collect()
}

struct Reader<'a> {
    text: &'a str,
}

impl<'a> Reader<'a> {
    /// A diagnostic about `piece`, a slice of the text.
    fn error(&self, piece: &str, message: String) -> Box<Diagnostic> {
        let start =
            (piece.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize).min(self.text.len());
        let end = (start + piece.len()).min(self.text.len());
        let found = Diagnostic::error(codes::SYNTHETIC, "<synthetic>", message);
        Box::new(found.at(self.text, start..end).help(HELP))
    }

    fn shape(&self) -> Result<Shape, Box<Diagnostic>> {
        let mut pieces = self.text.split('/');
        let main = pieces.next().unwrap_or_default();
        let (levels, link) = main.split_once('@').map_or((main, None), |(levels, link)| (levels, Some(link)));
        let link = link.map(|link| self.link(link)).transpose()?;
        let mut shape = Shape {
            root_complexes: 0,
            switches: Vec::new(),
            devices: Vec::new(),
            link,
            parts: Parts {
                cpu: "generic-cpu".to_owned(),
                switch: "generic-switch".to_owned(),
                gpu: "generic-gpu".to_owned(),
                nic: "generic-nic".to_owned(),
                ssd: "generic-ssd".to_owned(),
            },
        };
        for piece in pieces {
            self.part(piece, &mut shape.parts)?;
        }
        if levels.split(':').count() > MOST_LEVELS {
            return Err(self.error(levels, format!("more than {MOST_LEVELS} levels")));
        }
        for (position, level) in levels.split(':').enumerate() {
            self.level(position, level, &mut shape)?;
        }
        if shape.devices.is_empty() {
            return Err(self.error(levels, "the last level must be devices".to_owned()));
        }
        let devices: usize = shape.devices.iter().map(|(count, _)| count).sum();
        let switches = shape.switches.iter().fold(1usize, |all, count| all.saturating_mul(*count));
        let total = shape.root_complexes.saturating_mul(switches).saturating_mul(devices);
        if total > MOST_DEVICES {
            return Err(self.error(levels, format!("{total} devices are more than {MOST_DEVICES}")));
        }
        Ok(shape)
    }

    fn level(&self, position: usize, level: &'a str, shape: &mut Shape) -> Result<(), Box<Diagnostic>> {
        if !shape.devices.is_empty() {
            return Err(self.error(level, "nothing can be below devices".to_owned()));
        }
        let items = level.split('+').map(|item| self.item(item)).collect::<Result<Vec<_>, _>>()?;
        match (position, items.as_slice()) {
            (0, [(count, Word::RootComplex)]) => shape.root_complexes = *count,
            (0, _) => {
                return Err(
                    self.error(level, "the first level must be root complexes, such as `2rc`".to_owned())
                );
            }
            (_, [(count, Word::Switch)]) => shape.switches.push(*count),
            (_, items) => {
                if items.iter().any(|(_, word)| matches!(word, Word::RootComplex | Word::Switch)) {
                    let message = "a level is either switches or devices, and `rc` is the first".to_owned();
                    return Err(self.error(level, message));
                }
                shape.devices = items.to_vec();
            }
        }
        Ok(())
    }

    fn item(&self, item: &'a str) -> Result<(usize, Word), Box<Diagnostic>> {
        let digits = item.len() - item.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (count, word) = item.split_at(digits);
        let found = WORDS.iter().find(|(name, _)| *name == word);
        let Some((_, kind)) = found else {
            let names = WORDS.map(|(name, _)| name);
            let near =
                nearest(word, names).map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
            return Err(self
                .error(item, format!("`{item}` is not a count and one of {}{near}", list_words(&names, 9))));
        };
        match count.parse::<usize>() {
            Ok(count) if (1..=MOST).contains(&count) => Ok((count, *kind)),
            _ => Err(self.error(item, format!("`{item}` needs a count from 1 to {MOST} before `{word}`"))),
        }
    }

    fn link(&self, link: &'a str) -> Result<(u8, u8), Box<Diagnostic>> {
        let numbers = link.strip_prefix("gen").and_then(|rest| rest.split_once('x'));
        let parsed =
            numbers.and_then(|(generation, lanes)| Some((generation.parse().ok()?, lanes.parse().ok()?)));
        parsed.ok_or_else(|| self.error(link, format!("`{link}` is not a link such as `gen5x16`")))
    }

    fn part(&self, piece: &'a str, parts: &mut Parts) -> Result<(), Box<Diagnostic>> {
        let (kind, id) = piece.split_once('=').unwrap_or((piece, ""));
        let target = match kind {
            "cpu" => &mut parts.cpu,
            "sw" => &mut parts.switch,
            "gpu" => &mut parts.gpu,
            "nic" => &mut parts.nic,
            "ssd" => &mut parts.ssd,
            _ => return Err(self.error(piece, format!("`{piece}` does not say which part: write `/gpu=ID`"))),
        };
        if id.is_empty() {
            return Err(self.error(piece, format!("`{piece}` names no part: write `/{kind}=ID`")));
        }
        *target = id.to_owned();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use crate::lower::lower;

    #[test]
    fn lines_become_machines() {
        let catalogue = Catalogue::embedded();
        for (line, bridges, switches, devices, links) in [
            ("2rc:4gpu", 2, 0, 8, 8),
            ("2rc:2sw:4gpu@gen5x16", 2, 4, 16, 20),
            ("1rc:1sw:4gpu+2nic+1ssd@gen5x16", 1, 1, 7, 8),
            ("1rc:4gpu/gpu=a100-pcie-80g", 1, 0, 4, 4),
            ("1rc:1sw:2sw:4gpu@gen4x8/gpu=a100-sxm4-80g/cpu=amd-rome/sw=pex88096", 1, 3, 8, 11),
        ] {
            let (machine, found) = synthetic(line).map(|file| lower(&file, "", line, &catalogue)).unwrap();
            assert_eq!(found, [], "{line}");
            let machine = machine.unwrap();
            let counts = (
                machine.host_bridges.len(),
                machine.switches.len(),
                machine.devices.len(),
                machine.links.len(),
            );
            assert_eq!(counts, (bridges, switches, devices, links), "{line}");
            assert!(is_synthetic(line));
        }
    }

    #[test]
    fn links_and_parts_are_those_of_the_line() {
        let file = synthetic("1rc:1sw:2gpu@gen4x8/gpu=a100-sxm4-80g").unwrap();
        let (machine, _) = lower(&file, "", "line", &Catalogue::embedded());
        let machine = machine.unwrap();
        assert!(machine.links.iter().all(|link| (link.generation, link.lanes) == (4, 8)));
        assert!(machine.devices.iter().all(|device| device.part.id == "a100-sxm4-80g"));
        assert!(machine.device("host0/rp0/sw0/p1/gpu1").is_some());
    }

    #[test]
    fn broken_lines_say_where() {
        for (line, column, message) in [
            ("", 1, "`` is not a count and one of rc, sw, gpu, nic or ssd"),
            ("2rc", 1, "the last level must be devices"),
            ("2sw:4gpu", 1, "the first level must be root complexes, such as `2rc`"),
            (
                "2rc:2swi:4gpu",
                5,
                "`2swi` is not a count and one of rc, sw, gpu, nic or ssd: did you mean `sw`?",
            ),
            ("2rc:4gpu:2sw", 10, "nothing can be below devices"),
            ("2rc:4gpu+1sw", 5, "a level is either switches or devices, and `rc` is the first"),
            ("2rc:0gpu", 5, "`0gpu` needs a count from 1 to 256 before `gpu`"),
            ("2rc:4gpu@5x16", 10, "`5x16` is not a link such as `gen5x16`"),
            ("2rc:4gpu/tpu=a", 10, "`tpu=a` does not say which part: write `/gpu=ID`"),
            ("2rc:4gpu/gpu=", 10, "`gpu=` names no part: write `/gpu=ID`"),
            (
                "1rc:1sw:1sw:1sw:1sw:1sw:1sw:1sw:1sw:1sw:1sw:1sw:1sw:1sw:1sw:1sw:1gpu",
                1,
                "more than 16 levels",
            ),
            ("256rc:256gpu", 1, "65536 devices are more than 4096"),
        ] {
            let found = synthetic(line).unwrap_err();
            assert_eq!((found.column, found.message.as_str()), (Some(column), message), "{line}");
            assert_eq!(found.help.as_deref(), Some(HELP));
        }
    }
}
