//! [`ScenarioResult`]: what became of a scenario, ready for a report.

use peerbus_system::outcome::Outcome;

use crate::measured::Comparison;

/// What became of a scenario.
#[derive(Clone, PartialEq, Debug)]
pub struct ScenarioResult {
    /// Path of the scenario file as given.
    pub scenario: String,
    /// First comment lines of the file: what it shows.
    pub description: String,
    /// Path or synthetic form of the machine.
    pub machine: String,
    /// Seed.
    pub seed: u64,
    /// One per variant, in the order of the file; the variant's name is empty in a scenario without variants.
    pub cells: Vec<Cell>,
    /// Expectations in the order of the file.
    pub expectations: Vec<Expectation>,
    /// Measured values beside what was simulated, in the order of the file.
    pub measured: Vec<Comparison>,
}

/// One variant's outcome.
#[derive(Clone, PartialEq, Debug)]
pub struct Cell {
    /// The variant's name; empty in a scenario without variants.
    pub variant: String,
    /// What the run found out.
    pub outcome: Outcome,
}

impl Cell {
    /// A flow's or matrix's name with the variant in front: `redirect-on/peer`.
    pub fn qualified(&self, name: &str) -> String {
        if self.variant.is_empty() { name.to_owned() } else { format!("{}/{name}", self.variant) }
    }
}

/// A condition and whether it held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectation {
    /// As written.
    pub text: String,
    /// Whether it held.
    pub holds: bool,
    /// The values compared, in words: `53.2GB/s >= 24GB/s`.
    pub detail: String,
}

impl ScenarioResult {
    /// True when every run came to its end and every expectation held.
    pub fn passed(&self) -> bool {
        self.completed() && self.expectations.iter().all(|expectation| expectation.holds)
    }

    /// True when no run stood still before its end.
    pub fn completed(&self) -> bool {
        let mut errors = self.cells.iter().flat_map(|cell| &cell.outcome.errors);
        errors.all(|error| error.kind != "NO_PROGRESS")
    }

    /// The cells' digests folded in order.
    pub fn digest(&self) -> u64 {
        self.cells.iter().fold(0, |all, cell| all.rotate_left(9) ^ cell.outcome.digest)
    }
}
