//! How a switch chooses between its ports.

use super::context::{Context, Place};
use crate::codes;
use crate::file;
use crate::model::Arbitration;

/// Phases of the largest port arbitration table that the specification knows.
const MOST_PHASES: u32 = 256;

/// What the field `arbitration` of the switch at `place` says.
pub(super) fn arbitration(ctx: &mut Context, given: &file::Switch, place: &Place) -> Arbitration {
    let expected = "RoundRobin, or WeightedRoundRobin with a weight per port";
    let Some(arbitration) = ctx.take(&given.arbitration, place, "arbitration", expected) else {
        return Arbitration::RoundRobin;
    };
    let Arbitration::WeightedRoundRobin(weights) = &arbitration else { return arbitration };
    let ports = 1 + given.ports.len();
    let phases: u32 = weights.iter().copied().map(u32::from).sum();
    let problem = if weights.len() > ports {
        Some((
            format!("{} weights are given for {ports} ports", weights.len()),
            format!("write {ports} at most: the upstream port's, then those of `ports`"),
        ))
    } else if weights.contains(&0) {
        Some(("a port of weight 0 would never send".to_owned(), "write 1 or more".to_owned()))
    } else if phases > MOST_PHASES {
        Some((
            format!("the weights add up to {phases}, and an arbitration table has {MOST_PHASES} phases"),
            "write smaller numbers in the same proportions".to_owned(),
        ))
    } else {
        None
    };
    if let Some((message, help)) = problem {
        ctx.error(codes::BAD_ARBITRATION, &place.field("arbitration"), message, help);
    }
    arbitration
}
