//! Sweeps: every combination of values, wherever they belong, and what is said of those that do not.

use peerbus_machine::Catalogue;
use peerbus_scenario::{assemble, cells, run_cell};
use peerbus_system::kernel::AcsPolicy;
use peerbus_system::workload::Workload;

use crate::support::load_text;

fn scenario(sweep: &str) -> String {
    format!(
        r#"// Two GPUs.
        (machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], sweep: {{{sweep}}})"#
    )
}

#[test]
fn every_combination_is_a_point() {
    let text = scenario(
        r#""kernel.acs": [Off, On], "machine.**.below.ports[0].link.gen": [3, 4], "seed": [7, 0x10, 1_000]"#,
    );
    let (loaded, found) = load_text(&text, "s.ron");
    assert!(found.is_empty(), "{found:#?}");
    let sweep = loaded.unwrap().sweep.unwrap();
    assert_eq!(sweep.points(), 12);
    let catalogue = Catalogue::embedded();
    let mut seen = Vec::new();
    for point in 0..12 {
        let loaded = sweep.point(point, &catalogue).unwrap();
        assert_eq!((loaded.file.as_str(), loaded.description.as_str()), ("s.ron", "Two GPUs."));
        assert_eq!(loaded.machine, "m.ron");
        let cell = &cells(&loaded)[0];
        let link = cell.machine.links.iter().find(|link| link.name.ends_with("gpu0")).unwrap();
        let acs = matches!(cell.input.kernel.acs, AcsPolicy::On);
        seen.push((acs, link.generation, loaded.seed));
    }
    let expected: Vec<_> = [false, true]
        .into_iter()
        .flat_map(|acs| [3, 4].map(|generation| (acs, generation)))
        .flat_map(|(acs, generation)| [7, 16, 1000].map(|seed| (acs, generation, seed)))
        .collect();
    assert_eq!(seen, expected);
    let values: Vec<String> =
        sweep.values(7).into_iter().map(|(path, value)| format!("{path}={value}")).collect();
    assert_eq!(values, ["kernel.acs=\"On\"", "machine.**.below.ports[0].link.gen=3", "seed=16"]);
}

#[test]
fn points_run_as_scenarios_of_their_own() {
    let text = scenario(r#""machine.**.below.ports[*].link.gen": [1, 2], "workloads[0].bytes": ["64KiB"]"#);
    let sweep = load_text(&text, "s.ron").0.unwrap().sweep.unwrap();
    let catalogue = Catalogue::embedded();
    let ends = [0, 1].map(|point| {
        let loaded = sweep.point(point, &catalogue).unwrap();
        let Workload::Copy(copy) = &cells(&loaded)[0].input.workloads[0] else { panic!("it is a copy") };
        assert_eq!(copy.bytes.0, 64 << 10);
        let outcome = run_cell(&cells(&loaded)[0]).unwrap();
        assemble(loaded, vec![outcome]).cells[0].outcome.end
    });
    assert!(ends[0].0 > ends[1].0 * 3 / 2, "half the rate takes nearly twice the time: {ends:?}");
}

#[test]
fn what_is_wrong_is_said_with_the_nearest_that_is_right() {
    for (sweep, code, message, help) in [
        (r#""kernel.asc": [Off]"#, "S0401", "asc", "acs"),
        (r#""kernl.acs": [Off]"#, "S0401", "kernl", "kernel"),
        (r#""machine.host_bridge[*].cpu": [0]"#, "S0401", "there is no list `host_bridge`", "host_bridges"),
        (r#""machine.host_bridges[9].cpu": [0]"#, "S0401", "the list has 1 elements", ""),
        (r#""machine.host_bridges[0].ports[*].link.gne": [3]"#, "S0401", "gne", "gen"),
        (r#""a..b": [3]"#, "S0401", "`` is no field", "dots"),
        (r#""machine.host_bridges[0].ports[*].link.gen": [3, 9]"#, "S0402", "9", ""),
        (r#""workloads[0].to": ["gpu1", "gpu7"]"#, "S0402", "gpu7", "gpu"),
        (r#""kernel.acs": [Sometimes]"#, "S0402", "Sometimes", "Off"),
        (r#""kernel.acs": [(a: 1)]"#, "S0402", "cannot be swept", "name"),
        (r#""seed": []"#, "S0403", "no values", "one value"),
    ] {
        let (loaded, found) = load_text(&scenario(sweep), "s.ron");
        assert!(loaded.is_none(), "{sweep}");
        let first = &found[0];
        assert_eq!((found.len(), first.code.0), (1, code), "{sweep}: {found:#?}");
        assert!(first.message.contains(message), "{sweep}: {}", first.message);
        assert!(first.help.as_deref().unwrap_or_default().contains(help), "{sweep}: {:?}", first.help);
        assert!(first.line.is_some(), "{sweep}");
    }
}

#[test]
fn values_that_do_not_go_together_are_found_at_their_point() {
    let text = scenario(r#""workloads[0].from": ["gpu0", "ssd0"], "workloads[0].to": ["gpu1", "ssd0"]"#);
    let sweep = load_text(&text, "s.ron").0.unwrap().sweep.unwrap();
    let catalogue = Catalogue::embedded();
    let wrong: Vec<usize> = (0..4).filter(|point| sweep.point(*point, &catalogue).is_err()).collect();
    assert_eq!(wrong, [3], "from an SSD to itself");
}
