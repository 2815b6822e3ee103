//! [`run`]: boots the machine, asks the operating system for addresses, lets the workloads run, collects results.
//!
//! Modules in reading order: `flow` (what a flow is and does), `schedule` (which flows run when), `resolve`
//! (addresses, as the operating system gives them), `region` (memory mapped for flows), `through` (bridges between hosts), `access` (loads and stores of cores and devices), `commands` (drives
//! and adapters), `peer_memory` (clients of peer memory), `shared_virtual` and `shared_buffer` (memory of processes, and buffers), `drive` (the loop),
//! `collect` (the outcome).

mod access;
mod classes;
mod collect;
mod commands;
mod counters;
mod drive;
mod failures;
mod flow;
mod host_dma;
mod peer_memory;
mod region;
mod resolve;
mod schedule;
mod shared_buffer;
mod shared_plan;
mod shared_virtual;
mod through;

use peerbus_fabric::{Fabric, LinkLayer, Options, Scaling, Spec, supports};
use peerbus_machine::Machine;
use peerbus_units::{Bytes, Iova, Range};

use crate::aperture::Aperture;
use crate::boot::{BootOptions, Booted, boot};
use crate::device_memory::Binding;
use crate::event::Event;
use crate::kernel::KernelSettings;
use crate::ntb::Requesters;
use crate::outcome::Outcome;
use crate::space;
use crate::workload::Workload;

pub use peerbus_fabric::{EngineId, FlowId, LinkId, NodeId, Resource};
pub use schedule::RunError;
pub use shared_virtual::{Role, costs};

/// What to run, beside the machine.
#[derive(Clone, Debug)]
pub struct RunInput {
    /// The kernel and its settings.
    pub kernel: KernelSettings,
    /// How DLLPs and skip ordered sets are charged.
    pub link_layer: LinkLayer,
    /// What happens; all workloads start at time 0 unless they say otherwise.
    pub workloads: Vec<Workload>,
    /// What goes wrong, and when.
    pub events: Vec<Event>,
    /// What devices show of their memory, where that is not all from the first byte on; of two entries for one device the
    /// later one holds.
    pub apertures: Vec<Aperture>,
    /// Tables of requesters of non-transparent bridges; where none is given it holds the devices that workloads send
    /// through that side.
    pub ntbs: Vec<Requesters>,
    /// What drivers do with the memory of their devices when the machine has come up; nothing without it.
    pub device_memory: Option<Binding>,
    /// Seed of all random streams.
    pub seed: u64,
    /// Capacities that differ from the parts', for "what if" questions.
    pub scaling: Vec<Scaling>,
}

/// The outcome, and per flow what the fabric knows of its limits as typed resources.
#[derive(Clone, PartialEq, Debug)]
pub struct RunResult {
    /// What a report shows.
    pub outcome: Outcome,
    /// Per flow of the outcome, the resources behind [`crate::outcome::FlowOutcome::limited_by`].
    pub limits: Vec<Vec<Resource>>,
    /// Every resource whose capacity a run of this machine can scale.
    pub resources: Vec<Resource>,
}

/// Runs workloads on a machine. A pure function: same input, same result.
///
/// # Errors
///
/// A workload that cannot be set up (unknown device, no bytes, …); what is refused by the operating system or by
/// the fabric is a result, not an error.
pub fn run(machine: &Machine, input: &RunInput) -> Result<Outcome, RunError> {
    run_with_limits(machine, input).map(|result| result.outcome)
}

/// Like [`run`], and tells the limits as typed resources.
///
/// # Errors
///
/// As [`run`].
pub fn run_with_limits(machine: &Machine, input: &RunInput) -> Result<RunResult, RunError> {
    run_booted(machine, boot(machine, &input.kernel, &BootOptions::default()), input)
}

/// Like [`run_with_limits`], on a machine that has come up and may have been changed since, for instance the masks of
/// its devices. The kernel settings of `input` were those it came up with.
///
/// # Errors
///
/// As [`run`].
pub fn run_booted(machine: &Machine, mut booted: Booted, input: &RunInput) -> Result<RunResult, RunError> {
    supports(machine).map_err(|problem| RunError { workload: "all".to_owned(), problem })?;
    let options = Options { link_layer: input.link_layer, scaling: input.scaling.clone() };
    let spec = Spec::new(machine, &booted.registers, &options);
    let mut schedule = schedule::plan(machine, &mut booted, &spec, input)?;
    let mappings = std::mem::take(&mut schedule.mappings);
    let mut fabric = Fabric::new(machine, &booted.registers, &options);
    fabric.set_error_seed(input.seed);
    page_out(machine, &mut fabric, &schedule)?;
    set_up(machine, &mut fabric, &schedule);
    for event in &input.events {
        let faults = event.faults(machine, &fabric.spec).ok_or_else(|| RunError {
            workload: "events".to_owned(),
            problem: format!("{} has no link or device `{}`", machine.name, event.to),
        })?;
        faults.into_iter().for_each(|fault| fabric.plan(event.at, fault));
    }
    let driven = drive::drive(machine, &booted, fabric, schedule, input.seed);
    let io = space::io_addresses(machine, &booted);
    for mapping in mappings {
        let unmapped = booted.unmap(mapping);
        assert!(unmapped.is_ok(), "a flow's memory is not mapped any more: {unmapped:?}");
    }
    Ok(collect::collect(machine, input, &booted, driven, io))
}

/// Takes the pages that are absent out of the tables.
fn page_out(machine: &Machine, fabric: &mut Fabric, schedule: &schedule::Schedule) -> Result<(), RunError> {
    for (device, base, bytes, absent) in schedule.absent.iter().copied() {
        let Some(range) = Range::sized(Iova(base), Bytes(bytes)) else { continue };
        let function = machine.devices[device].functions[0];
        if !fabric.is_translated_for(function) {
            let name = &machine.devices[device].name;
            let problem = format!("pages can be absent where an IOMMU translates, and none does for {name}");
            return Err(RunError { workload: "absent".to_owned(), problem });
        }
        fabric.page_out(function, range, absent.hundredths, absent.software);
    }
    Ok(())
}

/// What drivers write into devices before the run: tables of pages, windows and requesters.
fn set_up(machine: &Machine, fabric: &mut Fabric, schedule: &schedule::Schedule) {
    for (device, shown) in schedule.shown.iter().enumerate() {
        if let Some(shown) = shown {
            fabric.show(device, shown.clone());
        }
    }
    for window in &schedule.bridges.windows {
        assert!(fabric.lead_window(window.device, window.bar, window.to), "a planned window is there");
    }
    for (side, requester) in &schedule.bridges.requesters {
        let function = machine.devices[*requester].functions[0];
        assert!(fabric.admit_requester(*side, function), "a planned table has room");
    }
}
