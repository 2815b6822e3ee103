//! From the text of a replay to calls that can be made, with every problem found.
//!
//! Besides shapes and missing fields, these are problems of the file and not results: calls before their
//! constructor, ids that no earlier call was given, parameters the kernel's code does not define, and recorded
//! results that belong to no call.

mod context;
mod peer;
mod pool;
mod region;
mod results;

use std::collections::BTreeSet;
use std::sync::Arc;

use peerbus_machine::Catalogue;
use peerbus_machine::diagnostic::{Diagnostic, any_error, sort};
use peerbus_machine::load::read;

use super::call::{Call, PeerSetup, Replay};
use super::{codes, file};
use crate::kernel::ProfileName;
use context::{Context, Place};
use peer::Machines;
pub use peer::Provider;

/// Reads a replay, RON or JSON (by the extension of `file_name`, or else by its first character), and the machines it
/// names. `provider` reads files: a machine's path is tried as it is and then beside the replay. All problems are
/// returned, the replay's and the machines'; without errors, so is the replay.
pub fn load(
    text: &str,
    file_name: &str,
    provider: &Provider<'_>,
    catalogue: &Catalogue,
) -> (Option<Replay>, Vec<Diagnostic>) {
    let reading = read::<file::Replay>(text, file_name);
    let mut context = Context::new(&reading.source, reading.diagnostics);
    let machines = Machines { provider, catalogue, file_name };
    let replay = reading.value.map(|given| lower(&mut context, &given, &machines));
    let mut diagnostics = context.0.diagnostics;
    sort(&mut diagnostics);
    (replay.flatten().filter(|_| !any_error(&diagnostics)), diagnostics)
}

/// `None` when a call could not be understood; then an error was reported.
fn lower(context: &mut Context<'_>, given: &file::Replay, machines: &Machines<'_>) -> Option<Replay> {
    let top = Place::default();
    let profile = context.take(&given.profile, &top, "profile", "the name of a kernel").unwrap_or_default();
    if given.calls.is_empty() && !context.left_out(&top, "calls") {
        let help = "write `calls:` with a list such as [Pool(), AddChunk(…), Alloc(…)]";
        context.error(codes::MISSING_FIELD, &top, "there are no calls".to_owned(), help);
    }
    // What was left out may have been what a later call refers to.
    let mut known = Known { unsure: context.left_out(&top, "calls"), ..Known::default() };
    let mut calls = Vec::with_capacity(given.calls.len());
    for (index, call) in given.calls.iter().enumerate() {
        let place = top.element("calls", index);
        let lowered = context.call(call, &place, &mut known, machines, profile);
        known.unsure |= lowered.is_none();
        calls.extend(lowered);
    }
    let recorded = given.results.as_ref().map(|results| context.results(results, given.calls.len()));
    (calls.len() == given.calls.len()).then_some(Replay { profile, calls, recorded })
}

/// What earlier calls made.
#[derive(Default)]
struct Known {
    /// Some call was not understood, so what seems to be missing may not be.
    unsure: bool,
    pool: bool,
    region: bool,
    /// There was a Machine, though it may have been wrong.
    booted: bool,
    machine: Option<Arc<PeerSetup>>,
    /// Ids given by allocations since the last pool was made.
    allocations: Ids,
    /// Ids given by requests since the last tree was made.
    requests: Ids,
}

/// Ids of one kind.
#[derive(Default)]
struct Ids {
    given: BTreeSet<u64>,
    /// Those not given back.
    held: BTreeSet<u64>,
}

impl Context<'_> {
    fn call(
        &mut self,
        call: &file::Call,
        place: &Place,
        known: &mut Known,
        machines: &Machines<'_>,
        profile: ProfileName,
    ) -> Option<Call> {
        match call {
            file::Call::Machine(machine) => {
                known.booted = true;
                known.machine = self.machine(machine, place, machines, profile);
                known.machine.clone().map(Call::Machine)
            }
            file::Call::Pool(pool) => {
                (known.pool, known.allocations) = (true, Ids::default());
                self.pool(pool, place)
            }
            file::Call::Region(region) => {
                (known.region, known.requests) = (true, Ids::default());
                self.region(region, place, profile)
            }
            file::Call::AddChunk(_) | file::Call::Alloc(_) | file::Call::Free(_) | file::Call::Avail => {
                self.made(known.pool || known.unsure, place, "Pool");
                self.pool_call(call, place, known)
            }
            file::Call::Busy(_) | file::Call::Request(_) | file::Call::Release(_) => {
                self.made(known.region || known.unsure, place, "Region");
                self.region_call(call, place, known)
            }
            _ => {
                self.made(known.booted || known.unsure, place, "Machine");
                self.peer_call(call, place, known)
            }
        }
    }

    /// Reports a call that nothing was made for.
    fn made(&mut self, made: bool, place: &Place, constructor: &str) {
        if !made {
            let message = format!("there is no {constructor} before this call");
            self.error(codes::NO_CONSTRUCTOR, place, message, format!("write {constructor}(…) before it"));
        }
    }

    /// Notes that `id` is given; warns when what it names would be lost.
    fn give(&mut self, id: Option<u64>, ids: &mut Ids, place: &Place) {
        let Some(id) = id else { return };
        ids.given.insert(id);
        if !ids.held.insert(id) {
            let message = format!("id {id} is given again before what it names is given back");
            let help = "choose another id, or give the first one back; it cannot be from here on";
            self.warning(codes::ID_GIVEN_AGAIN, &place.field("id"), message, help);
        }
    }

    /// Notes that what `id` names is given back; reports an id that names nothing.
    fn give_back(&mut self, id: u64, ids: &mut Ids, unsure: bool, place: &Place, giver: &str) {
        ids.held.remove(&id);
        if !ids.given.contains(&id) && !unsure {
            let known: Vec<String> = ids.given.iter().take(8).map(u64::to_string).collect();
            let help = match known.as_slice() {
                [] => format!("no {giver} before it has an id"),
                known => format!("earlier calls have the ids {}", known.join(", ")),
            };
            let message = format!("no {giver} before this call has the id {id}");
            self.error(codes::UNKNOWN_ID, &place.field("id"), message, help);
        }
    }
}
