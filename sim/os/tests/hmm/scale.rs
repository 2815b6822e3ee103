//! What a large machine costs: eight GPUs of 141 GiB, 1 TiB of memory, and a process that touches 2 TiB in strides
//! of 2 MiB through its devices.

use peerbus_os::Profile;
use peerbus_os::device_private::PrivateDesign;
use peerbus_os::mm::rules::HugePolicy;
use peerbus_os::mm::{DeviceId, Mapping, Mm};
use peerbus_os::test_device::{self, Kind};

use super::platform::{kernel, machine, with_huge};

const BASE: u64 = 1 << 30;
const GPUS: u32 = 8;
/// Slots of 2 MiB in 2 TiB.
const ALL: u64 = 1 << 20;

/// Bytes of memory this process has in use, where the system says so.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

/// `PEERBUS_CASES=1048576` touches all of it; otherwise a part, held to the same cost per slot.
#[test]
fn terabytes_cost_what_is_touched() {
    let text = std::env::var("PEERBUS_CASES").ok();
    let slots: u64 = text.and_then(|text| text.parse().ok()).unwrap_or(0).clamp(1 << 15, ALL);
    // All are kept: memory that the first gave back would be the next one's for nothing.
    let machines: Vec<Mm> = PrivateDesign::ALL.into_iter().map(|design| touch(design, slots)).collect();
    drop(machines);
}

fn touch(design: PrivateDesign, slots: u64) -> Mm {
    let before = resident();
    let mut mm = machine(with_huge(kernel(Profile::Linux_7_3, design), HugePolicy::Never), 1 << 28);
    let space = mm.create_space();
    mm.map(space, BASE, BASE + (ALL << 9), Mapping::anonymous(true, true)).unwrap();
    let mirrors: Vec<_> = (0..GPUS)
        .map(|number| {
            test_device::add(&mut mm, DeviceId(number), Kind::Private);
            let memory = mm.devices.get_mut(&DeviceId(number)).unwrap();
            memory.chunks_max = (141 << 30) / (256 << 20);
            test_device::open(&mut mm, space, DeviceId(number)).unwrap()
        })
        .collect();
    for slot in 0..slots {
        let page = BASE + (slot << 9);
        let mirror = mirrors[usize::try_from(slot % 8).unwrap()];
        assert_eq!(test_device::write(&mut mm, mirror, page, page + 1, slot).unwrap().faults, 1);
        assert_eq!(test_device::to_device(&mut mm, mirror, page, page + 1).unwrap().data, [slot]);
    }
    let grown = resident().zip(before).map(|(after, before)| after.saturating_sub(before));
    for slot in (0..slots).step_by(997) {
        assert_eq!(mm.read(space, BASE + (slot << 9)), Ok(slot));
    }
    assert_eq!(mm.spaces[&space].table.runs() as u64, slots);
    match grown {
        Some(bytes) => {
            let each = bytes / slots;
            println!("{design}: {slots} slots of 2 MiB touched and migrated, {each} bytes each");
            let mebibytes = (bytes >> 10) * (ALL / (1 << 10)) / slots;
            println!("{design}: 2 TiB in strides cost {mebibytes} MiB");
            assert!(mebibytes < 1024, "2 TiB in strides would cost {mebibytes} MiB");
        }
        None => println!("skipped: this system does not say how much memory is in use"),
    }
    mm
}
