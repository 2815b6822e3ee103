//! Making the calls.

use peerbus_os::{Rules, RulesOptions};

use super::call::{Call, Replay};
use super::peer::PeerState;
use super::pool::PoolState;
use super::region::RegionState;
use super::result::{Document, Entry, Outcome};

/// What the last constructor of each kind made.
#[derive(Clone, Debug)]
struct State {
    rules: Rules,
    pool: Option<PoolState>,
    region: Option<RegionState>,
    peers: Option<PeerState>,
}

/// Makes all calls in order.
pub fn run(replay: &Replay) -> Document {
    let rules = replay.profile.profile().rules(RulesOptions::default());
    let mut state = State { rules, pool: None, region: None, peers: None };
    let outcomes = replay.calls.iter().map(|call| state.call(call));
    let results = outcomes.enumerate().filter_map(|(call, outcome)| Some(Entry { call, outcome: outcome? }));
    let results = results.collect();
    Document::new(replay, results)
}

impl State {
    /// What `call` returns; `None` when it succeeds and returns nothing.
    fn call(&mut self, call: &Call) -> Option<Outcome> {
        match call {
            Call::Pool { order, algorithm } => {
                self.pool = Some(PoolState::new(*order, *algorithm));
                None
            }
            Call::Region(setup) => {
                self.region = Some(RegionState::new(setup, &self.rules));
                None
            }
            Call::Machine(setup) => {
                self.peers = Some(PeerState::new(setup));
                None
            }
            Call::Peer(call) => match &mut self.peers {
                Some(peers) => peers.call(call),
                None => Some(unmade("Machine")),
            },
            Call::AddChunk { .. } | Call::Alloc { .. } | Call::Free { .. } | Call::Avail => self.pool(call),
            Call::Busy { .. } | Call::Request { .. } | Call::Release { .. } => self.region(call),
        }
    }

    fn pool(&mut self, call: &Call) -> Option<Outcome> {
        let Some(pool) = &mut self.pool else { return Some(unmade("Pool")) };
        match call {
            Call::AddChunk { base, size } => pool.add(*base, *size),
            Call::Alloc { id, size, algorithm } => return Some(pool.alloc(*id, *size, *algorithm)),
            Call::Free { what, size } => return pool.free(*what, *size),
            Call::Avail => return Some(pool.available()),
            _ => {}
        }
        None
    }

    fn region(&mut self, call: &Call) -> Option<Outcome> {
        let Some(region) = &mut self.region else { return Some(unmade("Region")) };
        match call {
            Call::Busy { range, name } => region.busy(*range, name),
            Call::Request { id, size, upwards } => Some(region.request(*id, *size, *upwards)),
            Call::Release { id } => region.release(*id),
            _ => None,
        }
    }
}

/// Loading refuses such a list; a list made by other means gets this.
fn unmade(constructor: &str) -> Outcome {
    Outcome::failed("EINVAL", format!("there is no {constructor} before this call"))
}
