//! A target's side: its namespace when the run starts, a provider for each controller, memory for each request, and data
//! that adapter and drive move in turn.
//!
//! A request's memory is mapped for one device at a time, as each begins: for an adapter that writes, then for the drive
//! that reads, or the other way round. What cannot be mapped then fails: by that time the target knows no other memory.

use peerbus_fabric::Direction;
use peerbus_machine::Machine;
use peerbus_os::drivers::nvme_target::{
    self, Backing, NamespaceError, OrdinaryMemory, OrdinaryPages, Transport,
};
use peerbus_os::p2pdma::{Client, Enable, EnableError};
use peerbus_os::pci;
use peerbus_units::{Address, Bytes, Picos};

use super::client::Holding;
use super::drive::{Io, PeerMemories, no_bug};
use super::obtain::Answer;
use super::plan::PeerMemoryPlan;
use super::pools::{Memory, NoMemory, Pools};
use super::tally::{Cause, Refusal, explain};
use super::transfer::Order;
use crate::expand::{self, PeerMemoryRole};
use crate::iommu::MapError;
use crate::peer_memory::TargetMemory;
use crate::run::resolve::peer;

/// Queue that requests for data come by; the target asks only whether it is the administrative one.
const IO_QUEUE: u16 = nvme_target::ADMIN_QUEUE + 1;

/// A namespace that is set up, as far as that went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    /// The drive, by index in the machine.
    drive: usize,
    function: pci::FunctionIndex,
    attribute: Enable,
    /// The provider that was named, by index in the machine.
    named: Option<usize>,
    /// Why the attribute is not what the workload asks for, in words.
    unset: Option<String>,
    enabled: Result<(), NamespaceError>,
}

/// The target of a workload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TargetRun {
    /// The operating system did not find the drive, by index in the machine.
    NoDrive(usize),
    /// With its namespace.
    Set(Namespace),
}

impl TargetRun {
    /// The drive, by index in the machine.
    pub fn drive(&self) -> usize {
        match self {
            TargetRun::NoDrive(drive) | TargetRun::Set(Namespace { drive, .. }) => *drive,
        }
    }
}

/// The block devices are drives with the kernel's own driver, whose queues take peer pages wherever mapping does.
fn backing(drive: pci::FunctionIndex) -> Backing {
    Backing::Block { device: Client::Function(drive), takes_peer_pages: true }
}

impl Pools<'_> {
    /// Writes `setting` to a namespace's attribute.
    fn set_attribute(&mut self, setting: &str) -> Result<Enable, EnableError> {
        self.p2pdma.enable_store(&self.booted.tree, setting.as_bytes())
    }

    fn enable(&mut self, attribute: Enable, drive: pci::FunctionIndex) -> Result<(), NamespaceError> {
        let booted = self.booted;
        let (tree, registers) = (&booted.tree, &booted.registers);
        nvme_target::enable_namespace(&mut self.p2pdma, tree, registers, attribute, backing(drive))
    }

    fn controller(
        &mut self,
        attribute: Enable,
        adapter: pci::FunctionIndex,
        drive: pci::FunctionIndex,
        random: &mut impl FnMut() -> u32,
    ) -> Result<pci::FunctionIndex, OrdinaryMemory> {
        let booted = self.booted;
        let transport = Transport::Rdma { adapter: Client::Function(adapter), moves_data_itself: true };
        let (tree, registers, ends) = (&booted.tree, &booted.registers, (transport, Client::Function(drive)));
        nvme_target::controller_memory(&mut self.p2pdma, tree, registers, attribute, ends, random)
    }

    /// Memory for a request.
    fn request(
        &mut self,
        provider: pci::FunctionIndex,
        (client, size): (usize, Bytes),
        now: Picos,
    ) -> Result<Memory, NoMemory> {
        let id = self.booted.tree[provider].id;
        let found = nvme_target::request_memory(&mut self.p2pdma, id, IO_QUEUE, size, Bytes::ZERO);
        match found {
            Ok(memory) => Ok(self.taken(provider, (client, size), memory.data.address, now)),
            Err(OrdinaryPages::Data(error) | OrdinaryPages::Metadata(error)) => Err(NoMemory::Driver(error)),
            Err(OrdinaryPages::Administrative) => unreachable!("requests for data come by another queue"),
        }
    }
}

impl PeerMemories<'_> {
    /// Sets up the namespace of `plan`, when all memory is registered.
    pub(super) fn set_up_target(&mut self, plan: &PeerMemoryPlan) -> Option<TargetRun> {
        let asked = &plan.spec.target.as_ref()?.memory;
        let drive = plan.drive?;
        let Some(function) = self.os_function(drive) else { return Some(TargetRun::NoDrive(drive)) };
        let named = match asked {
            TargetMemory::Named(name) => expand::single(self.machine, name),
            TargetMemory::Off | TargetMemory::Automatic => None,
        };
        let setting = match asked {
            TargetMemory::Off => "0".to_owned(),
            TargetMemory::Automatic => "1".to_owned(),
            TargetMemory::Named(name) => {
                let found = named.and_then(|device| self.os_function(device));
                found.map_or(name.clone(), |found| self.booted.tree[found].id.to_string())
            }
        };
        let written = self.pools.set_attribute(&setting);
        let attribute = written.unwrap_or(Enable::Off);
        let unset = written.err().map(|error| unset(self.machine, named, &setting, error));
        let enabled = self.pools.enable(attribute, function);
        Some(TargetRun::Set(Namespace { drive, function, attribute, named, unset, enabled }))
    }

    /// Memory for a request, as the target finds it.
    pub(super) fn obtain_by_target(
        &mut self,
        workload: usize,
        client: usize,
        size: Bytes,
        now: Picos,
    ) -> Result<Answer, Refusal> {
        let refusal = |cause, text, provider| Refusal { cause, text, provider, lack: None };
        let of = &self.workloads[workload];
        let (device, function) = (of.clients[client].plan.device, of.clients[client].plan.function);
        let name = |device: usize| self.machine.devices[device].name.clone();
        let namespace = match &of.target {
            Some(TargetRun::Set(namespace)) => namespace.clone(),
            Some(TargetRun::NoDrive(drive)) => {
                let text = format!("the operating system did not find {}", name(*drive));
                return Err(refusal(Cause::NotEnabled, text, None));
            }
            None => return Ok(Answer::Ordinary),
        };
        let Some(function) = function else {
            let text = format!("the operating system did not find {}", name(device));
            return Err(refusal(Cause::NoProvider, text, None));
        };
        if let Err(error) = namespace.enabled {
            let text = self.not_enabled(workload, &namespace, error);
            return Err(refusal(Cause::NotEnabled, text, namespace.named));
        }
        let provider = match self.controller(workload, client, function, &namespace) {
            Ok(provider) => provider,
            Err(OrdinaryMemory::NotAsked) => {
                let unset = namespace.unset.map(|text| refusal(Cause::NoProvider, text, namespace.named));
                return unset.map_or(Ok(Answer::Ordinary), Err);
            }
            Err(why) => return Err(self.ordinary(workload, device, &namespace, why)),
        };
        let Some(owner) = self.device_of(provider) else {
            unreachable!("providers are functions of devices");
        };
        let owner_name = name(owner);
        let taken = self.pools.request(provider, (device, size), now);
        let memory =
            taken.map_err(|error| explain(error, &self.pools, (owner, provider), &owner_name, size))?;
        Ok(Answer::Peer { owner, memory, mapping: None })
    }

    /// The provider of a client's controller, found when its first request comes.
    fn controller(
        &mut self,
        workload: usize,
        client: usize,
        adapter: pci::FunctionIndex,
        namespace: &Namespace,
    ) -> Result<pci::FunctionIndex, OrdinaryMemory> {
        let run = &mut self.workloads[workload].clients[client];
        if let Some(found) = run.controller {
            return found;
        }
        let found = self
            .pools
            .controller(namespace.attribute, adapter, namespace.function, &mut || run.search_number());
        run.controller = Some(found);
        found
    }

    fn not_enabled(&self, workload: usize, namespace: &Namespace, error: NamespaceError) -> String {
        let why = match (error, namespace.named) {
            (NamespaceError::OutOfReach(_), Some(named)) => {
                let reason = peer(self.machine, self.booted, named, namespace.drive).1;
                format!("it does not reach {}: {reason}", self.machine.devices[named].name)
            }
            (NamespaceError::NothingInReach, _) => {
                format!("it reaches no published provider; {}", self.reasons(workload, &[namespace.drive]))
            }
            (error, _) => error.to_string(),
        };
        let name = &self.machine.devices[namespace.drive].name;
        format!("the namespace of {name} is not enabled ({}): {why}", error.errno())
    }

    fn ordinary(
        &self,
        workload: usize,
        device: usize,
        namespace: &Namespace,
        why: OrdinaryMemory,
    ) -> Refusal {
        let name = |device: usize| &self.machine.devices[device].name;
        let (cause, text) = match (why, namespace.named) {
            (OrdinaryMemory::OutOfReach(_), Some(named)) => {
                let reason = peer(self.machine, self.booted, named, device).1;
                (Cause::NotSupported, format!("{} cannot reach {}: {reason}", name(device), name(named)))
            }
            (OrdinaryMemory::NothingInReach, _) => {
                let drive = namespace.drive;
                let reasons = self.reasons(workload, &[device, drive]);
                let both = format!("{} and {}", name(device), name(drive));
                (Cause::NoProvider, format!("no provider is found for {both}; {reasons}"))
            }
            (why, _) => (Cause::NoProvider, why.to_string()),
        };
        Refusal { cause, text, provider: namespace.named, lack: None }
    }

    /// The devices that use a request's peer memory in turn, and whether they write; the memory's own device needs no link.
    fn uses(&self, workload: usize, client: usize, owner: usize) -> Vec<(usize, bool)> {
        let of = &self.workloads[workload];
        let adapter = of.clients[client].plan.device;
        let Some(drive) = of.plan.drive else { return Vec::new() };
        let both = |&writes: &bool| match writes {
            true => [(adapter, true), (drive, false)],
            false => [(drive, true), (adapter, false)],
        };
        let all = of.plan.spec.client_writes().iter().flat_map(both);
        all.filter(|(device, _)| *device != owner).collect()
    }

    /// Maps a request's peer memory for the next device and starts its transfer, or else the memory's lifetime.
    pub(super) fn proceed_by_target(
        &mut self,
        (workload, client, slot): (usize, usize, usize),
        (owner, memory): (usize, Memory),
        now: Picos,
        io: &mut Io,
    ) {
        let owner_of_slot = (workload, client, slot);
        self.unmap(owner_of_slot, now, io);
        let Some(holding) = self.workloads[workload].clients[client].slots[slot] else { return };
        let uses = self.uses(workload, client, owner);
        let Some((device, writes)) = uses.get(holding.step).copied() else {
            return self.keep(workload, client, slot, now, io);
        };
        let flow = PeerMemoryRole::Peer { client: device, provider: owner };
        let flow = self.workloads[workload].plan.flows.get(&(flow, writes)).copied();
        let address = self.map_for(owner_of_slot, (owner, memory), device, now, io);
        match (address, flow) {
            (Ok(addr), Some(flow)) => {
                let direction = if writes { Direction::Write } else { Direction::Read };
                let bytes = holding.request.size;
                io.orders.push(Order { flow, device, direction, addr, bytes, owner: owner_of_slot });
            }
            (Ok(_), None) => unreachable!("every device that may use a provider has a flow"),
            (Err(refusal), _) => self.fail(owner_of_slot, (holding, memory), refusal, now, io),
        }
    }

    fn map_for(
        &mut self,
        owner_of_slot: (usize, usize, usize),
        (owner, memory): (usize, Memory),
        device: usize,
        now: Picos,
        io: &mut Io,
    ) -> Result<u64, Refusal> {
        let mapped = match self.os_function(device) {
            Some(function) => self.pools.map_dma(&memory, function, (&mut self.dma, &mut io.writes), now),
            None => Err(MapError::NotFound),
        };
        let mapping = mapped.map_err(|error| self.unmappable(device, owner, error))?;
        let (address, kind) = (mapping.address.raw(), mapping.kind);
        let first = &mut self.workloads[owner_of_slot.0].first_dma;
        first.entry((device, owner)).or_insert((address, kind));
        self.keep_mapped(owner_of_slot, mapping, now);
        Ok(address)
    }

    /// A request fails: its host is told so, and the memory goes back.
    fn fail(
        &mut self,
        (workload, client, slot): (usize, usize, usize),
        (holding, memory): (Holding, Memory),
        refusal: Refusal,
        now: Picos,
        io: &mut Io,
    ) {
        let (of, size) = (&mut self.workloads[workload], holding.request.size);
        if let Some(owner) = holding.provider {
            of.tally.withdraw(owner, size);
        }
        of.tally.refuse(refusal, size, of.clients[client].plan.device, now);
        of.tally.end = now;
        of.clients[client].give_slot(slot);
        no_bug(self.pools.free(&memory, now));
        self.answer(workload, client, now, io);
    }
}

/// Why an attribute was not set, with the device's name.
fn unset(machine: &Machine, named: Option<usize>, setting: &str, error: EnableError) -> String {
    let name = named.map_or(setting, |named| machine.devices[named].name.as_str());
    let why = match error {
        EnableError::NotPublished(_) => format!("{name} has published no memory"),
        EnableError::NoSuchFunction | EnableError::NotBoolean => {
            format!("the operating system did not find {name}")
        }
    };
    format!("the namespace's attribute stays off: {why} ({})", error.errno())
}
