//! Small topologies, one idea each.

use super::numbering::walk;
use super::{get, gpu, import, import_below_rome, outline, pci, switch};
use crate::diagnostic::{Code, Diagnostic};
use crate::import::{codes, nccl};
use crate::model::Fact;

/// Imports `body` below an EPYC 7002 and compares the outline.
fn check(body: &str, expected: &str) {
    match import_below_rome(body) {
        Ok(import) => {
            assert_eq!(walk(&import.machine).problems, Vec::<String>::new(), "{body}");
            let expected: Vec<&str> =
                expected.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
            let found = outline(&import.machine);
            assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{body}");
        }
        Err(diagnostics) => panic!("{body}: {diagnostics:#?}"),
    }
}

/// Imports `body` below an EPYC 7002 and compares codes and messages.
fn refused(body: &str, expected: &[(Code, &str)]) {
    let found = import_below_rome(body).err().unwrap_or_default();
    let found: Vec<(Code, &str)> = found.iter().map(|d| (d.code, d.message.as_str())).collect();
    assert_eq!(found, expected, "{body}");
}

fn notes(body: &str) -> Vec<String> {
    let import = import_below_rome(body).map_err(|diagnostics| format!("{diagnostics:#?}"));
    import
        .map(|import| import.notes.iter().map(ToString::to_string).collect())
        .unwrap_or_else(|error| vec![error])
}

#[test]
fn a_device_hangs_below_a_root_port_on_the_bus_before_it() {
    check(
        &gpu("0000:21:00.0"),
        "
host 0000:20 cpu0
  port 0000:20:01.0 gen4 x16
    gpu0 0000:21:00.0 generic-gpu
",
    );
}

#[test]
fn where_the_bus_before_is_taken_root_ports_share_a_root_bus() {
    check(
        &[gpu("0000:22:00.0"), gpu("0000:21:00.0"), gpu("0000:24:00.0")].concat(),
        "
host 0000:20 cpu0
  port 0000:20:01.0 gen4 x16
    gpu1 0000:21:00.0 generic-gpu
  port 0000:20:02.0 gen4 x16
    gpu0 0000:22:00.0 generic-gpu
host 0000:23 cpu0
  port 0000:23:01.0 gen4 x16
    gpu2 0000:24:00.0 generic-gpu
",
    );
}

#[test]
fn a_switch_gets_an_internal_bus_and_a_port_for_each_device() {
    check(
        &switch("0000:21:00.0", &[gpu("0000:26:00.0"), gpu("0000:23:00.0")]),
        "
host 0000:20 cpu0
  port 0000:20:01.0 gen4 x16
    switch 0000:21:00.0 generic-switch
      port 0000:22:00.0 gen4 x16
        gpu1 0000:23:00.0 generic-gpu
      port 0000:22:01.0 gen4 x16
        gpu0 0000:26:00.0 generic-gpu
",
    );
}

#[test]
fn a_device_on_the_internal_bus_sits_there() {
    check(
        &switch("0000:21:00.0", &[gpu("0000:22:00.0"), gpu("0000:23:00.0")]),
        "
host 0000:20 cpu0
  port 0000:20:01.0 gen4 x16
    switch 0000:21:00.0 generic-switch
      gpu0 0000:22:00.0 generic-gpu
      port 0000:22:01.0 gen4 x16
        gpu1 0000:23:00.0 generic-gpu
",
    );
}

#[test]
fn devices_on_one_bus_below_a_stand_in_sit_on_its_internal_bus() {
    check(
        &switch("ffff:ff:01.0", &[gpu("0000:10:1c.0"), gpu("0000:10:1d.0"), gpu("0000:10:1b.0")]),
        "
host 0000:0e cpu0
  port 0000:0e:01.0 gen4 x16
    switch 0000:0f:00.0 generic-switch
      gpu2 0000:10:1b.0 generic-gpu
      gpu0 0000:10:1c.0 generic-gpu
      gpu1 0000:10:1d.0 generic-gpu
",
    );
}

#[test]
fn devices_on_several_buses_below_a_stand_in_get_ports() {
    check(
        &switch("ffff:ff:01.0", &[gpu("0000:53:00.0"), gpu("0000:4f:00.0"), gpu("0000:50:00.0")]),
        "
host 0000:4c cpu0
  port 0000:4c:01.0 gen4 x16
    switch 0000:4d:00.0 generic-switch
      port 0000:4e:00.0 gen4 x16
        gpu1 0000:4f:00.0 generic-gpu
      port 0000:4e:01.0 gen4 x16
        gpu2 0000:50:00.0 generic-gpu
      port 0000:4e:02.0 gen4 x16
        gpu0 0000:53:00.0 generic-gpu
",
    );
}

#[test]
fn a_stand_in_over_several_domains_is_left_out() {
    let body = switch("ffff:ff:01.0", &[gpu("0001:00:00.0"), gpu("0101:00:00.0")]);
    check(
        &body,
        "
host 0001:00 cpu0
  gpu0 0001:00:00.0 generic-gpu
host 0101:00 cpu0
  gpu1 0101:00:00.0 generic-gpu
",
    );
    let about_the_switch = notes(&body).into_iter().find(|note| note.starts_with("ffff:ff:01.0"));
    let expected = "ffff:ff:01.0: this stand-in for a switch is left out: its devices are in several domains; what its \
                    devices share is not described";
    assert_eq!(about_the_switch.as_deref(), Some(expected));
}

#[test]
fn stand_ins_over_one_bus_are_left_out() {
    let body = [
        switch("ffff:ff:01.0", &[gpu("0000:00:04.0"), gpu("0000:00:05.0")]),
        switch("ffff:ff:02.0", &[gpu("0000:00:06.0"), gpu("0000:00:07.0")]),
        switch("ffff:ff:03.0", &[gpu("0001:10:04.0"), gpu("0001:10:05.0")]),
        switch("ffff:ff:04.0", &[gpu("0001:10:06.0"), gpu("0001:10:07.0")]),
    ];
    check(
        &body.concat(),
        "
host 0000:00 cpu0
  gpu0 0000:00:04.0 generic-gpu
  gpu1 0000:00:05.0 generic-gpu
  gpu2 0000:00:06.0 generic-gpu
  gpu3 0000:00:07.0 generic-gpu
host 0001:10 cpu0
  gpu4 0001:10:04.0 generic-gpu
  gpu5 0001:10:05.0 generic-gpu
  gpu6 0001:10:06.0 generic-gpu
  gpu7 0001:10:07.0 generic-gpu
",
    );
}

#[test]
fn functions_of_one_device_are_one_device() {
    let nic = |id: &str| pci(id, "0x020000", "");
    check(
        &[nic("0000:21:00.1"), nic("0000:21:00.0"), nic("0000:31:00.1")].concat(),
        "
host 0000:20 cpu0
  port 0000:20:01.0 gen4 x16
    nic0 0000:21:00.0 generic-nic and [0000:21:00.1]
host 0000:30 cpu0
  port 0000:30:01.0 gen4 x16
    nic1 0000:31:00.0 generic-nic and [0000:31:00.1]
",
    );
}

#[test]
fn numbering_that_cannot_be() {
    let below = |why: &str| format!("the functions below switch 0000:21:00.0 cannot be numbered: {why}");
    let cases = [
        (
            switch("0000:21:00.0", &[gpu("0000:20:00.0")]),
            below("bus 20 leaves no bus for the switch's ports"),
        ),
        (
            switch("0000:ff:00.0", &[gpu("0000:21:00.0")]),
            "the functions below switch 0000:ff:00.0 cannot be numbered: it is on the last bus".to_owned(),
        ),
        (
            switch("0000:21:00.0", &[switch("0000:23:00.0", &[gpu("0000:29:00.0")]), gpu("0000:25:00.0")]),
            below("bus 25 is already used beside it or above it"),
        ),
        (
            switch("0000:21:00.0", &[gpu("0000:23:04.0"), gpu("0000:25:04.0")]),
            below("buses 23 and 25 both hold functions that only a switch's internal bus can hold"),
        ),
        (
            switch("0000:21:00.0", &[switch("0000:22:00.0", &[])]),
            below("bus 22 is already used beside it or above it"),
        ),
        (
            switch("0000:00:03.0", &[gpu("0000:02:00.0")]),
            "no root port can lead to switch 0000:00:03.0".to_owned(),
        ),
        (
            [switch("0000:21:00.0", &[gpu("0000:25:00.0")]), gpu("0000:23:00.0")].concat(),
            "bus 23 of 0000:23:00.0 is among buses 20 to 25 of another hierarchy".to_owned(),
        ),
    ];
    for (body, expected) in cases {
        refused(&body, &[(codes::NO_ROOM, &expected)]);
    }
}

#[test]
fn links_are_cut_to_what_the_ends_support() {
    let body = r#"<pci busid="0000:21:00.0" class="0x030200" vendor="0x10de" device="0x20b0" link_speed="64.0 GT/s PCIe" link_width="32"/>"#;
    let note = "0000:21:00.0: its link is said to be Gen6 x32, more than amd-rome and a100-sxm4-40g support; taken as Gen4 x16";
    assert!(notes(body).iter().any(|found| found == note), "{:?}", notes(body));
    check(body, "host 0000:20 cpu0\n  port 0000:20:01.0 gen4 x16\n    gpu0 0000:21:00.0 a100-sxm4-40g\n");
}

#[test]
fn unknown_links_are_left_open() {
    let body = r#"<pci busid="0000:21:00.0" class="0x030200" link_speed="" link_width="0"/>"#;
    check(body, "host 0000:20 cpu0\n  port 0000:20:01.0\n    gpu0 0000:21:00.0 generic-gpu\n");
}

/// Where no port states the link, the device does: one without a link would be inside the CPU's package.
#[test]
fn devices_behind_invisible_ports_always_have_a_link() {
    let gpu = |id: &str| {
        format!(r#"<pci busid="{id}" class="0x030200" vendor="0x10de" device="0x20b5" link_speed=""/>"#)
    };
    let import = import_below_rome(&[gpu("0001:00:00.0"), gpu("0002:00:00.0")].concat()).ok();
    let bridges = import.as_ref().map_or(&[][..], |import| &import.machine.host_bridges);
    let devices: Vec<_> = bridges.iter().flat_map(|bridge| &bridge.devices).collect();
    assert_eq!(devices.len(), 2);
    for device in devices {
        let link = device.link.as_ref().map(|link| (get(&link.generation), get(&link.lanes)));
        assert_eq!(link, Some((Some(&4), Some(&16))));
        assert!(device.assumed.iter().any(|fact| fact.get() == Some(&Fact::Link)), "{:?}", device.assumed);
    }
}

#[test]
fn parts_by_id_instruction_set_and_class() {
    let with_gpu = |id: &str, gpu: &str| pci(id, "0x038000", gpu);
    check(
        &[
            with_gpu("0000:11:00.0", r#"<gpu dev="3" gcn="908"/>"#),
            with_gpu("0000:21:00.0", r#"<gpu dev="2" gcn="gfx942"/>"#),
            with_gpu("0000:31:00.0", r#"<gpu dev="1" gcn="1030"/>"#),
            pci("0000:41:00.0", "0x010802", ""),
            pci("0000:51:00.0", "0x118000", ""),
            r#"<pci busid="0000:61:00.0" class="0x020700" vendor="0x15b3" device="0x1021"/>"#.to_owned(),
        ]
        .concat(),
        "
host 0000:10 cpu0
  port 0000:10:01.0 gen4 x16
    gpu3 0000:11:00.0 mi100
host 0000:20 cpu0
  port 0000:20:01.0 gen4 x16
    gpu2 0000:21:00.0 mi300x
host 0000:30 cpu0
  port 0000:30:01.0 gen4 x16
    gpu1 0000:31:00.0 generic-gpu
host 0000:40 cpu0
  port 0000:40:01.0 gen4 x4
    ssd0 0000:41:00.0 generic-ssd
host 0000:50 cpu0
  port 0000:50:01.0 gen4 x16
    dev0 0000:51:00.0 generic-device
host 0000:60 cpu0
  port 0000:60:01.0
    nic0 0000:61:00.0 connectx-7
",
    );
}

#[test]
fn a_switch_that_is_too_small_for_what_hangs_below_it_is_another_one() {
    let bridge = |id: &str, inside: &[String]| {
        let tag =
            format!(r#"<pci busid="{id}" class="0x060400" vendor="0x1022" device="0x14c7" link_width="16">"#);
        format!("{tag}{}</pci>", inside.concat())
    };
    let body = bridge("0000:21:00.0", &[gpu("0000:23:00.0"), gpu("0000:24:00.0")]);
    let note =
        "0000:21:00.0: 3 ports with 48 lanes are more than amd-gpu-bridge has; taken as generic-switch";
    assert!(notes(&body).iter().any(|found| found == note), "{:?}", notes(&body));
    let body = bridge("0000:21:00.0", &[gpu("0000:23:00.0")]);
    let import = import_below_rome(&body).ok();
    let outline = import.map(|import| outline(&import.machine)).unwrap_or_default();
    assert!(outline.contains("switch 0000:21:00.0 amd-gpu-bridge"), "{outline}");
}

#[test]
fn cpu_families() {
    let cases = [
        ("AuthenticAMD", "143", "49", "amd-rome"),
        ("AuthenticAMD", "23", "49", "amd-rome"),
        ("AuthenticAMD", "175", "1", "amd-milan"),
        ("AuthenticAMD", "175", "48", "amd-trento"),
        ("AuthenticAMD", "175", "17", "amd-genoa"),
        ("AuthenticAMD", "175", "144", "amd-mi300a"),
        ("AuthenticAMD", "191", "2", "amd-turin"),
        ("GenuineIntel", "6", "85", "intel-skylake-sp"),
        ("GenuineIntel", "6", "143", "intel-sapphire-rapids"),
        // Unknown models stand for the nearest known one, unknown families for none.
        ("GenuineIntel", "6", "108", "intel-ice-lake-sp"),
        ("GenuineIntel", "19", "1", "generic-cpu"),
        ("", "6", "85", "generic-cpu"),
    ];
    for (vendor, family, model, expected) in cases {
        let cpu = format!(r#"<cpu numaid="0" vendor="{vendor}" familyid="{family}" modelid="{model}">"#);
        let found = import(&format!("{cpu}{}</cpu>", gpu("0000:21:00.0")));
        let part = found.ok().and_then(|import| get(&import.machine.cpus[0].part).cloned());
        assert_eq!(part.as_deref(), Some(expected), "{vendor} {family} {model}");
    }
}

#[test]
fn private_links_are_kept_once() {
    let gpu = |id: &str, links: &[(&str, u32)]| {
        let link = |(target, count): &(&str, u32)| {
            format!(r#"<nvlink target="{target}" count="{count}" tclass="0x030200"/>"#)
        };
        pci(id, "0x030200", &format!(r#"<gpu sm="70">{}</gpu>"#, links.iter().map(link).collect::<String>()))
    };
    let body = [
        gpu(
            "0000:11:00.0",
            &[("0000:21:00.0", 2), ("0000:31:00.0", 1), ("0000:11:00.0", 4), ("0000:99:00.0", 1)],
        ),
        gpu("0000:21:00.0", &[("0000:11:00.0", 2)]),
        gpu("0000:31:00.0", &[("0000:11:00.0", 3)]),
    ];
    let import = import_below_rome(&body.concat()).ok();
    let found = import.as_ref().map_or(&[][..], |import| &import.machine.interconnects);
    assert_eq!(found.len(), 1);
    assert_eq!(get(&found[0].part).map(String::as_str), Some("nvlink2"));
    let pairs: Vec<_> = found[0]
        .pairs
        .iter()
        .map(|pair| (get(&pair.from), get(&pair.to), get(&pair.links).copied()))
        .collect();
    let name = |text: &str| text.to_owned();
    let expected = [(name("gpu0"), name("gpu1"), 2), (name("gpu0"), name("gpu2"), 3)];
    let expected: Vec<_> =
        expected.iter().map(|(from, to, links)| (Some(from), Some(to), Some(*links))).collect();
    assert_eq!(pairs, expected);
    let notes = notes(&body.concat());
    for expected in [
        "gpu0: a private link that leads back to it is left out",
        "gpu0: a private link that leads to 0000:99:00.0, which is not in the file is left out",
        "gpu0 and gpu2: its two ends give different numbers of private links, or one gives none; the larger is kept",
    ] {
        assert!(notes.iter().any(|note| note == expected), "{notes:#?}");
    }
}

#[test]
fn links_to_switches_make_a_switched_interconnect() {
    let gpu = |id: &str, count: u32| {
        let link = format!(
            r#"<gpu sm="80"><nvlink target="0000:c6:00.0" count="{count}" tclass="0x068000"/></gpu>"#
        );
        pci(id, "0x030200", &link)
    };
    let body = [gpu("0000:11:00.0", 12), gpu("0000:21:00.0", 12)].concat();
    let import = import_below_rome(&body).ok();
    let found = import.as_ref().map_or(&[][..], |import| &import.machine.interconnects);
    let found: Vec<_> = found
        .iter()
        .map(|one| (get(&one.part), get(&one.links), one.members.len(), one.pairs.len()))
        .collect();
    assert_eq!(found, [(Some(&"nvlink3-switch".to_owned()), Some(&12), 2, 0)]);
}

#[test]
fn every_code_is_explained_by_an_example() {
    for entry in codes::ENTRIES {
        let found = |text: &str| nccl(text, "example.xml", &super::catalogue()).err().unwrap_or_default();
        let codes: Vec<Code> = found(entry.wrong).iter().map(|diagnostic| diagnostic.code).collect();
        assert_eq!(codes, [entry.code], "{}", entry.wrong);
        assert_eq!(found(entry.right), Vec::<Diagnostic>::new(), "{}", entry.right);
    }
    assert!(codes::ENTRIES.windows(2).all(|pair| pair[0].code < pair[1].code));
}

#[test]
fn diagnostics_point_into_the_file() {
    let text = "<system>\n <cpu numaid=\"0\">\n  <pci busid=\"0000:21:00.0\" class=\"0x030200\" link_width=\"µ\"/>\n </cpu></system>";
    let found = nccl(text, "a.xml", &super::catalogue()).err().unwrap_or_default();
    let places: Vec<_> =
        found.iter().map(|d| (d.line, d.column, d.message.as_str(), d.label.as_str())).collect();
    let label = "expected a number of lanes: 1, 2, 4, 8, 12, 16 or 32, or 0 when not known";
    assert_eq!(places, [(Some(3), Some(58), "`link_width` is \"µ\"", label)]);
}

#[test]
fn the_parser_gives_up_on_bombs() {
    let deep = format!("<system>{}", "<a>".repeat(200_000));
    let wide = format!("<system>{}</system>", "<a/>".repeat(200_000));
    let entities = "<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\">]><system>&a;</system>";
    for text in [deep.as_str(), &wide, entities, "", "\u{feff}", "<system", "\0"] {
        let found = nccl(text, "bomb.xml", &super::catalogue()).err().unwrap_or_default();
        assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), [codes::MALFORMED], "{:.40}", text);
    }
}
