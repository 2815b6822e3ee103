//! [`boot`]: the operating system starts on a machine. It enumerates, places BARs and windows, programs ACS and starts
//! its DMA layer; what it did is in the registers, what it knows is in its tree, and [`Booted`] holds both.
//!
//! The two halves number functions differently: the machine in the order of its description, the operating system
//! in the order of discovery. [`Booted`] is the only place that knows which is which.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};

use peerbus_machine::model::{Fact, FunctionIndex, Machine, Role};
use peerbus_machine::part::ResourceKind;
use peerbus_machine::{Registers, model};
use peerbus_os::dma::Dma;
use peerbus_os::iomem::PhysicalSpace;
use peerbus_os::p2pdma;
use peerbus_os::pci::{AcsParameters, MpsPolicy, Platform};
use peerbus_os::{
    ConfigSpace, CpuIdentity, CpuVendor, HostBridge, Resolution, Rules, RulesOptions, Tree, Width, Window,
    pci,
};
use peerbus_units::{CpuAddr, FunctionId, Range};

use crate::iommu;
use crate::kernel::{Firmware, KernelSettings};

/// What differs between one boot and another, beside the kernel's settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BootOptions {
    /// Ignore the addresses that the machine's description fixes; the operating system places everything.
    pub reassign: bool,
}

/// A machine's registers as its operating system reaches them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hardware(Registers);

impl Deref for Hardware {
    type Target = Registers;
    fn deref(&self) -> &Registers {
        &self.0
    }
}

impl DerefMut for Hardware {
    fn deref_mut(&mut self) -> &mut Registers {
        &mut self.0
    }
}

impl ConfigSpace for Hardware {
    fn read(&self, function: FunctionId, offset: u16, width: Width) -> u32 {
        self.0.read(function, offset, bytes(width))
    }

    fn write(&mut self, function: FunctionId, offset: u16, width: Width, value: u32) {
        self.0.write(function, offset, bytes(width), value);
    }
}

fn bytes(width: Width) -> u8 {
    match width {
        Width::Byte => 1,
        Width::Word => 2,
        Width::Dword => 4,
    }
}

/// A machine on which the operating system has come up.
#[derive(Clone, Debug)]
pub struct Booted {
    /// What is programmed.
    pub registers: Hardware,
    /// What the operating system found and decided.
    pub tree: Tree,
    /// The rules of its kernel.
    pub rules: Rules,
    /// How it was configured.
    pub settings: KernelSettings,
    /// The CPU it runs on.
    pub cpu: CpuIdentity,
    /// Its DMA layer: groups, domains, the masks of devices.
    pub dma: Dma,
    /// Per function of the machine, the operating system's index.
    to_os: Vec<Option<pci::FunctionIndex>>,
    /// Per function of the operating system, the machine's index.
    to_machine: Vec<FunctionIndex>,
}

/// Starts the operating system on a machine that comes out of its firmware.
pub fn boot(machine: &Machine, settings: &KernelSettings, options: &BootOptions) -> Booted {
    let as_captured = machine.capture.running && settings.says_nothing();
    let settings = &settings.or_captured(&machine.capture);
    let rules = settings.profile.profile().rules(RulesOptions::default());
    let mut registers = Hardware(Registers::power_on(machine));
    let bridges: Vec<HostBridge> =
        machine.host_bridges.iter().map(|bridge| host_bridge(machine, bridge)).collect();
    let mut os_options = pci::BootOptions {
        reassign: options.reassign,
        keep: placed(machine),
        platform: platform(machine),
        ..settings.boot_options(firmware(machine))
    };
    if as_captured {
        // The words that a capture shows are those its kernel had set.
        (os_options.acs, os_options.mps) = (AcsParameters::default(), MpsPolicy::Off);
    }
    let tree = pci::boot(&mut registers, &bridges, &rules, &os_options);
    let mut to_os = vec![None; machine.functions.node_count()];
    let mut to_machine = Vec::new();
    for (index, function) in tree.iter() {
        let Some(found) = registers.at(function.id) else {
            unreachable!("{} was enumerated and answers no more", function.id);
        };
        to_os[found.index()] = Some(index);
        to_machine.push(found);
    }
    let dma = iommu::start(&tree, &mut registers, &rules, settings, firmware(machine));
    Booted {
        registers,
        tree,
        rules,
        dma,
        settings: settings.clone(),
        cpu: cpu_identity(machine),
        to_os,
        to_machine,
    }
}

impl Booted {
    /// The operating system's index of a function; `None` when it did not find it.
    pub fn os_function(&self, function: FunctionIndex) -> Option<pci::FunctionIndex> {
        self.to_os[function.index()]
    }

    /// The machine's index of a function that the operating system found.
    pub fn machine_function(&self, function: pci::FunctionIndex) -> FunctionIndex {
        self.to_machine[function.0]
    }

    /// How `client` reaches memory of `provider`, by the ACS words programmed now; `None` when the operating system
    /// did not find both.
    pub fn resolve(&self, provider: FunctionIndex, client: FunctionIndex) -> Option<Resolution> {
        let (provider, client) = (self.os_function(provider)?, self.os_function(client)?);
        Some(p2pdma::resolve(&self.tree, &self.registers, &self.cpu, &self.rules, provider, client))
    }

    /// The provider's BAR that peer-to-peer uses: its largest prefetchable one, with or without an address.
    pub fn peer_bar(&self, provider: FunctionIndex) -> Option<usize> {
        p2pdma::largest_prefetchable_bar(&self.tree, self.os_function(provider)?)
    }

    /// What the machine's source did not say about a function, or about the chip it belongs to.
    pub fn facts(&self, machine: &Machine, index: FunctionIndex) -> BTreeSet<Fact> {
        let function = &machine.functions[index];
        let chip = match function.role {
            Role::SwitchUpstream(switch) | Role::SwitchDownstream(switch) => {
                &machine.switches[switch].assumed
            }
            Role::Endpoint(device) => &machine.devices[device].assumed,
            Role::RootPort | Role::RootBusHead => &machine.assumed,
        };
        let whole = [Fact::Acs, Fact::Bars, Fact::Function];
        let everywhere = machine.assumed.iter().filter(|fact| whole.contains(fact));
        let chip = chip.iter().filter(|fact| !matches!(fact, Fact::Cpu | Fact::HostBridge | Fact::Windows));
        function.assumed.iter().chain(chip).chain(everywhere).copied().collect()
    }
}

/// A host bridge as firmware tells the operating system of it. On a PC, windows end where the CPU's physical addresses
/// do; elsewhere the kernel's address space has 64 bits whatever the CPU can do.
fn host_bridge(machine: &Machine, bridge: &model::HostBridge) -> HostBridge {
    let window =
        |window: &model::Window| Window { cpu: window.cpu, bus: window.bus, kind: window_kind(window.kind) };
    let told = HostBridge {
        domain: bridge.domain,
        bus_first: bridge.bus,
        bus_last: bridge.bus_last,
        windows: bridge.windows.iter().map(window).collect(),
    };
    let bits = machine.cpus.get(bridge.cpu).map_or(64, |cpu| u32::from(cpu.part.physical_bits));
    let last = CpuAddr(1u64.checked_shl(bits).map_or(u64::MAX, |end| end - 1));
    if is_pc(machine) { told.addressable(last) } else { told }
}

/// Firmware tells Linux whether a window is prefetchable; that a plain one may lie above 4 GiB needs no telling.
fn window_kind(kind: ResourceKind) -> pci::ResourceKind {
    match kind {
        ResourceKind::Io => pci::ResourceKind::Io,
        ResourceKind::Mem32 | ResourceKind::Mem64 => pci::ResourceKind::Mem,
        ResourceKind::Mem32Prefetch => pci::ResourceKind::MemPrefetch,
        ResourceKind::Mem64Prefetch => pci::ResourceKind::Mem64Prefetch,
    }
}

/// CPU 0, by which the kernel decides for all.
fn cpu_identity(machine: &Machine) -> CpuIdentity {
    let part = machine.cpus.first().map(|cpu| &cpu.part);
    CpuIdentity {
        vendor: part.map_or(CpuVendor::Other, |part| CpuVendor::from_cpuinfo(&part.vendor)),
        family: part.map_or(0, |part| part.family),
        model: part.and_then(|part| part.models.first().copied()).unwrap_or(0),
        x86: is_pc(machine),
    }
}

/// Vendors as x86 kernels name them. A CPU of unknown make counts as a PC's.
const PC_VENDORS: [&str; 6] =
    ["AuthenticAMD", "CentaurHauls", "GenuineIntel", "HygonGenuine", "  Shanghai  ", "unknown"];

fn is_pc(machine: &Machine) -> bool {
    machine.cpus.first().is_none_or(|cpu| PC_VENDORS.contains(&cpu.part.vendor.as_str()))
}

/// What firmware is like on a machine with that CPU.
pub fn firmware(machine: &Machine) -> Firmware {
    let vendor = machine.cpus.first().map(|cpu| cpu.part.vendor.as_str());
    Firmware { pc: is_pc(machine), amd: matches!(vendor, Some("AuthenticAMD" | "HygonGenuine")) }
}

/// Host bridges below which a running kernel had placed everything that it could.
fn placed(machine: &Machine) -> Vec<usize> {
    let bridges = machine.host_bridges.iter().enumerate();
    bridges.filter(|(_, bridge)| bridge.placed).map(|(index, _)| index).collect()
}

/// RAM is taken; on a PC, windows that start at 0 are used from the end of low memory on.
fn platform(machine: &Machine) -> Platform {
    let ram: Vec<Range<CpuAddr>> = machine.ram();
    if !is_pc(machine) {
        return Platform::generic().with_taken(ram);
    }
    let low = ram.iter().map(|range| range.last().0).filter(|last| *last < 1 << 32);
    Platform::x86(low.max().map_or(0, |last| last + 1)).with_taken(ram)
}

/// What the kernel knows of physical memory when it gives pages to device memory: where RAM is, and what its linear
/// mapping can reach. That is all that the CPU addresses; on a PC no more than the direct map holds, which `nokaslr` and
/// `no5lvl` on the command line may change.
pub fn kernel_memory(machine: &Machine, booted: &Booted) -> (Vec<Range<CpuAddr>>, Range<CpuAddr>) {
    let ram: Vec<Range<CpuAddr>> = machine.ram();
    let bits = machine.cpus.first().map_or(64, |cpu| u32::from(cpu.part.physical_bits));
    let mut last = CpuAddr(1u64.checked_shl(bits).map_or(u64::MAX, |end| end - 1));
    if is_pc(machine) {
        let end = ram.iter().map(|range| range.last().0.saturating_add(1)).max().unwrap_or(0);
        let five = machine.cpus.first().is_none_or(|cpu| cpu.part.has_five_levels(bits));
        let space = PhysicalSpace::pc(&booted.settings.parameters(), bits, five, CpuAddr(end));
        last = last.min(space.limit(&booted.rules));
    }
    let Some(mappable) = Range::new(CpuAddr(0), last) else { unreachable!("0 <= {last}") };
    (ram, mappable)
}
