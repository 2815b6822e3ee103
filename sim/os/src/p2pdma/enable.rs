//! The attribute with which an administrator turns peer memory on for a user, such as an NVMe target.

use alloc::format;
use alloc::string::{String, ToString};

use peerbus_units::FunctionId;

use super::{Message, P2pdma};
use crate::pci::Tree;

/// What the attribute was set to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enable {
    /// No peer memory.
    Off,
    /// Of the nearest published provider.
    Automatic,
    /// Of this provider.
    Provider(FunctionId),
}

/// Nothing usable was written (`ENODEV`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EnableError {
    /// The function named has published no memory.
    NotPublished(FunctionId),
    /// It looks like a function's name but is none.
    NoSuchFunction,
    /// Neither a name nor a boolean. The kernel logs an error.
    NotBoolean,
}

impl EnableError {
    /// The kernel's name of the error.
    pub const fn errno(self) -> &'static str {
        "ENODEV"
    }
}

impl P2pdma {
    /// Parses what was written to the attribute.
    ///
    /// In this order: the whole text, but for one newline at the end, is a function's full name; or it starts like
    /// one; or its first characters are a boolean.
    pub fn enable_store(&mut self, tree: &Tree, written: &[u8]) -> Result<Enable, EnableError> {
        let name = written.strip_suffix(b"\n").unwrap_or(written);
        let id = str::from_utf8(name).ok().and_then(|name| Some((name, name.parse::<FunctionId>().ok()?)));
        let function = id.filter(|(name, id)| id.to_string() == *name).and_then(|(_, id)| tree.find(id));
        if let Some(function) = function {
            let id = tree[function].id;
            let published = self.is_published(id);
            return if published { Ok(Enable::Provider(id)) } else { Err(EnableError::NotPublished(id)) };
        }
        let second = written.get(1).copied().unwrap_or(0);
        if matches!(written.first(), Some(b'0' | b'1')) && !second.is_ascii_control() {
            return Err(EnableError::NoSuchFunction);
        }
        match boolean(written, self.rules().enable_is_boolean) {
            Some(true) => Ok(Enable::Automatic),
            Some(false) => Ok(Enable::Off),
            None => {
                self.log.push(Message::NotAProvider);
                Err(EnableError::NotBoolean)
            }
        }
    }
}

/// The kernel's booleans: the first letter decides, of `on` and `off` the second.
fn boolean(text: &[u8], enable_is_boolean: bool) -> Option<bool> {
    match text.first()? {
        b'y' | b'Y' | b't' | b'T' | b'1' => Some(true),
        b'n' | b'N' | b'f' | b'F' | b'0' => Some(false),
        b'e' | b'E' if enable_is_boolean => Some(true),
        b'd' | b'D' if enable_is_boolean => Some(false),
        b'o' | b'O' => match text.get(1)? {
            b'n' | b'N' => Some(true),
            b'f' | b'F' => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// What reading the attribute shows; `None` on a kernel without peer memory.
pub fn enable_show(setting: Option<Enable>) -> String {
    match setting {
        None => "none\n".to_string(),
        Some(Enable::Off) => "0\n".to_string(),
        Some(Enable::Automatic) => "1\n".to_string(),
        Some(Enable::Provider(function)) => format!("{function}\n"),
    }
}
