//! Every tree of up to five functions below up to two host bridges, with every set of redirecting functions, against
//! the definition: the path between two functions is the shortest way over their lowest common function.

use std::collections::BTreeSet;

use peerbus_os::p2pdma::{Resolver, resolve};
use peerbus_os::pci::{BusIndex, FunctionIndex, PcieType};
use peerbus_os::{MapType, Profile};

use super::machine::{INTEL, Machine, rules};

const MOST: usize = 5;
const HOSTS: usize = 2;

/// Where a function hangs: on the root bus of a host bridge, or below an earlier function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Above {
    Host(usize),
    Function(usize),
}

/// All ways to hang `count` functions, each below a host bridge or an earlier function.
fn shapes(count: usize) -> Vec<Vec<Above>> {
    let mut all = vec![Vec::new()];
    for position in 0..count {
        let hosts = (0..HOSTS).map(Above::Host);
        let choices: Vec<Above> = hosts.chain((0..position).map(Above::Function)).collect();
        let longer =
            |shape: Vec<Above>| choices.clone().into_iter().map(move |above| [&shape[..], &[above]].concat());
        all = all.into_iter().flat_map(longer).collect();
    }
    all
}

fn build(shape: &[Above]) -> Machine {
    let mut machine = Machine::default();
    let roots: [BusIndex; HOSTS] = [0, 0x80].map(|number| machine.host(0, number));
    let mut below = Vec::new();
    for (number, above) in (1..).zip(shape) {
        let bus = match *above {
            Above::Host(host) => roots[host],
            Above::Function(function) => below[function],
        };
        below.push(machine.bridge(bus, number, PcieType::Downstream, number).1);
    }
    machine
}

/// The function itself and everything above it, lowest first, and the host bridge.
fn ancestors(shape: &[Above], function: usize) -> (Vec<usize>, usize) {
    match shape[function] {
        Above::Host(host) => (vec![function], host),
        Above::Function(above) => {
            let (path, host) = ancestors(shape, above);
            ([vec![function], path].concat(), host)
        }
    }
}

/// Distance, and the functions on the path where there is a common one.
fn definition(shape: &[Above], provider: usize, client: usize) -> (usize, Option<BTreeSet<usize>>) {
    let (from, to) = (ancestors(shape, provider).0, ancestors(shape, client).0);
    let steps = |path: &[usize], node: usize| path.iter().position(|other| *other == node);
    let common = (0..shape.len()).filter_map(|node| Some((steps(&from, node)? + steps(&to, node)?, node)));
    match common.min() {
        None => (from.len() + to.len(), None),
        Some((distance, node)) => {
            let upto =
                |path: &[usize]| path.iter().copied().take_while(|other| *other != node).collect::<Vec<_>>();
            (distance, Some([upto(&from), upto(&to), vec![node]].concat().into_iter().collect()))
        }
    }
}

#[test]
fn every_small_tree_follows_the_definition() {
    let rules = rules(Profile::Linux_6_12);
    let (mut trees, mut pairs) = (0, 0);
    for shape in (1..=MOST).flat_map(shapes) {
        let mut machine = build(&shape);
        for redirecting in 0..1u32 << shape.len() {
            let redirects = |node: usize| redirecting >> node & 1 == 1;
            (0..shape.len()).for_each(|node| {
                machine.set_acs(FunctionIndex(node), if redirects(node) { 0x04 } else { 0x53 })
            });
            let resolver = Resolver::new(&machine.tree, &machine, &INTEL, &rules);
            trees += 1;
            for (provider, client) in (0..shape.len()).flat_map(|a| (0..shape.len()).map(move |b| (a, b))) {
                let (distance, path) = definition(&shape, provider, client);
                let direct = path.as_ref().is_some_and(|path| !path.iter().any(|node| redirects(*node)));
                let (from, to) = (FunctionIndex(provider), FunctionIndex(client));
                let found = resolve(&machine.tree, &machine, &INTEL, &rules, from, to);
                assert_eq!(
                    found.distance as usize, distance,
                    "{shape:?} {redirecting:b} {provider} {client}"
                );
                let expected = if direct { MapType::BusAddr } else { MapType::NotSupported };
                assert_eq!(found.map_type, expected, "{shape:?} {redirecting:b} {provider} {client}");
                let named: BTreeSet<usize> = found.redirecting().iter().map(|function| function.0).collect();
                let expected = path.unwrap_or_default().into_iter().filter(|node| redirects(*node)).collect();
                assert_eq!(named, expected, "{shape:?} {redirecting:b} {provider} {client}");
                assert_eq!(
                    resolver.resolve(from, to),
                    found,
                    "{shape:?} {redirecting:b} {provider} {client}"
                );
                pairs += 1;
            }
        }
    }
    println!("{trees} trees with their redirecting sets, {pairs} ordered pairs");
    assert_eq!(trees, 2 * 2 + 6 * 4 + 24 * 8 + 120 * 16 + 720 * 32);
}
