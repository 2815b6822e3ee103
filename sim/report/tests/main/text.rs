//! The text report.

use peerbus_report::text::{TextOptions, render};

use crate::sample;

const SMALL: &str = "\
peerbus run scenarios/pair.ron
  Two GPUs below one switch: what one write stream reaches.

  machine         two-gpu (topologies/two-gpu.ron)
  kernel          Linux_7_3
  simulated time  50 us
  run size        8,192 events, 12,288 TLPs sent (counted once per link)
  seed            7
  digest          0123456789abcdef
  verdict         FAIL, 1 of 2 expectations hold

Expectations
  PASS  flow.peer.throughput >= 24GB/s
        26GB/s >= 24GB/s
  FAIL  errors == 0
        1024 == 0

Flows (p50 and p99: latency of a request; * of a whole transfer)
 flow          bytes        time    GB/s          p50        p99   limited by                 map type
────────────────────────────────────────────────────────────────────────────────────────────────────────────
 peer          1 MiB   40.330 us   26.00   812.500 ns   1.204 us   gpu0 uplink gen4 x16       BUS_ADDR
 back   0 B of 1 MiB   40.330 us       -            -          -   refused: ACS_REDIRECT at   NOT_SUPPORTED
                                                                   0000:02:00.0

Flow peer: gpu0 to gpu1
  from … to       100 ns to 40.430 us
  path            gpu0 → host0/rp0/sw0 → gpu1
  DMA address     0x380_0000_0000 (BUS address)
  distance        4
  limited by      gpu0 uplink gen4 x16
  time            credits 60.0 %, serialisation 40.0 %, 1 more below 0.1 %

Flow back: gpu1 to gpu0
  from … to       100 ns to 40.430 us
  refused         1 MiB
  why refused     ACS_REDIRECT at 0000:02:00.0
  path            gpu1 → host0/rp0/sw0 → gpu0
  distance        4

Links (efficiency: payload in all bytes sent; starved: time TLPs waited for credits)
 link                    PCIe         busy   on the wire   payload   efficiency    starved
───────────────────────────────────────────────────────────────────────────────────────────
 gpu0 to host0/rp0/sw0   gen4 x16   80.7 %      1.10 MiB     1 MiB       90.8 %   1.500 us
  1 link at or below 1 % not shown

Address spaces
 space                                                  size      used    share   largest hole
───────────────────────────────────────────────────────────────────────────────────────────────
 host0 Mem64Prefetch [0x38000000000-0x3ffffffffff]   512 GiB   128 GiB   25.0 %        384 GiB

Counters
 place       what counts       counted
─────────────────────────────────────────────────────────
 host0/rp0   nonfatal errors   1,024 unsupported request
 host0       IOMMU             4,000 hits, 96 misses

Errors
  UNSUPPORTED_REQUEST at host0/rp0: 1,024 times, 256 KiB
      no window holds the address; nearest is host0 Mem64Prefetch
      first at address 0x3ff_ffff_f000 in flow back after 1.250 us

Assumed, because the machine file does not say
  gpu0: bars, timing

More
  everything      peerbus run scenarios/pair.ron --verbose
  as JSON         peerbus run scenarios/pair.ron --format json
  this run again  peerbus run scenarios/pair.ron --seed 7
";

#[test]
fn a_small_result_reads_as_expected() {
    assert_eq!(render(&sample::small(), TextOptions::PLAIN), SMALL);
}

const CHURN: &str = "\
Peer memory churn of variant first-fit
  what            2 clients (drivers) write; nearest provider, first fit, host memory when refused
  requests        10,000 (700 MiB), of which 8,000 (600 MiB) got peer memory, 1,990 (99 MiB) went through host memory,
                  10 were lost
  throughput      25.00 GB/s: clients moved 976.56 KiB in 40 us
  waited          p50 0 s, p99 3 us for an allocation to be given back
  FRAGMENTED      2,000 (100 MiB); first after 12.500 us for nic0: 1MiB of ssd0, which has 4MiB of 64MiB free, the
                  largest hole 512KiB
 pool   registered   granted   refused   peak use   least largest hole   fragmentation
───────────────────────────────────────────────────────────────────────────────────────
 ssd0       64 MiB     4,000     1,000     60 MiB                1 MiB          12.3 %
 ssd1       64 MiB     4,000     1,000     60 MiB                1 MiB          12.3 %
";

#[test]
fn peer_memory_reads_as_expected() {
    let text = render(&sample::churn(), TextOptions::PLAIN);
    let from = text.find("Peer memory").unwrap_or(0);
    let part = &text[from..text.find("\nFlows").unwrap_or(text.len())];
    assert_eq!(part, CHURN);
    assert!(text.contains("  1 flow was never used; see all: peerbus run scenarios/pair.ron --verbose"));
    assert!(!text.contains("churn.nic0.ssd1"));
    let all = render(&sample::churn(), TextOptions { verbose: true, color: false });
    assert!(all.contains("churn.nic0.ssd1") && !all.contains("never used"));
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
fn reports_fit_120_columns() {
    for result in [sample::small(), sample::variants(), sample::matrix(8), sample::churn()] {
        for verbose in [false, true] {
            let text = render(&result, TextOptions { verbose, color: false });
            assert!(widest(&text) <= 120, "{}", text);
            assert!(text.lines().all(|line| line.trim_end() == line));
        }
    }
}

#[test]
fn long_lists_are_cut_and_say_how_to_see_all() {
    let short = render(&sample::matrix(8), TextOptions::PLAIN);
    let hint = "16 of 56 flows not shown; see all: peerbus run scenarios/pair.ron --verbose";
    assert!(short.contains(hint) && short.contains("8 links at or below 1 % not shown"));
    assert!(!short.contains("\nFlow pairs/"));
    let long = render(&sample::matrix(8), TextOptions { verbose: true, color: false });
    assert!(!long.contains("not shown") && long.matches("\nFlow pairs/").count() == 56);
}

#[test]
fn many_errors_of_a_kind_are_counted() {
    let mut result = sample::variants();
    let errors = &mut result.cells[1].outcome.errors;
    *errors = vec![errors[0].clone(); 11];
    let short = render(&result, TextOptions::PLAIN);
    let hint = "  UNSUPPORTED_REQUEST at redirect-on/…: 3 more places; see all: peerbus run scenarios/pair.ron --verbose";
    assert!(short.contains(hint) && short.matches("at redirect-on/host0/rp0:").count() == 8, "{short}");
    let long = render(&result, TextOptions { verbose: true, color: false });
    assert!(!long.contains("more places") && long.matches("at redirect-on/host0/rp0:").count() == 11);
}

#[test]
fn a_matrix_says_its_extremes_and_limits() {
    let text = render(&sample::matrix(8), TextOptions::PLAIN);
    for line in [
        "Matrix pairs: write by the row's GPU into the column's, one pair at a time",
        " gpu4   11.78   11.78   11.78   11.78       -   26.21   26.21   26.21",
        "  min 11.73, mean 17.96, max 26.21 GB/s over 56 cells",
        "  limited by host0/rp*/sw* uplink gen4 x16 (2 resources): gpu0, gpu1, gpu2, gpu3 → gpu4, gpu5, gpu6, gpu7; gpu4,",
    ] {
        assert!(text.lines().any(|it| it.starts_with(line)), "{line}\n{text}");
    }
}

#[test]
fn colour_is_only_added_never_needed() {
    let plain = render(&sample::small(), TextOptions::PLAIN);
    let mut coloured = render(&sample::small(), TextOptions { verbose: false, color: true });
    assert!(!plain.contains('\u{1b}') && coloured.contains("\u{1b}[1;31mFAIL\u{1b}[0m"));
    for code in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[32m", "\u{1b}[1;31m"] {
        coloured = coloured.replace(code, "");
    }
    assert_eq!(coloured, plain);
}

#[test]
fn empty_and_enormous_results_are_reports_too() {
    let mut results = sample::empty();
    results.push(sample::huge());
    for result in results {
        for verbose in [false, true] {
            let text = render(&result, TextOptions { verbose, color: false });
            assert!(text.starts_with("peerbus run scenarios/pair.ron\n") && text.ends_with('\n'));
        }
    }
    assert!(render(&sample::empty()[0], TextOptions::PLAIN).contains("Flows: none"));
    assert!(render(&sample::empty()[2], TextOptions::PLAIN).contains("nothing was delivered"));
}

#[test]
fn a_run_that_stood_still_failed_even_where_nothing_was_expected() {
    let mut result = sample::small();
    result.expectations.clear();
    assert!(result.passed());
    let error = &mut result.cells[0].outcome.errors[0];
    error.kind = "NO_PROGRESS".to_owned();
    assert!(!result.passed());
    let text = render(&result, TextOptions::PLAIN);
    assert!(text.contains("FAIL, nothing was expected, and a run could not come to its end"), "{text}");
}
