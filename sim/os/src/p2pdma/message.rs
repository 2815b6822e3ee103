//! [`Message`]: what the peer-to-peer code logs, as data.

use peerbus_units::{CpuAddr, FunctionId, Range};

use super::Warning;

/// One line of the kernel's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Information: peer memory was registered.
    Added {
        /// Whose.
        function: FunctionId,
        /// Where.
        range: Range<CpuAddr>,
    },
    /// Warning of a distance calculation.
    Pair {
        /// Provider asked about.
        provider: FunctionId,
        /// Client asked about.
        client: FunctionId,
        /// What.
        warning: Warning,
    },
    /// Warning: a client is no PCI function and lies below none.
    NotPci,
    /// Warning: the provider of a BAR was asked for before the function was initialised.
    ProviderBeforeInit {
        /// Of this function.
        function: FunctionId,
    },
    /// Error: what was written to an attribute names no provider and is no boolean.
    NotAProvider,
}
