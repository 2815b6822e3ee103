//! [`Registers`]: everything software can program, apart from the description of the machine.
//!
//! Each PCI function has 4096 bytes of configuration space with a write mask. An operating system reaches them
//! only by [`Registers::read`] and [`Registers::write`], which are routed by the bus numbers programmed at that
//! moment, as real configuration requests are: nothing answers at an address → all ones, and writes vanish.
//! The fabric only reads, through the typed views of `view`, and rebuilds what it derived from them when
//! [`Registers::generation`] has moved.
//!
//! Beside configuration space there are the tables of the IOMMUs ([`IommuTables`]), empty at power on.
//!
//! Invariant: after [`Registers::power_on`] nothing but [`Registers::write`] and [`Registers::iommu_mut`] changes a bit.
//!
//! Modules in reading order: `layout` (offsets), `space` (bytes and masks), `header` and `capability` (what
//! hardware has), `wiring` (who answers where), `power_on` (what firmware leaves), `view` (what it all means), `iommu`.

mod capability;
mod header;
mod iommu;
pub(crate) mod layout;
mod power_on;
mod space;
mod tags;
#[cfg(test)]
mod test_machine;
#[cfg(test)]
mod tests;
mod view;
mod wiring;

use peerbus_units::FunctionId;

pub use iommu::{DomainNumber, IommuTables, Translation};
pub use view::{BusNumbers, DecodedBar, DecodedWindow};

use crate::model::{FunctionIndex, Machine};
use space::{ConfigSpace, all_ones};
use wiring::Wiring;

/// The programmable state of a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registers {
    wiring: Wiring,
    spaces: Vec<ConfigSpace>,
    iommu: IommuTables,
    generation: u64,
}

impl Registers {
    /// The registers as an operating system finds them: reset values, and what firmware has programmed.
    pub fn power_on(machine: &Machine) -> Registers {
        let wiring = Wiring::new(machine);
        let spaces = power_on::spaces(machine, &wiring);
        Registers { wiring, spaces, iommu: IommuTables::default(), generation: 0 }
    }

    /// A configuration read of 1, 2 or 4 bytes that does not cross a dword. All ones when nothing answers.
    pub fn read(&self, id: FunctionId, offset: u16, width_bytes: u8) -> u32 {
        self.at(id).map_or(all_ones(width_bytes), |function| self.space(function).read(offset, width_bytes))
    }

    /// A configuration write of 1, 2 or 4 bytes that does not cross a dword. Does nothing when nothing answers.
    pub fn write(&mut self, id: FunctionId, offset: u16, width_bytes: u8, value: u32) {
        if let Some(function) = self.at(id) {
            let changed = self.spaces[function.index()].write(offset, width_bytes, value);
            self.generation += u64::from(changed);
        }
    }

    /// The function that answers to `id` with the bus numbers programmed now.
    pub fn at(&self, id: FunctionId) -> Option<FunctionIndex> {
        self.wiring.route(id, |bridge| self.bus_numbers(bridge).map(|bus| (bus.secondary, bus.subordinate)))
    }

    /// Where `function` answers now; `None` when no configuration request can reach it.
    pub fn id(&self, function: FunctionIndex) -> Option<FunctionId> {
        let secondary = |bridge| self.bus_numbers(bridge).map_or(0, |bus| bus.secondary);
        let id = self.wiring.id(function, self.wiring.bus(function, secondary))?;
        (self.at(id) == Some(function)).then_some(id)
    }

    /// What IOMMUs translate by.
    pub fn iommu(&self) -> &IommuTables {
        &self.iommu
    }

    /// The same, for software to write.
    pub fn iommu_mut(&mut self) -> &mut IommuTables {
        self.generation += 1;
        &mut self.iommu
    }

    /// Every function.
    pub fn functions(&self) -> impl Iterator<Item = FunctionIndex> + use<> {
        self.wiring.all()
    }

    /// Counts the writes that changed anything but error bits, to any function or to IOMMU tables.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Counts the writes that changed anything but error bits, to one function.
    pub fn function_generation(&self, function: FunctionIndex) -> u64 {
        self.space(function).generation
    }

    /// All 4096 bytes of a function, for dumps.
    pub fn bytes(&self, function: FunctionIndex) -> &[u8] {
        self.space(function).bytes()
    }

    fn space(&self, function: FunctionIndex) -> &ConfigSpace {
        &self.spaces[function.index()]
    }
}
