//! `import`: machine files from what other programs write.

use std::path::Path;

use peerbus_machine::Catalogue;
use peerbus_machine::import::{self, Capture, Import, Processor, Text, to_ron};

use crate::Answer;
use crate::args;
use crate::files::{self, Destination};
use crate::terminal::{Sources, Terminal};

/// Imports an NCCL topology. The machine file is written whole or, when the topology is unusable, not at all.
pub fn nccl(args: &args::Nccl, terminal: &Terminal) -> anyhow::Result<Answer> {
    let (label, text) = read(&args.file, terminal)?;
    let import = import::nccl(&text, &label, &Catalogue::embedded())
        .map_err(|problems| terminal.refuse(&problems, &Sources::from([(label.clone(), text.clone())])))?;
    write(&import, args.output.as_deref(), &format!("Imported from the NCCL topology {label}."), terminal)
}

/// Imports what `lspci` prints. The machine file is written whole or, when a text is unusable, not at all.
pub fn lspci(args: &args::Lspci, terminal: &Terminal) -> anyhow::Result<Answer> {
    let listing = read(&args.file, terminal)?;
    let mut others = Vec::new();
    for path in [&args.hex, &args.iomem, &args.ioports] {
        others.push(path.as_deref().map(|path| read(path, terminal)).transpose()?);
    }
    let capture = Capture {
        listing: Text { name: &listing.0, text: &listing.1 },
        dump: text(others[0].as_ref()),
        iomem: text(others[1].as_ref()),
        ioports: text(others[2].as_ref()),
        ..told(&args.told)
    };
    let import = import::lspci(&capture, &Catalogue::embedded()).map_err(|problems| {
        let sources = std::iter::once(&listing).chain(others.iter().flatten()).cloned().collect::<Sources>();
        terminal.refuse(&problems, &sources)
    })?;
    let header = format!("Imported from the lspci listing {}.", listing.0);
    write(&import, args.output.as_deref(), &header, terminal)
}

fn text(read: Option<&(String, String)>) -> Option<Text<'_>> {
    read.map(|(name, text)| Text { name, text })
}

/// What the command line says of the machine.
fn told(args: &args::Told) -> Capture<'static> {
    Capture {
        processor: Processor { identity: args.cpu.clone(), physical_bits: args.phys_bits },
        cmdline: args.cmdline.clone(),
        iommu: args.iommu.map(args::Iommu::policy),
        ..Capture::default()
    }
}

/// What a file is called, and its text.
fn read(path: &Path, terminal: &Terminal) -> anyhow::Result<(String, String)> {
    let text = files::read_text(path)
        .map_err(|problem| terminal.refuse(std::slice::from_ref(&problem), &Sources::new()))?;
    Ok((files::label(path), text))
}

fn write(
    import: &Import,
    output: Option<&Path>,
    header: &str,
    terminal: &Terminal,
) -> anyhow::Result<Answer> {
    let written = if files::has_extension(output, "json") {
        format!("{}\n", serde_json::to_string_pretty(&import.machine)?)
    } else {
        to_ron(&import.machine, header)
    };
    Destination::open(output)?.write(&written)?;
    for note in &import.notes {
        terminal.say(&format!("note: {note}"));
    }
    Ok(Answer::Yes)
}
