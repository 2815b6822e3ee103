//! `plan` and `p2p`: what the operating system makes of a machine, before anything moves.

use anyhow::bail;
use peerbus_machine::{Diagnostic, FunctionIndex};
use peerbus_system::boot::{BootOptions, boot};
use peerbus_system::kernel::{KernelSettings, ProblemKind};
use peerbus_system::p2p::{MapType, matrix, render_matrix};
use peerbus_system::plan::{self, Plan, render_dump, render_plan};
use peerbus_system::why::{FindError, find, render_why, why};
use serde::Serialize;

use crate::args::{self, Format, PlanFormat};
use crate::files::{self, Destination};
use crate::machines::machine;
use crate::terminal::{Sources, Terminal};
use crate::{Answer, codes, device_memory};

/// Shows the address plan; the answer is no when something has no place in it.
pub fn plan(args: &args::Plan, terminal: &Terminal) -> anyhow::Result<Answer> {
    let destination = Destination::open(args.output.as_deref())?;
    let machine = machine(&args.machine, terminal)?;
    let settings = settings(&args.kernel, terminal)?;
    let booted = boot(&machine, &settings, &BootOptions { reassign: args.reassign });
    if args.device_memory.device_memory {
        return device_memory::plan(args, &machine, &booted, destination);
    }
    let plan = plan::plan(&machine, &booted);
    let text = match args.format() {
        PlanFormat::Text => render_plan(&plan),
        PlanFormat::Json => json(&plan)?,
        PlanFormat::Lspci => render_dump(&machine, &booted),
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

/// Shows the peer-to-peer decisions. That some pairs are refused is an answer, and not the answer no; that the one pair
/// asked about is refused is.
pub fn p2p(args: &args::P2p, terminal: &Terminal) -> anyhow::Result<Answer> {
    let destination = Destination::open(args.output.output.as_deref())?;
    let machine = machine(&args.machine, terminal)?;
    let settings = settings(&args.kernel, terminal)?;
    let booted = boot(&machine, &settings, &BootOptions::default());
    if let Some([provider, client]) = args.why.as_deref() {
        let label = files::label(&args.machine);
        let ends = [provider, client].map(|name| find(&machine, &booted, name));
        let [Ok(provider), Ok(client)] = ends else {
            return Err(terminal.refuse(&unknown(&label, ends), &Sources::new()));
        };
        let Some(why) = why(&machine, &settings, provider, client) else {
            bail!("the operating system does not find both functions");
        };
        destination.write(&match args.output.format() {
            Format::Text => render_why(&why),
            Format::Json => json(&why)?,
        })?;
        return Ok(Answer::from(why.map_type != MapType::NotSupported));
    }
    let matrix = matrix(&machine, &booted);
    let text = match args.output.format() {
        Format::Text => render_matrix(&matrix, args.all),
        Format::Json => json(&matrix)?,
    };
    destination.write(&text)?;
    Ok(Answer::Yes)
}

/// What the options say about the kernel, if they agree with each other.
fn settings(kernel: &args::Kernel, terminal: &Terminal) -> anyhow::Result<KernelSettings> {
    let settings = kernel.settings();
    let (warnings, problems): (Vec<_>, Vec<_>) =
        settings.problems().into_iter().partition(|problem| problem.kind == ProblemKind::NoEffect);
    for warning in warnings {
        terminal.say(&format!("warning: {}", warning.message));
    }
    match problems.first() {
        Some(problem) => bail!("{}; {}", problem.message, problem.help),
        None => Ok(settings),
    }
}

/// What is wrong with names, as diagnostics.
fn unknown(label: &str, ends: [Result<FunctionIndex, FindError>; 2]) -> Vec<Diagnostic> {
    let problem = |error: FindError| {
        Diagnostic::error(codes::NO_SUCH_FUNCTION, label, error.to_string()).help(error.help())
    };
    ends.into_iter().filter_map(Result::err).map(problem).collect()
}

/// A document as JSON, ending with a newline.
pub fn json(value: &impl Serialize) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}
