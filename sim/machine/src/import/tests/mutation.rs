//! Mutated topologies never make the importer panic, and what it accepts is numbered consistently.

use peerbus_testing::{Random, cases};

use super::numbering::walk;
use super::{catalogue, gpu, switch};
use crate::diagnostic::any_error;
use crate::import::{nccl, to_ron};
use crate::lower;

/// Pieces a mutation inserts: attribute values and tags that mean something.
const SNIPPETS: [&str; 22] = [
    "0000:00:00.0",
    "0000:22:00.0",
    "0000:22:00.1",
    "0000:ff:1f.7",
    "ffff:ff:01.0",
    "0001:10:04.0",
    "0x060400",
    "0x030200",
    "0x000000",
    "0xffff",
    "\"",
    "<",
    ">",
    "/>",
    "</pci>",
    "</cpu>",
    "<pci busid=\"0000:23:00.0\" class=\"0x060400\">",
    "<gpu dev=\"0\"><xgmi target=\"0000:23:00.0\" count=\"1\" tclass=\"0x068000\"/></gpu>",
    "<nic><net/></nic>",
    "&amp;",
    "µ",
    "",
];

fn seed_text() -> String {
    let pci = |id: &str| {
        format!(
            r#"<pci busid="{id}" class="0x038000" vendor="0x1002" device="0x738c" link_speed="16 GT/s" link_width="16">
<gpu dev="0" sm="120" gcn="908"><xgmi target="0000:24:00.0" count="1" tclass="0x038000"/></gpu></pci>"#
        )
    };
    let tree = switch("0000:21:00.0", &[pci("0000:24:00.0"), pci("0000:26:00.0"), gpu("0000:28:00.0")]);
    let stand_in = switch("ffff:ff:01.0", &[gpu("0000:10:1c.0"), gpu("0000:10:1d.0")]);
    let cpu = r#"<cpu numaid="1" arch="x86_64" vendor="AuthenticAMD" familyid="143" modelid="49">"#;
    format!(
        "<system version=\"1\">\n{cpu}{tree}{stand_in}</cpu>\n<cpu numaid=\"0\">{}</cpu></system>",
        gpu("0002:00:00.0")
    )
}

/// Replaces, removes or repeats a stretch of `text` at a place between characters.
fn mutate(text: &str, random: &mut Random) -> String {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let from = random.index(places.len());
    let length = [0, 1, 2, 4, 12, 60][random.index(6)];
    let (from, to) = (places[from], places[(from + length).min(places.len() - 1)]);
    let inserted = match random.index(4) {
        0 => text[from..to].repeat(2),
        1 => String::new(),
        _ => SNIPPETS[random.index(SNIPPETS.len())].to_owned(),
    };
    format!("{}{inserted}{}", &text[..from], &text[to..])
}

/// Replaces one bus id by another, so that most results stay well-formed.
fn renumber(text: &str, random: &mut Random) -> String {
    let ids: Vec<usize> = text.match_indices("busid=\"").map(|(at, _)| at + 7).collect();
    let Some(at) = ids.get(random.index(ids.len())).copied() else { return text.to_owned() };
    let bus = [0, 1, 0x0f, 0x10, 0x20, 0x22, 0x23, 0x25, 0x27, 0xff][random.index(10)];
    let device = [0, 0, 0, 1, 0x1c][random.index(5)];
    let end = text[at..].find('"').map_or(text.len(), |length| at + length);
    let domain = ["0000", "0000", "0002", "ffff"][random.index(4)];
    format!("{}{domain}:{bus:02x}:{device:02x}.{}{}", &text[..at], random.index(2), &text[end..])
}

#[test]
fn mutated_topologies() {
    let cases = cases(3_000);
    let seed = 0x5eed;
    println!("seed {seed:#x}, {cases} cases");
    let mut random = Random(seed);
    let (catalogue, start) = (catalogue(), seed_text());
    let mut accepted = 0;
    for case in 0..cases {
        let mut text = start.clone();
        for _ in 0..=random.index(3) {
            text =
                if random.index(2) == 0 { mutate(&text, &mut random) } else { renumber(&text, &mut random) };
        }
        match nccl(&text, "mutated.xml", &catalogue) {
            Ok(import) => {
                accepted += 1;
                assert_eq!(walk(&import.machine).problems, Vec::<String>::new(), "case {case}:\n{text}");
                assert!(to_ron(&import.machine, "").ends_with(")\n"));
                let (_, found) = lower(&import.machine, "", "mutated.xml", &catalogue);
                assert!(!any_error(&found), "case {case}: {found:#?}\n{text}");
            }
            Err(diagnostics) => {
                assert!(!diagnostics.is_empty(), "case {case} was refused without a reason:\n{text}")
            }
        }
    }
    assert!(
        accepted * 10 > cases,
        "only {accepted} of {cases} mutated files were accepted: too few to mean anything"
    );
}
