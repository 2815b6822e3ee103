//! No input, however broken, ends in a panic, and every diagnostic stands somewhere in its text.

use std::collections::BTreeMap;

use peerbus_machine::{Catalogue, Diagnostic, diagnostic, file, load, load_machine, schema, synthetic};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What inputs are derived from; a failure names it.
fn seed() -> u64 {
    number("PEERBUS_SEED").unwrap_or(1)
}

/// PEERBUS_CASES cases from PEERBUS_SEED; the same inputs every time.
fn runner() -> TestRunner {
    let cases = number("PEERBUS_CASES").and_then(|cases| u32::try_from(cases).ok()).unwrap_or(400);
    let rng_seed = RngSeed::Fixed(seed());
    TestRunner::new(Config { cases, rng_seed, failure_persistence: None, ..Config::default() })
}

/// Texts to break: shipped machines, the template, broken ones, and JSON forms.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = super::shipped::machines().into_iter().map(|(_, text)| text).collect();
    texts.push(schema::TEMPLATE.to_owned());
    let forms: Vec<String> = texts
        .iter()
        .filter_map(|text| serde_json::to_string(&load::read::<file::Machine>(text, "x.ron").value?).ok())
        .collect();
    texts.extend(forms);
    texts.extend(super::broken::texts().cases().into_iter().map(|case| case.input));
    texts
}

/// One change: where (of 1000), how many characters, and what with.
type Change = (usize, usize, u8);

const PIECES: [&str; 16] =
    ["(", ")", "[", "]", "{", "}", ",", ":", "\"", "µ", "-", "0x", "/*", "//", "\n", "99999999999999999999"];

fn changed(text: &str, changes: &[Change]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (place, length, what) in changes {
        let from = chars.len() * place / 1000;
        let to = (from + length).min(chars.len());
        let new: Vec<char> = match what % 3 {
            0 => Vec::new(),
            1 => chars[from..to].iter().chain(&chars[from..to]).copied().collect(),
            _ => PIECES[usize::from(*what) % PIECES.len()].chars().collect(),
        };
        chars.splice(from..to, new);
    }
    chars.into_iter().collect()
}

fn check(text: &str, name: &str, found: &[Diagnostic]) {
    for diagnostic in found {
        if let Some(span) = &diagnostic.span {
            assert!(span.start <= span.end && text.get(span.clone()).is_some(), "{diagnostic:?} in {text}");
            assert_eq!(
                Some(diagnostic::line_and_column(text, span.start)),
                diagnostic.line.zip(diagnostic.column)
            );
        }
        assert!(!diagnostic.message.is_empty() && !diagnostic.message.contains('\n'), "{diagnostic:?}");
    }
    let sources = BTreeMap::from([(name.to_owned(), text.to_owned())]);
    assert_eq!(diagnostic::render(found, &sources, false).is_empty(), found.is_empty());
}

#[test]
fn mutated_machines_never_panic() {
    let (catalogue, texts) = (Catalogue::embedded(), texts());
    let changes = prop::collection::vec((0..1000usize, 0..12usize, any::<u8>()), 1..4);
    let strategy = (0..texts.len(), changes);
    let outcome = runner().run(&strategy, |(index, changes)| {
        let text = changed(&texts[index], &changes);
        let (machine, found) = load_machine(&text, "machine", &catalogue);
        check(&text, "machine", &found);
        prop_assert_eq!(machine.is_some(), !diagnostic::any_error(&found));
        if let Some(machine) = machine {
            machine.memory_ranges();
        }
        Ok(())
    });
    assert_eq!(outcome, Ok(()), "PEERBUS_SEED={}", seed());
}

#[test]
fn any_text_is_answered() {
    let catalogue = Catalogue::embedded();
    let outcome = runner().run(&"\\PC{0,60}", |text| {
        for name in ["a.ron", "a.json", "a"] {
            let (_, found) = load_machine(&text, name, &catalogue);
            check(&text, name, &found);
        }
        if let Err(found) = synthetic(&text) {
            check(&text, "<synthetic>", &[found]);
        }
        Ok(())
    });
    assert_eq!(outcome, Ok(()), "PEERBUS_SEED={}", seed());
}

/// Every field name of the template, spoilt alone, is found exactly where it stands; nothing else is complained about
/// but what the missing field leaves undefined.
#[test]
fn each_misspelt_field_is_found_in_its_place() {
    let (catalogue, text) = (Catalogue::embedded(), schema::TEMPLATE);
    let mut checked = 0;
    let comment = |offset: usize| text[..offset].lines().next_back().is_some_and(|line| line.contains("//"));
    for (colon, _) in text.match_indices(": ").filter(|(colon, _)| !comment(*colon)) {
        let start =
            text[..colon].rfind(|c: char| !c.is_ascii_lowercase() && c != '_').map_or(0, |before| before + 1);
        let broken = format!("{}q{}", &text[..start], &text[start..]);
        let (_, found) = load_machine(&broken, "a.ron", &catalogue);
        let here =
            found.iter().any(|d| d.code.0 == "M0002" && d.span.as_ref().is_some_and(|s| s.start == start));
        assert!(here, "q{}: {found:#?}", &text[start..colon]);
        assert!(found.iter().filter(|d| d.is_error()).count() <= 2, "q{}: {found:#?}", &text[start..colon]);
        checked += 1;
    }
    assert!(checked > 60, "{checked} fields");
}
