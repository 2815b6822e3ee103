//! Which kernel: a [`Profile`] is turned once into plain [`Rules`], and no algorithm compares versions.

use core::fmt;
use core::str::FromStr;

/// A kernel whose decisions are reproduced.
// The names are those people use on the command line and in files.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Profile {
    /// 6.1.192, long-term.
    Linux_6_1,
    /// 6.12.117, long-term.
    Linux_6_12,
    /// 7.3.4, mainline in November 2026.
    Linux_7_3,
}

impl Profile {
    /// All profiles, oldest first.
    pub const ALL: [Profile; 3] = [Profile::Linux_6_1, Profile::Linux_6_12, Profile::Linux_7_3];
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The text names no profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownProfile;

impl fmt::Display for UnknownProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected Linux_6_1, Linux_6_12 or Linux_7_3")
    }
}

impl core::error::Error for UnknownProfile {}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Profile, UnknownProfile> {
        match text {
            "Linux_6_1" => Ok(Profile::Linux_6_1),
            "Linux_6_12" => Ok(Profile::Linux_6_12),
            "Linux_7_3" => Ok(Profile::Linux_7_3),
            _ => Err(UnknownProfile),
        }
    }
}

/// How bridge windows are sized and aligned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WindowSizing {
    /// 6.x: sizes accumulate; `relaxed` (6.12) falls back to the largest alignment where the result has no place.
    Cumulative {
        /// Whether the fallback exists.
        relaxed: bool,
    },
    /// 7.x: the largest alignment is halved while smaller resources fill its head.
    Head,
}

/// Everything that differs between profiles, as facts.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The kernel they belong to, for reports.
    pub profile: Profile,
    /// Host bridges between whose ports peer-to-peer is allowed.
    pub allow_list: &'static [AllowedHostBridge],
    /// Bridge windows.
    pub window_sizing: WindowSizing,
    /// ROM BARs and empty bridge windows may go without an address.
    pub optional_roms_and_windows: bool,
    /// Largest alignment order of a BAR behind a bridge: 2^(20 + orders - 1) bytes.
    pub alignment_orders: u32,
    /// Which resources prefer which bridge window: 7.x puts 32-bit prefetchable BARs into the non-prefetchable
    /// window when the prefetchable one is 64-bit.
    pub resource_tail_alignment: bool,
}

/// An entry of the peer-to-peer allow-list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllowedHostBridge {
    /// Vendor of the host bridge's identifying function.
    pub vendor: u16,
    /// Its device; `None` for any.
    pub device: Option<u16>,
    /// Both functions must be below the same host bridge.
    pub same_host_bridge: bool,
}
