//! How a device's memory, or another host's, is reached through its base address registers.

use peerbus_units::{Bytes, Picos, Rate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The table by which the largest memory BAR of a device shows its memory, page by page. A device without one shows its
/// memory from the first byte on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AperturePart {
    /// Size of a page: a power of two from 4KiB to 1GiB, and no larger than the BAR.
    pub page: Bytes,
    /// What a look-up adds to every request, at most 10us; look-ups do not hold each other up. Default 0.
    #[serde(default)]
    pub look_up: Picos,
}

impl AperturePart {
    /// Whether the table can exist.
    pub fn is_possible(&self) -> bool {
        let sizes = 4 << 10..=1 << 30;
        self.page.0.is_power_of_two() && sizes.contains(&self.page.0) && self.look_up <= Picos::nanos(10_000)
    }
}

/// One side of a non-transparent bridge. To its own hierarchy it is an endpoint; what is sent to its windows goes on in the
/// hierarchy of the other side, by an address and a requester id that belong there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NtbPart {
    /// BARs that are windows, 0 to 5, in the order in which they are used; the others are registers.
    pub windows: Vec<u8>,
    /// Requesters that its table holds, 1 to 512.
    pub requesters: u16,
    /// From one side to the other, in each direction.
    pub latency: Picos,
    /// Payload rate between the two sides, in each direction.
    pub rate: Rate,
}

impl NtbPart {
    /// Whether the bridge can exist.
    pub fn is_possible(&self) -> bool {
        let mut windows = self.windows.clone();
        windows.sort_unstable();
        windows.dedup();
        windows.len() == self.windows.len()
            && !windows.is_empty()
            && windows.iter().all(|bar| *bar < 6)
            && (1..=512).contains(&self.requesters)
    }
}
