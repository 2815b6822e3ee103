//! Whether all device memory of a machine gets its page structs: where each device's range lands, what is left, and what
//! fails first.
//!
//! Every GPU's driver asks once, for all of its memory, as drivers that take everything at their start do (amdkfd, xe), and if
//! that is to be shown, chunk by chunk, as drivers do that ask when they need more (nouveau); those of CXL memory are
//! left out, whose memory is RAM. Drivers ask in the order of their functions, in which they bind. Each profile is asked in both
//! designs (`os::device_private`). A refusal comes with its chain: the granule that the request is rounded to, the
//! distance of the places that are tried, the holes there are, the limit above; and with the [`Obstacle`] that decided.
//!
//! What [`Conditions`] leave open is the machine's: the width of CPU 0 and the levels of its page tables, windows and
//! RAM as described. A machine whose CPU is no PC's counts as an arm64 machine with a distribution's kernel (pages of
//! 4 KiB, 52 configured bits, RAM's kernel image within its first 64 MiB).
//!
//! Invariants: a pure function of its arguments; a region never overlaps RAM, a window or another region; no condition leads
//! to a panic. All RAM is taken to be free for page structs.
//!
//! Modules in reading order: `ground` (physical addresses), `answer` (who gets what), `on_demand` (chunk by chunk), `bind` (in a run), `cause` (why not), `trials` (what is
//! unknown, drawn), `proportion` (how sure the trials are), `text`.

mod answer;
mod bind;
mod cause;
mod frames;
mod ground;
mod on_demand;
mod proportion;
mod text;
mod trials;

use peerbus_machine::Machine;
use peerbus_machine::part::DeviceKind;
use peerbus_os::Parameters;
use peerbus_os::device_private::{ChunkPolicy, PrivateDesign};
use peerbus_units::{Bytes, FunctionId};
use serde::Serialize;

use crate::boot::Booted;
use crate::kernel::ProfileName;
pub use crate::space::Cause;

pub use bind::{Binding, Bound, Drivers, FrameDesign, bind};
pub(crate) use cause::refused;
pub(crate) use frames::{Frames, Supply};
pub use on_demand::OnDemand;
pub use proportion::Proportion;
pub use text::render_device_memory;
pub use trials::{Draw, TrialOptions, TrialReport, TrialRow, Trials, Verdict, Weighted};

/// What may be chosen beside the machine and the kernel's command line.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Conditions {
    /// Physical address bits of the CPU, 32 to 57; `None`: those of its part. RAM and windows beyond are lost.
    pub physical_bits: Option<u8>,
    /// Levels of an x86 kernel's page tables; `None`: those of CPU 0's part. `no5lvl` goes before.
    pub paging: Option<Levels>,
    /// The machine is a guest whose firmware gives its host bridges the uppermost 1/N of physical addresses instead of their windows
    /// above 4 GiB, N from 2 on.
    pub guest_window: Option<u8>,
    /// Kernels shorten the direct map whenever they place it at random, as all did until 6.15.
    pub trimmed: bool,
    /// Drivers that ask on demand are shown, too.
    pub on_demand: bool,
}

/// Levels of page tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Levels {
    /// 46 bits of physical addresses.
    Four,
    /// 52 bits.
    Five,
}

/// A driver that will ask.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Asker {
    /// Its device.
    pub device: String,
    /// Where the device answers.
    pub function: FunctionId,
    /// Bytes that need page structs: the device's memory, rounded up to 2 MiB.
    pub memory: u64,
}

/// Everything that the answers depend on.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    machine: &'a Machine,
    parameters: Parameters,
    conditions: Conditions,
    askers: Vec<Asker>,
}

impl<'a> Question<'a> {
    /// About a booted machine. Devices that the operating system does not find have no driver.
    pub fn new(machine: &'a Machine, booted: &Booted, conditions: Conditions) -> Question<'a> {
        let asker = |device: &peerbus_machine::model::Device| {
            let gpu = device.part.kind == DeviceKind::Gpu && device.part.cxl.is_none();
            let memory = device.memory.filter(|memory| gpu && memory.0 > 0)?;
            let first = *device.functions.first()?;
            booted.os_function(first)?;
            let function = booted.registers.id(first)?;
            Some(Asker { device: device.name.clone(), function, memory: ChunkPolicy::whole(memory).size.0 })
        };
        let mut askers: Vec<Asker> = machine.devices.iter().filter_map(asker).collect();
        askers.sort_by_key(|asker| asker.function);
        Question { machine, parameters: booted.settings.parameters(), conditions, askers }
    }

    /// All drivers, in the order in which they ask.
    pub fn askers(&self) -> &[Asker] {
        &self.askers
    }

    /// The answers of all profiles in both designs.
    pub fn answers(&self) -> Vec<Answer> {
        let ram = self.ram();
        let pairs = pairs().map(|(profile, design)| self.answer(profile, design, &ram));
        pairs.collect()
    }

    /// The whole document; `trials` as far as there are any.
    pub fn document(&self, trials: Option<TrialReport>) -> DeviceMemory {
        DeviceMemory {
            schema: "peerbus.device-memory/2",
            version: env!("CARGO_PKG_VERSION"),
            machine: self.machine.name.clone(),
            conditions: self.conditions,
            ram: self.ram().iter().map(|range| range.size()).sum::<Bytes>().0,
            devices: self.askers.clone(),
            answers: self.answers(),
            trials,
        }
    }
}

/// What frames and page structs of a booted machine are taken from under a kernel, in a design or in the kernel's own, and how
/// their numbers are counted.
pub(crate) fn platform(
    machine: &Machine,
    booted: &Booted,
    profile: ProfileName,
    design: Option<PrivateDesign>,
) -> (peerbus_os::device_private::Platform, Supply) {
    let question = Question::new(machine, booted, Conditions::default());
    let own = profile.profile().rules(peerbus_os::RulesOptions::default()).pagemap.private_design;
    let ram = question.ram();
    let space = question.space(&ram, 0);
    let platform = question.platform(question.rules(profile, design.unwrap_or(own)), &space, &ram);
    let supply = Supply::of(&platform, &space);
    (platform, supply)
}

/// Every profile in both designs.
fn pairs() -> impl Iterator<Item = (ProfileName, PrivateDesign)> {
    ProfileName::ALL.into_iter().flat_map(|profile| PrivateDesign::ALL.map(|design| (profile, design)))
}

/// Everything `peerbus plan --device-memory` shows.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DeviceMemory {
    /// `peerbus.device-memory/2`.
    pub schema: &'static str,
    /// Version of this program.
    pub version: &'static str,
    /// Name of the machine.
    pub machine: String,
    /// What was chosen.
    pub conditions: Conditions,
    /// Bytes of RAM that the CPU can address.
    pub ram: u64,
    /// Who asks, in order.
    pub devices: Vec<Asker>,
    /// What they get.
    pub answers: Vec<Answer>,
    /// What becomes of what is unknown.
    pub trials: Option<TrialReport>,
}

/// What one kernel says in one design.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Answer {
    /// The kernel.
    pub profile: ProfileName,
    /// The design.
    pub design: Design,
    /// Requests are rounded up to this many bytes.
    pub granule: u64,
    /// How far the space reaches.
    pub reach: Reach,
    /// What was granted, in the order in which it was asked for.
    pub granted: Vec<Granted>,
    /// What was refused, the first failure first.
    pub refused: Vec<Refused>,
    /// Bytes of RAM that the page structs take.
    pub page_structs: u64,
    /// Bytes that are free afterwards.
    pub free: u64,
    /// Their largest hole; `None` when nothing is free.
    pub largest_hole: Option<Hole>,
    /// What becomes of drivers that ask on demand, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<OnDemand>,
}

impl Answer {
    /// True when all device memory has page structs.
    pub fn fits(&self) -> bool {
        self.refused.is_empty()
    }
}

/// The design, as documents write it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Design {
    /// Unused physical addresses.
    PhysicalSpace,
    /// Offsets in a space of its own.
    OwnSpace,
}

impl From<PrivateDesign> for Design {
    fn from(design: PrivateDesign) -> Design {
        match design {
            PrivateDesign::PhysicalSpace => Design::PhysicalSpace,
            PrivateDesign::OwnSpace => Design::OwnSpace,
        }
    }
}

impl Design {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Design::PhysicalSpace => "physical space",
            Design::OwnSpace => "own space",
        }
    }
}

/// How far a space reaches, and what ends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Reach {
    /// Its last byte.
    pub last: u64,
    /// What decides.
    pub by: ReachedBy,
}

/// What ends a space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReachedBy {
    /// The CPU's physical address bits.
    CpuWidth,
    /// What the kernel's page tables reach.
    PageTables,
    /// A direct map that randomisation has shortened.
    ShortenedDirectMap,
    /// The end of the linear map, which begins where RAM does or lower.
    LinearMap,
    /// The physical address bits that the kernel is made for.
    ConfiguredWidth,
    /// The number of a frame that a page-table entry holds.
    EntryBits,
}

/// A range of bytes: physical addresses, or offsets in a space of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Hole {
    /// Its first byte.
    pub first: u64,
    /// Bytes.
    pub size: u64,
}

/// Page structs that a device got.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Granted {
    /// The device.
    pub device: String,
    /// First byte of its range: a physical address, or an offset.
    pub first: u64,
    /// Bytes of the range, which may be more than the device has.
    pub size: u64,
    /// Bytes of RAM that its page structs take.
    pub page_structs: u64,
}

/// A request that failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refused {
    /// The device.
    pub device: String,
    /// Bytes asked for.
    pub size: u64,
    /// The kernel's name of the error; `None` where a kernel never returns.
    pub error: Option<&'static str>,
    /// What decided.
    pub obstacle: Obstacle,
    /// The chain that leads there.
    pub chain: Vec<Cause>,
}

/// What decides that a request fails.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// A hole is large enough, but no place that is tried lies in it whole.
    Alignment,
    /// There would be enough, in one piece.
    Fragments,
    /// Not enough is free below the limit.
    Limit,
    /// No RAM for page structs.
    PageStructs,
    /// Something that no machine of ours should meet: the kernel's words stand in the chain.
    Other,
}

impl Obstacle {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Obstacle::Alignment => "alignment",
            Obstacle::Fragments => "fragments",
            Obstacle::Limit => "limit",
            Obstacle::PageStructs => "page structs",
            Obstacle::Other => "other",
        }
    }
}
