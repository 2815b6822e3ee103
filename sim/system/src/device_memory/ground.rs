//! The physical addresses that drivers find: RAM, windows of host bridges, and how far the kernel looks.

use peerbus_machine::part::ResourceKind;
use peerbus_os::device_private::{Platform, PrivateDesign};
use peerbus_os::iomem::{Arm64, DirectMapTrim, IoMem, IoResource, PageSize, PhysicalSpace};
use peerbus_os::pagemap::KernelMemory;
use peerbus_os::pci::ResourceFlags;
use peerbus_os::{Rules, RulesOptions};
use peerbus_units::{Bytes, CpuAddr, Range};

use super::{Levels, Question, Reach, ReachedBy};
use crate::boot::firmware;
use crate::kernel::ProfileName;

/// Windows from here on are those that a guest's firmware replaces.
const HIGH: u64 = 1 << 32;
/// Widths that an arm64 CPU's identification register can state.
const ARM64_WIDTHS: [u32; 7] = [32, 36, 40, 42, 44, 48, 52];
/// Where an arm64 kernel's image has ended, from the start of RAM on.
const ARM64_IMAGE: u64 = 64 << 20;

impl Question<'_> {
    /// Physical address bits of the CPU.
    pub(super) fn bits(&self) -> u32 {
        let part = self.machine.cpus.first().map(|cpu| cpu.part.physical_bits);
        self.conditions.physical_bits.or(part).map_or(46, u32::from).clamp(32, 63)
    }

    /// The machine's kernel is an x86 one.
    pub(super) fn is_pc(&self) -> bool {
        firmware(self.machine).pc
    }

    /// The kernel may place its linear map at random.
    pub(super) fn is_random(&self) -> bool {
        !self.parameters.no_kaslr
    }

    /// RAM that the CPU can address.
    pub(super) fn ram(&self) -> Vec<Range<CpuAddr>> {
        self.addressable(self.machine.ram())
    }

    /// The same of a machine with `total` bytes of RAM in all, the same for each CPU. Windows stay where they are.
    pub(super) fn ram_of(&self, total: Bytes) -> Vec<Range<CpuAddr>> {
        let mut machine = self.machine.clone();
        machine.capture.memory.clear();
        let cpus = machine.cpus.len().max(1) as u64;
        for (number, cpu) in machine.cpus.iter_mut().enumerate() {
            let rest = if number == 0 { total.0 % cpus } else { 0 };
            cpu.memory = Bytes(total.0 / cpus + rest);
        }
        self.addressable(machine.ram())
    }

    fn addressable(&self, ram: Vec<Range<CpuAddr>>) -> Vec<Range<CpuAddr>> {
        let Some(all) = Range::new(CpuAddr(0), CpuAddr((1 << self.bits()) - 1)) else { return Vec::new() };
        ram.into_iter().filter_map(|range| range.intersection(all)).collect()
    }

    /// Where the firmware of a guest puts its window above 4 GiB: the uppermost part of what it can address.
    pub fn guest_window(&self) -> Option<Range<CpuAddr>> {
        let parts = self.conditions.guest_window.map(u64::from).filter(|parts| *parts >= 2)?;
        let end = 1u64 << self.bits();
        Range::new(CpuAddr(end - end / parts), CpuAddr(end - 1))
    }

    /// Windows of host bridges in memory space, named as the kernel's tree names them.
    fn windows(&self) -> Vec<(String, Range<CpuAddr>)> {
        let guest = self.guest_window();
        let bridges = self.machine.host_bridges.iter();
        let given = bridges.flat_map(|bridge| {
            let name = format!("PCI Bus {:04x}:{:02x}", bridge.domain, bridge.bus);
            bridge.windows.iter().map(move |window| (name.clone(), window))
        });
        let memory = given.filter(|(_, window)| window.kind != ResourceKind::Io);
        let kept = memory.filter(|(_, window)| guest.is_none() || window.cpu.first().0 < HIGH);
        let mut found: Vec<(String, Range<CpuAddr>)> =
            kept.map(|(name, window)| (name, window.cpu)).collect();
        found.extend(guest.map(|top| ("PCI Bus 0000:00".to_owned(), top)));
        found
    }

    /// A kernel's rules under the conditions.
    pub(super) fn rules(&self, profile: ProfileName, design: PrivateDesign) -> Rules {
        profile.profile().rules(RulesOptions {
            private_design: Some(design),
            direct_map_trim: self.conditions.trimmed.then_some(DirectMapTrim::Always),
            ..RulesOptions::default()
        })
    }

    /// Physical address space of the kernel. `seed` places an arm64 kernel's linear map.
    pub(super) fn space(&self, ram: &[Range<CpuAddr>], seed: u16) -> PhysicalSpace {
        let first = ram.iter().map(|range| range.first().0).min().unwrap_or(0);
        let last = ram.iter().map(|range| range.last().0).max().unwrap_or(0);
        let bits = self.bits();
        if self.is_pc() {
            let five = match self.conditions.paging {
                None => self.machine.cpus.first().is_some_and(|cpu| cpu.part.has_five_levels(bits)),
                Some(levels) => levels == Levels::Five,
            };
            return PhysicalSpace::pc(&self.parameters, bits, five, CpuAddr(last.saturating_add(1)));
        }
        let pa_range = ARM64_WIDTHS.into_iter().rfind(|width| *width <= bits).unwrap_or(ARM64_WIDTHS[0]);
        let Some(dram) = Range::new(CpuAddr(first), CpuAddr(last)) else {
            unreachable!("the lowest byte of RAM lies above the highest")
        };
        PhysicalSpace::Arm64(Arm64 {
            page: PageSize::K4,
            configured_va: 52,
            used_va: if pa_range > 48 { 52 } else { 48 },
            configured_pa: 52,
            pa_range,
            dram,
            kernel_end: CpuAddr(first.saturating_add(ARM64_IMAGE)),
            seed: if self.is_random() { seed } else { 0 },
            separate_hypervisor: false,
        })
    }

    /// What frames and page structs are taken from, before any driver has asked.
    pub(super) fn platform(&self, rules: Rules, space: &PhysicalSpace, ram: &[Range<CpuAddr>]) -> Platform {
        let mut iomem = IoMem::new(space.end());
        for range in ram {
            let mut entry = IoResource::memory(*range, "System RAM").busy();
            entry.flags |= ResourceFlags::SYSTEM_RAM;
            enter(&mut iomem, &entry);
        }
        for (name, range) in self.windows() {
            enter(&mut iomem, &IoResource::memory(range, name));
        }
        let free = ram.iter().map(|range| range.size()).sum();
        let mut platform = Platform::new(rules, iomem, space);
        platform.memory = KernelMemory { free, reserve: Bytes::ZERO };
        platform
    }
}

/// Enters the parts of a resource that are addressable and not taken: memory lies behind the legacy windows of PCs, and host
/// bridges share them.
fn enter(iomem: &mut IoMem, resource: &IoResource) {
    let root = iomem.root();
    let all = iomem.get(root).map(|root| root.range);
    let mut parts: Vec<Range<CpuAddr>> =
        all.and_then(|all| resource.range.intersection(all)).into_iter().collect();
    for (_, taken) in iomem.children(root) {
        parts =
            parts.into_iter().flat_map(|part| <[_; 2]>::from(part.without(taken.range))).flatten().collect();
    }
    for range in parts {
        let entered = iomem.request(root, IoResource { range, ..resource.clone() });
        assert!(entered.is_ok(), "{range} is free");
    }
}

/// Where the search for physical addresses begins, and why there.
pub(super) fn reach(rules: &Rules, space: &PhysicalSpace) -> Reach {
    let (end, limit) = (space.end(), space.limit(rules));
    let by = match space {
        _ if end < limit => ReachedBy::CpuWidth,
        PhysicalSpace::X86 { paging, .. } if limit.0 < (1 << paging.physical_bits()) - 1 => {
            ReachedBy::ShortenedDirectMap
        }
        PhysicalSpace::X86 { physical_bits, paging, .. } => match *physical_bits == paging.physical_bits() {
            true => ReachedBy::CpuWidth,
            false => ReachedBy::PageTables,
        },
        PhysicalSpace::Arm64(_) if rules.iomem.arm64_limit_is_linear_map => ReachedBy::LinearMap,
        _ => ReachedBy::ConfiguredWidth,
    };
    Reach { last: end.min(limit).0, by }
}
