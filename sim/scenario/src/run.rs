//! Running a scenario: its cells, one after the other or, above this crate, side by side.
//!
//! [`cells`] gives the runs, [`run_cell`] makes one, [`assemble`] puts the outcomes together in the order of the
//! cells, whatever order they were made in. Cells share nothing but their immutable machines.

use std::sync::Arc;

use peerbus_machine::Machine;
use peerbus_system::outcome::Outcome;
use peerbus_system::run::{RunError, RunInput, run};

use crate::expect::evaluate;
use crate::load::Loaded;
use crate::measured::compare;
use crate::result::{Cell, ScenarioResult};

/// One run.
#[derive(Clone, Debug)]
pub struct CellInput {
    /// The variant's name; empty in a scenario without variants.
    pub variant: String,
    /// The machine as the scenario names it.
    pub machine_name: String,
    /// The machine; shared by the variants that name the same.
    pub machine: Arc<Machine>,
    /// What to run on it.
    pub input: RunInput,
}

/// The runs of a scenario.
pub fn cells(loaded: &Loaded) -> &[CellInput] {
    &loaded.cells
}

/// Makes one run.
///
/// # Errors
///
/// A workload that cannot be set up, such as buffers that do not fit into host memory.
pub fn run_cell(cell: &CellInput) -> Result<Outcome, RunError> {
    run(&cell.machine, &cell.input)
}

/// Puts `outcomes`, one per cell and in their order, together and evaluates the expectations.
pub fn assemble(loaded: Loaded, outcomes: Vec<Outcome>) -> ScenarioResult {
    assert_eq!(loaded.cells.len(), outcomes.len(), "one outcome per cell");
    let pairs = loaded.cells.into_iter().zip(outcomes);
    let cells: Vec<Cell> = pairs.map(|(cell, outcome)| Cell { variant: cell.variant, outcome }).collect();
    ScenarioResult {
        expectations: loaded.expectations.iter().map(|condition| evaluate(condition, &cells)).collect(),
        measured: loaded.measured.into_iter().map(|measurement| compare(measurement, &cells)).collect(),
        scenario: loaded.file,
        description: loaded.description,
        machine: loaded.machine,
        seed: loaded.seed,
        cells,
    }
}
