//! The last step: host bridges in order of domain and bus, and names for everything.

use std::collections::BTreeMap;

use super::draft::{Draft, DraftDevice};
use crate::model::{Capture, CpuLink, Facts, FunctionIndex, HostBridge, Interconnect, Machine, Role, Switch};

/// What needs no finishing.
pub(super) struct Rest {
    pub name: String,
    pub source: String,
    pub cpu_links: Vec<CpuLink>,
    pub interconnects: Vec<Interconnect>,
    pub ntbs: Vec<(usize, usize)>,
    pub capture: Capture,
    pub assumed: Facts,
}

/// The machine of a draft without errors. `None` when a part is missing, which is an error reported before.
pub(super) fn finish(mut draft: Draft, rest: Rest) -> Option<Machine> {
    sort_bridges(&mut draft);
    name_functions(&mut draft);
    for link in &mut draft.links {
        link.name = draft.functions[link.lower].name.clone();
    }
    let host_bridges = draft.bridges.into_iter().enumerate().map(|(index, bridge)| {
        Some(HostBridge {
            name: format!("host{index}"),
            cpu: bridge.cpu?,
            domain: bridge.domain?,
            bus: bridge.bus?,
            bus_last: bridge.bus_last?,
            windows: bridge.windows,
            functions: bridge.functions,
            placed: bridge.placed,
            assumed: bridge.assumed,
        })
    });
    let host_bridges = host_bridges.collect::<Option<_>>()?;
    let cpus = draft.cpus.into_iter().enumerate().map(|(index, cpu)| cpu.finish(format!("cpu{index}")));
    let functions = draft.functions;
    let switches = draft.switches.into_iter().map(|switch| {
        let name = functions[switch.upstream].name.clone();
        switch.finish(name)
    });
    Some(Machine {
        name: rest.name,
        source: rest.source,
        cpus: cpus.collect::<Option<_>>()?,
        cpu_links: rest.cpu_links,
        host_bridges,
        switches: switches.collect::<Option<Vec<Switch>>>()?,
        devices: draft.devices.into_iter().map(DraftDevice::finish).collect::<Option<_>>()?,
        links: draft.links,
        functions,
        interconnects: rest.interconnects,
        ntbs: rest.ntbs,
        capture: rest.capture,
        assumed: rest.assumed,
    })
}

fn sort_bridges(draft: &mut Draft) {
    let mut order: Vec<usize> = (0..draft.bridges.len()).collect();
    order.sort_by_key(|index| (draft.bridges[*index].domain, draft.bridges[*index].bus));
    let new_index: BTreeMap<usize, usize> = order.iter().enumerate().map(|(new, old)| (*old, new)).collect();
    for function in draft.functions.node_weights_mut() {
        function.host_bridge = new_index[&function.host_bridge];
    }
    let mut bridges: Vec<_> = std::mem::take(&mut draft.bridges).into_iter().enumerate().collect();
    bridges.sort_by_key(|(old, _)| new_index[old]);
    draft.bridges = bridges.into_iter().map(|(_, bridge)| bridge).collect();
}

/// Names every function by its path: `host0/rp1/sw0/p2/gpu2`. Root ports are counted within their host bridge,
/// downstream ports within their switch, switches throughout the machine.
fn name_functions(draft: &mut Draft) {
    let mut waiting: Vec<(FunctionIndex, String)> = Vec::new();
    for (index, bridge) in draft.bridges.iter().enumerate() {
        let mut ports = 0;
        let mut head = Some("head".to_owned());
        for function in &bridge.functions {
            let own = own_name(draft, *function, ports);
            let own = if own == "head" {
                std::mem::take(&mut head).unwrap_or(numbered_head(draft, *function))
            } else {
                own
            };
            ports += usize::from(draft.functions[*function].role == Role::RootPort);
            waiting.push((*function, format!("host{index}/{own}")));
        }
    }
    while let Some((function, name)) = waiting.pop() {
        let mut below: Vec<FunctionIndex> = draft.functions.neighbors(function).collect();
        below.sort_unstable();
        let mut ports = 0;
        for child in below {
            let own = own_name(draft, child, ports);
            ports += usize::from(matches!(draft.functions[child].role, Role::SwitchDownstream(_)));
            waiting.push((child, format!("{name}/{own}")));
        }
        draft.functions[function].name = name;
    }
}

/// The last part of a function's path; `ports` of the same kind come before it.
fn own_name(draft: &Draft, function: FunctionIndex, ports: usize) -> String {
    match draft.functions[function].role {
        Role::RootBusHead if draft.functions[function].inserted => numbered_head(draft, function),
        Role::RootBusHead => "head".to_owned(),
        Role::RootPort => format!("rp{ports}"),
        Role::SwitchUpstream(switch) => format!("sw{switch}"),
        Role::SwitchDownstream(_) => format!("p{ports}"),
        Role::Endpoint(device) => {
            let device = &draft.devices[device];
            let name = device.name.clone().unwrap_or_default();
            let number = device.functions.iter().position(|other| *other == function).unwrap_or(0);
            if number == 0 { name } else { format!("{name}.{number}") }
        }
    }
}

/// The name of a head that is not the first of its root bus: with its place.
fn numbered_head(draft: &Draft, function: FunctionIndex) -> String {
    match draft.functions[function].id {
        Some(id) => format!("head{:02x}.{}", id.device(), id.function()),
        None => "head".to_owned(),
    }
}
