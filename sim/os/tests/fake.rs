//! A machine as configuration bytes: every function has 4 KiB of registers and a mask of writable bits, and
//! answers where the bus numbers programmed into the bridges above lead.

use peerbus_os::pci::PcieType;
use peerbus_os::{ConfigAccess, ConfigSpace, HostBridge, ResourceKind, Width, Window};
use peerbus_units::{BusAddr, Bytes, CpuAddr, FunctionId, Range};

pub struct FakeFunction {
    /// Host bridge (index) or bridge function (index) it hangs below.
    above: Above,
    devfn: u8,
    config: Vec<u8>,
    writable: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Above {
    Host(usize),
    Bridge(usize),
}

#[derive(Default)]
pub struct Fake {
    pub functions: Vec<FakeFunction>,
    pub hosts: Vec<HostBridge>,
}

pub const PCIE: u16 = 0x40;
pub const ACS: u16 = 0x100;

pub fn range(first: u64, last: u64) -> Range<CpuAddr> {
    Range::new(CpuAddr(first), CpuAddr(last)).unwrap()
}

pub fn window(first: u64, last: u64, kind: ResourceKind) -> Window {
    Window { cpu: range(first, last), bus: BusAddr(first), kind }
}

fn number(kind: PcieType) -> u16 {
    match kind {
        PcieType::Endpoint => 0,
        PcieType::LegacyEndpoint => 1,
        PcieType::RootPort => 4,
        PcieType::Upstream => 5,
        PcieType::Downstream => 6,
        PcieType::ToPci => 7,
        PcieType::FromPci => 8,
        PcieType::IntegratedEndpoint => 9,
        PcieType::EventCollector => 10,
        PcieType::Unknown(other) => u16::from(other),
    }
}

impl Fake {
    /// A machine with one host bridge and the windows of QEMU's arm64 machine.
    pub fn arm64() -> Fake {
        let mut fake = Fake::default();
        fake.host(
            0,
            0,
            0xff,
            vec![
                window(0, 0xffff, ResourceKind::Io),
                window(0x1000_0000, 0x3efe_ffff, ResourceKind::Mem),
                window(0x80_0000_0000, 0xff_ffff_ffff, ResourceKind::Mem),
            ],
        );
        fake
    }

    pub fn host(&mut self, domain: u32, bus_first: u8, bus_last: u8, windows: Vec<Window>) -> usize {
        self.hosts.push(HostBridge { domain, bus_first, bus_last, windows });
        self.hosts.len() - 1
    }

    /// A conventional function with header type 0.
    pub fn function(&mut self, above: Above, device: u8, function: u8, ids: (u16, u16), class: u32) -> usize {
        let devfn = device << 3 | function;
        let mut new = FakeFunction { above, devfn, config: vec![0; 4096], writable: vec![0; 4096] };
        new.put(0x00, Width::Dword, u32::from(ids.1) << 16 | u32::from(ids.0));
        new.put(0x08, Width::Dword, class << 8);
        new.allow(0x04, Width::Word, 0x0007);
        self.functions.push(new);
        let index = self.functions.len() - 1;
        if function != 0 {
            let slot: Vec<_> = self.same_slot(above, device).collect();
            for other in slot {
                let header = self.functions[other].get(0x0e, Width::Byte);
                self.functions[other].put(0x0e, Width::Byte, header | 0x80);
            }
        }
        index
    }

    fn same_slot(&self, above: Above, device: u8) -> impl Iterator<Item = usize> + '_ {
        let in_slot = move |f: &FakeFunction| f.above == above && f.devfn >> 3 == device;
        (0..self.functions.len()).filter(move |index| in_slot(&self.functions[*index]))
    }

    /// Gives a function a PCI Express capability.
    pub fn pcie(&mut self, function: usize, kind: PcieType) {
        let f = &mut self.functions[function];
        f.put(0x06, Width::Word, 0x10);
        f.put(0x34, Width::Byte, u32::from(PCIE));
        f.put(PCIE, Width::Byte, 0x10);
        f.put(PCIE + 2, Width::Word, u32::from(2 | number(kind) << 4));
    }

    /// A port of a switch or root complex.
    pub fn port(&mut self, above: Above, device: u8, function: u8, kind: PcieType, hotplug: bool) -> usize {
        let port = self.bridge(above, device, function, (0x1b36, 0x000c));
        self.pcie(port, kind);
        if hotplug {
            let flags = self.functions[port].get(PCIE + 2, Width::Word);
            self.functions[port].put(PCIE + 2, Width::Word, flags | 0x100);
            self.functions[port].put(PCIE + 0x14, Width::Dword, 0x40);
        }
        port
    }

    /// A bridge with all windows, the prefetchable one of 64 bits, and nothing programmed.
    pub fn bridge(&mut self, above: Above, device: u8, function: u8, ids: (u16, u16)) -> usize {
        let bridge = self.function(above, device, function, ids, 0x06_0400);
        let f = &mut self.functions[bridge];
        let header = f.get(0x0e, Width::Byte);
        f.put(0x0e, Width::Byte, header | 1);
        f.allow(0x18, Width::Dword, 0xffff_ffff);
        f.allow(0x1c, Width::Word, 0xf0f0);
        f.allow(0x20, Width::Dword, 0xfff0_fff0);
        f.put(0x24, Width::Dword, 0x0001_0001);
        f.allow(0x24, Width::Dword, 0xfff0_fff0);
        f.allow(0x28, Width::Dword, 0xffff_ffff);
        f.allow(0x2c, Width::Dword, 0xffff_ffff);
        f.allow(0x3e, Width::Word, 0xffff);
        bridge
    }

    /// A BAR of `size` bytes; `low` are its type bits.
    pub fn bar(&mut self, function: usize, bar: u16, size: u64, low: u32) {
        let mask = (!(size - 1)).to_le_bytes();
        let register = usize::from(0x10 + 4 * bar);
        let f = &mut self.functions[function];
        let width = if low & 0x7 == 0x4 { 8 } else { 4 };
        f.writable[register..register + width].copy_from_slice(&mask[..width]);
        f.put(0x10 + 4 * bar, Width::Dword, low);
    }

    /// An ACS capability; every bit can be set.
    pub fn acs(&mut self, function: usize, capability: u16, control: u16) {
        let f = &mut self.functions[function];
        f.put(ACS, Width::Dword, 0x0001_000d);
        f.put(ACS + 4, Width::Word, u32::from(capability));
        f.put(ACS + 6, Width::Word, u32::from(control));
        f.allow(ACS + 6, Width::Word, 0xffff);
    }

    /// An ACS capability with registers of 32 bits: control two bytes further on.
    pub fn wide_acs(&mut self, function: usize, capability: u16) {
        let f = &mut self.functions[function];
        f.put(ACS, Width::Dword, 0x0001_000d);
        f.put(ACS + 4, Width::Dword, u32::from(capability));
        f.allow(ACS + 8, Width::Dword, 0xffff);
    }

    /// The payload size a PCI Express function supports and the one firmware programmed, in bytes; read requests of
    /// 512 bytes. Both can be programmed.
    pub fn sizes(&mut self, function: usize, supported: u32, payload: u32) {
        let code = |size: u32| (size / 128).ilog2();
        let f = &mut self.functions[function];
        f.put(PCIE + 4, Width::Dword, code(supported));
        f.put(PCIE + 8, Width::Word, code(payload) << 5 | 2 << 12);
        f.allow(PCIE + 8, Width::Word, 0xffff);
    }

    /// Makes a word read-only.
    pub fn freeze(&mut self, function: usize, offset: u16) {
        self.functions[function].allow(offset, Width::Word, 0);
    }

    pub fn set_ids(&mut self, function: usize, ids: (u16, u16)) {
        self.functions[function].put(0, Width::Dword, u32::from(ids.1) << 16 | u32::from(ids.0));
    }

    /// Writes a register as firmware would have, writable or not.
    pub fn preset(&mut self, function: usize, offset: u16, width: Width, value: u32) {
        self.functions[function].put(offset, width, value);
    }

    pub fn bus_numbers(&mut self, bridge: usize, primary: u8, secondary: u8, subordinate: u8) {
        let value = u32::from_le_bytes([primary, secondary, subordinate, 0]);
        self.functions[bridge].put(0x18, Width::Dword, value);
    }

    fn route(&self, id: FunctionId) -> Option<usize> {
        let (root, host) = self.hosts.iter().enumerate().find(|(_, host)| {
            host.domain == id.domain && host.bus_first <= id.bus && id.bus <= host.bus_last
        })?;
        let (mut above, mut bus) = (Above::Host(root), host.bus_first);
        while bus != id.bus {
            let bridge = self.functions.iter().position(|f| {
                let [_, secondary, subordinate, _] = f.get(0x18, Width::Dword).to_le_bytes();
                let forwards = secondary <= id.bus && id.bus <= subordinate && secondary != 0;
                f.above == above && f.get(0x0e, Width::Byte) & 0x7f == 1 && forwards
            })?;
            bus = (self.functions[bridge].get(0x18, Width::Dword) >> 8 & 0xff) as u8;
            above = Above::Bridge(bridge);
        }
        self.functions.iter().position(|f| f.above == above && f.devfn == id.devfn)
    }

    /// What a BAR register pair or window holds, by the function's position here.
    pub fn register(&self, function: usize, offset: u16) -> u32 {
        self.functions[function].get(offset, Width::Dword)
    }
}

impl FakeFunction {
    fn get(&self, offset: u16, width: Width) -> u32 {
        let at = usize::from(offset);
        let bytes = &self.config[at..];
        match width {
            Width::Byte => u32::from(bytes[0]),
            Width::Word => u32::from(u16::from_le_bytes([bytes[0], bytes[1]])),
            Width::Dword => u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        }
    }

    fn put(&mut self, offset: u16, width: Width, value: u32) {
        let at = usize::from(offset);
        let count = bytes_of(width);
        self.config[at..at + count].copy_from_slice(&value.to_le_bytes()[..count]);
    }

    fn allow(&mut self, offset: u16, width: Width, mask: u32) {
        let at = usize::from(offset);
        let count = bytes_of(width);
        self.writable[at..at + count].copy_from_slice(&mask.to_le_bytes()[..count]);
    }
}

fn bytes_of(width: Width) -> usize {
    match width {
        Width::Byte => 1,
        Width::Word => 2,
        Width::Dword => 4,
    }
}

impl ConfigSpace for Fake {
    fn read(&self, function: FunctionId, offset: u16, width: Width) -> u32 {
        self.route(function).map_or(width.ones(), |index| self.functions[index].get(offset, width))
    }

    fn write(&mut self, function: FunctionId, offset: u16, width: Width, value: u32) {
        let Some(index) = self.route(function) else { return };
        let f = &mut self.functions[index];
        let bytes = value.to_le_bytes();
        for (byte, value) in bytes.iter().enumerate().take(bytes_of(width)) {
            let at = usize::from(offset) + byte;
            f.config[at] = f.config[at] & !f.writable[at] | value & f.writable[at];
        }
    }
}

#[test]
fn the_fake_routes_by_programmed_bus_numbers() {
    let mut fake = Fake::arm64();
    let port = fake.port(Above::Host(0), 1, 0, PcieType::RootPort, false);
    let endpoint = fake.function(Above::Bridge(port), 0, 0, (0x10de, 0x20b0), 0x03_0200);
    fake.bar(endpoint, 0, Bytes::mib(16).0, 0xc);
    let id = FunctionId::new(0, 5, 0, 0);
    assert_eq!(fake.read_dword(id, 0), u32::MAX);
    fake.bus_numbers(port, 0, 5, 7);
    assert_eq!(fake.read_dword(id, 0), 0x20b0_10de);
    fake.write_dword(id, 0x10, u32::MAX);
    fake.write_dword(id, 0x14, u32::MAX);
    assert_eq!((fake.read_dword(id, 0x10), fake.read_dword(id, 0x14)), (0xff00_000c, u32::MAX));
}
