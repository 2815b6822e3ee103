//! `peerbus`: simulates GPU and PCIe peer-to-peer topologies.
//!
//! This crate is the only one that touches files, the terminal, the environment and threads; what it does with
//! them is its own, what it shows comes from the crates below. The answer goes to standard output, everything else to
//! standard error, and the exit code says yes (0), no (1), or that there is no answer (2).
//!
//! Modules in reading order: [`args`] (what can be asked), [`files`] and [`terminal`] (how texts come and go),
//! [`codes`] (what can be wrong with a file as such), [`machines`] (machines named on the command line), then one
//! module per group of commands.

mod args;
mod check;
mod codes;
mod compare;
mod device_memory;
mod files;
mod help;
mod import;
mod look;
mod machines;
mod replay;
mod run;
mod sweep;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use args::{Command, Import, Root, Sweep};
use terminal::{Reported, Terminal};

/// Whether the answer is yes; decides between exit codes 0 and 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Yes,
    No,
}

impl Answer {
    fn from(yes: bool) -> Answer {
        if yes { Answer::Yes } else { Answer::No }
    }
}

/// No answer: the usage or an input is bad, or the tool failed.
const NO_ANSWER: u8 = 2;

fn main() -> ExitCode {
    let root = match Root::try_parse() {
        Ok(root) => root,
        Err(problem) => {
            // Help is printed through here too. A closed pipe is no reason to complain about.
            let _ = problem.print();
            return if problem.use_stderr() { ExitCode::from(NO_ANSWER) } else { ExitCode::SUCCESS };
        }
    };
    let terminal = Terminal::new(root.color);
    match dispatch(root.command, &terminal) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::FAILURE,
        Err(error) => {
            if error.downcast_ref::<Reported>().is_none() {
                terminal.error(&format!("{error:#}"));
            }
            ExitCode::from(NO_ANSWER)
        }
    }
}

fn dispatch(command: Command, terminal: &Terminal) -> anyhow::Result<Answer> {
    match command {
        Command::Check(args) => check::check(&args, terminal),
        Command::Plan(args) => look::plan(&args, terminal),
        Command::P2p(args) => look::p2p(&args, terminal),
        Command::Replay(args) => replay::replay(&args, terminal),
        Command::Run(args) => run::run(&args, terminal),
        Command::Sweep(Sweep::Run(args)) => sweep::run(&args, terminal),
        Command::Compare(args) => compare::compare(&args, terminal),
        Command::Import(Import::Nccl(args)) => import::nccl(&args, terminal),
        Command::Import(Import::Live(args)) => import::live(&args, terminal),
        Command::Import(Import::Lspci(args)) => import::lspci(&args, terminal),
        Command::Schema(args) => help::schema(&args),
        Command::Explain(args) => help::explain(&args),
        Command::Completions(args) => help::completions(&args),
        Command::Man(args) => help::man(&args),
    }
}
