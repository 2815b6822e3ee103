//! Which facts are assumed because the number of a part is.
//!
//! A part says for each field where its number comes from. Where that begins with `assumed`, a machine that uses
//! the number assumes a fact of the kind given here.

use crate::model::{Fact, Facts};
use crate::part::Sources;

/// The fact that a field of a part is about; `None` for fields that describe and do not decide anything.
fn fact_of(field: &str) -> Option<Fact> {
    Some(match field {
        "acs" => Fact::Acs,
        "bars" => Fact::Bars,
        "memory" => Fact::Memory,
        "generation" | "lanes" | "total_lanes" => Fact::Link,
        "physical_bits" | "virtual_bits" => Fact::Windows,
        "root_bus_head" | "host_bridges" => Fact::HostBridge,
        "vendor" | "family" | "models" | "peer_to_peer" => Fact::Cpu,
        "pci" | "class" | "root_port" | "ports" => Fact::Part,
        "root_port_latency"
        | "network_latency"
        | "memory_latency"
        | "latency"
        | "request_latency"
        | "completer_latency"
        | "completion_timeout"
        | "dma"
        | "host_bridge_rate"
        | "memory_rate"
        | "memory_write_rate"
        | "peer_rate"
        | "in_order"
        | "aperture"
        | "ntb"
        | "reads_in_turn"
        | "root_port_rate"
        | "write_rate"
        | "read_rate"
        | "rate"
        | "rate_back"
        | "core"
        | "page_structs"
        | "atc"
        | "cxl"
        | "packet_payload"
        | "packet_header"
        | "packet_unit"
        | "tags"
        | "buffers"
        | "max_payload"
        | "max_read_request"
        | "iommu"
        | "cache"
        | "peer_limits"
        | "nvme"
        | "read_completion_boundary" => Fact::Timing,
        _ => return None,
    })
}

/// True when the part's number for `field` has no source but a guess.
pub(super) fn is_assumed(sources: &Sources, field: &str) -> bool {
    sources.get(field).is_some_and(|source| source.starts_with("assumed"))
}

/// The facts that those of `fields` stand for whose numbers are assumed.
pub(super) fn assumed(sources: &Sources, fields: &[&str]) -> Facts {
    fields.iter().filter(|field| is_assumed(sources, field)).filter_map(|field| fact_of(field)).collect()
}

/// The facts behind all fields of a part that say how fast it is.
pub(super) fn timing(sources: &Sources) -> Facts {
    let timed = |field: &&str| fact_of(field) == Some(Fact::Timing);
    let fields: Vec<&str> = sources.keys().map(String::as_str).filter(timed).collect();
    assumed(sources, &fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use crate::part::Part;

    /// A field that the table forgets would be used without anyone learning that it is a guess.
    #[test]
    fn every_field_that_parts_assume_is_a_fact() {
        // What a product is like in words, not in numbers.
        let descriptive = ["switched"];
        for part in Catalogue::embedded().parts().iter().map(Part::sources) {
            for field in part.keys().filter(|field| !descriptive.contains(&field.as_str())) {
                assert!(fact_of(field).is_some(), "{field}");
            }
        }
    }
}
