//! Drivers that ask when they need more: chunk by chunk, as nouveau does, until all memory of their devices is in use or a
//! request is refused.
//!
//! Devices take turns. A chunk's device memory is what [`ChunkPolicy::nouveau`] pins at once, 2 MiB in older kernels and 256 MiB in
//! newer ones; in physical space it takes whole sections. So drivers that ask for little at a time come to the end of
//! physical addresses, or of RAM for page structs, long before drivers that ask for everything at once:
//!
//! ```text
//! 2 MiB of memory  128 MiB of physical addresses, 2 MiB of page structs   6.1, 6.12
//! 256 MiB          256 MiB                        4 MiB                   7.3
//! ```

use peerbus_os::device_private::{ChunkPolicy, PrivateDesign};
use peerbus_units::{CpuAddr, Range};
use serde::Serialize;

use super::{Asker, Question, Refused};
use crate::kernel::ProfileName;

/// What became of drivers that ask on demand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OnDemand {
    /// Bytes of device memory of a chunk.
    pub chunk: u64,
    /// Chunks that all device memory is.
    pub wanted: u64,
    /// Chunks granted before the first refusal.
    pub granted: u64,
    /// Bytes of addresses or offsets that they take.
    pub taken: u64,
    /// Bytes of RAM that their page structs take.
    pub page_structs: u64,
    /// The first refusal; nobody asks after it.
    pub refused: Option<Refused>,
}

impl Question<'_> {
    /// Drivers ask chunk by chunk, in turn.
    pub(super) fn on_demand(
        &self,
        profile: ProfileName,
        design: PrivateDesign,
        ram: &[Range<CpuAddr>],
    ) -> OnDemand {
        let mut ground = self.ground(profile, design, ram, 0);
        let chunk = ChunkPolicy::nouveau(&ground.platform.rules).size.0;
        // The chunk pins memory of the device, so what is left of less than a chunk stays without.
        let chunks = |asker: &Asker| asker.memory / chunk;
        let most = self.askers.iter().map(chunks).max().unwrap_or(0);
        let mut found = OnDemand {
            chunk,
            wanted: self.askers.iter().map(chunks).sum(),
            granted: 0,
            taken: 0,
            page_structs: 0,
            refused: None,
        };
        for turn in 0..most {
            for (owner, asker) in (0..).zip(&self.askers).filter(|(_, asker)| turn < chunks(asker)) {
                match ground.ask(&Asker { memory: chunk, ..asker.clone() }, owner) {
                    Ok(grant) => {
                        found.granted += 1;
                        found.taken += grant.size;
                        found.page_structs += grant.page_structs;
                    }
                    Err(refused) => {
                        found.refused = Some(*refused);
                        return found;
                    }
                }
            }
        }
        found
    }
}
