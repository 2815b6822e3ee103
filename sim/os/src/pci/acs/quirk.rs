//! Functions known to isolate, or not to, whatever their registers say.
//!
//! A list of models; the first row that answers wins, a row whose conditions do not hold passes the question on. Four
//! shapes of answer exist: a fixed set of what a model does; the same for functions inside a chipset, where only
//! redirection and egress are judged; ports that isolate once the kernel has switched off their peer decoding in
//! chipset registers; and ports whose ACS registers are 32 bits wide, so that control stands two bytes further on.
//!
//! The families are the kernel's; where their ids come from stands beside each row of the table.

mod table;

use super::register::AcsWord;
use crate::pci::regs;
use crate::pci::tree::{FunctionIndex, PcieType, Tree};
use crate::{ConfigAccess, ConfigSpace};
use table::{Ports, QUIRKS, Quirk, Shape};

/// Where ports with wide registers have their control word.
const WIDE_CONTROL: u16 = regs::ACS_CONTROL + 2;

/// Whether `function` does everything in `flags`; `None` when nothing is known about its model.
pub(super) fn isolates(
    tree: &Tree,
    cs: &impl ConfigSpace,
    function: FunctionIndex,
    flags: AcsWord,
) -> Option<bool> {
    rows(tree, function).find_map(|quirk| match quirk.shape {
        Shape::Does(set) => Some(set.contains(flags)),
        Shape::DoesNothing => Some(false),
        Shape::InChipset => {
            let judged = AcsWord::REDIRECT | AcsWord::DT;
            in_chipset(tree, function).then(|| (AcsWord::RR | AcsWord::CR).contains(flags & judged))
        }
        Shape::DecodeSwitchedOff => {
            let set = match tree.acs.switched_off.contains(&function) {
                true => AcsWord::ISOLATION,
                false => AcsWord(0),
            };
            Some(set.contains(flags))
        }
        Shape::WideRegisters => {
            let (capability, control) = wide(tree, cs, function)?;
            Some(AcsWord(control).contains(flags & (AcsWord(capability) | AcsWord::EC)))
        }
    })
}

/// Isolates `function` in the way of its model, as an IOMMU driver requests; false when its model has no way of its
/// own.
pub(super) fn enable(tree: &mut Tree, cs: &mut impl ConfigSpace, function: FunctionIndex) -> bool {
    let own_way = rows(tree, function).map(|quirk| quirk.shape).find(own_way);
    match own_way {
        Some(Shape::DecodeSwitchedOff) => {
            tree.acs.switched_off.insert(function);
            true
        }
        Some(Shape::WideRegisters) => {
            change_wide(tree, cs, function, |capability, control| control | capability & AcsWord::ISOLATION.0)
        }
        _ => false,
    }
}

/// Clears redirection of `function` in the way of its model; false when its model has no way of its own.
pub(super) fn disable_redirect(tree: &Tree, cs: &mut impl ConfigSpace, function: FunctionIndex) -> bool {
    let wide = rows(tree, function).any(|quirk| quirk.shape == Shape::WideRegisters);
    wide && change_wide(tree, cs, function, |_, control| control & !AcsWord::REDIRECT.0)
}

fn own_way(shape: &Shape) -> bool {
    matches!(shape, Shape::DecodeSwitchedOff | Shape::WideRegisters)
}

/// The rows about the model of `function`.
fn rows(tree: &Tree, function: FunctionIndex) -> impl Iterator<Item = &'static Quirk> {
    let about = &tree[function];
    let (vendor, device, kind) = (about.vendor, about.device, about.pcie_type);
    let acs = about.capabilities.acs.is_some();
    QUIRKS.iter().filter(move |quirk| {
        let listed = quirk.devices.iter().any(|(first, last)| (*first..=*last).contains(&device));
        let fits = match quirk.ports {
            Ports::Any => true,
            Ports::Root => kind == Some(PcieType::RootPort),
            Ports::RootWithoutAcs => kind == Some(PcieType::RootPort) && !acs,
            Ports::AnyPort => {
                matches!(kind, Some(PcieType::RootPort | PcieType::Upstream | PcieType::Downstream))
            }
            Ports::Integrated => kind == Some(PcieType::IntegratedEndpoint),
        };
        quirk.vendor == vendor && listed && fits
    })
}

/// Chipset functions count only where the IOMMU stands above the chipset: several functions of a slot on the root bus
/// of a machine whose firmware describes AMD's IOMMU.
fn in_chipset(tree: &Tree, function: FunctionIndex) -> bool {
    tree.acs.amd_iommu_described && tree[function].multifunction && tree.upstream(function).is_none()
}

/// Capability and control of a port with wide registers.
fn wide(tree: &Tree, cs: &impl ConfigSpace, function: FunctionIndex) -> Option<(u16, u16)> {
    let (id, position) = (tree[function].id, tree[function].capabilities.acs?);
    let word = |offset| cs.read_word(id, position + offset);
    Some((word(regs::ACS_CAPABILITY), word(WIDE_CONTROL)))
}

fn change_wide(
    tree: &Tree,
    cs: &mut impl ConfigSpace,
    function: FunctionIndex,
    change: impl Fn(u16, u16) -> u16,
) -> bool {
    let (Some(position), Some((capability, control))) =
        (tree[function].capabilities.acs, wide(tree, cs, function))
    else {
        return false;
    };
    let id = tree[function].id;
    let upper = cs.read_dword(id, position + WIDE_CONTROL) & 0xffff_0000;
    cs.write_dword(id, position + WIDE_CONTROL, upper | u32::from(change(capability, control)));
    true
}
