//! Texts from and to files.
//!
//! A file is written whole or not at all: [`Destination::open`] makes a file beside the one that is meant, which tells
//! early whether writing can work, and [`Destination::write`] renames it into place. Until then the old file
//! stays; a destination that is dropped unwritten leaves nothing behind.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use peerbus_machine::Diagnostic;

use crate::codes;

/// True when `path` is there and ends in `.extension`, in upper or lower case.
pub fn has_extension(path: Option<&Path>, extension: &str) -> bool {
    path.and_then(Path::extension).is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// What a path is called in messages and documents.
pub fn label(path: &Path) -> String {
    if is_standard(path) { "<stdin>".to_owned() } else { path.to_string_lossy().into_owned() }
}

fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The text of the file at `path`; `-` is standard input. The error names the file and the place in it.
pub fn read_text(path: &Path) -> Result<String, Box<Diagnostic>> {
    let label = label(path);
    let bytes = read_bytes(path).map_err(|error| {
        let message = format!("cannot read `{label}`: {}", reason(&error));
        Box::new(Diagnostic::error(codes::UNREADABLE, &label, message))
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        let message = format!("`{label}` is not UTF-8 text: byte {valid} begins no character");
        let mut found = Diagnostic::error(codes::NOT_TEXT, &label, message).at(&before, valid..valid);
        // There is no text to show around the place.
        found.span = None;
        Box::new(found)
    })
}

#[expect(clippy::disallowed_methods, reason = "the command line is where files are read")]
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    if !is_standard(path) {
        return fs::read(path);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The scenario files of a folder, by name; those of folders in it are not among them.
pub fn scenarios_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.is_file() && (has_extension(Some(&path), "ron") || has_extension(Some(&path), "json")) {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        anyhow::bail!("the folder {} holds no scenario (*.ron or *.json)", folder.display());
    }
    Ok(found)
}

/// The content of a file that may not be there or not be readable.
#[expect(clippy::disallowed_methods, reason = "the command line is where files are read")]
pub fn read_some(path: &Path) -> Option<Vec<u8>> {
    fs::read(path).ok()
}

/// What the operating system says, without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Writes `text` to standard output. A reader that has gone away has read enough.
pub fn answer(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write the answer"),
        _ => Ok(()),
    }
}

/// Where an answer will be written.
#[derive(Debug)]
pub enum Destination {
    /// Standard output.
    Standard,
    /// Something that is no regular file, such as a pipe; written to as it is.
    Special(PathBuf, File),
    /// A file.
    Regular(Pending),
}

/// A file being written beside the one it will replace.
#[derive(Debug)]
pub struct Pending {
    target: PathBuf,
    beside: PathBuf,
    file: File,
    placed: bool,
}

impl Destination {
    /// Prepares writing to `path`; no path and `-` are standard output.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Destination> {
        match path {
            None => Ok(Destination::Standard),
            Some(path) if is_standard(path) => Ok(Destination::Standard),
            Some(path) => prepare(path).with_context(|| format!("cannot write {}", path.display())),
        }
    }

    /// True for standard output.
    pub fn is_standard(&self) -> bool {
        matches!(self, Destination::Standard)
    }

    /// Writes `text` and puts it in its place.
    pub fn write(self, text: &str) -> anyhow::Result<()> {
        match self {
            Destination::Standard => answer(text),
            Destination::Special(path, mut file) => match file.write_all(text.as_bytes()) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                written => written.with_context(|| format!("cannot write {}", path.display())),
            },
            Destination::Regular(mut pending) => {
                let placed = pending.place(text);
                placed.with_context(|| format!("cannot write {}", pending.target.display()))
            }
        }
    }
}

fn prepare(path: &Path) -> io::Result<Destination> {
    // Through symbolic links, so that what they point to is replaced and not they.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let permissions = match fs::metadata(&target) {
        Ok(found) if found.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => {
            let file = File::options().write(true).open(&target)?;
            return Ok(Destination::Special(target, file));
        }
        Ok(found) if found.permissions().readonly() => return Err(ErrorKind::PermissionDenied.into()),
        Ok(found) => Some(found.permissions()),
        Err(_) => None,
    };
    let name = target.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
    let (beside, file) = create_beside(&target, &name)?;
    let pending = Pending { target, beside, file, placed: false };
    if let Some(permissions) = permissions {
        pending.file.set_permissions(permissions)?;
    }
    Ok(Destination::Regular(pending))
}

/// A new file in the folder of `target`. Several programs, and several destinations of one, may do this at once.
fn create_beside(target: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    let process = std::process::id();
    for attempt in 0..1000 {
        let beside = target.with_file_name(format!(".{name}.{process}-{attempt}.partial"));
        match File::options().write(true).create_new(true).open(&beside) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => return created.map(|file| (beside, file)),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

impl Pending {
    fn place(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()?;
        fs::rename(&self.beside, &self.target)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.placed {
            // Nothing can be done about a folder that lost its permissions meanwhile.
            let _ = fs::remove_file(&self.beside);
        }
    }
}
