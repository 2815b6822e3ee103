//! Which provider a request asks, and why there is none.

use peerbus_os::pci;

use super::drive::PeerMemories;
use super::tally::{Cause, Refusal};
use crate::peer_memory::Choose;
use crate::run::resolve::peer;

impl PeerMemories<'_> {
    /// The provider to ask.
    pub(super) fn choose(
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
        Err(Refusal { cause: Cause::NotSupported, text, provider: Some(owner) })
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
        Refusal { cause: Cause::NoProvider, text, provider: None }
    }
}
