//! The phases after collecting: unmapping everywhere, handing over, putting back.

use peerbus_units::Pfn;

use super::{Migration, Refusal, Word};
use crate::mm::frame::{At, Content, HUGE, Place};
use crate::mm::table::{Entry, Huge, SlotKind};
use crate::mm::{Mm, Vpn};
use crate::notifier::Event;

/// Takes the first collected folio from word `from` on out of all other page tables, or rejects it because somebody else
/// holds it. Returns the word to go on with; none at the end. Whoever is told to forget the page may sleep.
pub fn unmap_next(mm: &mut Mm, migration: &mut Migration, from: usize) -> Option<usize> {
    let words = mm.migrate_words();
    let named = |index: usize| migration.src[index].pfn(words).map(|pfn| (index, pfn));
    let Some((index, pfn)) = (from..migration.src.len()).find_map(named) else {
        migration.collected = migration.src.iter().filter(|word| word.moves()).count() as u64;
        return None;
    };
    mm.unmap_to_migration(pfn);
    if let Err(why) = check(mm, migration, pfn) {
        restore(mm, migration, pfn);
        migration.src[index] = Word::NONE;
        migration.refuse(index, why);
    }
    Some(index + 1)
}

/// Takes collected pages out of all other page tables and rejects those somebody else holds.
pub fn unmap(mm: &mut Mm, migration: &mut Migration) {
    let mut next = Some(0);
    while let Some(from) = next {
        next = unmap_next(mm, migration, from);
    }
}

fn is_fault_folio(mm: &Mm, migration: &Migration, pfn: Pfn) -> bool {
    migration.fault_page.is_some_and(|fault| mm.frames.head(fault) == mm.frames.head(pfn))
}

/// Whether a page is unmapped everywhere and nobody holds it. A device page may have one reference nobody knows
/// of; handing over is stricter.
fn check(mm: &Mm, migration: &Migration, pfn: Pfn) -> Result<(), Refusal> {
    if mm.frames.is_huge(pfn) && !mm.rules.huge_migration {
        return Err(Refusal::PartOfHuge);
    }
    let device = mm.frames.place(pfn) != Place::System;
    let extra =
        1 + u32::from(is_fault_folio(mm, migration, pfn)) + u32::from(device) + mm.expected_references(pfn);
    if mm.frames.folio_mapcount(pfn) > 0 || mm.frames.references(pfn) > extra {
        return Err(Refusal::Referenced);
    }
    Ok(())
}

/// Puts a page back where it was and lets go of it.
fn restore(mm: &mut Mm, migration: &Migration, pfn: Pfn) {
    mm.put_back(pfn, pfn);
    let locked_by_fault = mm.rules.private_fault_locks && is_fault_folio(mm, migration, pfn);
    if !locked_by_fault {
        mm.frames.unlock(pfn);
    }
    mm.put(pfn);
}

/// Hands each page's identity over to its destination, or refuses: the word then no longer moves.
pub fn pages(mm: &mut Mm, migration: &mut Migration) {
    let words = mm.migrate_words();
    let mut index = 0;
    while index < migration.src.len() {
        let (src, dst) = (migration.src[index], migration.dst[index]);
        let result = match (src.moves(), src.pfn(words), dst.pfn(words)) {
            (false, ..) => Ok(()),
            (true, None, _) if src.is_compound() => {
                if place_compound(mm, migration, index) {
                    index += 512;
                    continue;
                }
                Ok(())
            }
            (true, _, None) => Err(Refusal::NoDestination),
            (true, None, Some(new)) => place_new(mm, migration, index, new),
            (true, Some(old), Some(new)) => hand_over(mm, migration, index, old, new),
        };
        if let Err(why) = result {
            migration.src[index] = migration.src[index].stays();
            migration.refuse(index, why);
        }
        index += 1;
    }
}

/// A huge hole: as one huge entry if the driver gave a huge folio, else the 512 pages are seen one by one.
fn place_compound(mm: &mut Mm, migration: &mut Migration, index: usize) -> bool {
    let words = mm.migrate_words();
    let dst = migration.dst[index];
    match dst.pfn(words) {
        Some(new) if dst.is_compound() => {
            if let Err(why) = place_huge(mm, migration, index, new) {
                migration.src[index] = Word::EMPTY.stays();
                migration.refuse(index, why);
            }
            true
        }
        _ => {
            let end = (index + 512).min(migration.src.len());
            for word in &mut migration.src[index..end] {
                *word = Word::EMPTY;
            }
            for one in index..end {
                let result = match migration.dst[one].pfn(words) {
                    Some(new) => place_new(mm, migration, one, new),
                    None => Err(Refusal::NoDestination),
                };
                if let Err(why) = result {
                    migration.src[one] = Word::NONE;
                    migration.refuse(one, why);
                }
            }
            true
        }
    }
}

fn announce(mm: &mut Mm, migration: &mut Migration, index: usize) {
    if let (Some(space), false) = (migration.space, migration.announced) {
        migration.announced = true;
        let from = migration.from + index as u64;
        mm.invalidate(space, from, migration.to(), Event::Migrate(migration.by));
    }
}

fn page_at(migration: &Migration, index: usize) -> Vpn {
    migration.from + index as u64
}

/// Puts a new page where there was none.
fn place_new(mm: &mut Mm, migration: &mut Migration, index: usize, new: Pfn) -> Result<(), Refusal> {
    let space = migration.space.ok_or(Refusal::Hole)?;
    announce(mm, migration, index);
    let at = At { space, page: page_at(migration, index) };
    let vma = mm.vma(space, at.page).filter(|vma| vma.is_anonymous()).ok_or(Refusal::Hole)?;
    if vma.filled_by_handler {
        return Err(Refusal::Changed);
    }
    match mm.space(space).table.slot(at.page) {
        SlotKind::Huge(Huge::Zero) if mm.rules.huge_migration => mm.split_entry(space, at.page),
        SlotKind::Huge(_) => return Err(Refusal::Changed),
        _ => {}
    }
    if !matches!(mm.space(space).table.get(at.page), None | Some(Entry::Zero)) {
        return Err(Refusal::Changed);
    }
    mm.prepare_group(space, at.page);
    let entry = match mm.frames.place(new) {
        Place::Private(_) => Entry::Private { pfn: new, write: vma.write },
        _ => Entry::Page { pfn: new, write: vma.write },
    };
    mm.frames.get(new);
    mm.install_new(at, entry);
    Ok(())
}

/// Puts a new huge folio into an empty slot.
fn place_huge(mm: &mut Mm, migration: &mut Migration, index: usize, new: Pfn) -> Result<(), Refusal> {
    let space = migration.space.ok_or(Refusal::Hole)?;
    announce(mm, migration, index);
    let slot = At { space, page: page_at(migration, index) };
    let vma = mm.vma(space, slot.page).filter(|vma| vma.is_anonymous()).ok_or(Refusal::Hole)?;
    if vma.filled_by_handler || !vma.holds(slot.page, slot.page + HUGE) {
        return Err(Refusal::Changed);
    }
    match mm.space(space).table.slot(slot.page) {
        SlotKind::Empty | SlotKind::Huge(Huge::Zero) => {}
        _ => return Err(Refusal::Changed),
    }
    mm.prepare_group(space, slot.page);
    mm.frames.get(new);
    let huge = match mm.frames.place(new) {
        Place::Private(_) => Huge::Private { pfn: new, write: vma.write },
        _ => Huge::Page { pfn: new, write: vma.write },
    };
    mm.install_new_huge(slot, huge);
    Ok(())
}

/// Whether `old` may become `new`, and if so, that.
fn hand_over(
    mm: &mut Mm,
    migration: &mut Migration,
    index: usize,
    old: Pfn,
    new: Pfn,
) -> Result<(), Refusal> {
    let (src, dst) = (migration.src[index], migration.dst[index]);
    let content = mm.frames.content(old);
    let device = mm.frames.place(new) != Place::System;
    if device && content != Content::Anonymous {
        return Err(Refusal::FilePage);
    }
    if src.is_compound() && !dst.is_compound() {
        return split_and_hand_over(mm, migration, index, old);
    }
    if dst.is_compound() && !src.is_compound() {
        return Err(Refusal::SizeDiffers);
    }
    check_exact(mm, migration, old)?;
    take_identity(mm, old, new);
    Ok(())
}

fn check_exact(mm: &Mm, migration: &Migration, old: Pfn) -> Result<(), Refusal> {
    let fault = u32::from(is_fault_folio(mm, migration, old));
    if mm.frames.references(old) == mm.expected_references(old) + fault + 1 {
        Ok(())
    } else {
        Err(Refusal::Referenced)
    }
}

fn take_identity(mm: &mut Mm, old: Pfn, new: Pfn) {
    let content = mm.frames.content(old);
    mm.frames.set_content(new, content);
    let group = mm.frames.group(old);
    mm.frames.set_group(new, group);
    if let Content::File(file, index) = content
        && mm.files.cached(file, index) == Some(old)
    {
        mm.files.replace(file, index, new);
        mm.frames.get(new);
        mm.put(old);
    }
}

/// A huge folio whose destinations are small: it is split while nothing maps it, and its pages move one by one.
fn split_and_hand_over(
    mm: &mut Mm,
    migration: &mut Migration,
    index: usize,
    head: Pfn,
) -> Result<(), Refusal> {
    let words = mm.migrate_words();
    if migration.space.is_none() {
        return Err(Refusal::SizeDiffers);
    }
    check_exact(mm, migration, head)?;
    let fault = migration.fault_page.filter(|fault| mm.frames.head(*fault) == head);
    let write = migration.src[index].is_writable();
    mm.split_awaited_for_pages(head, fault);
    for offset in 0..HUGE {
        let one = index + usize::try_from(offset).expect("an index of a folio");
        let pfn = Pfn(head.0 + offset);
        migration.src[one] = Word::source(words, pfn, write);
        let result = match migration.dst[one].pfn(words) {
            Some(new) => check_exact(mm, migration, pfn).map(|()| take_identity(mm, pfn, new)),
            None => Err(Refusal::NoDestination),
        };
        if let Err(why) = result {
            migration.src[one] = migration.src[one].stays();
            migration.refuse(one, why);
        }
    }
    Ok(())
}

/// Puts every page back into page tables: the destination where the word still moves, the source otherwise.
/// Locks and references of the migration go.
pub fn finalize(mm: &mut Mm, migration: &mut Migration) {
    let words = mm.migrate_words();
    for index in 0..migration.src.len() {
        let (src, dst) = (migration.src[index], migration.dst[index]);
        match (src.pfn(words), dst.pfn(words)) {
            (Some(old), Some(new)) if src.moves() => {
                mm.put_back(old, new);
                release(mm, migration, old);
                mm.frames.unlock(new);
                mm.put(new);
            }
            (old, new) => {
                if let Some(old) = old {
                    mm.put_back(old, old);
                    release(mm, migration, old);
                }
                if let Some(new) = new {
                    mm.frames.unlock(new);
                    mm.put(new);
                }
            }
        }
    }
}

fn release(mm: &mut Mm, migration: &Migration, old: Pfn) {
    if !(mm.rules.private_fault_locks
        && migration.fault_page.is_some_and(|fault| fault == old || same_folio(mm, fault, old)))
    {
        mm.frames.unlock(old);
    }
    mm.put(old);
}

fn same_folio(mm: &Mm, one: Pfn, other: Pfn) -> bool {
    mm.frames.is_used(one) && mm.frames.head(one) == mm.frames.head(other)
}
