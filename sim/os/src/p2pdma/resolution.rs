//! [`Resolution`]: what the kernel decides about a provider and a client, and why.

use alloc::vec::Vec;
use core::fmt;

use crate::pci::FunctionIndex;

/// How a client reaches a provider's memory; printed as in the kernel (`BUS_ADDR`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MapType {
    /// By bus address, without passing the host bridge or an IOMMU.
    BusAddr,
    /// Through the host bridge, at the address ordinary memory there would have.
    ThruHostBridge,
    /// Not at all.
    NotSupported,
}

impl fmt::Display for MapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            MapType::BusAddr => "BUS_ADDR",
            MapType::ThruHostBridge => "THRU_HOST_BRIDGE",
            MapType::NotSupported => "NOT_SUPPORTED",
        })
    }
}

/// Why a path does not use bus addresses, or why it is refused.
///
/// The first reason of a path is [`Reason::AcsRedirect`] or [`Reason::NoCommonUpstream`]: it sends the question to
/// the CPU and the host bridges. The others say why these refused. Where provider and client lie below different
/// host bridges, both are named; the kernel stops at the first that refuses, without visible difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Functions whose ACS control redirects: the provider's side upwards, the common function included, then the
    /// client's side upwards without it. The order of the kernel's `pci=disable_acs_redir=` advice.
    AcsRedirect(Vec<FunctionIndex>),
    /// Nothing above both: the last function of the provider's path, and of the client's.
    NoCommonUpstream(Vec<FunctionIndex>),
    /// Functions that identify host bridges not in the allow-list.
    HostBridgeNotListed(Vec<FunctionIndex>),
    /// Functions that identify host bridges whose entry demands that both sides lie below the same one.
    HostBridgesDiffer(Vec<FunctionIndex>),
    /// First functions of root buses, where these are neither at 00.0 nor root ports and so identify nothing.
    NoIdentifyingFunction(Vec<FunctionIndex>),
}

impl Reason {
    /// Name of the kind, as documents carry it: `ACS_REDIRECT`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Reason::AcsRedirect(_) => "ACS_REDIRECT",
            Reason::NoCommonUpstream(_) => "NO_COMMON_UPSTREAM",
            Reason::HostBridgeNotListed(_) => "HOST_BRIDGE_NOT_LISTED",
            Reason::HostBridgesDiffer(_) => "HOST_BRIDGES_DIFFER",
            Reason::NoIdentifyingFunction(_) => "NO_IDENTIFYING_FUNCTION",
        }
    }

    /// The functions concerned, in the order given at each variant.
    pub fn functions(&self) -> &[FunctionIndex] {
        match self {
            Reason::AcsRedirect(functions)
            | Reason::NoCommonUpstream(functions)
            | Reason::HostBridgeNotListed(functions)
            | Reason::HostBridgesDiffer(functions)
            | Reason::NoIdentifyingFunction(functions) => functions,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.kind())
    }
}

/// The answer about one ordered pair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolution {
    /// The way.
    pub map_type: MapType,
    /// Steps from the provider up to the common function and from the client up to it; without one, the number of
    /// functions on both paths. Valid for every type, and says nothing about it.
    pub distance: u32,
    /// Why it is not [`MapType::BusAddr`]; empty where it is.
    pub reasons: Vec<Reason>,
}

impl Resolution {
    /// The functions of the path that redirect, in the kernel's order; empty unless a function is common.
    pub fn redirecting(&self) -> &[FunctionIndex] {
        let redirect = self.reasons.iter().find(|reason| matches!(reason, Reason::AcsRedirect(_)));
        redirect.map_or(&[], Reason::functions)
    }
}
