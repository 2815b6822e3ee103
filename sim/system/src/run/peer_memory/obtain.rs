//! Obtaining memory for a request: which provider is asked, and why there is none.

use peerbus_os::dma::DmaError;
use peerbus_os::pci;
use peerbus_units::{Address, Bytes, Picos};

use super::drive::{Io, PeerMemories, no_bug};
use super::pools::Memory;
use super::tally::{Cause, Refusal, explain};
use crate::iommu::{MapError, Mapping};
use crate::peer_memory::{Choose, User};
use crate::run::resolve::peer;

/// What a request is given.
pub(super) enum Answer {
    /// Peer memory.
    Peer {
        /// The device whose it is, by index in the machine.
        owner: usize,
        /// Where it lies.
        memory: Memory,
        /// What the client is given, where nobody else uses it.
        mapping: Option<Mapping>,
    },
    /// Ordinary pages, as was asked for.
    Ordinary,
}

impl PeerMemories<'_> {
    /// Finds a provider, takes memory of it, and maps it for the client.
    pub(super) fn obtain(
        &mut self,
        workload: usize,
        client: usize,
        size: Bytes,
        now: Picos,
        io: &mut Io,
    ) -> Result<Answer, Refusal> {
        if self.workloads[workload].target.is_some() {
            return self.obtain_by_target(workload, client, size, now);
        }
        let device = self.workloads[workload].clients[client].plan.device;
        let name = self.machine.devices[device].name.clone();
        let Some(function) = self.workloads[workload].clients[client].plan.function else {
            let text = format!("the operating system did not find {name}");
            return Err(Refusal { cause: Cause::NoProvider, text, provider: None, lack: None });
        };
        let provider = self.choose(workload, client, function)?;
        let Some(owner) = self.device_of(provider) else {
            unreachable!("providers are functions of devices");
        };
        let owner_name = self.machine.devices[owner].name.clone();
        let taken = match self.workloads[workload].plan.spec.user {
            User::Kernel => self.pools.alloc(provider, (device, size), now),
            User::Mmap => self.pools.map(provider, (device, size), now),
        };
        let memory =
            taken.map_err(|error| explain(error, &self.pools, (owner, provider), &owner_name, size))?;
        match self.pools.map_dma(&memory, function, (&mut self.dma, &mut io.writes), now) {
            Ok(mapping) => {
                let first = self.workloads[workload].first_dma.entry((device, owner));
                first.or_insert((mapping.address.raw(), mapping.kind));
                Ok(Answer::Peer { owner, memory, mapping: Some(mapping) })
            }
            Err(error) => {
                self.drop_unused(&memory, now);
                Err(self.unmappable(device, owner, error))
            }
        }
    }

    /// Memory of `owner` could not be mapped for `device`.
    pub(super) fn unmappable(&self, device: usize, owner: usize, error: MapError) -> Refusal {
        let cause = match error {
            MapError::Dma(DmaError::RemoteIo) => Cause::NotSupported,
            _ => Cause::Failed,
        };
        let name = |device: usize| &self.machine.devices[device].name;
        let text = format!("{} cannot map memory of {}: {error}", name(device), name(owner));
        Refusal { cause, text, provider: Some(owner), lack: None }
    }

    /// Gives memory back that could not be mapped.
    fn drop_unused(&mut self, memory: &Memory, now: Picos) {
        no_bug(self.pools.unpin(memory));
        match memory.mapping {
            None => no_bug(self.pools.free(memory, now)),
            Some((_, pages)) => (0..pages).for_each(|page| no_bug(self.pools.unmap_page(memory, page, now))),
        }
    }

    /// The provider to ask.
    fn choose(
        &mut self,
        workload: usize,
        client: usize,
        function: pci::FunctionIndex,
    ) -> Result<pci::FunctionIndex, Refusal> {
        let of = &mut self.workloads[workload];
        let run = &mut of.clients[client];
        let found = match of.plan.spec.choose {
            Choose::Nearest => self.pools.nearest(function, &mut || run.search_number()),
            Choose::NearestOnce => match run.found {
                Some(found) => found,
                None => {
                    let found = self.pools.nearest(function, &mut || run.search_number());
                    run.found = Some(found);
                    found
                }
            },
            Choose::InOrder => return self.in_order(workload, client, function),
        };
        found.ok_or_else(|| self.no_provider(workload, client))
    }

    /// The next of the workload's own providers that registered something.
    fn in_order(
        &mut self,
        workload: usize,
        client: usize,
        function: pci::FunctionIndex,
    ) -> Result<pci::FunctionIndex, Refusal> {
        let device = self.workloads[workload].clients[client].plan.device;
        let others = self.workloads[workload].plan.providers.iter().filter(|provider| **provider != device);
        let usable = others.filter_map(|provider| Some((*provider, self.os_function(*provider)?)));
        let usable: Vec<_> = usable.filter(|(_, function)| self.pools.provides(*function)).collect();
        if usable.is_empty() {
            return Err(self.no_provider(workload, client));
        }
        let run = &mut self.workloads[workload].clients[client];
        let (owner, provider) = usable[run.turn % usable.len()];
        run.turn = run.turn.wrapping_add(1);
        if self.pools.supported(provider, function) {
            return Ok(provider);
        }
        let (_, refusal) = peer(self.machine, self.booted, owner, device);
        let name = &self.machine.devices[device].name;
        let text = format!("{name} cannot reach {}: {refusal}", self.machine.devices[owner].name);
        Err(Refusal { cause: Cause::NotSupported, text, provider: Some(owner), lack: None })
    }

    /// Why the search found nothing: what stands between the client and each provider.
    fn no_provider(&self, workload: usize, client: usize) -> Refusal {
        let device = self.workloads[workload].clients[client].plan.device;
        let name = &self.machine.devices[device].name;
        let text = format!("no provider is found for {name}; {}", self.reasons(workload, &[device]));
        Refusal { cause: Cause::NoProvider, text, provider: None, lack: None }
    }

    /// What keeps each of `devices` from the workload's providers, as far as it has not been told before.
    pub(super) fn reasons(&self, workload: usize, devices: &[usize]) -> String {
        let of = &self.workloads[workload];
        let told = [Cause::NoProvider, Cause::NotEnabled];
        // The text counts only for the first refusal.
        if told.iter().any(|cause| of.tally.refused.contains_key(cause)) {
            return String::new();
        }
        let reason = |provider: &usize| {
            let name = &self.machine.devices[*provider].name;
            let function = self.os_function(*provider).filter(|function| self.pools.provides(*function));
            let Some(function) = function else { return format!("{name} has registered no memory") };
            if !self.pools.is_published(function) {
                return format!("{name} has not published its memory");
            }
            let ways = devices.iter().filter(|device| *device != provider);
            let ways: Vec<_> =
                ways.map(|device| peer(self.machine, self.booted, *provider, *device)).collect();
            let refused = ways.iter().find(|(peer, _)| peer.map_type == "NOT_SUPPORTED").or(ways.last());
            format!("{name}: {}", refused.map_or("", |(_, reason)| reason))
        };
        let reasons: Vec<String> = of.plan.providers.iter().map(reason).collect();
        reasons.join("; ")
    }
}
