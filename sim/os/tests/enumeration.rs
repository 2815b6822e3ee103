//! Bus numbers, function order and capabilities.

use peerbus_os::pci::{HeaderType, PcieType, enumerate};
use peerbus_os::{ConfigAccess, ConfigSpace, Tree, Width};
use peerbus_units::FunctionId;

use crate::fake::{Above, Fake, PCIE};

const ROOT: Above = Above::Host(0);
const GPU: (u16, u16) = (0x10de, 0x20b0);

fn order(tree: &Tree) -> Vec<String> {
    tree.functions.iter().map(|function| function.id.to_string()).collect()
}

/// A switch with two endpoints below the first root port, and an endpoint below the second.
fn two_ports(fake: &mut Fake) -> [usize; 5] {
    let first = fake.port(ROOT, 1, 0, PcieType::RootPort, false);
    let second = fake.port(ROOT, 2, 0, PcieType::RootPort, false);
    let up = fake.port(Above::Bridge(first), 0, 0, PcieType::Upstream, false);
    let left = fake.port(Above::Bridge(up), 0, 0, PcieType::Downstream, false);
    let right = fake.port(Above::Bridge(up), 1, 0, PcieType::Downstream, false);
    for bridge in [left, right, second] {
        let endpoint = fake.function(Above::Bridge(bridge), 0, 0, GPU, 0x03_0200);
        fake.pcie(endpoint, PcieType::Endpoint);
    }
    [first, second, up, left, right]
}

const TWO_PORTS: [&str; 8] = [
    "0000:00:01.0",
    "0000:00:02.0",
    "0000:01:00.0",
    "0000:02:00.0",
    "0000:02:01.0",
    "0000:03:00.0",
    "0000:04:00.0",
    "0000:05:00.0",
];

#[test]
fn buses_without_numbers_get_the_next_ones_depth_first() {
    let mut fake = Fake::arm64();
    let [first, second, up, ..] = two_ports(&mut fake);
    let hosts = fake.hosts.clone();
    let tree = enumerate(&mut fake, &hosts);
    assert_eq!(order(&tree), TWO_PORTS);
    for (bridge, numbers) in [(first, 0x0004_0100), (second, 0x0005_0500), (up, 0x0004_0201)] {
        assert_eq!(fake.register(bridge, 0x18), numbers);
    }
    let up = tree.find(FunctionId::new(0, 1, 0, 0)).unwrap();
    assert_eq!(tree[up].pcie_type, Some(PcieType::Upstream));
    assert_eq!(tree.upstream(up), tree.find(FunctionId::new(0, 0, 1, 0)));
    assert_eq!(tree[up].subordinate.map(|bus| tree[bus].number), Some(2));
}

#[test]
fn sensible_numbers_of_firmware_are_kept_and_come_first() {
    let mut fake = Fake::arm64();
    let [first, second, ..] = two_ports(&mut fake);
    fake.bus_numbers(second, 0, 0x40, 0x4f);
    let hosts = fake.hosts.clone();
    let tree = enumerate(&mut fake, &hosts);
    // The second port is scanned first; the first one gets numbers above the 16 that firmware reserved.
    assert_eq!(tree.functions[2].id.to_string(), "0000:40:00.0");
    assert_eq!(fake.register(second, 0x18), 0x004f_4000);
    assert_eq!(fake.register(first, 0x18), 0x0053_5000);
}

/// Registers of the first root port, and what becomes of them.
#[test]
fn numbers_that_make_no_sense_are_replaced() {
    for (primary, secondary, subordinate) in [(7, 1, 1), (0, 0, 4), (0, 3, 2)] {
        let mut fake = Fake::arm64();
        let [first, ..] = two_ports(&mut fake);
        fake.bus_numbers(first, primary, secondary, subordinate);
        let hosts = fake.hosts.clone();
        let tree = enumerate(&mut fake, &hosts);
        assert_eq!(order(&tree), TWO_PORTS, "{primary} {secondary} {subordinate}");
        assert_eq!(fake.register(first, 0x18), 0x0004_0100);
    }
}

#[test]
fn two_bridges_cannot_share_a_bus_number() {
    let mut fake = Fake::arm64();
    let [first, second, ..] = two_ports(&mut fake);
    fake.bus_numbers(first, 0, 9, 0xe);
    fake.bus_numbers(second, 0, 9, 9);
    let hosts = fake.hosts.clone();
    let tree = enumerate(&mut fake, &hosts);
    assert_eq!(tree.functions.len(), 8);
    assert_eq!(fake.register(second, 0x18), 0x000f_0f00);
}

#[test]
fn a_host_bridge_without_bus_numbers_left_stops() {
    let mut fake = Fake::default();
    fake.host(0, 0, 2, Vec::new());
    two_ports(&mut fake);
    let hosts = fake.hosts.clone();
    let tree = enumerate(&mut fake, &hosts);
    assert_eq!(order(&tree), TWO_PORTS[..5]);
}

#[test]
fn functions_of_one_device_are_found_only_behind_function_0() {
    let mut fake = Fake::arm64();
    fake.function(ROOT, 3, 0, GPU, 0x03_0200);
    fake.function(ROOT, 3, 5, GPU, 0x03_0200);
    fake.function(ROOT, 4, 1, GPU, 0x03_0200);
    let port = fake.port(ROOT, 5, 0, PcieType::RootPort, false);
    // Only one device lies on a link: device 1 does not exist for the kernel.
    fake.function(Above::Bridge(port), 0, 0, GPU, 0x03_0200);
    fake.function(Above::Bridge(port), 1, 0, GPU, 0x03_0200);
    let hosts = fake.hosts.clone();
    let tree = enumerate(&mut fake, &hosts);
    assert_eq!(order(&tree), ["0000:00:03.0", "0000:00:03.5", "0000:00:05.0", "0000:01:00.0"]);
    assert!(tree.functions[0].multifunction);
    assert_eq!(tree.functions[2].header, HeaderType::Bridge);
}

#[test]
fn capabilities_are_found_and_broken_lists_end() {
    let mut fake = Fake::arm64();
    let good = fake.port(ROOT, 1, 0, PcieType::RootPort, true);
    fake.acs(good, 0x5f, 0x1d);
    let circular = fake.function(ROOT, 2, 0, GPU, 0x03_0200);
    fake.preset(circular, 0x06, Width::Word, 0x10);
    fake.preset(circular, 0x34, Width::Byte, 0x50);
    fake.preset(circular, 0x50, Width::Word, 0x5009);
    let hosts = fake.hosts.clone();
    let tree = enumerate(&mut fake, &hosts);
    let port = &tree.functions[0];
    assert_eq!((port.capabilities.pcie, port.capabilities.acs), (Some(PCIE), Some(0x100)));
    assert!(port.hotplug_bridge);
    assert_eq!(tree.functions[1].capabilities.pcie, None);
}

/// Every register of every function holds the same byte.
struct Noise(u8);

impl ConfigSpace for Noise {
    fn read(&self, _: FunctionId, _: u16, width: Width) -> u32 {
        u32::from_le_bytes([self.0; 4]) & width.ones()
    }
    fn write(&mut self, _: FunctionId, _: u16, _: Width, _: u32) {}
}

#[test]
fn nonsense_in_every_register_ends_without_a_panic() {
    let hosts = Fake::arm64().hosts;
    for byte in 0..=u8::MAX {
        let tree = enumerate(&mut Noise(byte), &hosts);
        assert!(tree.functions.len() <= 256 * 256, "{byte:#x}");
    }
}

#[test]
fn access_widths_agree() {
    let mut fake = Fake::arm64();
    two_ports(&mut fake);
    let id = FunctionId::new(0, 0, 1, 0);
    assert_eq!(u32::from(fake.read_word(id, 0)), fake.read_dword(id, 0) & 0xffff);
    assert_eq!(u32::from(fake.read_byte(id, 1)), fake.read_dword(id, 0) >> 8 & 0xff);
    fake.write_byte(id, 0x1a, 0x12);
    assert_eq!(fake.read_dword(id, 0x18), 0x0012_0000);
}
