//! Calls on a machine. It is booted while loading, so that wrong names of functions are found before anything runs.

use std::sync::Arc;

use peerbus_machine::diagnostic::any_error;
use peerbus_machine::file::Leaf;
use peerbus_machine::load::{list_words, nearest};
use peerbus_machine::synthetic::{is_synthetic, synthetic};
use peerbus_machine::{Catalogue, Diagnostic, Machine, load_machine, lower};
use peerbus_os::pci::FunctionIndex;
use peerbus_units::{Bytes, CpuAddr, FunctionId};

use super::Known;
use super::context::{Context, Place};
use super::pool::{ADDRESS, SIZE};
use crate::boot::{BootOptions, boot};
use crate::kernel::{KernelSettings, ProfileName};
use crate::replay::call::{Call, PeerCall, PeerSetup};
use crate::replay::{codes, file};

/// Reads the text of a file, by a path as written in a replay. The error says why it cannot.
pub type Provider<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// Where machines come from.
pub(super) struct Machines<'a> {
    pub provider: &'a Provider<'a>,
    pub catalogue: &'a Catalogue,
    /// The replay's own path.
    pub file_name: &'a str,
}

const FUNCTION: &str = "the name of a device, or an address such as \"0000:01:00.0\"";
const NUMBER: &str = "a number from 0 to 5";

impl Machines<'_> {
    /// The path that could be read, and its text: as it is, or else beside the replay.
    fn text(&self, name: &str) -> Result<(String, String), String> {
        let reason = match (self.provider)(name) {
            Ok(text) => return Ok((name.to_owned(), text)),
            Err(reason) => reason,
        };
        let folder = self.file_name.rfind('/').map_or("", |slash| &self.file_name[..=slash]);
        if folder.is_empty() || name.starts_with('/') {
            return Err(reason);
        }
        let beside = format!("{folder}{name}");
        let text = (self.provider)(&beside).map_err(|_| reason)?;
        Ok((beside, text))
    }
}

impl Context<'_> {
    pub(super) fn machine(
        &mut self,
        given: &file::Machine,
        place: &Place,
        machines: &Machines<'_>,
        profile: ProfileName,
    ) -> Option<Arc<PeerSetup>> {
        let acs = self.optional(&given.acs, place, "acs", "FirmwareDefault, Off or On");
        let iommu = self.optional(&given.iommu, place, "iommu", "None, Passthrough or Translate");
        let cmdline = self.optional(&given.cmdline, place, "cmdline", "a kernel command line");
        let (name, machine) = match (&given.file, &given.tree) {
            (Some(_), Some(_)) => {
                let message = "both `file` and `tree` are given".to_owned();
                self.error(codes::CONTRADICTION, &place.field("tree"), message, "write one of them");
                return None;
            }
            (None, None) => {
                let _: Option<String> = self.require(
                    &given.file,
                    place,
                    "file",
                    "the path of a machine file, or `tree:` with a machine",
                );
                return None;
            }
            (Some(_), None) => {
                let name: String = self.take(&given.file, place, "file", "the path of a machine file")?;
                let machine = self.machine_file(&name, &place.field("file"), machines)?;
                (name, machine)
            }
            (None, Some(tree)) => ("tree".to_owned(), self.inline(tree, &place.field("tree"), machines)?),
        };
        let settings = KernelSettings {
            profile,
            iommu: iommu?,
            acs: acs?.unwrap_or_default(),
            cmdline: cmdline?.unwrap_or_default(),
            ..KernelSettings::default()
        };
        let booted = boot(&machine, &settings, &BootOptions::default());
        Some(Arc::new(PeerSetup { name, machine, booted }))
    }

    fn machine_file(&mut self, name: &str, place: &Place, machines: &Machines<'_>) -> Option<Machine> {
        if is_synthetic(name) {
            let (machine, problems) = match synthetic(name) {
                Ok(file) => lower(&file, "", name, machines.catalogue),
                Err(problem) => (None, vec![problem]),
            };
            // They are about one line that stands in the replay, so they are told there.
            for problem in &problems {
                let help = problem.help.clone().unwrap_or_else(|| "see `peerbus p2p --help`".to_owned());
                self.error(problem.code, place, problem.message.clone(), help);
                if let Some(last) = self.diagnostics.last_mut() {
                    last.severity = problem.severity;
                }
            }
            return machine.filter(|_| !any_error(&problems));
        }
        let (path, text) = match machines.text(name) {
            Ok(found) => found,
            Err(reason) => {
                let help = "paths are seen from where the program runs, or else from the replay";
                self.error(codes::NO_MACHINE, place, format!("cannot read `{name}`: {reason}"), help);
                return None;
            }
        };
        let (machine, problems) = load_machine(&text, &path, machines.catalogue);
        if machine.is_none() {
            let help = format!("mend {path}; `peerbus check` shows it");
            self.error(codes::BROKEN_MACHINE, place, format!("`{name}` cannot be used"), help);
        }
        self.diagnostics.extend(problems);
        machine
    }

    /// A machine that stands in the replay. It is read as a text of its own, and its problems are moved to where it
    /// stands.
    fn inline(
        &mut self,
        leaf: &Leaf<peerbus_machine::file::Machine>,
        place: &Place,
        machines: &Machines<'_>,
    ) -> Option<Machine> {
        let (span, text) = self.source.leaf(leaf).zip(self.source.literal(leaf))?;
        // What was parsed is RON, whatever the file is.
        let (machine, problems) = load_machine(text, "tree.ron", machines.catalogue);
        let moved = |problem: Diagnostic| {
            let at = problem.span.clone().map(|inner| span.start + inner.start..span.start + inner.end);
            let found = match at {
                Some(at) => self.source.diagnostic(problem.code, Some(at), problem.message.clone()),
                None => self.source.diagnostic_at(problem.code, place.steps(), problem.message.clone()),
            };
            let help = problem.help.unwrap_or_else(|| "see `peerbus schema machine`".to_owned());
            Diagnostic { severity: problem.severity, ..found.label(problem.label).help(help) }
        };
        let moved: Vec<Diagnostic> = problems.into_iter().map(moved).collect();
        self.diagnostics.extend(moved);
        machine
    }

    pub(super) fn peer_call(&mut self, call: &file::Call, place: &Place, known: &Known) -> Option<Call> {
        let machine = known.machine.clone();
        let machine = machine.as_deref();
        let call = match call {
            file::Call::Register(given) => {
                let function = self.function(&given.function, place, "function", machine);
                let bar = self.bar(&given.bar, place);
                let size = self.optional(&given.size, place, "size", SIZE);
                let offset = self.optional(&given.offset, place, "offset", SIZE);
                let (size, offset) = (size?.unwrap_or(Bytes::ZERO), offset?.unwrap_or(Bytes::ZERO));
                PeerCall::Register { function: function?, bar: bar?, size, offset }
            }
            file::Call::Publish(given) => {
                let function = self.function(&given.function, place, "function", machine);
                let published = self.optional(&given.published, place, "published", "true or false")?;
                PeerCall::Publish { function: function?, published: published.unwrap_or(true) }
            }
            file::Call::Resolve(given) => {
                let provider = self.function(&given.provider, place, "provider", machine);
                let client = self.function(&given.client, place, "client", machine);
                PeerCall::Resolve { provider: provider?, client: client? }
            }
            file::Call::Distance(given) => {
                let provider = self.function(&given.provider, place, "provider", machine);
                let clients = self.functions(&given.clients, place, machine);
                PeerCall::Distance { provider: provider?, clients: clients? }
            }
            file::Call::Find(given) => {
                PeerCall::Find { clients: self.functions(&given.clients, place, machine)? }
            }
            file::Call::Map(given) => {
                let provider = self.function(&given.provider, place, "provider", machine);
                let client = self.function(&given.client, place, "client", machine);
                let bar = self.bar(&given.bar, place);
                let offset = self.optional(&given.offset, place, "offset", SIZE)?;
                let offset = offset.unwrap_or(Bytes::ZERO);
                PeerCall::Map { provider: provider?, client: client?, bar: bar?, offset }
            }
            file::Call::SetAcs(given) => {
                let function = self.function(&given.function, place, "function", machine);
                let control = self.require(&given.control, place, "control", "a word such as 0x1d");
                PeerCall::SetAcs { function: function?, control: control? }
            }
            file::Call::SetIds(given) => {
                let function = self.function(&given.function, place, "function", machine);
                let vendor = self.require(&given.vendor, place, "vendor", "an id such as 0x8086");
                let device = self.require(&given.device, place, "device", "an id such as 0x2030");
                PeerCall::SetIds { function: function?, vendor: vendor?, device: device? }
            }
            file::Call::SetWindow(given) => {
                let cpu = self.require(&given.cpu, place, "cpu", ADDRESS);
                let bus = self.require(&given.bus, place, "bus", ADDRESS);
                PeerCall::SetWindow { cpu: self.window(cpu?, place, machine)?, bus: bus? }
            }
            _ => return None,
        };
        Some(Call::Peer(call))
    }

    /// A BAR's number, if one is given.
    fn bar(&mut self, leaf: &Option<Leaf<usize>>, place: &Place) -> Option<Option<usize>> {
        let bar = self.optional(leaf, place, "bar", NUMBER)?;
        if bar.is_some_and(|bar| bar > 5) {
            let message = format!("there is no BAR {}", bar.unwrap_or_default());
            self.error(codes::OUT_OF_RANGE, &place.field("bar"), message, format!("write {NUMBER}"));
            return None;
        }
        Some(bar)
    }

    /// The first address of a window, if that is what `cpu` is. `None` without a machine, which was reported.
    fn window(&mut self, cpu: CpuAddr, place: &Place, machine: Option<&PeerSetup>) -> Option<CpuAddr> {
        let setup = machine?;
        let bridges = setup.booted.tree.host_bridges.iter();
        let starts: Vec<CpuAddr> =
            bridges.flat_map(|bridge| &bridge.windows).map(|window| window.cpu.first()).collect();
        if starts.contains(&cpu) {
            return Some(cpu);
        }
        let starts: Vec<String> = starts.iter().map(CpuAddr::to_string).collect();
        let starts: Vec<&str> = starts.iter().map(String::as_str).collect();
        let message = format!("{} has no window that begins at {cpu}", setup.name);
        let help = match starts.is_empty() {
            true => "it has no windows".to_owned(),
            false => format!("windows begin at {}", list_words(&starts, 12).replace(" or ", " and ")),
        };
        self.error(codes::UNKNOWN_WINDOW, &place.field("cpu"), message, help);
        None
    }

    /// The function that the required field `name` names.
    fn function(
        &mut self,
        leaf: &Option<Leaf<String>>,
        place: &Place,
        name: &'static str,
        machine: Option<&PeerSetup>,
    ) -> Option<FunctionIndex> {
        let given = self.require(leaf, place, name, FUNCTION)?;
        self.named(&given, &place.field(name), machine)
    }

    /// All clients of a call.
    fn functions(
        &mut self,
        leaves: &[Leaf<String>],
        place: &Place,
        machine: Option<&PeerSetup>,
    ) -> Option<Vec<FunctionIndex>> {
        let mut found = Some(Vec::new());
        for (index, leaf) in leaves.iter().enumerate() {
            let at = place.element("clients", index);
            let function = match &leaf.value {
                Ok(name) => self.named(name, &at, machine),
                Err(_) => {
                    let message = "a client is a name in quotation marks".to_owned();
                    self.error(codes::UNKNOWN_FUNCTION, &at, message, format!("write {FUNCTION}"));
                    None
                }
            };
            found = found.zip(function).map(|(mut all, one)| {
                all.push(one);
                all
            });
        }
        found
    }

    /// The function called `name`: an address, a device, or the path of any function. `None` without a machine, which
    /// was reported.
    fn named(&mut self, name: &str, place: &Place, machine: Option<&PeerSetup>) -> Option<FunctionIndex> {
        let setup = machine?;
        let found = setup.function(name);
        if found.is_none() {
            let names: Vec<&str> = setup.machine.devices.iter().map(|device| device.name.as_str()).collect();
            let shown = list_words(&names, 12).replace(" or ", " and ");
            let help = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? the devices are {shown}"),
                None => format!("the devices are {shown}; `peerbus plan` shows all functions"),
            };
            let message = format!("{} has no function `{name}`", setup.name);
            self.error(codes::UNKNOWN_FUNCTION, place, message, help);
        }
        found
    }
}

impl PeerSetup {
    fn function(&self, name: &str) -> Option<FunctionIndex> {
        if let Ok(id) = name.parse::<FunctionId>() {
            return self.booted.tree.find(id);
        }
        let device = self.machine.devices.iter().find(|device| device.name == name);
        let device = device.and_then(|device| device.functions.first().copied());
        let function = device.or_else(|| {
            self.machine.functions.node_indices().find(|index| self.machine.functions[*index].name == name)
        });
        self.booted.os_function(function?)
    }
}
