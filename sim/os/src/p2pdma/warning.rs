//! What the kernel logs about a pair, as data.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{MapType, Reason, Resolution};
use crate::pci::{FunctionIndex, Tree};

/// One warning in the kernel's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Warning {
    /// On the client: redirection is set between it and the provider.
    RedirectBetween,
    /// On the client: the list for `pci=disable_acs_redir=` that would undo it ([`advice`]).
    DisableAcsRedirect(String),
    /// On the function that stands for the host bridge: it is not in the table.
    NotListed {
        /// That function.
        root_device: FunctionIndex,
        /// Its vendor id.
        vendor: u16,
        /// Its device id.
        device: u16,
    },
    /// On the client: it shares neither a bridge nor an allowed host bridge with the provider.
    NoSharedBridge,
}

/// The warnings of one distance calculation, in order. The table's own warning depends on redirection, not on
/// `verbose`; it never appears for a path without a common bridge.
pub fn warnings(tree: &Tree, resolution: &Resolution, verbose: bool) -> Vec<Warning> {
    let mut list = Vec::new();
    let redirecting = resolution.redirecting();
    if verbose && !redirecting.is_empty() {
        list.push(Warning::RedirectBetween);
        list.push(Warning::DisableAcsRedirect(advice(tree, redirecting)));
    }
    for reason in &resolution.reasons {
        // A redirected path has both ends below one host bridge, so there is one such function.
        if let (Reason::HostBridgeNotListed(functions), false) = (reason, redirecting.is_empty()) {
            list.extend(functions.iter().map(|root_device| {
                let (vendor, device) = (tree[*root_device].vendor, tree[*root_device].device);
                Warning::NotListed { root_device: *root_device, vendor, device }
            }));
        }
    }
    if verbose && resolution.map_type == MapType::NotSupported {
        list.push(Warning::NoSharedBridge);
    }
    list
}

/// Characters the kernel's buffer for names keeps.
const BUFFER: usize = 127;

/// The names the kernel puts after `pci=disable_acs_redir=`, separated by semicolons. Its buffer holds 127
/// characters: of a tenth name the first ten remain, later ones are lost ([`advice_overflows`]).
pub fn advice(tree: &Tree, functions: &[FunctionIndex]) -> String {
    let names = names(tree, functions);
    let end = if names.len() > BUFFER { BUFFER } else { names.len().saturating_sub(1) };
    names.chars().take(end).collect()
}

/// True when these names do not fit the kernel's buffer: cutting the last semicolon then writes a byte behind it.
/// Recorded kernels, whose stacks have no guard, die of that right after printing the list.
pub fn advice_overflows(tree: &Tree, functions: &[FunctionIndex]) -> bool {
    names(tree, functions).len() > BUFFER
}

/// All names, each with a semicolon behind it.
fn names(tree: &Tree, functions: &[FunctionIndex]) -> String {
    functions.iter().map(|function| format!("{};", tree[*function].id)).collect()
}
