//! [`Resolver`]: the answers of [`super::resolve()`] for many pairs, from one reading of the hardware.
//!
//! Each function's depth, its upstream function and whether it redirects are taken once, and each host bridge is
//! looked up once. A pair then costs the steps up to its common function, and a comparison of two counts tells
//! whether anything on the way redirects: with r(f) redirecting functions from f to the top,
//! r(provider) + r(client) − 2 r(common) + (common redirects) of them are on the path.

use alloc::vec::Vec;

use super::host_bridge::{Listing, listing, objections};
use super::resolve::{redirects, through_host_bridge};
use super::{CpuIdentity, MapType, Reason, Resolution, upstream_path};
use crate::pci::{FunctionIndex, Tree};
use crate::{ConfigSpace, Rules};

/// What a pair needs to know about one function.
#[derive(Clone, Copy, Debug)]
struct Node {
    upstream: Option<FunctionIndex>,
    /// Functions above it.
    depth: u32,
    redirects: bool,
    /// Redirecting functions from this one, included, to the top.
    redirecting: u32,
    host_bridge: usize,
}

/// A machine as it was when the resolver was made: later writes to ACS control words are not seen.
#[derive(Clone, Debug)]
pub struct Resolver {
    nodes: Vec<Node>,
    listings: Vec<Listing>,
    cpu: CpuIdentity,
}

impl Resolver {
    /// Reads each function's ACS control word once.
    pub fn new(tree: &Tree, cs: &impl ConfigSpace, cpu: &CpuIdentity, rules: &Rules) -> Resolver {
        let indices = || (0..tree.functions.len()).map(FunctionIndex);
        let mut nodes: Vec<Node> = indices()
            .map(|function| Node {
                upstream: tree.upstream(function),
                depth: 0,
                redirects: redirects(tree, cs, function),
                redirecting: 0,
                host_bridge: tree[tree[function].bus].host_bridge,
            })
            .collect();
        for function in indices() {
            let (mut functions, mut redirecting) = (0, 0);
            for node in upstream_path(tree, function) {
                functions += 1;
                redirecting += u32::from(nodes[node.0].redirects);
            }
            nodes[function.0].depth = functions - 1;
            nodes[function.0].redirecting = redirecting;
        }
        let listings =
            (0..tree.host_bridges.len()).map(|host_bridge| listing(tree, rules, host_bridge)).collect();
        Resolver { nodes, listings, cpu: *cpu }
    }

    /// As [`super::resolve()`].
    pub fn resolve(&self, provider: FunctionIndex, client: FunctionIndex) -> Resolution {
        let (from, to) = (self.node(provider), self.node(client));
        let Some(common) = self.common(provider, client) else {
            let tops = [provider, client].into_iter().filter_map(|function| self.path(function).last());
            let cause = Reason::NoCommonUpstream(tops.collect());
            return through_host_bridge(from.depth + to.depth + 2, cause, self.objections(from, to));
        };
        let top = self.node(common);
        let distance = from.depth + to.depth - 2 * top.depth;
        let redirecting = from.redirecting + to.redirecting - 2 * top.redirecting + u32::from(top.redirects);
        if redirecting == 0 {
            return Resolution { map_type: MapType::BusAddr, distance, reasons: Vec::new() };
        }
        let below = |function| self.path(function).take_while(|node| *node != common);
        let walked = below(provider).chain([common]).chain(below(client));
        let functions = walked.filter(|function| self.node(*function).redirects).collect();
        through_host_bridge(distance, Reason::AcsRedirect(functions), self.objections(from, to))
    }

    fn node(&self, function: FunctionIndex) -> &Node {
        &self.nodes[function.0]
    }

    fn path(&self, function: FunctionIndex) -> impl Iterator<Item = FunctionIndex> {
        core::iter::successors(Some(function), |function| self.node(*function).upstream)
    }

    /// The lowest function that is above, or is, both.
    fn common(&self, a: FunctionIndex, b: FunctionIndex) -> Option<FunctionIndex> {
        let (mut a, mut b) = (a, b);
        while a != b {
            let (above_a, above_b) = (self.node(a).depth, self.node(b).depth);
            if above_a >= above_b {
                a = self.node(a).upstream?;
            }
            if above_b >= above_a {
                b = self.node(b).upstream?;
            }
        }
        Some(a)
    }

    fn objections(&self, from: &Node, to: &Node) -> Vec<Reason> {
        let second = (from.host_bridge != to.host_bridge).then(|| self.listings[to.host_bridge]);
        objections(&self.cpu, self.listings[from.host_bridge], second)
    }
}

/// All ordered pairs of `functions`, a function with itself included: for each provider in the order given, each
/// client in the order given. The hardware is read before this returns; the pairs are computed as they are asked for.
pub fn resolve_all(
    tree: &Tree,
    cs: &impl ConfigSpace,
    cpu: &CpuIdentity,
    rules: &Rules,
    functions: &[FunctionIndex],
) -> impl Iterator<Item = (FunctionIndex, FunctionIndex, Resolution)> {
    let resolver = Resolver::new(tree, cs, cpu, rules);
    let pairs = functions.iter().flat_map(move |from| functions.iter().map(move |to| (*from, *to)));
    pairs.map(move |(provider, client)| (provider, client, resolver.resolve(provider, client)))
}
