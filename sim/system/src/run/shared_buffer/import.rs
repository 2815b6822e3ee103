//! Attaching, mapping, transferring, letting go.

use peerbus_fabric::{Direction, LinkId};
use peerbus_os::dma_buf::{
    Attaching, ImportedPages, MapError, Placement, RegionError, RegionSource, register,
};
use peerbus_os::p2pdma::{Client, MappedPage};
use peerbus_units::{Bytes, Picos};

use super::costs;
use super::drive::{BufferRun, Transfer};
use super::exported::Exported;
use super::importer::{Failure, State};
use super::mapping::{self, BufferMapping};
use super::step::{Step, What};
use crate::run::shared_virtual::{Mover, SharedOrder};
use crate::shared_buffer::{BufferAccess, ImporterKind};

/// Kinds of errors of importers.
const ATTACH: &str = "ATTACH_REFUSED";
const MAPPING: &str = "MAPPING_REFUSED";
pub(super) const ACCESS: &str = "ACCESS_FAILED";

impl BufferRun {
    /// An importer's time has come.
    pub(super) fn proceed(&mut self, i: usize, step: &mut Step<'_>) {
        match self.importers[i].state {
            State::Before => self.begin(i, step),
            State::Kernel => self.map(i, step),
            State::Waits(since) => {
                let waited = step.now.saturating_sub(since);
                self.importers[i].tally.waited += waited;
                self.map(i, step);
            }
            State::Uses | State::Over => {}
        }
    }

    /// Attaches, and pins where its kind does.
    fn begin(&mut self, i: usize, step: &mut Step<'_>) {
        if self.is_moving() {
            // The lock of the buffer: it attaches later.
            self.waiting.push(i);
            return;
        }
        if let Err(text) = self.attach(i, step) {
            return self.fail(i, ATTACH, text, step);
        }
        if !self.importers[i].pins() {
            return self.busy(i, costs::ATTACH, step);
        }
        let (Ok(exported), Some(id)) = (&mut self.exported, self.importers[i].attachment) else { return };
        let before = exported.placement();
        match exported.pin(id) {
            Err(error) => self.fail(i, ATTACH, format!("the buffer cannot be pinned: {error}"), step),
            Ok(told) => {
                self.importers[i].pinned = true;
                if exported.placement() == before {
                    return self.busy(i, costs::ATTACH, step);
                }
                self.wait(i, step.now);
                self.stop_for_move(&told, false, step);
            }
        }
    }

    /// The kernel maps for it, beside other `work`.
    fn busy(&mut self, i: usize, work: Picos, step: &mut Step<'_>) {
        let took = work + costs::map(self.plan.spec.bytes.0);
        self.importers[i].state = State::Kernel;
        self.importers[i].tally.kernel += took;
        step.after(took, What::Importer(i));
    }

    /// It waits for the buffer.
    fn wait(&mut self, i: usize, now: Picos) {
        self.importers[i].state = State::Waits(now);
        self.waiting.push(i);
    }

    fn attach(&mut self, i: usize, step: &mut Step<'_>) -> Result<(), String> {
        let exported =
            self.exported.as_mut().map_err(|why| format!("there is no buffer to attach to: {why}"))?;
        let (run, plan) = (&mut self.importers[i], &self.plan.importers[i]);
        let client = plan.function.ok_or("the operating system did not find the importer")?;
        let rules = &step.booted.rules.p2pdma;
        if run.spec.kind == ImporterKind::Iommufd {
            let Exported::Vfio(buffer) = exported else {
                return Err("iommufd imports what VFIO exports: it needs physical addresses".to_owned());
            };
            if !step.dma.is_translated(client) {
                return Err("no IOMMU translates for it, and iommufd needs one".to_owned());
            }
            let pages = ImportedPages::import(rules, buffer).map_err(|error| error.to_string())?;
            (run.attachment, run.peer2peer) = (Some(pages.attachment), true);
            run.pages = Some(pages);
            return Ok(());
        }
        if let Some(kind) = run.region() {
            // A process sees memory of a device, or a buffer of it, without pages.
            let source = match run.spec.kind {
                ImporterKind::Ordinary => RegionSource::Page(MappedPage::Io),
                _ => {
                    let page_aligned = self.plan.spec.bytes.0.is_multiple_of(4096);
                    RegionSource::DmaBuf { revoked: false, page_aligned }
                }
            };
            register(kind, source).map_err(|error| error.to_string())?;
        }
        let (tree, config) = (&step.booted.tree, &step.booted.registers);
        let distance = self.plan.function.and_then(|provider| {
            step.p2pdma.distance(tree, config, provider, Client::Function(client), false)
        });
        let attaching = Attaching { importer: run.brings(), distance, xgmi: plan.link.is_some() };
        let (id, peer2peer) = exported.attach(rules, &attaching).map_err(|error| error.to_string())?;
        (run.attachment, run.peer2peer) = (Some(id), peer2peer);
        Ok(())
    }

    /// Maps the buffer, once it is free and where the importer reaches it.
    fn map(&mut self, i: usize, step: &mut Step<'_>) {
        if self.is_moving() {
            return self.wait(i, step.now);
        }
        if self.importers[i].pages.is_some() {
            return self.map_pages(i, step);
        }
        let (Ok(exported), Some(id)) = (&mut self.exported, self.importers[i].attachment) else { return };
        let before = exported.placement();
        match exported.map(id) {
            Err(MapError::Revoked) => self.refused(i, step),
            Err(error) => self.fail(i, MAPPING, format!("the buffer cannot be mapped: {error}"), step),
            Ok(mapped) if mapped.placement != before => {
                // Those who wait after it find the buffer where it brought it.
                self.importers[i].state = State::Waits(step.now);
                self.waiting.insert(0, i);
                self.stop_for_move(&mapped.invalidated, false, step);
            }
            Ok(mapped) => {
                let importer = &self.plan.importers[i];
                match mapping::map(&self.plan, importer, exported, mapped.placement, step) {
                    Ok(made) => self.uses(i, made, step),
                    Err(text) => {
                        exported.unmap(id);
                        self.fail(i, MAPPING, format!("the buffer cannot be mapped: {text}"), step);
                    }
                }
            }
        }
    }

    /// An access to a revoked buffer has failed. It is tried again when the buffer is given back.
    fn refused(&mut self, i: usize, step: &mut Step<'_>) {
        self.importers[i].tally.failed_accesses += 1;
        if self.comes_back() {
            return self.wait(i, step.now);
        }
        let text = match self.importers[i].faults() {
            true => RegionError::Revoked.to_string(),
            false => MapError::Revoked.to_string(),
        };
        self.fail(i, ACCESS, text, step);
    }

    /// User space enters the physical range in its own I/O page table: nobody is asked for a map type.
    fn map_pages(&mut self, i: usize, step: &mut Step<'_>) {
        let (Some(function), Some(memory)) = (self.plan.importers[i].function, self.plan.vfio.memory) else {
            return;
        };
        let part = (self.plan.spec.exporter.offset.0, self.plan.spec.bytes);
        step.io.changed.push(function);
        match mapping::map_bar(&memory, part, function, step) {
            Ok(made) => self.uses(i, made, step),
            Err(text) => self.fail(i, MAPPING, format!("the pages cannot be mapped: {text}"), step),
        }
    }

    /// It has addresses, and begins at once: whoever moves the buffer next waits for that.
    fn uses(&mut self, i: usize, mapping: BufferMapping, step: &mut Step<'_>) {
        let run = &mut self.importers[i];
        run.first.get_or_insert((mapping.base, mapping.kind));
        (run.mapping, run.mapped_at, run.state) = (Some(mapping), step.now, State::Uses);
        run.tally.mappings += 1;
        self.give(i, step);
    }

    /// Gives transfers as long as there may be more under way.
    pub(super) fn give(&mut self, i: usize, step: &mut Step<'_>) {
        while self.importers[i].may_give() {
            let Some(mapping) = &self.importers[i].mapping else { return };
            let place = (mapping.placement, mapping.base, mapping.link);
            self.give_one(i, place, step);
        }
    }

    /// Gives the transfer of the next chunk of a buffer that begins at `base`.
    fn give_one(
        &mut self,
        i: usize,
        (placement, base, link): (Placement, u64, Option<LinkId>),
        step: &mut Step<'_>,
    ) {
        let run = &mut self.importers[i];
        let chunk = run.pattern.page();
        let (first, room) = self.plan.spec.chunk_at(chunk);
        let bytes = room.min(run.left);
        let writes = run.spec.access == BufferAccess::Write;
        run.give(bytes);
        let chunk = usize::try_from(chunk).unwrap_or(usize::MAX);
        let number = self.under_way(Transfer { importer: Some(i), chunk, placement, bytes });
        step.io.orders.push(SharedOrder {
            flow: self.plan.importers[i].flow,
            by: Mover::Device {
                device: self.plan.importers[i].device,
                direction: if writes { Direction::Write } else { Direction::Read },
                link,
            },
            addr: base.wrapping_add(first),
            bytes: Bytes(bytes),
            owner: (step.buffer, number),
        });
    }

    /// A transfer of an importer has ended.
    pub(super) fn transferred(&mut self, transfer: Transfer, delivered: u64, step: &mut Step<'_>) {
        let Some(i) = transfer.importer else { return };
        let Transfer { chunk, placement, bytes, .. } = transfer;
        let writes = self.importers[i].spec.access == BufferAccess::Write;
        let whole = delivered == bytes;
        let right = match writes {
            true => {
                if delivered > 0 {
                    self.contents.write(chunk, placement);
                }
                true
            }
            false => !whole || self.contents.is_right(chunk, placement),
        };
        let run = &mut self.importers[i];
        run.under_way -= 1;
        run.tally.wrong_reads += u64::from(!right);
        match placement {
            Placement::Device => run.tally.bytes_device += delivered,
            Placement::System => run.tally.bytes_ram += delivered,
        }
        if run.pages.is_some_and(|pages| pages.is_revoked()) {
            return self.after_revocation(i, whole, step);
        }
        self.give(i, step);
        if self.importers[i].has_stopped() {
            self.let_go(i, step);
        } else if self.importers[i].has_all() {
            self.finish(i, step);
        }
    }

    /// Pages of iommufd were unmapped under a device that nobody told: it goes on until an access faults in the IOMMU.
    fn after_revocation(&mut self, i: usize, whole: bool, step: &mut Step<'_>) {
        let run = &mut self.importers[i];
        if !whole {
            run.tally.failed_accesses += 1;
            run.stale = None;
        }
        let (idle, all) = (run.under_way == 0, run.left == 0);
        if let Some(base) = run.stale.filter(|_| !all) {
            self.give_one(i, (Placement::Device, base, None), step);
        } else if idle && run.tally.failed_accesses == 0 {
            self.finish(i, step);
        } else if idle {
            let text = "its pages were revoked for good: accesses fault in the IOMMU".to_owned();
            self.fail(i, ACCESS, text, step);
        }
    }

    /// It was told, and has stopped: what it mapped is undone. Its next access maps again.
    pub(super) fn let_go(&mut self, i: usize, step: &mut Step<'_>) {
        self.unmap(i, step);
        self.importers[i].told = false;
        if self.importers[i].left == 0 {
            self.finish(i, step);
        } else if self.importers[i].is_revoked_for_good() {
            let text = "the region was revoked for good".to_owned();
            self.fail(i, ACCESS, text, step);
        } else if self.importers[i].faults() {
            let took = costs::fault(self.plan.spec.bytes.0);
            let run = &mut self.importers[i];
            (run.state, run.tally.faults) = (State::Kernel, run.tally.faults + 1);
            run.tally.kernel += took;
            step.after(took, What::Importer(i));
        } else {
            self.busy(i, Picos::ZERO, step);
        }
        self.check_stopped(step);
    }

    /// Gives addresses and the mapping back.
    fn unmap(&mut self, i: usize, step: &mut Step<'_>) {
        let run = &mut self.importers[i];
        let Some(mapping) = run.mapping.take() else { return };
        run.tally.mapped += step.now.saturating_sub(run.mapped_at);
        if let Some(function) = self.plan.importers[i].function {
            mapping.undo(function, step);
        }
        if let (Ok(exported), Some(id)) = (&mut self.exported, run.attachment) {
            exported.unmap(id);
        }
    }

    /// The pages of iommufd are unmapped at once, whatever is under way.
    pub(super) fn revoke_pages(&mut self, i: usize, step: &mut Step<'_>) {
        let base = self.importers[i].mapping.as_ref().map(|mapping| mapping.base);
        self.unmap(i, step);
        let run = &mut self.importers[i];
        if let Some(pages) = &mut run.pages {
            pages.invalidated();
        }
        run.stale = base;
        let idle = run.under_way == 0 && run.left > 0;
        if let Some(base) = base.filter(|_| idle) {
            self.give_one(i, (Placement::Device, base, None), step);
        }
    }

    pub(super) fn fail(&mut self, i: usize, kind: &'static str, text: String, step: &mut Step<'_>) {
        self.importers[i].failed = Some(Failure { kind, text });
        self.finish(i, step);
    }

    /// It is over: everything it had is given back.
    fn finish(&mut self, i: usize, step: &mut Step<'_>) {
        self.unmap(i, step);
        let run = &mut self.importers[i];
        run.state = State::Over;
        let pinned = std::mem::take(&mut run.pinned);
        if let (Ok(exported), Some(id)) = (&mut self.exported, run.attachment.take()) {
            if pinned {
                exported.unpin();
            }
            exported.detach(id);
        }
    }
}
