//! What the kernel logs about ACS and payload sizes while it boots, in our words.

use peerbus_os::Tree;
use peerbus_os::pci::acs::AcsList;
use peerbus_os::pci::{AcsEvent, FunctionIndex, PayloadEvent};
use peerbus_units::FunctionId;
use serde::Serialize;

/// One line of the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BootLine {
    /// Whom it is about; `None` for the command line.
    pub function: Option<FunctionId>,
    /// What it says.
    pub text: String,
}

/// All lines, in the order of the events: what concerns ACS first.
pub(super) fn boot_log(tree: &Tree) -> Vec<BootLine> {
    let acs = tree.acs.log.iter().map(|event| acs_line(tree, event));
    acs.chain(tree.payload_log.iter().map(|event| payload_line(tree, event))).collect()
}

fn about(tree: &Tree, function: FunctionIndex, text: String) -> BootLine {
    BootLine { function: Some(tree[function].id), text }
}

fn list_name(list: AcsList) -> &'static str {
    match list {
        AcsList::DisableRedirect => "disable_acs_redir",
        AcsList::Config => "config_acs",
    }
}

fn acs_line(tree: &Tree, event: &AcsEvent) -> BootLine {
    match event {
        AcsEvent::Set { function, list, word } => {
            about(tree, *function, format!("ACS control word {:#06x} by {}", word.0, list_name(*list)))
        }
        AcsEvent::NoCapability(function) => {
            about(tree, *function, "disable_acs_redir names it, but it has no ACS".to_owned())
        }
        AcsEvent::Syntax { list, error } => BootLine {
            function: None,
            text: format!("{} cannot be read from byte {} on: {error}", list_name(*list), error.at),
        },
    }
}

fn payload_line(tree: &Tree, event: &PayloadEvent) -> BootLine {
    match event {
        PayloadEvent::Differs { function, own, above } => {
            about(tree, *function, format!("payload size {own} bytes, {above} of the port above"))
        }
        PayloadEvent::TooLarge { function, wanted, supported } => about(
            tree,
            *function,
            format!("payload size {wanted} bytes was to be set, {supported} is the most it supports"),
        ),
        PayloadEvent::ReadRequestRefused(function) => {
            about(tree, *function, "it takes no size of read requests".to_owned())
        }
    }
}
