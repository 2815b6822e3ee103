//! The list of models.
//!
//! Where a row comes from stands beside it. *Stated*: what is known of the kernel's own list gives these ids, or the rule
//! that holds for a vendor. *Named*: it gives the family; ids are those that the public list of PCI ids has under the
//! family's name, and no others. *Unnamed*: it gives the vendor, and the public list no name; such a row may be too wide
//! or too narrow. A row about ports is about nothing else of that id.

use super::super::register::AcsWord;

/// How a model behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// It does exactly this, whatever its registers say.
    Does(AcsWord),
    /// It does nothing of what ACS asks for.
    DoesNothing,
    /// A function inside a chipset: redirects requests and completions to the IOMMU; other bits are not judged.
    InChipset,
    /// A port that isolates once its peer decoding was switched off in chipset registers.
    DecodeSwitchedOff,
    /// A port whose ACS capability and control registers have 32 bits.
    WideRegisters,
}

/// Which kinds of functions of a model a row is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ports {
    /// All.
    Any,
    /// Root ports.
    Root,
    /// Root ports without ACS capability.
    RootWithoutAcs,
    /// Root ports and ports of switches.
    AnyPort,
    /// Root-complex integrated endpoints.
    Integrated,
}

/// What is known about some models of one vendor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Quirk {
    pub vendor: u16,
    /// First and last device id of each run.
    pub devices: &'static [(u16, u16)],
    pub ports: Ports,
    pub shape: Shape,
}

/// No peer-to-peer inside: whatever leaves goes to the root.
const FORWARDS_ALL: Shape = Shape::Does(AcsWord::ISOLATION);
/// Network controllers whose functions cannot reach each other inside.
const NO_LOOPBACK: Shape = Shape::Does(AcsWord(0x5f));
const EVERY: &[(u16, u16)] = &[(0, 0xffff)];

const INTEL: u16 = 0x8086;
const ZHAOXIN: u16 = 0x1d17;
const WANGXUN: u16 = 0x8088;

const fn row(vendor: u16, devices: &'static [(u16, u16)], ports: Ports, shape: Shape) -> Quirk {
    Quirk { vendor, devices, ports, shape }
}

pub(super) const QUIRKS: &[Quirk] = &[
    // Named: AMD and ATI south bridges, SB600 to SB9x0, and the FCHs after them.
    row(0x1002, &[(0x4380, 0x438e), (0x4390, 0x4399), (0x439c, 0x439d)], Ports::Any, Shape::InChipset),
    row(0x1022, &[(0x7800, 0x780f)], Ports::Any, Shape::InChipset),
    // Named: Solarflare SFC9120, SFC9140, SFC9220.
    row(0x1924, &[(0x0903, 0x0903), (0x0923, 0x0923), (0x0a03, 0x0a03)], Ports::Any, NO_LOOPBACK),
    // Named: 82571 to I350, and I219.
    row(INTEL, INTEL_NICS, Ports::Any, NO_LOOPBACK),
    // Named: Intel 5 to 9 series PCHs, C600, C610, Lynx Point-LP, Wildcat Point.
    row(INTEL, PCH_PORTS, Ports::RootWithoutAcs, Shape::DecodeSwitchedOff),
    // Named: Intel Sunrise Point (100 series) and Union Point (200 series).
    row(INTEL, SUNRISE_PORTS, Ports::Root, Shape::WideRegisters),
    // Stated: all of them.
    row(INTEL, EVERY, Ports::Integrated, FORWARDS_ALL),
    // Named: Emulex BladeEngine 3 and Skyhawk.
    row(0x19a2, &[(0x0710, 0x0710)], Ports::Any, NO_LOOPBACK),
    row(0x10df, &[(0x0720, 0x0720)], Ports::Any, NO_LOOPBACK),
    // Stated: a range of ids; named: ThunderX and ThunderX2, whose functions fill this one.
    row(0x177d, &[(0xa000, 0xafff)], Ports::Root, FORWARDS_ALL),
    // Named: APM X-Gene; Ampere eMAG and both root complexes of Altra.
    row(0x10e8, &[(0xe004, 0xe004)], Ports::Root, FORWARDS_ALL),
    row(0x1def, &[(0xe005, 0xe00c), (0xe100, 0xe108), (0xe110, 0xe118)], Ports::Root, FORWARDS_ALL),
    // Named: Qualcomm QDF2432 and QDF2400, HXT StarDragon 4800.
    row(0x17cb, &[(0x0400, 0x0401)], Ports::Root, FORWARDS_ALL),
    row(0x1dbf, &[(0x0401, 0x0401)], Ports::Root, FORWARDS_ALL),
    // Unnamed: NXP Layerscape.
    row(0x1957, &[(0x8d80, 0x8dff)], Ports::Root, FORWARDS_ALL),
    // Stated: Annapurna Labs, root ports.
    row(0x1c36, EVERY, Ports::Root, FORWARDS_ALL),
    // Stated: Broadcom iProc d714; BCM57414 (16d7) and 175x, 176x.
    row(0x14e4, &[(0xd714, 0xd714)], Ports::Any, FORWARDS_ALL),
    row(0x14e4, &[(0x16d7, 0x16d7), (0x1750, 0x176f)], Ports::Any, NO_LOOPBACK),
    // Named: Loongson 7A and later bridges.
    row(0x0014, &[(0x7a09, 0x7a09), (0x7a19, 0x7a19), (0x7a29, 0x7a29)], Ports::AnyPort, FORWARDS_ALL),
    // Stated: Zhaoxin's USB and SATA controllers, and that other ports isolate nothing; named: the ports that do.
    row(ZHAOXIN, &[(0x3038, 0x3038), (0x3104, 0x3104), (0x9083, 0x9083)], Ports::Any, NO_LOOPBACK),
    row(ZHAOXIN, &[(0x0710, 0x071e), (0x0721, 0x0721)], Ports::AnyPort, FORWARDS_ALL),
    row(ZHAOXIN, EVERY, Ports::AnyPort, Shape::DoesNothing),
    // Named: Wangxun WX1860, RP1000, RP2000, but not their virtual functions; stated: others isolate nothing.
    row(WANGXUN, &[(0x0100, 0x010b), (0x1001, 0x1001), (0x2001, 0x2001)], Ports::Any, FORWARDS_ALL),
    row(WANGXUN, EVERY, Ports::Any, Shape::DoesNothing),
];

/// 82571, 82572, 82575, 82576, 82580, I350 and I219; ids in between are other controllers.
const INTEL_NICS: &[(u16, u16)] = &[
    (0x105e, 0x1060),
    (0x107d, 0x107f),
    (0x10a0, 0x10a1),
    (0x10a4, 0x10a5),
    (0x10a7, 0x10a9),
    (0x10b9, 0x10b9),
    (0x10bc, 0x10bc),
    (0x10c9, 0x10c9),
    (0x10d5, 0x10d6),
    (0x10d9, 0x10da),
    (0x10e2, 0x10e2),
    (0x10e6, 0x10e8),
    (0x150a, 0x150a),
    (0x150d, 0x1511),
    (0x1516, 0x1516),
    (0x1518, 0x1518),
    (0x1521, 0x1524),
    (0x1526, 0x1527),
    (0x156f, 0x1570),
    (0x15b7, 0x15b9),
    (0x15bb, 0x15bc),
];

const PCH_PORTS: &[(u16, u16)] = &[
    (0x3b42, 0x3b51),
    (0x1c10, 0x1c1f),
    (0x1d10, 0x1d1f),
    (0x1e10, 0x1e1f),
    (0x8c10, 0x8c1f),
    (0x8c90, 0x8c9f),
    (0x8d10, 0x8d1f),
    (0x9c10, 0x9c1f),
    (0x9c90, 0x9c9b),
];

const SUNRISE_PORTS: &[(u16, u16)] =
    &[(0x9d10, 0x9d1a), (0xa110, 0xa11f), (0xa167, 0xa16a), (0xa290, 0xa29f), (0xa2e7, 0xa2ee)];
