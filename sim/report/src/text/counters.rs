//! What functions, IOMMUs and caches counted.

use peerbus_scenario::Cell;

use super::table::{Column, Fit, table};
use super::{TextOptions, of_variant};
use crate::describe::{self, COUNTER_TITLES};

/// A row for each place and kind of counter that is not 0.
pub fn counters(cell: &Cell, options: TextOptions) -> String {
    let rows = describe::counters(&cell.outcome);
    if rows.is_empty() {
        return String::new();
    }
    let columns = COUNTER_TITLES.map(Column::Left);
    format!("{}{}\n{}", options.heading("Counters"), of_variant(cell), table(&columns, rows, Fit::Wrapped))
}
