//! The events of `SharedBuffer`: importers go on, the exporter acts, transfers end.

use peerbus_engine::Stream;
use peerbus_os::dma::Dma;
use peerbus_os::dma_buf::Placement;
use peerbus_os::p2pdma::P2pdma;
use peerbus_units::Picos;

use super::contents::Contents;
use super::exported::Exported;
use super::importer::{ImporterRun, State};
use super::moving::Phase;
use super::plan::BufferPlan;
use super::step::{BufferEvent, Io, Step, What};
use crate::boot::Booted;
use crate::shared_buffer::ImporterKind;

/// A transfer under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// Whose; `None` for a move's.
    pub importer: Option<usize>,
    /// Of which chunk.
    pub chunk: usize,
    /// Where that is; for a move, where it goes.
    pub placement: Placement,
    /// Bytes.
    pub bytes: u64,
}

/// What is counted for the exporter.
#[derive(Clone, Default, Debug)]
pub struct ExporterTally {
    /// Moves.
    pub moves: u64,
    /// Moves that a pin refused.
    pub moves_refused: u64,
    /// Why the first of those was.
    pub refusal: Option<String>,
    /// Revocations.
    pub revocations: u64,
    /// Chunks that a failing link lost while they moved.
    pub chunks_lost: u64,
    /// Time until importers had let go.
    pub stopping: Picos,
    /// Time that moves took then.
    pub moving: Picos,
}

/// A workload under way.
#[derive(Debug)]
pub struct BufferRun {
    pub(super) plan: BufferPlan,
    /// The buffer, or why there is none.
    pub(super) exported: Result<Exported, String>,
    pub(super) importers: Vec<ImporterRun>,
    pub(super) phase: Phase,
    /// Moves or revocations that were tried.
    pub(super) acts: u32,
    /// The exporter wanted to act while the buffer moved for an importer.
    pub(super) postponed: bool,
    /// Attachments told of what happens now.
    pub(super) told: u64,
    /// Importers that wait for the buffer, in this order.
    pub(super) waiting: Vec<usize>,
    pub(super) contents: Contents,
    transfers: Vec<Transfer>,
    free: Vec<usize>,
    pub(super) tally: ExporterTally,
}

/// All `SharedBuffer` workloads of a run.
pub struct SharedBuffers<'a> {
    booted: &'a Booted,
    p2pdma: P2pdma,
    buffers: Vec<BufferRun>,
}

/// A workload after the run.
pub struct Driven {
    /// As planned.
    pub plan: BufferPlan,
    /// Why there was no buffer.
    pub refused: Option<String>,
    /// Importers.
    pub importers: Vec<ImporterRun>,
    /// What was counted for the exporter.
    pub tally: ExporterTally,
}

impl<'a> SharedBuffers<'a> {
    /// Exports the buffers of all workloads.
    pub fn new(booted: &'a Booted, plans: &[BufferPlan], seed: u64) -> SharedBuffers<'a> {
        let mut p2pdma = P2pdma::new(&booted.rules, &booted.cpu);
        let buffers = plans.iter().map(|plan| BufferRun::new(plan, booted, &mut p2pdma, seed)).collect();
        SharedBuffers { booted, p2pdma, buffers }
    }

    fn step<'k>(&'k mut self, buffer: usize, dma: &'k mut Dma, now: Picos) -> (&'k mut BufferRun, Step<'k>) {
        let (booted, p2pdma) = (self.booted, &mut self.p2pdma);
        (&mut self.buffers[buffer], Step { booted, p2pdma, dma, now, buffer, io: Io::default() })
    }

    /// Time 0: importers and exporters wait for their time.
    pub fn start(&mut self, dma: &mut Dma) -> Vec<Io> {
        let starts = (0..self.buffers.len()).map(|buffer| {
            let (run, mut step) = self.step(buffer, dma, Picos::ZERO);
            for (i, importer) in run.importers.iter().enumerate() {
                step.after(importer.spec.start, What::Importer(i));
            }
            run.plan_act(&mut step);
            step.io
        });
        starts.collect()
    }

    /// A timer rang.
    pub fn timer(&mut self, event: BufferEvent, dma: &mut Dma, now: Picos) -> Io {
        let (run, mut step) = self.step(event.buffer, dma, now);
        match event.what {
            What::Importer(i) => run.proceed(i, &mut step),
            What::Act => run.act(&mut step),
            What::Copy => run.copy(&mut step),
            What::GiveBack => run.give_back(&mut step),
        }
        step.io
    }

    /// A transfer has ended, of which so many bytes were delivered.
    pub fn done(
        &mut self,
        (buffer, number): (usize, usize),
        delivered: u64,
        dma: &mut Dma,
        now: Picos,
    ) -> Io {
        let (run, mut step) = self.step(buffer, dma, now);
        run.free.push(number);
        let transfer = run.transfers[number];
        match transfer.importer {
            Some(_) => run.transferred(transfer, delivered, &mut step),
            None => run.copied(transfer, delivered, &mut step),
        }
        step.io
    }

    /// After the run: checks that everything was given back, if it came to its end, and hands over what was counted.
    pub fn finish(self, complete: bool) -> Vec<Driven> {
        let driven = self.buffers.into_iter().map(|run| {
            if complete {
                run.check_end();
            }
            Driven { plan: run.plan, refused: run.exported.err(), importers: run.importers, tally: run.tally }
        });
        driven.collect()
    }
}

impl BufferRun {
    fn new(plan: &BufferPlan, booted: &Booted, p2pdma: &mut P2pdma, seed: u64) -> BufferRun {
        let spec = &plan.spec;
        let importers = spec.importers.iter().enumerate().map(|(i, importer)| {
            let entity = STREAMS | (plan.number as u64) << 20 | i as u64;
            ImporterRun::new(importer, spec, Stream::new(seed, entity))
        });
        BufferRun {
            exported: Exported::new(plan, booted, p2pdma),
            importers: importers.collect(),
            phase: Phase::Idle,
            acts: 0,
            postponed: false,
            told: 0,
            waiting: Vec::new(),
            contents: Contents::new(spec.chunks()),
            transfers: Vec::new(),
            free: Vec::new(),
            tally: ExporterTally::default(),
            plan: plan.clone(),
        }
    }

    /// Notes a transfer; returns its number.
    pub(super) fn under_way(&mut self, transfer: Transfer) -> usize {
        let number = self.free.pop().unwrap_or(self.transfers.len());
        if number == self.transfers.len() {
            self.transfers.push(transfer);
        } else {
            self.transfers[number] = transfer;
        }
        number
    }

    /// Nothing is mapped, pinned, attached, or waits.
    fn check_end(&self) {
        let name = &self.plan.spec.name;
        for importer in &self.importers {
            let what = &importer.spec.name;
            assert!(importer.state == State::Over, "{what} of {name} is not done: {:?}", importer.state);
            assert!(importer.mapping.is_none() && !importer.pinned, "{what} of {name} holds the buffer");
            assert!(importer.attachment.is_none(), "{what} of {name} is attached");
        }
        assert!(self.waiting.is_empty() && self.phase == Phase::Idle, "{name} is not at rest");
        assert_eq!(self.free.len(), self.transfers.len(), "transfers of {name} are under way");
        if let Ok(exported) = &self.exported {
            assert_eq!((exported.mappings(), exported.pins()), (0, 0), "{name} is in use");
        }
    }
}

impl ImporterRun {
    /// It keeps the buffer where it is.
    pub(super) fn holds(&self) -> bool {
        self.pinned || self.spec.kind == ImporterKind::Static && self.mapping.is_some()
    }
}

/// Random streams of importers, apart from those of everybody else.
const STREAMS: u64 = 1 << 60;
