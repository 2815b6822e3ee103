//! What each command answers, and with which exit code.

use crate::workspace::{MACHINE, SCENARIO, Workspace, assert_keys, capture};

#[test]
fn usage_is_code_2_and_help_is_code_0() {
    let here = Workspace::new();
    for args in [&[][..], &["fly"], &["plan"], &["run"], &["p2p", MACHINE, "--profile", "Linux_5_4"]] {
        let done = here.expect(2, args);
        assert_eq!(done.text(), "", "{args:?}");
        assert!(!done.stderr.is_empty(), "{args:?}");
    }
    for args in [&["--help"][..], &["-h"], &["--version"], &["run", "--help"], &["import", "nccl", "-h"]] {
        assert!(!here.expect(0, args).stdout.is_empty(), "{args:?}");
    }
    assert!(here.expect(0, &["--help"]).text().contains("Exit codes:"));
    assert!(here.expect(0, &["-h"]).text().lines().count() <= 24);
}

#[test]
fn p2p_has_the_promised_shape() {
    let here = Workspace::new();
    let document = here.expect(0, &["p2p", MACHINE, "--profile", "Linux_6_12", "--format", "json"]).json();
    assert_eq!(document["schema"], "peerbus.p2p/1");
    assert_eq!(document["profile"], "Linux_6_12");
    let pairs = document["pairs"].as_array().unwrap();
    let functions = document["functions"].as_array().unwrap().len();
    assert_eq!(pairs.len(), functions * functions);
    let keys = [
        "provider", "client", "map_type", "distance", "reasons", "bar", "cpu_addr", "dma_addr", "dma_kind",
        "assumed",
    ];
    pairs.iter().for_each(|pair| assert_keys(pair, &keys));
    let types = |acs: &str| {
        let done = here.expect(0, &["p2p", MACHINE, "--acs", acs, "--format", "json"]);
        let pairs = done.json()["pairs"].as_array().unwrap().clone();
        let of_peers = |pair: &&serde_json::Value| pair["distance"] == 4 && !pair["bar"].is_null();
        let types: Vec<String> =
            pairs.iter().filter(of_peers).map(|pair| pair["map_type"].to_string()).collect();
        assert!(types.len() >= 2, "{types:?}");
        types
    };
    assert!(types("off").iter().all(|kind| kind.contains("BUS_ADDR")));
    assert!(types("on").iter().all(|kind| !kind.contains("BUS_ADDR")));
}

#[test]
fn kernel_settings_can_be_asked_without_a_scenario() {
    let here = Workspace::new();
    let peers = |options: &[&str]| {
        let mut args = vec!["p2p", MACHINE, "--profile", "Linux_6_12", "--format", "json"];
        args.extend(options);
        let pairs = here.expect(0, &args).json()["pairs"].as_array().unwrap().clone();
        let of_peers = |pair: &&serde_json::Value| pair["distance"] == 4 && !pair["bar"].is_null();
        pairs.iter().filter(of_peers).filter(|pair| pair["map_type"] == "BUS_ADDR").count()
    };
    assert_eq!(peers(&[]), 2);
    assert_eq!(peers(&["--cmdline", "quiet"]), 2);
    for isolated in [&["--iommu", "passthrough"][..], &["--iommu", "translate"], &["--acs", "on"]] {
        assert_eq!(peers(isolated), 0, "{isolated:?}");
    }
    assert_eq!(peers(&["--cmdline", "pci=config_acs=11111@pci:0:0"]), 0);
    assert_eq!(peers(&["--iommu", "translate", "--cmdline", "pci=disable_acs_redir=pci:0:0"]), 2);
    here.expect(0, &["plan", MACHINE, "--mps", "peer-to-peer", "--cmdline", "pci=realloc=off"]);
    for (options, said) in [
        (["--iommu", "none", "--cmdline", "intel_iommu=on"], "switches one on"),
        (["--acs", "firmware", "--cmdline", "pci=config_acs=01:00.0"], "bits and `@` are missing"),
    ] {
        let mut args = vec!["p2p", MACHINE];
        args.extend(options);
        let done = here.expect(2, &args);
        assert!(done.stderr.contains(said), "{}", done.stderr);
    }
    let old = ["p2p", MACHINE, "--profile", "Linux_6_1", "--cmdline", "pci=config_acs=x@01:00.0"];
    assert!(here.expect(0, &old).stderr.contains("warning"), "the oldest kernel ignores it");
}

#[test]
fn a_pair_is_explained() {
    let here = Workspace::new();
    let why = |code, more: &[&str]| {
        let args: Vec<&str> = ["p2p", MACHINE, "--why"].into_iter().chain(more.iter().copied()).collect();
        here.expect(code, &args)
    };
    let text = why(0, &["nic0", "nic1"]).text();
    assert!(text.contains("DIRECT") && text.contains("Nothing to change"), "{text}");
    let document = why(1, &["nic0", "nic1", "--acs", "on", "--format", "json"]).json();
    assert_eq!(
        (&document["schema"], &document["map_type"]),
        (&"peerbus.why/1".into(), &"NOT_SUPPORTED".into())
    );
    let keys = [
        "provider",
        "client",
        "distance",
        "transfers",
        "route",
        "host",
        "log",
        "assumed",
        "changes",
        "hopeless",
    ];
    assert_keys(&document, &keys);
    let changes = document["changes"].as_array().unwrap();
    assert!(changes.iter().any(|change| change["goal"] == "direct"), "{document}");
    let keys = [
        "goal",
        "kind",
        "instructions",
        "parameter",
        "steps",
        "minimal",
        "map_type",
        "distance",
        "words",
        "notes",
    ];
    changes.iter().for_each(|change| assert_keys(change, &keys));
    // What one says of itself in JSON and text, by any name.
    let parameter = changes[0]["parameter"].as_str().unwrap();
    let address = document["provider"]["function"].as_str().unwrap();
    let text = why(1, &[address, "sw0/nic1", "--acs", "on"]).text();
    assert!(text.contains(parameter), "{parameter}\n{text}");
}

#[test]
fn names_that_fit_nothing_are_refused_with_advice() {
    let here = Workspace::new();
    let done = here.expect(2, &["p2p", MACHINE, "--why", "nic0", "nci1"]);
    assert_eq!(done.text(), "");
    assert!(done.stderr.contains("C0003") && done.stderr.contains("did you mean `nic1`?"), "{}", done.stderr);
    let done = here.expect(2, &["p2p", MACHINE, "--why", "x9", "y9", "-o", "answer"]);
    assert_eq!(done.stderr.matches("C0003").count(), 2, "{}", done.stderr);
    assert!(here.names().is_empty());
    here.expect(2, &["p2p", MACHINE, "--why", "nic0"]);
    here.expect(2, &["p2p", MACHINE, "--why", "nic0", "nic1", "--all"]);
}

#[test]
fn plan_has_the_promised_shape() {
    let here = Workspace::new();
    let document = here.expect(0, &["plan", MACHINE, "--format", "json"]).json();
    assert_eq!(document["schema"], "peerbus.plan/1");
    let resources = document["resources"].as_array().unwrap();
    assert!(!resources.is_empty());
    let keys = ["function", "index", "flags", "size", "cpu_addr", "bus_addr", "why_not"];
    resources.iter().for_each(|resource| assert_keys(resource, &keys));
    assert!(!document["spaces"].as_array().unwrap().is_empty());
    assert!(here.expect(0, &["plan", MACHINE, "--reassign"]).text().contains("everything fits"));
}

#[test]
fn a_plan_that_does_not_fit_is_the_answer_no() {
    let here = Workspace::new();
    here.file(
        "tight.ron",
        r#"Machine(cpus: [(part: "generic-cpu")], host_bridges: [(
            windows: [(cpu: 0x8000_0000, size: "256MiB", kind: Mem32)],
            ports: [(below: Device(part: "a100-sxm4-80g"))],
        )])"#,
    );
    let document = here.expect(1, &["plan", "tight.ron", "--format", "json"]).json();
    let homeless = |resource: &&serde_json::Value| resource["why_not"].is_string();
    let homeless: Vec<_> =
        document["resources"].as_array().unwrap().iter().filter(homeless).cloned().collect();
    assert!(!homeless.is_empty());
    assert!(homeless.iter().all(|resource| resource["cpu_addr"].is_null()));
}

/// Eight GPUs of 80 GiB and 64 GiB of RAM: all fit with 46 bits; with 39, the 446 GiB above RAM are five ranges.
#[test]
fn device_memory_is_planned() {
    let here = Workspace::new();
    let machine = "1rc:8gpu@gen4x16/gpu=a100-sxm4-80g";
    let ask = |code, more: &[&str]| {
        let args: Vec<&str> =
            ["plan", machine, "--device-memory"].into_iter().chain(more.iter().copied()).collect();
        here.expect(code, &args)
    };
    let text = ask(0, &[]).text();
    assert_eq!(text.matches("everything fits").count(), 6, "{text}");
    let document = ask(1, &["--physical-bits", "39", "--format", "json"]).json();
    assert_eq!(document["schema"], "peerbus.device-memory/2");
    let keys = ["machine", "conditions", "ram", "devices", "answers", "trials"];
    assert_keys(&document, &keys);
    let answers = document["answers"].as_array().unwrap();
    for answer in answers {
        let refused = answer["refused"].as_array().unwrap();
        match answer["design"].as_str().unwrap() {
            "own_space" => assert!(refused.is_empty(), "{answer}"),
            _ => assert_eq!(refused[0]["obstacle"], "limit", "{answer}"),
        }
    }
    let trials =
        ["--physical-bits", "39", "--trials", "1000", "--seed", "7", "--ram", "16GiB", "--ram", "400GiB"];
    let of = |threads: &str| ask(1, &[&trials[..], &["--threads", threads]].concat()).text();
    assert_eq!(of("1"), of("3"));
    assert!(of("1").contains("1000 trials with seed 7, 2 different"), "{}", of("1"));
    // 640 GiB at 2 MiB for 128 MiB of addresses each, where 446 GiB and 1 GiB are free.
    let text = ask(1, &["--physical-bits", "39", "--on-demand", "--profile", "Linux_6_12"]).text();
    assert!(text.contains("on demand, 2MiB at a time: ") && text.contains(" of 327680 chunks"), "{text}");
    // A fleet of machines with four or eight: four fit.
    let fleet = ["--physical-bits", "39", "--trials", "2000", "--gpus", "4:3,8", "--ram", "16GiB:2,64GiB"];
    let of =
        |threads: &str| ask(1, &[&fleet[..], &["--threads", threads, "--format", "json"]].concat()).json();
    let document = of("1");
    assert_eq!(document, of("2"));
    assert_eq!(document["trials"]["distinct"], 4);
    assert_eq!(document["trials"]["options"]["devices"][0], serde_json::json!({ "value": 4, "weight": 3 }));
    for (wrong, said) in [
        (["--ram", "0B"], "a machine has some RAM"),
        (["--ram", "16GiB:0"], "no number from 1 to 1000000"),
        (["--ram", "16GiB:x"], "no number from 1 to 1000000"),
        (["--ram", "much"], "much"),
        (["--gpus", "0"], "no number from 1 to 1024"),
        (["--gpus", "4:3:2"], "no number from 1 to 1000000"),
    ] {
        let done = ask(2, &[&["--trials", "10"], &wrong[..]].concat());
        assert!(done.stderr.contains(said), "{wrong:?}: {}", done.stderr);
    }
    let done = here.expect(2, &["plan", "1rc:2nic", "--device-memory", "--trials", "10", "--gpus", "4"]);
    assert!(done.stderr.contains("has no GPU with memory of its own"), "{}", done.stderr);
    ask(2, &["--physical-bits", "70"]);
    ask(2, &["--format", "lspci"]);
    here.expect(2, &["plan", machine, "--trials", "10"]);
}

#[test]
fn check_lists_what_is_wrong() {
    let here = Workspace::new();
    here.file("good.ron", r#"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])])"#)
        .file("bad.ron", r#"(cpus: [(part: "generic-cpu")], host_brigdes: [])"#)
        .file("scenario.ron", SCENARIO)
        .file("unbound.ron", r#"Scenario(machine: "good.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu9", bytes: "1MiB")])"#);
    let done = here.expect(0, &["check", "good.ron", "scenario.ron", "--format", "json"]);
    assert_eq!(done.json(), serde_json::json!({ "diagnostics": [] }));
    let done =
        here.expect(2, &["check", "good.ron", "bad.ron", "unbound.ron", "absent.ron", "--format", "json"]);
    let document = done.json();
    let diagnostics = document["diagnostics"].as_array().unwrap();
    let keys = ["code", "severity", "file", "line", "column", "message", "help"];
    diagnostics.iter().for_each(|diagnostic| assert_keys(diagnostic, &keys));
    let of = |file: &str, code: &str| {
        let matches = |found: &&serde_json::Value| found["file"] == file && found["code"] == code;
        diagnostics.iter().find(matches).unwrap_or_else(|| panic!("no {code} in {file}: {document}"))
    };
    assert_eq!(of("bad.ron", "M0002")["line"], 1);
    assert!(of("unbound.ron", "S0105")["message"].as_str().unwrap().contains("gpu9"));
    assert!(of("absent.ron", "C0001")["line"].is_null());
    assert!(diagnostics.iter().all(|found| found["file"] != "good.ron"));
    let text = here.expect(2, &["check", "bad.ron"]).text();
    assert!(text.contains("--> bad.ron:1:"), "{text}");
}

#[test]
fn templates_are_valid_and_schemas_are_json() {
    let here = Workspace::new();
    for kind in ["machine", "scenario", "replay"] {
        assert!(here.expect(0, &["schema", kind]).json()["properties"].is_object());
        here.file(&format!("{kind}.ron"), here.expect(0, &["schema", kind, "--template"]).stdout);
    }
    here.expect(0, &["check", "machine.ron", "replay.ron"]);
    here.expect(0, &["replay", "replay.ron", "--diff"]);
    here.expect(2, &["schema", "weather"]);
}

#[test]
fn codes_are_explained() {
    let here = Workspace::new();
    for code in ["M0101", "s0101", "I0001", "C0001"] {
        let text = here.expect(0, &["explain", code]).text();
        assert!(text.starts_with(&code.to_uppercase()) && text.contains("Wrong:"), "{text}");
    }
    assert_eq!(here.expect(2, &["explain", "X9999"]).text(), "");
}

#[test]
fn completions_and_manual_pages() {
    let here = Workspace::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(here.expect(0, &["completions", shell]).text().contains("peerbus"), "{shell}");
    }
    assert!(here.expect(0, &["man"]).text().contains(".TH peerbus 1"));
    assert!(here.expect(0, &["man", "run"]).text().contains("baseline"));
    here.expect(2, &["man", "fly"]);
}

#[test]
fn a_capture_becomes_a_machine() {
    let Some(capture) = capture("aws/p4d-24xl-topo.xml") else { return };
    let here = Workspace::new();
    let capture = capture.to_str().unwrap();
    let done = here.expect(0, &["import", "nccl", capture, "-o", "machine.ron"]);
    assert_eq!(done.text(), "");
    assert!(done.stderr.lines().count() > 0 && done.stderr.lines().all(|line| line.starts_with("note: ")));
    here.expect(0, &["import", "nccl", capture, "-o", "machine.json"]);
    here.expect(0, &["check", "machine.ron", "machine.json"]);
    assert_eq!(here.names(), ["machine.json", "machine.ron"]);
    let matrix = |file: &str| here.expect(0, &["p2p", file]).text();
    assert_eq!(matrix("machine.ron"), matrix("machine.json"));
    assert_eq!(here.expect(0, &["import", "nccl", capture]).text(), here.read("machine.ron"));
}
