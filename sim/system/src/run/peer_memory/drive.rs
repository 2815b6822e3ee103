//! The events of `PeerMemory`: a request comes, a step of a transfer is done, memory is given back.

use std::collections::BTreeMap;

use peerbus_machine::Machine;
use peerbus_os::dma::{Dma, DmaKind};
use peerbus_os::p2pdma::MemoryBug;
use peerbus_os::pci;
use peerbus_units::{Address, Picos};

use super::client::{ClientRun, Holding, Request};
use super::obtain::Answer;
use super::plan::PeerMemoryPlan;
use super::pools::{Pools, Registration};
use super::tally::{Cause, Tally};
use super::target::TargetRun;
use super::transfer::Order;
use crate::boot::Booted;
use crate::iommu::{Mapping, TableWrites, unmap};
use crate::space::{IoLevels, Level, io_level, io_size};

/// What a timer was set for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A client makes its next request.
    Request {
        /// Which workload.
        workload: usize,
        /// Which client.
        client: usize,
    },
    /// The lifetime of an allocation is over.
    Free {
        /// Which workload.
        workload: usize,
        /// Which client.
        client: usize,
        /// In which slot.
        slot: usize,
        /// Only this page of it.
        page: Option<usize>,
    },
}

/// What an event leads to.
#[derive(Clone, Debug, Default)]
pub struct Io {
    /// Timers to set.
    pub timers: Vec<(Picos, Event)>,
    /// What the kernel writes into IOMMU tables, before the transfers start.
    pub writes: TableWrites,
    /// Transfers to start, in this order.
    pub orders: Vec<Order>,
}

/// A workload under way.
pub(super) struct Workload {
    pub plan: PeerMemoryPlan,
    pub clients: Vec<ClientRun>,
    registrations: Vec<Registration>,
    pub tally: Tally,
    pub first_dma: FirstDma,
    /// The NVMe target between clients and a drive, if there is one.
    pub target: Option<TargetRun>,
}

impl Workload {
    /// The device that a staged request is meant for when no provider was found: the workload's own, in turn.
    fn meant_for(&mut self, client: usize) -> Option<usize> {
        let run = &mut self.clients[client];
        let others: Vec<usize> =
            self.plan.providers.iter().copied().filter(|device| *device != run.plan.device).collect();
        let turn = run.turn;
        run.turn = run.turn.wrapping_add(1);
        others.get(turn.checked_rem(others.len())?).copied()
    }
}

/// Per client and provider, by index in the machine: the first DMA address and its kind.
pub type FirstDma = BTreeMap<(usize, usize), (u64, DmaKind)>;

/// All `PeerMemory` workloads of a run, and the pools they share.
pub struct PeerMemories<'a> {
    pub(super) machine: &'a Machine,
    pub(super) booted: &'a Booted,
    pub(super) pools: Pools<'a>,
    /// The kernel's DMA layer from the start of the run on, with what is mapped for other workloads.
    pub(super) dma: Dma,
    /// What is mapped while data move, by workload, client and slot.
    mappings: BTreeMap<(usize, usize, usize), Mapping>,
    /// How full the I/O address spaces of clients are.
    io_levels: IoLevels,
    pub(super) workloads: Vec<Workload>,
}

/// A workload after the run.
pub struct Driven {
    /// As planned.
    pub plan: PeerMemoryPlan,
    /// What its providers registered.
    pub registrations: Vec<Registration>,
    /// What was counted.
    pub tally: Tally,
    /// How full the pools of its providers were, by device.
    pub levels: BTreeMap<usize, Level>,
    /// What clients sent first.
    pub first_dma: FirstDma,
}

impl<'a> PeerMemories<'a> {
    /// Registers and publishes the memory of all workloads, in their order.
    pub fn new(
        machine: &'a Machine,
        booted: &'a Booted,
        plans: &[PeerMemoryPlan],
        seed: u64,
    ) -> PeerMemories<'a> {
        let (pools, dma, mappings) = (Pools::new(booted), booted.dma.clone(), BTreeMap::new());
        let mut memories = PeerMemories {
            machine,
            booted,
            pools,
            dma,
            mappings,
            io_levels: IoLevels::new(),
            workloads: Vec::new(),
        };
        for plan in plans {
            let registrations = memories.register(plan);
            let clients = plan.clients.iter().enumerate();
            let clients = clients.filter_map(|(number, client)| {
                ClientRun::new(&plan.spec, client, seed, (plan.number, number))
            });
            let clients: Vec<ClientRun> = clients.collect();
            assert_eq!(clients.len(), plan.clients.len(), "the plan has checked the distributions");
            let tally = Tally::default();
            let (plan, first_dma, target) = (plan.clone(), FirstDma::new(), None);
            memories.workloads.push(Workload { plan, clients, registrations, tally, first_dma, target });
        }
        for (workload, plan) in plans.iter().enumerate() {
            memories.workloads[workload].target = memories.set_up_target(plan);
        }
        memories
    }

    /// The kernel's DMA layer, which all that map memory while a run is under way share.
    pub fn dma(&mut self) -> &mut Dma {
        &mut self.dma
    }

    /// Something of the I/O address space of `client` changed at `now`.
    pub fn note_io(&mut self, client: pci::FunctionIndex, now: Picos) {
        let Some(group) = self.dma.groups().of(client) else { return };
        let Some((available, hole, ranges)) = io_level(&self.dma, group) else { return };
        let level = self.io_levels.entry(group).or_insert_with(|| {
            // As it was before the first change.
            let before = io_level(&self.booted.dma, group);
            let (free, hole, ranges) = before.unwrap_or((available, hole, ranges));
            let size = io_size(&self.booted.dma, group).unwrap_or(free);
            Level::partly(size, free, hole, ranges)
        });
        level.advance(now);
        level.set(available, hole, ranges);
    }

    fn register(&mut self, plan: &PeerMemoryPlan) -> Vec<Registration> {
        let mut made = Vec::new();
        for provider in &plan.spec.providers {
            for device in crate::expand::devices(self.machine, &provider.device) {
                let registration = self.pools.register(self.machine, device, provider, plan.spec.policy);
                let function = self.os_function(device).filter(|_| registration.result.is_ok());
                if let Some(function) = function {
                    self.pools.publish(function, plan.spec.publish && registration.holds_data);
                }
                made.push(registration);
            }
        }
        made
    }

    pub(super) fn os_function(&self, device: usize) -> Option<pci::FunctionIndex> {
        self.booted.os_function(self.machine.devices[device].functions[0])
    }

    /// The device of a function that the operating system found; its functions share a chip.
    pub(super) fn device_of(&self, function: pci::FunctionIndex) -> Option<usize> {
        let found = self.booted.machine_function(function);
        self.machine.devices.iter().position(|device| device.functions.contains(&found))
    }

    /// Time 0: every client waits for its first request.
    pub fn start(&mut self) -> Io {
        let mut io = Io::default();
        for workload in 0..self.workloads.len() {
            for client in 0..self.workloads[workload].clients.len() {
                self.plan_request(workload, client, Picos::ZERO, &mut io);
            }
        }
        io
    }

    fn plan_request(&mut self, workload: usize, client: usize, now: Picos, io: &mut Io) {
        if let Some(interval) = self.workloads[workload].clients[client].draw() {
            io.timers.push((now + interval, Event::Request { workload, client }));
        }
    }

    /// A timer rang.
    pub fn timer(&mut self, event: Event, now: Picos) -> Io {
        let mut io = Io::default();
        match event {
            Event::Request { workload, client } => {
                let Some(request) = self.workloads[workload].clients[client].make(now) else { return io };
                self.workloads[workload].clients[client].waiting = Some(request);
                self.answer(workload, client, now, &mut io);
            }
            Event::Free { workload, client, slot, page } => {
                self.give_back(workload, client, slot, page, now, &mut io);
            }
        }
        io
    }

    /// Answers the request that waits, if there is a slot for it, and plans the next.
    pub(super) fn answer(&mut self, workload: usize, client: usize, now: Picos, io: &mut Io) {
        let run = &mut self.workloads[workload].clients[client];
        let Some(request) = run.waiting.filter(|_| run.has_slot()) else { return };
        run.waiting = None;
        let size = request.size;
        self.workloads[workload].tally.request(size, now.saturating_sub(request.since));
        match self.obtain(workload, client, size, now, io) {
            Ok(Answer::Peer { owner, memory, mapping }) => {
                self.workloads[workload].tally.grant(owner, size);
                let pages_left = memory.mapping.map_or(0, |(_, pages)| pages);
                let dma = mapping.as_ref().map_or(0, |mapping| mapping.address.raw());
                let (memory, provider) = (Some(memory), Some(owner));
                let holding = Holding { request, provider, memory, dma, step: 0, pages_left };
                self.hold(workload, client, holding, mapping, now, io);
            }
            Ok(Answer::Ordinary) => self.stage(workload, client, request, None, now, io),
            Err(refusal) => {
                let (asked, cause) = (refusal.provider, refusal.cause);
                let of = &mut self.workloads[workload];
                let device = of.clients[client].plan.device;
                of.tally.refuse(refusal, size, device, now);
                if of.plan.spec.falls_back() && cause != Cause::NotEnabled {
                    self.stage(workload, client, request, asked, now, io);
                }
            }
        }
        self.plan_request(workload, client, now, io);
    }

    /// A request uses host memory, meant for the provider that was `asked`, or for a target's drive.
    fn stage(
        &mut self,
        workload: usize,
        client: usize,
        request: Request,
        asked: Option<usize>,
        now: Picos,
        io: &mut Io,
    ) {
        let of = &mut self.workloads[workload];
        of.tally.stage(request.size);
        let provider = match &of.target {
            Some(target) => Some(target.drive()),
            None => asked.or_else(|| of.meant_for(client)),
        };
        let holding = Holding { request, provider, memory: None, dma: 0, step: 0, pages_left: 0 };
        self.hold(workload, client, holding, None, now, io);
    }

    /// Puts what was obtained into a slot and starts its transfer.
    fn hold(
        &mut self,
        workload: usize,
        client: usize,
        holding: Holding,
        mapping: Option<Mapping>,
        now: Picos,
        io: &mut Io,
    ) {
        let run = &mut self.workloads[workload].clients[client];
        let Some(slot) = run.take_slot() else { unreachable!("the request waited for a slot") };
        run.slots[slot] = Some(holding);
        if let Some(mapping) = mapping {
            self.keep_mapped((workload, client, slot), mapping, now);
        }
        self.proceed(workload, client, slot, now, io);
    }

    /// Memory of a slot is mapped for a device.
    pub(super) fn keep_mapped(&mut self, owner: (usize, usize, usize), mapping: Mapping, now: Picos) {
        self.note_io(mapping.client(), now);
        let earlier = self.mappings.insert(owner, mapping);
        assert!(earlier.is_none(), "memory is mapped for one device at a time");
    }

    /// It is not mapped any more.
    pub(super) fn unmap(&mut self, owner: (usize, usize, usize), now: Picos, io: &mut Io) {
        let Some(mapping) = self.mappings.remove(&owner) else { return };
        let client = mapping.client();
        let unmapped = unmap(&mut self.dma, &mut io.writes, mapping, now);
        assert!(unmapped.is_ok(), "peer memory is not mapped any more: {unmapped:?}");
        self.note_io(client, now);
    }

    /// Starts the next step of a slot's transfer, or its lifetime.
    fn proceed(&mut self, workload: usize, client: usize, slot: usize, now: Picos, io: &mut Io) {
        let Some(holding) = self.workloads[workload].clients[client].slots[slot] else { return };
        let owned = holding.provider.zip(holding.memory);
        if let Some(owned) = owned.filter(|_| self.workloads[workload].target.is_some()) {
            return self.proceed_by_target((workload, client, slot), owned, now, io);
        }
        let steps = self.steps(workload, client, slot, &holding);
        match steps.into_iter().nth(holding.step) {
            Some(order) => io.orders.push(order),
            None => self.keep(workload, client, slot, now, io),
        }
    }

    /// A transfer is done.
    pub fn done(&mut self, (workload, client, slot): (usize, usize, usize), now: Picos) -> Io {
        let mut io = Io::default();
        if let Some(holding) = &mut self.workloads[workload].clients[client].slots[slot] {
            holding.step += 1;
        }
        self.proceed(workload, client, slot, now, &mut io);
        io
    }

    /// The transfer is over; the memory is kept for its lifetime.
    pub(super) fn keep(&mut self, workload: usize, client: usize, slot: usize, now: Picos, io: &mut Io) {
        self.unmap((workload, client, slot), now, io);
        let run = &mut self.workloads[workload].clients[client];
        let Some(holding) = run.slots[slot] else { return };
        let event = |page| Event::Free { workload, client, slot, page };
        let Some((memory, (_, pages))) = holding.memory.and_then(|memory| Some((memory, memory.mapping?)))
        else {
            io.timers.push((now + holding.request.lifetime, event(None)));
            return;
        };
        no_bug(self.pools.unpin(&memory));
        let run = &mut self.workloads[workload].clients[client];
        for page in 0..pages {
            io.timers.push((now + run.page_lifetime(), event(Some(page))));
        }
    }

    fn give_back(
        &mut self,
        workload: usize,
        client: usize,
        slot: usize,
        page: Option<usize>,
        now: Picos,
        io: &mut Io,
    ) {
        let Some(mut holding) = self.workloads[workload].clients[client].slots[slot] else { return };
        match (holding.memory, page) {
            (Some(memory), None) => no_bug(self.pools.free(&memory, now)),
            (Some(memory), Some(page)) => {
                no_bug(self.pools.unmap_page(&memory, page, now));
                holding.pages_left -= 1;
                self.workloads[workload].clients[client].slots[slot] = Some(holding);
                if holding.pages_left > 0 {
                    return;
                }
            }
            (None, _) => {}
        }
        let of = &mut self.workloads[workload];
        if let (Some(_), Some(provider)) = (holding.memory, holding.provider) {
            of.tally.give_back(provider, holding.request.size);
        }
        of.tally.end = now;
        of.clients[client].give_slot(slot);
        self.answer(workload, client, now, io);
    }

    /// After the run: checks that everything was given back, if it came to its end, and hands over what was counted.
    pub fn finish(mut self, now: Picos, complete: bool) -> (Vec<Driven>, IoLevels) {
        assert!(self.mappings.is_empty() || !complete, "peer memory is still mapped");
        self.pools.advance(now);
        self.io_levels.values_mut().for_each(|level| level.advance(now));
        let mut driven = Vec::new();
        for of in std::mem::take(&mut self.workloads) {
            assert!(
                of.clients.iter().all(ClientRun::is_done) || !complete,
                "a client of {} is not done",
                of.plan.spec.name
            );
            for granted in of.tally.granted.values() {
                let all = granted.bytes == granted.returned || !complete;
                assert!(all, "memory of {} was lost", of.plan.spec.name);
            }
            let levels = of.plan.providers.iter().filter_map(|device| {
                let level = self.os_function(*device).and_then(|function| self.pools.level(function))?;
                assert!(level.available == level.size || !complete, "a pool is not empty at the end");
                Some((*device, level.clone()))
            });
            let levels = levels.collect();
            driven.push(Driven {
                levels,
                plan: of.plan,
                registrations: of.registrations,
                tally: of.tally,
                first_dma: of.first_dma,
            });
        }
        (driven, self.io_levels)
    }
}

/// What we give back, we were given: a kernel's bug here would be one of ours.
pub(super) fn no_bug(result: Result<(), MemoryBug>) {
    assert!(result.is_ok(), "peer memory was given back wrongly: {result:?}");
}
