//! The NVMe target of a `PeerMemory` as written → [`peerbus_system::peer_memory::Target`], and whether it fits a machine.

use peerbus_machine::Machine;
use peerbus_machine::part::DeviceKind;
use peerbus_system::expand::device_list;
use peerbus_system::peer_memory::{PeerMemory, Target, TargetMemory};
use peerbus_system::workload::WhenRefused;

use super::context::{Context, Place};
use crate::{codes, file};

impl Context<'_> {
    /// The target of the workload at `place`, if it has one.
    pub fn target(&mut self, given: &file::PeerMemory, place: &Place) -> Option<Option<Target>> {
        let Some(target) = &given.target else { return Some(None) };
        let at = place.field("target");
        let namespace = self.require(&target.namespace, &at, "namespace", "a drive, such as \"ssd0\"");
        let memory = self.choice(&target.memory, &at, "memory");
        let decided = [
            ("choose", given.choose.is_some()),
            ("user", given.user.is_some()),
            ("refused", given.refused.is_some()),
        ];
        for (field, _) in decided.into_iter().filter(|(_, is_given)| *is_given) {
            let message = format!("`{field}` is decided by the target");
            self.error(codes::WRONG_TARGET, &place.field(field), message, "leave it out");
        }
        let free = decided.iter().all(|(_, is_given)| !is_given);
        Some(Some(Target { namespace: namespace?, memory: memory? })).filter(|_| free)
    }

    /// What happens to requests that get no memory.
    pub fn when_refused(&mut self, given: &file::PeerMemory, place: &Place) -> Option<WhenRefused> {
        match given.target {
            Some(_) => Some(WhenRefused::Stage),
            None => self.choice(&given.refused, place, "refused"),
        }
    }

    /// Reports everything about the target of `memory` that `machine` does not have.
    pub fn fit_target(&mut self, memory: &PeerMemory, moves: bool, place: &Place, machine: &Machine) {
        let Some(target) = &memory.target else { return };
        let place = place.field("target");
        if let TargetMemory::Named(name) = &target.memory {
            let at = place.field("memory");
            let named = self.one_device(name, &at, machine);
            if let Some(named) = named.filter(|_| moves) {
                self.linked(named, &at, machine);
            }
        }
        let at = place.field("namespace");
        let Some(drive) = self.one_device(&target.namespace, &at, machine) else { return };
        if machine.devices[drive].part.kind != DeviceKind::Ssd {
            let message = format!("`{}` is no drive", target.namespace);
            self.error(codes::WRONG_TARGET, &at, message, "choose an NVMe drive");
        }
        if device_list(machine, &memory.clients).contains(&drive) {
            let message = format!("`{}` is a client, too", target.namespace);
            self.error(codes::SAME_DEVICE, &at, message, "let `clients` name the adapters alone");
        }
        if moves {
            self.linked(drive, &at, machine);
        }
    }
}
