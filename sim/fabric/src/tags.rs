//! How many tags an engine has, and how many it used.

use crate::{EngineId, Fabric};

impl Fabric {
    /// Tags of an engine, and the most that its read requests used at a time.
    ///
    /// A tag is given out only when all with lower numbers have been: those never used are those that were not needed.
    pub fn tags(&self, engine: EngineId) -> (u16, u16) {
        let all = &self.state.engines[engine.at()].tags;
        let used = all.iter().rposition(|tag| tag.issued > 0).map_or(0, |last| last + 1);
        let narrow = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        (narrow(all.len()), narrow(used))
    }
}
