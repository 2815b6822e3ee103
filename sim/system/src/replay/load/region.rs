//! Calls on the tree of physical addresses.

use peerbus_os::RulesOptions;
use peerbus_os::iomem::{
    Arm64, DirectMap, DirectMapTrim, FreeRegionStep, PageSize, Paging, PhysicalSpace, RegionSpace,
};
use peerbus_units::{Bytes, CpuAddr, Range};

use super::Known;
use super::context::{Context, Place};
use super::pool::{ADDRESS, ID, SIZE};
use crate::kernel::ProfileName;
use crate::replay::call::{Call, RegionSetup};
use crate::replay::{codes, file};

const SPACE: &str = "X86(…), Arm64(…), Ppc64(physical_bits: 46), Riscv64 or Loongarch64";

impl Context<'_> {
    pub(super) fn region(
        &mut self,
        given: &file::Region,
        place: &Place,
        profile: ProfileName,
    ) -> Option<Call> {
        let limit = self.optional(&given.limit, place, "limit", ADDRESS);
        let space = self.optional(&given.space, place, "space", SPACE);
        let end = self.optional(&given.end, place, "end", ADDRESS);
        let start = self.optional(&given.start, place, "start", ADDRESS);
        let section = self.optional(&given.section, place, "section", SIZE);
        let section = section.and_then(|section| match section {
            Some(section) => self.power_of_two(section, &place.field("section"), "a section").map(Some),
            None => Some(None),
        });
        let step = self.optional(&given.step, place, "step", "Size or Section");
        let descriptors = self.optional(&given.descriptors, place, "descriptors", "a whole number");
        let (limit, space) = (limit?, space?);
        if limit.is_none() && space.is_none() {
            self.require(&given.limit, place, "limit", "an address, or `space:` with a kind of machine");
            return None;
        }
        let (physical, trim) = match space {
            None => (None, None),
            Some(space) => {
                let (physical, trim) = self.physical(&space, &place.field("space"))?;
                (Some(physical), trim)
            }
        };
        let rules =
            profile.profile().rules(RulesOptions { direct_map_trim: trim, ..RulesOptions::default() });
        let default_section = physical.map_or(Bytes::mib(128), |physical| physical.section());
        let default_end = physical.map_or(CpuAddr(u64::MAX), |physical| physical.end());
        let default_limit = physical.map_or(CpuAddr(u64::MAX), |physical| physical.limit(&rules));
        let (start, end) = (start?.unwrap_or(CpuAddr(0)), end?.unwrap_or(default_end));
        self.range(start, end, &place.field("start"), "the part searched")?;
        let step = step?.map_or(rules.iomem.free_region_step, |step| match step {
            file::Step::Size => FreeRegionStep::Size,
            file::Step::Section => FreeRegionStep::Alignment,
        });
        let section = section?.unwrap_or(default_section);
        let space = RegionSpace { limit: limit.unwrap_or(default_limit), section };
        Some(Call::Region(RegionSetup { end, start, space, step, descriptors: descriptors? }))
    }

    pub(super) fn region_call(
        &mut self,
        call: &file::Call,
        place: &Place,
        known: &mut Known,
    ) -> Option<Call> {
        match call {
            file::Call::Busy(given) => {
                let first = self.require(&given.first, place, "first", ADDRESS);
                let last = self.require(&given.last, place, "last", ADDRESS);
                let name = self.optional(&given.name, place, "name", "a name in quotation marks")?;
                let range = self.range(first?, last?, &place.field("last"), "this range")?;
                Some(Call::Busy { range, name: name.unwrap_or_else(|| "Busy".to_owned()) })
            }
            file::Call::Request(given) => self.request(given, place, known),
            file::Call::Release(given) => {
                let id = self.require(&given.id, place, "id", ID)?;
                self.give_back(id, &mut known.requests, known.unsure, place, "Request");
                Some(Call::Release { id })
            }
            _ => None,
        }
    }

    fn request(&mut self, given: &file::Request, place: &Place, known: &mut Known) -> Option<Call> {
        let id = self.optional(&given.id, place, "id", ID);
        let size = self.require(&given.size, place, "size", SIZE);
        let direction = self.optional(&given.direction, place, "direction", "Down or Up")?;
        let align = self.optional(&given.align, place, "align", SIZE)?;
        let upwards = match (direction.unwrap_or_default(), align) {
            (file::Direction::Down, None) => None,
            (file::Direction::Down, Some(_)) => {
                let message = "a search downwards is aligned to sections".to_owned();
                let help = "write `direction: Up`, or set `section` of the Region";
                self.error(codes::CONTRADICTION, &place.field("align"), message, help);
                return None;
            }
            (file::Direction::Up, None) => Some(Bytes::mib(128)),
            (file::Direction::Up, Some(align)) => {
                Some(self.power_of_two(align, &place.field("align"), "an alignment")?)
            }
        };
        let id = id?;
        self.give(id, &mut known.requests, place);
        Some(Call::Request { id, size: size?, upwards })
    }

    fn range(&mut self, first: CpuAddr, last: CpuAddr, place: &Place, what: &str) -> Option<Range<CpuAddr>> {
        let range = Range::new(first, last);
        if range.is_none() {
            let message = format!("{what} ends at {last}, below its start at {first}");
            self.error(codes::REVERSED, place, message, "both ends belong to it: write the lower one first");
        }
        range
    }

    fn physical(
        &mut self,
        given: &file::Space,
        place: &Place,
    ) -> Option<(PhysicalSpace, Option<DirectMapTrim>)> {
        let space = match given {
            file::Space::X86(x86) => return self.x86(x86, place),
            file::Space::Arm64(arm64) => PhysicalSpace::Arm64(self.arm64(arm64, place)?),
            file::Space::Ppc64 { physical_bits } => {
                self.one_of(*physical_bits, &[46, 51], place, "physical_bits")?;
                PhysicalSpace::Ppc64 { physical_bits: *physical_bits }
            }
            file::Space::Riscv64 => PhysicalSpace::Riscv64,
            file::Space::Loongarch64 => PhysicalSpace::Loongarch64,
        };
        Some((space, None))
    }

    fn x86(&mut self, given: &file::X86, place: &Place) -> Option<(PhysicalSpace, Option<DirectMapTrim>)> {
        self.one_of(given.levels, &[4, 5], place, "levels")?;
        self.within(given.physical_bits, 32..=52, place, "physical_bits")?;
        let paging = if given.levels == 5 { Paging::FiveLevel } else { Paging::FourLevel };
        let direct_map = DirectMap {
            randomised: given.randomised,
            ram_end: given.ram_end,
            padding_tib: given.padding_tib,
            zone_device: given.zone_device,
            peer_to_peer: given.peer_to_peer,
        };
        let trim = given.trim.map(|trim| match trim {
            file::Trim::Always => DirectMapTrim::Always,
            file::Trim::WithoutPeerToPeer => DirectMapTrim::WithoutPeerToPeer,
            file::Trim::WithoutZoneDevice => DirectMapTrim::WithoutZoneDevice,
        });
        Some((PhysicalSpace::X86 { paging, physical_bits: given.physical_bits, direct_map }, trim))
    }

    fn arm64(&mut self, given: &file::Arm64, place: &Place) -> Option<Arm64> {
        let page = match given.page.0 >> 10 {
            4 => PageSize::K4,
            16 => PageSize::K16,
            64 => PageSize::K64,
            _ => {
                let message = format!("arm64 has no pages of {}", given.page);
                self.error(codes::OUT_OF_RANGE, place, message, "write \"4KiB\", \"16KiB\" or \"64KiB\"");
                return None;
            }
        };
        self.within(given.configured_va, 36..=52, place, "configured_va")?;
        self.within(given.used_va, 36..=given.configured_va, place, "used_va")?;
        self.one_of(given.configured_pa, &[48, 52], place, "configured_pa")?;
        self.one_of(given.pa_range, &[32, 36, 40, 42, 44, 48, 52], place, "pa_range")?;
        let dram = self.range(given.ram_first, given.ram_last, place, "RAM")?;
        let kernel_end = given.kernel_end.unwrap_or(CpuAddr(dram.first().0.saturating_add(64 << 20)));
        Some(Arm64 {
            page,
            configured_va: given.configured_va,
            used_va: given.used_va,
            configured_pa: given.configured_pa,
            pa_range: given.pa_range,
            dram,
            kernel_end,
            seed: given.seed,
            separate_hypervisor: given.separate_hypervisor,
        })
    }

    fn one_of(&mut self, value: u32, allowed: &[u32], place: &Place, name: &str) -> Option<()> {
        if allowed.contains(&value) {
            return Some(());
        }
        let words: Vec<String> = allowed.iter().map(u32::to_string).collect();
        let message = format!("`{name}` cannot be {value}");
        self.error(codes::OUT_OF_RANGE, place, message, format!("write one of {}", words.join(", ")));
        None
    }

    fn within(
        &mut self,
        value: u32,
        allowed: std::ops::RangeInclusive<u32>,
        place: &Place,
        name: &str,
    ) -> Option<()> {
        if allowed.contains(&value) {
            return Some(());
        }
        let help = format!("write a number from {} to {}", allowed.start(), allowed.end());
        self.error(codes::OUT_OF_RANGE, place, format!("`{name}` cannot be {value}"), help);
        None
    }
}
