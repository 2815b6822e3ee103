//! Machines from listings and from folders of /sys, and listings from machines.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::workspace::{MACHINE, Workspace, capture};

/// A recorded boot; `None`, with a word of why, when there is none beside the project.
fn recording(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance").join(name);
    let found = path.canonicalize().ok();
    if found.is_none() {
        println!("skipped: there is no recording {}", path.display());
    }
    found
}

fn file(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// Imports a recorded boot the way scripts do.
fn import(here: &Workspace, folder: &Path, cpu: &[&str], output: &str) {
    let (listing, dump, iomem) =
        (file(folder, "lspci-vvv.txt"), file(folder, "lspci-xxxx.txt"), file(folder, "iomem.txt"));
    let mut args = vec!["import", "lspci", &listing, "--hex", &dump, "--iomem", &iomem];
    args.extend(cpu);
    args.extend(["-o", output]);
    let done = here.expect(0, &args);
    assert_eq!(done.text(), "");
    assert!(done.stderr.lines().all(|line| line.starts_with("note: ")), "{}", done.stderr);
}

/// Copies of /sys and /proc as they were in a recorded boot.
fn folders(here: &Workspace, boot: &Path) {
    let mut rows: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut current = String::new();
    for line in fs::read_to_string(boot.join("lspci-xxxx.txt")).unwrap().lines() {
        if let Some((place, _)) = line.split_once(' ').filter(|(place, _)| place.contains('.')) {
            current = format!("0000:{place}");
            rows.insert(current.clone(), vec![0; 256]);
        } else if let Some((offset, bytes)) = line.split_once(": ") {
            let at = usize::from_str_radix(offset, 16).unwrap();
            let config = rows.get_mut(&current).unwrap();
            if at >= 256 {
                config.resize(4096, 0);
            }
            for (place, byte) in (at..).zip(bytes.split(' ')) {
                config[place] = u8::from_str_radix(byte, 16).unwrap();
            }
        }
    }
    let mut files: BTreeMap<(String, String), String> = BTreeMap::new();
    for line in fs::read_to_string(boot.join("sysfs.txt")).unwrap().lines() {
        let fields: Vec<&str> = line.splitn(3, ' ').collect();
        match fields[..] {
            [id, "resource", rest] => {
                let (number, range) = rest.split_once(' ').unwrap();
                let text = files.entry((id.to_owned(), "resource".to_owned())).or_default();
                while text.lines().count() < number.parse().unwrap() {
                    text.push_str("0x0000000000000000 0x0000000000000000 0x0000000000000000\n");
                }
                text.push_str(&format!("{range}\n"));
            }
            [id, name, value] if rows.contains_key(id) => {
                files.insert((id.to_owned(), name.to_owned()), format!("{value}\n"));
            }
            _ => {}
        }
    }
    for (id, config) in &rows {
        here.file(&format!("root/sys/bus/pci/devices/{id}/config"), config);
    }
    for ((id, name), text) in files {
        here.file(&format!("root/sys/bus/pci/devices/{id}/{name}"), text);
    }
    here.file("root/proc/iomem", fs::read(boot.join("iomem.txt")).unwrap());
    here.file(
        "root/proc/cpuinfo",
        "vendor_id\t: AuthenticAMD\ncpu family\t: 15\nmodel\t\t: 107\naddress sizes\t: 40 bits physical\n",
    );
}

fn without_name(mut document: Value) -> Value {
    document["machine"] = Value::Null;
    document
}

#[test]
fn a_recording_is_the_same_machine_as_a_listing_and_as_folders() {
    let Some(boot) = recording("boots/j_mixed_conventional") else { return };
    let here = Workspace::new();
    import(&here, &boot, &["--cpu", "AuthenticAMD:15:0x6b", "--phys-bits", "40"], "listing.ron");
    folders(&here, &boot);
    here.expect(0, &["import", "live", "--root", "root", "-o", "folders.json"]);
    here.expect(0, &["check", "listing.ron", "folders.json"]);
    for command in [&["p2p"][..], &["plan"], &["plan", "--reassign"]] {
        let answer = |machine: &str| {
            let args = [command, &[machine, "--profile", "Linux_6_12", "--format", "json"]].concat();
            without_name(here.run(&args).json())
        };
        let (listing, folders) = (answer("listing.ron"), answer("folders.json"));
        for key in ["pairs", "resources", "spaces"] {
            assert_eq!(listing[key], folders[key], "{command:?} {key}");
        }
    }
}

/// A copy of /sys whose links were left behind shows nothing of an IOMMU; one with links and without groups has none.
#[test]
fn an_iommu_is_told_by_links_that_were_copied() {
    let here = Workspace::new();
    let folder = "sys/bus/pci/devices/0000:00:02.0";
    let iommu = |root: &str| {
        let name = format!("{root}.json");
        here.expect(0, &["import", "live", "--root", root, "-o", &name]);
        serde_json::from_str::<Value>(&fs::read_to_string(here.path(&name)).unwrap()).unwrap()["kernel"]["iommu"].take()
    };
    for (root, links) in
        [("bare", &[][..]), ("none", &["subsystem"]), ("group", &["iommu_group", "subsystem"])]
    {
        here.file(&format!("{root}/{folder}/class"), "0x030000\n");
        for link in links {
            here.file(&format!("{root}/{folder}/{link}"), "");
        }
    }
    here.file(&format!("typed/{folder}/class"), "0x030000\n");
    here.file(&format!("typed/{folder}/iommu_group/type"), "DMA-FQ\n");
    assert_eq!(iommu("bare"), Value::Null);
    assert_eq!(iommu("none"), "None");
    assert_eq!(iommu("group"), Value::Null);
    assert_eq!(iommu("typed"), "Translate");
}

#[test]
fn folders_that_are_none_are_told() {
    let here = Workspace::new();
    assert!(here.expect(2, &["import", "live", "--root", "nowhere"]).stderr.contains("sys/bus/pci/devices"));
    here.file("root/sys/bus/pci/devices/0000:00:02.0/resource", "0x0 0x0\n");
    assert!(here.expect(2, &["import", "live", "--root", "root"]).stderr.contains("I0108"));
    here.file("listing.txt", "00:02.0 VGA compatible controller: X\n\tRegion 9: Memory at 0 (32-bit)\n");
    let told = here.expect(2, &["import", "lspci", "listing.txt"]).stderr;
    assert!(told.contains("I0101") && told.contains("listing.txt:2:"), "{told}");
    here.expect(2, &["import", "lspci", "listing.txt", "--cpu", "AuthenticAMD"]);
    here.expect(2, &["import", "lspci", "listing.txt", "--phys-bits", "20"]);
}

/// What `lspci -F` prints of a dump; `None`, with a word of why, where there is no lspci.
fn lspci(here: &Workspace, dump: &str, args: &[&str]) -> Option<String> {
    let run = Command::new("lspci").arg("-F").arg(here.path(dump)).args(args).output();
    match run {
        Ok(done) => {
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            // That it finds no names of kernel modules is said where there are none.
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            let complaints = said.lines().filter(|line| !line.contains("libkmod")).count();
            assert_eq!(complaints, 0, "lspci {args:?}: {said}");
            Some(String::from_utf8_lossy(&done.stdout).into_owned())
        }
        Err(error) => {
            println!("skipped: lspci cannot be run ({error})");
            None
        }
    }
}

/// The words of `text` between `before` and any of `after`.
fn after<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(rest.split([' ', ',', '\t']).next().unwrap_or_default())
}

/// Lines of a listing by function.
fn by_function(listing: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in listing.lines() {
        match line.split_once(' ') {
            Some((place, _)) if !line.starts_with('\t') => {
                current =
                    if place.matches(':').count() == 2 { place.to_owned() } else { format!("0000:{place}") };
                found.insert(current.clone(), Vec::new());
            }
            _ => found.get_mut(&current).into_iter().for_each(|lines| lines.push(line.trim().to_owned())),
        }
    }
    found
}

/// Compares what lspci shows of the machine's registers with the plan: places, buses, links, addresses. The number of
/// facts compared, and how many of them are of links.
fn compare(plan: &Value, listing: &BTreeMap<String, Vec<String>>) -> (usize, usize) {
    let (mut compared, mut links) = (0, 0);
    for function in plan["functions"].as_array().unwrap() {
        let id = function["function"].as_str().unwrap();
        let lines = listing.get(id).unwrap_or_else(|| panic!("lspci does not show {id}"));
        let line = |start: &str| lines.iter().find(|line| line.starts_with(start));
        if let Some([secondary, subordinate]) = function["buses"].as_array().map(Vec::as_slice) {
            let shown = line("Bus: ").unwrap();
            let number = |name: &str| u64::from_str_radix(after(shown, name).unwrap(), 16).ok();
            assert_eq!(number("secondary="), secondary.as_u64(), "{id} {shown}");
            assert_eq!(number("subordinate="), subordinate.as_u64(), "{id} {shown}");
            compared += 2;
        }
        let link = &function["link"];
        if let (Some(generation), Some(shown)) = (link["gen"].as_u64(), line("LnkSta:")) {
            let speeds = ["", "2.5GT/s", "5GT/s", "8GT/s", "16GT/s", "32GT/s", "64GT/s"];
            assert_eq!(
                after(shown, "Speed "),
                Some(speeds[usize::try_from(generation).unwrap()]),
                "{id} {shown}"
            );
            assert_eq!(
                after(shown, "Width x").map(str::to_owned),
                Some(link["lanes"].to_string()),
                "{id} {shown}"
            );
            links += 2;
        }
    }
    for resource in plan["resources"].as_array().unwrap() {
        let (id, index) = (resource["function"].as_str().unwrap(), resource["index"].as_u64().unwrap());
        let (Some(first), Some(size)) = (resource["bus_addr"].as_u64(), resource["size"].as_u64()) else {
            continue;
        };
        let io = resource["kind"] == "io";
        let start = match (index, io) {
            (0..=5, _) => format!("Region {index}: "),
            (13, _) => "I/O behind bridge: ".to_owned(),
            (14, _) => "Memory behind bridge: ".to_owned(),
            (15, _) => "Prefetchable memory behind bridge: ".to_owned(),
            _ => continue,
        };
        let shown = listing[id]
            .iter()
            .find(|line| line.starts_with(&start))
            .unwrap_or_else(|| panic!("{id} {start}"));
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
        if index < 6 {
            let word = if io { "ports at " } else { "Memory at " };
            assert_eq!(number(after(shown, word).unwrap()), first, "{id} {shown}");
        } else {
            let (from, to) = after(shown, &start).unwrap().split_once('-').unwrap();
            assert_eq!((number(from), number(to)), (first, first + (size - 1)), "{id} {shown}");
        }
        compared += 1;
    }
    (compared + links, links)
}

#[test]
fn lspci_reads_what_plan_writes() {
    let here = Workspace::new();
    let mut machines = vec![MACHINE.to_owned(), "2rc:2sw:4gpu@gen5x16".to_owned()];
    for boot in ["boots/j_mixed_conventional", "boots/e_pxb_EPYC", "boots/n_pseries", "boots73/m_arm64_8gpu"]
    {
        if let Some(folder) = recording(boot) {
            let name = format!("{}.ron", boot.replace('/', "-"));
            import(&here, &folder, &[], &name);
            machines.push(name);
        }
    }
    let mut links_compared = 0;
    for machine in machines {
        here.run(&["plan", &machine, "--format", "lspci", "-o", "dump.txt"]);
        let plan = here.run(&["plan", &machine, "--format", "json"]).json();
        let Some(listing) = lspci(&here, "dump.txt", &["-D", "-vvv"]) else { return };
        let (compared, links) = compare(&plan, &by_function(&listing));
        println!("{machine}: {compared} facts agree with lspci -F, {links} of them of links");
        assert!(compared > 10, "{machine}");
        links_compared += links;
        let tree = lspci(&here, "dump.txt", &["-t"]).unwrap_or_default();
        let places = tree.match_indices('.').count();
        assert_eq!(places, plan["functions"].as_array().unwrap().len(), "{tree}");
        // What lspci makes of our registers is the same machine to the importer, which then knows no sizes.
        let tree = lspci(&here, "dump.txt", &["-tv"]).unwrap_or_default();
        here.file("again.txt", format!("{tree}\n{listing}"));
        here.expect(0, &["import", "lspci", "again.txt", "-o", "again.ron"]);
        let again = here.run(&["p2p", "again.ron", "--format", "json"]).json();
        let pairs = here.run(&["p2p", &machine, "--format", "json"]).json();
        let distances = |document: &Value| -> Vec<String> {
            let pairs = document["pairs"].as_array().unwrap().iter();
            pairs.map(|pair| format!("{}{}{}", pair["provider"], pair["client"], pair["distance"])).collect()
        };
        assert_eq!(distances(&again), distances(&pairs), "{machine}");
    }
    // Emulated machines have links that no register shows; those of the first two machines are all shown.
    assert!(links_compared >= 20, "{links_compared}");
}

#[test]
fn listings_among_the_captures_become_machines() {
    for name in [
        "pciutils/tree-asus-p6t6.txt",
        "pciutils/cap-rebar.txt",
        "pciutils/cap-address-xlation.txt",
        "stelline/puget-trpro-wrx90-2xrtx6000ada-nvme-switch.txt",
    ] {
        let Some(capture) = capture(name) else { return };
        let here = Workspace::new();
        here.expect(0, &["import", "lspci", capture.to_str().unwrap(), "-o", "machine.ron"]);
        here.expect(0, &["check", "machine.ron"]);
        let plan = here.run(&["plan", "machine.ron", "--format", "json"]).json();
        let pairs = here.expect(0, &["p2p", "machine.ron", "--format", "json"]).json();
        let (functions, pairs) =
            (plan["functions"].as_array().unwrap().len(), pairs["pairs"].as_array().unwrap().len());
        println!("{name}: {functions} functions, {pairs} pairs");
        assert!(pairs > 0);
    }
}
