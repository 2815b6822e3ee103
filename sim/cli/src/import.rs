//! `import`: machine files from what other programs write.

use peerbus_machine::Catalogue;
use peerbus_machine::import::{Import, nccl as read_nccl, to_ron};

use crate::Answer;
use crate::args;
use crate::files::{self, Destination};
use crate::terminal::{Sources, Terminal};

/// Imports an NCCL topology. The machine file is written whole or, when the topology is unusable, not at all.
pub fn nccl(args: &args::Nccl, terminal: &Terminal) -> anyhow::Result<Answer> {
    let label = files::label(&args.file);
    let text = files::read_text(&args.file)
        .map_err(|problem| terminal.refuse(std::slice::from_ref(&problem), &Sources::new()))?;
    let import = read_nccl(&text, &label, &Catalogue::embedded())
        .map_err(|problems| terminal.refuse(&problems, &Sources::from([(label.clone(), text.clone())])))?;
    let written = written(&import, args, &label)?;
    Destination::open(args.output.as_deref())?.write(&written)?;
    for note in &import.notes {
        terminal.say(&format!("note: {note}"));
    }
    Ok(Answer::Yes)
}

fn written(import: &Import, args: &args::Nccl, label: &str) -> anyhow::Result<String> {
    if files::has_extension(args.output.as_deref(), "json") {
        return Ok(format!("{}\n", serde_json::to_string_pretty(&import.machine)?));
    }
    Ok(to_ron(&import.machine, &format!("Imported from the NCCL topology {label}.")))
}
