//! How long the initialisation of page structs takes.
//!
//! ```text
//! time = call + pages × (rate(state) - saving)
//! ```
//!
//! A page struct is *cold* when the memory that it lies in has just been allocated and was in no cache or table, and
//! *warm* when the same memory held page structs shortly before, as after unbinding and binding a driver again. Every
//! page counts, also those of compound pages whose tails share their structs: the kernel still visits each
//! compound page, and measured times of both kinds lie within a few percent of each other.
//!
//! The saving is that of a series posted in 2026; measured times say that it is about the same, cold and warm.
//!
//! Example: 100 GiB are 26,214,400 pages of 4 KiB; at 56 ns each, cold, 1.47 s.

use peerbus_units::Picos;

use super::PageMapRules;

/// What the memory of page structs was before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PageState {
    /// Just allocated.
    Cold,
    /// It held page structs shortly before.
    Warm,
}

/// What one kind of CPU takes for page structs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageRates {
    /// Per page, cold.
    pub cold: Picos,
    /// Per page, warm.
    pub warm: Picos,
    /// What a kernel with the faster initialisation saves per page.
    pub posted_saving: Picos,
    /// Per page map, whatever its size.
    pub call: Picos,
}

/// Page structs to be initialised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Initialisation {
    /// Pages.
    pub pages: u64,
    /// What their structs' memory was before.
    pub state: PageState,
}

impl Initialisation {
    /// How long it takes; the longest time there is when the product does not fit.
    pub fn time(self, rules: &PageMapRules, rates: &PageRates) -> Picos {
        let whole = match self.state {
            PageState::Cold => rates.cold,
            PageState::Warm => rates.warm,
        };
        let saving = if rules.faster_initialisation { rates.posted_saving } else { Picos::ZERO };
        let rate = whole.saturating_sub(saving);
        Picos(self.pages.saturating_mul(rate.0).saturating_add(rates.call.0))
    }
}
