//! Whether workloads fit a machine: the devices exist, have links, and can be reached.

use peerbus_machine::Machine;
use peerbus_machine::load::{list_words, nearest};
use peerbus_machine::part::ResourceKind;
use peerbus_system::expand::{device_list, device_part, devices};
use peerbus_system::workload::{Copy, Engine, HostDma, WhenRefused, Workload};

use super::context::{Context, Place};
use super::workload::Placed;
use crate::codes;

const STAGE_INSTEAD: &str = "let it move the data (`engine`), or write `refused: Stage`";

impl Context<'_> {
    /// Reports everything about `placed` that `machine` does not have.
    pub fn fit(&mut self, placed: &Placed, machine: &Machine) {
        let place = &placed.place;
        match &placed.workload {
            Workload::Copy(copy) => self.fit_copy(copy, place, machine),
            Workload::PairMatrix(matrix) => self.fit_pairs(&matrix.devices, matrix.refused, place, machine),
            Workload::AllToAll(exchange) => {
                self.fit_pairs(&exchange.devices, exchange.refused, place, machine)
            }
            Workload::HostDma(dma) => self.fit_host_dma(dma, place, machine),
            Workload::PeerMemory(memory) => self.fit_peer_memory(memory, place, machine),
            Workload::CpuAccess(access) => self.fit_cpu_access(access, place, machine),
            Workload::DeviceAccess(access) => self.fit_device_access(access, place, machine),
            Workload::NvmeIo(io) => self.fit_nvme_io(io, place, machine),
            Workload::NicIo(io) => self.fit_nic_io(io, place, machine),
            Workload::SharedVirtual(shared) => self.fit_shared_virtual(shared, place, machine),
            Workload::SharedBuffer(buffer) => self.fit_shared_buffer(buffer, place, machine),
        }
    }

    fn fit_copy(&mut self, copy: &Copy, place: &Place, machine: &Machine) {
        let from = self.one_device(&copy.from, &place.field("from"), machine);
        let to = self.one_device(&copy.to, &place.field("to"), machine);
        let Some((from, to)) = from.zip(to) else { return };
        if from == to {
            let message = format!("`{}` and `{}` are the same device", copy.from, copy.to);
            self.error(codes::SAME_DEVICE, &place.field("to"), message, "name two different devices");
            return;
        }
        self.linked(from, &place.field("from"), machine);
        self.linked(to, &place.field("to"), machine);
        let (target, field) = match copy.engine {
            Engine::Writer => (to, "to"),
            Engine::Reader => (from, "from"),
        };
        self.fit_through(copy.through.as_ref(), copy.refused, place, machine);
        if let (Some(at), Some(memory)) = (copy.memory_at, machine.devices[target].memory)
            && at >= memory
        {
            let message = format!("`{}` has {memory} of memory", machine.devices[target].name);
            let help = "write a place before its end";
            self.error(codes::WRONG_SIZE, &place.field("memory_at"), message, help);
        }
        if copy.refused == WhenRefused::Fail {
            self.reachable(target, &place.field(field), machine, STAGE_INSTEAD);
        }
    }

    fn fit_pairs(&mut self, patterns: &[String], refused: WhenRefused, place: &Place, machine: &Machine) {
        let before = self.diagnostics.len();
        let mut checked = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            let at = place.element("devices", index);
            let found = devices(machine, pattern);
            if found.is_empty() {
                self.no_device(pattern, &at, machine);
            }
            for device in found {
                if checked.contains(&device) {
                    continue;
                }
                checked.push(device);
                self.linked(device, &at, machine);
                if refused == WhenRefused::Fail {
                    self.reachable(device, &at, machine, STAGE_INSTEAD);
                }
            }
        }
        let count = device_list(machine, patterns).len();
        if count < 2 && self.diagnostics.len() == before {
            let message = format!("pairs need two devices, and {count} is named");
            self.error(codes::TOO_FEW_DEVICES, &place.field("devices"), message, "name two devices at least");
        }
    }

    fn fit_host_dma(&mut self, dma: &HostDma, place: &Place, machine: &Machine) {
        if let Some(device) = self.one_device(&dma.device, &place.field("device"), machine) {
            self.linked(device, &place.field("device"), machine);
        }
        self.fit_cpu(dma.cpu, place, machine);
        self.fit_through(dma.through.as_ref(), WhenRefused::Fail, place, machine);
        let Some(memory) = &dma.memory else { return };
        let at = place.field("memory");
        let Some(owner) = self.one_device(memory, &at, machine) else { return };
        if *memory == dma.device {
            let message = format!("`{memory}` reaches its own memory without the CPU");
            self.error(codes::SAME_DEVICE, &at, message, "name two different devices");
        }
        self.host_managed(owner, &at, machine);
    }

    /// Reports a CPU that the machine does not have.
    pub fn fit_cpu(&mut self, cpu: Option<usize>, place: &Place, machine: &Machine) {
        if let Some(cpu) = cpu.filter(|cpu| *cpu >= machine.cpus.len()) {
            self.no_cpu(cpu, &place.field("cpu"), machine);
        }
    }

    /// Reports that `machine` has no CPU of that number.
    pub fn no_cpu(&mut self, cpu: usize, place: &Place, machine: &Machine) {
        let message = format!("{} has no cpu {cpu}", machine.name);
        let help = match machine.cpus.len() {
            0 | 1 => "it has only cpu 0".to_owned(),
            count => format!("write 0 to {}", count - 1),
        };
        self.error(codes::UNKNOWN_CPU, place, message, help);
    }

    pub fn one_device(&mut self, name: &str, place: &Place, machine: &Machine) -> Option<usize> {
        match devices(machine, device_part(name)).as_slice() {
            [] => {
                self.no_device(name, place, machine);
                None
            }
            [one] => Some(*one),
            several => {
                let names: Vec<&str> =
                    several.iter().map(|index| machine.devices[*index].name.as_str()).collect();
                let message = format!("`{name}` names {} devices, and one belongs here", names.len());
                self.error(
                    codes::SEVERAL_DEVICES,
                    place,
                    message,
                    format!("write {}", list_words(&names, 6)),
                );
                None
            }
        }
    }

    /// Reports that `name` names no device.
    pub fn no_device(&mut self, name: &str, place: &Place, machine: &Machine) {
        let names: Vec<&str> = machine.devices.iter().map(|device| device.name.as_str()).collect();
        let message = match name.contains('*') {
            true => format!("`{name}` fits no device of {}", machine.name),
            false => format!("{} has no device `{name}`", machine.name),
        };
        let shown = list_words(&names, 12).replace(" or ", " and ");
        let help = match nearest(device_part(name), names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? it has {shown}"),
            None if names.is_empty() => "it has no devices".to_owned(),
            None => format!("it has {shown}"),
        };
        self.error(codes::UNKNOWN_DEVICE, place, message, help);
    }

    /// Reports a device without a link.
    pub fn linked(&mut self, device: usize, place: &Place, machine: &Machine) {
        let device = &machine.devices[device];
        if device.link.is_none() {
            let message = format!("`{}` has no link: it sits on a root bus", device.name);
            self.error(codes::NO_LINK, place, message, "choose a device below a port");
        }
    }

    /// Reports a device without memory that a peer could reach.
    pub fn reachable(&mut self, device: usize, place: &Place, machine: &Machine, help: &str) {
        let device = &machine.devices[device];
        let bars = &machine.functions[device.functions[0]].bars;
        if !bars.iter().any(|bar| bar.kind != ResourceKind::Io) {
            let message = format!("`{}` has no memory BAR that a peer could reach", device.name);
            self.error(codes::NO_MEMORY_BAR, place, message, help);
        }
    }
}
