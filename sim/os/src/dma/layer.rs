//! [`Dma`]: the DMA layer of a running kernel, from probing IOMMUs to mapping for devices.
//!
//! Devices are PCI functions, numbered as in the [`Tree`]. Each has masks that its driver sets; its group says whether
//! its DMA is translated. Functions without an IOMMU, and those in an identity domain, map directly.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerbus_units::{BusAddr, Bytes, CpuAddr, Iova, Range};

use super::default_domain::{DeviceKind, global_domain_type, group_domain, translation_features};
use super::mapper::Mapper;
use super::{
    AliasQuirks, Attributes, Context, Device, DmaError, DmaRules, DomainError, DomainParameters, DomainShape,
    DomainType, FlushShape, FlushTimer, GroupNumber, Grouping, Groups, Invalidation, IommuDriver, Mapped,
    Member, Memory, Reservation, ReservedRegion, TranslatedDomain, amd_aperture_end, intel_aperture_end,
    reserved_ranges,
};
use crate::ConfigSpace;
use crate::parameters::IommuParameters;
use crate::pci::{FunctionIndex, Tree};

/// The IOMMUs of a machine, all of one kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Iommu {
    /// Who drives them.
    pub driver: IommuDriver,
    /// Functions they do not cover: an AMD IOMMU is a PCI function itself and does not translate for itself.
    pub not_covered: Vec<FunctionIndex>,
    /// log2 of the smallest page: 12 on Intel and AMD.
    pub granule_shift: u32,
    /// First address they translate.
    pub aperture_start: Iova,
    /// Last address they translate; [`intel_aperture_end`] and [`amd_aperture_end`] tell it.
    pub aperture_end: Iova,
    /// Ranges that domains keep free.
    pub reserved: Vec<ReservedRegion>,
    /// How lazily unmapped ranges wait; `None` where the hardware cannot put flushes off, and lazy becomes strict.
    pub flush: Option<FlushShape>,
    /// There can be identity domains. Where not, a group that was to have one by the global type is translated.
    pub identity: bool,
}

impl Iommu {
    /// Intel's, which covers every function: second-level tables for an adjusted guest width of `width` bits (39, 48 or
    /// 57), able to pass through.
    pub fn intel(width: u32) -> Iommu {
        Iommu {
            driver: IommuDriver::Intel {
                pass_through: true,
                caching_mode: false,
                second_level: true,
                graphics_off: false,
            },
            ..Iommu::other(12, intel_aperture_end(width, false))
        }
        .with(ReservedRegion::interrupts())
    }

    /// AMD's with version 1 tables, except for `own`, the functions that are IOMMUs.
    pub fn amd(own: Vec<FunctionIndex>) -> Iommu {
        Iommu {
            driver: IommuDriver::Amd { caches_not_present: false },
            not_covered: own,
            ..Iommu::other(12, amd_aperture_end(None))
        }
        .with(ReservedRegion::interrupts())
        .with(ReservedRegion::hyper_transport())
    }

    /// One whose driver has no wishes and reserves nothing, with pages of 2^`granule_shift` bytes, up to `last`.
    pub fn other(granule_shift: u32, last: Iova) -> Iommu {
        Iommu {
            driver: IommuDriver::Other,
            not_covered: Vec::new(),
            granule_shift,
            aperture_start: Iova(0),
            aperture_end: last,
            reserved: Vec::new(),
            flush: Some(FlushShape::ORDINARY),
            identity: true,
        }
    }

    /// The same, with another reserved region.
    pub fn with(mut self, region: ReservedRegion) -> Iommu {
        self.reserved.push(region);
        self
    }
}

/// Facts about the platform and the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DmaSettings {
    /// What decides between identity, strict and lazy.
    pub domains: DomainParameters,
    /// `iommu.forcedac`: no preference for IOVAs below 4 GiB.
    pub force_high: bool,
    /// When queued flushes happen.
    pub timer: FlushTimer,
    /// CPUs online.
    pub cpus: usize,
    /// Addresses each host bridge lets through to memory, by its index; empty or absent: all.
    pub inbound: Vec<Vec<Range<BusAddr>>>,
    /// Devices that use others' requester ids.
    pub quirks: AliasQuirks,
    /// Functions behind ports that firmware marks as facing outside.
    pub untrusted: Vec<FunctionIndex>,
    /// Sound devices of machines whose firmware is known to be wrong about them (Intel).
    pub wrong_sound: Vec<FunctionIndex>,
}

impl Default for DmaSettings {
    /// An x86 distribution kernel on one CPU, nothing on the command line, no call later than the flush timer.
    fn default() -> DmaSettings {
        DmaSettings {
            domains: DomainParameters::default(),
            force_high: false,
            timer: FlushTimer::Never,
            cpus: 1,
            inbound: Vec::new(),
            quirks: AliasQuirks::default(),
            untrusted: Vec::new(),
            wrong_sound: Vec::new(),
        }
    }
}

impl DmaSettings {
    /// The defaults, changed by what the command line says.
    pub fn with_parameters(parameters: &IommuParameters) -> DmaSettings {
        let domains = DomainParameters {
            pass_through: parameters.passthrough,
            strict: parameters.strict,
            ..DomainParameters::default()
        };
        let force_high = parameters.force_dac == Some(true);
        DmaSettings { domains, force_high, ..DmaSettings::default() }
    }
}

/// What a group's devices use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Domain {
    /// CPU addresses.
    Identity,
    /// IOVAs.
    Translated(Box<TranslatedDomain>),
    /// CPU addresses, because the space could not be set up; the kernel warns.
    Unusable(DomainError),
    /// Nothing: probing was refused because a driver wishes to pass an untrusted device through.
    Refused,
}

/// Groups, domains and devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dma {
    pub(super) rules: DmaRules,
    pub(super) groups: Groups,
    pub(super) domains: BTreeMap<GroupNumber, Domain>,
    pub(super) devices: Vec<Device>,
}

impl Dma {
    /// A machine whose DMA no IOMMU translates.
    pub fn without_iommu(tree: &Tree, rules: &DmaRules, settings: &DmaSettings) -> Dma {
        Dma {
            rules: *rules,
            groups: Groups::default(),
            domains: BTreeMap::new(),
            devices: devices(tree, settings),
        }
    }

    /// Groups all functions the IOMMUs cover, with the ACS words of this moment, and gives each group its domain.
    pub fn probe(
        tree: &Tree,
        cs: &impl ConfigSpace,
        rules: &DmaRules,
        iommu: &Iommu,
        settings: &DmaSettings,
    ) -> Dma {
        let grouping = Grouping { tree, cs, quirks: &settings.quirks, rules };
        let groups = Groups::probe(&grouping, |function| !iommu.not_covered.contains(&function));
        let numbers: Vec<GroupNumber> = groups.iter().map(|(number, _)| number).collect();
        let mut dma = Dma { groups, ..Dma::without_iommu(tree, rules, settings) };
        numbers.into_iter().for_each(|group| dma.choose_domain(tree, cs, iommu, settings, group));
        dma
    }

    /// A function of the tree that appeared later: it joins a group, or gets one of its own, whose domain it decides
    /// alone. Nothing happens if no IOMMU covers it.
    pub fn add(
        &mut self,
        tree: &Tree,
        cs: &impl ConfigSpace,
        iommu: &Iommu,
        settings: &DmaSettings,
        function: FunctionIndex,
    ) {
        self.devices.extend(devices(tree, settings).into_iter().skip(self.devices.len()));
        if iommu.not_covered.contains(&function) {
            return;
        }
        let rules = &self.rules;
        let group = self.groups.add(&Grouping { tree, cs, quirks: &settings.quirks, rules }, function);
        if !self.domains.contains_key(&group) {
            self.choose_domain(tree, cs, iommu, settings, group);
        }
    }

    /// A function that went away leaves its group; an empty group goes with its domain.
    pub fn remove(&mut self, function: FunctionIndex) {
        let Some(group) = self.groups.of(function) else { return };
        self.groups.remove(function);
        if self.groups.members(group).is_empty() {
            self.domains.remove(&group);
        }
    }

    fn choose_domain(
        &mut self,
        tree: &Tree,
        cs: &impl ConfigSpace,
        iommu: &Iommu,
        settings: &DmaSettings,
        group: GroupNumber,
    ) {
        let rules = &self.rules;
        let global = match global_domain_type(&settings.domains, iommu.driver.needs_strict()) {
            DomainType::Identity if !iommu.identity => DomainType::Strict,
            global => global,
        };
        let members = self.groups.members(group);
        let member = |function: &FunctionIndex| {
            let kind = device_kind(tree, cs, settings, *function);
            Member { untrusted: kind.untrusted, wish: iommu.driver.wish(rules, &settings.domains, &kind) }
        };
        let wishes: Vec<Member> = members.iter().map(member).collect();
        let domain = match (group_domain(rules, global, &wishes), members.first()) {
            (Ok(chosen), Some(first)) => domain(tree, rules, iommu, settings, chosen.domain, *first),
            _ => Domain::Refused,
        };
        self.domains.insert(group, domain);
    }

    /// The groups.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The domain of a group.
    pub fn domain(&self, group: GroupNumber) -> Option<&Domain> {
        self.domains.get(&group)
    }

    /// What is known of a function as a device; `None` for one that is not of the tree.
    pub fn device(&self, function: FunctionIndex) -> Option<&Device> {
        self.devices.get(function.0)
    }

    /// The same, for a driver to set masks and limits.
    pub fn device_mut(&mut self, function: FunctionIndex) -> Option<&mut Device> {
        self.devices.get_mut(function.0)
    }

    /// Sets a function's DMA up anew: the preference for low IOVAs is back, unless `iommu.forcedac` says otherwise.
    pub fn set_up_again(&mut self, function: FunctionIndex, force_high: bool) {
        if let Some(device) = self.devices.get_mut(function.0) {
            device.set_up(force_high);
        }
    }

    /// True if an IOMMU translates the function's DMA.
    pub fn is_translated(&self, function: FunctionIndex) -> bool {
        let domain = self.groups.of(function).and_then(|group| self.domains.get(&group));
        matches!(domain, Some(Domain::Translated(_)))
    }

    /// Maps one piece of memory for a device (`dma_map_page`); no type of peer-to-peer memory is asked for.
    pub fn map(
        &mut self,
        device: FunctionIndex,
        memory: &Memory,
        attributes: Attributes,
        context: &mut Context<'_>,
    ) -> Result<Mapped, DmaError> {
        self.with(device, context, |mapper| mapper.map_one(memory, attributes))?
    }

    /// Maps a list (`dma_map_sgtable`): all of it or nothing. [`super::entries_or_zero`] makes of the result what
    /// `dma_map_sg` returns.
    pub fn map_list(
        &mut self,
        device: FunctionIndex,
        list: &[Memory],
        attributes: Attributes,
        context: &mut Context<'_>,
    ) -> Result<Mapped, DmaError> {
        self.with(device, context, |mapper| mapper.map_list(list, attributes))?
    }

    /// Undoes a mapping of the same device.
    pub fn unmap(
        &mut self,
        device: FunctionIndex,
        mapped: Mapped,
        context: &mut Context<'_>,
    ) -> Result<(), DmaError> {
        self.with(device, context, |mapper| mapper.unmap(mapped))?
    }

    /// Reserves IOVAs to link memory to later (7.x). `Ok(None)`: map piece by piece.
    pub fn reserve(
        &mut self,
        device: FunctionIndex,
        at: CpuAddr,
        size: Bytes,
        context: &mut Context<'_>,
    ) -> Result<Option<Reservation>, DmaError> {
        self.with(device, context, |mapper| mapper.reserve(at, size))
    }

    /// Links memory into a reservation of the same device at byte `offset`.
    pub fn link(
        &mut self,
        device: FunctionIndex,
        reservation: &mut Reservation,
        offset: u64,
        memory: &Memory,
        attributes: Attributes,
        context: &mut Context<'_>,
    ) -> Result<(), DmaError> {
        self.with(device, context, |mapper| mapper.link(reservation, offset, memory, attributes))?
    }

    /// Unlinks what was linked at byte `offset`.
    pub fn unlink(
        &mut self,
        device: FunctionIndex,
        reservation: &mut Reservation,
        offset: u64,
        context: &mut Context<'_>,
    ) -> Result<(), DmaError> {
        self.with(device, context, |mapper| mapper.unlink(reservation, offset))?
    }

    /// Unlinks everything and gives the reservation back.
    pub fn destroy(
        &mut self,
        device: FunctionIndex,
        reservation: Reservation,
        context: &mut Context<'_>,
    ) -> Result<(), DmaError> {
        self.with(device, context, |mapper| mapper.destroy(reservation))?
    }

    /// Lets timers of all domains fire that are due.
    pub fn advance(&mut self, context: &mut Context<'_>) {
        for (group, domain) in &mut self.domains {
            let Domain::Translated(domain) = domain else { continue };
            for _ in 0..domain.advance(context.call, &mut context.work) {
                context.tables.flush(*group);
            }
        }
    }

    /// A CPU goes offline: what it kept of freed IOVAs is free for all.
    pub fn cpu_offline(&mut self, cpu: u32, context: &mut Context<'_>) {
        for domain in self.domains.values_mut() {
            if let Domain::Translated(domain) = domain {
                domain.cpu_offline(cpu, &mut context.work);
            }
        }
    }

    fn with<T>(
        &mut self,
        device: FunctionIndex,
        context: &mut Context<'_>,
        run: impl FnOnce(&mut Mapper<'_, '_>) -> T,
    ) -> Result<T, DmaError> {
        let group = self.groups.of(device);
        let device = self.devices.get_mut(device.0).ok_or(DmaError::Invalid)?;
        let domain = match group.and_then(|group| Some((group, self.domains.get_mut(&group)?))) {
            Some((group, Domain::Translated(domain))) => Some((group, &mut **domain)),
            Some((_, Domain::Refused)) => return Err(DmaError::Io),
            Some((_, Domain::Identity | Domain::Unusable(_))) | None => None,
        };
        let rules = &self.rules;
        Ok(run(&mut Mapper { rules, device, domain, context }))
    }
}

fn devices(tree: &Tree, settings: &DmaSettings) -> Vec<Device> {
    let device = |(function, _)| {
        let mut device = Device::new(Some(function), settings.force_high);
        device.untrusted = settings.untrusted.contains(&function);
        device
    };
    tree.iter().map(device).collect()
}

/// Vendor id of Intel, and the base class of display controllers.
const INTEL: u16 = 0x8086;
const DISPLAY: u32 = 0x03;

fn device_kind(
    tree: &Tree,
    cs: &impl ConfigSpace,
    settings: &DmaSettings,
    function: FunctionIndex,
) -> DeviceKind {
    let it = &tree[function];
    let integrated = it.vendor == INTEL && it.class >> 16 == DISPLAY && tree[it.bus].is_root();
    DeviceKind {
        untrusted: settings.untrusted.contains(&function),
        features: translation_features(tree, cs, function),
        azalia: settings.wrong_sound.contains(&function),
        integrated_graphics: integrated,
    }
}

/// The domain of the group whose first device is `first`.
fn domain(
    tree: &Tree,
    rules: &DmaRules,
    iommu: &Iommu,
    settings: &DmaSettings,
    kind: DomainType,
    first: FunctionIndex,
) -> Domain {
    let invalidation = match kind {
        DomainType::Identity => return Domain::Identity,
        DomainType::Strict => Invalidation::Strict,
        DomainType::Lazy => {
            let lazy = |shape| Invalidation::Lazy(shape, settings.timer);
            iommu.flush.map_or(Invalidation::Strict, lazy)
        }
    };
    let granule_shift = iommu.granule_shift;
    let Some(aperture) = Range::new(iommu.aperture_start, iommu.aperture_end) else {
        return Domain::Unusable(DomainError::NoPages);
    };
    let shape = DomainShape { granule_shift, aperture, invalidation, cpus: settings.cpus };
    let host_bridge = tree[tree[first].bus].host_bridge;
    let inbound = settings.inbound.get(host_bridge).map_or(&[][..], Vec::as_slice);
    let reserved = reserved_ranges(tree, first, inbound, &iommu.reserved);
    match TranslatedDomain::new(&shape, &reserved, rules) {
        Ok(domain) => Domain::Translated(Box::new(domain)),
        Err(error) => Domain::Unusable(error),
    }
}

/// Whose mapping operations a device has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operations {
    /// None: DMA is direct.
    Direct,
    /// The IOMMU layer's.
    Iommu,
    /// An architecture's own.
    Legacy {
        /// They say that they know peer-to-peer memory.
        know_peers: bool,
    },
}

/// Whether peer-to-peer memory may be mapped at all for a device (`dma_pci_p2pdma_supported`). Newer kernels have no
/// flag for legacy operations: those never can.
pub fn peers_supported(rules: &DmaRules, operations: Operations) -> bool {
    match operations {
        Operations::Direct | Operations::Iommu => true,
        Operations::Legacy { know_peers } => know_peers && rules.flagged_operations_know_peers,
    }
}
