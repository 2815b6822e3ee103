//! [`Situation`]: a machine and its kernel with some steps done, and the kernel's answer there.

use std::borrow::Cow;

use peerbus_machine::Machine;
use peerbus_machine::model::FunctionIndex;
use peerbus_os::pci::{AcsWord, ResourceRef, acs_control, set_acs_control};
use peerbus_os::{AllowedHostBridge, CpuVendor, MapType, RulesOptions};
use peerbus_units::FunctionId;

use super::change::{Goal, Step};
use super::parameter::parameter;
use crate::boot::{BootOptions, Booted, boot, firmware};
use crate::kernel::{AcsPolicy, IommuMode, KernelSettings};

/// What the question is about; the indices are the machine's, and stay when cards move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub provider: FunctionIndex,
    pub client: FunctionIndex,
}

/// A machine before it boots, and what is done to it afterwards.
#[derive(Clone, Debug)]
pub(super) struct Situation<'a> {
    pub machine: Cow<'a, Machine>,
    pub settings: KernelSettings,
    /// Steps that are words on the command line.
    said: Vec<Step>,
    /// Bits cleared once the kernel runs.
    cleared: Vec<(FunctionId, u16)>,
    also_listed: [Option<AllowedHostBridge>; 2],
}

/// A situation after it booted.
pub(super) struct Outcome {
    pub booted: Booted,
    pub map_type: MapType,
    pub distance: u32,
    /// True when the client gets an address, as it does where the BAR has found a place.
    pub usable: bool,
}

impl Outcome {
    pub fn goal(&self) -> Option<Goal> {
        Goal::reached(self.map_type.into())
    }
}

impl<'a> Situation<'a> {
    pub fn new(machine: &'a Machine, settings: &KernelSettings) -> Situation<'a> {
        Situation {
            machine: Cow::Borrowed(machine),
            settings: settings.clone(),
            said: Vec::new(),
            cleared: Vec::new(),
            also_listed: [None; 2],
        }
    }

    /// This with more steps done; `None` when one of them cannot be done.
    pub fn with<'s>(&self, steps: impl IntoIterator<Item = &'s Step>) -> Option<Situation<'a>> {
        let mut changed = self.clone();
        for step in steps {
            changed.take(step)?;
        }
        Some(changed)
    }

    fn take(&mut self, step: &Step) -> Option<()> {
        match step {
            Step::DisableAcsRedirect { .. } | Step::ConfigureAcs { .. } => self.said.push(step.clone()),
            Step::NoAcsRequest => {
                self.said.push(step.clone());
                if self.settings.acs == AcsPolicy::On {
                    self.settings.acs = AcsPolicy::FirmwareDefault;
                }
                self.settings.iommu = Some(IommuMode::None);
            }
            Step::FirmwareBits { port, bits, .. } => {
                let index = by_path(&self.machine, port)?;
                let acs = self.machine.to_mut().functions[index].acs.as_mut()?;
                acs.control &= !bits;
            }
            Step::ClearBits { function, bits } => self.cleared.push((*function, *bits)),
            Step::Move { device, port } => {
                let device = self.machine.device(device)?;
                let port = by_path(&self.machine, port)?;
                self.machine = Cow::Owned(self.machine.with_device_moved(device, port)?);
            }
            Step::Exchange { device, with } => {
                let (device, with) = (self.machine.device(device)?, self.machine.device(with)?);
                self.machine = Cow::Owned(self.machine.with_devices_exchanged(device, with)?);
            }
            Step::Kernel { profile } => self.settings.profile = *profile,
            Step::ListHostBridge { vendor, device } => {
                let row =
                    AllowedHostBridge { vendor: *vendor, device: Some(*device), same_host_bridge: false };
                *self.also_listed.iter_mut().find(|row| row.is_none())? = Some(row);
            }
        }
        Some(())
    }

    /// Boots and asks.
    pub fn outcome(&self, pair: Pair) -> Option<Outcome> {
        let mut booted = boot(&self.machine, &self.told(), &BootOptions::default());
        let options = RulesOptions { also_listed: self.also_listed, ..RulesOptions::default() };
        booted.rules = self.settings.profile.profile().rules(options);
        for (function, bits) in &self.cleared {
            clear(&mut booted, *function, *bits);
        }
        answer(booted, pair)
    }

    /// The settings with everything on the command line that is said there. Where nothing is, a machine that was captured
    /// running stays as its own kernel had set it.
    fn told(&self) -> KernelSettings {
        let mut settings = self.in_force();
        match parameter(&settings, self.vendor(), &self.said) {
            None => self.settings.clone(),
            Some(parameter) => {
                settings.cmdline = format!("{} {parameter}", settings.cmdline).trim_start().to_owned();
                settings
            }
        }
    }

    /// The settings, those of the machine's capture where they leave something open.
    pub fn in_force(&self) -> KernelSettings {
        self.settings.or_captured(&self.machine.capture)
    }

    /// The CPU's, by which the name of the IOMMU's parameter goes.
    pub fn vendor(&self) -> CpuVendor {
        let cpu = self.machine.cpus.first();
        cpu.map_or(CpuVendor::Other, |cpu| CpuVendor::from_cpuinfo(&cpu.part.vendor))
    }

    /// True when something asks for ACS at boot.
    pub fn requests_acs(&self) -> bool {
        self.settings.acs == AcsPolicy::On || self.in_force().iommu_in_use(firmware(&self.machine)).is_on()
    }
}

fn answer(booted: Booted, pair: Pair) -> Option<Outcome> {
    let resolution = booted.resolve(pair.provider, pair.client)?;
    let placed = |bar| {
        let function = booted.os_function(pair.provider)?;
        booted.tree.resource(ResourceRef { function, number: bar }).range()
    };
    let usable = booted.peer_bar(pair.provider).is_none_or(|bar| placed(bar).is_some());
    Some(Outcome { map_type: resolution.map_type, distance: resolution.distance, usable, booted })
}

/// Clears bits of an ACS control word, as `setpci` does.
fn clear(booted: &mut Booted, function: FunctionId, bits: u16) {
    let Some(index) = booted.tree.find(function) else { return };
    if let Some(word) = acs_control(&booted.tree, &booted.registers, index) {
        set_acs_control(&booted.tree, &mut booted.registers, index, AcsWord(word.0 & !bits));
    }
}

fn by_path(machine: &Machine, path: &str) -> Option<FunctionIndex> {
    machine.functions.node_indices().find(|index| machine.functions[*index].name == path)
}
