//! [`ErrorCounters`]: what functions report of packets, as Advanced Error Reporting counts and classes it (Base
//! Specification, Error Signaling and Logging), and what becomes of poisoned packets.
//!
//! ```text
//! Unsupported Request     of a posted request Non-Fatal; of a read Advisory (the requester is told by the completion)
//! Completer Abort         as Unsupported Request
//! Poisoned TLP Received   Non-Fatal, at the function that would have used the data
//! Malformed TLP           Fatal
//! Completion Timeout      Non-Fatal, at the requester
//! Unexpected Completion   Advisory, at the requester
//! ACS Violation           Non-Fatal, at the port
//! ```
//!
//! Errors of links (bad TLPs and DLLPs, replays, surprise removal) are counted by link (see `fault`).
//!
//! An advisory error is a correctable one. It is counted at the last function on the packet's way: that of a device, or of
//! the port it came in by. Poisoned data (EP) travels like other data; its receiver throws it away, so what it carries is
//! refused.

use std::collections::BTreeMap;

use peerbus_machine::model::FunctionIndex;

use crate::run::Fabric;
use crate::spec::{EngineId, LinkId};
use crate::tlp::{Class, Tlp};

/// Severity of an error.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Correctable, advisory ones included.
    Correctable,
    /// Uncorrectable: the packet is lost, the link is not.
    NonFatal,
    /// Uncorrectable: the link is not reliable any more.
    Fatal,
}

impl Severity {
    /// Name in reports and conditions.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Correctable => "correctable",
            Severity::NonFatal => "nonfatal",
            Severity::Fatal => "fatal",
        }
    }
}

/// What was wrong with a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PacketError {
    /// Nobody claims the request, or a translation is missing.
    UnsupportedRequest,
    /// The completer claims the request and cannot serve it.
    CompleterAbort,
    /// The data is known to be bad.
    PoisonedTlp,
    /// The packet breaks a rule, such as the payload limit of its receiver.
    MalformedTlp,
    /// A read has not been answered in time.
    CompletionTimeout,
    /// A completion that answers no read under way.
    UnexpectedCompletion,
    /// A port does not let the request pass.
    AcsViolation,
}

impl PacketError {
    /// Name in reports and conditions.
    pub fn name(self) -> &'static str {
        match self {
            PacketError::UnsupportedRequest => "unsupported_request",
            PacketError::CompleterAbort => "completer_abort",
            PacketError::PoisonedTlp => "poisoned_tlp",
            PacketError::MalformedTlp => "malformed_tlp",
            PacketError::CompletionTimeout => "completion_timeout",
            PacketError::UnexpectedCompletion => "unexpected_completion",
            PacketError::AcsViolation => "acs_violation",
        }
    }

    /// Severity of this error of a packet of `class`, with severities as they are after reset.
    pub fn severity(self, class: Class) -> Severity {
        match self {
            PacketError::UnsupportedRequest | PacketError::CompleterAbort if class == Class::NonPosted => {
                Severity::Correctable
            }
            PacketError::UnexpectedCompletion => Severity::Correctable,
            PacketError::MalformedTlp => Severity::Fatal,
            _ => Severity::NonFatal,
        }
    }
}

/// Errors counted, by function, severity and kind. `None`: a place without a function that software could see.
pub type ErrorCounters = BTreeMap<(Option<FunctionIndex>, Severity, PacketError), u64>;

impl Fabric {
    /// Counts an error at `function`.
    pub(crate) fn count_error(&mut self, function: Option<FunctionIndex>, error: PacketError, class: Class) {
        *self.ledger.errors.entry((function, error.severity(class), error)).or_default() += 1;
    }

    /// Counts an error of a request that ended behind `link`, at the last function on its way.
    pub(crate) fn count_error_at(&mut self, link: LinkId, error: PacketError, tlp: &Tlp) {
        self.count_error(self.last_function(link, tlp), error, tlp.class);
    }

    /// The last function on the way of a request that ended behind `link`.
    fn last_function(&self, link: LinkId, tlp: &Tlp) -> Option<FunctionIndex> {
        let mut hop = tlp.hop as usize;
        let mut function = self.spec.links[link.at()].receiver;
        // Hops of a route stand one after the other, and only its last one has an end.
        while function.is_none() && hop > 0 && self.routes.hops[hop - 1].ends.is_none() {
            hop -= 1;
            function = self.spec.links[self.routes.hops[hop].link.at()].receiver;
        }
        function
    }

    /// Counts a poisoned packet whose data would have been used at `function`, if software sees one there.
    fn count_poisoned(&mut self, function: Option<FunctionIndex>, tlp: &Tlp) {
        self.count_error(function, PacketError::PoisonedTlp, tlp.class);
        let poisoned = self.ledger.poisoned.entry(function).or_default();
        poisoned.count(u64::from(tlp.length), self.state.now, tlp.flow);
    }

    /// A poisoned write has reached a memory, which does not take it.
    #[cold]
    pub(crate) fn refuse_poisoned_write(&mut self, link: LinkId, tlp: &Tlp) {
        let now = self.state.now;
        self.return_credits(link, tlp, now);
        self.died(tlp.flow, now);
        self.count_poisoned(self.last_function(link, tlp), tlp);
        self.account(tlp.tag, tlp.flow, u64::from(tlp.length), false, now);
    }

    /// A completion with poisoned data has come back to `engine`.
    #[cold]
    pub(crate) fn count_poisoned_completion(&mut self, engine: EngineId, tlp: &Tlp) {
        self.count_poisoned(self.spec.engines[engine.at()].requester, tlp);
    }
}
