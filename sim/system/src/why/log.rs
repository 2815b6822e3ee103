//! What the kernel logs about a pair, worded as recorded kernels do.

use peerbus_os::p2pdma::{Warning, warnings};
use peerbus_os::{Resolution, pci};
use serde::Serialize;

use crate::boot::Booted;

/// Redirecting functions of one path that the kernel's 128-byte buffer holds.
const NAMES: usize = 9;

/// A line of the kernel's log, and what is to be known about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LogLine {
    /// The line, without time stamp. A function that a driver is bound to has that driver's name instead of `pci`.
    pub text: String,
    /// A remark of ours.
    pub remark: Option<String>,
}

/// The lines of a distance calculation that was asked to be verbose, as the first mapping of a pair does.
pub(super) fn lines(
    booted: &Booted,
    resolution: &Resolution,
    provider: pci::FunctionIndex,
    client: pci::FunctionIndex,
) -> Vec<LogLine> {
    let tree = &booted.tree;
    let (from, to) = (tree[provider].id, tree[client].id);
    let line = |warning| match warning {
        Warning::RedirectBetween => LogLine {
            text: format!("pci {to}: ACS redirect is set between the client and provider ({from})"),
            remark: None,
        },
        Warning::DisableAcsRedirect(names) => LogLine {
            text: format!(
                "pci {to}: to disable ACS redirect for this path, add the kernel parameter: pci=disable_acs_redir={names}"
            ),
            remark: overflow(resolution.redirecting().len()),
        },
        Warning::NotListed { root_device, vendor, device } => LogLine {
            text: format!(
                "pci {}: Host bridge not in P2PDMA whitelist: {vendor:04x}:{device:04x}",
                tree[root_device].id
            ),
            remark: None,
        },
        Warning::NoSharedBridge => LogLine {
            text: format!(
                "pci {to}: cannot be used for peer-to-peer DMA as the client and provider ({from}) do not share an \
                 upstream bridge or whitelisted host bridge"
            ),
            remark: None,
        },
    };
    warnings(tree, resolution, true).into_iter().map(line).collect()
}

fn overflow(redirecting: usize) -> Option<String> {
    (redirecting > NAMES).then(|| {
        format!(
            "cut off: the kernel's buffer holds {NAMES} names, {redirecting} functions redirect, and it then writes one \
             byte past the buffer; recorded kernels crashed here"
        )
    })
}
