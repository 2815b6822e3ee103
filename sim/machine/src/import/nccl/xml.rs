//! What an NCCL topology file says, element by element, with every attribute understood.
//!
//! Problems are collected and reading goes on with a harmless value, so that one run reports them all.

use std::collections::BTreeMap;
use std::ops::Range;

use peerbus_units::FunctionId;
use roxmltree::{Document, Node, ParsingOptions};

use super::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::import::Note;
use crate::import::codes::{
    BAD_VALUE, DUPLICATE, EMPTY, MALFORMED, MISPLACED, MISSING, NOT_A_TOPOLOGY, TOO_DEEP,
};
use crate::part::PciId;

/// Deepest nesting of bridges that is read: a machine file holds about thirty switches one below the other.
const DEEPEST: usize = 24;
/// Most XML nodes that are read; NCCL's largest files have some hundred.
const MOST_NODES: u32 = 50_000;

/// A whole topology.
pub(super) struct System {
    /// The `<cpu>` elements by NUMA node.
    pub cpus: Vec<Cpu>,
}

/// A `<cpu>` element.
pub(super) struct Cpu {
    /// NUMA node; negative when the system has none.
    pub numa: i64,
    /// As in /proc/cpuinfo; empty when not stated.
    pub vendor: String,
    /// `familyid` and `modelid` as written.
    pub identity: Option<(u32, u32)>,
    /// Topmost functions.
    pub below: Vec<Function>,
}

/// A `<pci>` element.
pub(super) struct Function {
    /// Its bus id.
    pub id: FunctionId,
    /// Class code, 24 bits.
    pub class: u32,
    /// Vendor and device, if stated.
    pub pci: Option<PciId>,
    /// Subsystem vendor and device, if stated.
    pub subsystem: Option<PciId>,
    /// Generation of the link above it, if stated.
    pub generation: Option<u8>,
    /// Width of the link above it, if stated.
    pub lanes: Option<u8>,
    /// What `<gpu>` says.
    pub gpu: Option<Gpu>,
    /// Names of network interfaces.
    pub nets: Vec<String>,
    /// Functions below it.
    pub below: Vec<Function>,
    /// Where it stands in the file.
    pub span: Range<usize>,
}

impl Function {
    /// True for a PCI-to-PCI bridge.
    pub fn is_bridge(&self) -> bool {
        self.class >> 8 == 0x0604
    }

    /// True for a stand-in for a switch, without a function behind it: cloud providers write `ffff:ff:01.0` or
    /// vendor 0xffff.
    pub fn is_pseudo(&self) -> bool {
        self.is_bridge() && (self.id.domain == 0xffff || self.pci.is_some_and(|pci| pci.vendor == 0xffff))
    }
}

/// A `<gpu>` element.
pub(super) struct Gpu {
    /// Number of the GPU on its host.
    pub dev: Option<u32>,
    /// Compute capability of NVIDIA GPUs, number of compute units of AMD GPUs.
    pub sm: Option<u32>,
    /// Instruction set of AMD GPUs without its prefix: `906`, `90a`.
    pub gcn: Option<String>,
    /// Its private links.
    pub links: Vec<PrivateLink>,
}

/// What joins GPUs beside PCIe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Private {
    /// `<nvlink>`
    NvLink,
    /// `<xgmi>`
    Xgmi,
}

/// An `<nvlink>` or `<xgmi>` element.
pub(super) struct PrivateLink {
    /// Which kind.
    pub kind: Private,
    /// Function at the other end.
    pub target: FunctionId,
    /// Parallel links.
    pub count: u32,
    /// Class code of the other end, 24 bits.
    pub class: u32,
}

impl PrivateLink {
    /// True when the other end is an NVSwitch (class 0x0680).
    pub fn is_switched(&self) -> bool {
        self.kind == Private::NvLink && self.class >> 8 == 0x0680
    }
}

/// Reads `text`. Everything wrong goes to `diagnostics`, what is left out to `notes`; `None` without a topology.
pub(super) fn read(
    text: &str,
    file: &str,
    diagnostics: &mut Vec<Diagnostic>,
    notes: &mut Vec<Note>,
) -> Option<System> {
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = match Document::parse_with_options(text, options) {
        Ok(document) => document,
        Err(error) => {
            diagnostics.push(malformed(text, file, &error));
            return None;
        }
    };
    let mut reader = Reader { text, file, diagnostics, notes, seen: BTreeMap::new() };
    let root = document.root_element();
    if root.tag_name().name() != "system" {
        reader.other_file(root);
        return None;
    }
    let mut cpus: Vec<Cpu> =
        root.children().filter(Node::is_element).filter_map(|node| reader.cpu(node)).collect();
    if reader.seen.is_empty() && reader.diagnostics.is_empty() {
        let empty = reader.error(EMPTY, reader.tag(root), "no PCI function is listed").label("nothing below");
        reader.diagnostics.push(empty);
    }
    cpus.sort_by_key(|cpu| cpu.numa);
    Some(System { cpus })
}

fn malformed(text: &str, file: &str, error: &roxmltree::Error) -> Diagnostic {
    let position = error.pos();
    let line = usize::try_from(position.row).unwrap_or(1);
    let column = usize::try_from(position.col).unwrap_or(1);
    let start = crate::diagnostic::offset_of(text, line, column);
    let message = format!("not well-formed XML: {}", without_position(&error.to_string()));
    Diagnostic::error(MALFORMED, file, message).at(text, start..start)
}

/// The parser's words without its own "at 1:2", which the diagnostic shows in its own way.
fn without_position(message: &str) -> &str {
    match message.rsplit_once(" at ") {
        Some((words, position)) if position.bytes().all(|b| b.is_ascii_digit() || b == b':') => words,
        _ => message,
    }
}

struct Reader<'a> {
    text: &'a str,
    file: &'a str,
    diagnostics: &'a mut Vec<Diagnostic>,
    notes: &'a mut Vec<Note>,
    /// Where each bus id stands.
    seen: BTreeMap<FunctionId, Range<usize>>,
}

impl Reader<'_> {
    fn error(&self, code: Code, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, self.file, message).at(self.text, span)
    }

    /// Bytes of an element's opening tag up to its name's end: enough to mark it.
    fn tag(&self, node: Node) -> Range<usize> {
        let start = node.range().start;
        let name = self.text[start..].find([' ', '>', '/', '\n', '\t', '\r']).unwrap_or(0);
        start..start + name
    }

    fn other_file(&mut self, root: Node) {
        let (what, help) = match root.tag_name().name() {
            "graphs" => (
                "this is an NCCL graph file (the channels NCCL found), not a topology",
                "pass the file that NCCL writes for NCCL_TOPO_DUMP_FILE; this one is from NCCL_GRAPH_DUMP_FILE",
            ),
            "topology" => {
                ("this is an hwloc XML file, not an NCCL topology", "import it with `peerbus import hwloc`")
            }
            _ => ("this is not an NCCL topology", "the first element of an NCCL topology file is <system>"),
        };
        let found = self.error(NOT_A_TOPOLOGY, self.tag(root), what).label("expected <system>").help(help);
        self.diagnostics.push(found);
    }

    fn cpu(&mut self, node: Node) -> Option<Cpu> {
        if node.tag_name().name() != "cpu" {
            self.unexpected(node, "<cpu>");
            return None;
        }
        let numa = self.attribute(node, "numaid", value::integer).unwrap_or(-1);
        let family = self.attribute(node, "familyid", value::unsigned);
        let model = self.attribute(node, "modelid", value::unsigned);
        let vendor = node.attribute("vendor").unwrap_or_default().to_owned();
        let mut below = Vec::new();
        for child in node.children().filter(Node::is_element) {
            match child.tag_name().name() {
                "pci" => below.extend(self.function(child, 1)),
                "nic" => self.interface_without_function(child, &format!("NUMA node {numa}")),
                _ => self.unexpected(child, "<pci>"),
            }
        }
        Some(Cpu { numa, vendor, identity: family.zip(model), below })
    }

    fn function(&mut self, node: Node, depth: usize) -> Option<Function> {
        if depth > DEEPEST {
            let message = format!("more than {DEEPEST} bridges one below the other");
            let found = self.error(TOO_DEEP, self.tag(node), message).label("nested too deeply");
            self.diagnostics.push(found);
            return None;
        }
        let id = self.required(node, "busid", value::function_id);
        let class = self.required(node, "class", |text| value::hex(text, 0xff_ffff));
        let mut function = Function {
            id: id.unwrap_or(FunctionId::new(0, 0, 0, 0)),
            class: class.unwrap_or_default(),
            pci: self.pair(node, "vendor", "device"),
            subsystem: self.pair(node, "subsystem_vendor", "subsystem_device"),
            generation: self.attribute(node, "link_speed", value::generation).flatten(),
            lanes: self.attribute(node, "link_width", value::lanes).flatten(),
            gpu: None,
            nets: Vec::new(),
            below: Vec::new(),
            span: self.tag(node),
        };
        self.first_of_its_id(node, id, &function);
        for child in node.children().filter(Node::is_element) {
            self.below(child, depth, &mut function);
        }
        id.zip(class).map(|_| function)
    }

    /// Reports a second element with the same bus id. Stand-ins have no bus id of their own.
    fn first_of_its_id(&mut self, node: Node, id: Option<FunctionId>, function: &Function) {
        let Some(id) = id.filter(|_| !function.is_pseudo()) else { return };
        let span = node.attribute_node("busid").map_or(function.span.clone(), |busid| busid.range_value());
        if let Some(first) = self.seen.get(&id) {
            let (line, _) = crate::diagnostic::line_and_column(self.text, first.start);
            let message = format!("function {id} is listed twice");
            let found = self.error(DUPLICATE, span, message).label("the second time");
            self.diagnostics.push(found.help(format!("it stands first in line {line}")));
        } else {
            self.seen.insert(id, span);
        }
    }

    fn below(&mut self, child: Node, depth: usize, function: &mut Function) {
        match child.tag_name().name() {
            "pci" if function.is_bridge() => function.below.extend(self.function(child, depth + 1)),
            "pci" => {
                let message = format!("{} is not a bridge (class {:#08x})", function.id, function.class);
                let found = self.error(MISPLACED, self.tag(child), message).label("a function below it");
                self.diagnostics.push(found.help("a bridge has class 0x060400"));
            }
            "gpu" if !function.is_bridge() => function.gpu = Some(self.gpu(child)),
            "nic" if !function.is_bridge() => function.nets.extend(nets(child)),
            "nic" => self.interface_without_function(child, &function.id.to_string()),
            name => {
                let text = format!("<{name}> is not understood and left out");
                self.notes.push(Note::new(function.id, text));
            }
        }
    }

    fn gpu(&mut self, node: Node) -> Gpu {
        let links =
            node.children().filter(Node::is_element).filter_map(|child| self.private_link(child)).collect();
        Gpu {
            dev: self.attribute(node, "dev", value::unsigned),
            sm: self.attribute(node, "sm", value::unsigned),
            gcn: node.attribute("gcn").map(|text| text.trim_start_matches("gfx").to_owned()),
            links,
        }
    }

    fn private_link(&mut self, node: Node) -> Option<PrivateLink> {
        let kind = match node.tag_name().name() {
            "nvlink" => Private::NvLink,
            "xgmi" => Private::Xgmi,
            name => {
                self.notes.push(Note::new(
                    format!("<{name}>"),
                    "a link of this kind is not understood and left out",
                ));
                return None;
            }
        };
        let target = self.required(node, "target", value::function_id);
        let count = self.required(node, "count", value::unsigned);
        let class = self.required(node, "tclass", |text| value::hex(text, 0xff_ffff));
        Some(PrivateLink { kind, target: target?, count: count?, class: class? })
    }

    fn interface_without_function(&mut self, node: Node, below: &str) {
        for name in nets(node) {
            self.notes.push(Note::new(
                name,
                format!("a network interface below {below} without a PCI function; left out"),
            ));
        }
    }

    fn unexpected(&mut self, node: Node, expected: &str) {
        let name = node.tag_name().name();
        if name == "pci" {
            let found = self.error(MISPLACED, self.tag(node), "a PCI function outside any <cpu>");
            self.diagnostics.push(found.label("expected inside <cpu>"));
        } else {
            self.notes.push(Note::new(
                format!("<{name}>"),
                format!("stands where {expected} is expected; left out"),
            ));
        }
    }

    /// An attribute that must be there.
    fn required<T>(
        &mut self,
        node: Node,
        name: &str,
        understand: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if node.attribute(name).is_none() {
            let message = format!("<{}> has no `{name}`", node.tag_name().name());
            let found = self.error(MISSING, self.tag(node), message).label(format!("`{name}` is missing"));
            self.diagnostics.push(found);
        }
        self.attribute(node, name, understand)
    }

    /// An attribute that may be absent.
    fn attribute<T>(
        &mut self,
        node: Node,
        name: &str,
        understand: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let attribute = node.attribute_node(name)?;
        match understand(attribute.value().trim()) {
            Ok(value) => Some(value),
            Err(expected) => {
                let message = format!("`{name}` is {:?}", attribute.value());
                let found = self.error(BAD_VALUE, attribute.range_value(), message);
                self.diagnostics.push(found.label(format!("expected {expected}")));
                None
            }
        }
    }

    fn pair(&mut self, node: Node, vendor: &str, device: &str) -> Option<PciId> {
        let vendor = self.attribute(node, vendor, value::hex16)?;
        let device = self.attribute(node, device, value::hex16)?;
        Some(PciId { vendor, device }).filter(|pci| *pci != PciId { vendor: 0, device: 0 })
    }
}

fn nets(nic: Node) -> Vec<String> {
    let nets = nic.children().filter(|child| child.has_tag_name("net"));
    nets.map(|net| net.attribute("name").unwrap_or("without a name").to_owned()).collect()
}
