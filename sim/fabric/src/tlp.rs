//! [`Tlp`]: a transaction layer packet in flight or queued; 32 bytes, copied by value.

/// Kinds of TLP with their own credits, in the order of the credit arrays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Class {
    /// A posted request: memory write.
    Posted = 0,
    /// A non-posted request: memory read.
    NonPosted = 1,
    /// A completion.
    Completion = 2,
}

impl Class {
    /// All classes, in the order of the credit arrays.
    pub const ALL: [Class; 3] = [Class::Posted, Class::NonPosted, Class::Completion];

    #[inline]
    pub(crate) fn at(self) -> usize {
        self as usize
    }
}

/// A packet.
#[derive(Clone, Copy, Debug)]
pub struct Tlp {
    /// Address of the first byte (bus address on the requester's side). For a completion: unused.
    pub addr: u64,
    /// When the request was issued, in picoseconds.
    pub issued: u64,
    /// Number of its current hop in the table of hops.
    pub hop: u32,
    /// For a request: the requester's tag. For a completion: the tag it answers.
    pub tag: u16,
    /// Flow it belongs to.
    pub flow: u16,
    /// Payload bytes; for a read request the bytes asked for. At most 4096.
    pub length: u16,
    /// The engine that issued the request.
    pub engine: u16,
    /// Kind.
    pub class: Class,
    /// How it fares.
    pub status: Status,
    /// Attribute and header bits that matter on the way: see [`Attributes`].
    pub attributes: Attributes,
}

/// Bits of a TLP's header that change what may be done with it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Attributes(u8);

impl Attributes {
    /// Nothing special.
    pub const NONE: Attributes = Attributes(0);
    /// Relaxed Ordering: it may pass posted requests.
    pub const RELAXED: Attributes = Attributes(1);
    /// ID-based Ordering: it may pass posted requests of other requesters.
    pub const ID_BASED: Attributes = Attributes(2);
    /// No Snoop: caches need not be asked.
    pub const NO_SNOOP: Attributes = Attributes(4);
    /// Its data is known to be bad (EP). Of a read: that of its completions will be.
    pub const POISONED: Attributes = Attributes(8);
    /// Its address has been translated by the device (AT).
    pub const TRANSLATED: Attributes = Attributes(16);

    /// It asks for the translation of its address (AT).
    pub const TRANSLATION_REQUEST: Attributes = Attributes(32);

    /// It asks for the page of its address, which was not there.
    pub const PAGE_REQUEST: Attributes = Attributes(64);

    /// Both sets of bits.
    pub const fn with(self, other: Attributes) -> Attributes {
        Attributes(self.0 | other.0)
    }

    /// These without those that a device control register has to permit and does not.
    pub const fn permitted_by(self, permits: Attributes) -> Attributes {
        let controlled = Attributes::RELAXED.0 | Attributes::ID_BASED.0 | Attributes::NO_SNOOP.0;
        Attributes(self.0 & (permits.0 | !controlled))
    }

    /// True when all bits of `other` are set.
    #[inline]
    pub const fn has(self, other: Attributes) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What is special about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Status {
    /// Nothing.
    Good,
    /// A root complex cut it from a larger one, of which more follows: the buffer that one came in stays taken.
    Piece,
    /// A completion that carries an error status instead of data.
    Failed,
}

impl Status {
    /// Once sent, a piece is a packet like any other.
    #[inline]
    pub(crate) fn on_the_wire(self) -> Status {
        if self == Status::Piece { Status::Good } else { self }
    }
}

impl Tlp {
    /// Bytes of payload that travel with it.
    #[inline]
    pub fn payload(&self) -> u64 {
        if self.class == Class::NonPosted || self.status == Status::Failed {
            0
        } else {
            u64::from(self.length)
        }
    }

    /// Bytes of the double words that hold its payload, apart from the end of the last: at an address that is not a multiple
    /// of 4 the first one is there in whole (Base Specification, Byte Enable Rules).
    #[inline]
    pub fn covered(&self) -> u64 {
        match self.payload() {
            0 => 0,
            payload => payload + (self.addr & 3),
        }
    }

    /// Bytes of its header: three double words, four for a request to an address above 4 GiB.
    #[inline]
    pub fn header(&self) -> u64 {
        if self.class == Class::Completion || self.addr <= 0xffff_ffff { 12 } else { 16 }
    }

    /// Data credits (16 bytes each) it needs.
    #[inline]
    pub fn data_credits(&self) -> u32 {
        u32::try_from(self.covered().div_ceil(16)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tlp_stays_small() {
        assert!(size_of::<Tlp>() <= 32);
    }
}
