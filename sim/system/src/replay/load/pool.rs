//! Calls on a pool.

use peerbus_machine::file::Leaf;
use peerbus_os::pool::Algorithm;
use peerbus_units::Bytes;

use super::Known;
use super::context::{Context, Place};
use crate::replay::call::{Call, Freed};
use crate::replay::{codes, file};

/// What to write for a size.
pub(super) const SIZE: &str = "a size such as \"64MiB\", or a number of bytes";
/// What to write for an address.
pub(super) const ADDRESS: &str = "an address such as 0x1000_0000";
/// What to write for an id.
pub(super) const ID: &str = "a whole number";
const ALGORITHM: &str = "FirstFit, BestFit, OrderAlign, FirstFitAlign(align: \"64KiB\") or Fixed(offset: 0)";

impl Context<'_> {
    pub(super) fn pool(&mut self, given: &file::Pool, place: &Place) -> Option<Call> {
        let granule = match given.granule {
            None => Bytes::kib(4),
            Some(_) => self.take(&given.granule, place, "granule", SIZE)?,
        };
        let granule = self.power_of_two(granule, &place.field("granule"), "a granule")?;
        let algorithm = self.algorithm(&given.algorithm, place)?;
        let algorithm = algorithm.unwrap_or(Algorithm::FirstFit);
        Some(Call::Pool { order: granule.0.trailing_zeros(), algorithm })
    }

    pub(super) fn pool_call(&mut self, call: &file::Call, place: &Place, known: &mut Known) -> Option<Call> {
        match call {
            file::Call::AddChunk(given) => {
                let base = self.require(&given.base, place, "base", ADDRESS);
                let size = self.require(&given.size, place, "size", SIZE);
                Some(Call::AddChunk { base: base?, size: size? })
            }
            file::Call::Alloc(given) => self.alloc(given, place, known),
            file::Call::Free(given) => self.free(given, place, known),
            _ => Some(Call::Avail),
        }
    }

    fn alloc(&mut self, given: &file::Alloc, place: &Place, known: &mut Known) -> Option<Call> {
        let id = self.optional(&given.id, place, "id", ID);
        let size = self.require(&given.size, place, "size", SIZE);
        let align = self.optional(&given.align, place, "align", SIZE);
        let algorithm = self.algorithm(&given.algorithm, place);
        if given.align.is_some() && given.algorithm.is_some() {
            let message = "both `align` and `algorithm` are given".to_owned();
            let help = "write `algorithm: FirstFitAlign(align: …)`, or `align:` alone";
            self.error(codes::CONTRADICTION, &place.field("align"), message, help);
            return None;
        }
        let algorithm = match align? {
            None => algorithm?,
            Some(align) => {
                let align = self.power_of_two(align, &place.field("align"), "an alignment")?;
                Some(Algorithm::FirstFitAlign { align: align.0 })
            }
        };
        let id = id?;
        self.give(id, &mut known.allocations, place);
        Some(Call::Alloc { id, size: size?, algorithm })
    }

    fn free(&mut self, given: &file::Free, place: &Place, known: &mut Known) -> Option<Call> {
        let id = self.optional(&given.id, place, "id", ID)?;
        let address = self.optional(&given.address, place, "address", ADDRESS)?;
        let size = self.optional(&given.size, place, "size", SIZE)?;
        let what = match (id, address) {
            (Some(id), None) => Freed::Id(id),
            (None, Some(address)) => {
                let size = self.require(&given.size, place, "size", SIZE);
                return size.map(|size| Call::Free { what: Freed::Address(address), size: Some(size) });
            }
            (Some(_), Some(_)) => {
                let message = "both `id` and `address` are given".to_owned();
                self.error(codes::CONTRADICTION, &place.field("address"), message, "write one of them");
                return None;
            }
            (None, None) => return self.require(&given.id, place, "id", ID).and(None),
        };
        if let Freed::Id(id) = what {
            self.give_back(id, &mut known.allocations, known.unsure, place, "Alloc");
        }
        Some(Call::Free { what, size })
    }

    /// An algorithm whose parameters the kernel's code is made for; the outer `None` when it is not.
    fn algorithm(
        &mut self,
        given: &Option<Leaf<file::Algorithm>>,
        place: &Place,
    ) -> Option<Option<Algorithm>> {
        let Some(given) = self.optional(given, place, "algorithm", ALGORITHM)? else { return Some(None) };
        Some(Some(match given {
            file::Algorithm::FirstFit => Algorithm::FirstFit,
            file::Algorithm::BestFit => Algorithm::BestFit,
            file::Algorithm::OrderAlign => Algorithm::OrderAlign,
            file::Algorithm::FirstFitAlign { align } => {
                let align = self.power_of_two(align, &place.field("algorithm"), "an alignment")?;
                Algorithm::FirstFitAlign { align: align.0 }
            }
            file::Algorithm::Fixed { offset } => Algorithm::Fixed { offset: offset.0 },
        }))
    }

    /// An optional field; the outer `None` when it is there and was not understood.
    pub(super) fn optional<T: serde::de::DeserializeOwned + Clone>(
        &mut self,
        leaf: &Option<Leaf<T>>,
        place: &Place,
        name: &'static str,
        expected: &str,
    ) -> Option<Option<T>> {
        if leaf.is_none() { Some(None) } else { self.take(leaf, place, name, expected).map(Some) }
    }

    /// `size` when it is a power of two; otherwise a report.
    pub(super) fn power_of_two(&mut self, size: Bytes, place: &Place, what: &str) -> Option<Bytes> {
        if size.is_power_of_two() {
            return Some(size);
        }
        let message = format!("{what} of {size} is no power of two");
        let help = match size.0.checked_next_power_of_two() {
            Some(next) => format!("the next one is {}", Bytes(next)),
            None => "the largest one is 8EiB".to_owned(),
        };
        self.error(codes::NO_POWER_OF_TWO, place, message, help);
        None
    }
}
