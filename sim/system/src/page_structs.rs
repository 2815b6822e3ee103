//! How long a machine takes for the page structs of device memory: the CPU's rates, for the operating system's count.

use peerbus_machine::part::CpuPart;
use peerbus_os::pagemap::PageRates;
use peerbus_units::Picos;

/// The rates of a CPU's part. Nothing is known of what a page map takes whatever its size: it is left out.
pub fn page_rates(part: &CpuPart) -> PageRates {
    let rates = part.page_structs.unwrap_or_default();
    PageRates { cold: rates.cold, warm: rates.warm, posted_saving: rates.posted_saving, call: Picos::ZERO }
}
