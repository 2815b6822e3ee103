//! Where requests on private interconnects end: at the memory of a device, or at that of a CPU.
//!
//! A device serves what is for its own memory and passes nothing on. A CPU that is a member serves what is for its memory and
//! passes on what is for memory of another CPU, by the links between CPUs; it passes nothing on to devices.

use crate::decode::Decode;
use crate::path::Terminal;
use crate::spec::{LinkId, NodeId, NodeKind, Owner, Spec, private_owner, private_range};

/// The way of a request on a private interconnect.
pub(crate) struct MemberWay {
    /// Its links, the first one included.
    pub links: Vec<LinkId>,
    /// Where it ends, or the node where nobody claims it.
    pub end: Result<Terminal, NodeId>,
    /// First address that shares the way.
    pub first: u64,
    /// Last address that shares it.
    pub last: u64,
}

impl Decode {
    /// The way of a request that leaves by the private link `link`.
    pub(crate) fn member_way(&self, spec: &Spec, link: LinkId, addr: u64) -> MemberWay {
        let mut links = vec![link];
        let (end, (first, last)) = match private_owner(addr) {
            Owner::Device(device) if spec.is_device(device) => {
                let target = spec.device(device);
                let end = pass_switch(spec, &mut links, |node| (node == target).then_some(()));
                (end.map(|()| Terminal::Private(target)), private_range(device))
            }
            Owner::Device(device) => (Err(spec.links[link.at()].to), private_range(device)),
            Owner::Host(at) => {
                let (home, ends) = self.home_of(at);
                let end = match home {
                    Some(home) => self.to_host(spec, &mut links, home),
                    None => Err(spec.links[link.at()].to),
                };
                (end, ends)
            }
        };
        MemberWay { links, end, first, last }
    }

    /// Adds the rest of the way to memory of the CPU `home`.
    fn to_host(&self, spec: &Spec, links: &mut Vec<LinkId>, home: usize) -> Result<Terminal, NodeId> {
        let own = spec.cpu(home);
        let as_member = pass_switch(spec, links, |node| (node == own).then_some(home));
        let mut cpu = as_member.or_else(|_| {
            pass_switch(spec, links, |node| match spec.nodes[node.at()].kind {
                NodeKind::Cpu(cpu) => self.next_cpu(cpu, home).map(|_| cpu),
                _ => None,
            })
        })?;
        while cpu != home {
            let Some(link) = self.next_cpu(cpu, home) else { return Err(spec.cpu(cpu)) };
            links.push(link);
            let NodeKind::Cpu(next) = spec.nodes[spec.links[link.at()].to.at()].kind else {
                return Err(spec.cpu(cpu));
            };
            cpu = next;
        }
        Ok(Terminal::Memory(own))
    }
}

/// Adds the link behind a private switch, if there is one, to the first member that is `wanted`; with a direct link only its
/// other end is there. Without one: the node where the way ends.
fn pass_switch<T>(
    spec: &Spec,
    links: &mut Vec<LinkId>,
    wanted: impl Fn(NodeId) -> Option<T>,
) -> Result<T, NodeId> {
    let node = spec.links[links[0].at()].to;
    if let Some(found) = wanted(node) {
        return Ok(found);
    }
    if matches!(spec.nodes[node.at()].kind, NodeKind::Exchange(_)) {
        for link in &spec.nodes[node.at()].outputs {
            if let Some(found) = wanted(spec.links[link.at()].to) {
                links.push(*link);
                return Ok(found);
            }
        }
    }
    Err(node)
}
