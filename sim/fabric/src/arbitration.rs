//! Weighted round robin between the inputs of an output, by a table of phases as the port arbitration table of a switch
//! has them (Base Specification, Port Arbitration): each phase belongs to one input, which may send one TLP in it; a phase
//! whose input has nothing to send is skipped.

use crate::run::Fabric;
use crate::spec::LinkId;

/// No input has been given a phase since the last one was used.
const NOBODY: u32 = u32::MAX;

/// The table for inputs with these weights. Phases of one input are spread evenly: in each phase every input earns its
/// weight, and the one that has most pays the sum of all weights for it.
pub(crate) fn phases(weights: &[u16]) -> Vec<u8> {
    let sum: i64 = weights.iter().copied().map(i64::from).sum();
    let mut earned = vec![0i64; weights.len()];
    let phase = |_| {
        for (earned, weight) in earned.iter_mut().zip(weights) {
            *earned += i64::from(*weight);
        }
        // Of equals the first.
        let most = earned.iter().copied().max().unwrap_or(0);
        let chosen = earned.iter().position(|earned| *earned == most).unwrap_or(0);
        earned[chosen] -= sum;
        u8::try_from(chosen).expect("a node has at most 120 inputs")
    };
    (0..sum).map(phase).collect()
}

impl Fabric {
    /// The input whose phase it is among `candidates`, or any number when none of them has a phase.
    pub(crate) fn weighted_turn(&mut self, link: LinkId, candidates: u128) -> u32 {
        let table = &self.spec.nodes[self.spec.links[link.at()].from.at()].phases;
        let state = &mut self.state.links[link.at()];
        let input = |phase: usize| u32::from(table[phase]);
        // The input that was given this phase has sent.
        if state.turn == input(state.phase) + 1 {
            state.phase = (state.phase + 1) % table.len();
        }
        state.turn = NOBODY;
        let ahead = (0..table.len()).map(|skipped| (state.phase + skipped) % table.len());
        match ahead.into_iter().find(|phase| candidates & 1 << input(*phase) != 0) {
            Some(phase) => {
                state.phase = phase;
                input(phase)
            }
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_spread() {
        for (weights, expect) in [
            (&[1, 1][..], &[0, 1][..]),
            (&[3, 1], &[0, 0, 1, 0]),
            (&[1, 2, 1], &[1, 0, 2, 1]),
            (&[2], &[0, 0]),
        ] {
            assert_eq!(phases(weights), expect, "{weights:?}");
        }
    }
}
