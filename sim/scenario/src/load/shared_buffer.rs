//! `SharedBuffer` as written → [`peerbus_system::shared_buffer`], and whether it fits a machine.

use peerbus_machine::Machine;
use peerbus_machine::file::Leaf;
use peerbus_system::peer_memory::LONGEST_LIFE;
use peerbus_system::shared_buffer::{
    BufferExporter, BufferImporter, BufferPlaces, ExporterDriver, ImporterKind, LARGEST_BUFFER, MOST_CHUNKS,
    MOST_IMPORTERS, MOST_OUTSTANDING, MOST_TIMES, Moves, Revokes, SharedBuffer, default_chunk,
    default_outstanding,
};
use peerbus_units::{Bytes, Picos};

use super::context::{Context, Place};
use crate::codes;
use crate::file::shared_buffer as file;

const PIB: u64 = 1 << 50;
/// The number of the expansion ROM's region: asking for it is refused by the kernel.
const LAST_REGION: u32 = 6;
const DEFAULT_LASTS: Picos = Picos::nanos(100_000);
const LEAST_TIME: Picos = Picos::nanos(1);

impl Context<'_> {
    /// The workload at `place`.
    pub fn shared_buffer(&mut self, given: &file::SharedBuffer, place: &Place) -> Option<SharedBuffer> {
        let name = self.name(&given.name, place);
        if given.bytes.is_none() {
            self.missing(place, "bytes", "a size such as \"8MiB\"");
        }
        let bytes = self.size(&given.bytes, place, "bytes", 1..=LARGEST_BUFFER.0);
        let chunk = match &given.chunk {
            None => Some(default_chunk()),
            chunk => self.size(chunk, place, "chunk", 1..=LARGEST_BUFFER.0),
        };
        let exporter = match &given.exporter {
            None => {
                self.missing(place, "exporter", "a device, such as (device: \"gpu0\", driver: Amdgpu)");
                None
            }
            Some(exporter) => self.exporter(exporter, &place.field("exporter")),
        };
        let importers = self.importers(&given.importers, place);
        let buffer = SharedBuffer {
            name: name?,
            bytes: bytes?,
            chunk: chunk?,
            exporter: exporter?,
            importers: importers?,
        };
        if buffer.chunks() > MOST_CHUNKS {
            let message = format!("{} are {} chunks of {}", buffer.bytes, buffer.chunks(), buffer.chunk);
            let help = format!("write a `chunk` that makes {MOST_CHUNKS} at most");
            self.error(codes::WRONG_SIZE, &place.field("bytes"), message, help);
            return None;
        }
        Some(buffer)
    }

    fn exporter(&mut self, given: &file::Exporter, place: &Place) -> Option<BufferExporter> {
        let before = self.diagnostics.len();
        let device = self.require(&given.device, place, "device", "a device, such as \"gpu0\"");
        let driver: Option<ExporterDriver> = self.choice(&given.driver, place, "driver");
        let places: Option<BufferPlaces> = self.choice(&given.places, place, "places");
        let compressed = self.truth(&given.compressed, place, "compressed");
        let asleep = self.truth(&given.asleep, place, "asleep");
        let region = match &given.region {
            None => Some(None),
            given => self.count(given, place, "region", 0..=LAST_REGION, 0).map(Some),
        };
        let offset = match &given.offset {
            None => Some(Bytes::ZERO),
            given => self.size(given, place, "offset", 0..=PIB),
        };
        let memory_disabled = self.truth(&given.memory_disabled, place, "memory_disabled");
        let moves = match &given.moves {
            None => Some(None),
            Some(moves) => self.moves(moves, &place.field("moves")).map(Some),
        };
        let revokes = match &given.revokes {
            None => Some(None),
            Some(revokes) => self.revokes(revokes, &place.field("revokes")).map(Some),
        };
        self.suits_driver(given, driver?, place);
        let exporter = BufferExporter {
            device: device?,
            driver: driver?,
            places: places?,
            compressed: compressed?,
            asleep: asleep?,
            region: region?,
            offset: offset?,
            memory_disabled: memory_disabled?,
            moves: moves?,
            revokes: revokes?,
        };
        (self.diagnostics.len() == before).then_some(exporter)
    }

    /// GPUs move their buffers and VFIO revokes its own: neither does what the other does.
    fn suits_driver(&mut self, given: &file::Exporter, driver: ExporterDriver, place: &Place) {
        let of_gpus = [
            ("places", given.places.is_some()),
            ("compressed", given.compressed.is_some()),
            ("asleep", given.asleep.is_some()),
            ("moves", given.moves.is_some()),
        ];
        let of_vfio = [
            ("region", given.region.is_some()),
            ("offset", given.offset.is_some()),
            ("memory_disabled", given.memory_disabled.is_some()),
            ("revokes", given.revokes.is_some()),
        ];
        let (foreign, whose) = match driver {
            ExporterDriver::Vfio => (of_gpus, "drivers of GPUs"),
            ExporterDriver::Amdgpu | ExporterDriver::Xe => (of_vfio, "Vfio"),
        };
        for (field, _) in foreign.into_iter().filter(|(_, is_given)| *is_given) {
            let message = format!("`{field}` belongs to {whose}");
            let help = "leave it out, or choose another `driver`";
            self.error(codes::NOT_ITS_FIELD, &place.field(field), message, help);
        }
    }

    fn moves(&mut self, given: &file::Moves, place: &Place) -> Option<Moves> {
        let every = self.every(&given.every, place);
        let times = self.count(&given.times, place, "times", 1..=MOST_TIMES, 1);
        let moves = Moves { every: every?, times: times? };
        self.end_in_time(moves.every, moves.times, place).then_some(moves)
    }

    fn revokes(&mut self, given: &file::Revokes, place: &Place) -> Option<Revokes> {
        let every = self.every(&given.every, place);
        let times = self.count(&given.times, place, "times", 1..=MOST_TIMES, 1);
        let lasts = match &given.lasts {
            None => Some(DEFAULT_LASTS),
            given => self.take(given, place, "lasts", "a time such as \"100us\""),
        };
        let revokes = Revokes { every: every?, times: times?, lasts: lasts? };
        let one = Picos(revokes.every.0.saturating_add(revokes.lasts.0));
        self.end_in_time(one, revokes.times, place).then_some(revokes)
    }

    fn every(&mut self, given: &Option<Leaf<Picos>>, place: &Place) -> Option<Picos> {
        let every = self.require(given, place, "every", "a time such as \"50us\"")?;
        if every >= LEAST_TIME {
            return Some(every);
        }
        let message = format!("`every` of {every} is out of range");
        self.error(codes::WRONG_TIME, &place.field("every"), message, "write 1ns or more");
        None
    }

    fn end_in_time(&mut self, one: Picos, times: u32, place: &Place) -> bool {
        let fits = one.0.saturating_mul(u64::from(times)) <= LONGEST_LIFE.0;
        if !fits {
            let message = "all of it takes more than ten days".to_owned();
            self.error(codes::WRONG_TIME, place, message, "write shorter times, or fewer");
        }
        fits
    }

    fn importers(&mut self, given: &[file::Importer], place: &Place) -> Option<Vec<BufferImporter>> {
        if given.is_empty() {
            let example = "a list such as [(name: \"send\", device: \"nic0\", kind: OnDemand)]";
            self.none_given(place, "importers", example);
            return None;
        }
        if given.len() > MOST_IMPORTERS {
            let message = format!("{} importers are too many", given.len());
            let help = format!("write up to {MOST_IMPORTERS}");
            self.error(codes::WRONG_COUNT, &place.field("importers"), message, help);
            return None;
        }
        let mut importers = Vec::new();
        for (index, importer) in given.iter().enumerate() {
            importers.push(self.importer(importer, &place.element("importers", index)));
        }
        let names: Vec<Option<&Leaf<String>>> = given.iter().map(|importer| importer.name.as_ref()).collect();
        self.distinct(&names, "importer", |index| place.element("importers", index).field("name"));
        importers.into_iter().collect()
    }

    fn importer(&mut self, given: &file::Importer, place: &Place) -> Option<BufferImporter> {
        let name = self.name(&given.name, place);
        let device = self.require(&given.device, place, "device", "a device, such as \"nic0\"");
        let kind: Option<ImporterKind> = self.choice(&given.kind, place, "kind");
        let peer2peer = match &given.peer2peer {
            None => Some(None),
            given => self.take(given, place, "peer2peer", "true or false").map(Some),
        };
        if given.peer2peer.is_some() && kind.is_some_and(|kind| kind != ImporterKind::Gpu) {
            let message = "only importers of the kind `Gpu` choose `peer2peer`".to_owned();
            let help = "leave it out: RDMA regions and iommufd accept it, static importers never do";
            self.error(codes::NOT_ITS_FIELD, &place.field("peer2peer"), message, help);
        }
        let access = self.choice(&given.access, place, "access");
        let bytes = match &given.bytes {
            None => Some(None),
            given => self.size(given, place, "bytes", 1..=PIB).map(Some),
        };
        let order = self.order_of_touches(&given.order, place);
        let most = 1..=MOST_OUTSTANDING;
        let outstanding = self.count(&given.outstanding, place, "outstanding", most, default_outstanding());
        let start = self.start_of(&given.start, place);
        Some(BufferImporter {
            name: name?,
            device: device?,
            kind: kind?,
            peer2peer: peer2peer?,
            access: access?,
            bytes: bytes?,
            order: order?,
            outstanding: outstanding?,
            start: start?,
        })
    }

    fn truth(&mut self, given: &Option<Leaf<bool>>, place: &Place, name: &'static str) -> Option<bool> {
        match given {
            None => Some(false),
            given => self.take(given, place, name, "true or false"),
        }
    }

    /// Reports everything about `buffer` that `machine` does not have.
    pub fn fit_shared_buffer(&mut self, buffer: &SharedBuffer, place: &Place, machine: &Machine) {
        let at = place.field("exporter").field("device");
        let exporter = self.one_device(&buffer.exporter.device, &at, machine);
        if let Some(device) = exporter {
            self.linked(device, &at, machine);
            self.has_room(buffer, device, place, machine);
        }
        for (index, importer) in buffer.importers.iter().enumerate() {
            let at = place.element("importers", index).field("device");
            let Some(device) = self.one_device(&importer.device, &at, machine) else { continue };
            self.linked(device, &at, machine);
            if exporter == Some(device) {
                let message = format!("`{}` exports the buffer and cannot import it", importer.device);
                self.error(codes::SAME_DEVICE, &at, message, "name two different devices");
            }
        }
    }

    /// Reports a GPU that is too small for its buffer. How much VFIO may export is for the kernel to say.
    fn has_room(&mut self, buffer: &SharedBuffer, device: usize, place: &Place, machine: &Machine) {
        let exporter = &buffer.exporter;
        let in_memory = exporter.driver != ExporterDriver::Vfio && exporter.places != BufferPlaces::System;
        let memory = machine.devices[device].memory.unwrap_or_default();
        if in_memory && memory < buffer.bytes {
            let message = format!("`{}` has {memory} of memory", machine.devices[device].name);
            let help = "write a smaller buffer, or `places: System`";
            self.error(codes::WRONG_SIZE, &place.field("bytes"), message, help);
        }
    }
}
