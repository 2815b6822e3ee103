//! Calls of peer-to-peer DMA: one booted machine, its remembered types, and the search for providers.

use serde_json::{Value, json};

use super::{load, ran};

/// The results of `calls`, without reasons.
#[track_caller]
fn check(calls: &str, expected: Value) {
    for profile in ["Linux_6_1", "Linux_6_12", "Linux_7_3"] {
        let (_, document) = ran(&format!("Replay(profile: {profile}, calls: [{calls}])"));
        let mut results = serde_json::to_value(&document).unwrap()["results"].take();
        for entry in results.as_array_mut().unwrap() {
            entry.as_object_mut().unwrap().retain(|name, _| name != "reason" && name != "dma_addr");
        }
        assert_eq!(results, expected, "{profile}: {calls}");
    }
}

const MACHINE: &str = r#"Machine(file: "1rc:1sw:2gpu", acs: Off)"#;

#[test]
fn types_are_remembered_until_asked_again() {
    check(
        &format!(
            r#"{MACHINE}, Register(function: "gpu0"), Map(provider: "gpu0", client: "gpu1"),
               SetAcs(function: "host0/rp0/sw0/p0", control: 0x1d), Map(provider: "gpu0", client: "gpu1"),
               Resolve(provider: "gpu0", client: "gpu1"), Map(provider: "gpu0", client: "gpu1"),
               Distance(provider: "gpu0", clients: ["gpu1"])"#
        ),
        json!([
            { "call": 2, "dma_kind": "BUS" }, { "call": 4, "dma_kind": "BUS" },
            { "call": 5, "map_type": "NOT_SUPPORTED", "distance": 4 }, { "call": 6, "error": "EREMOTEIO" },
            { "call": 7, "distance": -1 },
        ]),
    );
}

#[test]
fn providers_are_found_when_published() {
    let (_, document) = ran(&format!(
        r#"(calls: [{MACHINE}, Find(clients: ["gpu1"]), Register(function: "gpu0"), Find(clients: ["gpu1"]),
            Publish(function: "gpu0"), Find(clients: ["gpu1"]), Register(function: "gpu1"), Publish(function: "gpu1"),
            Find(clients: ["gpu1"]), Find(clients: ["gpu0", "gpu1"]), Publish(function: "gpu1", published: false),
            Find(clients: ["gpu1"])])"#
    ));
    let found: Vec<(usize, Value)> = document
        .results
        .iter()
        .map(|entry| {
            let entry_json = serde_json::to_value(entry).unwrap();
            (entry.call, entry_json.get("providers").or(entry_json.get("error")).unwrap().clone())
        })
        .collect();
    let gpus: Vec<Value> = match &found[4].1 {
        Value::Array(list) => list.clone(),
        other => panic!("{other}"),
    };
    assert_eq!(gpus.len(), 2, "both are four steps away");
    let expected = [
        (1, json!("ENODEV")),
        (3, json!("ENODEV")),
        (5, json!([gpus[0]])),
        (8, json!([gpus[1]])),
        (9, json!(gpus)),
        (11, json!([gpus[0]])),
    ];
    assert_eq!(found, expected);
}

#[test]
fn registrations_fail_like_the_kernels() {
    check(
        &format!(
            r#"{MACHINE}, Register(function: "gpu0", size: "1MiB"), Register(function: "gpu0", size: "2MiB"),
               Register(function: "gpu0", size: "4MiB"), Register(function: "gpu0", size: "2MiB", offset: "2MiB"),
               Register(function: "gpu0", offset: "1PiB"), Register(function: "gpu0", bar: 5),
               Map(provider: "gpu0", client: "gpu1", offset: "1GiB"), Map(provider: "gpu1", client: "gpu0"),
               Distance(provider: "gpu0", clients: []), SetAcs(function: "gpu0", control: 1)"#
        ),
        json!([
            { "call": 1, "error": "EINVAL" }, { "call": 3, "error": "ENOMEM" }, { "call": 5, "error": "EINVAL" },
            { "call": 6, "error": "EINVAL" }, { "call": 7, "error": "EINVAL" }, { "call": 8, "error": "EINVAL" },
            { "call": 9, "distance": -1 }, { "call": 10, "error": "EINVAL" },
        ]),
    );
}

/// What the maps among `calls` returned: addresses.
fn addresses(profile: &str, calls: &str) -> Vec<u64> {
    let (_, document) = ran(&format!("Replay(profile: {profile}, calls: [{calls}])"));
    let results = serde_json::to_value(&document).unwrap()["results"].take();
    results.as_array().unwrap().iter().filter_map(|entry| entry["dma_addr"].as_u64()).collect()
}

/// A host bridge that Linux lists, since an IOMMU's driver has all ports redirect.
const TRANSLATED: &str = r#"Machine(file: "1rc:1sw:2gpu", iommu: Translate),
    SetIds(function: "0000:00:00.0", vendor: 0x8086, device: 0x2030), Register(function: "gpu0")"#;

#[test]
fn an_iommu_gives_each_mapping_another_address() {
    let map = r#"Map(provider: "gpu0", client: "gpu1")"#;
    check(
        &format!(
            r#"{TRANSLATED}, {map}, Resolve(provider: "gpu0", client: "gpu1"), Map(provider: "gpu0", client: "gpu0")"#
        ),
        json!([
            { "call": 3, "dma_kind": "IOVA" }, { "call": 4, "map_type": "THRU_HOST_BRIDGE", "distance": 4 },
            { "call": 5, "dma_kind": "BUS" },
        ]),
    );
    let found = addresses("Linux_6_12", &format!("{TRANSLATED}, {map}, {map}, {map}"));
    assert_eq!(found, [0xffff_f000, 0xffff_e000, 0xffff_d000], "lazily unmapped");
    let strict = TRANSLATED.replace("iommu:", r#"cmdline: "iommu.strict=1", iommu:"#);
    let found = addresses("Linux_6_12", &format!("{strict}, {map}, {map}"));
    assert_eq!(found, [0xffff_f000, 0xffff_f000], "strictly unmapped");
    let passed = TRANSLATED.replace("Translate", "Passthrough");
    check(&format!("{passed}, {map}"), json!([{ "call": 3, "dma_kind": "CPU" }]));
}

#[test]
fn ids_decide_whether_a_host_bridge_is_listed() {
    let ask = r#"Resolve(provider: "gpu0", client: "gpu1")"#;
    let ids = |device: &str| format!(r#"SetIds(function: "0000:00:00.0", vendor: 0x8086, device: {device})"#);
    let (listed, other) = (ids("0x2030"), ids("0x2034"));
    check(
        &format!(r#"Machine(file: "1rc:1sw:2gpu", acs: On), {ask}, {listed}, {ask}, {other}, {ask}"#),
        json!([
            { "call": 1, "map_type": "NOT_SUPPORTED", "distance": 4 },
            { "call": 3, "map_type": "THRU_HOST_BRIDGE", "distance": 4 },
            { "call": 5, "map_type": "NOT_SUPPORTED", "distance": 4 },
        ]),
    );
}

/// Kernels up to 6.x take the offset of a window at every registration, 7.x at the first of a function.
#[test]
fn a_moved_window_moves_bus_addresses() {
    let moved = "SetWindow(cpu: 0x3000_0000_0000, bus: 0x1000_0000_0000)";
    let half = |offset: u64| format!(r#"Register(function: "gpu0", size: "2MiB", offset: {offset})"#);
    let map = |offset: u64| format!(r#"Map(provider: "gpu0", client: "gpu1", offset: {offset})"#);
    let second = 2 << 20;
    let calls = format!("{MACHINE}, {}, {moved}, {}, {}, {}", half(0), half(second), map(0), map(second));
    for (profile, by) in [("Linux_6_1", 0x2000_0000_0000), ("Linux_6_12", 0x2000_0000_0000), ("Linux_7_3", 0)]
    {
        let [first, other] = addresses(profile, &calls)[..] else { panic!("{profile}: {calls}") };
        assert_eq!(first + second - other, by, "{profile}");
    }
    let whole = r#"Register(function: "gpu0")"#;
    let [as_is] = addresses("Linux_7_3", &format!("{MACHINE}, {whole}, {}", map(0)))[..] else { panic!() };
    let [elsewhere] = addresses("Linux_7_3", &format!("{MACHINE}, {moved}, {whole}, {}", map(0)))[..] else {
        panic!()
    };
    assert_eq!(as_is - elsewhere, 0x2000_0000_0000);
}

#[test]
fn a_machine_may_stand_in_the_file() {
    let tree = r#"Machine(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [
        (below: Device(name: "a", part: "generic-gpu")), (below: Device(name: "b", part: "generic-gpu"))])])"#;
    let (replay, found) =
        load(&format!("(calls: [Machine(tree: {tree}), Resolve(provider: \"a\", client: \"b\")])"), "r.ron");
    assert_eq!(found, []);
    assert_eq!(replay.unwrap().calls.len(), 2);
    let json = r#"{"calls": [{"Machine": {"tree": {"cpus": [{"part": "generic-cpu"}], "host_bridges": [{"ports": [
        {"below": {"Device": {"name": "a", "part": "generic-gpu"}}}]}]}}}, {"Register": {"function": "a"}}]}"#;
    let (replay, found) = load(json, "r.json");
    assert_eq!(found, []);
    assert_eq!(replay.unwrap().calls.len(), 2);
}
