//! A machine for all tests, and how they load scenarios on it.

use peerbus_machine::{Catalogue, Diagnostic};
use peerbus_scenario::{Loaded, load};

/// Two GPUs, an SSD, both sides of a bridge and a device without memory below one switch, and a device on the root bus.
pub const MACHINE: &str = r#"(
    name: "m",
    cpus: [(part: "generic-cpu")],
    host_bridges: [(
        ports: [(below: Switch(part: "generic-switch", ports: [
            (below: Device(part: "a100-pcie-80g", bars: [(index: 0, size: "256MiB", kind: Mem64Prefetch)])),
            (below: Device(
                part: "a100-pcie-80g", bars: [(index: 0, size: "256MiB", kind: Mem64Prefetch)],
                aperture: (page: "64KiB"),
            )),
            (below: Device(
                name: "ssd0", part: "generic-ssd", pci: (vendor: 0x1b36, device: 0x10),
                bars: [(index: 0, size: "1MiB", kind: Mem64Prefetch)],
            )),
            (below: Device(name: "side-a", part: "pex-87xx-ntb")),
            (below: Device(name: "side-b", part: "pex-87xx-ntb")),
            (below: Device(name: "mute0", part: "generic-device", pci: (vendor: 0x1b36, device: 5), bars: [])),
        ]))],
        devices: [(name: "inside0", part: "generic-device", pci: (vendor: 0x1b36, device: 5))],
    )],
    ntbs: [(from: "side-a", to: "side-b")],
)"#;

/// Files by name; `dir/` holds one that is only found beside a scenario in that folder.
pub fn provide(path: &str) -> Result<String, String> {
    match path {
        "m.ron" | "dir/beside.ron" => Ok(MACHINE.to_owned()),
        "broken.ron" => Ok("(cpus: [(prat: \"generic-cpu\")])".to_owned()),
        "nvbandwidth.json" => {
            let case = r#"{"name": "d2d", "bandwidth_matrix": [["N/A", "21.5"], ["21.4", "N/A"]]}"#;
            Ok(format!(r#"{{"nvbandwidth": {{"testcases": [{case}]}}}}"#))
        }
        _ => Err("no such file".to_owned()),
    }
}

/// Loads a scenario with the files of [`provide`].
pub fn load_text(text: &str, file: &str) -> (Option<Loaded>, Vec<Diagnostic>) {
    load(text, file, &provide, &Catalogue::embedded())
}
