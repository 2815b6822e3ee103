//! [`IommuTables`]: how the operating system writes what IOMMUs translate by, and [`Translations`], a plain store.

use alloc::collections::BTreeMap;

use peerbus_units::{Address, CpuAddr, Iova, Range};

use super::GroupNumber;

/// The table of a domain had no room for a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableFull;

/// The translation tables of all domains, one per group, and which requester ids they are for.
pub trait IommuTables {
    /// Requests of `segment` that carry the id `requester` are translated by the table of `group`; with `None` they
    /// pass as they are.
    fn attach(&mut self, segment: u32, requester: u16, group: Option<GroupNumber>);

    /// Makes `iova` reach the CPU addresses from `to` on. The range is not mapped yet.
    fn map(&mut self, group: GroupNumber, iova: Range<Iova>, to: CpuAddr) -> Result<(), TableFull>;

    /// Removes every range that begins inside `iova`.
    fn unmap(&mut self, group: GroupNumber, iova: Range<Iova>);

    /// Makes all IOMMUs forget translations of `group` that they keep although the table has them no more.
    fn flush(&mut self, group: GroupNumber);
}

/// Tables as plain data.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Translations {
    /// Last IOVA and CPU address of the first, by group and first IOVA.
    ranges: BTreeMap<(GroupNumber, Iova), (Iova, CpuAddr)>,
    /// Groups by segment and requester id.
    requesters: BTreeMap<(u32, u16), GroupNumber>,
    /// Ranges that fit; `None`: any number.
    capacity: Option<usize>,
}

impl Translations {
    /// Empty tables that hold at most `ranges` ranges together.
    pub fn limited_to(ranges: usize) -> Translations {
        Translations { capacity: Some(ranges), ..Translations::default() }
    }

    /// The group by whose table requests with this id are translated; `None`: they pass as they are.
    pub fn group_of(&self, segment: u32, requester: u16) -> Option<GroupNumber> {
        self.requesters.get(&(segment, requester)).copied()
    }

    /// Where `iova` of `group` leads.
    pub fn translate(&self, group: GroupNumber, iova: Iova) -> Option<CpuAddr> {
        let (first, (last, to)) = self.ranges.range((group, Iova(0))..=(group, iova)).next_back()?;
        let offset = (iova <= *last).then(|| iova.0 - first.1.0)?;
        to.checked_add(offset)
    }

    /// Number of ranges mapped.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// True when nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl IommuTables for Translations {
    fn attach(&mut self, segment: u32, requester: u16, group: Option<GroupNumber>) {
        match group {
            Some(group) => self.requesters.insert((segment, requester), group),
            None => self.requesters.remove(&(segment, requester)),
        };
    }

    fn map(&mut self, group: GroupNumber, iova: Range<Iova>, to: CpuAddr) -> Result<(), TableFull> {
        if self.capacity.is_some_and(|capacity| self.ranges.len() >= capacity) {
            return Err(TableFull);
        }
        let below = self.ranges.range((group, Iova(0))..=(group, iova.last())).next_back();
        assert!(below.is_none_or(|(_, (last, _))| *last < iova.first()), "{iova} of {group:?} is mapped");
        self.ranges.insert((group, iova.first()), (iova.last(), to));
        Ok(())
    }

    fn unmap(&mut self, group: GroupNumber, iova: Range<Iova>) {
        while let Some((key, _)) = self.ranges.range((group, iova.first())..=(group, iova.last())).next() {
            let key = *key;
            self.ranges.remove(&key);
        }
    }

    fn flush(&mut self, _: GroupNumber) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerbus_units::Bytes;

    #[test]
    fn an_iova_leads_where_its_groups_range_says() {
        let mut tables = Translations::limited_to(2);
        let range = |first| Range::sized(Iova(first), Bytes(0x2000)).unwrap();
        let (a, b) = (GroupNumber(1), GroupNumber(2));
        tables.map(a, range(0x1000), CpuAddr(0x9_0000)).unwrap();
        tables.map(b, range(0x1000), CpuAddr(0x7_0000)).unwrap();
        assert_eq!(tables.map(a, range(0x8000), CpuAddr(0)), Err(TableFull));
        let found = [(a, 0xfff), (a, 0x1000), (a, 0x2fff), (a, 0x3000), (b, 0x2001)];
        let found = found.map(|(group, iova)| tables.translate(group, Iova(iova)).map(|to| to.0));
        assert_eq!(found, [None, Some(0x9_0000), Some(0x9_1fff), None, Some(0x7_1001)]);
        tables.unmap(a, range(0x1000));
        assert_eq!((tables.len(), tables.translate(a, Iova(0x1000))), (1, None));
    }
}
