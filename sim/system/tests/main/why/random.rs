//! Random machines: every change that is offered reaches its goal when it is done, and no part of it does. Where nothing
//! is offered there is a reason.

use peerbus_machine::model::{Acs, FunctionIndex};
use peerbus_system::boot::{BootOptions, boot};
use peerbus_system::kernel::{AcsPolicy, IommuMode, KernelSettings, ProfileName};
use peerbus_system::p2p::MapType;
use peerbus_system::why::{ChangeKind, Goal, render_why, why};
use peerbus_testing::{Random, cases};
use peerbus_units::{Bytes, FunctionId};

use super::redo::check;
use crate::build::*;

const CPUS: [CpuModel; 8] = [
    MILAN,
    HASWELL,
    ICE_LAKE,
    UNLISTED,
    UNLISTED,
    CpuModel { head: None, ..UNLISTED },
    CpuModel { vendor: "ARM", family: 8, head: Some((0x10de, 0x2f95)) },
    CpuModel { vendor: "ARM", family: 8, head: Some((0x1ae0, 0x1234)) },
];

/// Words as hardware and firmware may have them: now and then with a bit that cannot be cleared.
fn acs(random: &mut Random) -> Option<Acs> {
    let word = u16::try_from(random.next() & 0x7f).unwrap();
    match random.index(8) {
        0 => None,
        1 | 2 => Some(Acs { capability: 0x5f, control: 0x1d }),
        3 => Some(Acs { capability: 0x7f, control: word }),
        4 => Some(Acs { capability: 0x1f, control: word }),
        _ => Some(Acs { capability: 0x5f, control: 0 }),
    }
}

struct Forest {
    build: Build,
    devices: Vec<String>,
}

impl Forest {
    fn grow(random: &mut Random) -> Forest {
        let model = CPUS[random.index(CPUS.len())];
        let mut forest = Forest { build: Build::new(model), devices: Vec::new() };
        for _ in 0..1 + random.index(3) {
            let host = forest.build.host(HostSpec::default());
            if random.one_in(6) {
                let device = forest.device(host, None);
                let devfn = u8::try_from(8 * (16 + random.index(8))).unwrap();
                let (bus, domain) = (forest.build.machine.host_bridges[host].bus, 0);
                forest.build.machine.functions[device].id = Some(FunctionId { domain, bus, devfn });
            }
            for _ in 0..1 + random.index(3) {
                let port = forest.build.root_port(host);
                forest.build.machine.functions[port].acs = acs(random);
                forest.below(random, port, 2);
            }
        }
        forest
    }

    fn device(&mut self, host: usize, port: Option<FunctionIndex>) -> FunctionIndex {
        let name = format!("dev{}", self.devices.len());
        self.devices.push(name.clone());
        self.build.device(&name, host, port, &[bar(0, Bytes::mib(32), MEM64)])
    }

    fn below(&mut self, random: &mut Random, port: FunctionIndex, levels: usize) {
        match random.index(if levels == 0 { 4 } else { 8 }) {
            0 => {}
            1..=3 => {
                let host = self.build.machine.functions[port].host_bridge;
                let device = self.device(host, Some(port));
                if random.one_in(5) {
                    self.build.machine.functions[device].acs = acs(random);
                }
            }
            _ => {
                let ports = 1 + random.index(4);
                for below in self.build.switch(port, ports) {
                    self.build.machine.functions[below].acs = acs(random);
                    self.below(random, below, levels - 1);
                }
            }
        }
    }
}

/// Random machines that are tried.
fn count() -> u64 {
    u64::from(cases(200))
}

#[test]
fn every_change_does_what_it_says_and_no_part_of_it_does() {
    let seed: u64 = std::env::var("PEERBUS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    let mut counts = std::collections::BTreeMap::new();
    for case in 0..count() {
        let mut random = Random(seed.wrapping_mul(1 << 32).wrapping_add(case));
        let forest = Forest::grow(&mut random);
        if forest.devices.len() < 2 {
            continue;
        }
        let settings = KernelSettings {
            profile: ProfileName::ALL[random.index(3)],
            acs: if random.one_in(4) { AcsPolicy::On } else { AcsPolicy::FirmwareDefault },
            iommu: random.one_in(4).then_some(IommuMode::Translate),
            ..KernelSettings::default()
        };
        let machine = &forest.build.machine;
        let booted = boot(machine, &settings, &BootOptions::default());
        let [from, to] = [0; 2].map(|_| random.index(forest.devices.len()));
        let [provider, client] = [from, to].map(|at| machine.devices[at].functions[0]);
        if booted.os_function(provider).is_none() || booted.os_function(client).is_none() {
            continue;
        }
        let why = why(machine, &settings, provider, client).unwrap();
        for change in &why.changes {
            check(machine, &settings, change, (&forest.devices[from], &forest.devices[to]));
            *counts.entry((change.goal, change.kind)).or_insert(0) += 1;
        }
        let reached = |goal: Goal| why.changes.iter().any(|change| change.goal <= goal);
        let wanted = match why.map_type {
            MapType::BusAddr => vec![],
            MapType::ThruHostBridge => vec![Goal::Direct],
            MapType::NotSupported => vec![Goal::Direct, Goal::Possible],
        };
        let missed = wanted.into_iter().filter(|goal| !reached(*goal)).count();
        assert_eq!(why.hopeless.len(), missed, "case {case}: {why:#?}");
        assert!(render_why(&why).lines().all(|line| line.chars().count() <= 100), "{}", render_why(&why));
    }
    println!("{counts:?}");
    use ChangeKind::*;
    for kind in [KernelParameter, Firmware, Registers, Slot, HostBridgeTable] {
        assert!(count() < 200 || counts.keys().any(|(_, found)| *found == kind), "no case led to {kind:?}");
    }
}
