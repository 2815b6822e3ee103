//! `import`: machine files from what other programs write.

use std::path::Path;

use anyhow::Context;
use peerbus_machine::Catalogue;
use peerbus_machine::import::live::{self, Folder};
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

/// Imports the machine this runs on, or the one whose files are below another root.
pub fn live(args: &args::Live, terminal: &Terminal) -> anyhow::Result<Answer> {
    let folders = folders(&args.root.join("sys/bus/pci/devices"))?;
    let optional = |name: &str| -> Option<(String, String)> {
        let path = args.root.join("proc").join(name);
        Some((files::label(&path), files::read_text(&path).ok()?))
    };
    let (iomem, ioports) = (optional("iomem"), optional("ioports"));
    let found = optional("cpuinfo").map(|(_, text)| live::processor(&text)).unwrap_or_default();
    let told = told(&args.told);
    let label =
        if args.root == Path::new("/") { "this machine".to_owned() } else { files::label(&args.root) };
    let capture = Capture {
        listing: Text { name: &label, text: "" },
        iomem: text(iomem.as_ref()),
        ioports: text(ioports.as_ref()),
        processor: Processor {
            identity: told.processor.identity.or(found.identity),
            physical_bits: told.processor.physical_bits.or(found.physical_bits),
            virtual_bits: told.processor.virtual_bits.or(found.virtual_bits),
        },
        cmdline: told.cmdline.or_else(|| Some(optional("cmdline")?.1.trim_end().to_owned())),
        ..told
    };
    let import = import::live(&folders, &capture, &Catalogue::embedded()).map_err(|problems| {
        let sources = [&iomem, &ioports].into_iter().flatten().cloned().collect::<Sources>();
        terminal.refuse(&problems, &sources)
    })?;
    write(&import, args.output.as_deref(), &format!("Imported from {label}."), terminal)
}

/// The folders of PCI functions, in order of name.
fn folders(path: &Path) -> anyhow::Result<Vec<Folder>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", path.display()))?;
        let folder = entry.path();
        let mut found =
            Folder { name: entry.file_name().to_string_lossy().into_owned(), ..Folder::default() };
        found.config = files::read_some(&folder.join("config")).unwrap_or_default();
        for name in live::FILES {
            let text = files::read_some(&folder.join(name)).and_then(|bytes| String::from_utf8(bytes).ok());
            found.files.extend(text.map(|text| (name.to_owned(), text)));
        }
        // Where a link leads to is not copied along with it.
        let there =
            live::LINKS.into_iter().filter(|name| std::fs::symlink_metadata(folder.join(name)).is_ok());
        found.files.extend(there.map(|name| (name.to_owned(), String::new())));
        folders.push(found);
    }
    folders.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(folders)
}

fn text(read: Option<&(String, String)>) -> Option<Text<'_>> {
    read.map(|(name, text)| Text { name, text })
}

/// What the command line says of the machine.
fn told(args: &args::Told) -> Capture<'static> {
    Capture {
        processor: Processor {
            identity: args.cpu.clone(),
            physical_bits: args.phys_bits,
            ..Processor::default()
        },
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
