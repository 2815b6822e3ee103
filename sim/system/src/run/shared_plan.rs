//! Plans a `SharedVirtual`: finds its devices, gives its process RAM, maps that for all of them, and finds their ways to one
//! another's memory.

use std::collections::BTreeMap;

use peerbus_fabric::{Direction, private_addr};
use peerbus_os::RulesOptions;
use peerbus_os::device_private::OwnerGroups;
use peerbus_os::drivers::{DriverKind, Policy, SharesWith};
use peerbus_units::{Address, Bytes, CpuAddr, Range};

use super::flow::FlowPlan;
use super::schedule::Planner;
use super::shared_virtual::{CpuWay, GpuPlan, PeerWay, Role, SharedPlan, Who, design_of, kind_of, ram_for};
use crate::device_memory;
use crate::expand;
use crate::p2p::{MapType, pair_of};
use crate::shared_virtual::{GpuPages, LARGEST_PROCESS, SharedGpu, SharedVirtual};
use crate::workload::{AccessKind, CpuMemory};

/// Everybody who may be named, and who that is.
type Names = Vec<(String, Who)>;

impl Planner<'_> {
    /// A workload on shared memory has no phases of flows: its agents begin and end by themselves.
    pub(super) fn shared_virtual(&mut self, number: usize, spec: &SharedVirtual) -> Result<(), String> {
        let bytes: Bytes = spec.ranges.iter().map(|range| range.bytes).sum();
        if bytes.0 == 0 || bytes > LARGEST_PROCESS {
            return Err(format!(
                "the ranges of a process have 1 B to {LARGEST_PROCESS} together, not {bytes}"
            ));
        }
        let (gpus, names) = self.gpus(spec)?;
        let (adapters, mut names) = self.others(spec, &gpus, names)?;
        self.preferred(spec, &mut names)?;
        let devices: Vec<usize> = gpus.iter().map(|gpu| gpu.device).chain(adapters.iter().copied()).collect();
        devices.iter().try_for_each(|device| self.check_linked(*device))?;
        let cpu = devices.first().map_or(0, |device| self.memory.cpu_of(self.machine, *device));
        let size = ram_for(bytes);
        let ram = self
            .memory
            .allocate(cpu, size)
            .ok_or_else(|| format!("cpu{cpu} has no {} of memory", Bytes(size)))?;
        let (platform, supply) = self.platform(spec, ram, size)?;
        let mut plan = SharedPlan {
            number,
            spec: spec.clone(),
            gpus,
            adapters,
            ram,
            ram_for: BTreeMap::new(),
            ways: BTreeMap::new(),
            cpu_ways: BTreeMap::new(),
            flows: BTreeMap::new(),
            platform,
            supply,
            names,
        };
        for device in devices.iter().copied() {
            let leg = self.host_leg(device, Direction::Write, ram, size)?;
            plan.ram_for.insert(device, leg.base);
        }
        self.find_ways(&mut plan, &devices)?;
        for device in devices {
            for (role, word) in Role::ALL {
                let flow = self.shared_flow(spec, device, (role, word), cpu);
                let number = self.add(flow, &spec.name)?;
                plan.flows.insert((device, role), number);
            }
        }
        self.find_cpu_ways(&mut plan)?;
        self.schedule.phases.push(Vec::new());
        self.schedule.shared.push(plan);
        Ok(())
    }

    /// GPUs with their drivers. Those with the same word have one owner.
    fn gpus(&self, spec: &SharedVirtual) -> Result<(Vec<GpuPlan>, Names), String> {
        let (mut gpus, mut names): (Vec<GpuPlan>, Names) = (Vec::new(), Vec::new());
        let mut words: Vec<&String> = Vec::new();
        for given in &spec.gpus {
            let found = expand::devices(self.machine, &given.device);
            if found.is_empty() {
                return Err(format!("no device is called `{}`", given.device));
            }
            for device in found {
                let name = &self.machine.devices[device].name;
                if names.iter().any(|(known, _)| known == name) {
                    return Err(format!("`{name}` is named twice among the GPUs"));
                }
                let all = self.machine.devices[device].memory.unwrap_or_default();
                let memory = given.memory.unwrap_or(all).min(all);
                if memory.0 < 2 << 20 {
                    return Err(format!(
                        "`{name}` has {memory} of memory for processes; 2 MiB are needed at least"
                    ));
                }
                // Those without a word are joined to others below.
                let owner = match &given.owner {
                    None => UNJOINED,
                    Some(word) => {
                        let known = words.iter().position(|known| *known == word).unwrap_or_else(|| {
                            words.push(word);
                            words.len() - 1
                        });
                        OWNERS + known as u64
                    }
                };
                let memory = match given.pages {
                    GpuPages::Private => memory,
                    // Only what the BAR shows has an address.
                    GpuPages::Coherent => memory.min(self.largest_bar(device)?.size()),
                };
                let coherent = match given.pages {
                    GpuPages::Private => None,
                    GpuPages::Coherent => Some(self.largest_bar(device)?.first()),
                };
                names.push((name.clone(), Who::Gpu(gpus.len())));
                let policy = self.policy(given);
                gpus.push(GpuPlan { device, policy, coherent, memory, owner, window: None });
            }
        }
        self.join_owners(&mut gpus);
        Ok((gpus, names))
    }

    /// Gives GPUs whose owner is not said the one that their driver would.
    fn join_owners(&self, gpus: &mut [GpuPlan]) {
        let mut groups: BTreeMap<DriverKind, OwnerGroups<usize>> = BTreeMap::new();
        let all = gpus.to_vec();
        for (number, gpu) in gpus.iter_mut().enumerate().filter(|(_, gpu)| gpu.owner == UNJOINED) {
            let joined = |one: usize, other: usize| {
                [(one, other), (other, one)]
                    .into_iter()
                    .all(|(one, other)| self.shares(&all[one], &all[other]))
            };
            let kind = gpu.policy.kind;
            let group = groups.entry(kind).or_default().join(number, joined);
            gpu.owner = (kind as u64) << 16 | group.0;
        }
    }

    /// Whether a GPU's driver takes another's private pages for its own.
    fn shares(&self, gpu: &GpuPlan, other: &GpuPlan) -> bool {
        match gpu.policy.shares_with {
            SharesWith::Nobody => false,
            SharesWith::Interconnect => {
                self.spec.private_link(gpu.device, other.device, Direction::Read).is_some()
            }
            SharesWith::PeerToPeer => {
                let [client, provider] =
                    [gpu, other].map(|gpu| self.machine.devices[gpu.device].functions[0]);
                let pair = pair_of(self.machine, self.booted, provider, client);
                let supported = pair.is_some_and(|pair| pair.map_type != MapType::NotSupported);
                let shown = self.largest_bar(other.device).is_ok_and(|bar| bar.size() >= other.memory);
                supported && shown
            }
        }
    }

    /// What a GPU's driver does, with what the workload changes of it.
    fn policy(&self, given: &SharedGpu) -> Policy {
        let rules = self.booted.settings.profile.profile().rules(RulesOptions::default());
        let policy = Policy::of(kind_of(given.driver), &rules);
        let policy = given.granule.map_or(policy, |order| policy.with_granule(order));
        Policy { time_slice: given.time_slice.unwrap_or(policy.time_slice), ..policy }
    }

    /// CPUs that ranges prefer, beside those that use them.
    fn preferred(&self, spec: &SharedVirtual, names: &mut Names) -> Result<(), String> {
        for who in spec.ranges.iter().filter_map(|range| range.preferred.as_ref()) {
            if names.iter().any(|(known, is)| known == who && !matches!(is, Who::Adapter(_))) {
                continue;
            }
            let cpu = who.strip_prefix("cpu").and_then(|number| number.parse::<usize>().ok());
            let cpu = cpu.filter(|cpu| *cpu < self.machine.cpus.len());
            let cpu = cpu.ok_or_else(|| format!("`{who}` is no CPU, and no GPU of the workload"))?;
            names.push((who.clone(), Who::Cpu(cpu)));
        }
        Ok(())
    }

    /// How CPUs that take part reach the coherent memory of GPUs: by a private interconnect of both, or by the BAR.
    fn find_cpu_ways(&mut self, plan: &mut SharedPlan) -> Result<(), String> {
        for cpu in plan.spec.cpus() {
            for gpu in plan.gpus.clone() {
                let Some(bar) = gpu.coherent else { continue };
                let private = self.spec.private_link_from_cpu(cpu, gpu.device, Direction::Read).is_some();
                let base = if private { private_addr(gpu.device, 0).raw() } else { bar.0 };
                let name = self.machine.devices[gpu.device].name.clone();
                let mut ends = [(0, 0); 2];
                for (end, kind, word) in [(0, AccessKind::Load, "loads"), (1, AccessKind::Store, "stores")] {
                    let engine = self.shared_core((cpu, gpu.device), (kind, word), private)?;
                    let host = format!("cpu{cpu}");
                    let (from, to) = if end == 0 { (name.clone(), host) } else { (host, name.clone()) };
                    let flow =
                        FlowPlan::ordered(format!("{}.cpu{cpu}.{name}.{word}", plan.spec.name), from, to);
                    ends[end] = (self.add(flow, &plan.spec.name)?, engine);
                }
                plan.cpu_ways.insert((cpu, gpu.device), CpuWay { base, loads: ends[0], stores: ends[1] });
            }
        }
        Ok(())
    }

    /// The engine that stands for the cores of a CPU that use a GPU's coherent memory: one of each kind, for all of them.
    fn shared_core(
        &mut self,
        (cpu, device): (usize, usize),
        (kind, word): (AccessKind, &str),
        private: bool,
    ) -> Result<usize, String> {
        let name = format!("cpu{cpu}/{word} at {}", self.machine.devices[device].name);
        if let Some(known) = self.schedule.engines.iter().position(|engine| engine.name == name) {
            return Ok(known);
        }
        match private {
            true => self.core_at_member(cpu, device, name, kind, CpuMemory::WriteCombining),
            false => self.core(cpu, device, name, kind, CpuMemory::WriteCombining),
        }
    }

    /// CPUs and other devices that activities name.
    fn others(
        &self,
        spec: &SharedVirtual,
        gpus: &[GpuPlan],
        mut names: Names,
    ) -> Result<(Vec<usize>, Names), String> {
        let mut adapters = Vec::new();
        for activity in spec.phases.iter().flatten() {
            let by = &activity.by;
            if names.iter().any(|(known, _)| known == by) {
                continue;
            }
            let cpu = by.strip_prefix("cpu").and_then(|number| number.parse::<usize>().ok());
            match (cpu.filter(|cpu| *cpu < self.machine.cpus.len()), expand::single(self.machine, by)) {
                (Some(cpu), _) => names.push((by.clone(), Who::Cpu(cpu))),
                (None, Some(device)) => {
                    debug_assert!(gpus.iter().all(|gpu| gpu.device != device));
                    names.push((by.clone(), Who::Adapter(adapters.len())));
                    adapters.push(device);
                }
                (None, None) => return Err(format!("there is no CPU or device `{by}`")),
            }
            if spec.ranges.iter().all(|range| range.name != activity.range) {
                return Err(format!("there is no range `{}`", activity.range));
            }
        }
        Ok((adapters, names))
    }

    /// What frames and page structs are taken from: all of the machine, but RAM for pages of the process is what it was given.
    fn platform(
        &self,
        spec: &SharedVirtual,
        ram: u64,
        size: u64,
    ) -> Result<(peerbus_os::device_private::Platform, device_memory::Supply), String> {
        let profile = self.booted.settings.profile;
        let (mut platform, supply) =
            device_memory::platform(self.machine, self.booted, profile, spec.numbers.map(design_of));
        let own = Range::sized(CpuAddr(ram), Bytes(size)).ok_or("RAM ends before the process's pages do")?;
        platform.layout.system_ram = vec![own];
        Ok((platform, supply))
    }

    /// How devices reach the memory of GPUs: by a private link, or by their BARs where drivers hand those out.
    fn find_ways(&mut self, plan: &mut SharedPlan, devices: &[usize]) -> Result<(), String> {
        for index in 0..plan.gpus.len() {
            let GpuPlan { device: owner, memory, owner: word, .. } = plan.gpus[index];
            let given = plan
                .spec
                .gpus
                .iter()
                .find(|given| expand::devices(self.machine, &given.device).contains(&owner));
            let peer_pages = given.is_some_and(|given| given.peer_pages);
            for device in devices.iter().copied().filter(|device| *device != owner) {
                let shares = plan.gpus.iter().any(|gpu| gpu.device == device && gpu.owner == word);
                let coherent = plan.gpus[index].coherent.is_some();
                if !shares && !peer_pages && !coherent {
                    continue;
                }
                // The kernel hands out addresses of BARs to those who do not share the owner.
                if let Some(link) = self.spec.private_link(device, owner, Direction::Read).filter(|_| shares)
                {
                    plan.ways.insert((device, owner), PeerWay::Private(link));
                    continue;
                }
                let region = self.peer_region(device, owner, memory, None);
                if let Some((base, room)) = region.place {
                    plan.ways.insert((device, owner), PeerWay::Bar { base, room });
                    if peer_pages && !coherent {
                        plan.gpus[index].window = Range::sized(CpuAddr(region.by_cpu), Bytes(room));
                    }
                } else if shares {
                    let [of, own] = [device, owner].map(|device| &self.machine.devices[device].name);
                    let why = region.peer.refusal.or(region.unmappable).unwrap_or_default();
                    return Err(format!(
                        "{of} and {own} share an owner, but no way leads from one to the other: {why}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn shared_flow(
        &self,
        spec: &SharedVirtual,
        device: usize,
        (role, word): (Role, &str),
        cpu: usize,
    ) -> FlowPlan {
        let name = self.machine.devices[device].name.clone();
        let memory = format!("cpu{cpu} memory");
        let (from, to) = match role {
            Role::Arrive => (memory, name.clone()),
            Role::Leave => (name.clone(), memory),
            Role::Reads => ("pages where they are".to_owned(), name.clone()),
            Role::Writes => (name.clone(), "pages where they are".to_owned()),
        };
        FlowPlan::ordered(format!("{}.{name}.{word}", spec.name), from, to)
    }
}

/// Owners that are words, apart from those that drivers form.
const OWNERS: u64 = 1 << 32;
/// An owner that is not found out yet.
const UNJOINED: u64 = u64::MAX;
