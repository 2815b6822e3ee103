//! What the steps of a fault take: a fixed time and one for each page or huge folio.
//!
//! From `measurements/hmm_migration.tsv`, an Intel GPU under xe that faults on 2 MiB: moving it took 942 µs in pages of 4 KiB
//! (223 µs of them copying) and 128 µs as one huge folio (106 µs), the whole fault 966 and 132 µs, reading the CPU's page table 9 µs
//! and writing the device's 10 µs of the former. Two measurements of one step, with 512 pieces and with one, give both of its
//! times. How the 719 and 22 µs of moving beside copying divide into collecting, unmapping and finishing is not known: equal
//! parts are assumed, of what is fixed as well as of what there is for each piece; telling CPUs to forget translations is done
//! once for all pieces. So is what is not measured there: [`INTERRUPT`], [`REPLAY`], [`CPU_FAULT`], [`PIN`] and [`FIRST_TOUCH`].

use peerbus_os::drivers::Part;
use peerbus_units::Picos;

/// A fixed time, and one for each piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Whatever there is to do.
    pub fixed: Picos,
    /// For each page or huge folio.
    pub each: Picos,
}

impl Cost {
    /// For so many pieces.
    pub fn of(self, pieces: u64) -> Picos {
        Picos(self.fixed.0.saturating_add(self.each.0.saturating_mul(pieces)))
    }
}

/// A fourth of (719 − 22) / 511 µs a piece, and a fifth of what of 22 µs is left.
const MOVING: Cost = Cost { fixed: Picos::nanos(4_127), each: Picos::nanos(341) };

/// What a step of the kernel takes.
pub const fn kernel(part: Part) -> Cost {
    match part {
        Part::Collect | Part::Unmap | Part::Allocate | Part::Finish => MOVING,
        Part::Shootdown => Cost { each: Picos::ZERO, ..MOVING },
        // 9 of 24 µs, and of 4 µs.
        Part::Walk => Cost { fixed: Picos::nanos(1_485), each: Picos(14_677) },
        // 10 of 24 µs.
        Part::Bind => Cost { fixed: Picos::nanos(1_650), each: Picos(16_308) },
    }
}

/// Telling the copy engine: (223 − 106) / 511 µs a piece. What of 106 µs is left beside the transfer itself, 2 MiB at the
/// 25 GB/s of a Gen4 x16 link, is the fixed time.
pub const COPY: Cost = Cost { fixed: Picos::nanos(22_000), each: Picos::nanos(229) };

/// Finding out what a device faulted on: 5 of 24 µs, and of 4 µs, for the whole batch.
pub const LOOKUP: Picos = Picos::nanos(833);

/// From a device's fault until a CPU looks at it. Assumed.
pub const INTERRUPT: Picos = Picos::nanos(5_000);

/// From the end of a fault until the device tries again. Assumed.
pub const REPLAY: Picos = Picos::nanos(2_000);

/// A CPU's fault on a page that is not there, until its driver is asked. Assumed.
pub const CPU_FAULT: Picos = Picos::nanos(1_000);

/// Pinning one page. Assumed.
pub const PIN: Picos = Picos::nanos(200);

/// A CPU's first touch of a page, beside clearing it. Assumed.
pub const FIRST_TOUCH: Picos = Picos::nanos(500);

/// What waits for others looks again after this.
pub const LOOK_AGAIN: Picos = Picos::nanos(1_000);

/// A page that comes to a device so soon after it left one has come back.
pub const BACK_WITHIN: Picos = Picos::nanos(1_000_000);

/// One core's rate through its own memory, in bytes per second. Assumed.
pub const CORE_RATE: u64 = 12_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// The measured times come out of the two constants of each step.
    #[test]
    fn two_constants_give_both_measurements() {
        let moving = [Part::Collect, Part::Unmap, Part::Shootdown, Part::Allocate, Part::Finish];
        let moved = |pieces| moving.iter().map(|part| kernel(*part).of(pieces).0).sum::<u64>();
        let told = |pieces| kernel(Part::Walk).of(pieces).0 + kernel(Part::Bind).of(pieces).0 + LOOKUP.0;
        for (value, microseconds, percent) in [
            (moved(512), 719, 1),
            (moved(1), 22, 1),
            (COPY.of(512).0 - COPY.of(1).0, 223 - 106, 1),
            (told(512), 24 - 4, 15),
            (kernel(Part::Walk).of(512).0, 9, 5),
            (kernel(Part::Bind).of(512).0, 10, 5),
            (told(1), 4, 5),
        ] {
            let expected = microseconds * 1_000_000;
            let off = value.abs_diff(expected) * 100 / expected;
            assert!(off <= percent, "{value} ps against {microseconds} us");
        }
    }
}
