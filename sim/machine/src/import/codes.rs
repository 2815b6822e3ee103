//! Diagnostic codes of the importers, with examples as `peerbus explain` shows them.

use crate::codes::Entry;
use crate::diagnostic::Code;

/// The input is not well-formed XML.
pub const MALFORMED: Code = Code("I0001");
/// The input is well-formed, but not a topology.
pub const NOT_A_TOPOLOGY: Code = Code("I0002");
/// An element lacks an attribute that nothing can stand in for.
pub const MISSING: Code = Code("I0003");
/// An attribute's value means nothing.
pub const BAD_VALUE: Code = Code("I0004");
/// Two elements name the same function.
pub const DUPLICATE: Code = Code("I0005");
/// An element stands where it cannot.
pub const MISPLACED: Code = Code("I0006");
/// Elements are nested more deeply than PCI hierarchies are.
pub const TOO_DEEP: Code = Code("I0007");
/// The bus numbers leave no room for the functions between those that are listed.
pub const NO_ROOM: Code = Code("I0008");
/// The input describes no PCI function.
pub const EMPTY: Code = Code("I0009");
/// A line of a listing has a known form and values that mean nothing.
pub const BAD_LINE: Code = Code("I0101");
/// A row of a hexadecimal dump is broken.
pub const BAD_DUMP: Code = Code("I0102");
/// A line of /proc/iomem is broken.
pub const BAD_RANGE: Code = Code("I0103");
/// The text has no line of `lspci`.
pub const NOT_A_LISTING: Code = Code("I0104");
/// No bridge says which bus it leads to.
pub const NO_TREE: Code = Code("I0105");
/// Two bridges lead to the same bus, or a bridge to a bus that cannot be below it.
pub const BUS_LED_TO_TWICE: Code = Code("I0106");
/// What is shown cannot be one machine.
pub const CONTRADICTION: Code = Code("I0107");
/// A folder of /sys/bus/pci/devices is broken.
pub const BAD_FOLDER: Code = Code("I0108");

pub use super::listing_codes::LISTING_ENTRIES;

const GOOD: &str = r#"<system version="1"><cpu numaid="0" vendor="AuthenticAMD" familyid="143" modelid="49">
  <pci busid="0000:21:00.0" class="0x030200" link_speed="16 GT/s" link_width="16"><gpu dev="0"/></pci>
</cpu></system>"#;

/// Every code about topologies; those about captures are [`LISTING_ENTRIES`].
pub const ENTRIES: &[Entry] = &[
    Entry {
        code: MALFORMED,
        title: "not well-formed XML",
        explanation: "A tag is not closed, an attribute has no value, or the file is cut off. Nothing behind such a place can be \
                      understood, so only the first one is reported.",
        wrong: r#"<system version="1"><cpu numaid="0">"#,
        right: GOOD,
    },
    Entry {
        code: NOT_A_TOPOLOGY,
        title: "not an NCCL topology",
        explanation: "The first element of a topology file is <system>. NCCL writes it to the file named by \
                      NCCL_TOPO_DUMP_FILE; the file of NCCL_GRAPH_DUMP_FILE begins with <graphs> and holds the channels \
                      NCCL found, which say nothing about PCI functions. A file that begins with <topology> is hwloc's.",
        wrong: r#"<graphs version="1"/>"#,
        right: GOOD,
    },
    Entry {
        code: MISSING,
        title: "an attribute is missing",
        explanation: "A PCI function needs its bus id and class, a private link its target, count and class: nothing can \
                      stand in for them.",
        wrong: r#"<system><cpu numaid="0"><pci class="0x030200"/></cpu></system>"#,
        right: GOOD,
    },
    Entry {
        code: BAD_VALUE,
        title: "an attribute's value means nothing",
        explanation: "The value is not of the form NCCL writes: a bus id is 0000:1b:00.0, ids and classes are hexadecimal, a \
                      speed is \"16 GT/s\" or \"16.0 GT/s PCIe\" or empty, a width a number of lanes or 0.",
        wrong: r#"<system><cpu numaid="0"><pci busid="0000:21:00.0" class="0x030200" link_speed="fast"/></cpu></system>"#,
        right: GOOD,
    },
    Entry {
        code: DUPLICATE,
        title: "a function is listed twice",
        explanation: "Two elements have the same bus id. Every PCI function appears once in a topology.",
        wrong: r#"<system><cpu numaid="0"><pci busid="0000:21:00.0" class="0x030200"/>
<pci busid="0000:21:00.0" class="0x030200"/></cpu></system>"#,
        right: GOOD,
    },
    Entry {
        code: MISPLACED,
        title: "an element stands where it cannot",
        explanation: "PCI functions stand inside a <cpu>, directly or below a bridge (class 0x060400); nothing hangs below \
                      other functions.",
        wrong: r#"<system><cpu numaid="0"><pci busid="0000:21:00.0" class="0x030200">
<pci busid="0000:23:00.0" class="0x030200"/></pci></cpu></system>"#,
        right: GOOD,
    },
    Entry {
        code: TOO_DEEP,
        title: "bridges are nested too deeply",
        explanation: "Every bridge takes at least two of the 256 bus numbers of a domain, and real hierarchies are two or \
                      three switches deep. More than 24 one below the other are not read.",
        wrong: DEEP,
        right: GOOD,
    },
    Entry {
        code: NO_ROOM,
        title: "no bus number is left for a function that must exist",
        explanation: "NCCL lists a device and every second bridge above it: the upstream ports of switches. Root ports and \
                      switch downstream ports are left out and are put back, and each needs a bus number between those of its \
                      neighbours: a switch on bus b needs an internal bus s and devices on buses above it, b < s < c. \
                      Here the bus ids leave no such number, or a function stands below a bridge that cannot lead to its bus.",
        wrong: r#"<system><cpu numaid="0"><pci busid="0000:21:00.0" class="0x060400">
<pci busid="0000:05:00.0" class="0x030200"/></pci></cpu></system>"#,
        right: GOOD,
    },
    Entry {
        code: EMPTY,
        title: "no PCI function is listed",
        explanation: "The topology lists CPUs only, or nothing at all. There is nothing to simulate in it.",
        wrong: r#"<system version="1"/>"#,
        right: GOOD,
    },
];
const DEEP: &str = concat!(
    r#"<system><cpu numaid="0">"#,
    r#"<pci busid="0000:01:00.0" class="0x060400">"#,
    r#"<pci busid="0000:03:00.0" class="0x060400">"#,
    r#"<pci busid="0000:05:00.0" class="0x060400">"#,
    r#"<pci busid="0000:07:00.0" class="0x060400">"#,
    r#"<pci busid="0000:09:00.0" class="0x060400">"#,
    r#"<pci busid="0000:0b:00.0" class="0x060400">"#,
    r#"<pci busid="0000:0d:00.0" class="0x060400">"#,
    r#"<pci busid="0000:0f:00.0" class="0x060400">"#,
    r#"<pci busid="0000:11:00.0" class="0x060400">"#,
    r#"<pci busid="0000:13:00.0" class="0x060400">"#,
    r#"<pci busid="0000:15:00.0" class="0x060400">"#,
    r#"<pci busid="0000:17:00.0" class="0x060400">"#,
    r#"<pci busid="0000:19:00.0" class="0x060400">"#,
    r#"<pci busid="0000:1b:00.0" class="0x060400">"#,
    r#"<pci busid="0000:1d:00.0" class="0x060400">"#,
    r#"<pci busid="0000:1f:00.0" class="0x060400">"#,
    r#"<pci busid="0000:21:00.0" class="0x060400">"#,
    r#"<pci busid="0000:23:00.0" class="0x060400">"#,
    r#"<pci busid="0000:25:00.0" class="0x060400">"#,
    r#"<pci busid="0000:27:00.0" class="0x060400">"#,
    r#"<pci busid="0000:29:00.0" class="0x060400">"#,
    r#"<pci busid="0000:2b:00.0" class="0x060400">"#,
    r#"<pci busid="0000:2d:00.0" class="0x060400">"#,
    r#"<pci busid="0000:2f:00.0" class="0x060400">"#,
    r#"<pci busid="0000:31:00.0" class="0x060400">"#,
    "</pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></pci></cpu></system>",
);
