//! What must hold between any two steps, whatever is under way.

use std::collections::{BTreeMap, BTreeSet};

use peerbus_os::mm::frame::{Content, HUGE, Place, ZERO_PAGE};
use peerbus_os::mm::rules::ExclusiveRule;
use peerbus_os::mm::table::{Entry, Huge};
use peerbus_os::mm::{Mm, SpaceId, Vpn};
use peerbus_os::notifier::Tag;
use peerbus_units::Pfn;

/// Counted from page tables.
#[derive(Default)]
struct Folio {
    /// Entries that count as mappings.
    mapped: usize,
    /// Entries that hold a reference.
    held: u32,
}

/// Fails with a sentence if something does not hold. `holds`: references held from outside, by first page;
/// `quiet`: nothing is under way.
pub fn check(mm: &Mm, holds: &BTreeMap<Pfn, u32>, quiet: bool) -> Result<(), String> {
    let mut folios: BTreeMap<Pfn, Folio> = BTreeMap::new();
    for (space, found) in &mm.spaces {
        let top = Vpn::MAX / HUGE * HUGE;
        for slot in found.table.slots(0, top) {
            match found.table.huge(slot) {
                Some(huge) => huge_entry(mm, &mut folios, *space, slot, huge, quiet)?,
                None => {
                    for (page, entry) in found.table.entries(slot, slot + HUGE) {
                        small_entry(mm, &mut folios, (*space, page), entry, quiet)?;
                    }
                }
            }
        }
    }
    let cached: BTreeSet<Pfn> = mm.files.all_cached().collect();
    let mut system = 0;
    for (head, references, mapcount) in mm.frames.folios() {
        let counted = folios.get(&head).map_or((0, 0), |folio| (folio.mapped, folio.held));
        if counted.0 != mapcount {
            return Err(format!("{head:?}: {mapcount} mappings, page tables have {}", counted.0));
        }
        let known = counted.1 + u32::from(cached.contains(&head)) + holds.get(&head).copied().unwrap_or(0);
        if references < known || (quiet && references != known) {
            return Err(format!("{head:?}: {references} references, {known} known, quiet {quiet}"));
        }
        if quiet && mm.frames.locked(head) {
            return Err(format!("{head:?} is locked by nobody"));
        }
        if mm.frames.place(head) == Place::System {
            system += mm.frames.folio_pages(head);
        }
    }
    if system != mm.frames.in_use() {
        return Err(format!("{system} pages in use, {} counted", mm.frames.in_use()));
    }
    devices(mm)?;
    mirrors(mm)
}

fn device_accounts(mm: &Mm) -> BTreeMap<peerbus_os::mm::DeviceId, u64> {
    let mut used = BTreeMap::new();
    for (head, _, _) in mm.frames.folios() {
        if let Place::Private(device) | Place::Coherent(device) = mm.frames.place(head) {
            *used.entry(device).or_insert(0) += mm.frames.folio_pages(head);
        }
    }
    used
}

fn devices(mm: &Mm) -> Result<(), String> {
    let used = device_accounts(mm);
    for (device, memory) in &mm.devices {
        let used = used.get(device).copied().unwrap_or(0);
        if memory.pages() != memory.free_pages() + used {
            let (all, free) = (memory.pages(), memory.free_pages());
            return Err(format!("{device:?}: {all} pages, {free} free, {used} used"));
        }
        let maps = memory.chunks().filter_map(|chunk| mm.private_memory().platform.page_maps.get(chunk.map));
        let references: u64 = maps.map(|map| map.references - map.resting).sum();
        if references != used {
            return Err(format!("{device:?}: its page maps count {references} pages, {used} are used"));
        }
    }
    Ok(())
}

fn huge_entry(
    mm: &Mm,
    folios: &mut BTreeMap<Pfn, Folio>,
    space: SpaceId,
    slot: Vpn,
    huge: Huge,
    quiet: bool,
) -> Result<(), String> {
    match huge {
        Huge::Zero => {}
        Huge::Page { pfn, write } | Huge::Private { pfn, write } => {
            let private = matches!(huge, Huge::Private { .. });
            if !mm.frames.is_huge(pfn) || private != matches!(mm.frames.place(pfn), Place::Private(_)) {
                return Err(format!("{space:?} {slot}: {huge:?} is not such a folio"));
            }
            let folio = folios.entry(pfn).or_default();
            folio.mapped += 1;
            folio.held += 1;
            let anonymous = mm.frames.content(pfn) == Content::Anonymous;
            if anonymous && write && (!mm.frames.exclusive(pfn) || mm.frames.folio_mapcount(pfn) != 1) {
                return Err(format!("{space:?} {slot}: {huge:?} is writable and shared"));
            }
        }
        Huge::Migration { pfn, .. } => migration(mm, space, slot, pfn, quiet)?,
    }
    Ok(())
}

fn migration(mm: &Mm, space: SpaceId, page: Vpn, pfn: Pfn, quiet: bool) -> Result<(), String> {
    if quiet {
        return Err(format!("{space:?} {page}: a migration entry that nobody replaces"));
    }
    if !mm.frames.is_used(pfn) {
        return Err(format!("{space:?} {page}: a migration entry for a page that is free"));
    }
    Ok(())
}

fn small_entry(
    mm: &Mm,
    folios: &mut BTreeMap<Pfn, Folio>,
    (space, page): (SpaceId, Vpn),
    entry: Entry,
    quiet: bool,
) -> Result<(), String> {
    let (pfn, write, mapped) = match entry {
        Entry::Zero | Entry::Marker => return Ok(()),
        Entry::Page { pfn, write } | Entry::Private { pfn, write } => (pfn, write, true),
        Entry::Exclusive { pfn, .. } => (pfn, false, mm.rules.exclusive == ExclusiveRule::ByPage),
        Entry::Migration { pfn, .. } => return migration(mm, space, page, pfn, quiet),
    };
    if !mm.frames.is_used(pfn) {
        return Err(format!("{space:?} {page}: {entry:?} leads to a free page"));
    }
    let private = matches!(mm.frames.place(pfn), Place::Private(_));
    if private != matches!(entry, Entry::Private { .. }) {
        return Err(format!("{space:?} {page}: {entry:?} is of the wrong kind"));
    }
    let folio = folios.entry(mm.frames.head(pfn)).or_default();
    folio.mapped += usize::from(mapped);
    folio.held += 1;
    let listed = mm.frames.maps(pfn).iter().filter(|at| (at.space, at.page) == (space, page)).count();
    if listed != usize::from(mapped) {
        return Err(format!("{space:?} {page}: {entry:?} is listed {listed} times"));
    }
    let anonymous = mm.frames.content(pfn) == Content::Anonymous;
    if anonymous && mm.frames.exclusive(pfn) && mm.frames.mapcount(pfn) > 1 {
        return Err(format!("{space:?} {page}: {entry:?} is exclusive and mapped twice"));
    }
    if anonymous && write && !mm.frames.exclusive(pfn) {
        return Err(format!("{space:?} {page}: {entry:?} is writable and not exclusive"));
    }
    Ok(())
}

/// Devices know only pages that are there, and write only what a CPU could.
fn mirrors(mm: &Mm) -> Result<(), String> {
    for (id, mirror) in mm.mirrors.iter() {
        let Some(found) = mm.spaces.get(&mirror.space) else { continue };
        for (page, entry) in &mirror.table {
            let behind = mm.page_behind(mirror.space, *page);
            let zero = matches!(found.table.huge(*page), Some(Huge::Zero))
                || matches!(found.table.get(*page), Some(Entry::Zero));
            let expected = if zero { Some(ZERO_PAGE) } else { behind };
            let is_huge_zero = entry.pfn.0 < 2 * HUGE && zero;
            if !is_huge_zero && expected != Some(mm.reached(entry.pfn)) {
                return Err(format!("{id:?} page {page}: the device knows {entry:?}, there is {expected:?}"));
            }
            let writable = match (found.table.huge(*page), found.table.get(*page)) {
                (Some(Huge::Page { write, .. } | Huge::Private { write, .. }), _) => write,
                (Some(Huge::Migration { .. }), _) | (_, Some(Entry::Migration { .. })) => true,
                (_, Some(Entry::Page { write, .. } | Entry::Private { write, .. })) => write,
                _ => false,
            };
            if entry.tag == Tag::Write && !writable {
                return Err(format!("{id:?} page {page}: the device may write, the CPU may not"));
            }
        }
    }
    Ok(())
}
