//! Mutated captures never make the importer panic; what it refuses it explains, and what it accepts is a machine.

use peerbus_testing::{Random, cases};

use super::*;
use crate::diagnostic::any_error;
use crate::import::to_ron;

/// Pieces a mutation inserts: words that mean something in listings, dumps, trees and ranges.
const SNIPPETS: [&str; 30] = [
    "0000:00:00.0 ",
    "01:00.0 ",
    "03:00.0 3D controller: X\n",
    "ffff:ff:1f.7 ",
    "10000:e1:00.0 PCI bridge: X\n",
    "\tBus: primary=00, secondary=01, subordinate=ff, sec-latency=0\n",
    "secondary=00",
    "subordinate=00",
    "\tRegion 0: Memory at fff00000 (32-bit, non-prefetchable) [size=2G]\n",
    "\tRegion 4: Memory at ffffffffffff0000 (64-bit, prefetchable) [size=8E]\n",
    "\tRegion 5: Memory at ffffffff00000000 (64-bit, prefetchable) [size=4P]\n",
    "\tRegion 1: I/O ports at ffff [size=1]\n",
    "\tExpansion ROM at fffff800 [size=2K]\n",
    "\tPrefetchable memory behind bridge: 0-ffffffffffffffff\n",
    "\tI/O behind bridge: ffff0000-ffffffff\n",
    "Express (v2) PCI-Express to PCI/PCI-X Bridge",
    "Express (v1) Root Port (Slot+)",
    "\tCapabilities: <access denied>\n",
    "Total VFs: 65535, Number of VFs: 65535",
    "VF offset: 65535, stride: 65535, Device ID: ffff",
    "LnkSta: Speed 64GT/s, Width x255\n",
    "10: ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff\n",
    "00: 86 80 92 3e 07 00 10 00 00 00 04 06 00 00 81 00\n",
    "100: 0d 00 01 00 ff ff ff ff\n",
    "-[0000:00]-+-00.0\n",
    " +-[0000:01]---00.0-[02-03]--\n",
    "\u{b5}",
    "ffffffffffffffff",
    "zz",
    "",
];

const DUMP: &str = "\
00:01.0 0604: 8086:352a (rev 04)
00: 86 80 2a 35 07 04 10 00 04 00 04 06 10 00 01 00
10: 00 00 00 00 00 00 00 00 00 01 05 00 f0 00 00 20
20: 00 e0 f0 e3 01 00 f1 ff 20 00 00 00 2f 00 00 00
30: 00 00 00 00 40 00 00 00 00 00 00 00 00 01 00 00
40: 10 00 42 01 22 80 00 00 20 28 00 00 04 3d 43 00
50: 00 00 04 11 00 00 00 00 00 00 00 00 00 00 00 00
100: 0d 00 01 00 1f 00 1d 00 00 00 00 00 00 00 00 00

03:00.0 0302: 10de:1db6 (rev a1)
00: de 10 b6 1d 06 04 10 00 a1 00 02 03 10 00 00 00
10: 00 00 00 e0 0c 00 00 00 20 00 00 00 00 00 00 00
20: 00 00 00 00 01 00 00 00 00 00 00 00 de 10 14 12
30: 00 00 00 00 60 00 00 00 00 00 00 00 ff 01 00 00
60: 10 00 02 00 01 8e 2c 01 30 21 0a 00 03 41 46 00
70: 40 00 03 11
100: 10 00 01 00 00 00 00 00 01 00 00 00 04 00 04 00
110: 02 00 00 00 01 00 01 00 00 00 5a 1d 53 05 00 00
120: 01 00 00 00 0c 00 00 2e
";

const IOMEM: &str = "\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
000a0000-000bffff : PCI Bus 0000:00
00100000-7fffffff : System RAM
e0000000-febfffff : PCI Bus 0000:00
  e0000000-e3ffffff : PCI Bus 0000:01
    e0000000-e0ffffff : 0000:03:00.0
2000000000-2fffffffff : PCI Bus 0000:00
";

const TREE: &str = "\
-[0000:00]-+-00.0  Intel Corporation Device 09a2
           +-01.0-[01-05]--+-00.0-[02-05]--+-08.0-[03]----00.0  NVIDIA Corporation GV100GL
           |               |               \\-0c.0-[04-05]----00.0  NVIDIA Corporation GV100GL
           |               \\-00.1  PLX Technology, Inc. PEX 8796
           \\-02.0-[06]----04.0  Matrox G200eR2
";

/// Replaces, removes or repeats a stretch of `text`, changes a digit, or drops or repeats a line.
fn mutate(text: &str, random: &mut Random) -> String {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let from = random.index(places.len());
    let kind = random.index(6);
    if kind == 0 {
        let lines: Vec<&str> = text.lines().collect();
        let at = random.index(lines.len());
        let other = random.index(lines.len());
        let mut changed = lines.clone();
        if random.index(2) == 0 && !changed.is_empty() {
            changed.remove(at);
        } else if let Some(line) = lines.get(other) {
            changed.insert(at, line);
        }
        return changed.join("\n") + "\n";
    }
    if kind <= 2 {
        let digits: Vec<usize> =
            text.char_indices().filter(|(_, c)| c.is_ascii_hexdigit()).map(|(at, _)| at).collect();
        let Some(at) = digits.get(random.index(digits.len())).copied() else { return text.to_owned() };
        let digit = char::from_digit(u32::try_from(random.index(16)).unwrap_or(0), 16).unwrap_or('0');
        return format!("{}{digit}{}", &text[..at], &text[at + 1..]);
    }
    let length = [0, 1, 2, 4, 12, 60][random.index(6)];
    let (from, to) = (places[from], places[(from + length).min(places.len() - 1)]);
    let inserted = match kind {
        3 => text[from..to].repeat(2),
        4 => String::new(),
        _ => SNIPPETS[random.index(SNIPPETS.len())].to_owned(),
    };
    format!("{}{inserted}{}", &text[..from], &text[to..])
}

#[test]
fn mutated_captures() {
    let cases = cases(2_000);
    let seed = 0x15bc1;
    println!("seed {seed:#x}, {cases} cases");
    let mut random = Random(seed);
    let catalogue = Catalogue::embedded();
    let mut accepted = 0;
    for case in 0..cases {
        let mut texts = [SAMPLE.to_owned(), DUMP.to_owned(), IOMEM.to_owned()];
        match random.index(4) {
            0 => texts[0] = format!("{TREE}{SAMPLE}"),
            1 => texts[0] = TREE.to_owned(),
            _ => {}
        }
        for _ in 0..=random.index(4) {
            let which = [0, 0, 0, 1, 1, 2][random.index(6)];
            texts[which] = mutate(&texts[which], &mut random);
        }
        let with = (random.index(2) == 0, random.index(2) == 0);
        let capture = Capture {
            listing: Text { name: "vvv", text: &texts[0] },
            dump: with.0.then_some(Text { name: "xxxx", text: &texts[1] }),
            iomem: with.1.then_some(Text { name: "iomem", text: &texts[2] }),
            ..Capture::default()
        };
        match lspci(&capture, &catalogue) {
            Ok(import) => {
                accepted += 1;
                let (machine, found) = lower(&import.machine, "", "vvv", &catalogue);
                assert!(
                    machine.is_some() && !any_error(&found),
                    "case {case}: {found:#?}\n{}",
                    texts.join("\n----\n")
                );
                assert!(to_ron(&import.machine, "").ends_with(")\n"));
            }
            Err(found) => {
                assert!(!found.is_empty(), "case {case} was refused without a reason");
                assert!(found.iter().all(|found| found.help.is_some()), "{found:#?}");
            }
        }
    }
    println!("{accepted} accepted");
    assert!(accepted * 10 > cases * 3, "only {accepted} of {cases} were accepted: too few to mean anything");
}
