//! Workloads of cores, of processors of devices, and of drives and adapters with their queues.

use peerbus_machine::Machine;
use peerbus_machine::file::Leaf;
use peerbus_system::workload::{CpuAccess, DeviceAccess, DeviceRegion, NicIo, NvmeIo};
use peerbus_units::Bytes;

use super::context::{Context, Place};
use super::workload::{DEFAULT_OUTSTANDING, DEFAULT_TRANSFERS, MOST_OUTSTANDING, MOST_TRANSFERS};
use crate::{codes, file};

const DEFAULT_COPIES: u64 = 1000;
/// As many engines as one link can have.
const MOST_CORES: u32 = 7;

impl Context<'_> {
    pub fn cpu_access(&mut self, given: &file::CpuAccess, place: &Place) -> Option<CpuAccess> {
        let name = self.name(&given.name, place);
        let device = self.require(&given.device, place, "device", "a device, such as \"gpu0\"");
        let kind = self.require(&given.kind, place, "kind", "Load or Store");
        let region = self.choice(&given.region, place, "region");
        let memory = self.choice(&given.memory, place, "memory");
        let cpu = self.cpu(&given.cpu, place);
        let sizes = self.sizes(&given.sizes, place);
        let copies = self.count(&given.copies, place, "copies", 1..=MOST_TRANSFERS, DEFAULT_COPIES);
        let cores = self.count(&given.cores, place, "cores", 1..=MOST_CORES, 1);
        let (sizes, copies) = (sizes?, copies?);
        if self.too_much(&sizes, copies, place, "copies") {
            return None;
        }
        let (name, cpu, device, kind) = (name?, cpu?, device?, kind?);
        let (region, memory, cores) = (region?, memory?, cores?);
        Some(CpuAccess { name, cpu, device, region, kind, memory, sizes, copies, cores })
    }

    pub fn device_access(&mut self, given: &file::DeviceAccess, place: &Place) -> Option<DeviceAccess> {
        let name = self.name(&given.name, place);
        let device = self.require(&given.device, place, "device", "a device, such as \"gpu0\"");
        let memory = self.require(&given.memory, place, "memory", "a device, such as \"gpu1\"");
        let kind = self.require(&given.kind, place, "kind", "Load or Store");
        let sizes = self.sizes(&given.sizes, place);
        let accesses = self.transfers(&given.accesses, place, "accesses");
        let outstanding = self.under_way(&given.outstanding, place, "outstanding");
        let (sizes, accesses) = (sizes?, accesses?);
        if self.too_much(&sizes, accesses, place, "accesses") {
            return None;
        }
        let (name, device, memory, kind) = (name?, device?, memory?, kind?);
        Some(DeviceAccess { name, device, memory, kind, sizes, accesses, outstanding: outstanding? })
    }

    pub fn nvme_io(&mut self, given: &file::NvmeIo, place: &Place) -> Option<NvmeIo> {
        let name = self.name(&given.name, place);
        let drive = self.require(&given.drive, place, "drive", "a drive, such as \"ssd0\"");
        let memory = self.other_memory(&given.memory, place);
        let command = self.require(&given.command, place, "command", "Read or Write");
        let sizes = self.sizes(&given.sizes, place);
        let commands = self.transfers(&given.commands, place, "commands");
        let depth = self.under_way(&given.depth, place, "depth");
        let queue = self.choice(&given.queue, place, "queue");
        let packets = self.packets(&given.packets, place);
        let (sizes, commands) = (sizes?, commands?);
        if self.too_much(&sizes, commands, place, "commands") {
            return None;
        }
        let (name, drive, memory, command) = (name?, drive?, memory?, command?);
        let (depth, queue, packets) = (depth?, queue?, packets?);
        Some(NvmeIo { name, drive, memory, command, sizes, commands, depth, queue, packets })
    }

    pub fn nic_io(&mut self, given: &file::NicIo, place: &Place) -> Option<NicIo> {
        let name = self.name(&given.name, place);
        let adapter = self.require(&given.adapter, place, "adapter", "an adapter, such as \"nic0\"");
        let memory = self.other_memory(&given.memory, place);
        let command = self.require(&given.command, place, "command", "Send or Receive");
        let sizes = self.sizes(&given.sizes, place);
        let messages = self.transfers(&given.messages, place, "messages");
        let packets = self.packets(&given.packets, place);
        let depth = self.under_way(&given.depth, place, "depth");
        let (sizes, messages) = (sizes?, messages?);
        if self.too_much(&sizes, messages, place, "messages") {
            return None;
        }
        let (name, adapter, memory, command) = (name?, adapter?, memory?, command?);
        let packets = packets?;
        Some(NicIo { name, adapter, memory, command, sizes, messages, depth: depth?, packets })
    }

    fn transfers(&mut self, given: &Option<Leaf<u64>>, place: &Place, field: &'static str) -> Option<u64> {
        self.count(given, place, field, 1..=MOST_TRANSFERS, DEFAULT_TRANSFERS)
    }

    fn under_way(&mut self, given: &Option<Leaf<u32>>, place: &Place, field: &'static str) -> Option<u32> {
        self.count(given, place, field, 1..=MOST_OUTSTANDING, DEFAULT_OUTSTANDING)
    }

    fn cpu(&mut self, given: &Option<Leaf<usize>>, place: &Place) -> Option<Option<usize>> {
        match given {
            None => Some(None),
            given => self.take(given, place, "cpu", "the index of a CPU, from 0").map(Some),
        }
    }

    /// The device whose memory is used; `None` inside: host memory.
    pub fn other_memory(&mut self, given: &Option<Leaf<String>>, place: &Place) -> Option<Option<String>> {
        match given {
            None => Some(None),
            given => self.take(given, place, "memory", "a device, such as \"gpu0\"").map(Some),
        }
    }

    pub fn fit_cpu_access(&mut self, access: &CpuAccess, place: &Place, machine: &Machine) {
        let at = place.field("device");
        if let Some(device) = self.one_device(&access.device, &at, machine) {
            self.linked(device, &at, machine);
            match access.region {
                DeviceRegion::Bar => {
                    self.reachable(device, &at, machine, "choose a device with memory");
                    self.bar_holds(device, &access.sizes, place, machine);
                }
                DeviceRegion::HostManaged => self.host_managed(device, &at, machine),
                DeviceRegion::Private => self.shares_interconnect(device, access.cpu, &at, machine),
            }
        }
        self.fit_cpu(access.cpu, place, machine);
    }

    /// Reports a device whose memory no CPU uses by CXL.
    pub fn host_managed(&mut self, device: usize, place: &Place, machine: &Machine) {
        if machine.cxl_ranges().iter().any(|(owner, _)| *owner == device) {
            return;
        }
        let message = format!("no CPU uses the memory of `{}` by CXL", machine.devices[device].name);
        let help = "choose a device whose part has `cxl`, below a CPU that has it too";
        self.error(codes::NO_CXL_MEMORY, place, message, help);
    }

    /// Reports a device that shares no private interconnect with the CPU, or with any when none is named.
    fn shares_interconnect(&mut self, device: usize, cpu: Option<usize>, place: &Place, machine: &Machine) {
        if machine.cpus_beside(device).iter().any(|member| cpu.is_none_or(|cpu| cpu == *member)) {
            return;
        }
        let name = &machine.devices[device].name;
        let message = match cpu {
            Some(cpu) => format!("cpu{cpu} and `{name}` share no private interconnect"),
            None => format!("no CPU shares a private interconnect with `{name}`"),
        };
        let help = match machine.cpus_beside(device).first() {
            Some(member) => format!("write `cpu: {member}`, or `region: Bar`"),
            None => "write `region: Bar`, or a machine whose `interconnects` have a pair of both".to_owned(),
        };
        self.error(codes::NO_PRIVATE_LINK, place, message, help);
    }

    /// Reports copies that are larger than every BAR of a device.
    fn bar_holds(&mut self, device: usize, sizes: &[Bytes], place: &Place, machine: &Machine) {
        let device = &machine.devices[device];
        let bars = &machine.functions[device.functions[0]].bars;
        let Some(largest) = bars.iter().map(|bar| bar.size).max() else { return };
        for (index, size) in sizes.iter().enumerate().filter(|(_, size)| **size > largest) {
            let message = format!("a copy of {size} does not fit the largest BAR of `{}`", device.name);
            let at = place.element("sizes", index);
            self.error(codes::WRONG_SIZE, &at, message, format!("write at most {largest}"));
        }
    }

    pub fn fit_device_access(&mut self, access: &DeviceAccess, place: &Place, machine: &Machine) {
        self.fit_mover(&access.device, ("device", Some(&access.memory)), place, machine);
    }

    pub fn fit_nvme_io(&mut self, io: &NvmeIo, place: &Place, machine: &Machine) {
        let Some(drive) = self.fit_mover(&io.drive, ("drive", io.memory.as_deref()), place, machine) else {
            return;
        };
        self.reachable(drive, &place.field("drive"), machine, "choose a drive with registers");
    }

    pub fn fit_nic_io(&mut self, io: &NicIo, place: &Place, machine: &Machine) {
        let Some(adapter) = self.fit_mover(&io.adapter, ("adapter", io.memory.as_deref()), place, machine)
        else {
            return;
        };
        self.reachable(adapter, &place.field("adapter"), machine, "choose an adapter with registers");
    }

    /// A device that moves data, and another one whose memory it uses.
    fn fit_mover(
        &mut self,
        device: &str,
        (field, memory): (&'static str, Option<&str>),
        place: &Place,
        machine: &Machine,
    ) -> Option<usize> {
        let at = place.field(field);
        let own = self.one_device(device, &at, machine)?;
        self.linked(own, &at, machine);
        let Some(memory) = memory else { return Some(own) };
        let at = place.field("memory");
        let other = self.one_device(memory, &at, machine)?;
        if other == own {
            let message = format!("`{device}` and `{memory}` are the same device");
            self.error(codes::SAME_DEVICE, &at, message, "name two different devices");
            return None;
        }
        self.linked(other, &at, machine);
        self.reachable(other, &at, machine, "choose a device with memory");
        Some(own)
    }
}
