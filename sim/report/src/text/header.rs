//! What was run, whether it holds, what was assumed, and how to run it again.

use peerbus_scenario::ScenarioResult;

use super::table::{WIDTH, labelled, wrapped};
use super::{TextOptions, verbose_hint};
use crate::{describe, number, summary};

/// Scenario, what it shows, machine, kernel, size of the run, seed and digest.
pub fn header(result: &ScenarioResult, options: TextOptions) -> String {
    let mut lines = vec![options.heading(&format!("peerbus run {}", result.scenario))];
    let description = result.description.lines().filter(|line| !line.trim().is_empty());
    lines.extend(description.map(|line| wrapped(line, 2, usize::from(WIDTH))));
    lines.push(String::new());
    lines.push(labelled("machine", &describe::machine(result)));
    lines.push(labelled("kernel", &summary::profiles(result)));
    lines.push(labelled("simulated time", &number::time_text(summary::simulated_time(result))));
    lines.push(labelled("run size", &describe::size(result)));
    lines.push(labelled("seed", &result.seed.to_string()));
    lines.push(labelled("digest", &number::digest_text(result.digest())));
    lines.push(labelled("verdict", &verdict(result, options)));
    lines.join("\n")
}

fn verdict(result: &ScenarioResult, options: TextOptions) -> String {
    let (verdict, count) = (options.verdict(result.passed()), describe::expectations_held(result));
    if result.expectations.is_empty() && result.completed() { count } else { format!("{verdict}, {count}") }
}

/// PASS or FAIL, the condition and the values compared.
pub fn expectations(result: &ScenarioResult, options: TextOptions) -> String {
    if result.expectations.is_empty() {
        return String::new();
    }
    let mut lines = vec![options.heading("Expectations")];
    for it in &result.expectations {
        lines.push(format!("  {}  {}", options.verdict(it.holds), it.text));
        if !it.detail.is_empty() {
            lines.push(wrapped(&it.detail, 8, usize::from(WIDTH)));
        }
    }
    lines.join("\n")
}

/// Facts taken for granted.
pub fn assumed(result: &ScenarioResult, options: TextOptions) -> String {
    let facts = summary::assumed(result);
    if facts.is_empty() {
        return String::new();
    }
    let mut lines = vec![options.heading("Assumed, because the machine file does not say")];
    lines.extend(facts.iter().map(|fact| wrapped(fact, 2, usize::from(WIDTH))));
    lines.join("\n")
}

/// How to get the rest, the machine-readable form, and this run again.
pub fn footer(result: &ScenarioResult, options: TextOptions) -> String {
    let mut lines = vec![options.heading("More")];
    if !options.verbose {
        lines.push(labelled("everything", &verbose_hint(result)));
    }
    lines.push(labelled("as JSON", &format!("{} --format json", summary::run_command(result))));
    lines.push(labelled("this run again", &summary::reproduce(result)));
    lines.join("\n")
}
