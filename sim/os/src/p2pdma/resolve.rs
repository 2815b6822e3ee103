//! The distance calculation: map type and distance of a provider and a client.
//!
//! Both functions' chains of bridges up to the root bus are compared. Distance counts the steps from each to
//! the lowest common function, or past the root bus where there is none. Every function on the way, both
//! ends and the common one included, is tested for ACS redirection; a path without a common function, or
//! with redirection, goes through the host bridge, which CPU or table must allow.

use alloc::vec::Vec;
use core::fmt;

use super::cpu::CpuIdentity;
use super::host_bridge::{Listing, lookup};
use crate::pci::{FunctionIndex, Tree, acs_control};
use crate::{ConfigSpace, Rules};

/// How a client reaches a provider's memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MapType {
    /// By bus address, below a common bridge.
    BusAddr,
    /// Through the host bridge, by the address ordinary memory would have.
    ThruHostBridge,
    /// Not at all.
    NotSupported,
}

impl fmt::Display for MapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MapType::BusAddr => "BUS_ADDR",
            MapType::ThruHostBridge => "THRU_HOST_BRIDGE",
            MapType::NotSupported => "NOT_SUPPORTED",
        })
    }
}

/// Why a pair is not mapped by bus address, or not at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// These functions of the path redirect (RR, CR or EC set): from the provider up to the common function,
    /// then from the client up to below it.
    AcsRedirect {
        /// The redirecting functions in the kernel's order.
        functions: Vec<FunctionIndex>,
    },
    /// No bridge is common to both; the path crosses the root complex.
    NoCommonBridge,
    /// The function that stands for a host bridge is not in the table.
    HostBridgeNotListed {
        /// That function.
        root_device: FunctionIndex,
    },
    /// The table allows this host bridge only when both functions lie below it.
    HostBridgesDiffer {
        /// The function that stands for it.
        root_device: FunctionIndex,
    },
    /// No function stands for a host bridge: its root bus is empty or starts with something else than 00.0 or
    /// a root port.
    HostBridgeUnidentified,
}

impl Reason {
    /// The functions concerned.
    pub fn functions(&self) -> &[FunctionIndex] {
        match self {
            Reason::AcsRedirect { functions } => functions,
            Reason::HostBridgeNotListed { root_device } | Reason::HostBridgesDiffer { root_device } => {
                core::slice::from_ref(root_device)
            }
            Reason::NoCommonBridge | Reason::HostBridgeUnidentified => &[],
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::AcsRedirect { .. } => "ACS_REDIRECT",
            Reason::NoCommonBridge => "NO_COMMON_BRIDGE",
            Reason::HostBridgeNotListed { .. } => "HOST_BRIDGE_NOT_LISTED",
            Reason::HostBridgesDiffer { .. } => "HOST_BRIDGES_DIFFER",
            Reason::HostBridgeUnidentified => "HOST_BRIDGE_UNIDENTIFIED",
        })
    }
}

/// What the kernel decides about one ordered pair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolution {
    /// How the client reaches the provider.
    pub map_type: MapType,
    /// Steps up from both; valid for every map type.
    pub distance: u32,
    /// Why it is not [`MapType::BusAddr`]: first why the path goes through the host bridge, then, where that
    /// is refused, why. Empty for a path by bus address.
    pub reasons: Vec<Reason>,
}

impl Resolution {
    /// The functions of the path that redirect, in the kernel's order; empty unless the ends share a bridge.
    pub fn redirecting(&self) -> &[FunctionIndex] {
        self.reasons
            .iter()
            .find_map(|reason| match reason {
                Reason::AcsRedirect { functions } => Some(functions.as_slice()),
                _ => None,
            })
            .unwrap_or(&[])
    }
}

/// Answers for many pairs: chains, redirection and host bridges are looked at once, when it is made. It knows
/// nothing of later changes of ACS words.
#[derive(Clone, Debug)]
pub struct Resolver<'a> {
    tree: &'a Tree,
    any_host_path: bool,
    redirects: Vec<bool>,
    /// Where each function's chain starts in `nodes`, and one past the last.
    starts: Vec<usize>,
    /// All chains, each from the function itself up to the root bus.
    nodes: Vec<FunctionIndex>,
    listings: Vec<Listing>,
}

impl<'a> Resolver<'a> {
    /// Looks at all functions of the tree.
    pub fn new(tree: &'a Tree, cs: &impl ConfigSpace, cpu: &CpuIdentity, rules: &Rules) -> Resolver<'a> {
        let mut starts = Vec::with_capacity(tree.functions.len() + 1);
        let mut nodes = Vec::new();
        let mut redirects = Vec::with_capacity(tree.functions.len());
        for (index, _) in tree.iter() {
            starts.push(nodes.len());
            let chain = core::iter::successors(Some(index), |node| tree.upstream(*node));
            nodes.extend(chain);
            redirects.push(acs_control(tree, cs, index).is_some_and(|word| word.redirects()));
        }
        starts.push(nodes.len());
        let listings = (0..tree.host_bridges.len()).map(|host| lookup(tree, rules, host)).collect();
        Resolver { tree, any_host_path: cpu.forwards_peer_to_peer(), redirects, starts, nodes, listings }
    }

    fn chain(&self, function: FunctionIndex) -> &[FunctionIndex] {
        &self.nodes[self.starts[function.0]..self.starts[function.0 + 1]]
    }

    /// Map type and distance of one pair. Both must be functions of the tree.
    pub fn resolve(&self, provider: FunctionIndex, client: FunctionIndex) -> Resolution {
        let (above, below) = (self.chain(provider), self.chain(client));
        // Chains that meet stay together: the length of the common part, counted from the root.
        let shared = above.iter().rev().zip(below.iter().rev()).take_while(|(a, b)| a == b).count();
        let (steps_a, steps_b) = (above.len() - shared, below.len() - shared);
        let distance = u32::try_from(steps_a + steps_b).unwrap_or(u32::MAX);
        let mut reasons = Vec::new();
        if shared > 0 {
            let path = above[..=steps_a].iter().chain(&below[..steps_b]);
            let functions: Vec<_> = path.copied().filter(|node| self.redirects[node.0]).collect();
            if functions.is_empty() {
                return Resolution { map_type: MapType::BusAddr, distance, reasons };
            }
            reasons.push(Reason::AcsRedirect { functions });
        } else {
            reasons.push(Reason::NoCommonBridge);
        }
        let refusal = self.refusal(provider, client);
        let map_type = if refusal.is_some() { MapType::NotSupported } else { MapType::ThruHostBridge };
        reasons.extend(refusal);
        Resolution { map_type, distance, reasons }
    }

    /// Why the root complex does not forward between the two, if it does not. The provider's host bridge is
    /// looked at first, the client's only when that one is fine.
    fn refusal(&self, provider: FunctionIndex, client: FunctionIndex) -> Option<Reason> {
        if self.any_host_path {
            return None;
        }
        let host = |function: FunctionIndex| self.tree[self.tree[function].bus].host_bridge;
        let (a, b) = (host(provider), host(client));
        if a == b {
            return self.listings[a].refusal(true);
        }
        self.listings[a].refusal(false).or_else(|| self.listings[b].refusal(false))
    }
}

/// Map type and distance of one pair, with ACS words as they are now.
pub fn resolve(
    tree: &Tree,
    cs: &impl ConfigSpace,
    cpu: &CpuIdentity,
    rules: &Rules,
    provider: FunctionIndex,
    client: FunctionIndex,
) -> Resolution {
    Resolver::new(tree, cs, cpu, rules).resolve(provider, client)
}

/// All ordered pairs of `functions`, row by row: a row per provider, a column per client.
pub fn resolve_all<'a>(
    resolver: &'a Resolver<'a>,
    functions: &'a [FunctionIndex],
) -> impl Iterator<Item = (FunctionIndex, FunctionIndex, Resolution)> + 'a {
    functions.iter().flat_map(move |provider| {
        functions.iter().map(move |client| (*provider, *client, resolver.resolve(*provider, *client)))
    })
}
