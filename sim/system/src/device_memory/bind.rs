//! What drivers take when a run begins: their requests, made of one kernel in one design, and the spaces they are taken from.

use peerbus_machine::Machine;
use peerbus_os::device_private::{ChunkPolicy, PrivateDesign};
use peerbus_units::{Bytes, Picos};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Ground;
use super::{Asker, Conditions, Design, Obstacle, Question, Refused};
use crate::boot::Booted;
use crate::kernel::ProfileName;
use crate::space::{Part, Space, SpaceKind, SpaceRefusal};

/// What drivers do with the memory of their devices when the machine has come up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Binding {
    /// What differs from the machine as described.
    pub conditions: Conditions,
    /// Where frames come from.
    pub design: FrameDesign,
    /// How much drivers ask for at a time.
    pub drivers: Drivers,
}

/// Where frames of private memory come from, as scenario files say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum FrameDesign {
    /// Unused physical addresses, as in every kernel released so far.
    #[default]
    PhysicalSpace,
    /// A space of their own, as posted.
    OwnSpace,
}

impl From<FrameDesign> for PrivateDesign {
    fn from(design: FrameDesign) -> PrivateDesign {
        match design {
            FrameDesign::PhysicalSpace => PrivateDesign::PhysicalSpace,
            FrameDesign::OwnSpace => PrivateDesign::OwnSpace,
        }
    }
}

/// How much drivers ask for at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Drivers {
    /// All memory of a device when its driver starts: amdkfd, xe.
    #[default]
    AtStart,
    /// A chunk when more is needed, in turn, until all memory is in use or one is refused: nouveau.
    OnDemand,
}

/// What became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Addresses or offsets, and RAM for page structs.
    pub spaces: Vec<Space>,
    /// Requests that were refused.
    pub refused: Vec<Refused>,
}

/// The drivers of a machine that has come up ask.
pub fn bind(machine: &Machine, booted: &Booted, profile: ProfileName, binding: &Binding) -> Bound {
    let question = Question::new(machine, booted, binding.conditions);
    question.bind(profile, binding.design.into(), binding.drivers)
}

impl Question<'_> {
    fn bind(&self, profile: ProfileName, design: PrivateDesign, drivers: Drivers) -> Bound {
        let ram = self.ram();
        let mut ground = self.ground(profile, design, &ram, 0);
        let all: u64 = ram.iter().map(|range| range.size()).sum::<Bytes>().0;
        let chunk = match drivers {
            Drivers::AtStart => None,
            Drivers::OnDemand => Some(ChunkPolicy::nouveau(&ground.platform.rules).size.0),
        };
        let mut found = Taken::default();
        match chunk {
            None => {
                for (owner, asker) in (0..).zip(&self.askers) {
                    found.ask(&mut ground, asker, owner);
                }
            }
            Some(chunk) => self.in_turn(&mut ground, chunk, &mut found),
        }
        let spaces = vec![found.addresses(&ground), found.page_structs(all)];
        let spaces = spaces.into_iter().map(|space| found.refuse(space)).collect();
        Bound { spaces, refused: found.refused }
    }

    /// Chunk by chunk until one is refused.
    fn in_turn(&self, ground: &mut Ground, chunk: u64, found: &mut Taken) {
        let most = self.askers.iter().map(|asker| asker.memory / chunk).max().unwrap_or(0);
        for turn in 0..most {
            for (owner, asker) in (0..).zip(&self.askers).filter(|(_, asker)| turn < asker.memory / chunk) {
                found.ask(ground, &Asker { memory: chunk, ..asker.clone() }, owner);
                if !found.refused.is_empty() {
                    return;
                }
            }
        }
    }
}

/// What drivers got.
#[derive(Default)]
struct Taken {
    /// Device, first byte, bytes taken.
    ranges: Vec<(String, u64, u64)>,
    /// Device and RAM of its page structs.
    structs: Vec<(String, u64)>,
    /// Bytes taken that nobody asked for.
    slack: u64,
    refused: Vec<Refused>,
}

impl Taken {
    fn ask(&mut self, ground: &mut Ground, asker: &Asker, owner: u64) {
        match ground.ask(asker, owner) {
            Ok(grant) => {
                self.slack += grant.size.saturating_sub(asker.memory);
                self.structs.push((grant.device.clone(), grant.page_structs));
                self.ranges.push((grant.device, grant.first, grant.size));
            }
            Err(refused) => self.refused.push(*refused),
        }
    }

    fn addresses(&self, ground: &Ground) -> Space {
        let own = self.ranges.iter().map(|(device, first, amount)| Part {
            first: *first,
            amount: *amount,
            owner: device.clone(),
        });
        Space { granule: self.slack, ..ground.frames().space(own.collect()) }
    }

    fn page_structs(&self, ram: u64) -> Space {
        let used: u64 = self.structs.iter().map(|(_, bytes)| *bytes).sum();
        let name = "RAM for page structs".to_owned();
        let left = ram.saturating_sub(used);
        let mut owners: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
        for (device, bytes) in &self.structs {
            *owners.entry(device).or_default() += *bytes;
        }
        Space::settled(SpaceKind::PageStructMemory, name, ram, used, left).owned_by(owners)
    }

    /// Tells a space of the requests that failed for want of it.
    fn refuse(&self, mut space: Space) -> Space {
        let kind = space.kind;
        for refused in self.refused.iter().filter(|refused| refused.lacks(kind)) {
            space.refuse(refused.at(None));
        }
        space
    }
}

impl Refused {
    /// Whether it was for want of a space of that kind: page structs, or else numbers.
    pub(crate) fn lacks(&self, kind: SpaceKind) -> bool {
        (self.obstacle == Obstacle::PageStructs) == (kind == SpaceKind::PageStructMemory)
    }

    /// As a refusal of a space; `time` is none when the machine came up.
    pub(crate) fn at(&self, time: Option<Picos>) -> SpaceRefusal {
        SpaceRefusal {
            time,
            who: self.device.clone(),
            amount: self.size,
            decided: self.obstacle.name(),
            chain: self.chain.clone(),
        }
    }
}

impl From<FrameDesign> for Design {
    fn from(design: FrameDesign) -> Design {
        PrivateDesign::from(design).into()
    }
}
