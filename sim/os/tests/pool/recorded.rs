//! Every allocation and free of the recorded sequences, on the chunks that were registered before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use peerbus_os::pool::Pool;
use peerbus_units::{Bytes, CpuAddr};

use crate::recordings::hex;

/// The value after `key=`.
fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn number(line: &str, key: &str) -> u64 {
    let text = field(line, key).unwrap_or_else(|| panic!("{key} in {line}"));
    if text.starts_with("0x") { hex(text) } else { text.parse().unwrap() }
}

/// Where the BAR is taken to be; the recordings tell offsets in it.
const BAR: u64 = 1 << 40;

/// Chunks registered in `function`'s BAR `bar`, in order.
fn register(pool: &mut Pool<CpuAddr>, log: &str, function: &str, bar: u64) {
    let lines = log.lines().filter(|line| line.starts_with(&format!("REG {function} ")));
    for line in lines.filter(|line| line.ends_with("rc=0") && number(line, "bar") == bar) {
        let start = CpuAddr(BAR + number(line, "off"));
        pool.add(start, start, Bytes(number(line, "size")), ());
    }
}

#[derive(Default)]
struct Agreement {
    allocations: [usize; 2],
    sums: [usize; 2],
    frees: [usize; 2],
}

fn count([same, all]: &mut [usize; 2], is_same: bool, place: &Path, line: &str) {
    *same += usize::from(is_same);
    *all += 1;
    if !is_same {
        println!("{}: differs: {line}", place.display());
    }
}

fn replay(folder: &Path, sequence: &str, sum: &mut Agreement) {
    let log = std::fs::read_to_string(folder.join("oracle.txt")).unwrap();
    let mut pool: Pool<CpuAddr> = Pool::new(12).unwrap();
    let mut live = BTreeMap::new();
    for line in sequence.lines() {
        match line.split(' ').next().unwrap_or_default() {
            "BEGIN" => {
                let order = u32::try_from(number(line, "order")).unwrap();
                (pool, live) = (Pool::new(order).unwrap(), BTreeMap::new());
                register(&mut pool, &log, line.split(' ').nth(1).unwrap(), number(line, "bar"));
                let bytes = [number(line, "pool"), number(line, "avail")];
                count(&mut sum.sums, [pool.size().0, pool.available().0] == bytes, folder, line);
            }
            "A" => {
                let found = pool.alloc(Bytes(number(line, "size"))).ok().map(|found| found.address);
                let offset = found.map(|address| address.0 - BAR);
                count(&mut sum.allocations, offset == field(line, "off").map(hex), folder, line);
                live.extend(found.map(|address| (number(line, "id"), address)));
            }
            "F" => {
                let address = live.remove(&number(line, "id"));
                let freed = address.map(|address| pool.free(address, Bytes(number(line, "size"))));
                count(&mut sum.frees, freed == Some(Ok(())), folder, line);
            }
            "AVAIL" => {
                let bytes = line.split(' ').nth(1).unwrap().parse();
                count(&mut sum.sums, bytes == Ok(pool.available().0), folder, line);
            }
            "PHASE" | "END" => {}
            _ => panic!("{}: unknown line: {line}", folder.display()),
        }
    }
}

#[test]
fn recorded_sequences_are_answered_alike() {
    let conformance = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let folders = ["boots", "boots73"].map(|kernel| std::fs::read_dir(conformance.join(kernel)));
    let mut folders: Vec<PathBuf> =
        folders.into_iter().flatten().flatten().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let (mut sum, mut sequences) = (Agreement::default(), 0);
    for folder in &folders {
        if let Ok(sequence) = std::fs::read_to_string(folder.join("alloc.txt")) {
            replay(folder, &sequence, &mut sum);
            sequences += 1;
        }
    }
    if sequences == 0 {
        println!("skipped: no recorded sequences are available");
        return;
    }
    for (name, [same, all]) in
        [("allocations", sum.allocations), ("frees", sum.frees), ("sizes and available bytes", sum.sums)]
    {
        println!("{sequences} recorded sequences: {name} {same} of {all}");
        assert_eq!(same, all, "{name}");
    }
}
