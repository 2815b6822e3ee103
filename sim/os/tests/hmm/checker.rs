//! The judgement in the recordings (`check=`): whether what was read is what a plain model of memory holds.
//!
//! `ok`: it is. `ok~`: it is what a failed write may have written, or what is left of pages that might be lost; from then on
//! that is what memory holds. `BAD`: neither.

use std::collections::BTreeMap;

use peerbus_os::mm::vma::Backing;
use peerbus_os::mm::{FileId, Mm, SpaceId, Vpn};

use super::line::{Operation, Recording};
use super::machine::BASE;
use super::model::Model;

/// The file of the recordings; shared anonymous memory is a file with the number of its mapping.
const FILE: FileId = FileId(0);

/// The model, and what was done to it so far.
pub struct Checker {
    model: Model,
    files: u32,
}

impl Checker {
    pub fn new(recording: &Recording) -> Checker {
        let mut model = Model::default();
        for index in 0..recording.written {
            model.write_file(FILE, index, recording.first + index);
        }
        Checker { model, files: 0 }
    }

    /// Does to the model what was done to memory, and judges what was read, if anything was.
    pub fn follow(
        &mut self,
        mm: &Mm,
        spaces: &[Option<SpaceId>; 2],
        operation: &Operation,
        results: &BTreeMap<String, Vec<String>>,
    ) -> Option<String> {
        let process = operation.process;
        let space = SpaceId(u32::try_from(process).expect("one of two"));
        let first = operation.number_of("pg");
        let range = (BASE + first, BASE + first + operation.number_of("n"));
        let done = results.get("ret").is_some_and(|ret| ret[0] == "0");
        match operation.name.as_str() {
            "FORK" if done => self.model.fork(space, SpaceId(1)),
            "EXIT" => self.model.exit(space),
            "MMAP" if done => self.map(space, operation, range),
            "MREMAP" if done => self.remap(mm, spaces[process], space, operation, range),
            "DONTNEED" => self.drop_pages(mm, spaces[process], space, range),
            "FREE" => self.may_be_lost(mm, spaces[process], space, range),
            "FWRITE" if done => {
                let value = operation.number_of("val");
                (0..operation.number_of("n"))
                    .for_each(|one| self.model.write_file(FILE, first + one, value + one));
            }
            "CWRITE" => {
                let value = operation.number_of("val");
                let pages = (0_u64..).zip(results.get("done").into_iter().flatten());
                for (one, _) in pages.filter(|(_, answer)| *answer == "ok") {
                    self.model.write(space, range.0 + one, value + one, false);
                }
            }
            "DWRITE" => {
                let value = operation.number_of("val");
                for (page, value) in (range.0..range.1).zip(value..) {
                    if done {
                        self.model.write(space, page, value, false);
                    } else {
                        self.model.may_write(space, page, value);
                    }
                }
            }
            _ => {}
        }
        if let Some(found) = spaces[process] {
            self.model.keep(space, |page| mm.vma(found, page).is_some());
        }
        let data = results.get("data").filter(|_| done)?;
        Some(self.judge(space, operation, range.0, data))
    }

    fn judge(&mut self, space: SpaceId, operation: &Operation, from: Vpn, data: &[String]) -> String {
        let (mut sure, mut known) = (true, true);
        for (page, got) in (from..).zip(data) {
            let Ok(got) = got.parse::<u64>() else { continue };
            let values = match operation.name.as_str() {
                "FREAD" => self.model.file_values(FILE, page - BASE),
                _ => self.model.values(space, page),
            };
            sure &= values.first() == Some(&got);
            known &= values.contains(&got);
            if operation.name != "FREAD" {
                self.model.saw(space, page, got, true);
            }
        }
        let text = match (sure, known) {
            (true, _) => "ok",
            (false, true) => "ok~",
            (false, false) => "BAD",
        };
        text.to_owned()
    }

    fn map(&mut self, space: SpaceId, operation: &Operation, range: (Vpn, Vpn)) {
        match operation.text_of("kind") {
            "ap" => self.model.map_own(space, range.0, range.1),
            "as" => {
                self.files += 1;
                self.model.map_shared(space, range.0, range.1, FileId(self.files));
            }
            kind => self.model.map_file(space, range, FILE, range.0 - BASE, kind == "fs"),
        }
    }

    fn remap(
        &mut self,
        mm: &Mm,
        found: Option<SpaceId>,
        space: SpaceId,
        operation: &Operation,
        (from, to): (Vpn, Vpn),
    ) {
        let target = BASE + operation.number_of("to");
        let before = self.model.clone();
        self.model.remap_mapped(space, from, to - from, target);
        if operation.number_of("keep") == 0 {
            return;
        }
        // What stays is empty: anonymous memory is zero again, a file's page what the file holds.
        let files = (from..to).filter(|page| !anonymous(mm, found, *page));
        self.model.copy(&before, space, files.collect());
        for page in (from..to).filter(|page| anonymous(mm, found, *page)) {
            self.model.own(space, page);
        }
        self.drop_pages(mm, found, space, (from, to));
    }

    fn drop_pages(&mut self, mm: &Mm, found: Option<SpaceId>, space: SpaceId, (from, to): (Vpn, Vpn)) {
        for page in from..to {
            let Some(vma) = found.and_then(|found| mm.vma(found, page)) else { continue };
            match vma.backing {
                Backing::File(_) if vma.shared => {}
                Backing::File(_) => {
                    self.model.map_file(space, (page, page + 1), FILE, vma.backing_page(page), false);
                }
                _ => self.model.own(space, page),
            }
        }
    }

    fn may_be_lost(&mut self, mm: &Mm, found: Option<SpaceId>, space: SpaceId, (from, to): (Vpn, Vpn)) {
        for page in (from..to).filter(|page| anonymous(mm, found, *page)) {
            self.model.may_write(space, page, 0);
        }
    }
}

fn anonymous(mm: &Mm, found: Option<SpaceId>, page: Vpn) -> bool {
    found.and_then(|found| mm.vma(found, page)).is_some_and(|vma| vma.is_anonymous())
}
