//! Searches and mappings of random recorded machines, phase by phase on one [`P2pdma`]: every pair is asked, then the
//! searches, then one page of each provider is mapped for every function.

use std::collections::BTreeSet;

use peerbus_os::Profile;
use peerbus_os::p2pdma::{Client, DmaMapping, MapState, P2pdma, PhysicalMemory};
use peerbus_os::pci::{FunctionIndex, Parent, Place, Resource, ResourceFlags};
use peerbus_units::{Bytes, CpuAddr, Range};
use serde_json::Value;

use super::captures::{Tally, conformance, cpu, find, hex, items, text};
use super::machine::{Machine, rules};
use super::random_machines::{enter, machine};

struct Asked {
    machine: Machine,
    p2pdma: P2pdma,
    endpoints: Vec<FunctionIndex>,
}

/// Where the mappings say a provider's memory is; far up for those never mapped.
fn memory_of(recorded: &Value, provider: usize) -> CpuAddr {
    let mappings = items(&recorded["phases"]).flat_map(|phase| items(&phase["map"]));
    let own = mappings.into_iter().find(|row| row[0].as_u64() == Some(provider as u64));
    CpuAddr(own.map_or((1 << 40) + ((provider as u64) << 30), |row| hex(text(&row[3]))))
}

/// Every provider registers 2 MiB of a BAR and publishes them.
fn prepare(recorded: &Value, profile: Profile) -> Asked {
    let mut machine = machine(recorded);
    let endpoints: Vec<_> = items(&recorded["endpoints"]).map(|id| find(&machine, text(id))).collect();
    let mut p2pdma = P2pdma::new(&rules(profile), &cpu(&recorded["cpu"]));
    for id in items(&recorded["providers"]) {
        let function = find(&machine, text(id));
        let at = endpoints.iter().position(|endpoint| *endpoint == function).unwrap();
        let parent = Parent::HostBridge { host_bridge: 0, window: 0 };
        machine.tree[function].resources[2] = Resource {
            flags: ResourceFlags::MEM | ResourceFlags::PREFETCH,
            size: Bytes::mib(2),
            align: 0,
            at: Some(Place { first: memory_of(recorded, at), parent }),
            firmware: None,
        };
        let mappable = Range::new(CpuAddr(0), CpuAddr(u64::MAX)).unwrap();
        let memory = PhysicalMemory { system_ram: &[], mappable };
        let found = p2pdma.add_resource(&machine.tree, &memory, function, 2, Bytes::ZERO, Bytes::ZERO);
        assert!(found.is_ok(), "{id}: {found:?}");
        p2pdma.publish(machine.tree[function].id, true);
    }
    Asked { machine, p2pdma, endpoints }
}

impl Asked {
    fn ask_all(&mut self) {
        for provider in &self.endpoints {
            for client in &self.endpoints {
                let (tree, machine) = (&self.machine.tree, &self.machine);
                self.p2pdma.calculate(tree, machine, *provider, *client, true);
            }
        }
        self.p2pdma.take_log();
    }

    /// Nearest providers, as positions among the endpoints. Recordings leave searches without result out.
    fn nearest(&mut self, clients: &str) -> BTreeSet<u64> {
        let clients: Vec<Client> = clients
            .split(',')
            .map(|at| Client::Function(self.endpoints[at.parse::<usize>().unwrap()]))
            .collect();
        let nearest = self.p2pdma.nearest(&self.machine.tree, &self.machine, &clients);
        let position = |function| self.endpoints.iter().position(|endpoint| *endpoint == function);
        nearest.into_iter().map(|function| position(function).unwrap() as u64).collect()
    }

    fn searches(&mut self, phase: &Value, tally: &mut Tally, missed: &mut usize) {
        for (clients, picked) in phase["find"].as_object().into_iter().flatten() {
            let nearest = self.nearest(clients);
            let picked: BTreeSet<u64> = items(picked).map(|at| at.as_u64().unwrap()).collect();
            let missing = nearest.difference(&picked).count();
            *missed += missing;
            let same = picked.is_subset(&nearest) && (missing == 0 || nearest.len() >= 8 && missing == 1);
            tally.count(same, || format!("{} {clients}: {nearest:?} for {picked:?}", phase["tag"]));
        }
        for at in (0..self.endpoints.len()).filter(|_| phase["find"].is_object()) {
            if phase["find"].get(at.to_string()).is_none() {
                let nearest = self.nearest(&at.to_string());
                tally.count(nearest.is_empty(), || format!("{} {at}: {nearest:?} for none", phase["tag"]));
            }
        }
    }

    fn mappings(&mut self, phase: &Value, translated: bool, tally: &mut Tally) {
        for row in items(&phase["map"]) {
            let [provider, client] =
                [0, 1].map(|column| self.endpoints[usize::try_from(row[column].as_u64().unwrap()).unwrap()]);
            let id = self.machine.tree[provider].id;
            let address = self.p2pdma.alloc(id, Bytes(4096)).unwrap();
            let (state, client) = (&mut MapState::default(), Client::Function(client));
            let found = self.p2pdma.map_page(&self.machine.tree, &self.machine, state, client, address);
            self.p2pdma.free(id, address, Bytes(4096)).unwrap();
            let recorded = |way: &str| row[2] == 0 && text(&row[5]) == way;
            let same = match found.unwrap() {
                Ok(DmaMapping::Bus(bus)) => recorded("1") && hex(text(&row[4])) == bus.0,
                Ok(DmaMapping::Cpu(cpu)) => recorded("0") && (translated || hex(text(&row[4])) == cpu.0),
                Err(_) => row[2] == -121,
            };
            tally.count(same && hex(text(&row[3])) == address.0, || format!("{}: {row}", phase["tag"]));
        }
    }
}

#[test]
fn random_machines_search_and_map_as_recorded() {
    let path = conformance().join("random/p2p.jsonl");
    let Ok(lines) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is absent", path.display());
        return;
    };
    let (mut searches, mut mappings, mut missed) = (Tally::default(), Tally::default(), 0);
    for line in lines.lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let translated = text(&recorded["cmdline"]).contains("iommu");
        for profile in [Profile::Linux_6_12, Profile::Linux_7_3] {
            let mut asked = prepare(&recorded, profile);
            for phase in items(&recorded["phases"]) {
                enter(&mut asked.machine, phase);
                asked.ask_all();
                asked.searches(phase, &mut searches, &mut missed);
                asked.mappings(phase, translated, &mut mappings);
            }
            let ids = asked.endpoints.iter().map(|endpoint| asked.machine.tree[*endpoint].id);
            let types = ids.clone().flat_map(|from| ids.clone().map(move |to| (from, to)));
            let cached = types.filter(|(from, to)| asked.p2pdma.cached(*from, *to).is_some()).count();
            let providers = items(&recorded["providers"]).count();
            assert_eq!(cached, providers * asked.endpoints.len());
        }
    }
    println!("random searches: {}; {missed} candidates not picked in 64 tries", searches.agreed());
    println!("random mappings by cached types: {}", mappings.agreed());
}
