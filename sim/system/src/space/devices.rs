//! Spaces of devices: what BARs with a table can show, I/O virtual addresses, tags.

use peerbus_fabric::{Direction, EngineId, Fabric, Shown};
use peerbus_machine::Machine;
use peerbus_os::dma::{Dma, Domain, GroupNumber, TranslatedDomain};
use peerbus_os::pci::FunctionIndex;
use peerbus_units::Bytes;

use super::{Level, Part, Space, SpaceKind};
use crate::aperture::memory_bar;
use crate::boot::Booted;

/// Apertures of devices that have a table of pages: `shown` is what each table holds.
pub fn apertures(machine: &Machine, shown: &[Option<Vec<Shown>>]) -> Vec<Space> {
    let aperture = |(device, shown): (usize, &Option<Vec<Shown>>)| {
        let name = &machine.devices[device].name;
        let part = |run: &Shown| Part {
            first: run.at,
            amount: run.size,
            owner: format!("{name} from {}", Bytes(run.memory)),
        };
        let parts: Vec<Part> = shown.as_ref()?.iter().map(part).collect();
        let size = memory_bar(machine, device)?.0;
        Some(Space::still(SpaceKind::Aperture, format!("{name} aperture"), (0, size), &parts))
    };
    shown.iter().enumerate().filter_map(aperture).collect()
}

/// I/O virtual addresses of every group that an IOMMU translates, as they are mapped now.
pub fn io_addresses(machine: &Machine, booted: &Booted) -> Vec<Space> {
    let groups = booted.dma.groups().iter();
    let translated = groups.filter_map(|(group, members)| {
        let Some(Domain::Translated(domain)) = booted.dma.domain(group) else { return None };
        let name = io_name(machine, booted, members);
        let owner = format!("devices of {name}");
        let part = |range: peerbus_units::Range<peerbus_units::Iova>| Part {
            first: range.first().0,
            amount: range.size().0,
            owner: owner.clone(),
        };
        let parts: Vec<Part> = domain.live().map(part).collect();
        let size = domain.last().0.saturating_add(1);
        Some(Space::still(SpaceKind::IoAddresses, name, (0, size), &parts))
    });
    translated.collect()
}

/// Name of the space of a group, by its first member.
fn io_name(machine: &Machine, booted: &Booted, members: &[FunctionIndex]) -> String {
    let first = members.first().map(|first| booted.machine_function(*first));
    let name = first.map_or("", |first| machine.functions[first].name.as_str());
    let more = if members.len() > 1 { format!(" and {} more", members.len() - 1) } else { String::new() };
    format!("{name}{more} IOVA")
}

/// Size of the I/O address space of a group. `None` where nothing translates.
pub(crate) fn io_size(dma: &Dma, group: GroupNumber) -> Option<Bytes> {
    let Some(Domain::Translated(domain)) = dma.domain(group) else { return None };
    Some(Bytes(domain.last().0.saturating_add(1)))
}

/// How full the I/O address space of a group is: bytes free, the largest hole, ranges mapped. `None` where nothing translates.
pub fn io_level(dma: &Dma, group: GroupNumber) -> Option<(Bytes, Bytes, u64)> {
    let Some(Domain::Translated(domain)) = dma.domain(group) else { return None };
    Some(free(domain))
}

fn free(domain: &TranslatedDomain) -> (Bytes, Bytes, u64) {
    let end = domain.last().0.saturating_add(1);
    let (mut at, mut hole, mut used, mut ranges) = (0u64, 0u64, 0u64, 0);
    for range in domain.live() {
        hole = hole.max(range.first().0.saturating_sub(at));
        used = used.saturating_add(range.size().0);
        at = range.last().0.saturating_add(1);
        ranges += 1;
    }
    (Bytes(end.saturating_sub(used)), Bytes(hole.max(end.saturating_sub(at))), ranges)
}

/// I/O address spaces that changed during a run take the place of what they were before it.
pub(crate) fn followed(spaces: &mut [Space], machine: &Machine, booted: &Booted, levels: &IoLevels) {
    for (group, level) in levels {
        let name = io_name(machine, booted, booted.dma.groups().members(*group));
        if let Some(space) = spaces.iter_mut().find(|space| space.name == name) {
            let owners = std::mem::take(&mut space.owners);
            *space = Space { owners, ..level.space(SpaceKind::IoAddresses, name) };
        }
    }
}

/// Levels of I/O address spaces, by group.
pub(crate) type IoLevels = std::collections::BTreeMap<GroupNumber, Level>;

/// Tags of the engines that read. Those that wait for one are held back, not refused.
pub fn tags(fabric: &Fabric) -> Vec<Space> {
    let engines = (0u32..).zip(&fabric.spec.engines);
    let readers = engines.filter(|(_, engine)| engine.direction == Direction::Read);
    let tags = readers.map(|(number, engine)| {
        let (size, used) = fabric.tags(EngineId(number));
        let (size, used) = (u64::from(size), u64::from(used));
        let name = format!("{} tags", engine.name);
        Space {
            used: 0,
            largest_hole: size,
            ..Space::settled(SpaceKind::Tags, name, size, used, size - used)
        }
    });
    tags.filter(|space| space.peak > 0).collect()
}
