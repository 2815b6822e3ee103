//! The 39 tests kernel developers run against the test device, as scripts: both kinds of device memory, both designs of
//! private memory, every profile.

use peerbus_os::{Profile, Rules};

use super::bench::Outcome;
use super::platform::{self, kernels};
use super::{selftests_basic as basic, selftests_huge as huge, selftests_two as two};

/// A test: its name, the first profile (0: 6.1, 1: 6.12, 2: 7.3) that has it, what it does.
type Test = (&'static str, usize, fn(Rules, bool) -> Outcome);

const TESTS: [Test; 39] = [
    ("open_close", 0, basic::open_close),
    ("anon_read", 0, basic::anon_read),
    ("anon_read_prot", 0, basic::anon_read_prot),
    ("anon_write", 0, basic::anon_write),
    ("anon_write_prot", 0, basic::anon_write_prot),
    ("anon_write_child", 0, basic::anon_write_child),
    ("anon_write_child_shared", 0, basic::anon_write_child_shared),
    ("anon_write_huge", 0, basic::anon_write_huge),
    ("anon_write_hugetlbfs", 0, basic::anon_write_hugetlbfs),
    ("file_read", 0, basic::file_read),
    ("file_write", 0, basic::file_write),
    ("migrate", 0, basic::migrate),
    ("migrate_file_private", 0, basic::migrate_file_private),
    ("migrate_fault", 0, basic::migrate_fault),
    ("migrate_release", 0, basic::migrate_release),
    ("migrate_shared", 0, basic::migrate_shared),
    ("migrate_mixed", 0, two::migrate_mixed),
    ("migrate_multiple", 0, basic::migrate_multiple),
    ("anon_read_multiple", 0, basic::anon_read_multiple),
    ("anon_teardown", 0, two::anon_teardown),
    ("mixedmap", 0, two::mixedmap),
    ("snapshot", 0, two::snapshot),
    ("compound", 0, two::compound),
    ("double_map", 0, two::double_map),
    ("exclusive", 0, two::exclusive),
    ("exclusive_mprotect", 0, two::exclusive_mprotect),
    ("exclusive_cow", 0, two::exclusive_cow),
    ("hmm_gup_test", 0, two::gup),
    ("hmm_cow_in_device", 0, two::cow_in_device),
    ("migrate_anon_huge_empty", 2, huge::empty),
    ("migrate_anon_huge_zero", 2, huge::zero),
    ("migrate_anon_huge_free", 2, huge::free),
    ("migrate_anon_huge_fault", 2, huge::fault),
    ("migrate_partial_unmap_fault", 2, huge::partial_unmap_fault),
    ("migrate_remap_fault", 2, huge::remap_fault),
    ("migrate_anon_huge_err", 2, huge::allocation_fails),
    ("migrate_anon_huge_zero_err", 2, huge::allocation_for_zero_fails),
    ("benchmark_thp_migration", 2, huge::sizes),
    ("userfaultfd_read", 2, two::userfaultfd_read),
];

#[test]
fn the_kernels_own_tests_hold() {
    let kernels = kernels();
    let mut failures = Vec::new();
    let mut passed = vec![[0; 2]; kernels.len()];
    let heads: Vec<String> = kernels.iter().map(|rules| rules.profile.to_string()).collect();
    let designs: Vec<String> = kernels.iter().map(|rules| rules.pagemap.private_design.to_string()).collect();
    println!("private memory/coherent memory");
    for (what, columns) in [("", &heads), ("test", &designs)] {
        let columns: Vec<String> = columns.iter().map(|text| format!("{text:<14}")).collect();
        println!("{}", format!("{what:<28} {}", columns.join(" ")).trim_end());
    }
    for (name, first, test) in TESTS {
        let mut row = format!("{name:<28}");
        for (number, rules) in kernels.iter().enumerate() {
            let cell = match rules.profile < Profile::ALL[first] {
                true => "-".to_owned(),
                false => [false, true]
                    .map(|coherent| match test(*rules, coherent) {
                        Ok(()) => {
                            passed[number][usize::from(coherent)] += 1;
                            "pass"
                        }
                        Err(why) => {
                            let kernel = platform::name(rules);
                            failures.push(format!("{name}, {kernel}, coherent {coherent}: {why}"));
                            "FAIL"
                        }
                    })
                    .join("/"),
            };
            row.push_str(&format!(" {cell:<14}"));
        }
        println!("{}", row.trim_end());
    }
    println!("passed: {passed:?} of 29, 29 and 39 per design and variant");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let expected = kernels.iter().map(|rules| [if rules.profile < Profile::Linux_7_3 { 29 } else { 39 }; 2]);
    assert_eq!(passed, expected.collect::<Vec<_>>());
}
