//! A request's way, followed node by node until it ends: what `path` makes routes from.

use crate::cursor::{AddressKind, Cursor};
use crate::decode::{Decode, Miss, MissKind, Next};
use crate::pause::{Pause, mark_crossings};
use crate::spec::{LinkId, NodeId, NodeKind, Spec};

/// More hops than any machine has: a request that runs in circles.
pub(crate) const MAX_HOPS: usize = 64;

/// Where a request ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// At the memory of the node.
    Memory,
    /// At the memory of the node, a device that a CPU uses as its own, by CXL.mem.
    HostManaged,
    /// At the memory of the node, a device, which looked up its address.
    Aperture,
    /// At the IOMMU of the node, which is asked for a translation.
    Translator,
    /// Nobody takes it.
    Refused(Miss),
}

/// A request's way.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    /// Its links, and what holds it up before each.
    pub links: Vec<(LinkId, Pause)>,
    /// Where it ends …
    pub node: NodeId,
    /// … and how.
    pub end: End,
}

/// Follows the request at `cursor` from `node`, where it starts, to its end.
pub(crate) fn walk(spec: &Spec, decode: &Decode, start: NodeId, cursor: &mut Cursor) -> Walk {
    let (mut links, mut node, mut came_by) = (Vec::new(), start, None);
    let end = loop {
        let (link, pause) = match decode.step(spec, node, came_by, cursor) {
            Next::Link(link) => {
                let untranslated = cursor.requester().filter(|_| cursor.kind() == AddressKind::Untranslated);
                let domain = untranslated.and_then(|requester| decode.domain_of(requester));
                (link, spec.pause(node, came_by, link, domain))
            }
            Next::Bridge(link, window) => (link, Pause::Window(window)),
            Next::Here if matches!(spec.nodes[node.at()].kind, NodeKind::Root(_)) => break End::Translator,
            Next::Here if came_by.is_some_and(|link| spec.links[link.at()].memory) => break End::HostManaged,
            Next::Here => break End::Memory,
            Next::Shown => break End::Aperture,
            Next::Refused(miss) => break End::Refused(miss),
        };
        if links.len() == MAX_HOPS {
            let (text, addr) = ("it runs in circles".to_owned(), cursor.sent());
            break End::Refused(Miss { kind: MissKind::Unclaimed, node, addr, text });
        }
        links.push((link, pause));
        node = spec.links[link.at()].to;
        came_by = Some(link);
    };
    let is_cpu = matches!(spec.nodes[node.at()].kind, NodeKind::Cpu(_));
    // Memory of a CPU is also that at the end of a CXL link.
    let host_memory = end == End::HostManaged || end == End::Memory && is_cpu;
    if !host_memory {
        mark_crossings(spec, &mut links);
    }
    Walk { links, node, end }
}
