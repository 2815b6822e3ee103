//! A machine as configuration bytes: every function has 4 KiB of registers and a mask of writable bits, and
//! answers where the bus numbers programmed into the bridges above lead.

use peerbus_os::pci::PcieType;
use peerbus_os::{
    BootOptions, ConfigAccess, ConfigSpace, HostBridge, Profile, ResourceKind, RulesOptions, Tree, Width,
    Window, boot,
};
use peerbus_units::{BusAddr, Bytes, CpuAddr, FunctionId, Range};

#[derive(Clone)]
pub struct FakeFunction {
    /// Host bridge (index) or bridge function (index) it hangs below.
    above: Above,
    devfn: u8,
    config: Vec<u8>,
    writable: Vec<u8>,
    /// Offset of its SR-IOV capability, and what its virtual functions have in their registers.
    sriov: Option<(u16, Vec<FakeFunction>)>,
    /// Offset of its Resizable BAR capability.
    rebar: Option<u16>,
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
        let mut new = FakeFunction::empty(above, devfn);
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
        self.functions[function].implement(0x10 + 4 * bar, size, low);
    }

    /// An ACS capability; every bit can be set.
    pub fn acs(&mut self, function: usize, capability: u16, control: u16) {
        let f = &mut self.functions[function];
        f.put(ACS, Width::Dword, 0x0001_000d);
        f.put(ACS + 4, Width::Word, u32::from(capability));
        f.put(ACS + 6, Width::Word, u32::from(control));
        f.allow(ACS + 6, Width::Word, 0xffff);
    }

    /// Adds an empty extended capability; returns its offset.
    fn extended(&mut self, function: usize, id: u16) -> u16 {
        let f = &mut self.functions[function];
        let (mut last, mut count) = (0x100, 0);
        while f.get(last, Width::Dword) != 0 {
            count += 1;
            let next = f.get(last, Width::Dword) >> 20;
            if next == 0 {
                break;
            }
            last = u16::try_from(next).unwrap();
        }
        let new = 0x100 + 0x80 * count;
        if count > 0 {
            let header = f.get(last, Width::Dword);
            f.put(last, Width::Dword, header | u32::from(new) << 20);
        }
        f.put(new, Width::Dword, 0x0001_0000 | u32::from(id));
        new
    }

    /// An SR-IOV capability for `total` virtual functions `offset` and `stride` apart, each with these BARs
    /// (number, size, type bits). Returns its offset.
    pub fn sriov(
        &mut self,
        function: usize,
        (total, offset, stride): (u16, u16, u16),
        bars: &[(u16, u64, u32)],
    ) -> u16 {
        let at = self.extended(function, 0x10);
        let f = &mut self.functions[function];
        f.allow(at + 0x08, Width::Word, 0x0009);
        f.put(at + 0x0c, Width::Dword, u32::from(total) << 16 | u32::from(total));
        f.allow(at + 0x10, Width::Word, 0xffff);
        f.put(at + 0x14, Width::Dword, u32::from(stride) << 16 | u32::from(offset));
        f.put(at + 0x18, Width::Dword, 0x1889_0000);
        f.put(at + 0x1c, Width::Dword, 0x0000_0553);
        f.allow(at + 0x20, Width::Dword, 0xffff_ffff);
        for (bar, size, low) in bars {
            f.implement(at + 0x24 + 4 * bar, *size, *low);
        }
        let mut virtual_function = FakeFunction::empty(f.above, 0);
        virtual_function.put(0, Width::Dword, u32::MAX);
        virtual_function.allow(0x04, Width::Word, 0x0004);
        virtual_function.config[0x34..0x60].copy_from_slice(&f.config[0x34..0x60]);
        virtual_function.put(0x06, Width::Word, 0x10);
        f.sriov = Some((at, vec![virtual_function; usize::from(total)]));
        at
    }

    /// A Resizable BAR capability: (BAR, sizes it lists by number, size it has). Returns its offset.
    pub fn rebar(&mut self, function: usize, bars: &[(u16, u32, u32)]) -> u16 {
        let at = self.extended(function, 0x15);
        let f = &mut self.functions[function];
        let count = u32::try_from(bars.len()).unwrap();
        for (pair, (bar, sizes, size)) in (0u16..).zip(bars) {
            f.put(at + 4 + 8 * pair, Width::Dword, sizes << 4);
            let pairs = if pair == 0 { count << 5 } else { 0 };
            f.put(at + 8 + 8 * pair, Width::Dword, size << 8 | pairs | u32::from(*bar));
            f.allow(at + 8 + 8 * pair, Width::Dword, 0x3f00);
        }
        f.rebar = Some(at);
        at
    }

    /// A bridge's window as firmware would have programmed it; `register` is 0x20 or 0x24.
    pub fn window(&mut self, bridge: usize, register: u16, first: u64, last: u64) {
        let half = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap();
        let kind = if register == 0x24 { 0x0001_0001 } else { 0 };
        let f = &mut self.functions[bridge];
        f.put(register, Width::Dword, half(first >> 16 & 0xfff0 | last & 0xfff0_0000) | kind);
        if register == 0x24 {
            f.put(0x28, Width::Dword, half(first >> 32));
            f.put(0x2c, Width::Dword, half(last >> 32));
        }
    }

    /// Which bits of a register can be written.
    pub fn writable(&self, function: usize, offset: u16) -> u32 {
        let at = usize::from(offset);
        let mask = &self.functions[function].writable[at..at + 4];
        u32::from_le_bytes([mask[0], mask[1], mask[2], mask[3]])
    }

    /// Bytes of a memory BAR; 0 when there is none.
    pub fn bar_size(&self, function: usize, bar: u16) -> u64 {
        let register = 0x10 + 4 * bar;
        let wide = self.register(function, register) & 0x6 == 0x4;
        let high = if wide { self.writable(function, register + 4) } else { u32::MAX };
        let mask = u64::from(high) << 32 | u64::from(self.writable(function, register));
        mask & mask.wrapping_neg()
    }

    /// All registers of all functions, to see whether anything changed.
    pub fn dump(&self) -> Vec<Vec<u8>> {
        self.functions.iter().map(|f| f.config.clone()).collect()
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

    /// Which function answers at `id`, and which of its virtual functions.
    fn route(&self, id: FunctionId) -> Option<(usize, Option<usize>)> {
        let (root, host) = self.hosts.iter().enumerate().find(|(_, host)| {
            host.domain == id.domain && host.bus_first <= id.bus && id.bus <= host.bus_last
        })?;
        let (mut above, mut bus) = (Above::Host(root), host.bus_first);
        while bus != id.bus {
            if let Some(index) = self.virtual_function(above, bus, id) {
                return Some(index);
            }
            let bridge = self.functions.iter().position(|f| {
                let [_, secondary, subordinate, _] = f.get(0x18, Width::Dword).to_le_bytes();
                let forwards = secondary <= id.bus && id.bus <= subordinate && secondary != 0;
                f.above == above && f.get(0x0e, Width::Byte) & 0x7f == 1 && forwards
            })?;
            bus = (self.functions[bridge].get(0x18, Width::Dword) >> 8 & 0xff) as u8;
            above = Above::Bridge(bridge);
        }
        let real = self.functions.iter().position(|f| f.above == above && f.devfn == id.devfn);
        real.map(|index| (index, None)).or_else(|| self.virtual_function(above, bus, id))
    }

    /// The enabled virtual function `id` of a function below `above`, which has bus number `bus`.
    fn virtual_function(&self, above: Above, bus: u8, id: FunctionId) -> Option<(usize, Option<usize>)> {
        let here = self.functions.iter().enumerate().filter(|(_, f)| f.above == above);
        here.filter_map(|(index, f)| Some((index, f, f.sriov.as_ref()?.0))).find_map(|(index, f, at)| {
            let on = f.get(at + 8, Width::Word) & 1 == 1;
            let [count, offset, stride] = [0x10, 0x14, 0x16].map(|field| f.get(at + field, Width::Word));
            let first = (u32::from(bus) << 8 | u32::from(f.devfn)) + offset;
            let mut numbers = 0..if on { count } else { 0 };
            let found = numbers.find(|number| first + stride * number == u32::from(id.requester()))?;
            Some((index, usize::try_from(found).ok()))
        })
    }

    fn at(&self, (index, virtual_function): (usize, Option<usize>)) -> &FakeFunction {
        let f = &self.functions[index];
        match (&f.sriov, virtual_function) {
            (Some((_, all)), Some(number)) => &all[number],
            _ => f,
        }
    }

    fn at_mut(&mut self, (index, virtual_function): (usize, Option<usize>)) -> &mut FakeFunction {
        match virtual_function {
            Some(number) => &mut self.functions[index].sriov.as_mut().unwrap().1[number],
            None => &mut self.functions[index],
        }
    }

    /// What a BAR register pair or window holds, by the function's position here.
    pub fn register(&self, function: usize, offset: u16) -> u32 {
        self.functions[function].get(offset, Width::Dword)
    }
}

impl FakeFunction {
    fn empty(above: Above, devfn: u8) -> FakeFunction {
        FakeFunction {
            above,
            devfn,
            config: vec![0; 4096],
            writable: vec![0; 4096],
            sriov: None,
            rebar: None,
        }
    }

    /// A BAR register, or two, of `size` bytes; `low` are its type bits.
    fn implement(&mut self, register: u16, size: u64, low: u32) {
        let mask = (!(size - 1)).to_le_bytes();
        let at = usize::from(register);
        let width = if low & 0x7 == 0x4 { 8 } else { 4 };
        self.writable[at..at + width].copy_from_slice(&mask[..width]);
        // Address bits that are not implemented read as zero.
        for (byte, mask) in mask.iter().enumerate().take(width) {
            self.config[at + byte] &= mask;
        }
        let value = self.get(register, Width::Dword) | low;
        self.put(register, Width::Dword, value);
    }

    /// Resizable BARs decode as many address bits as their control registers say.
    fn apply_sizes(&mut self) {
        let Some(at) = self.rebar else { return };
        for pair in 0..self.get(at + 8, Width::Dword) >> 5 & 0x7 {
            let control = self.get(at + 8 + 8 * u16::try_from(pair).unwrap(), Width::Dword);
            let register = 0x10 + 4 * u16::try_from(control & 0x7).unwrap();
            let low = self.get(register, Width::Dword) & 0xf;
            self.implement(register, 1 << (20 + (control >> 8 & 0x3f)), low);
        }
    }

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
        self.route(function).map_or(width.ones(), |found| self.at(found).get(offset, width))
    }

    fn write(&mut self, function: FunctionId, offset: u16, width: Width, value: u32) {
        let Some(found) = self.route(function) else { return };
        let f = self.at_mut(found);
        let bytes = value.to_le_bytes();
        for (byte, value) in bytes.iter().enumerate().take(bytes_of(width)) {
            let at = usize::from(offset) + byte;
            f.config[at] = f.config[at] & !f.writable[at] | value & f.writable[at];
        }
        f.apply_sizes();
    }
}

/// Boots the kernel on `fake`.
pub fn booted_with(fake: &mut Fake, profile: Profile, options: &BootOptions) -> Tree {
    let hosts = fake.hosts.clone();
    boot(fake, &hosts, &profile.rules(RulesOptions::default()), options)
}

/// Boots the kernel on `fake` with nothing on its command line.
pub fn booted(fake: &mut Fake, profile: Profile) -> Tree {
    booted_with(fake, profile, &BootOptions::default())
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
