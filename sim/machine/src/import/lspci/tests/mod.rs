//! Tests of the importer on small listings: what each form of text makes of a machine, and broken ones.

mod mutation;
mod shapes;

use super::{Capture, Text, lspci};
use crate::catalogue::Catalogue;
use crate::diagnostic::{Code, Diagnostic};
use crate::import::{Import, codes};
use crate::lower;
use crate::model::Machine;

/// A root port with a switch, a GPU with root rights and one without, a conventional bridge, an empty port, and a head.
pub const SAMPLE: &str = include_str!("sample.txt");

fn import(listing: &str) -> Result<Import, Vec<Diagnostic>> {
    let capture = Capture { listing: Text { name: "sample.txt", text: listing }, ..Capture::default() };
    lspci(&capture, &Catalogue::embedded())
}

fn machine(listing: &str) -> Machine {
    let import = import(listing).unwrap_or_else(|found| panic!("{found:#?}"));
    lower(&import.machine, "", "sample.txt", &Catalogue::embedded()).0.unwrap()
}

/// A line per function: path, place, BARs and what is assumed.
fn outline(machine: &Machine) -> String {
    let mut out = String::new();
    let mut rows: Vec<_> = machine.functions.node_weights().collect();
    rows.sort_by_key(|function| function.id);
    for function in rows {
        let id = function.id.map_or_else(|| "?".to_owned(), |id| id.to_string());
        let bars: Vec<String> = function
            .bars
            .iter()
            .map(|bar| {
                format!("{}:{}@{:#x}", bar.index, bar.size, bar.address.map_or(0, |address| address.0))
            })
            .collect();
        let assumed: Vec<_> = function.assumed.iter().map(|fact| fact.word()).collect();
        out.push_str(&format!("{id} {} {} {}\n", function.name, bars.join(" "), assumed.join(",")));
    }
    out
}

fn codes_of(found: &[Diagnostic]) -> Vec<Code> {
    found.iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn every_code_is_explained_by_an_example() {
    let listing = "00:00.0 Host bridge: Intel Corporation Device 3ec2\n";
    for entry in codes::LISTING_ENTRIES {
        let found = |text: &str| {
            let of_memory = entry.code == codes::BAD_RANGE;
            let capture = Capture {
                listing: Text { name: "a.txt", text: if of_memory { listing } else { text } },
                iomem: of_memory.then_some(Text { name: "iomem", text }),
                ..Capture::default()
            };
            lspci(&capture, &Catalogue::embedded()).err().unwrap_or_default()
        };
        if entry.code == codes::BAD_FOLDER {
            // Shown with its file in front; tested where folders are read.
            continue;
        }
        assert_eq!(codes_of(&found(entry.wrong)), [entry.code], "{}", entry.wrong);
        assert_eq!(found(entry.right), [], "{}", entry.right);
    }
    assert!(codes::LISTING_ENTRIES.windows(2).all(|pair| pair[0].code < pair[1].code));
}

#[test]
fn diagnostics_point_into_the_file() {
    let text =
        "> 00:02.0 VGA compatible controller: X\n>  Region 0: Memory at e00g0000 (32-bit, prefetchable)\n";
    let found = import(text).err().unwrap_or_default();
    let places: Vec<_> = found.iter().map(|found| (found.code, found.line, found.column)).collect();
    assert_eq!(places, [(codes::BAD_LINE, Some(2), Some(24))]);
}
