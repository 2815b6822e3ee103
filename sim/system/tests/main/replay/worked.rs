//! Calls and what they return, worked out by hand from the rules.

use peerbus_system::replay::schema::TEMPLATE;
use peerbus_system::replay::{compare, render_comparison, render_replay, run};
use serde_json::{Value, json};

use super::{load, ran};

/// The results of `calls` under `profile`, without reasons and probes, must be `expected`.
#[track_caller]
fn check(profile: &str, calls: &str, expected: Value) {
    let (_, document) = ran(&format!("Replay(profile: {profile}, calls: [{calls}])"));
    let mut results = serde_json::to_value(&document).unwrap()["results"].take();
    for entry in results.as_array_mut().unwrap() {
        entry.as_object_mut().unwrap().retain(|name, _| name != "reason" && name != "probes");
    }
    assert_eq!(results, expected, "{calls}");
}

#[track_caller]
fn check_all(calls: &str, expected: Value) {
    for profile in ["Linux_6_1", "Linux_6_12", "Linux_7_3"] {
        check(profile, calls, expected.clone());
    }
}

#[test]
fn the_promised_example() {
    let text = r#"
  Replay(profile: Linux_6_12, calls: [
      Pool(granule: "4KiB"), AddChunk(base: 0x1000_0000, size: "64MiB"), Alloc(id: 1, size: 4097), Free(id: 1), Avail,
      Region(limit: 0x3fff_ffff_ffff), Busy(first: 0x0, last: 0xfff, name: "Reserved"), Request(id: 1, size: "1GiB"), Release(id: 1),
  ])"#;
    let (_, document) = ran(text);
    let document = serde_json::to_value(&document).unwrap();
    assert_eq!(document["schema"], "peerbus.replay/1");
    assert_eq!(document["profile"], "Linux_6_12");
    assert_eq!(
        document["results"],
        json!([
            { "call": 2, "address": 268435456 },
            { "call": 4, "bytes": 67108864 },
            { "call": 7, "first": 0x3fff_c000_0000u64, "last": 0x3fff_ffff_ffffu64, "probes": 1 },
        ])
    );
}

#[test]
fn pools() {
    // Two chunks: the newest is tried first, and no allocation spans them.
    check_all(
        r#"Pool(), AddChunk(base: 0x10_0000, size: "4MiB"), AddChunk(base: 0x80_0000, size: "2MiB"),
           Alloc(id: 1, size: "4KiB"), Alloc(id: 2, size: "3MiB"), Alloc(id: 3, size: "2MiB"), Alloc(size: 1), Avail"#,
        json!([
            { "call": 3, "address": 0x80_0000 }, { "call": 4, "address": 0x10_0000 },
            { "call": 5, "error": "ENOMEM" }, { "call": 6, "address": 0x80_1000 },
            { "call": 7, "bytes": (3 << 20) - 8192 },
        ]),
    );
    // Sizes as numbers, text and text of numbers; a constructor starts afresh.
    check_all(
        r#"Pool(granule: 64), AddChunk(base: "0x40", size: "256"), Alloc(id: 1, size: "65"), Alloc(id: 2, size: 64), Avail,
           Pool(granule: "8KiB"), Avail, Alloc(id: 1, size: 1)"#,
        json!([
            { "call": 2, "address": 0x40 }, { "call": 3, "address": 0xc0 }, { "call": 4, "bytes": 64 },
            { "call": 6, "bytes": 0 }, { "call": 7, "error": "ENOMEM" },
        ]),
    );
    // Address 0 means failure, and stays taken; size 0 fails.
    check_all(
        "Pool(), AddChunk(base: 0, size: 12288), Alloc(id: 1, size: 0), Alloc(id: 2, size: 1), Alloc(id: 3, size: 1), \
         Avail",
        json!([
            { "call": 2, "error": "ENOMEM" }, { "call": 3, "error": "ENOMEM" }, { "call": 4, "address": 4096 },
            { "call": 5, "bytes": 4096 },
        ]),
    );
}

#[test]
fn algorithms() {
    let holes = r#"AddChunk(base: 0x1000, size: "64KiB"), Alloc(id: 1, size: "8KiB"), Alloc(id: 2, size: "4KiB"),
        Alloc(id: 3, size: "4KiB"), Alloc(id: 4, size: "4KiB"), Free(id: 1), Free(id: 3)"#;
    for (algorithm, size, expected) in [
        ("FirstFit", 4096, json!({ "call": 8, "address": 0x1000 })),
        ("BestFit", 4096, json!({ "call": 8, "address": 0x4000 })),
        ("FirstFitAlign(align: 0x8000)", 4096, json!({ "call": 8, "address": 0x8000 })),
        ("OrderAlign", 12288, json!({ "call": 8, "address": 0x9000 })),
        ("Fixed(offset: 0x3000)", 4096, json!({ "call": 8, "address": 0x4000 })),
        ("Fixed(offset: 0x2000)", 4096, json!({ "call": 8, "error": "ENOMEM" })),
        ("Fixed(offset: 1)", 4096, json!({ "call": 8, "error": "ENOMEM" })),
    ] {
        let first: Vec<Value> = [0x1000, 0x3000, 0x4000, 0x5000]
            .iter()
            .zip(2..)
            .map(|(address, call)| json!({ "call": call, "address": address }))
            .collect();
        let own = format!("Pool(), {holes}, Alloc(id: 5, size: {size}, algorithm: {algorithm})");
        check_all(&own, [first, vec![expected]].concat().into());
        // As the pool's own, it also decides about the allocations before; only the last differs here.
        let (_, document) = ran(&format!("(calls: [Pool(algorithm: {algorithm})])"));
        assert!(document.results.is_empty());
    }
    check_all(
        "Pool(), AddChunk(base: 0x1000, size: 65536), Alloc(size: 1, align: 32768)",
        json!([{ "call": 2, "address": 0x8000 }]),
    );
}

#[test]
fn what_a_kernel_dies_of_is_a_result() {
    check_all(
        r#"Pool(), AddChunk(base: 0x1000_0000, size: "1MiB"), Alloc(id: 1, size: "16KiB"),
           Free(id: 1, size: "4KiB"), Free(id: 1), Free(address: 0x1000_1000, size: "12KiB"), Avail,
           Free(id: 1), Free(address: 0x1, size: 1), Free(address: 0x100f_f000, size: "8KiB"),
           Alloc(id: 2, size: "2MiB"), Free(id: 2), Avail"#,
        json!([
            { "call": 2, "address": 0x1000_0000 }, { "call": 4, "error": "BUG" }, { "call": 6, "bytes": 1 << 20 },
            { "call": 7, "error": "BUG" }, { "call": 8, "error": "BUG" }, { "call": 9, "error": "BUG" },
            { "call": 10, "error": "ENOMEM" }, { "call": 11, "error": "EINVAL" }, { "call": 12, "bytes": 1 << 20 },
        ]),
    );
}

#[test]
fn regions() {
    let requests = r#"Request(id: 1, size: "2MiB"), Request(id: 2, size: "256MiB"), Request(id: 3, size: "128MiB"),
        Request(id: 4, size: "80GiB"), Request(id: 5, size: "24GiB"), Request(id: 6, size: "2MiB")"#;
    let expected = |firsts: [u64; 6]| {
        let sizes = [1u64, 2, 1, 640, 192, 1];
        let entry = |((first, size), call): ((u64, u64), usize)| json!({ "call": call, "first": first, "last": first + size * (128 << 20) - 1 });
        Value::from(firsts.into_iter().zip(sizes).zip(1..).map(entry).collect::<Vec<_>>())
    };
    let by_size = expected([
        0x3fff_f800_0000,
        0x3fff_e000_0000,
        0x3fff_f000_0000,
        0x3fd8_0000_0000,
        0x3ff4_0000_0000,
        0x3fff_d800_0000,
    ]);
    let by_section = expected([
        0x3fff_f800_0000,
        0x3fff_e800_0000,
        0x3fff_e000_0000,
        0x3feb_e000_0000,
        0x3fe5_e000_0000,
        0x3fe5_d800_0000,
    ]);
    let calls = format!("Region(limit: 0x3fff_ffff_ffff), {requests}");
    check("Linux_6_1", &calls, by_size.clone());
    check("Linux_6_12", &calls, by_section.clone());
    check("Linux_7_3", &calls, by_section.clone());
    for (setup, expected) in [
        ("limit: 0x3fff_ffff_ffff, step: Size", by_size.clone()),
        ("limit: 0x3fff_ffff_ffff, step: Section, end: 0x3fff_ffff_ffff", by_section.clone()),
        ("space: X86(), end: 0xffff_ffff_ffff, step: Size", by_size),
        ("space: X86(physical_bits: 46, levels: 5), step: Section", by_section),
    ] {
        check_all(&format!("Region({setup}), {requests}"), expected);
    }
}

#[test]
fn spaces_have_their_limits() {
    let arm = "configured_va: 52, used_va: 48, configured_pa: 52, pa_range: 44, seed: 6991";
    for (profile, space, first, last) in [
        (
            "Linux_6_12",
            "X86(trim: Always, ram_end: 0x100_0000_0000, physical_bits: 52)",
            0xaff_f800_0000,
            0xaff_ffff_ffff,
        ),
        ("Linux_6_12", "X86(levels: 5, physical_bits: 52)", 0xf_ffff_f800_0000, 0xf_ffff_ffff_ffff),
        ("Linux_6_12", &format!("Arm64({arm})"), 0x740d_b800_0000, 0x740d_bfff_ffff),
        ("Linux_7_3", &format!("Arm64({arm})"), 0x8000_3800_0000, 0x8000_3fff_ffff),
        ("Linux_6_1", &format!("Arm64({arm})"), 0xf_ffff_f800_0000, 0xf_ffff_ffff_ffff),
        ("Linux_6_12", "Arm64(page: \"64KiB\")", 0x8000_2000_0000, 0x8000_3fff_ffff),
        ("Linux_6_12", "Ppc64(physical_bits: 46)", 0x3fff_ff00_0000, 0x3fff_ffff_ffff),
        ("Linux_6_12", "Riscv64", 0xff_ffff_f800_0000, 0xff_ffff_ffff_ffff),
        ("Linux_6_12", "Loongarch64", 0xffff_e000_0000u64, 0xffff_ffff_ffffu64),
    ] {
        let calls = format!("Region(space: {space}), Request(size: 1)");
        check(profile, &calls, json!([{ "call": 1, "first": first, "last": last }]));
    }
}

#[test]
fn regions_fail_like_the_kernels() {
    check_all(
        r#"Region(limit: 0x3fff_ffff), Request(id: 1, size: "2GiB"), Request(id: 2, size: 0),
           Busy(first: 0x1000, last: 0x3fff_ffff), Request(id: 3, size: 1), Release(id: 3),
           Busy(first: 0x2000_0000, last: 0x4000_0000), Busy(first: 0x1000, last: 0x1fff)"#,
        json!([
            { "call": 1, "error": "ERANGE" }, { "call": 2, "error": "ERANGE" }, { "call": 4, "error": "ERANGE" },
            { "call": 5, "error": "EINVAL" }, { "call": 6, "error": "EBUSY" },
        ]),
    );
    check_all(
        r#"Region(limit: 0x3fff_ffff, descriptors: 1), Request(id: 1, size: 1), Request(id: 2, size: 1), Release(id: 1),
           Release(id: 1), Request(id: 3, size: 1), Busy(first: 0, last: 1)"#,
        json!([
            { "call": 1, "first": 0x3800_0000, "last": 0x3fff_ffff }, { "call": 2, "error": "ENOMEM" },
            { "call": 4, "error": "EINVAL" }, { "call": 5, "first": 0x3800_0000, "last": 0x3fff_ffff },
            { "call": 6, "error": "ENOMEM" },
        ]),
    );
    // A part of the tree; upwards; a kernel that never comes back.
    check_all(
        r#"Region(limit: 0xf_ffff_ffff, start: 0x8_0000_0000), Request(size: "33GiB"), Request(size: "1GiB"),
           Request(size: "1GiB", direction: Up, align: "1GiB")"#,
        json!([
            { "call": 1, "error": "ERANGE" }, { "call": 2, "first": 0xf_c000_0000u64, "last": 0xf_ffff_ffffu64 },
            { "call": 3, "first": 0x8_0000_0000u64, "last": 0x8_3fff_ffffu64 },
        ]),
    );
    check(
        "Linux_6_1",
        "Region(limit: 0xffff), Busy(first: 0, last: 0x1_ffff), Request(size: 0)",
        json!([{ "call": 2, "error": "BUG" }]),
    );
}

#[test]
fn json_says_the_same() {
    let text = r#"{"profile": "Linux_6_12", "calls": [{"Pool": {"granule": "4KiB"}},
        {"AddChunk": {"base": 268435456, "size": "64MiB"}}, {"Alloc": {"id": 1, "size": 4097}}, {"Free": {"id": 1}}, "Avail"],
        "results": [{"call": 2, "address": 268435456}, {"call": 4, "bytes": 67108864}]}"#;
    let (replay, found) = load(text, "r.json");
    assert_eq!(found, []);
    let replay = replay.unwrap();
    let document = run(&replay);
    let comparison = compare(&replay, &document).unwrap();
    assert_eq!((comparison.compared, comparison.equal, comparison.first), (2, 2, None));
}

#[test]
fn the_template_returns_what_it_says() {
    let (replay, document) = ran(TEMPLATE);
    let comparison = compare(&replay, &document).unwrap();
    assert_eq!(comparison.first, None);
    assert_eq!(comparison.equal, comparison.compared);
}

#[test]
fn differences_are_found_in_order() {
    let calls = "Pool(), AddChunk(base: 0x1000, size: 8192), Alloc(id: 1, size: 1), Alloc(id: 2, size: 1), Alloc(id: 3, size: 1), Avail";
    for (results, equal, compared, first) in [
        (
            "(call: 2, address: 0x1000), (call: 3, address: 0x2000), (call: 4, error: \"ENOMEM\"), (call: 5, bytes: 0)",
            4,
            4,
            None,
        ),
        (
            "(call: 2), (call: 3), (call: 4, error: \"ENOMEM\", reason: \"other words\"), (call: 5)",
            4,
            4,
            None,
        ),
        (
            "(call: 2, address: 0x1000), (call: 3, address: 0x3000), (call: 4, error: \"ENOMEM\"), (call: 5, bytes: 9)",
            2,
            4,
            Some(3),
        ),
        ("(call: 3, address: 0x2000)", 1, 4, Some(2)),
        ("", 0, 4, Some(2)),
        ("(call: 0, error: \"EINVAL\"), (call: 2), (call: 3), (call: 4), (call: 5)", 4, 5, Some(0)),
        ("(call: 2, error: \"ENOMEM\"), (call: 3), (call: 4), (call: 5)", 3, 4, Some(2)),
    ] {
        let (replay, document) = ran(&format!("(calls: [{calls}], results: [{results}])"));
        let comparison = compare(&replay, &document).unwrap();
        let found = comparison.first.as_ref().map(|difference| difference.call);
        assert_eq!((comparison.equal, comparison.compared, found), (equal, compared, first), "{results}");
    }
    let (replay, document) = ran(&format!("(calls: [{calls}])"));
    assert_eq!(compare(&replay, &document), None);
}

#[test]
fn texts_for_people() {
    let (replay, document) = ran(
        "(profile: Linux_6_12, calls: [Pool(), AddChunk(base: 0x1000, size: 8192), Alloc(id: 1, size: 1), \
         Alloc(id: 2, size: 8192, algorithm: BestFit), Free(id: 1), Avail, Region(limit: 0xffff_ffff), \
         Busy(first: 0, last: 0xfff, name: \"a \\\"b\\\"\"), Request(id: 1, size: \"1GiB\"), Release(id: 1)], \
         results: [(call: 2, address: 0x2000), (call: 3, error: \"ENOMEM\")])",
    );
    let expected = r#"10 calls as Linux_6_12 makes them

0  Pool(granule: "4KiB")
1  AddChunk(base: 0x1000, size: "8KiB")
2  Alloc(id: 1, size: "1B")                        0x1000
3  Alloc(id: 2, size: "8KiB", algorithm: BestFit)  ENOMEM: no chunk has room
4  Free(id: 1)
5  Avail                                           8192 bytes
6  Region(limit: 0xffffffff, section: "128MiB")
7  Busy(first: 0x0, last: 0xfff, name: "a \"b\"")
8  Request(id: 1, size: "1GiB")                    0xc0000000-0xffffffff, 1 probe
9  Release(id: 1)
"#;
    assert_eq!(render_replay(&replay, &document), expected);
    let comparison = compare(&replay, &document).unwrap();
    let expected = "1 of 4 results as recorded (Linux_6_12)\n\nfirst difference, at call 2:\n\n\
                    0  Pool(granule: \"4KiB\")\n1  AddChunk(base: 0x1000, size: \"8KiB\")\n\
                    2  Alloc(id: 1, size: \"1B\")              0x1000\n\n  recorded  address: 0x2000\n  \
                    found     address: 0x1000\n";
    assert_eq!(render_comparison(&replay, &document, &comparison), expected);
}
