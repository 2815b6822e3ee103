//! What a workload on shared memory can run out of, over time: memory of GPUs, numbers of frames, and RAM for page structs.

use std::collections::BTreeMap;

use peerbus_machine::Machine;
use peerbus_os::device_private::PrivateMemory;
use peerbus_os::mm::{DeviceId, Mm};
use peerbus_units::{Bytes, Picos};

use super::plan::SharedPlan;
use crate::device_memory::{Frames, Refused, refused};
use crate::space::{Level, Part, Space, SpaceKind};

/// How full the spaces of a workload are.
#[derive(Clone, Debug)]
pub struct Levels {
    /// Per GPU, its memory for processes.
    memory: Vec<Level>,
    /// Numbers of frames.
    numbers: Level,
    /// RAM for page structs.
    structs: Level,
    /// Chunks that drivers had when the levels were taken last.
    chunks: usize,
    /// Per GPU, requests for page structs that were refused, and the first of them, with its time.
    refusals: Vec<(u64, Option<(Picos, Refused)>)>,
    /// As of the last change: parts of the numbers, and RAM for page structs, by GPU.
    parts: Vec<(usize, u64, u64)>,
    structs_of: Vec<u64>,
}

fn id(gpu: usize) -> DeviceId {
    DeviceId(u32::try_from(gpu).unwrap_or(u32::MAX))
}

impl Levels {
    /// Before drivers have asked for anything.
    pub fn new(plan: &SharedPlan) -> Levels {
        let frames = Frames { platform: &plan.platform, supply: plan.supply, taken: 0 };
        let numbers = frames.space(Vec::new());
        let free = Bytes(numbers.size.saturating_sub(numbers.used));
        let ram = plan.platform.memory.free;
        Levels {
            memory: plan.gpus.iter().map(|gpu| Level::new(gpu.memory, gpu.memory)).collect(),
            numbers: Level::partly(Bytes(numbers.size), free, Bytes(numbers.largest_hole), 0),
            structs: Level::new(ram, ram),
            chunks: 0,
            refusals: vec![(0, None); plan.gpus.len()],
            parts: Vec::new(),
            structs_of: vec![0; plan.gpus.len()],
        }
    }

    /// Lets what was last until `end`.
    pub fn advance(&mut self, end: Picos) {
        self.memory
            .iter_mut()
            .chain([&mut self.numbers, &mut self.structs])
            .for_each(|level| level.advance(end));
    }

    /// Notes how full everything is from now on. What is free of a GPU's memory is never cut up for pages of processes: any page
    /// will do.
    pub fn follow(&mut self, mm: &Mm, plan: &SharedPlan, names: &[String], now: Picos) {
        for (gpu, level) in self.memory.iter_mut().enumerate() {
            let Some(memory) = mm.devices.get(&id(gpu)) else { continue };
            level.advance(now);
            let free = Bytes(memory.room().saturating_mul(4096)).min(level.size);
            if free != level.available {
                level.set(free, free, level.size.saturating_sub(free).0 / 4096);
            }
        }
        let chunks = mm.devices.values().map(|memory| memory.chunks().len()).sum();
        if chunks != self.chunks {
            self.chunks = chunks;
            self.numbers_changed(mm, plan, now);
        }
        self.note_refusals(mm, plan, names, now);
    }

    fn numbers_changed(&mut self, mm: &Mm, plan: &SharedPlan, now: Picos) {
        let page = mm.private_memory().platform.layout.shape.page.0;
        self.parts.clear();
        for gpu in 0..plan.gpus.len() {
            let Some(memory) = mm.devices.get(&id(gpu)).filter(|memory| !memory.is_coherent()) else {
                continue;
            };
            let part = |chunk: &peerbus_os::device_private::Reserved| {
                (gpu, chunk.first.number().saturating_mul(page), chunk.pages.saturating_mul(page))
            };
            self.parts.extend(memory.chunks().map(part));
        }
        let space = self.frames(mm.private_memory(), plan).space(self.named(&[]));
        self.numbers.advance(now);
        let free = Bytes(space.size.saturating_sub(space.used));
        self.numbers.set(free, Bytes(space.largest_hole), self.chunks as u64);
        self.structs.advance(now);
        let left = mm.private_memory().platform.memory.free;
        self.structs.set(left, left, self.chunks as u64);
        self.structs_of = (0..plan.gpus.len()).map(|gpu| mm.page_structs(id(gpu)).0).collect();
    }

    fn frames<'a>(&self, memory: &'a PrivateMemory, plan: &SharedPlan) -> Frames<'a> {
        let taken = self.parts.iter().map(|(_, _, amount)| *amount).sum();
        Frames { platform: &memory.platform, supply: plan.supply, taken }
    }

    /// Parts of the numbers with their owners' names, or without where none are given.
    fn named(&self, names: &[String]) -> Vec<Part> {
        let part = |(gpu, first, amount): &(usize, u64, u64)| Part {
            first: *first,
            amount: *amount,
            owner: names.get(*gpu).cloned().unwrap_or_default(),
        };
        self.parts.iter().map(part).collect()
    }

    fn note_refusals(&mut self, mm: &Mm, plan: &SharedPlan, names: &[String], now: Picos) {
        for gpu in 0..plan.gpus.len() {
            let Some(memory) = mm.devices.get(&id(gpu)) else { continue };
            let (count, why) = memory.refused();
            if let Some(error) = why.filter(|_| self.refusals[gpu].1.is_none()) {
                let frames = self.frames(mm.private_memory(), plan);
                let free = mm.private_memory().platform.memory.free;
                let name = names.get(gpu).map_or("", String::as_str);
                self.refusals[gpu].1 =
                    Some((now, refused(&frames, (name, memory.chunk.size.0), free, error)));
            }
            self.refusals[gpu].0 = count;
        }
    }

    /// Why the memory of a GPU has no page structs.
    pub fn refusal(&self, gpu: usize) -> Option<&Refused> {
        self.refusals.get(gpu)?.1.as_ref().map(|(_, refused)| refused)
    }

    /// As spaces of a report.
    pub fn spaces(&self, machine: &Machine, plan: &SharedPlan, memory: &PrivateMemory) -> Vec<Space> {
        let names: Vec<String> =
            plan.gpus.iter().map(|gpu| machine.devices[gpu.device].name.clone()).collect();
        let workload = &plan.spec.name;
        let own = |(name, level): (&String, &Level)| {
            let owner = (workload.clone(), level.peak.0);
            level.space(SpaceKind::DeviceMemory, format!("{name} memory for {workload}")).owned_by([owner])
        };
        let mut spaces: Vec<Space> = names.iter().zip(&self.memory).map(own).collect();
        if names.is_empty() {
            return spaces;
        }
        let still = self.frames(memory, plan).space(self.named(&names));
        let name = format!("{} for {workload}", still.name);
        let numbers = Space { owners: still.owners, ..self.numbers.space(still.kind, name) };
        let owners: BTreeMap<&String, u64> = names.iter().zip(self.structs_of.iter().copied()).collect();
        let name = format!("RAM for page structs of {workload}");
        let structs = self.structs.space(SpaceKind::PageStructMemory, name).owned_by(owners);
        for mut space in [numbers, structs] {
            for (count, first) in &self.refusals {
                let Some((time, first)) = first.as_ref().filter(|(_, first)| first.lacks(space.kind)) else {
                    continue;
                };
                let time = (*time > Picos::ZERO).then_some(*time);
                space.refuse(first.at(time));
                space.refusals = space.refusals.saturating_sub(1).saturating_add(*count);
            }
            spaces.push(space);
        }
        spaces
    }
}
