//! Host bridges: the windows through which CPU addresses become bus addresses, and back.
//!
//! A window maps the CPU addresses `cpu` to bus addresses from `bus` on; its *offset* is the difference, 0 on
//! a PC. This module is the only place where a [`CpuAddr`] turns into a [`BusAddr`] or back. An address in
//! no window keeps its number, as in the kernel.

use alloc::vec::Vec;

use peerbus_units::{BusAddr, CpuAddr, Range};

use super::resource::{ResourceFlags, ResourceKind};

/// One aperture of a host bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// CPU physical addresses (for [`ResourceKind::Io`], ports) that reach the bus.
    pub cpu: Range<CpuAddr>,
    /// Bus address of `cpu.first()`.
    pub bus: BusAddr,
    /// What may lie inside.
    pub kind: ResourceKind,
}

impl Window {
    /// `cpu − bus`, modulo 2^64, as the kernel keeps it.
    pub fn offset(&self) -> u64 {
        self.cpu.first().0.wrapping_sub(self.bus.0)
    }
}

/// One root of a PCI hierarchy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostBridge {
    /// PCI domain (segment) of all buses below.
    pub domain: u32,
    /// Number of the root bus.
    pub bus_first: u8,
    /// Highest bus number that may be used below.
    pub bus_last: u8,
    /// Apertures in the order firmware lists them; allocation tries them in this order.
    pub windows: Vec<Window>,
}

impl HostBridge {
    /// Bus address of `cpu`, a range of the type of `flags`: by the first window that contains all of it.
    pub fn to_bus(&self, flags: ResourceFlags, cpu: Range<CpuAddr>) -> BusAddr {
        let window = self.windows.iter().find(|w| w.kind.flags().same_type(flags) && w.cpu.covers(cpu));
        BusAddr(cpu.first().0.wrapping_sub(window.map_or(0, Window::offset)))
    }

    /// CPU address of `bus`, a range of the type of `flags`: by the first window whose bus side contains all
    /// of it.
    pub fn to_cpu(&self, flags: ResourceFlags, bus: Range<BusAddr>) -> CpuAddr {
        let window = self.windows.iter().find(|w| {
            let side = Range::sized(w.bus, w.cpu.size());
            w.kind.flags().same_type(flags) && side.is_some_and(|side| side.covers(bus))
        });
        CpuAddr(bus.first().0.wrapping_add(window.map_or(0, Window::offset)))
    }

    /// The windows as a PC's kernel takes them over from firmware, when `end` is the last address the CPU can use: what
    /// lies above is cut off a memory window, one that is left with no more than one byte is dropped, and one that
    /// overlaps an earlier one of its type is joined with that, which keeps its kind and offset.
    pub fn addressable(self, end: CpuAddr) -> HostBridge {
        let mut accepted: Vec<Window> = Vec::with_capacity(self.windows.len());
        for window in self.windows {
            let last =
                if window.kind == ResourceKind::Io { window.cpu.last() } else { window.cpu.last().min(end) };
            let Some(cpu) = Range::new(window.cpu.first(), last).filter(|cpu| cpu.first() < cpu.last())
            else {
                continue;
            };
            let same = |other: &&mut Window| {
                other.kind.flags().same_type(window.kind.flags()) && other.cpu.overlaps(cpu)
            };
            match accepted.iter_mut().find(same) {
                Some(other) => {
                    let first = other.cpu.first().min(cpu.first());
                    let bus = BusAddr(first.0.wrapping_sub(other.offset()));
                    other.cpu = Range::new(first, other.cpu.last().max(last)).unwrap_or(other.cpu);
                    other.bus = bus;
                }
                None => accepted.push(Window { cpu, ..window }),
            }
        }
        HostBridge { windows: accepted, ..self }
    }

    /// The windows with neighbours of one kind and offset that touch joined into one, as the kernel does when
    /// it registers a host bridge.
    pub(crate) fn coalesce(&mut self) {
        let mut joined: Vec<Window> = Vec::with_capacity(self.windows.len());
        for window in self.windows.drain(..) {
            let previous = joined.last().copied().filter(|p| {
                p.kind == window.kind
                    && p.offset() == window.offset()
                    && p.cpu.last().0.checked_add(1) == Some(window.cpu.first().0)
            });
            match previous.and_then(|p| Range::new(p.cpu.first(), window.cpu.last()).map(|cpu| (p, cpu))) {
                Some((p, cpu)) => {
                    joined.pop();
                    joined.push(Window { cpu, ..p });
                }
                None => joined.push(window),
            }
        }
        self.windows = joined;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn cpu(first: u64, last: u64) -> Range<CpuAddr> {
        Range::new(CpuAddr(first), CpuAddr(last)).unwrap()
    }

    fn window(first: u64, last: u64, bus: u64, kind: ResourceKind) -> Window {
        Window { cpu: cpu(first, last), bus: BusAddr(bus), kind }
    }

    #[test]
    fn addresses_translate_by_the_window_that_contains_them() {
        // The pseries machine's 32-bit window: CPU 200080000000 is bus 80000000.
        let host = HostBridge {
            domain: 0,
            bus_first: 0,
            bus_last: 0xff,
            windows: vec![
                window(0x2000_8000_0000, 0x2000_ffff_ffff, 0x8000_0000, ResourceKind::Mem),
                window(0x2100_0000_0000, 0x21ff_ffff_ffff, 0x2100_0000_0000, ResourceKind::Mem),
            ],
        };
        let flags = ResourceFlags::MEM;
        assert_eq!(host.to_bus(flags, cpu(0x2000_8010_0000, 0x2000_8010_0fff)), BusAddr(0x8010_0000));
        assert_eq!(host.to_bus(flags, cpu(0x2100_0000_1000, 0x2100_0000_1fff)), BusAddr(0x2100_0000_1000));
        assert_eq!(
            host.to_bus(ResourceFlags::IO, cpu(0x2000_8010_0000, 0x2000_8010_0fff)).0,
            0x2000_8010_0000
        );
        let bus = Range::new(BusAddr(0x8010_0000), BusAddr(0x8010_0fff)).unwrap();
        assert_eq!(host.to_cpu(flags, bus), CpuAddr(0x2000_8010_0000));
        let outside = Range::new(BusAddr(0x10), BusAddr(0x1f)).unwrap();
        assert_eq!(host.to_cpu(flags, outside), CpuAddr(0x10));
    }

    /// Property B11.
    #[test]
    fn windows_end_where_the_cpus_addresses_do() {
        let check = |end, windows: Vec<Window>, expect: &[(Range<CpuAddr>, u64)]| {
            let host = HostBridge { domain: 0, bus_first: 0, bus_last: 0xff, windows };
            let found = host.addressable(CpuAddr(end)).windows;
            let found: Vec<_> = found.iter().map(|window| (window.cpu, window.bus.0)).collect();
            assert_eq!(found, expect, "{end:#x}");
        };
        let mem = |first, last| window(first, last, first, ResourceKind::Mem);
        let whole = (cpu(0x8_0000_0000, 0x17_ffff_ffff), 0x8_0000_0000);
        let one = || vec![mem(0x8_0000_0000, 0x17_ffff_ffff)];
        check((1 << 40) - 1, one(), &[whole]);
        check((1 << 36) - 1, one(), &[(cpu(0x8_0000_0000, 0xf_ffff_ffff), 0x8_0000_0000)]);
        check((1 << 35) - 1, one(), &[]);
        check(1 << 35, one(), &[]);
        let ports = window(0, 0xffff, 0, ResourceKind::Io);
        check(0xff, vec![ports, mem(0x10, 0x1f)], &[(ports.cpu, 0), (cpu(0x10, 0x1f), 0x10)]);
        let moved = window(0x2000, 0x2fff, 0x12000, ResourceKind::Mem64Prefetch);
        check(u64::MAX, vec![moved, mem(0x1000, 0x27ff)], &[(cpu(0x1000, 0x2fff), 0x11000)]);
    }

    #[test]
    fn touching_windows_become_one() {
        let mut host = HostBridge {
            domain: 0,
            bus_first: 0,
            bus_last: 0xff,
            windows: vec![
                window(0, 0xfff, 0, ResourceKind::Io),
                window(0x1000, 0xffff, 0x1000, ResourceKind::Io),
                window(0x1_0000, 0x1_ffff, 0x1_0000, ResourceKind::Mem),
                window(0x2_0000, 0x2_ffff, 0, ResourceKind::Mem),
            ],
        };
        host.coalesce();
        let ranges: Vec<_> = host.windows.iter().map(|w| w.cpu).collect();
        assert_eq!(ranges, [cpu(0, 0xffff), cpu(0x1_0000, 0x1_ffff), cpu(0x2_0000, 0x2_ffff)]);
    }
}
