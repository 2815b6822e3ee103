//! What listings become.

use super::*;
use crate::import::to_ron;
use crate::model::Stated;

#[test]
fn a_quoted_listing_becomes_a_machine() {
    let expected = "\
0000:00:00.0 host0/head  
0000:00:01.0 host0/rp0  
0000:00:02.0 host0/sw1  
0000:00:03.0 host0/rp1  acs
0000:01:00.0 host0/rp0/sw0  
0000:01:00.1 host0/rp0/dev0 0:8KiB@0xe3000000 
0000:02:08.0 host0/rp0/sw0/p0  link
0000:02:0c.0 host0/rp0/sw0/p1  acs,link
0000:03:00.0 host0/rp0/sw0/p0/gpu0 0:16MiB@0xe0000000 1:32GiB@0x2000000000 5:128B@0x0 memory,part
0000:04:00.0 host0/rp0/sw0/p1/gpu1 0:16MiB@0xe2000000 1:32GiB@0x2800000000 acs,memory,part
0000:06:04.0 host0/sw1/gpu2 0:16KiB@0xe4000000 acs,link,memory,part
";
    assert_eq!(outline(&machine(SAMPLE)), expected);
}

#[test]
fn registers_are_what_the_listing_shows() {
    let machine = machine(SAMPLE);
    let at = |id: &str| {
        let id = id.parse().unwrap();
        machine.functions.node_weights().find(|function| function.id == Some(id)).unwrap()
    };
    let port = at("00:01.0");
    let stated = port.config.express.get().unwrap();
    assert!(stated.slot && stated.hot_plug);
    assert_eq!((stated.payload, stated.lanes), (Some(peerbus_units::Bytes(256)), Some(16)));
    assert_eq!(port.acs.map(|acs| (acs.capability, acs.control)), Some((0x1f, 0x1d)));
    assert_eq!(port.firmware.as_ref().map(|firmware| firmware.windows.len()), Some(2));
    assert_eq!(at("00:02.0").config.express, Stated::Absent);
    assert_eq!(at("03:00.0").bars[1].resizable, Some(0x8100));
    // An accelerator's idle link counts as fast as both ends can be.
    let link = machine.links.iter().find(|link| link.name.ends_with("gpu0")).unwrap();
    assert_eq!((link.generation, link.lanes), (3, 16));
    let link = machine.links.iter().find(|link| link.name == "host0/rp0/sw0").unwrap();
    assert_eq!((link.generation, link.lanes), (3, 16));
}

#[test]
fn what_is_written_reads_back() {
    let import = import(SAMPLE).unwrap();
    let text = to_ron(&import.machine, "");
    let (read, found) = crate::load_machine(&text, "sample.ron", &Catalogue::embedded());
    assert!(found.iter().all(|found| !found.is_error()), "{found:#?}");
    assert_eq!(outline(&read.unwrap()), outline(&machine(SAMPLE)));
}

#[test]
fn a_tree_alone_is_a_machine_and_details_add_to_it() {
    let tree = "-[0000:00]-+-00.0  Advanced Micro Devices, Inc. [AMD] Device 14a4\n           \
                \\-01.1-[01-03]----00.0-[02-03]----00.0-[03]----00.0  NVIDIA Corporation Device 2330\n";
    let details = "03:00.0 3D controller: NVIDIA Corporation Device 2330\n\
                   \tRegion 0: Memory at 10000000000 (64-bit, prefetchable) [size=16M]\n";
    let shape = "\
0000:00:00.0 host0/head  acs
0000:00:01.1 host0/rp0  acs
0000:01:00.0 host0/rp0/sw0  acs
";
    let alone = outline(&machine(tree));
    assert!(alone.contains("0000:03:00.0 host0/rp0/sw0/p0/"), "{alone}");
    let both = outline(&machine(&format!("{tree}\n{details}")));
    assert!(both.contains("0000:03:00.0 host0/rp0/sw0/p0/gpu0 0:16MiB@0x10000000000 acs"), "{both}{shape}");
}

#[test]
fn functions_without_their_bridge_stand_on_root_buses_of_their_own() {
    let import = import("c1:00.0 3D controller: NVIDIA Corporation Device 2330\n").unwrap();
    let notes: Vec<String> = import.notes.iter().map(ToString::to_string).collect();
    assert!(notes.iter().any(|note| note.contains("no bridge that leads to it is listed")), "{notes:#?}");
    let bridge = &import.machine.host_bridges[0];
    assert!(bridge.assumed.iter().any(|fact| fact.get() == Some(&crate::model::Fact::HostBridge)));
}

/// What lspci printed before 2007.
const OLD: &str = "\
0000:00:02.0 Class 0604: 8086:3595 (rev 0c)
\tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR+ FastB2B-
\tStatus: Cap+ 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- >SERR- <PERR-
\tBus: primary=00, secondary=01, subordinate=03, sec-latency=0
\tCapabilities: [64] Express Root Port (Slot-) IRQ 0
\t\tDevice: Supported: MaxPayload 256 bytes, PhantFunc 0, ExtTag-
\t\tDevice: MaxPayload 128 bytes, MaxReadReq 128 bytes
\t\tLink: Supported Speed 2.5Gb/s, Width x8, ASPM L0s, Port 2
\t\tLink: Speed 2.5Gb/s, Width x4
0000:01:00.0 Class 0200: 8086:105e (rev 06)
\tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR+ FastB2B-
\tStatus: Cap+ 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- >SERR- <PERR-
\tRegion 0: Memory at fe500000 (32-bit, non-prefetchable) [size=1M]
\tCapabilities: [e0] Express Endpoint IRQ 0
\t\tDevice: Supported: MaxPayload 256 bytes, PhantFunc 0, ExtTag-
\t\tLink: Supported Speed 2.5Gb/s, Width x4, ASPM L0s, Port 0
\t\tLink: Speed 2.5Gb/s, Width x4
";

#[test]
fn listings_of_old_are_read_and_leave_acs_unknown() {
    let machine = machine(OLD);
    let outline = outline(&machine);
    assert!(outline.contains("0000:00:02.0 host0/rp0  acs\n"), "{outline}");
    assert!(outline.contains("0000:01:00.0 host0/rp0/nic0 0:1MiB@0xfe500000 acs,"), "{outline}");
    let link = machine.links.iter().find(|link| link.name.ends_with("nic0")).unwrap();
    assert_eq!((link.generation, link.lanes), (1, 4));
}

/// However much of a listing was copied, it is read as far as it goes.
#[test]
fn listings_that_end_anywhere_are_read() {
    let first = SAMPLE.find("Host bridge [0600]").unwrap();
    let ends = SAMPLE.char_indices().map(|(at, _)| at).filter(|at| *at > first + 20);
    let mut cut = 0;
    for end in ends.step_by(7) {
        let read = import(&SAMPLE[..end]).unwrap_or_else(|found| panic!("{end}: {found:#?}"));
        cut += usize::from(read.notes.iter().any(|note| note.to_string().contains("may be cut")));
    }
    assert!(cut > 100, "{cut}");
}

#[test]
fn virtual_functions_that_are_switched_off_are_not_set_apart() {
    let listing = |enable: &str| {
        format!(
            "00:04.0 Ethernet controller [0200]: Intel Corporation X [8086:1572] (rev 01)\n\
             \tCapabilities: [160 v1] Single Root I/O Virtualization (SR-IOV)\n\
             \t\tIOVCtl:\tEnable{enable} Migration- Interrupt- MSE- ARIHierarchy-\n\
             \t\tInitial VFs: 8, Total VFs: 8, Number of VFs: 1, Function Dependency Link: 00\n\
             \t\tVF offset: 8, stride: 1, Device ID: 154c\n\
             00:05.0 Ethernet controller [0200]: Intel Corporation Y [8086:154c] (rev 01)\n"
        )
    };
    assert!(!outline(&machine(&listing("+"))).contains("00:05.0"));
    assert!(outline(&machine(&listing("-"))).contains("00:05.0"));
}
