//! RON and JSON say the same, the schema accepts what the reader accepts, and the template is a scenario.

use peerbus_machine::load::parse;
use peerbus_scenario::file::Scenario;
use peerbus_scenario::schema::{TEMPLATE, schema};
use peerbus_scenario::{Loaded, load};
use ron::extensions::Extensions;

use crate::support::{load_text, provide};

const RON: &str = r#"// Two kernels,
// one copy.

// Not part of it.
Scenario(
    machine: "m.ron", seed: 7,
    kernel: (profile: Linux_6_12),
    link_layer: Flat(share_ppm: 918526),
    workloads: [
        Copy(name: "a", from: "gpu0/memory", to: "gpu1", bytes: "1MiB", chunk: 4096, engine: Reader, refused: Stage,
             start: "1us", dma_shift: "4KiB", addresses: Cpu),
        PairMatrix(name: "p", devices: ["gpu*", "ssd0"], bytes: "64KiB", concurrency: AllAtOnce),
        AllToAll(name: "x", devices: ["gpu*"], bytes: "64KiB"),
        HostDma(name: "h", device: "ssd0", direction: ReadWrite, sizes: ["64B", 4096], transfers: 9, outstanding: 2, cpu: 0,
                window: "1MiB", cache: Cold),
        PeerMemory(name: "c", providers: [(device: "gpu*", bar: 0, offset: "2MiB", size: "4MiB"), (device: "ssd0")],
                   publish: false, clients: ["ssd0", "gpu1"], choose: NearestOnce, policy: Align("64KiB"), user: Mmap,
                   sizes: Choice([("4KiB", 3), (65536, 1)]), lifetimes: Zipf(values: ["1us", "5us"], exponent: 2),
                   intervals: Uniform("0s", "2us"), outstanding: 8, requests: 30, transfer: Nothing, refused: Stage),
        PeerMemory(name: "d", providers: [(device: "ssd0")], clients: ["gpu0"], sizes: Exponential("64KiB"),
                   lifetimes: Fixed("1us"), intervals: Fixed("0s")),
        PeerMemory(name: "t", clients: ["gpu0"], sizes: Fixed("64KiB"), lifetimes: Fixed("1us"), intervals: Fixed("0s"),
                   target: (namespace: "ssd0", memory: Named("gpu1"))),
    ],
    events: [
        (at: "10us", link: "gpu0", what: Downgrade(gen: 1, lanes: 1, training: "2us")),
        (at: "20us", link: "gpu0:up", what: ErrorRate("1e-9")),
        (at: "30us", link: "gpu1", what: LeakCredits(class: Posted, header: 1)),
        (at: "40us", device: "gpu1", what: SurpriseRemove),
    ],
    variants: [
        (name: "off"),
        (name: "on", kernel: (acs: On), link_layer: ByRule, machine: "1rc:1sw:2gpu+1ssd"),
        (name: "short", workloads: [Copy(name: "b", from: "gpu0", to: "gpu1", bytes: "1B")]),
    ],
    expect: ["flow.off/a.bytes == 1MiB", r"flow.off/a.limited_by contains 'gpu'"],
)"#;

const JSON: &str = r#"{
    "machine": "m.ron", "seed": 7,
    "kernel": {"profile": "Linux_6_12"},
    "link_layer": {"Flat": {"share_ppm": 918526}},
    "workloads": [
        {"Copy": {"name": "a", "from": "gpu0/memory", "to": "gpu1", "bytes": "1MiB", "chunk": 4096, "engine": "Reader",
            "refused": "Stage", "start": "1us", "dma_shift": "4KiB", "addresses": "Cpu"}},
        {"PairMatrix": {"name": "p", "devices": ["gpu*", "ssd0"], "bytes": "64KiB", "concurrency": "AllAtOnce"}},
        {"AllToAll": {"name": "x", "devices": ["gpu*"], "bytes": "64KiB"}},
        {"HostDma": {"name": "h", "device": "ssd0", "direction": "ReadWrite", "sizes": ["64B", 4096], "transfers": 9,
            "outstanding": 2, "cpu": 0, "window": "1MiB", "cache": "Cold"}},
        {"PeerMemory": {"name": "c", "providers": [{"device": "gpu*", "bar": 0, "offset": "2MiB", "size": "4MiB"},
            {"device": "ssd0"}], "publish": false, "clients": ["ssd0", "gpu1"], "choose": "NearestOnce",
            "policy": {"Align": "64KiB"}, "user": "Mmap", "sizes": {"Choice": [["4KiB", 3], [65536, 1]]},
            "lifetimes": {"Zipf": {"values": ["1us", "5us"], "exponent": 2}}, "intervals": {"Uniform": ["0s", "2us"]},
            "outstanding": 8, "requests": 30, "transfer": "Nothing", "refused": "Stage"}},
        {"PeerMemory": {"name": "d", "providers": [{"device": "ssd0"}], "clients": ["gpu0"],
            "sizes": {"Exponential": "64KiB"}, "lifetimes": {"Fixed": "1us"}, "intervals": {"Fixed": "0s"}}},
        {"PeerMemory": {"name": "t", "clients": ["gpu0"], "sizes": {"Fixed": "64KiB"}, "lifetimes": {"Fixed": "1us"},
            "intervals": {"Fixed": "0s"}, "target": {"namespace": "ssd0", "memory": {"Named": "gpu1"}}}}
    ],
    "events": [
        {"at": "10us", "link": "gpu0", "what": {"Downgrade": {"gen": 1, "lanes": 1, "training": "2us"}}},
        {"at": "20us", "link": "gpu0:up", "what": {"ErrorRate": "1e-9"}},
        {"at": "30us", "link": "gpu1", "what": {"LeakCredits": {"class": "Posted", "header": 1}}},
        {"at": "40us", "device": "gpu1", "what": "SurpriseRemove"}
    ],
    "variants": [
        {"name": "off"},
        {"name": "on", "kernel": {"acs": "On"}, "link_layer": "ByRule", "machine": "1rc:1sw:2gpu+1ssd"},
        {"name": "short", "workloads": [{"Copy": {"name": "b", "from": "gpu0", "to": "gpu1", "bytes": "1B"}}]}
    ],
    "expect": ["flow.off/a.bytes == 1MiB", "flow.off/a.limited_by contains 'gpu'"]
}"#;

fn loaded(text: &str, file: &str) -> Loaded {
    let (loaded, found) = load_text(text, file);
    assert_eq!(found, []);
    loaded.expect("a scenario without problems is loaded")
}

#[test]
fn both_notations_give_the_same_runs() {
    let (ron, json) = (loaded(RON, "s.ron"), loaded(JSON, "s.json"));
    let runs = |loaded: &Loaded| format!("{:#?}", loaded.cells);
    assert_eq!(runs(&ron), runs(&json));
    assert_eq!(ron.expectations, json.expectations);
    assert_eq!((ron.description.as_str(), json.description.as_str()), ("Two kernels,\none copy.", ""));
    assert_eq!((ron.seed, ron.machine.as_str()), (7, "m.ron, 1rc:1sw:2gpu+1ssd"));
    let variants: Vec<&str> = ron.cells.iter().map(|cell| cell.variant.as_str()).collect();
    assert_eq!(variants, ["off", "on", "short"]);
    assert_eq!(ron.cells[1].input.kernel.profile.name(), "Linux_6_12", "what a variant does not name stays");
    assert_eq!(ron.cells[2].input.workloads.len(), 1);
}

#[test]
fn what_is_written_is_read_back() {
    let (scenario, _) = parse::<Scenario>(RON, "s.ron");
    let scenario = scenario.expect("the example is a scenario");
    let json = serde_json::to_string(&scenario).expect("it can be written as JSON");
    let extensions = Extensions::IMPLICIT_SOME | Extensions::UNWRAP_VARIANT_NEWTYPES;
    let options = ron::Options::default().with_default_extension(extensions);
    let ron = options.to_string(&scenario).expect("it can be written as RON");
    let expected = format!("{:#?}", loaded(RON, "s.ron").cells);
    assert_eq!(format!("{:#?}", loaded(&json, "s.json").cells), expected);
    assert_eq!(format!("{:#?}", loaded(&ron, "s.ron").cells), expected);
}

#[test]
fn the_schema_accepts_what_the_reader_accepts() {
    let schema = serde_json::to_value(schema()).expect("a schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is a valid schema");
    let good: serde_json::Value = serde_json::from_str(JSON).expect("the example is JSON");
    let problems: Vec<String> = validator.iter_errors(&good).map(|error| error.to_string()).collect();
    assert_eq!(problems, Vec::<String>::new());
    for (from, to) in [("\"seed\"", "\"sed\""), ("\"Reader\"", "\"Pusher\""), ("\"Copy\"", "\"Cpy\"")] {
        let bad: serde_json::Value = serde_json::from_str(&JSON.replace(from, to)).expect("still JSON");
        assert!(!validator.is_valid(&bad), "{to} was accepted");
    }
}

#[test]
fn the_template_is_a_scenario() {
    let text = TEMPLATE.replace("\"machine.ron\"", "\"m.ron\"");
    let loaded = loaded(&text, "template.ron");
    assert_eq!((loaded.cells.len(), loaded.expectations.len()), (2, 7));
    assert!(loaded.description.starts_with("What this scenario shows"));
    let schema = serde_json::to_value(schema()).expect("a schema is JSON");
    for name in [
        "Scenario",
        "Copy",
        "PairMatrix",
        "AllToAll",
        "HostDma",
        "PeerMemory",
        "Provider",
        "Target",
        "Kernel",
        "Variant",
        "Event",
    ] {
        let place =
            if name == "Scenario" { "/properties".to_owned() } else { format!("/$defs/{name}/properties") };
        let fields = schema.pointer(&place).and_then(|fields| fields.as_object()).expect("a structure");
        for field in fields.keys().filter(|field| !(name == "Variant" && field.as_str() == "workloads")) {
            assert!(TEMPLATE.contains(&format!("{field}:")), "the template shows no `{field}` of {name}");
        }
    }
}

#[test]
fn machines_are_found_beside_the_scenario() {
    let text =
        r#"(machine: "beside.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"#;
    assert!(load_text(text, "dir/s.ron").0.is_some());
    assert!(load_text(text, "s.ron").0.is_none());
    let asked = std::cell::RefCell::new(Vec::new());
    let provider = |path: &str| {
        asked.borrow_mut().push(path.to_owned());
        provide(path)
    };
    load(text, "dir/s.ron", &provider, &peerbus_machine::Catalogue::embedded());
    assert_eq!(asked.into_inner(), ["beside.ron", "dir/beside.ron"]);
}
