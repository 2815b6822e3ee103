//! Workloads as written → [`peerbus_system::workload`], with every value checked that needs no machine.

use std::ops::RangeInclusive;

use peerbus_machine::file::Leaf;
use peerbus_system::workload::{AbsentPages, AllToAll, Copy, HostDma, Packets, PairMatrix, Workload};
use peerbus_units::{Bytes, Picos};

use super::context::{Context, Place};
use crate::{codes, file};

const PIB: u64 = 1 << 50;
const LARGEST_CHUNK: u64 = 1 << 30;
const LARGEST_TRANSFER: u64 = 4 << 20;
const LARGEST_WINDOW: u64 = 4 << 30;
pub(super) const MOST_TRANSFERS: u64 = 1_000_000_000_000;
pub(super) const MOST_OUTSTANDING: u32 = 4096;
/// 1000 s.
const LATEST_START: Picos = Picos(1_000_000_000_000_000);
const MOST_TRAFFIC_CLASS: u8 = 7;
const DEFAULT_CHUNK: Bytes = Bytes::mib(2);
pub(super) const DEFAULT_TRANSFERS: u64 = 10_000;
pub(super) const DEFAULT_OUTSTANDING: u32 = 64;

/// A workload and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub workload: Workload,
    pub place: Place,
}

impl Context<'_> {
    /// The workloads of the list at `workloads` of `holder`; those that are wrong are missing.
    pub fn workloads(&mut self, given: &[file::Workload], holder: &Place) -> Vec<Placed> {
        let mut placed = Vec::new();
        for (index, item) in given.iter().enumerate() {
            let place = holder.element("workloads", index);
            let workload = match item {
                file::Workload::Copy(copy) => self.copy(copy, &place).map(Workload::Copy),
                file::Workload::PairMatrix(matrix) => {
                    self.pair_matrix(matrix, &place).map(Workload::PairMatrix)
                }
                file::Workload::AllToAll(exchange) => {
                    self.all_to_all(exchange, &place).map(Workload::AllToAll)
                }
                file::Workload::HostDma(dma) => self.host_dma(dma, &place).map(Workload::HostDma),
                file::Workload::PeerMemory(memory) => {
                    self.peer_memory(memory, &place).map(|memory| Workload::PeerMemory(Box::new(memory)))
                }
                file::Workload::CpuAccess(access) => self.cpu_access(access, &place).map(Workload::CpuAccess),
                file::Workload::DeviceAccess(access) => {
                    self.device_access(access, &place).map(Workload::DeviceAccess)
                }
                file::Workload::NvmeIo(io) => self.nvme_io(io, &place).map(Workload::NvmeIo),
                file::Workload::NicIo(io) => self.nic_io(io, &place).map(Workload::NicIo),
                file::Workload::SharedVirtual(shared) => self
                    .shared_virtual(shared, &place)
                    .map(|shared| Workload::SharedVirtual(Box::new(shared))),
                file::Workload::SharedBuffer(buffer) => {
                    self.shared_buffer(buffer, &place).map(|buffer| Workload::SharedBuffer(Box::new(buffer)))
                }
            };
            placed.extend(workload.map(|workload| Placed { workload, place }));
        }
        let names: Vec<_> = given.iter().map(file::Workload::name).collect();
        self.distinct(&names, "workload", |index| holder.element("workloads", index).field("name"));
        placed
    }

    /// Reports names that were given before.
    pub fn distinct(&mut self, names: &[Option<&Leaf<String>>], what: &str, place: impl Fn(usize) -> Place) {
        for (index, name) in names.iter().enumerate() {
            let Some(name) = name.and_then(Leaf::get) else { continue };
            let before = names[..index].iter().flatten().any(|other| other.get() == Some(name));
            if before {
                let several = what.strip_suffix('y').map_or(format!("{what}s"), |stem| format!("{stem}ies"));
                let message = format!("there are two {several} called `{name}`");
                self.error(codes::DUPLICATE_NAME, &place(index), message, "give each its own name");
            }
        }
    }

    /// The name of what stands at `place`.
    pub fn name(&mut self, leaf: &Option<Leaf<String>>, place: &Place) -> Option<String> {
        let name = self.require(leaf, place, "name", "a name, such as \"peer\"")?;
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !name.is_empty() && name.chars().all(fits) {
            return Some(name);
        }
        let message = format!("`{name}` cannot be a name");
        self.error(codes::WRONG_NAME, &place.field("name"), message, "use letters, digits, `-` and `_`");
        None
    }

    fn copy(&mut self, given: &file::Copy, place: &Place) -> Option<Copy> {
        let name = self.name(&given.name, place);
        let from = self.require(&given.from, place, "from", "a device, such as \"gpu0\"");
        let to = self.require(&given.to, place, "to", "a device, such as \"gpu1\"");
        let bytes = self.bytes(&given.bytes, place);
        let chunk = self.chunk(&given.chunk, place);
        let engine = self.choice(&given.engine, place, "engine");
        let refused = self.choice(&given.refused, place, "refused");
        let way = self.choice(&given.way, place, "way");
        let start = self.start_of(&given.start, place);
        let dma_shift = match &given.dma_shift {
            None => Some(Bytes::ZERO),
            given => self.size(given, place, "dma_shift", 0..=PIB),
        };
        let addresses = self.choice(&given.addresses, place, "addresses");
        let packets = self.packets(&given.packets, place);
        let memory_at = match &given.memory_at {
            None => Some(None),
            given => self.size(given, place, "memory_at", 0..=PIB).map(Some),
        };
        let through = self.through(&given.through, place);
        Some(Copy {
            memory_at: memory_at?,
            through: through?,
            packets: packets?,
            addresses: addresses?,
            name: name?,
            from: from?,
            to: to?,
            bytes: bytes?,
            chunk: chunk?,
            engine: engine?,
            refused: refused?,
            way: way?,
            start: start?,
            dma_shift: dma_shift?,
        })
    }

    fn pair_matrix(&mut self, given: &file::PairMatrix, place: &Place) -> Option<PairMatrix> {
        let name = self.name(&given.name, place);
        let devices = self.devices(&given.devices, place, "devices");
        let bytes = self.bytes(&given.bytes, place);
        let chunk = self.chunk(&given.chunk, place);
        let engine = self.choice(&given.engine, place, "engine");
        let refused = self.choice(&given.refused, place, "refused");
        let way = self.choice(&given.way, place, "way");
        let concurrency = self.choice(&given.concurrency, place, "concurrency");
        Some(PairMatrix {
            name: name?,
            devices: devices?,
            bytes: bytes?,
            chunk: chunk?,
            engine: engine?,
            refused: refused?,
            way: way?,
            concurrency: concurrency?,
        })
    }

    fn all_to_all(&mut self, given: &file::AllToAll, place: &Place) -> Option<AllToAll> {
        let name = self.name(&given.name, place);
        let devices = self.devices(&given.devices, place, "devices");
        let bytes = self.bytes(&given.bytes, place);
        let chunk = self.chunk(&given.chunk, place);
        let engine = self.choice(&given.engine, place, "engine");
        let refused = self.choice(&given.refused, place, "refused");
        let way = self.choice(&given.way, place, "way");
        Some(AllToAll {
            name: name?,
            devices: devices?,
            bytes: bytes?,
            chunk: chunk?,
            engine: engine?,
            refused: refused?,
            way: way?,
        })
    }

    fn host_dma(&mut self, given: &file::HostDma, place: &Place) -> Option<HostDma> {
        let name = self.name(&given.name, place);
        let device = self.require(&given.device, place, "device", "a device, such as \"nic0\"");
        let direction =
            self.require(&given.direction, place, "direction", "Read, Write, ReadWrite or WriteThenRead");
        let sizes = self.sizes(&given.sizes, place);
        let transfers =
            self.count(&given.transfers, place, "transfers", 1..=MOST_TRANSFERS, DEFAULT_TRANSFERS);
        let outstanding =
            self.count(&given.outstanding, place, "outstanding", 1..=MOST_OUTSTANDING, DEFAULT_OUTSTANDING);
        let cpu = match &given.cpu {
            None => Some(None),
            given => self.take(given, place, "cpu", "the index of a CPU, from 0").map(Some),
        };
        let memory = self.other_memory(&given.memory, place);
        let window = match &given.window {
            None => Some(None),
            given => self.size(given, place, "window", 1..=LARGEST_WINDOW).map(Some),
        };
        let cache = self.choice(&given.cache, place, "cache");
        let packets = self.packets(&given.packets, place);
        let by = self.choice(&given.by, place, "by");
        let absent = self.absent(&given.absent, place);
        let through = self.through(&given.through, place);
        let way = self.choice(&given.way, place, "way");
        let (sizes, transfers, window) = (sizes?, transfers?, window?);
        let larger = |size: &&Bytes| window.is_some_and(|window| size.0.next_power_of_two() > window.0);
        if let Some(size) = sizes.iter().find(larger) {
            let message = format!("transfers of {size} do not fit the window");
            self.error(codes::WRONG_SIZE, &place.field("window"), message, "write a larger window");
            return None;
        }
        if self.too_much(&sizes, transfers, place, "transfers") {
            return None;
        }
        Some(HostDma {
            packets: packets?,
            name: name?,
            device: device?,
            direction: direction?,
            sizes,
            transfers,
            outstanding: outstanding?,
            cpu: cpu?,
            memory: memory?,
            window,
            cache: cache?,
            by: by?,
            absent: absent?,
            through: through?,
            way: way?,
        })
    }

    /// Pages that are absent at the start.
    fn absent(&mut self, given: &Option<Leaf<AbsentPages>>, place: &Place) -> Option<Option<AbsentPages>> {
        if given.is_none() {
            return Some(None);
        }
        let absent = self.take(given, place, "absent", "a share of pages, such as (hundredths: 25)")?;
        if !(1..=100).contains(&absent.hundredths) {
            let message = format!("`hundredths` of {} is out of range", absent.hundredths);
            self.error(codes::WRONG_COUNT, &place.field("absent"), message, "write 1 to 100");
            return None;
        }
        if absent.software > LATEST_START {
            let message = format!("{} are far beyond what software takes", absent.software);
            self.error(codes::WRONG_TIME, &place.field("absent"), message, "write a time such as \"20us\"");
            return None;
        }
        Some(Some(absent))
    }

    /// The side of a bridge at `through` of `place`, if one is given.
    fn through(&mut self, given: &Option<Leaf<String>>, place: &Place) -> Option<Option<String>> {
        match given {
            None => Some(None),
            given => self.take(given, place, "through", "a side of a bridge, such as \"ntb0\"").map(Some),
        }
    }

    /// Reports when `count` of one of `sizes` is more than a run can move. `field` says what they are.
    pub fn too_much(&mut self, sizes: &[Bytes], count: u64, place: &Place, field: &'static str) -> bool {
        let Some(size) = sizes.iter().find(|size| size.0.saturating_mul(count) > PIB) else { return false };
        let message = format!("{count} {field} of {size} are more than 1PiB");
        self.error(codes::WRONG_COUNT, &place.field(field), message, format!("make fewer {field}"));
        true
    }

    /// The list of devices at `field` of `place`.
    pub fn devices(
        &mut self,
        given: &[Leaf<String>],
        place: &Place,
        field: &'static str,
    ) -> Option<Vec<String>> {
        let read =
            |(index, leaf)| self.read(leaf, &place.element(field, index), "a device, such as \"gpu*\"");
        let devices: Vec<Option<String>> = given.iter().enumerate().map(read).collect();
        if devices.is_empty() {
            self.none_given(place, field, "a list of devices, such as [\"gpu*\"]");
        }
        if devices.is_empty() { None } else { devices.into_iter().collect() }
    }

    pub fn sizes(&mut self, given: &[Leaf<Bytes>], place: &Place) -> Option<Vec<Bytes>> {
        if given.is_empty() {
            self.none_given(place, "sizes", "a list of sizes, such as [\"64B\", \"4KiB\"]");
            return None;
        }
        let mut sizes = Vec::new();
        for (index, leaf) in given.iter().enumerate() {
            let at = place.element("sizes", index);
            let size = self.read(leaf, &at, "a size such as \"4KiB\"");
            let size = size.filter(|size| self.size_fits(*size, &at, "a transfer", &(1..=LARGEST_TRANSFER)));
            let Some(size) = size else { continue };
            if sizes.contains(&size) {
                let message = format!("the size {size} is given twice");
                self.error(codes::DUPLICATE_NAME, &at, message, "flows are named by their size: drop one");
            }
            sizes.push(size);
        }
        (sizes.len() == given.len()).then_some(sizes)
    }

    fn bytes(&mut self, given: &Option<Leaf<Bytes>>, place: &Place) -> Option<Bytes> {
        if given.is_none() {
            self.missing(place, "bytes", "a size such as \"1GiB\"");
        }
        self.size(given, place, "bytes", 1..=PIB)
    }

    fn chunk(&mut self, given: &Option<Leaf<Bytes>>, place: &Place) -> Option<Bytes> {
        match given {
            None => Some(DEFAULT_CHUNK),
            given => self.size(given, place, "chunk", 1..=LARGEST_CHUNK),
        }
    }

    /// The size at `name` of `place`, which must be in `range`.
    pub fn size(
        &mut self,
        given: &Option<Leaf<Bytes>>,
        place: &Place,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<Bytes> {
        let size = self.take(given, place, name, "a size such as \"2MiB\"")?;
        self.size_fits(size, &place.field(name), &format!("`{name}`"), &range).then_some(size)
    }

    fn size_fits(&mut self, size: Bytes, place: &Place, what: &str, range: &RangeInclusive<u64>) -> bool {
        let fits = range.contains(&size.0);
        if !fits {
            let help = format!("write {} to {}", Bytes(*range.start()), Bytes(*range.end()));
            self.error(codes::WRONG_SIZE, place, format!("{what} of {size} is out of range"), help);
        }
        fits
    }

    /// The time at `start` of `place`; 0 where none is given.
    pub fn start_of(&mut self, given: &Option<Leaf<Picos>>, place: &Place) -> Option<Picos> {
        if given.is_none() {
            return Some(Picos::ZERO);
        }
        let start = self.take(given, place, "start", "a time such as \"5us\"")?;
        self.start(start, place).then_some(start)
    }

    fn start(&mut self, start: Picos, place: &Place) -> bool {
        let fits = start <= LATEST_START;
        if !fits {
            let message = format!("a start at {start} is out of range");
            self.error(
                codes::WRONG_TIME,
                &place.field("start"),
                message,
                format!("write 0s to {LATEST_START}"),
            );
        }
        fits
    }

    /// The number at `name` of `place`, which must be in `range`.
    pub fn count<T>(
        &mut self,
        given: &Option<Leaf<T>>,
        place: &Place,
        name: &'static str,
        range: RangeInclusive<T>,
        default: T,
    ) -> Option<T>
    where
        T: std::marker::Copy + PartialOrd + std::fmt::Display + serde::de::DeserializeOwned,
    {
        if given.is_none() {
            return Some(default);
        }
        let count = self.take(given, place, name, "a whole number from 0")?;
        if range.contains(&count) {
            return Some(count);
        }
        let message = format!("`{name}` of {count} is out of range");
        let help = format!("write {} to {}", range.start(), range.end());
        self.error(codes::WRONG_COUNT, &place.field(name), message, help);
        None
    }

    /// What headers say at `packets` of `place`.
    pub fn packets(&mut self, given: &Option<Leaf<Packets>>, place: &Place) -> Option<Packets> {
        if given.is_none() {
            return Some(Packets::default());
        }
        let packets = self.take(given, place, "packets", "attributes, such as (relaxed_ordering: true)")?;
        if packets.traffic_class > MOST_TRAFFIC_CLASS {
            let message = format!("there is no traffic class {}", packets.traffic_class);
            self.error(codes::WRONG_COUNT, &place.field("packets"), message, "write 0 to 7");
            return None;
        }
        Some(packets)
    }

    /// The choice at `name` of `place`, or the default one.
    pub fn choice<T>(&mut self, given: &Option<Leaf<T>>, place: &Place, name: &'static str) -> Option<T>
    where
        T: Default + Clone + serde::de::DeserializeOwned,
    {
        match given {
            None => Some(T::default()),
            given => self.take(given, place, name, "one of its choices"),
        }
    }
}
