//! Published initialisation times of page structs, from one rate per CPU part and page state.

use peerbus_machine::catalogue::Catalogue;
use peerbus_os::pagemap::{Initialisation, PageState};
use peerbus_os::{Profile, RulesOptions};
use peerbus_system::page_structs::page_rates;

const PART: &str = "intel-ice-lake-sp";
/// 100 GiB in pages of 4 KiB.
const PAGES: u64 = 100 << 18;

/// Milliseconds that the part takes.
fn milliseconds(pages: u64, state: PageState, faster_page_structs: bool) -> f64 {
    let catalogue = Catalogue::embedded();
    let part = catalogue.cpus().find(|part| part.id == PART).unwrap();
    let rules = Profile::Linux_7_3.rules(RulesOptions { faster_page_structs, ..RulesOptions::default() });
    let time = Initialisation { pages, state }.time(&rules.pagemap, &page_rates(part));
    time.0 as f64 / 1e9
}

fn check(what: &str, pages: u64, state: PageState, faster: bool, published: f64) {
    let computed = milliseconds(pages, state, faster);
    let off = 100.0 * (computed / published - 1.0);
    println!("{what}: {computed:.1} ms, published {published} ms, {off:+.1} %");
    assert!(off.abs() <= 20.0, "{what}");
}

/// Posts of May 2026 to lkml (Li Zhe): file-system and device DAX, the series and what it was based on.
#[test]
fn posted_times_come_out() {
    let (cold, warm) = (PageState::Cold, PageState::Warm);
    for (what, state, faster, published) in [
        ("fsdax, first bind", cold, false, 1486.0),
        ("fsdax, later binds", warm, false, 273.5),
        ("devdax, first bind", cold, false, 1515.0),
        ("devdax, later binds", warm, false, 313.0),
        ("base of the fourth version, first bind", cold, false, 1430.0),
        ("base of the fourth version, later binds", warm, false, 229.0),
        ("fsdax with the series, first bind", cold, true, 1272.0),
        ("fsdax with the series, later binds", warm, true, 104.6),
        ("devdax with the series, first bind", cold, true, 1286.0),
        ("devdax with the series, later binds", warm, true, 116.9),
    ] {
        check(what, PAGES, state, faster, published);
    }
}

/// The rows of the measurement table. A row without a size cannot be computed.
#[test]
fn measured_times_come_out() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/measurements/hmm_migration.tsv");
    let Ok(table) = std::fs::read_to_string(path) else {
        println!("skipped: the measurements are not available");
        return;
    };
    let mut rows = 0;
    for row in table.lines().filter(|row| row.contains("struct page init")) {
        let columns: Vec<&str> = row.split('\t').collect();
        let (path, operation, unit) = (columns[2], columns[3], columns[7]);
        let (Ok(size), Ok(value)) = (columns[4].parse::<u64>(), columns[6].parse::<f64>()) else {
            println!("left out, no size: {operation}, {path} ({} {unit})", columns[6]);
            continue;
        };
        assert_eq!(unit, "ms", "{row}");
        rows += 1;
        let state = if operation.contains("rebind") { PageState::Warm } else { PageState::Cold };
        check(&format!("{operation}, {path}"), size.div_ceil(4096), state, false, value);
    }
    println!("initialisation times: {rows} of {rows}");
    assert!(rows > 0);
}
