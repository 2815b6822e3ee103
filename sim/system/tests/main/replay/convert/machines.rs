//! The machines of recorded boots: what was listed of them, imported and written as machine files. Boots whose machines
//! are the same share a file.

use std::collections::BTreeMap;

use peerbus_machine::file::Leaf;
use peerbus_machine::import::to_ron;
use peerbus_machine::{Catalogue, load_machine};
use peerbus_system::boot::{BootOptions, Booted, boot as system_boot};
use peerbus_system::kernel::KernelSettings;

use super::super::recorded::text_of;
use super::{Boot, Converted};
use crate::captured;

/// The machine files made so far.
#[derive(Default)]
pub struct Machines {
    /// Paths, beside the replays, by everything that a file says but the machine's name.
    paths: BTreeMap<String, String>,
    pub files: Vec<Converted>,
}

/// The path of a machine as replays name it, and the operating system as it came up there.
pub struct Booting {
    pub path: String,
    pub booted: Booted,
}

impl Machines {
    /// The machine of `boot`; `None` when nothing was listed and no file of that name is in the tree.
    pub fn of(&mut self, boot: &Boot) -> Option<Booting> {
        let Some(captured) = captured::Boot::at(&boot.folder) else { return written(boot) };
        let mut imported = captured.imported();
        imported.source = Some(Leaf::new("lspci listing".to_owned()));
        let mut text = |name: &str| {
            imported.name = Some(Leaf::new(name.to_owned()));
            to_ron(
                &imported,
                &format!("The machine of conformance/{}, as imported from its listing.", boot.source),
            )
        };
        let key = text("").split_once('\n')?.1.to_owned();
        let name = match self.files.iter().any(|file| file.name == path(&boot.name)) {
            true => format!("{}-{}", boot.name, boot.kernel.0),
            false => boot.name.clone(),
        };
        let files = &mut self.files;
        let path = self.paths.entry(key).or_insert_with(|| {
            files.push(Converted { name: path(&name), text: text(&name) });
            path(&name)
        });
        let (machine, found) = load_machine(&text(&name), path, &Catalogue::embedded());
        let machine = machine.unwrap_or_else(|| panic!("{}: {found:#?}", boot.name));
        let booted = captured.booted(&machine, false);
        Some(Booting { path: path.clone(), booted })
    }
}

fn path(name: &str) -> String {
    format!("machines/{name}.ron")
}

/// Of a boot that was not listed: a file written by hand.
fn written(boot: &Boot) -> Option<Booting> {
    let path = path(&boot.name);
    let text = text_of(&path).ok()?;
    let (machine, found) = load_machine(&text, &path, &Catalogue::embedded());
    let machine = machine.unwrap_or_else(|| panic!("{path}: {found:#?}"));
    let booted = system_boot(&machine, &KernelSettings::default(), &BootOptions::default());
    Some(Booting { path, booted })
}
