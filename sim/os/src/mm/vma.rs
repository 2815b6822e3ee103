//! Mappings of an address space (VMAs): which virtual pages mean what, and when two neighbours are one.
//!
//! Two neighbours become one mapping when they have the same backing, permissions, advice and accounting, their
//! offsets continue each other, and their groups of anonymous pages can be joined. A mapping inherited by fork is
//! in its parent's group too, and is not joined with one that has no group.
//!
//! Invariant: mappings are not empty and do not overlap.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{FileId, Vpn};

/// What is behind a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// Memory of the process.
    Anonymous,
    /// A file; anonymous shared memory is a file without a name.
    File(FileId),
    /// Huge pages from a pool.
    Hugetlb,
    /// Pages a driver inserts (mixed map).
    Driver,
}

/// What a process said about huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Advice {
    /// Nothing.
    #[default]
    None,
    /// Huge pages please.
    Huge,
    /// No huge pages.
    NoHuge,
}

/// One mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vma {
    /// First page.
    pub start: Vpn,
    /// One beyond the last page.
    pub end: Vpn,
    /// What is behind it.
    pub backing: Backing,
    /// Page of the backing that `start` shows; of anonymous memory the page number where it was first mapped.
    pub offset: u64,
    /// Writes reach the backing.
    pub shared: bool,
    /// Reading is allowed.
    pub read: bool,
    /// Writing is allowed.
    pub write: bool,
    /// Counted against the memory a system commits: set when private memory becomes writable.
    pub account: bool,
    /// What was advised about huge pages.
    pub advice: Advice,
    /// Never-touched pages are filled by a userfaultfd handler.
    pub filled_by_handler: bool,
    /// The group of mappings its anonymous pages may be found in; set at the first such page.
    pub group: Option<u64>,
    /// Groups it is in: more than one after a fork.
    pub groups: u32,
}

impl Vma {
    /// Page of the backing shown at `page`.
    pub fn backing_page(&self, page: Vpn) -> u64 {
        page - self.start + self.offset
    }

    /// Private memory of the process without a file.
    pub fn is_anonymous(&self) -> bool {
        self.backing == Backing::Anonymous
    }

    /// A write makes a copy first.
    pub fn is_private(&self) -> bool {
        !self.shared
    }

    /// The pages of `slot` (512, aligned) all lie in it.
    pub fn holds(&self, from: Vpn, to: Vpn) -> bool {
        self.start <= from && to <= self.end
    }

    fn inherited(&self) -> bool {
        self.group.is_some() && self.groups > 1
    }

    fn same_kind(&self, right: &Vma) -> bool {
        self.end == right.start
            && self.backing == right.backing
            && self.shared == right.shared
            && self.account == right.account
            && self.advice == right.advice
            && self.filled_by_handler == right.filled_by_handler
            && right.offset == self.offset.wrapping_add(self.end - self.start)
    }

    /// Whether this mapping and `right` behind it differ in position and group alone.
    fn continues(&self, right: &Vma) -> bool {
        self.same_kind(right)
            && self.read == right.read
            && self.write == right.write
            && self.backing != Backing::Hugetlb
            && self.backing != Backing::Driver
    }
}

/// Whether a faulted range may join a neighbour that has no anonymous page yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MergeRules {
    /// 7.x: it may; its group is taken over. Earlier: never.
    pub joins_untouched_neighbour: bool,
}

/// Where an inserted mapping comes from.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Source {
    /// It is in its parent process's groups too.
    pub inherited: bool,
    /// A page of the mapping it was moved from, which stays: the two are not joined.
    pub stays: Option<Vpn>,
}

/// The mappings of an address space.
#[derive(Clone, Default, Debug)]
pub struct Vmas {
    list: BTreeMap<Vpn, Vma>,
}

impl Vmas {
    /// The mapping around `page`.
    pub fn find(&self, page: Vpn) -> Option<&Vma> {
        self.list.range(..=page).next_back().map(|(_, vma)| vma).filter(|vma| page < vma.end)
    }

    fn find_mut(&mut self, page: Vpn) -> Option<&mut Vma> {
        self.list.range_mut(..=page).next_back().map(|(_, vma)| vma).filter(|vma| page < vma.end)
    }

    /// All mappings, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = &Vma> {
        self.list.values()
    }

    /// Mappings that overlap `from..to`.
    pub fn overlapping(&self, from: Vpn, to: Vpn) -> Vec<Vma> {
        let before = self.list.range(..from).next_back().map(|(_, vma)| *vma).filter(|vma| vma.end > from);
        before.into_iter().chain(self.list.range(from..to).map(|(_, vma)| *vma)).collect()
    }

    /// Cuts mappings at `page`.
    fn cut(&mut self, page: Vpn) {
        let Some(vma) = self.find_mut(page).filter(|vma| vma.start < page) else { return };
        let right = Vma { start: page, offset: vma.backing_page(page), ..*vma };
        vma.end = page;
        self.list.insert(page, right);
    }

    /// Takes the mappings of `from..to` out, cutting those at its ends.
    pub fn take(&mut self, from: Vpn, to: Vpn) -> Vec<Vma> {
        self.cut(from);
        self.cut(to);
        let starts: Vec<Vpn> = self.list.range(from..to).map(|(start, _)| *start).collect();
        starts.iter().filter_map(|start| self.list.remove(start)).collect()
    }

    /// Adds a mapping to free room, joining it with its neighbours where possible.
    pub fn insert(&mut self, new: Vma, rules: MergeRules, source: Source) {
        assert!(new.start < new.end && self.overlapping(new.start, new.end).is_empty());
        let before = self.list.range(..new.start).next_back().map(|(_, vma)| *vma);
        let after = self.list.get(&new.end).copied();
        let stays = |vma: &Vma| source.stays.is_some_and(|page| vma.start <= page && page < vma.end);
        let joins = |vma: &Vma| !stays(vma) && joinable(&new, vma, rules, source.inherited);
        let before = before.filter(|left| left.continues(&new) && joins(left));
        let after = after.filter(|right| new.continues(right) && joins(right));
        let after = after.filter(|right| before.is_none_or(|left| groups_agree(&left, right)));
        let mut merged = new;
        for neighbour in before.iter().chain(after.iter()) {
            self.list.remove(&neighbour.start);
            if merged.group.is_none() {
                merged.group = neighbour.group;
                merged.groups = neighbour.groups;
            }
        }
        if let Some(left) = before {
            merged.start = left.start;
            merged.offset = left.offset;
        }
        merged.end = after.map_or(merged.end, |right| right.end);
        self.list.insert(merged.start, merged);
    }

    /// Changes `from..to`, which lies in one mapping, by `change`, then joins it with its neighbours.
    pub fn modify(&mut self, from: Vpn, to: Vpn, rules: MergeRules, change: impl Fn(&mut Vma)) {
        let mut pieces = self.take(from, to);
        let mut piece = pieces.pop().expect("the range lies in a mapping");
        assert!(pieces.is_empty() && piece.start == from && piece.end == to);
        change(&mut piece);
        let inherited = piece.inherited();
        self.insert(piece, rules, Source { inherited, stays: None });
    }

    /// Gives the mapping around `page` a group for its anonymous pages: a neighbour's that it could later be
    /// joined with, or `fresh`.
    pub fn prepare_group(&mut self, page: Vpn, fresh: &mut u64) {
        let Some(vma) = self.find(page).copied().filter(|vma| vma.group.is_none()) else { return };
        let usable = |other: &&Vma| other.group.is_some() && other.groups == 1;
        let after = self.list.get(&vma.end).filter(|next| vma.same_kind(next)).filter(usable);
        let before = self.list.range(..vma.start).next_back().map(|(_, vma)| vma);
        let before = before.filter(|left| left.same_kind(&vma)).filter(usable);
        let group = after.or(before).and_then(|vma| vma.group).unwrap_or_else(|| {
            *fresh += 1;
            *fresh
        });
        let vma = self.find_mut(page).expect("found above");
        vma.group = Some(group);
        vma.groups = 1;
    }

    /// Forgets the group of a mapping whose pages have all been moved elsewhere; `anew`: and where it was first made.
    pub fn forget_group(&mut self, page: Vpn, anew: bool) {
        if let Some(vma) = self.find_mut(page) {
            vma.group = None;
            vma.groups = 0;
            if anew && vma.is_anonymous() {
                vma.offset = vma.start;
            }
        }
    }

    /// What fork gives a child: each mapping with a group is in one more, derived from it.
    pub fn inherited(&self, fresh: &mut u64, parents: &mut BTreeMap<u64, u64>) -> Vmas {
        let mut child = self.clone();
        for vma in child.list.values_mut() {
            let Some(parent) = vma.group else { continue };
            *fresh += 1;
            parents.insert(*fresh, parent);
            vma.group = Some(*fresh);
            vma.groups += 1;
        }
        child
    }
}

fn groups_agree(left: &Vma, right: &Vma) -> bool {
    left.group.is_none() || right.group.is_none() || left.group == right.group
}

fn joinable(new: &Vma, neighbour: &Vma, rules: MergeRules, copied_inherited: bool) -> bool {
    match (new.group, neighbour.group) {
        (None, Some(_)) => neighbour.groups == 1,
        (Some(_), None) => rules.joins_untouched_neighbour && !copied_inherited,
        (mine, theirs) => mine == theirs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anonymous(start: Vpn, end: Vpn) -> Vma {
        Vma {
            start,
            end,
            backing: Backing::Anonymous,
            offset: start,
            shared: false,
            read: true,
            write: true,
            account: true,
            advice: Advice::None,
            filled_by_handler: false,
            group: None,
            groups: 0,
        }
    }

    fn check(vmas: &Vmas, expected: &[(Vpn, Vpn)]) {
        let list: Vec<(Vpn, Vpn)> = vmas.iter().map(|vma| (vma.start, vma.end)).collect();
        assert_eq!(list, expected);
    }

    #[test]
    fn neighbours_join_unless_their_groups_differ() {
        let rules = MergeRules { joins_untouched_neighbour: false };
        let mut vmas = Vmas::default();
        let mut fresh = 0;
        vmas.insert(anonymous(0, 8), rules, Source::default());
        vmas.insert(anonymous(8, 16), rules, Source::default());
        check(&vmas, &[(0, 16)]);
        vmas.prepare_group(3, &mut fresh);
        vmas.insert(anonymous(16, 20), rules, Source::default());
        check(&vmas, &[(0, 20)]);
        let mut child = vmas.inherited(&mut fresh, &mut BTreeMap::new());
        child.insert(anonymous(20, 24), rules, Source::default());
        check(&child, &[(0, 20), (20, 24)]);
        assert_eq!(vmas.take(4, 6).len(), 1);
        check(&vmas, &[(0, 4), (6, 20)]);
    }

    #[test]
    fn an_offset_that_does_not_continue_keeps_mappings_apart() {
        let rules = MergeRules { joins_untouched_neighbour: true };
        let mut vmas = Vmas::default();
        vmas.insert(anonymous(0, 8), rules, Source::default());
        vmas.insert(
            Vma { offset: 100, group: Some(9), groups: 1, ..anonymous(8, 9) },
            rules,
            Source::default(),
        );
        check(&vmas, &[(0, 8), (8, 9)]);
    }
}
