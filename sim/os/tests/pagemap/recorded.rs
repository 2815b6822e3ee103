//! What booted kernels paid for the page structs of private memory, and how long they took.
//!
//! The recordings show free memory before, with, and after each page map. The kernel frees huge pages to lists of its
//! CPUs first, where they do not count as free but are taken from next: what one map left there (`kept`) the next does not
//! show. Lists are refilled two huge pages at a time, and a page table more may be needed.
//! Times are printed only: an emulated CPU took them, on a host that had to find the memory at its first use.

use std::collections::BTreeMap;

use peerbus_os::device_private::{
    ChunkPolicy, DevicePrivate, Frame, FreeLists, Handout, Platform, PrivateDesign, PrivateRequest, design_of,
};
use peerbus_os::iomem::{DirectMap, IoMem, Paging, PhysicalSpace};
use peerbus_os::pagemap::{Owner, Unmap};
use peerbus_os::{Profile, RulesOptions};
use peerbus_units::{Bytes, CpuAddr, Pfn};

use crate::recordings::folder;

const HUGE: u64 = 2 << 20;

/// `key=value` words of a line, as numbers.
fn fields(line: &str) -> BTreeMap<&str, u64> {
    let words = line.split_whitespace().filter_map(|word| word.split_once('='));
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    words.filter_map(|(key, value)| Some((key, number(value)?))).collect()
}

/// The machine of a boot before the test device was loaded.
fn platform(oracle: &str, iomem: &str, profile: Profile) -> Platform {
    let limits: BTreeMap<&str, u64> =
        oracle.lines().filter(|line| line.starts_with("LIM ")).flat_map(fields).collect();
    let mut tree = IoMem::parse(iomem, CpuAddr(limits["iomem_end"])).unwrap();
    while let Some(id) = {
        let entry = tree.children(tree.root()).find(|(_, entry)| entry.name == "hmm_dmirror");
        entry.map(|(id, _)| id)
    } {
        tree.release(id).unwrap();
    }
    let paging = if limits.get("la57") == Some(&1) { Paging::FiveLevel } else { Paging::FourLevel };
    let physical_bits = u32::try_from(limits["x86_phys_bits"]).unwrap();
    let direct_map = DirectMap { randomised: false, ..DirectMap::distribution(CpuAddr(0)) };
    let space = PhysicalSpace::X86 { paging, physical_bits, direct_map };
    Platform::new(profile.rules(RulesOptions::default()), tree, &space)
}

/// Places and page-struct memory of the recorded maps: how many agree, of how many.
fn replay(name: &str, oracle: &str, platform: &mut Platform) -> (usize, usize) {
    let mut design = design_of(platform);
    let (mut agree, mut all, mut kept, mut unknown) = (0, 0, 0, true);
    for line in oracle.lines().filter(|line| line.starts_with("DEVPRIV ")) {
        let row = fields(line);
        let (Some(start), Some(end), Some(size)) = (row.get("start"), row.get("end"), row.get("size")) else {
            println!("{name}: left out, no map was made: {line}");
            continue;
        };
        all += 1;
        let request = PrivateRequest::new(Bytes(*size), Owner(1), "device");
        let reserved = design.reserve(platform, &request).unwrap();
        let memory = platform.layout.shape.bytes(reserved.cost).0;
        let place = (reserved.first, reserved.pages);
        assert_eq!(design.release(platform, reserved.map), Ok(Unmap::Done));
        let same_place = place == (Frame::Physical(Pfn(start >> 12)), (end + 1 - start) >> 12);
        let shown = row["used"];
        // What lay on the lists at the beginning is not recorded: a map that shows nothing found all of it there.
        let hidden = if unknown && shown == 0 { memory } else { kept.min(memory) };
        unknown &= shown == 0;
        let difference = shown.abs_diff(memory - hidden);
        println!(
            "{name}: {} MiB: {} KiB of page structs, {} KiB from lists, {} KiB shown, {difference} B apart; {} ns a page",
            size >> 20,
            memory >> 10,
            hidden >> 10,
            shown >> 10,
            row["map_ns"] / reserved.pages
        );
        agree += usize::from(same_place && difference <= 2 * HUGE + 4096 && row["page_struct"] == 64);
        kept = (kept + row["free_before"]).saturating_sub(row["free_after"]);
    }
    (agree, all)
}

fn profile(case: &str) -> Option<Profile> {
    let case: serde_json::Value = serde_json::from_str(case).ok()?;
    let release = case["kernel"].as_str()?.split_whitespace().nth(2)?.to_owned();
    let known = [("6.1.", Profile::Linux_6_1), ("6.12.", Profile::Linux_6_12), ("7.3.", Profile::Linux_7_3)];
    known.into_iter().find(|(start, _)| release.starts_with(start)).map(|(_, profile)| profile)
}

#[test]
fn recorded_page_maps_have_their_places_and_their_memory() {
    let (mut agree, mut all) = (0, 0);
    for boot in folder("boots").into_iter().chain(folder("boots73")) {
        let Some(oracle) = boot.file("oracle.txt").filter(|text| text.contains("DEVPRIV ")) else { continue };
        let profile = boot.file("case.json").and_then(|case| profile(&case)).unwrap();
        let mut platform = platform(&oracle, &boot.file("iomem.txt").unwrap(), profile);
        let (right, rows) = replay(&boot.name, &oracle, &mut platform);
        agree += right;
        all += rows;
    }
    println!("private page maps: {agree} of {all}");
    assert_eq!(agree, all);
}

/// The chunks of the kernel's test device, one for each of its two devices, and a request after them.
#[test]
fn the_test_device_gets_its_recorded_chunks() {
    let (mut agree, mut all) = (0, 0);
    for boot in folder("boots").into_iter().chain(folder("boots73")) {
        let Some(shown) = boot.file("iomem-test_hmm.txt") else { continue };
        let oracle = boot.file("oracle.txt").unwrap();
        let profile = boot.file("case.json").and_then(|case| profile(&case)).unwrap();
        let mut platform = platform(&oracle, &boot.file("iomem.txt").unwrap(), profile);
        let mut design = design_of(&platform);
        assert_eq!(design.design(), PrivateDesign::PhysicalSpace);
        let policy = ChunkPolicy::TEST_DEVICE;
        let mut chunks = Vec::new();
        for device in 0..2 {
            let request = PrivateRequest::new(policy.size, Owner(device), "hmm_dmirror");
            let chunk = design.reserve(&mut platform, &request).unwrap();
            let mut lists = FreeLists::default();
            policy.fill(&mut lists, &chunk, Handout::Pages, u64::MAX);
            let first = design.frame(&platform, lists.pop(Handout::Pages).unwrap()).unwrap();
            assert_eq!(first.found, chunk.first.checked_add(65535).unwrap(), "the highest page comes first");
            chunks.push(chunk);
        }
        all += 1;
        agree += usize::from(platform.iomem.render(&platform.rules) == shown);
        for line in oracle.lines().filter(|line| line.starts_with("GFR after_test_hmm ")) {
            all += 1;
            let row = fields(line);
            let request = PrivateRequest::new(Bytes(row["size"]), Owner(9), "after");
            let after = design.reserve(&mut platform, &request).unwrap();
            agree += usize::from(after.first == Frame::Physical(Pfn(row["start"] >> 12)));
        }
        println!("{}: chunks at {} and {}", boot.name, chunks[0].first, chunks[1].first);
    }
    println!("test device: {agree} of {all}");
    assert_eq!(agree, all);
}
