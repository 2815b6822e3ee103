//! What the BARs of devices with a table of pages show of their memory, as a driver sets it up before a run.

use peerbus_fabric::Shown;
use peerbus_machine::Machine;
use peerbus_machine::part::ResourceKind;
use peerbus_units::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What devices show of their memory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aperture {
    /// Devices, by name or pattern; all have a table (`aperture` of a device or its part).
    pub device: String,
    /// What.
    pub pages: Pages,
}

/// Pages of a device's memory, and where in the BAR they are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Pages {
    /// From that byte of the memory on, as far as the BAR and the memory reach.
    From(Bytes),
    /// These; what of the BAR none of them covers shows nothing.
    Runs(Vec<Run>),
}

/// Pages that follow each other in the BAR and in the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Bytes of the BAR before them.
    pub bar: Bytes,
    /// Bytes of the memory before them.
    pub memory: Bytes,
    /// Bytes of them, at least a page.
    pub size: Bytes,
}

/// The table of `device`, by index, that shows `pages`.
///
/// # Errors
///
/// In words, what is wrong with them: the device has no table, they are no whole pages, lie outside of the BAR or of the
/// memory, or overlap in the BAR.
pub fn table(machine: &Machine, device: usize, pages: &Pages) -> Result<Vec<Shown>, String> {
    let this = &machine.devices[device];
    let name = &this.name;
    let page = this
        .aperture
        .ok_or_else(|| format!("`{name}` has no table of pages: it shows its memory as it is"))?;
    let bar = memory_bar(machine, device).ok_or_else(|| format!("`{name}` has no memory BAR"))?;
    let memory = this.memory.map_or(u64::MAX, |memory| memory.0);
    let whole = |what: &str, size: Bytes| match size.0.is_multiple_of(page.page.0) {
        true => Ok(size.0),
        false => Err(format!("{what} of {size} is no multiple of the pages of `{name}`, {}", page.page)),
    };
    let runs = match pages {
        Pages::From(from) => {
            let memory_from = whole("a start", *from)?;
            let size = memory.saturating_sub(memory_from).min(bar.0) / page.page.0 * page.page.0;
            if size == 0 {
                return Err(format!("`{name}` has no memory at {from}"));
            }
            return Ok(vec![Shown { at: 0, memory: memory_from, size }]);
        }
        Pages::Runs(runs) => runs,
    };
    let mut shown = Vec::new();
    for run in runs {
        let (at, memory_at) =
            (whole("a place in the BAR", run.bar)?, whole("a place in the memory", run.memory)?);
        let size = whole("a size", run.size)?;
        let ends = |first: u64, limit: u64| first.checked_add(size).is_some_and(|end| end <= limit);
        if size == 0 {
            return Err("a run has one page at least".to_owned());
        }
        if !ends(at, bar.0) {
            return Err(format!("{} at {} lie outside of the BAR of `{name}`, {bar}", run.size, run.bar));
        }
        if !ends(memory_at, memory) {
            let memory = Bytes(memory);
            return Err(format!(
                "{} at {} lie outside of the memory of `{name}`, {memory}",
                run.size, run.memory
            ));
        }
        shown.push(Shown { at, memory: memory_at, size });
    }
    shown.sort_unstable();
    match shown.windows(2).find(|pair| pair[0].size > pair[1].at - pair[0].at) {
        Some(pair) => Err(format!("two runs show something at {} of the BAR of `{name}`", Bytes(pair[1].at))),
        None => Ok(shown),
    }
}

/// Size of the BAR in front of a device's memory: its largest.
pub(crate) fn memory_bar(machine: &Machine, device: usize) -> Option<Bytes> {
    let function = machine.devices[device].functions[0];
    let bars = machine.functions[function].bars.iter();
    bars.filter(|bar| bar.kind != ResourceKind::Io).map(|bar| bar.size).max()
}

/// Where a BAR shows memory: bytes before it, and how many there are from there on without a gap.
///
/// With `at` that byte of the memory and those that follow it; without, whatever is shown first, which scattered pages may
/// be. `None` when the BAR does not show it.
pub(crate) fn part(shown: &[Shown], at: Option<Bytes>) -> Option<(u64, u64)> {
    let holds = |run: &&Shown| at.is_none_or(|at| run.memory <= at.0 && at.0 - run.memory < run.size);
    let first = shown.iter().position(|run| holds(&run))?;
    let inside = at.map_or(0, |at| at.0 - shown[first].memory);
    let (from, mut end) = (shown[first].at + inside, shown[first].at + shown[first].size);
    let mut memory_end = shown[first].memory.wrapping_add(shown[first].size);
    for run in &shown[first + 1..] {
        if run.at != end || at.is_some() && run.memory != memory_end {
            break;
        }
        end += run.size;
        memory_end = run.memory.wrapping_add(run.size);
    }
    Some((from, end - from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_goes_on_while_pages_follow_each_other() {
        let run = |at, memory, size| Shown { at, memory, size };
        // 0..4 shows 100..104, 4..6 shows 104..106, 6..8 shows 50..52, and 9 shows 52.
        let shown = [run(0, 100, 4), run(4, 104, 2), run(6, 50, 2), run(9, 52, 1)];
        let check = |at: Option<u64>, expect| assert_eq!(part(&shown, at.map(Bytes)), expect, "{at:?}");
        check(None, Some((0, 8)));
        check(Some(100), Some((0, 6)));
        check(Some(103), Some((3, 3)));
        check(Some(105), Some((5, 1)));
        check(Some(51), Some((7, 1)));
        check(Some(52), Some((9, 1)));
        check(Some(53), None);
        assert_eq!(part(&[], None), None);
    }
}
