//! [`DmaBuf`]: attach, map, pin, invalidate.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use super::Placement;
use crate::p2pdma::P2pdmaRules;

/// What a dynamic importer brings. Static importers bring none of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Importer {
    /// It accepts addresses without page structs, of the exporter's own memory.
    pub allow_peer2peer: bool,
    /// It can be told that its mapping is no longer valid.
    pub invalidate: bool,
}

impl Importer {
    /// GPUs, on-demand RDMA regions, iommufd.
    pub const DYNAMIC: Importer = Importer { allow_peer2peer: true, invalidate: true };
    /// Pinned RDMA regions: they cannot let go.
    pub const PINNED: Importer = Importer { allow_peer2peer: true, invalidate: false };
}

/// What an exporter looks at when an importer attaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attaching {
    /// What the importer brings; none for a static one.
    pub importer: Option<Importer>,
    /// Distance from exporter to importer, if there is a supported path.
    pub distance: Option<u32>,
    /// Both are joined by XGMI.
    pub xgmi: bool,
}

impl Attaching {
    /// The flag as it starts.
    pub fn peer2peer(&self) -> bool {
        self.importer.is_some_and(|importer| importer.allow_peer2peer)
    }

    /// It can be told that its mapping is no longer valid.
    pub fn invalidate(&self) -> bool {
        self.importer.is_some_and(|importer| importer.invalidate)
    }
}

macro_rules! errors {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $errno:literal, $text:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// The kernel's name of the error.
            pub const fn errno(self) -> &'static str {
                match self {
                    $($name::$variant => $errno,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($name::$variant => concat!($text, " (", $errno, ")"),)+
                })
            }
        }

        impl core::error::Error for $name {}
    };
}

errors! {
    /// Why an attachment failed.
    AttachError {
        /// A dynamic importer without a callback, in kernels that demand one. They warn.
        NoCallback = "EINVAL", "a dynamic importer must have a callback";
        /// The importer does not accept peer memory, and the exporter has no other.
        NotPeerToPeer = "EOPNOTSUPP", "the importer does not reach the exporter's memory";
        /// The buffer is revoked.
        Revoked = "ENODEV", "the buffer is revoked";
        /// The importer could not let go when the buffer is revoked.
        NotRevocable = "EOPNOTSUPP", "the importer cannot let go of the buffer";
        /// There is no path, and the buffer cannot move to system memory.
        CannotMove = "EOPNOTSUPP", "there is no path, and the buffer cannot move to system memory";
    }
}

errors! {
    /// Why a buffer was not pinned.
    PinError {
        /// Pinning is for dynamic importers.
        NotDynamic = "EINVAL", "a static importer cannot pin";
        /// The buffer may be nowhere where all importers reach it.
        NoPlace = "EINVAL", "there is no allowed place";
        /// The buffer is pinned in another place.
        PinnedElsewhere = "EINVAL", "the buffer is pinned elsewhere";
    }
}

errors! {
    /// Why a buffer was not mapped.
    MapError {
        /// There is no such attachment.
        NoAttachment = "EINVAL", "there is no such attachment";
        /// The buffer could not be pinned, or not be where this importer reaches it.
        NoPlace = "EINVAL", "the buffer cannot be where the importer reaches it";
        /// The buffer is revoked.
        Revoked = "ENODEV", "the buffer is revoked";
    }
}

/// Decides for a buffer.
pub trait Exporter {
    /// Whether an importer may have the exporter's memory; or it may not attach at all.
    fn attach(&mut self, rules: &P2pdmaRules, attaching: &Attaching) -> Result<bool, AttachError>;

    /// Where the buffer is.
    fn placement(&self) -> Placement;

    /// True when it knows pins.
    fn pins(&self) -> bool;

    /// Pins the buffer; `every_peer2peer`: all attachments still have the flag.
    fn pin(&mut self, every_peer2peer: bool) -> Result<Placement, PinError>;

    /// Drops a pin.
    fn unpin(&mut self);

    /// Brings the buffer to where an importer with this flag reaches it.
    fn place(&mut self, peer2peer: bool) -> Result<Placement, MapError>;
}

/// Names one attachment of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AttachmentId(pub u32);

/// One importer's attachment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// What the importer brought; none for a static one.
    pub importer: Option<Importer>,
    /// It may have the exporter's memory.
    pub peer2peer: bool,
    /// Where the buffer was when it was mapped.
    pub mapped: Option<Placement>,
    /// What was mapped is no longer valid.
    pub stale: bool,
    /// The pin a static attachment took by mapping.
    pinned: bool,
}

/// A successful mapping.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// Where the buffer is.
    pub placement: Placement,
    /// The caller must wait for the buffer's kernel fences: static attachments have no other way to know that a move
    /// is over.
    pub wait_for_fences: bool,
    /// Attachments told to let go, because the buffer had to move for this one.
    pub invalidated: Vec<AttachmentId>,
}

/// A shared buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DmaBuf<E> {
    /// Who decides.
    pub exporter: E,
    attachments: BTreeMap<AttachmentId, Attachment>,
    next: u32,
}

impl<E: Exporter> DmaBuf<E> {
    /// A buffer nobody is attached to.
    pub fn new(exporter: E) -> DmaBuf<E> {
        DmaBuf { exporter, attachments: BTreeMap::new(), next: 0 }
    }

    /// Attaches an importer.
    pub fn attach(
        &mut self,
        rules: &P2pdmaRules,
        attaching: &Attaching,
    ) -> Result<AttachmentId, AttachError> {
        let without = attaching.importer.is_some_and(|importer| !importer.invalidate);
        if without && !rules.invalidation_is_optional {
            return Err(AttachError::NoCallback);
        }
        let peer2peer = self.exporter.attach(rules, attaching)?;
        let importer = attaching.importer;
        let id = AttachmentId(self.next);
        self.next += 1;
        let attachment = Attachment { importer, peer2peer, mapped: None, stale: false, pinned: false };
        self.attachments.insert(id, attachment);
        Ok(id)
    }

    /// Unmaps, drops the pin of a static mapping, and forgets.
    pub fn detach(&mut self, id: AttachmentId) {
        self.unmap(id);
        self.attachments.remove(&id);
    }

    /// An attachment while it exists.
    pub fn attachment(&self, id: AttachmentId) -> Option<&Attachment> {
        self.attachments.get(&id)
    }

    /// Pins the buffer for a dynamic importer.
    pub fn pin(&mut self, id: AttachmentId) -> Result<Placement, PinError> {
        let dynamic = self.attachments.get(&id).is_some_and(|attachment| attachment.importer.is_some());
        if !dynamic {
            return Err(PinError::NotDynamic);
        }
        if !self.exporter.pins() {
            return Ok(self.exporter.placement());
        }
        self.exporter.pin(self.every_peer2peer())
    }

    /// Drops a pin.
    pub fn unpin(&mut self) {
        if self.exporter.pins() {
            self.exporter.unpin();
        }
    }

    /// Maps the buffer. For a static attachment it is pinned first, if the exporter knows pins. Where the buffer has to
    /// move, all who mapped it before have to map again.
    pub fn map(&mut self, id: AttachmentId) -> Result<Mapped, MapError> {
        let attachment = *self.attachments.get(&id).ok_or(MapError::NoAttachment)?;
        let before = self.exporter.placement();
        let pin = attachment.importer.is_none() && self.exporter.pins() && !attachment.pinned;
        if pin {
            self.exporter.pin(self.every_peer2peer()).map_err(|_| MapError::NoPlace)?;
        }
        let placement = match self.exporter.place(attachment.peer2peer) {
            Ok(placement) => placement,
            Err(error) => {
                if pin {
                    self.exporter.unpin();
                }
                return Err(error);
            }
        };
        let invalidated = if placement == before { Vec::new() } else { self.invalidate() };
        if let Some(attachment) = self.attachments.get_mut(&id) {
            (attachment.mapped, attachment.stale) = (Some(placement), false);
            attachment.pinned |= pin;
        }
        Ok(Mapped { placement, wait_for_fences: attachment.importer.is_none(), invalidated })
    }

    /// Ends a mapping.
    pub fn unmap(&mut self, id: AttachmentId) {
        let Some(attachment) = self.attachments.get_mut(&id) else { return };
        (attachment.mapped, attachment.stale) = (None, false);
        if core::mem::take(&mut attachment.pinned) {
            self.exporter.unpin();
        }
    }

    /// Tells every attachment with a callback that what it mapped is no longer valid, and waits for nothing. Those told
    /// stop using the addresses, at the latest when the fences of this moment have signalled, and map again.
    pub fn invalidate(&mut self) -> Vec<AttachmentId> {
        let told = self.attachments.iter_mut();
        let told = told.filter(|(_, attachment)| attachment.importer.is_some_and(|it| it.invalidate));
        told.map(|(id, attachment)| {
            attachment.stale = attachment.mapped.is_some();
            *id
        })
        .collect()
    }

    /// Mappings that are in use, stale ones included.
    pub fn mappings(&self) -> usize {
        self.attachments.values().filter(|attachment| attachment.mapped.is_some()).count()
    }

    fn every_peer2peer(&self) -> bool {
        self.attachments.values().all(|attachment| attachment.peer2peer)
    }
}
