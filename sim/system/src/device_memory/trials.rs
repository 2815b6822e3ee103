//! Trials: what is unknown is drawn, and how often everything fits is counted.
//!
//! Unknown are the number of devices, where several are given, and the size of RAM, each by weight; the order in which drivers
//! bind and ask, any order as likely as any other; and the seed by which arm64 kernels up to 6.12 place their linear map, 16 bits.
//! A trial draws all from a stream of its own (seed, number of the trial), so that what is drawn depends on neither threads nor
//! other trials.
//!
//! A machine with fewer devices has the first of those described, one with more begins again with the first.
//!
//! Devices of equal memory are the same to every kernel: trials with the same [`Draw`] are judged once.

use std::collections::BTreeMap;

use peerbus_engine::Stream;
use peerbus_os::device_private::PrivateDesign;
use peerbus_units::{Bytes, CpuAddr, Range};
use serde::Serialize;

use super::answer::Ground;
use super::{Asker, Design, Obstacle, Proportion, Question, pairs};
use crate::kernel::ProfileName;

/// What to draw.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TrialOptions {
    /// Trials, 1 to 2^28.
    pub trials: u64,
    /// Seed of all streams.
    pub seed: u64,
    /// Sizes of the machine's RAM in bytes; none: as the machine has.
    pub ram: Vec<Weighted>,
    /// Numbers of devices; none: as the machine has.
    pub devices: Vec<Weighted>,
}

/// One of several values that a trial may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Weighted {
    /// The value.
    pub value: u64,
    /// How likely it is, in relation to the others; at least 1.
    pub weight: u32,
}

impl Weighted {
    /// A value that is as likely as any other.
    pub const fn once(value: u64) -> Weighted {
        Weighted { value, weight: 1 }
    }
}

/// Draws one of some, by number; 0 of none.
fn pick(choices: &[Weighted], stream: &mut Stream) -> usize {
    let all: u64 = choices.iter().map(|choice| u64::from(choice.weight)).sum();
    let mut left = stream.below(all.max(1));
    let reached = choices.iter().position(|choice| match left.checked_sub(u64::from(choice.weight)) {
        Some(more) => {
            left = more;
            false
        }
        None => true,
    });
    reached.unwrap_or(0)
}

/// Everything that differs between trials.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Draw {
    /// Bytes that drivers ask for, in order.
    sizes: Vec<u64>,
    /// Which size of RAM.
    ram: usize,
    /// Places an arm64 kernel's linear map.
    seed: u16,
}

/// What became of a draw in one kernel and design.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Drivers that got page structs.
    pub granted: usize,
    /// Drivers that asked.
    pub of: usize,
    /// Why the first of the others did not.
    pub first: Option<Obstacle>,
}

/// A question, what is to be drawn, and what RAM there may be.
#[derive(Clone, Debug)]
pub struct Trials<'a> {
    question: Question<'a>,
    options: TrialOptions,
    ram: Vec<Vec<Range<CpuAddr>>>,
}

impl<'a> Trials<'a> {
    /// Trials of a question.
    pub fn new(question: &Question<'a>, options: TrialOptions) -> Trials<'a> {
        let mut ram: Vec<_> = options.ram.iter().map(|total| question.ram_of(Bytes(total.value))).collect();
        if ram.is_empty() {
            ram.push(question.ram());
        }
        Trials { question: question.clone(), options, ram }
    }

    /// All trials: each different draw, and how often it came, in a fixed order.
    pub fn draws(&self) -> Vec<(Draw, u64)> {
        let mut draws = BTreeMap::new();
        for number in 0..self.options.trials {
            *draws.entry(self.draw(number)).or_insert(0) += 1;
        }
        draws.into_iter().collect()
    }

    fn draw(&self, number: u64) -> Draw {
        let mut stream = Stream::new(self.options.seed, number);
        let askers = &self.question.askers;
        let count = match self.options.devices.as_slice() {
            [] => askers.len(),
            choices => {
                let chosen = choices.get(pick(choices, &mut stream)).map_or(0, |choice| choice.value);
                usize::try_from(chosen).unwrap_or(usize::MAX)
            }
        };
        let mut sizes: Vec<u64> = askers.iter().cycle().take(count).map(|asker| asker.memory).collect();
        for at in (1..sizes.len()).rev() {
            let other = usize::try_from(stream.below(at as u64 + 1)).unwrap_or(at);
            sizes.swap(at, other);
        }
        let ram = pick(&self.options.ram, &mut stream);
        let random = !self.question.is_pc() && self.question.is_random();
        let seed = if random { u16::try_from(stream.below(1 << 16)).unwrap_or(0) } else { 0 };
        Draw { sizes, ram, seed }
    }

    /// What becomes of a draw: a verdict for every profile in both designs, in the order of [`Question::answers`].
    pub fn judge(&self, draw: &Draw) -> Vec<Verdict> {
        let verdict = |(profile, design): (ProfileName, PrivateDesign)| {
            let ram = self.ram.get(draw.ram).map_or(&[][..], Vec::as_slice);
            let mut ground = self.question.ground(profile, design, ram, draw.seed);
            self.verdict(&mut ground, draw)
        };
        pairs().map(verdict).collect()
    }

    fn verdict(&self, ground: &mut Ground, draw: &Draw) -> Verdict {
        let mut verdict = Verdict { granted: 0, of: draw.sizes.len(), first: None };
        // Who asks matters to nobody but for the size: the askers' names stand in any order.
        let askers = self.question.askers.iter().cycle();
        for ((number, memory), asker) in (0..).zip(&draw.sizes).zip(askers) {
            match ground.ask(&Asker { memory: *memory, ..asker.clone() }, number) {
                Ok(_) => verdict.granted += 1,
                Err(refused) => verdict.first = verdict.first.or(Some(refused.obstacle)),
            }
        }
        verdict
    }

    /// Counts verdicts, one list per draw in the order of [`Trials::draws`].
    pub fn report(&self, draws: &[(Draw, u64)], verdicts: &[Vec<Verdict>]) -> TrialReport {
        let column = |number: usize| {
            let times = draws.iter().map(|(_, times)| *times);
            times.zip(verdicts.iter().filter_map(move |row| row.get(number).copied()))
        };
        let rows =
            pairs().enumerate().map(|(number, (profile, design))| self.row(profile, design, column(number)));
        TrialReport { options: self.options.clone(), distinct: draws.len() as u64, rows: rows.collect() }
    }

    fn row(
        &self,
        profile: ProfileName,
        design: PrivateDesign,
        column: impl Iterator<Item = (u64, Verdict)>,
    ) -> TrialRow {
        let mut fits = 0;
        let mut worst: Option<Verdict> = None;
        let mut first_failures: BTreeMap<Obstacle, u64> = BTreeMap::new();
        for (times, verdict) in column {
            let refused = |verdict: Verdict| verdict.of - verdict.granted;
            if worst.is_none_or(|worst| refused(verdict) > refused(worst)) {
                worst = Some(verdict);
            }
            match verdict.first {
                None => fits += times,
                Some(obstacle) => *first_failures.entry(obstacle).or_insert(0) += times,
            }
        }
        let fits = Proportion::new(fits, self.options.trials.max(1));
        let (fewest, of) = worst.map_or((0, 0), |worst| (worst.granted as u64, worst.of as u64));
        TrialRow { profile, design: design.into(), fits, fewest, of, first_failures }
    }
}

/// What became of all trials.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TrialReport {
    /// What was drawn.
    pub options: TrialOptions,
    /// Different draws among them.
    pub distinct: u64,
    /// A row for every profile in both designs.
    pub rows: Vec<TrialRow>,
}

/// What became of them in one kernel and design.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TrialRow {
    /// The kernel.
    pub profile: ProfileName,
    /// The design.
    pub design: Design,
    /// Trials in which all device memory got page structs.
    pub fits: Proportion,
    /// Devices that got theirs in the worst trial, in which most were refused.
    pub fewest: u64,
    /// Devices in that trial.
    pub of: u64,
    /// In how many trials the first failure was of which kind.
    pub first_failures: BTreeMap<Obstacle, u64>,
}
