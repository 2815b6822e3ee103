//! What can be asked on the command line, and its help.

mod imports;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use peerbus_system::device_memory::{Conditions, Levels, TrialOptions, Weighted};
use peerbus_system::kernel::{AcsPolicy, IommuMode, KernelSettings, MpsPolicy, ProfileName};
use peerbus_units::Bytes;

pub use imports::{Import, Live, Lspci, Nccl, Told};

const EXAMPLES_AND_CODES: &str = "\
Examples:
  peerbus p2p 2rc:2sw:4gpu@gen5x16 --profile Linux_6_12
      who may reach whose memory, and by which way, on a machine made from one line
  peerbus import nccl topo.xml -o machine.ron && peerbus plan machine.ron
      a real machine from NCCL's dump, and where its address space goes
  peerbus run scenario.ron --baseline reports/scenario.json
      run a scenario and fail when a number differs from the committed one

Exit codes:
  0    yes: valid, fits, expectations hold, nothing differs
  1    no: something does not fit, an expectation failed, a number differs
  2    no answer: wrong usage, unusable input, or a file that cannot be written
  130  interrupted";

const MACHINE_HELP: &str = "Machine file (RON or JSON), `-` for standard input, or a synthetic machine such as \
                            `2rc:2sw:4gpu@gen5x16`";

const PLAN_HELP: &str = "\
The exit code is 1 when a function is not reached, or a BAR or window in memory space has no address. I/O ports
that do not fit are listed, and are no failure: drivers go on without them.

With --device-memory, the answer is whether all memory of GPUs gets its page structs, in every kernel and in both designs;
the exit code is 1 when it does not with the kernel of --profile, as released (in physical space).

Examples:
  peerbus plan machine.ron
  peerbus plan machine.ron --device-memory --physical-bits 40
  peerbus plan machine.ron --device-memory --guest-window 8 --ram 256GiB --ram 1TiB --trials 10000 --seed 1
      how often everything fits, whatever the order in which drivers bind";

const P2P_HELP: &str = "\
With --why, the exit code is 0 when the pair can talk, direct or through the host bridge, and 1 when the kernel refuses
it. Without, it is 0 whatever the table says. --format json always holds every function with a type 0 header.

Examples:
  peerbus p2p machine.ron
  peerbus p2p machine.ron --why gpu0 gpu3
      one page: the route, what stands in the way, and the smallest changes that help
  peerbus p2p machine.ron --why host0/rp1/sw0/gpu2 0000:81:00.0 --profile Linux_6_12";

const REPLAY_HELP: &str = "\
A call that fails is a result like any other. `BUG` stands where a real kernel stops, hangs or destroys itself.

Examples:
  peerbus schema replay --template >calls.ron && peerbus replay calls.ron
  peerbus replay calls.ron --diff
      exit code 1 and the first difference when a result is not the recorded one";

const RUN_HELP: &str = "\
The report goes to standard output, the comparison with a baseline to standard error. With --format json several
scenarios make a list of documents. A folder of scenarios is answered with one summary of measured and predicted
values.

Examples:
  peerbus run scenario.ron --html report.html
  peerbus run scenario.ron --bless
      writes reports/scenario.json
  peerbus run scenario.ron --baseline reports/scenario.json";

/// Simulates GPU and PCIe peer-to-peer topologies
///
/// A machine's operating system enumerates its buses, places its address windows and decides about peer-to-peer
/// as Linux does; its fabric then carries every packet by address. The answer goes to standard output, all else to
/// standard error.
#[derive(Parser, Debug)]
#[command(name = "peerbus", version, after_long_help = EXAMPLES_AND_CODES)]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Root {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// When to use colours; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
}

/// When to use colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Color {
    /// When writing to a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Find everything wrong with machine, scenario and replay files
    Check(Check),
    /// Show where a machine's functions get their addresses, and what does not fit
    Plan(Plan),
    /// Show who may send peer-to-peer requests to whom, and by which way
    P2p(P2p),
    /// Make calls into the operating system's allocators, and show what they return
    Replay(Replay),
    /// Run scenarios and check their expectations
    Run(Run),
    /// Run a scenario at every combination of values of its `sweep`
    #[command(subcommand)]
    Sweep(Sweep),
    /// Compare two results of `run --format json`
    Compare(Compare),
    /// Make a machine file from what other programs write about a real machine
    #[command(subcommand)]
    Import(Import),
    /// Print the JSON schema of a kind of file, or a commented template
    Schema(Schema),
    /// Explain a diagnostic code
    Explain(Explain),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page
    Man(Man),
}

/// Forms of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Arguments of `check`.
#[derive(Args, Debug)]
pub struct Check {
    /// Machine, scenario, replay or part files; which one is told by their content. `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Where an answer goes and how it is written.
#[derive(Args, Debug)]
pub struct Output {
    /// Form of the answer; without it, the extension of FILE decides (.json), else text
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Write the answer to FILE instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl Output {
    /// The form asked for.
    pub fn format(&self) -> Format {
        let json = || crate::files::has_extension(self.output.as_deref(), "json");
        self.format.unwrap_or_else(|| if json() { Format::Json } else { Format::Text })
    }
}

/// Arguments of `plan`.
#[derive(Args, Debug)]
#[command(after_long_help = PLAN_HELP)]
pub struct Plan {
    #[arg(help = MACHINE_HELP)]
    pub machine: PathBuf,
    #[command(flatten)]
    pub kernel: Kernel,
    /// Ignore addresses that the machine file fixes: the operating system places everything
    #[arg(long)]
    pub reassign: bool,
    #[command(flatten)]
    pub device_memory: DeviceMemory,
    /// Form of the answer; without it, the extension of FILE decides (.json), else text
    #[arg(long, value_enum)]
    pub format: Option<PlanFormat>,
    /// Write the answer to FILE instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What to ask about page structs of device memory.
#[derive(Args, Debug)]
#[command(next_help_heading = "Device memory")]
pub struct DeviceMemory {
    /// Show instead whether all device memory gets its page structs, where they land, and what fails first
    #[arg(long)]
    pub device_memory: bool,
    /// Physical address bits of the CPU, instead of its part's
    #[arg(long, requires = "device_memory", value_name = "N", value_parser = clap::value_parser!(u8).range(32..=57))]
    pub physical_bits: Option<u8>,
    /// Levels of page tables of an x86 kernel; default: as many as its CPU walks
    #[arg(long, requires = "device_memory", value_name = "N", value_parser = clap::value_parser!(u8).range(4..=5))]
    pub paging: Option<u8>,
    /// The machine is a guest whose windows above 4 GiB are the uppermost 1/N of physical addresses
    #[arg(long, requires = "device_memory", value_name = "N", value_parser = clap::value_parser!(u8).range(2..=128))]
    pub guest_window: Option<u8>,
    /// Kernels shorten the direct map, as they did until 6.15
    #[arg(long, requires = "device_memory")]
    pub trimmed: bool,
    /// Show also drivers that ask for little at a time, as nouveau does, until one is refused
    #[arg(long, requires = "device_memory")]
    pub on_demand: bool,
    /// Draw the order in which drivers ask this many times, and count how often everything fits
    #[arg(long, requires = "device_memory", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub trials: Option<u32>,
    /// Seed of the trials
    #[arg(long, requires = "trials", value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// A size of RAM that trials draw, and its weight (default 1); may be repeated, or be a list with commas
    #[arg(long, requires = "trials", value_name = "SIZE[:WEIGHT]", value_delimiter = ',', value_parser = weighted_size)]
    pub ram: Vec<Weighted>,
    /// A number of GPUs that trials draw, and its weight (default 1); may be repeated, or be a list with commas
    #[arg(long, requires = "trials", value_name = "N[:WEIGHT]", value_delimiter = ',', value_parser = weighted_count)]
    pub gpus: Vec<Weighted>,
    /// Threads for trials; default one per CPU. The answer does not depend on it
    #[arg(long, requires = "trials", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

impl DeviceMemory {
    /// What is chosen beside the machine and the command line.
    pub fn conditions(&self) -> Conditions {
        let levels = |levels| if levels == 4 { Levels::Four } else { Levels::Five };
        Conditions {
            physical_bits: self.physical_bits,
            paging: self.paging.map(levels),
            guest_window: self.guest_window,
            trimmed: self.trimmed,
            on_demand: self.on_demand,
        }
    }

    /// What is to be drawn.
    pub fn trial_options(&self) -> Option<TrialOptions> {
        let trials = u64::from(self.trials?);
        Some(TrialOptions { trials, seed: self.seed, ram: self.ram.clone(), devices: self.gpus.clone() })
    }
}

/// `256GiB`, or `256GiB:3`.
fn weighted_size(text: &str) -> Result<Weighted, String> {
    let size = |text: &str| {
        let size: Bytes = text.parse().map_err(|error| format!("{error}"))?;
        if size == Bytes::ZERO { Err("a machine has some RAM".to_owned()) } else { Ok(size.0) }
    };
    weighted(text, size)
}

/// `8`, or `8:3`.
fn weighted_count(text: &str) -> Result<Weighted, String> {
    let count = |text: &str| match text.parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err(format!("`{text}` is no number from 1 to 1024")),
    };
    weighted(text, count)
}

fn weighted(text: &str, value: impl Fn(&str) -> Result<u64, String>) -> Result<Weighted, String> {
    let Some((first, weight)) = text.split_once(':') else { return value(text).map(Weighted::once) };
    match weight.parse() {
        Ok(weight @ 1..=1_000_000) => Ok(Weighted { value: value(first)?, weight }),
        _ => Err(format!("the weight `{weight}` is no number from 1 to 1000000")),
    }
}

/// Forms of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum PlanFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// Registers as `lspci -xxxx` prints them, for `lspci -F FILE`
    Lspci,
}

impl Plan {
    /// The form asked for.
    pub fn format(&self) -> PlanFormat {
        let json = || crate::files::has_extension(self.output.as_deref(), "json");
        self.format.unwrap_or_else(|| if json() { PlanFormat::Json } else { PlanFormat::Text })
    }
}

/// Arguments of `p2p`.
#[derive(Args, Debug)]
#[command(after_long_help = P2P_HELP)]
pub struct P2p {
    #[arg(help = MACHINE_HELP)]
    pub machine: PathBuf,
    #[command(flatten)]
    pub kernel: Kernel,
    /// Explain one pair: memory of A, requests by B. A and B are devices, paths or addresses
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub why: Option<Vec<String>>,
    /// Show all functions with a type 0 header, also those nobody would send anything
    #[arg(long, conflicts_with = "why")]
    pub all: bool,
    #[command(flatten)]
    pub output: Output,
}

/// The kernel and how it is told to behave.
#[derive(Args, Debug)]
pub struct Kernel {
    /// Kernel whose rules decide
    #[arg(long, value_parser = profile(), ignore_case = true, default_value = ProfileName::default().name())]
    pub profile: ProfileName,
    /// What the kernel does with ACS control words
    #[arg(long, value_enum, default_value_t = Acs::Firmware)]
    pub acs: Acs,
    /// Whether an IOMMU is in use; without it, what the command line says
    #[arg(long, value_enum)]
    pub iommu: Option<Iommu>,
    /// How payload sizes are chosen; without it, what the command line says
    #[arg(long, value_enum)]
    pub mps: Option<Mps>,
    /// Kernel command line, such as "intel_iommu=on pci=realloc,disable_acs_redir=pci:0:0"
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub cmdline: String,
}

impl Kernel {
    /// As scenario files have them.
    pub fn settings(&self) -> KernelSettings {
        KernelSettings {
            profile: self.profile,
            iommu: self.iommu.map(Iommu::policy),
            acs: self.acs.policy(),
            mps: self.mps.map(Mps::policy),
            cmdline: self.cmdline.clone(),
        }
    }
}

/// Whether an IOMMU is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Iommu {
    /// There is none, or it is off
    None,
    /// It is on, and devices are in identity domains
    Passthrough,
    /// It is on and translates
    Translate,
}

impl Iommu {
    /// As scenario files call it.
    pub fn policy(self) -> IommuMode {
        match self {
            Iommu::None => IommuMode::None,
            Iommu::Passthrough => IommuMode::Passthrough,
            Iommu::Translate => IommuMode::Translate,
        }
    }
}

/// How payload sizes are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Mps {
    /// They stay as firmware left them
    Off,
    /// A function takes the size of the port above it
    Default,
    /// One size below each root port that all support
    Safe,
    /// As large as each function and the port above it support
    Performance,
    /// 128 bytes everywhere
    PeerToPeer,
}

impl Mps {
    /// As scenario files call it.
    pub fn policy(self) -> MpsPolicy {
        match self {
            Mps::Off => MpsPolicy::Off,
            Mps::Default => MpsPolicy::Default,
            Mps::Safe => MpsPolicy::Safe,
            Mps::Performance => MpsPolicy::Performance,
            Mps::PeerToPeer => MpsPolicy::PeerToPeer,
        }
    }
}

/// What happens to ACS control words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Acs {
    /// They stay as firmware left them
    Firmware,
    /// Redirection is set, as a kernel with an isolating IOMMU does
    On,
    /// Redirection is cleared everywhere
    Off,
}

impl Acs {
    /// As scenario files call it.
    pub fn policy(self) -> AcsPolicy {
        match self {
            Acs::Firmware => AcsPolicy::FirmwareDefault,
            Acs::On => AcsPolicy::On,
            Acs::Off => AcsPolicy::Off,
        }
    }
}

/// Arguments of `replay`.
#[derive(Args, Debug)]
#[command(after_long_help = REPLAY_HELP)]
pub struct Replay {
    /// Replay file (RON or JSON), `-` for standard input
    pub file: PathBuf,
    /// Compare with the results that the file recorded; a difference is exit code 1
    #[arg(long)]
    pub diff: bool,
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `run`.
#[derive(Args, Debug)]
#[command(after_long_help = RUN_HELP)]
pub struct Run {
    /// Scenario files, or a folder of them; all are run, in parallel where threads allow
    #[arg(required = true, value_name = "SCENARIO")]
    pub scenarios: Vec<PathBuf>,
    /// Seed of all random streams, instead of the scenario's
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads for variants and scenarios; default one per CPU. The answer does not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Everything instead of what fits a screen or two
    #[arg(long)]
    pub verbose: bool,
    /// Also write an HTML report
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Compare with this baseline; differences are exit code 1
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Differences that are allowed, and why
    #[arg(long, value_name = "FILE", requires = "baseline")]
    pub policy: Option<PathBuf>,
    /// Write the result as the baseline: to the file of --baseline, else to reports/NAME.json (a folder's: NAME.md)
    #[arg(long)]
    pub bless: bool,
    #[command(flatten)]
    pub output: Output,
}

/// What to do with sweeps.
#[derive(Subcommand, Debug)]
pub enum Sweep {
    /// Run every point, and write a line of JSON for each
    Run(SweepRun),
}

const SWEEP_HELP: &str = "\
Each line holds a point's values, its flows with where their time went, errors and expectations. The exit code is 1 when an
expectation fails at any point.

Examples:
  peerbus sweep run scenarios/explore-placement.ron -o out.jsonl
  peerbus sweep run scenario.ron | jq -c '[.values, .flows[0].throughput_gbytes_per_s]'";

/// Arguments of `sweep run`.
#[derive(Args, Debug)]
#[command(after_long_help = SWEEP_HELP)]
pub struct SweepRun {
    /// Scenario file with a `sweep`
    pub scenario: PathBuf,
    /// Seed of all random streams, instead of the scenario's
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads; default one per CPU. The answer does not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Write the lines to this file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Forms of a comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ComparisonFormat {
    /// For people
    Text,
    /// For a comment on a change
    Markdown,
    /// For programs
    Json,
}

/// Arguments of `compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// The document that holds, usually a committed baseline
    pub base: PathBuf,
    /// The document to judge
    pub new: PathBuf,
    /// Differences that are allowed, and why
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = ComparisonFormat::Text)]
    pub format: ComparisonFormat,
    /// Make NEW the baseline: write it to BASE and succeed
    #[arg(long)]
    pub bless: bool,
}

/// Kinds of files people write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum FileKind {
    /// Machine files
    Machine,
    /// Scenario files
    Scenario,
    /// Replay files
    Replay,
}

/// Arguments of `schema`.
#[derive(Args, Debug)]
pub struct Schema {
    /// Kind of file
    #[arg(value_enum)]
    pub kind: FileKind,
    /// A commented file in RON to start from, instead of the schema
    #[arg(long)]
    pub template: bool,
}

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub struct Explain {
    /// A code such as M0101
    pub code: String,
}

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Args, Debug)]
pub struct Man {
    /// A command, for its own page
    pub command: Option<String>,
}

fn profile() -> impl TypedValueParser<Value = ProfileName> {
    let names = ProfileName::ALL.map(ProfileName::name);
    PossibleValuesParser::new(names).try_map(|given| {
        let found = ProfileName::ALL.into_iter().find(|profile| profile.name().eq_ignore_ascii_case(&given));
        found.ok_or_else(|| format!("no kernel is called {given}"))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Root::command().debug_assert();
    }

    #[test]
    fn short_help_fits_a_screen() {
        let help = Root::command().render_help().to_string();
        assert!(help.lines().count() <= 24, "{help}");
    }

    #[test]
    fn long_help_teaches() {
        let help = Root::command().render_long_help().to_string();
        assert!(help.matches("\n  peerbus ").count() >= 3, "{help}");
        assert!(help.contains("Exit codes:"), "{help}");
    }
}
