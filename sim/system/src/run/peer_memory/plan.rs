//! What a `PeerMemory` needs before anything runs: its devices by number, its flows, its buffers in host memory.

use std::collections::BTreeMap;

use peerbus_machine::Machine;
use peerbus_os::pci;
use peerbus_units::Bytes;

use crate::boot::Booted;
use crate::expand::{self, PeerMemoryRole};
use crate::peer_memory::{
    Distribution, LARGEST_REQUEST, LONGEST_LIFE, MOST_OUTSTANDING, MOST_REQUESTS, PeerMemory, Quantity,
    TargetMemory,
};
use crate::run::resolve::HostMemory;

/// A client before the run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientPlan {
    /// By index in the machine.
    pub device: usize,
    /// Where the operating system found it; `None` when it did not.
    pub function: Option<pci::FunctionIndex>,
    /// The CPU below which it hangs.
    pub cpu: usize,
    /// First byte of its buffers in host memory, one per slot, and the bytes from one to the next; `None` when it never
    /// uses any.
    pub buffers: Option<(u64, u64)>,
    /// DMA address of the first byte for each device that uses them, itself included.
    pub buffer_addresses: BTreeMap<usize, u64>,
}

/// A workload before the run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerMemoryPlan {
    /// Its number among the workloads: the name of its random streams.
    pub number: usize,
    /// What it says.
    pub spec: PeerMemory,
    /// Clients, in the machine's order.
    pub clients: Vec<ClientPlan>,
    /// The drive of the target's namespace, by index in the machine.
    pub drive: Option<usize>,
    /// Devices that provide memory, each once.
    pub providers: Vec<usize>,
    /// Numbers of its flows in the schedule, by role and whether they write.
    pub flows: BTreeMap<(PeerMemoryRole, bool), usize>,
}

impl PeerMemoryPlan {
    /// Checks `spec` against the machine. The flows are added by whoever owns the schedule.
    ///
    /// # Errors
    ///
    /// What cannot be run, in words.
    pub fn new(
        number: usize,
        spec: &PeerMemory,
        machine: &Machine,
        booted: &Booted,
        memory: &mut HostMemory,
    ) -> Result<PeerMemoryPlan, String> {
        check(spec)?;
        let patterns = spec.providers.iter().map(|provider| &provider.device).chain(&spec.clients);
        for pattern in patterns {
            if expand::devices(machine, pattern).is_empty() {
                return Err(format!("no device is called `{pattern}`"));
            }
        }
        let mut clients = Vec::new();
        for device in expand::device_list(machine, &spec.clients) {
            let cpu = memory.cpu_of(machine, device);
            let buffers = if spec.stages() { Some(host_buffers(spec, cpu, memory)?) } else { None };
            let function = booted.os_function(machine.devices[device].functions[0]);
            let buffer_addresses = BTreeMap::new();
            clients.push(ClientPlan { device, function, cpu, buffers, buffer_addresses });
        }
        Ok(PeerMemoryPlan {
            number,
            spec: spec.clone(),
            clients,
            drive: drive(spec, machine)?,
            providers: expand::providers(machine, spec),
            flows: BTreeMap::new(),
        })
    }

    /// Most descriptors it ever has under way: one per allocation.
    pub fn most_descriptors(&self) -> u64 {
        u64::from(self.spec.outstanding).saturating_mul(self.clients.len() as u64)
    }
}

/// The drive of the target's namespace.
fn drive(spec: &PeerMemory, machine: &Machine) -> Result<Option<usize>, String> {
    let Some(target) = &spec.target else { return Ok(None) };
    let one = |name: &str| {
        expand::single(machine, name).ok_or_else(|| format!("not one device is called `{name}`"))
    };
    if let TargetMemory::Named(provider) = &target.memory {
        one(provider)?;
    }
    let drive = one(&target.namespace)?;
    match expand::device_list(machine, &spec.clients).contains(&drive) {
        true => Err(format!("{} is a client and stores the namespace", target.namespace)),
        false => Ok(Some(drive)),
    }
}

/// A buffer per slot of a client, each on pages of its own.
fn host_buffers(spec: &PeerMemory, cpu: usize, memory: &mut HostMemory) -> Result<(u64, u64), String> {
    let stride = spec.sizes.most().0.next_multiple_of(4096);
    let all = stride.checked_mul(u64::from(spec.outstanding));
    let base = all.and_then(|all| memory.allocate(cpu, all));
    let base =
        base.ok_or_else(|| format!("cpu{cpu} has not enough memory for the requests that are staged"))?;
    Ok((base, stride))
}

fn check(spec: &PeerMemory) -> Result<(), String> {
    problem(&spec.sizes, "sizes")?;
    problem(&spec.lifetimes, "lifetimes")?;
    problem(&spec.intervals, "intervals")?;
    if spec.providers.is_empty() && spec.target.is_none() || spec.clients.is_empty() {
        return Err("providers and clients must be named".to_owned());
    }
    if !(1..=MOST_OUTSTANDING).contains(&spec.outstanding) || !(1..=MOST_REQUESTS).contains(&spec.requests) {
        return Err(format!(
            "a client makes 1 to {MOST_REQUESTS} requests and holds 1 to {MOST_OUTSTANDING} allocations"
        ));
    }
    let smallest = match &spec.sizes {
        // Draws of less than a byte become one.
        Distribution::Exponential(_) => Bytes(1),
        sizes => sizes.least(),
    };
    if smallest == Bytes::ZERO || spec.sizes.most() > LARGEST_REQUEST {
        return Err(format!("a request has 1 B to {LARGEST_REQUEST}"));
    }
    if spec.longest() > LONGEST_LIFE {
        return Err("intervals and lifetimes of a client may take more than ten days".to_owned());
    }
    Ok(())
}

fn problem<T: Quantity>(distribution: &Distribution<T>, name: &str) -> Result<(), String> {
    distribution.problem().map_or(Ok(()), |(message, _)| Err(format!("{name}: {message}")))
}
