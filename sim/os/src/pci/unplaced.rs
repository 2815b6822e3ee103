//! BARs without an address: what their registers hold, so that they answer over nothing.
//!
//! Decoding is one switch for all memory BARs of a function and one for all I/O BARs. Linux leaves the
//! register of a BAR that found no place as it was, and a driver that enables the function lets it answer
//! there too: at firmware's address, or at 0. This differs on purpose: a register whose range touches a
//! window of the host bridge, or lies at 0 where RAM is, is *parked* at the highest address it can hold. Where
//! even that touches a window, the function does not decode that kind at all. A register that firmware set
//! to an address outside of all windows keeps it, as with Linux.

use peerbus_units::{BusAddr, Bytes, Range};

use super::failure::{Cause, WhyNot};
use super::regs;
use super::resource::{ROM, ResourceFlags};
use super::tree::{FunctionIndex, Tree};
use crate::{ConfigAccess, ConfigSpace};

/// Highest port or address of BARs, by what they can hold.
const LAST_PORT: u64 = 0xffff;
const LAST_32: u64 = 0xffff_ffff;

/// BARs of `function` without an address. What is immovable has no register that could be changed.
fn unplaced(tree: &Tree, function: FunctionIndex) -> impl Iterator<Item = &WhyNot> {
    let own = move |failure: &&WhyNot| {
        let moves = failure.cause != Cause::Immovable;
        failure.resource.function == function && failure.resource.number < ROM && moves
    };
    tree.failures.iter().filter(own)
}

fn register(failure: &WhyNot) -> u16 {
    regs::BASE_ADDRESS_0 + 4 * u16::try_from(failure.resource.number).unwrap_or(0)
}

/// Bus addresses at which the BAR answers, if its kind is decoded.
fn answers_at(cs: &impl ConfigSpace, failure: &WhyNot) -> u64 {
    let low = u64::from(cs.read_dword(failure.function, register(failure)));
    if failure.flags.is_io() {
        return low & !0x3;
    }
    let wide = failure.flags.has(ResourceFlags::MEM_64);
    let high = if wide { u64::from(cs.read_dword(failure.function, register(failure) + 4)) } else { 0 };
    high << 32 | low & !0xf
}

/// True when the BAR at `first` would answer inside a window of its host bridge, or at the start of RAM.
fn is_in_the_way(tree: &Tree, failure: &WhyNot, first: u64) -> bool {
    let Some(range) = Range::sized(BusAddr(first), failure.size) else { return true };
    let windows = tree.host_bridge_of(failure.resource.function).windows.iter();
    let mut same = windows.filter(|window| window.kind.flags().same_type(failure.flags));
    let touched = same.any(|w| Range::sized(w.bus, w.cpu.size()).is_some_and(|side| side.overlaps(range)));
    touched || first == 0
}

/// Moves registers of unplaced BARs of `function` out of the way.
pub(crate) fn park(cs: &mut impl ConfigSpace, tree: &Tree, function: FunctionIndex) {
    for failure in unplaced(tree, function) {
        if !is_in_the_way(tree, failure, answers_at(cs, failure)) {
            continue;
        }
        let wide = failure.flags.has(ResourceFlags::MEM_64);
        let last = if failure.flags.is_io() { LAST_PORT } else { LAST_32 };
        let first = if wide { u64::MAX } else { last } & !(failure.size.0.max(Bytes(1).0) - 1);
        let command = cs.read_word(failure.function, regs::COMMAND);
        cs.write_word(failure.function, regs::COMMAND, command & !regs::COMMAND_DECODE);
        cs.write_dword(failure.function, register(failure), (first & LAST_32) as u32);
        if wide {
            cs.write_dword(failure.function, register(failure) + 4, (first >> 32) as u32);
        }
        cs.write_word(failure.function, regs::COMMAND, command);
    }
}

/// Decoding bits of the command register that `function` must not have set.
pub(crate) fn harmful(cs: &impl ConfigSpace, tree: &Tree, function: FunctionIndex) -> u16 {
    let harms = unplaced(tree, function).filter(|f| is_in_the_way(tree, f, answers_at(cs, f)));
    harms.fold(0, |bits, failure| {
        bits | if failure.flags.is_io() { regs::COMMAND_IO } else { regs::COMMAND_MEMORY }
    })
}
