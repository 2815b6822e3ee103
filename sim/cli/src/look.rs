//! `plan` and `p2p`: what the operating system makes of a machine, before anything moves.

use peerbus_system::boot::{BootOptions, boot};
use peerbus_system::kernel::KernelSettings;
use peerbus_system::p2p::{matrix, render_matrix};
use peerbus_system::plan::{self, Plan, render_plan};
use serde::Serialize;

use crate::Answer;
use crate::args::{self, Format};
use crate::files::Destination;
use crate::machines::machine;
use crate::terminal::Terminal;

/// Shows the address plan; the answer is no when something has no place in it.
pub fn plan(args: &args::Plan, terminal: &Terminal) -> anyhow::Result<Answer> {
    let destination = Destination::open(args.output.output.as_deref())?;
    let machine = machine(&args.machine, terminal)?;
    let settings = KernelSettings { profile: args.profile, ..KernelSettings::default() };
    let booted = boot(&machine, &settings, &BootOptions { reassign: args.reassign });
    let plan = plan::plan(&machine, &booted);
    let text = match args.output.format() {
        Format::Text => render_plan(&plan),
        Format::Json => json(&plan)?,
    };
    destination.write(&text)?;
    Ok(Answer::from(fits(&plan)))
}

/// True when every function is reached and every BAR and window in memory space has an address. I/O ports need
/// none: PCI Express keeps them for old software, and drivers go on without.
fn fits(plan: &Plan) -> bool {
    plan.resources.iter().all(|resource| resource.why_not.is_none() || resource.kind == "io")
        && plan.functions.iter().all(|function| function.function.is_some())
}

/// Shows the peer-to-peer decisions. That some pairs are refused is an answer, and not the answer no.
pub fn p2p(args: &args::P2p, terminal: &Terminal) -> anyhow::Result<Answer> {
    let destination = Destination::open(args.output.output.as_deref())?;
    let machine = machine(&args.machine, terminal)?;
    let settings =
        KernelSettings { profile: args.profile, acs: args.acs.policy(), ..KernelSettings::default() };
    let booted = boot(&machine, &settings, &BootOptions::default());
    let matrix = matrix(&machine, &booted);
    let text = match args.output.format() {
        Format::Text => render_matrix(&matrix),
        Format::Json => json(&matrix)?,
    };
    destination.write(&text)?;
    Ok(Answer::Yes)
}

fn json(value: &impl Serialize) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}
