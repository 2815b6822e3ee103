//! Workloads on peer memory: what became of their requests, and how full their pools were.

use peerbus_scenario::Cell;
use peerbus_system::outcome::PeerMemoryOutcome;

use super::table::{Column, Fit, labelled, table};
use super::{TextOptions, of_variant};
use crate::describe;

/// A block for each workload of a variant.
pub fn peer_memory(cell: &Cell, options: TextOptions) -> String {
    let blocks: Vec<String> =
        cell.outcome.peer_memory.iter().map(|memory| block(cell, memory, options)).collect();
    blocks.join("\n\n")
}

fn block(cell: &Cell, memory: &PeerMemoryOutcome, options: TextOptions) -> String {
    let heading = options.heading(&format!("Peer memory {}", memory.name));
    let mut lines = vec![format!("{heading}{}", of_variant(cell))];
    for (label, value) in describe::peer_memory(memory) {
        lines.push(labelled(&label, &value));
    }
    if !memory.pools.is_empty() {
        lines.push(table(&COLUMNS, describe::pools(memory), Fit::Wrapped));
    }
    lines.join("\n")
}

const COLUMNS: [Column<'_>; 7] = [
    Column::Left(describe::POOL_TITLES[0]),
    Column::Right(describe::POOL_TITLES[1]),
    Column::Right(describe::POOL_TITLES[2]),
    Column::Right(describe::POOL_TITLES[3]),
    Column::Right(describe::POOL_TITLES[4]),
    Column::Right(describe::POOL_TITLES[5]),
    Column::Right(describe::POOL_TITLES[6]),
];
