//! [`TableWrites`]: what the kernel writes into IOMMU tables while a run is under way, on its way to the hardware.

use peerbus_machine::registers;
use peerbus_os::dma::{GroupNumber, IommuTables, TableFull};
use peerbus_units::{CpuAddr, Iova, Range};

use super::domain;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Write {
    Attach(u32, u16, Option<GroupNumber>),
    Map(GroupNumber, Range<Iova>, CpuAddr),
    Unmap(GroupNumber, Range<Iova>),
}

/// Writes in order. Only when applied do they change anything.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[must_use = "the hardware does not know of writes that are dropped"]
pub(crate) struct TableWrites(Vec<Write>);

impl TableWrites {
    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets the hardware see them.
    pub fn apply(self, tables: &mut registers::IommuTables) {
        for write in self.0 {
            match write {
                Write::Attach(segment, requester, group) => {
                    tables.attach(segment, requester, group.map(domain));
                }
                Write::Map(group, iova, to) => tables.map(domain(group), iova, to),
                Write::Unmap(group, iova) => tables.unmap(domain(group), iova),
            }
        }
    }
}

impl IommuTables for TableWrites {
    fn attach(&mut self, segment: u32, requester: u16, group: Option<GroupNumber>) {
        self.0.push(Write::Attach(segment, requester, group));
    }

    fn map(&mut self, group: GroupNumber, iova: Range<Iova>, to: CpuAddr) -> Result<(), TableFull> {
        self.0.push(Write::Map(group, iova, to));
        Ok(())
    }

    fn unmap(&mut self, group: GroupNumber, iova: Range<Iova>) {
        self.0.push(Write::Unmap(group, iova));
    }

    fn flush(&mut self, _: GroupNumber) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerbus_machine::registers::{DomainNumber, Translation};
    use peerbus_units::FunctionId;

    #[test]
    fn writes_take_effect_in_order() {
        let range = Range::new(Iova(0x1000), Iova(0x1fff)).unwrap();
        let (group, mut writes) = (GroupNumber(3), TableWrites::default());
        assert!(writes.is_empty());
        writes.attach(1, 0x0100, Some(group));
        writes.map(group, range, CpuAddr(0x9000)).unwrap();
        writes.unmap(group, range);
        writes.map(group, range, CpuAddr(0x5000)).unwrap();
        let mut tables = registers::IommuTables::default();
        writes.apply(&mut tables);
        assert_eq!(tables.domain_of(FunctionId::new(1, 1, 0, 0)), Some(DomainNumber(3)));
        let expect = Translation::Mapped { run: range, to: CpuAddr(0x5000) };
        assert_eq!(tables.translate(DomainNumber(3), Iova(0x1800)), expect);
    }
}
