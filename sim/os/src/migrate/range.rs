//! Migrating pages that are named themselves, without an address space: what a driver does when it goes.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use peerbus_units::Pfn;

use super::{Migration, Refusal, Word};
use crate::mm::frame::{Content, HUGE, Place};
use crate::mm::{DeviceId, Errno, Mm};

/// Folios in use of a device's memory, by their first pages.
pub fn device_pages(mm: &Mm, device: DeviceId) -> Vec<Pfn> {
    mm.device_folios(device)
}

/// Collects folios by their first pages: those that are in use and not locked. Huge folios take one word and 511
/// empty ones. [`super::unmap`] is next.
pub fn setup_pages(mm: &mut Mm, by: DeviceId, list: &[Pfn]) -> Migration {
    let words = mm.migrate_words();
    let mut src = Vec::new();
    let mut refusals = BTreeMap::new();
    for pfn in list {
        let pages = mm.frames.folio_pages(*pfn);
        if !mm.frames.is_used(*pfn) || mm.frames.references(*pfn) == 0 || !mm.frames.try_lock(*pfn) {
            refusals.insert(src.len(), Refusal::Locked);
            src.push(Word::NONE);
            continue;
        }
        mm.frames.get(*pfn);
        let word = Word::source(words, *pfn, false);
        src.push(if pages == HUGE { word.compound() } else { word });
        src.extend((1..pages).map(|_| Word::NONE));
    }
    let count = src.len();
    let collected = src.iter().filter(|word| word.moves()).count() as u64;
    Migration {
        space: None,
        from: 0,
        by,
        fault_page: None,
        src,
        dst: vec![Word::NONE; count],
        collected,
        refusals,
        announced: false,
    }
}

/// Moves one coherent page to system memory, as a long-term pin wants.
///
/// # Errors
///
/// `Busy` on any failure.
pub fn coherent_page_to_ram(mm: &mut Mm, pfn: Pfn) -> Result<(), Errno> {
    let words = mm.migrate_words();
    let Place::Coherent(device) = mm.frames.place(pfn) else { return Err(Errno::Busy) };
    let mut migration = setup_pages(mm, device, &[pfn]);
    super::unmap(mm, &mut migration);
    if let Some(new) = migration.src[0].moves().then(|| mm.frames.allocate(Content::Anonymous)).flatten() {
        mm.frames.try_lock(new);
        mm.frames.copy(pfn, new, 1);
        migration.dst[0] = Word::destination(words, new);
    }
    super::pages(mm, &mut migration);
    let moved = migration.moved() == 1;
    super::finalize(mm, &mut migration);
    if moved { Ok(()) } else { Err(Errno::Busy) }
}
