//! Does what a change says, without the code that found it: machine, command line and registers are changed here, and
//! the whole matrix is asked.

use peerbus_machine::Machine;
use peerbus_os::{AllowedHostBridge, ConfigAccess, RulesOptions};
use peerbus_system::boot::{BootOptions, boot};
use peerbus_system::kernel::{AcsPolicy, IommuMode, KernelSettings};
use peerbus_system::p2p::{MapType, matrix};
use peerbus_system::why::{Change, Goal, Step};
use peerbus_units::FunctionId;

/// The answer for two devices after these steps; `None` when they cannot be done.
pub fn redo(
    machine: &Machine,
    settings: &KernelSettings,
    steps: &[Step],
    pair: (&str, &str),
) -> Option<MapType> {
    let (mut machine, mut settings) = (machine.clone(), settings.clone());
    let (mut written, mut rows): (Vec<(FunctionId, u16)>, Vec<AllowedHostBridge>) = Default::default();
    let (mut disabled, mut configured): (Vec<String>, Vec<String>) = Default::default();
    for step in steps {
        match step {
            Step::DisableAcsRedirect { function } => disabled.push(function.to_string()),
            Step::ConfigureAcs { function, bits } => configured.push(format!("{bits}@{function}")),
            Step::ClearBits { function, bits } => written.push((*function, *bits)),
            Step::NoAcsRequest => {
                settings.iommu = Some(IommuMode::None);
                settings.acs = AcsPolicy::FirmwareDefault;
            }
            Step::FirmwareBits { port, bits, .. } => {
                let mut functions = machine.functions.node_weights_mut();
                let function = functions.find(|function| function.name == *port)?;
                function.acs.as_mut()?.control &= !bits;
            }
            Step::Move { device, port } => {
                let slots = machine.free_slots();
                let slot = slots.into_iter().find(|slot| machine.functions[*slot].name == *port)?;
                machine = machine.with_device_moved(machine.device(device)?, slot)?;
            }
            Step::Exchange { device, with } => {
                machine = machine.with_devices_exchanged(machine.device(device)?, machine.device(with)?)?;
            }
            Step::Kernel { profile } => settings.profile = *profile,
            Step::ListHostBridge { vendor, device } => {
                rows.push(AllowedHostBridge {
                    vendor: *vendor,
                    device: Some(*device),
                    same_host_bridge: false,
                });
            }
        }
    }
    // What is named already stays named.
    let told = settings.or_captured(&machine.capture);
    let said = told.parameters().pci;
    let lists = [
        ("disable_acs_redir", disabled, said.disable_acs_redir),
        ("config_acs", configured, said.config_acs),
    ];
    for (name, mut list, old) in lists {
        if !list.is_empty() {
            list.extend(old);
            settings.cmdline = format!("{} pci={name}={}", told.cmdline, list.join(";"));
        }
    }
    let mut booted = boot(&machine, &settings, &BootOptions::default());
    let also_listed = [rows.first().copied(), rows.get(1).copied()];
    booted.rules = settings.profile.profile().rules(RulesOptions { also_listed, ..RulesOptions::default() });
    for (function, bits) in written {
        let position = booted.tree[booted.tree.find(function)?].capabilities.acs?;
        let word = booted.registers.read_word(function, position + 6);
        booted.registers.write_word(function, position + 6, word & !bits);
    }
    let matrix = matrix(&machine, &booted);
    let id =
        |name: &str| Some(matrix.functions.iter().find(|row| row.device.as_deref() == Some(name))?.function);
    let (provider, client) = (id(pair.0)?, id(pair.1)?);
    let found = matrix.pairs.iter().find(|found| (found.provider, found.client) == (provider, client))?;
    Some(found.map_type)
}

/// The change reaches its goal, and without any part of it, it does not: every proper part of a small one, of a larger one
/// each step left out and each step alone.
pub fn check(machine: &Machine, settings: &KernelSettings, change: &Change, pair: (&str, &str)) {
    let reached = |steps: &[Step]| redo(machine, settings, steps, pair).and_then(Goal::reached);
    let all = &change.steps;
    assert_eq!(reached(all), Some(change.goal), "{pair:?} {change:#?}");
    assert_eq!(redo(machine, settings, all, pair), Some(change.map_type));
    if let Some(parameter) = &change.parameter {
        // As printed, behind what is there.
        let cmdline = format!("{} {parameter}", settings.or_captured(&machine.capture).cmdline);
        let others: Vec<Step> = all.iter().filter(|step| !is_parameter(step)).cloned().collect();
        let settings = KernelSettings { cmdline, ..settings.clone() };
        assert_eq!(redo(machine, &settings, &others, pair), Some(change.map_type), "{parameter}");
    }
    let count = all.len();
    let masks: Vec<u32> = match count {
        0..=5 => (0..(1 << count) - 1).collect(),
        _ => (0..count).flat_map(|at| [1 << at, ((1 << count) - 1) & !(1 << at)]).collect(),
    };
    for mask in masks {
        let part: Vec<Step> = all
            .iter()
            .enumerate()
            .filter(|(at, _)| mask >> at & 1 == 1)
            .map(|(_, step)| step.clone())
            .collect();
        let better = reached(&part).is_some_and(|goal| goal <= change.goal);
        assert!(!better, "{pair:?}: {part:?} of {change:#?} is enough");
    }
}

fn is_parameter(step: &Step) -> bool {
    matches!(step, Step::DisableAcsRedirect { .. } | Step::ConfigureAcs { .. })
}
