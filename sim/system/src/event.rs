//! Events: what goes wrong during a run, and when, as scenario files say it.
//!
//! A link is named by the path of its lower end (`host0/rp0/sw0`, `host0/rp0/sw0/p1/gpu0`), or by the device there
//! (`gpu0`). What happens to one direction only can be said of `…:up`, towards the root, or `…:down`.

use peerbus_fabric::{Class, Fault, LinkId, Spec};
use peerbus_machine::Machine;
use peerbus_units::{BitErrorRate, Picos};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::expand;

/// Time a link trains when an event does not say. Assumed: a change of speed takes some microseconds of training sets,
/// and more where equalisation is done anew.
pub const TRAINING: Picos = Picos::nanos(10_000);

/// Kinds of TLP that have credits of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum CreditClass {
    /// Writes.
    Posted,
    /// Read requests.
    NonPosted,
    /// Completions.
    Completion,
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum What {
    /// The link goes down; what is below it is reset.
    LinkDown,
    /// The link is up again, as fast and wide as at the start.
    LinkUp,
    /// The link trains to a lower generation, a smaller width, or both.
    Downgrade {
        /// PCIe generation.
        #[serde(rename = "gen")]
        generation: u8,
        /// Lanes: 1, 2, 4, 8, 12, 16 or 32.
        lanes: u8,
        /// How long it carries nothing; default 10us (assumed).
        #[serde(default)]
        training: Option<Picos>,
    },
    /// From now on bits arrive wrong this often; at most 1e-4.
    ErrorRate(BitErrorRate),
    /// The device is pulled out, for good.
    SurpriseRemove,
    /// The device answers no read any more.
    StopCompleting,
    /// The memory of a device or CPU has bits that its error-correcting code cannot mend: reads of it, and what its own
    /// engines send from it, carry poisoned data.
    PoisonMemory {
        /// Of so many reads one is poisoned; default 1: all of them.
        #[serde(default = "one")]
        every: u32,
    },
    /// The sender loses credits: the receiver has the room, and the sender never learns of it.
    LeakCredits {
        /// Of which kind of TLP.
        class: CreditClass,
        /// Headers.
        #[serde(default)]
        header: u32,
        /// Data, in units of 16 bytes.
        #[serde(default)]
        data: u32,
    },
}

impl What {
    /// True for what happens to a device; everything else happens to a link.
    pub fn is_of_device(self) -> bool {
        matches!(self, What::SurpriseRemove | What::StopCompleting | What::PoisonMemory { .. })
    }

    /// True for what can happen to one direction of a link.
    pub fn has_direction(self) -> bool {
        matches!(self, What::ErrorRate(_) | What::LeakCredits { .. })
    }
}

fn one() -> u32 {
    1
}

/// Something that happens at a time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When.
    pub at: Picos,
    /// To which link or device.
    pub to: String,
    /// What.
    pub what: What,
}

/// A link by name: its number in the machine, and the direction if one is said.
pub fn link(machine: &Machine, name: &str) -> Option<(usize, Option<Way>)> {
    let (path, way) = match name.rsplit_once(':') {
        Some((path, "up")) => (path, Some(Way::Up)),
        Some((path, "down")) => (path, Some(Way::Down)),
        _ => (name, None),
    };
    let of_path = machine.links.iter().position(|link| link.name == path);
    let of_device = || expand::single(machine, path).and_then(|device| machine.devices[device].link);
    Some((of_path.or_else(of_device)?, way))
}

/// A direction of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Towards the root.
    Up,
    /// Away from it.
    Down,
}

impl Event {
    /// What the fabric does then; `None` when the machine has no such link or device.
    pub(crate) fn faults(&self, machine: &Machine, spec: &Spec) -> Option<Vec<Fault>> {
        if self.what.is_of_device() {
            let node = match self.cpu(machine) {
                Some(cpu) => spec.cpu(cpu),
                None => spec.device(expand::single(machine, &self.to)?),
            };
            return Some(vec![match self.what {
                What::PoisonMemory { every } => Fault::PoisonMemory { node, every },
                What::SurpriseRemove => Fault::SurpriseRemove(node),
                _ => Fault::StopCompleting(node),
            }]);
        }
        let (index, way) = link(machine, &self.to)?;
        let name = format!("{}:up", machine.links[index].name);
        let up =
            (0..).zip(&spec.links).find(|(_, link)| link.name == name).map(|(index, _)| LinkId(index))?;
        let down = spec.links[up.0 as usize].reverse;
        let ways = match way {
            Some(Way::Up) => vec![up],
            Some(Way::Down) => vec![down],
            None if self.what.has_direction() => vec![up, down],
            None => vec![up],
        };
        Some(ways.into_iter().map(|link| self.fault(link)).collect())
    }

    /// The CPU that this happens to, if it is one, which has memory and nothing else that an event could be of.
    pub fn cpu(&self, machine: &Machine) -> Option<usize> {
        let has_memory = matches!(self.what, What::PoisonMemory { .. });
        machine.cpus.iter().position(|cpu| has_memory && cpu.name == self.to)
    }

    fn fault(&self, link: LinkId) -> Fault {
        match self.what {
            What::LinkDown => Fault::LinkDown(link),
            What::LinkUp | What::SurpriseRemove | What::StopCompleting | What::PoisonMemory { .. } => {
                Fault::LinkUp(link)
            }
            What::Downgrade { generation, lanes, training } => {
                Fault::Retrain { link, generation, lanes, time: training.unwrap_or(TRAINING) }
            }
            What::ErrorRate(rate) => Fault::ErrorRate { link, rate },
            What::LeakCredits { class, header, data } => {
                let class = match class {
                    CreditClass::Posted => Class::Posted,
                    CreditClass::NonPosted => Class::NonPosted,
                    CreditClass::Completion => Class::Completion,
                };
                Fault::LeakCredits { link, class, header, data }
            }
        }
    }
}
