//! Compute Express Link in parts: ports of a CPU that speak it, and devices whose memory a CPU uses as its own by CXL.mem.
//! Optional in a part: what does not speak CXL has a PCIe link instead, at whose end the memory is not seen.

use peerbus_units::Picos;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// CXL.mem at the root ports of a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CxlPortPart {
    /// From the CPU's internal network to a root port's pins, or back, one way. Memory requests pass less than those of
    /// I/O, for which `root_port_latency` stands.
    pub latency: Picos,
}

/// Memory of a device that a CPU uses as its own (host-managed device memory), of type 2 or 3. All of the device's `memory`
/// is; it is served at the part's `memory_rate`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CxlMemoryPart {
    /// From a read request at its pins to the first data at its pins.
    pub latency: Picos,
    /// Read requests that it accepts before it has served any; at least 1.
    pub reads: u16,
    /// Lines of 64 B of writes that it accepts before it has stored any; 64 at least, 8192 at most.
    pub writes: u16,
}

impl CxlMemoryPart {
    /// Whether the numbers can be.
    pub fn is_possible(&self) -> bool {
        self.reads > 0 && (64..=8192).contains(&self.writes)
    }
}
