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

impl PeerMemories<'_> {
    /// Finds a provider, takes memory of it, and maps it for the client.
    pub(super) fn obtain(
        &mut self,
        workload: usize,
        client: usize,
        size: Bytes,
        now: Picos,
        io: &mut Io,
    ) -> Result<(usize, Memory, Mapping), Refusal> {
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
                self.note_io(function, now);
                let first = self.workloads[workload].first_dma.entry((device, owner));
                first.or_insert((mapping.address.raw(), mapping.kind));
                Ok((owner, memory, mapping))
            }
            Err(error) => {
                self.drop_unused(&memory, now);
                let cause = match error {
                    MapError::Dma(DmaError::RemoteIo) => Cause::NotSupported,
                    _ => Cause::Failed,
                };
                let text = format!("{name} cannot map memory of {owner_name}: {error}");
                Err(Refusal { cause, text, provider: Some(owner), lack: None })
            }
        }
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
        let of = &self.workloads[workload];
        let (device, mut reasons) = (of.clients[client].plan.device, Vec::new());
        let known = of.tally.refused.get(&Cause::NoProvider);
        // The text counts only for the first refusal.
        for provider in of.plan.providers.iter().filter(|_| known.is_none()) {
            let name = &self.machine.devices[*provider].name;
            let provides = self.os_function(*provider).is_some_and(|function| self.pools.provides(function));
            reasons.push(match (provides, of.plan.spec.publish) {
                (false, _) => format!("{name} has registered no memory"),
                (true, false) => format!("{name} has not published its memory"),
                (true, true) => format!("{name}: {}", peer(self.machine, self.booted, *provider, device).1),
            });
        }
        let name = &self.machine.devices[device].name;
        let text = format!("no provider is found for {name}; {}", reasons.join("; "));
        Refusal { cause: Cause::NoProvider, text, provider: None, lack: None }
    }
}
