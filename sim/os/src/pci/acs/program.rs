//! Setting control words: the IOMMU driver's request, then the lists of the command line.
//!
//! ```text
//! word  = found
//! word |= capability & (SV | RR | CR | UF)      where an IOMMU driver asked, unless the model has its own way
//!       | capability & TB                       and translations are off, or the function is not trusted
//! word  = base & ~(RR | CR | EC)                where disable_acs_redir names the function
//! word  = (found & ~mask) | (bits & mask)       where config_acs names it; overrides the line above
//! ```
//!
//! `base` is `found` in newer kernels, so that a match drops what the request had set; the oldest takes the word with
//! the request in it, and has no `config_acs`.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use peerbus_units::FunctionId;

use super::list::{AcsSyntaxError, config_list_bits, device_list_names};
use super::quirk;
use super::register::{AcsWord, acs_control, set_acs_control, usable_capability};
use crate::pci::tree::{FunctionIndex, PcieType, Tree};
use crate::{ConfigSpace, Rules};

/// What a kernel knows when it sets control words.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AcsParameters {
    /// An IOMMU driver asked for isolation.
    pub requested: bool,
    /// Firmware describes functions by a device tree.
    pub device_tree: bool,
    /// `pci=disable_acs_redir=`; empty when not given.
    pub disable_redirect: String,
    /// `pci=config_acs=`; empty when not given.
    pub config: String,
    /// `pci=noats`.
    pub ats_disabled: bool,
    /// Firmware describes AMD's IOMMU (IVRS table).
    pub amd_iommu_described: bool,
    /// Ports that firmware calls external-facing. What lies below them is not trusted.
    pub external_facing: BTreeSet<FunctionId>,
}

/// Which of the two lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AcsList {
    /// `pci=disable_acs_redir=`.
    DisableRedirect,
    /// `pci=config_acs=`.
    Config,
}

/// A line in the kernel's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcsEvent {
    /// A list gave the function this word.
    Set {
        /// Whose.
        function: FunctionIndex,
        /// Which.
        list: AcsList,
        /// The control word.
        word: AcsWord,
    },
    /// `disable_acs_redir` names a function without ACS.
    NoCapability(FunctionIndex),
    /// A list cannot be read. Said once.
    Syntax {
        /// Which.
        list: AcsList,
        /// What is wrong, and where.
        error: AcsSyntaxError,
    },
}

/// What the kernel remembers about ACS, beside what the registers hold.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AcsState {
    /// Ports whose peer decoding was switched off in chipset registers.
    pub(super) switched_off: BTreeSet<FunctionIndex>,
    /// Firmware describes AMD's IOMMU.
    pub(super) amd_iommu_described: bool,
    /// The capability word is that of enumeration, where mistakes of models are corrected.
    pub(super) capability_kept: bool,
    /// What was logged.
    pub log: Vec<AcsEvent>,
}

/// Sets the control words of the functions from `first` on, in the kernel's order.
pub fn acs_program(
    tree: &mut Tree,
    cs: &mut impl ConfigSpace,
    rules: &Rules,
    parameters: &AcsParameters,
    first: usize,
) {
    tree.acs.amd_iommu_described = parameters.amd_iommu_described;
    tree.acs.capability_kept = rules.acs_capability_kept;
    for index in (first..tree.functions.len()).map(FunctionIndex) {
        set(tree, cs, rules, parameters, index);
    }
}

/// What binding a driver to `function` does to its control word: kernels that set it when DMA is configured do so
/// again, from the word they find, so that what was written by hand in between is lost. Others leave it alone.
pub fn acs_at_driver_bind(
    tree: &mut Tree,
    cs: &mut impl ConfigSpace,
    rules: &Rules,
    parameters: &AcsParameters,
    function: FunctionIndex,
) {
    if rules.acs_set_with_dma {
        set(tree, cs, rules, parameters, function);
    }
}

/// The driver of ports binds to those among the functions from `first` on, at the end of boot. Kernels that set words when
/// DMA is configured did so before, when the IOMMU's driver looked at every function, and do it again here: what a
/// list says is logged twice. Without an IOMMU the binding is the only time, which [`acs_program`] stands for.
pub fn acs_ports_bound(
    tree: &mut Tree,
    cs: &mut impl ConfigSpace,
    rules: &Rules,
    parameters: &AcsParameters,
    first: usize,
) {
    if !parameters.requested {
        return;
    }
    for index in (first..tree.functions.len()).map(FunctionIndex) {
        let kind = tree[index].pcie_type;
        if matches!(kind, Some(PcieType::RootPort | PcieType::Upstream | PcieType::Downstream)) {
            acs_at_driver_bind(tree, cs, rules, parameters, index);
        }
    }
}

fn set(
    tree: &mut Tree,
    cs: &mut impl ConfigSpace,
    rules: &Rules,
    parameters: &AcsParameters,
    function: FunctionIndex,
) {
    let requested = parameters.requested || parameters.device_tree && rules.device_tree_requests_acs;
    let generic = requested && !quirk::enable(tree, cs, function);
    let found = acs_control(tree, cs, function);
    let mut word = found;
    if let (true, Some(control)) = (generic, found) {
        word = Some(control | isolation(tree, cs, parameters, function));
    }
    if names(tree, cs, AcsList::DisableRedirect, &parameters.disable_redirect, function) {
        let base = if rules.redirect_disable_keeps_firmware_word { found } else { word };
        word = without_redirect(tree, cs, rules, function, base, word);
    }
    if rules.config_acs {
        word = configured(tree, cs, &parameters.config, function, found, word);
    }
    if let Some(word) = word {
        set_acs_control(tree, cs, function, word);
    }
}

/// What an IOMMU driver's request adds.
fn isolation(
    tree: &Tree,
    cs: &impl ConfigSpace,
    parameters: &AcsParameters,
    function: FunctionIndex,
) -> AcsWord {
    let capability = usable_capability(tree, cs, function).unwrap_or_default();
    let blocks = parameters.ats_disabled || faces_outside(tree, parameters, function);
    capability & if blocks { AcsWord::ISOLATION | AcsWord::TB } else { AcsWord::ISOLATION }
}

/// True for an external-facing port and everything below one.
fn faces_outside(tree: &Tree, parameters: &AcsParameters, function: FunctionIndex) -> bool {
    let mut way = core::iter::successors(Some(function), |below| tree.upstream(*below));
    way.any(|function| parameters.external_facing.contains(&tree[function].id))
}

fn without_redirect(
    tree: &mut Tree,
    cs: &mut impl ConfigSpace,
    rules: &Rules,
    function: FunctionIndex,
    base: Option<AcsWord>,
    word: Option<AcsWord>,
) -> Option<AcsWord> {
    if quirk::disable_redirect(tree, cs, function) {
        return word;
    }
    match base {
        Some(base) => {
            let word = base & !AcsWord::REDIRECT;
            tree.acs.log.push(AcsEvent::Set { function, list: AcsList::DisableRedirect, word });
            Some(word)
        }
        None => {
            if !rules.redirect_disable_keeps_firmware_word {
                tree.acs.log.push(AcsEvent::NoCapability(function));
            }
            None
        }
    }
}

/// The word after `config_acs`; `word` when it does not name `function`.
fn configured(
    tree: &mut Tree,
    cs: &mut impl ConfigSpace,
    list: &str,
    function: FunctionIndex,
    found: Option<AcsWord>,
    word: Option<AcsWord>,
) -> Option<AcsWord> {
    let bits = match config_list_bits(list, tree, cs, function) {
        Ok(bits) => bits,
        Err(error) => {
            complain(tree, AcsList::Config, error);
            None
        }
    };
    let (Some(bits), Some(found)) = (bits, found) else { return word };
    // A model with its own way of clearing redirection gets that, whatever the bits say.
    if quirk::disable_redirect(tree, cs, function) {
        return word;
    }
    let word = bits.applied(found);
    tree.acs.log.push(AcsEvent::Set { function, list: AcsList::Config, word });
    Some(word)
}

fn names(tree: &mut Tree, cs: &impl ConfigSpace, list: AcsList, text: &str, function: FunctionIndex) -> bool {
    device_list_names(text, tree, cs, function).unwrap_or_else(|error| {
        complain(tree, list, error);
        false
    })
}

fn complain(tree: &mut Tree, list: AcsList, error: AcsSyntaxError) {
    let said =
        tree.acs.log.iter().any(|event| matches!(event, AcsEvent::Syntax { list: l, .. } if *l == list));
    if !said {
        tree.acs.log.push(AcsEvent::Syntax { list, error });
    }
}
