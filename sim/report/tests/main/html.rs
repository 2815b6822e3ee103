//! The page.

use peerbus_report::html::render;

use crate::sample;

/// The page as XML: void tags closed, everything else as it is.
fn as_xml(page: &str) -> String {
    let mut xml = String::new();
    let mut rest = page.trim_start_matches("<!DOCTYPE html>");
    while let Some(at) = rest.find("<meta") {
        let end = at + rest[at..].find('>').unwrap();
        xml.push_str(&rest[..end]);
        xml.push_str("/>");
        rest = &rest[end + 1..];
    }
    xml + rest
}

fn pages() -> Vec<String> {
    let mut results = sample::empty();
    results.extend([
        sample::small(),
        sample::variants(),
        sample::matrix(8),
        sample::matrix(16),
        sample::churn(),
        sample::huge(),
    ]);
    results.iter().map(render).collect()
}

#[test]
fn pages_are_well_formed() {
    for page in pages() {
        let xml = as_xml(&page);
        let error = roxmltree::Document::parse(&xml).err().map(|error| error.to_string());
        assert_eq!(error, None);
    }
}

#[test]
fn pages_need_nothing_from_elsewhere() {
    for page in pages() {
        for absent in ["<script", "http", "url(", "@import", "<link", "<img", "src=", "onload"] {
            assert!(!page.contains(absent), "{absent}");
        }
    }
}

#[test]
fn names_are_escaped() {
    let page = render(&sample::huge());
    assert!(page.contains("&lt;b&gt;&amp;") && !page.contains("<b>"));
}

#[test]
fn the_same_result_is_the_same_page() {
    assert_eq!(render(&sample::matrix(8)), render(&sample::matrix(8)));
}

#[test]
fn charts_are_followed_by_their_numbers() {
    for (result, charts) in
        [(sample::small(), 4), (sample::matrix(8), 4), (sample::variants(), 6), (sample::churn(), 3)]
    {
        let page = as_xml(&render(&result));
        let page = roxmltree::Document::parse(&page).unwrap();
        let figures: Vec<_> = page.descendants().filter(|node| node.has_tag_name("figure")).collect();
        assert_eq!(figures.len(), charts, "{}", result.scenario);
        for figure in figures {
            assert!(figure.next_siblings().any(|node| node.has_tag_name("details")));
            assert!(figure.descendants().any(|node| node.has_tag_name("svg")));
        }
    }
}

#[test]
fn every_cell_of_a_matrix_stands_in_the_heat_map_and_in_the_table() {
    let page = as_xml(&render(&sample::matrix(8)));
    let page = roxmltree::Document::parse(&page).unwrap();
    let count = |tag: &str, text: &str| {
        page.descendants().filter(|node| node.has_tag_name(tag) && node.text() == Some(text)).count()
    };
    // Rows 4 to 7 send to columns 0 to 3 at 11.78 and up, four cells each.
    assert_eq!(count("text", "11.78"), 4);
    assert_eq!(count("text", "26.21"), 24);
    assert!(count("td", "11.78") >= 4);
}

#[test]
fn sections_are_those_of_the_text() {
    let page = render(&sample::small());
    for heading in
        ["Expectations", "Flows", "Links", "Address spaces", "Counters", "Errors", "Assumed", "More"]
    {
        assert!(page.contains(&format!("<h2>{heading}")), "{heading}");
    }
    assert!(page.contains("peerbus run scenarios/pair.ron --seed 7"));
}
