//! [`Cursor`]: an address on its way, and for which addresses around it every decision so far is the same.

use peerbus_machine::model::FunctionIndex;
use peerbus_units::{Address, Range};

/// What a request says of its address (its AT field).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum AddressKind {
    /// Whoever translates may translate it.
    Untranslated,
    /// It asks for the translation of its address.
    Question,
    /// It is translated: a CPU address.
    Translated,
}

/// An address on its way: its number in the space of the node it is at, and the interval of the requester's
/// addresses for which every decision so far is the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    /// Who sends the request; `None` for a core of a CPU.
    requester: Option<FunctionIndex>,
    /// What it says of its address.
    kind: AddressKind,
    /// The address in the current space.
    addr: u64,
    /// Current number minus the requester's, modulo 2^64.
    shift: u64,
    low: u64,
    high: u64,
}

impl Cursor {
    /// A cursor at the requester.
    pub(crate) fn new(requester: Option<FunctionIndex>, addr: u64, kind: AddressKind) -> Cursor {
        Cursor { requester, kind, addr, shift: 0, low: 0, high: u64::MAX }
    }

    /// Who sends the request; `None` for a core of a CPU.
    pub(crate) fn requester(&self) -> Option<FunctionIndex> {
        self.requester
    }

    /// What the request says of its address.
    pub(crate) fn kind(&self) -> AddressKind {
        self.kind
    }

    /// The address in the space of the node it is at.
    pub(crate) fn addr(&self) -> u64 {
        self.addr
    }

    /// The address as the requester sent it.
    pub(crate) fn sent(&self) -> u64 {
        self.addr.wrapping_sub(self.shift)
    }

    /// The requester's addresses that take the same way: first and last.
    pub(crate) fn valid(&self) -> (u64, u64) {
        (self.low, self.high)
    }

    /// Tests whether `range` (of the current space) holds the address, and narrows the valid interval to where
    /// the answer stays the same.
    pub(crate) fn is_in<A: Address>(&mut self, range: Range<A>) -> bool {
        let addr = A::from_raw(self.addr);
        let local = |raw: u64| A::from_raw(raw.wrapping_add(self.shift));
        // The interval in the current space; a shift that would wrap inside it is narrowed to the address.
        let whole = Range::new(local(self.low), local(self.high)).filter(|whole| whole.contains(addr));
        let whole = whole.unwrap_or_else(|| Range::new(addr, addr).expect("one address is a range"));
        let inside = range.contains(addr);
        let kept = if inside {
            whole.intersection(range)
        } else {
            let (below, above) = whole.without(range);
            below.filter(|piece| piece.contains(addr)).or(above.filter(|piece| piece.contains(addr)))
        };
        if let Some(kept) = kept {
            self.low = kept.first().raw().wrapping_sub(self.shift);
            self.high = kept.last().raw().wrapping_sub(self.shift);
        }
        inside
    }

    /// It goes on with the id of `requester`, the side of a bridge that it leaves by: whatever was translated before belongs
    /// to another hierarchy.
    pub(crate) fn pass_bridge(&mut self, requester: FunctionIndex) {
        self.requester = Some(requester);
        self.kind = AddressKind::Untranslated;
    }

    pub(crate) fn translate(&mut self, from: u64, to: u64) {
        let shift = to.wrapping_sub(from);
        self.addr = self.addr.wrapping_add(shift);
        self.shift = self.shift.wrapping_add(shift);
    }
}
