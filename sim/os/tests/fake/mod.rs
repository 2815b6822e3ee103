//! A machine made of configuration registers: bytes and write masks, routed by the bus numbers that are
//! programmed into the bridges at that moment.
//!
//! [`Device`] describes one function, [`Fake`] hangs functions below root buses and bridges.

// Each test module uses its own part of the builder.
#![allow(dead_code)]

use peerbus_os::{ConfigSpace, Width};
use peerbus_units::FunctionId;

const PCIE: usize = 0x40;
const ACS: usize = 0x100;

/// Kind of a BAR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BarKind {
    /// I/O ports.
    Io,
    /// 32-bit memory.
    Mem,
    /// 32-bit prefetchable memory.
    MemPrefetch,
    /// 64-bit memory.
    Mem64,
    /// 64-bit prefetchable memory.
    Mem64Prefetch,
}

/// One function before it is plugged in.
#[derive(Clone)]
pub struct Device {
    registers: Box<[u8; 4096]>,
    writable: Box<[u8; 4096]>,
}

impl Device {
    fn new(vendor: u16, device: u16, class: u32, header: u8) -> Device {
        let mut this = Device { registers: Box::new([0; 4096]), writable: Box::new([0; 4096]) };
        this.set(0x00, u32::from(vendor) | u32::from(device) << 16);
        this.set(0x04, 0);
        this.set(0x08, class << 8);
        this.set(0x0c, u32::from(header) << 16);
        this.writable[0x04..0x06].copy_from_slice(&[0x47, 0x05]);
        this
    }

    /// A type 0 function.
    pub fn endpoint(vendor: u16, device: u16, class: u32) -> Device {
        Device::new(vendor, device, class, 0)
    }

    /// A bridge with a memory, an I/O and a 64-bit prefetchable window, all switched off.
    pub fn bridge(vendor: u16, device: u16) -> Device {
        let mut this = Device::new(vendor, device, 0x06_0400, 1);
        this.mask(0x18, 0xffff_ffff);
        this.set(0x1c, 0x0000_0101);
        this.mask(0x1c, 0x0000_f0f0);
        this.mask(0x20, 0xfff0_fff0);
        this.set(0x24, 0x0001_0001);
        this.mask(0x24, 0xfff0_fff0);
        this.mask(0x28, u32::MAX);
        this.mask(0x2c, u32::MAX);
        this.mask(0x30, u32::MAX);
        this.mask(0x3c, 0x00ff_00ff);
        this
    }

    /// Without the I/O window.
    pub fn no_io_window(mut self) -> Device {
        self.set(0x1c, 0);
        self.mask(0x1c, 0);
        self.mask(0x30, 0);
        self
    }

    /// Without the prefetchable window.
    pub fn no_prefetch_window(mut self) -> Device {
        for offset in [0x24, 0x28, 0x2c] {
            self.set(offset, 0);
            self.mask(offset, 0);
        }
        self
    }

    /// With a prefetchable window that reaches 4 GiB only.
    pub fn prefetch_window_32(mut self) -> Device {
        self.set(0x24, 0);
        self.mask(0x28, 0);
        self.mask(0x2c, 0);
        self
    }

    /// Other functions share its device number.
    pub fn multifunction(mut self) -> Device {
        self.registers[0x0e] |= 0x80;
        self
    }

    /// BAR `index` of `size` bytes, a power of two.
    pub fn bar(mut self, index: usize, kind: BarKind, size: u64) -> Device {
        assert!(size.is_power_of_two(), "BAR of {size:#x} bytes");
        let offset = 0x10 + 4 * index;
        let mask = !(size - 1);
        let (low, low_bits, wide) = match kind {
            BarKind::Io => (1, 0xfffc, false),
            BarKind::Mem => (0, 0xffff_fff0, false),
            BarKind::MemPrefetch => (8, 0xffff_fff0, false),
            BarKind::Mem64 => (4, 0xffff_fff0, true),
            BarKind::Mem64Prefetch => (12, 0xffff_fff0, true),
        };
        self.set(offset, low);
        self.mask(offset, low32(mask) & low_bits);
        if wide {
            self.mask(offset + 4, low32(mask >> 32));
        }
        self
    }

    /// What firmware wrote into BAR `index`; both halves of a 64-bit one.
    pub fn firmware_bar(mut self, index: usize, address: u64) -> Device {
        let offset = 0x10 + 4 * index;
        let low = self.get(offset);
        self.set(offset, low & 0xf | low32(address));
        if low & 7 == 4 {
            self.set(offset + 4, low32(address >> 32));
        }
        self
    }

    /// What firmware wrote into the command register.
    pub fn command(mut self, value: u16) -> Device {
        self.registers[0x04..0x06].copy_from_slice(&value.to_le_bytes());
        self
    }

    /// Primary, secondary, subordinate bus number as firmware left them.
    pub fn bus_numbers(mut self, primary: u8, secondary: u8, subordinate: u8) -> Device {
        self.registers[0x18..0x1b].copy_from_slice(&[primary, secondary, subordinate]);
        self
    }

    /// Memory window as firmware left it.
    pub fn firmware_memory_window(mut self, first: u64, last: u64) -> Device {
        self.set(0x20, low32(first >> 16) & 0xfff0 | low32(last) & 0xfff0_0000);
        self
    }

    /// Prefetchable window as firmware left it.
    pub fn firmware_prefetch_window(mut self, first: u64, last: u64) -> Device {
        self.set(0x24, low32(first >> 16) & 0xfff0 | low32(last) & 0xfff0_0000 | 0x0001_0001);
        self.set(0x28, low32(first >> 32));
        self.set(0x2c, low32(last >> 32));
        self
    }

    /// I/O window as firmware left it.
    pub fn firmware_io_window(mut self, first: u16, last: u16) -> Device {
        let value = u32::from(first >> 8 & 0xf0) | u32::from(last & 0xf000) | 0x0101;
        self.set(0x1c, value);
        self
    }

    /// Expansion ROM of `size` bytes.
    pub fn rom(mut self, size: u32) -> Device {
        let offset = if self.registers[0x0e] & 0x7f == 1 { 0x38 } else { 0x30 };
        self.mask(offset, !(size - 1) | 1);
        self
    }

    /// PCI Express capability of that device/port type.
    pub fn pcie(mut self, port_type: u8) -> Device {
        let chained = self.registers[0x34];
        self.registers[0x06] |= 0x10;
        self.registers[0x34] = PCIE.to_le_bytes()[0];
        self.set(PCIE, 0x10 | u32::from(chained) << 8 | (2 | u32::from(port_type) << 4) << 16);
        self
    }

    /// A slot that takes hot-plugged devices. After [`Device::pcie`].
    pub fn hotplug_slot(mut self) -> Device {
        let flags = self.get(PCIE);
        self.set(PCIE, flags | 0x0100_0000);
        self.set(PCIE + 0x14, 0x60);
        self
    }

    /// ACS capability with these capability and control words. After [`Device::pcie`].
    pub fn acs(mut self, capability: u16, control: u16) -> Device {
        self.set(ACS, 0x0001_000d);
        self.set(ACS + 4, u32::from(capability) | u32::from(control) << 16);
        self.mask(ACS + 4, u32::from(capability) << 16);
        self
    }

    fn get(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.registers[offset..offset + 4]);
        u32::from_le_bytes(bytes)
    }

    /// Sets a register as hardware does, whatever its mask.
    pub fn set(&mut self, offset: usize, value: u32) {
        self.registers[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Sets which bits of a register software can write.
    pub fn mask(&mut self, offset: usize, mask: u32) {
        self.writable[offset..offset + 4].copy_from_slice(&mask.to_le_bytes());
    }
}

fn low32(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Where a function hangs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Below {
    /// On the root bus with that domain and number.
    Root(u32, u8),
    /// Behind that bridge.
    Bridge(Node),
}

/// A function of a [`Fake`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node(usize);

struct Plugged {
    below: Below,
    devfn: u8,
    device: Device,
}

/// Functions and how they hang together.
#[derive(Default)]
pub struct Fake {
    functions: Vec<Plugged>,
}

impl Fake {
    /// Plugs `device` in at device and function number.
    pub fn add(&mut self, below: Below, device: u8, function: u8, plugged: Device) -> Node {
        assert!(device < 32 && function < 8, "no slot {device:02x}.{function}");
        self.functions.push(Plugged { below, devfn: device << 3 | function, device: plugged });
        Node(self.functions.len() - 1)
    }

    /// A register of a function, wherever it is reached.
    pub fn register(&self, node: Node, offset: usize) -> u32 {
        self.functions[node.0].device.get(offset)
    }

    /// Changes a register behind software's back.
    pub fn poke(&mut self, node: Node, offset: usize, value: u32) {
        self.functions[node.0].device.set(offset, value);
    }

    /// The function that answers at `id` now.
    pub fn route(&self, id: FunctionId) -> Option<Node> {
        let found = self.functions.iter().position(|function| {
            function.devfn == id.devfn && self.bus_of(function.below, id) == Some((id.domain, id.bus))
        });
        found.map(Node)
    }

    /// Domain and number of the bus at `below`, if a request for `id` gets there.
    fn bus_of(&self, below: Below, id: FunctionId) -> Option<(u32, u8)> {
        match below {
            Below::Root(domain, number) => Some((domain, number)),
            Below::Bridge(node) => {
                let bridge = &self.functions[node.0];
                let (domain, _) = self.bus_of(bridge.below, id)?;
                let registers = &bridge.device.registers;
                let (secondary, subordinate) = (registers[0x19], registers[0x1a]);
                let passes = secondary != 0 && secondary <= id.bus && id.bus <= subordinate;
                passes.then_some((domain, secondary))
            }
        }
    }

    /// Identifiers of all functions that answer now, in the order they were plugged in.
    pub fn answering(&self) -> Vec<FunctionId> {
        let all = (0..self.functions.len()).filter_map(|index| {
            let function = &self.functions[index];
            let (domain, bus) = self.number_of(function.below)?;
            let id = FunctionId { domain, bus, devfn: function.devfn };
            (self.route(id) == Some(Node(index))).then_some(id)
        });
        all.collect()
    }

    fn number_of(&self, below: Below) -> Option<(u32, u8)> {
        match below {
            Below::Root(domain, number) => Some((domain, number)),
            Below::Bridge(node) => {
                let (domain, _) = self.number_of(self.functions[node.0].below)?;
                Some((domain, self.functions[node.0].device.registers[0x19]))
            }
        }
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
        let (offset, bytes) = (usize::from(offset), bytes_of(width));
        assert!(offset.is_multiple_of(bytes) && offset + bytes <= 4096, "bad read at {offset:#x}");
        let mut value = [0; 4];
        match self.route(function) {
            Some(node) => {
                let registers = &self.functions[node.0].device.registers;
                value[..bytes].copy_from_slice(&registers[offset..offset + bytes]);
            }
            None => value[..bytes].fill(0xff),
        }
        u32::from_le_bytes(value)
    }

    fn write(&mut self, function: FunctionId, offset: u16, width: Width, value: u32) {
        let (offset, bytes) = (usize::from(offset), bytes_of(width));
        assert!(offset.is_multiple_of(bytes) && offset + bytes <= 4096, "bad write at {offset:#x}");
        let Some(node) = self.route(function) else { return };
        let device = &mut self.functions[node.0].device;
        for (index, byte) in value.to_le_bytes().into_iter().take(bytes).enumerate() {
            let (at, mask) = (offset + index, device.writable[offset + index]);
            device.registers[at] = device.registers[at] & !mask | byte & mask;
        }
    }
}
