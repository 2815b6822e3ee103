//! `State`: everything the future of the fabric depends on, apart from the event queue.

use std::collections::VecDeque;

use crate::atc::Atc;
use crate::cache::Cache;
use crate::cause::Cause;
use crate::fault::LinkFaults;
use crate::iotlb::Iotlb;
use crate::requester::EngineState;
use crate::sending::Sending;
use crate::spec::{LinkId, LinkSpec, Spec};
use crate::starvation::Starvation;
use crate::store::{Arena, List};
use crate::tlp::{Attributes, Class, Tlp};
use crate::wire::Wire;

/// A TLP on a link and when its head, or all of it, is ready behind the link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub ready: u64,
    pub tlp: Tlp,
}

/// Credits that the sender will know about at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CreditReturn {
    pub at: u64,
    pub header: u32,
    pub data: u32,
    pub class: Class,
}

/// A read request being served by a memory, or refused: completions still to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// When its first completion may start.
    pub ready: u64,
    /// Next address to complete.
    pub addr: u64,
    /// When the request was issued.
    pub issued: u64,
    /// Bytes still to send.
    pub left: u32,
    /// Number of the completion route.
    pub route: u32,
    /// Tag, flow and engine of the request.
    pub tag: u16,
    pub flow: u16,
    pub engine: u16,
    pub attributes: Attributes,
    /// As in [`crate::store::Queued`].
    pub starved: u64,
    /// Answers with an error status and no data.
    pub failed: bool,
}

/// State of a directed link and of the node's output in front of it.
#[derive(Clone, Debug)]
pub(crate) struct LinkState {
    /// End of the TLP being sent.
    pub free_at: u64,
    /// Remainder of the byte time, in units of 1 / rate.bytes ps.
    pub remainder: u64,
    /// What it runs at, and what is wrong with it.
    pub wire: Wire,
    /// What the last TLP of each class took.
    pub sendings: [Sending; 3],
    /// What of its spec every TLP meets.
    pub terms: Terms,
    /// Credits left, per class; `INFINITE` never runs out.
    pub header: [u32; 3],
    pub data: [u32; 3],
    /// Per class, inputs with something for this output: links of the node by input number, then local sources.
    pub waiting: [u128; 3],
    /// Input to look at first.
    pub turn: u32,
    /// Another virtual channel has the same wire; the last packet on it was of this one.
    pub shared: bool,
    pub sent_last: bool,
    /// Of a wire that channels share by time: picoseconds that this one had it.
    pub served: u64,
    /// The node in front has a table of phases, and this is the current one.
    pub weighted: bool,
    pub phase: usize,
    /// The node in front of it is a switch whose inputs keep one queue each.
    pub in_order: bool,
    /// So many reads are answered in turn by the node in front of it; at least 1.
    pub in_turn: u8,
    /// Number of the next arrival behind this link.
    pub arrivals: u32,
    /// DLLP bytes owed on this link, and bytes received on the reverse link since the last DLLP.
    pub debt: u64,
    pub unacknowledged: u64,
    /// Classes that cannot be sent for want of credits.
    pub starvation: Starvation,
    pub flights: VecDeque<Flight>,
    pub returns: VecDeque<CreditReturn>,
    /// When the last of them is known.
    pub last_return: u64,
    /// Completions that start at this output.
    pub jobs: VecDeque<Job>,
}

/// A credit count that never runs out.
pub(crate) const INFINITE: u32 = u32::MAX / 2;

/// What of the spec of a directed link every TLP meets, beside the state that it meets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Its bit among the inputs of the node behind it.
    pub input: u128,
    /// Largest payload that the receiver accepts, and that is sent in one piece.
    pub receiver_limit: u64,
    pub sender_limit: u64,
    /// From leaving the port to the head ready to leave the node behind the link: the way, and the node's pipeline.
    pub propagation: u64,
    pub latency: u64,
    pub pipeline: Cause,
    /// From a buffer becoming free to the sender knowing it.
    pub credit_latency: u64,
    /// Per class, header credits of a TLP, and which bits of its data credits count: none where buffers are endless.
    pub header: [u32; 3],
    pub data: [u32; 3],
    /// The link that DLLPs for what it carries travel on.
    pub dllps_to: LinkId,
}

impl Terms {
    fn of(link: &LinkSpec) -> Terms {
        let finite = |credits: u16, count: u32| if credits == 0 { 0 } else { count };
        Terms {
            input: 1 << link.input,
            receiver_limit: link.receiver_limit,
            sender_limit: link.sender_limit,
            propagation: link.propagation.0,
            latency: link.latency.0,
            pipeline: link.pipeline,
            credit_latency: link.credit_latency.0,
            header: link.credits.map(|credits| finite(credits.header, 1)),
            data: link.credits.map(|credits| finite(credits.data, u32::MAX)),
            dllps_to: link.dllps_to,
        }
    }
}

impl LinkState {
    /// True when any input has anything for this output.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.waiting[0] | self.waiting[1] | self.waiting[2] != 0
    }
}

/// Per queue, the link it belongs to: a node has as many for each of its inputs as it has outputs.
fn came_by(spec: &Spec) -> Vec<LinkId> {
    let mut came_by = vec![LinkId(0); spec.queues as usize];
    for node in &spec.nodes {
        let queues = came_by[node.first_queue as usize..].chunks_mut(node.outputs.len().max(1));
        for (input, queues) in node.inputs.iter().zip(queues) {
            queues.fill(*input);
        }
    }
    came_by
}

/// State of the fabric.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub now: u64,
    pub links: Vec<LinkState>,
    /// Queues per (input, output) of every node, one list per class.
    pub queues: Vec<[List; 3]>,
    /// Per queue, the link by which what waits in it has come.
    pub came_by: Vec<LinkId>,
    pub arena: Arena,
    pub engines: Vec<EngineState>,
    /// Per node: when its memory has done what it was given.
    pub memory_free_at: Vec<u64>,
    /// Per node: lines in the cache in front of its memory.
    pub caches: Vec<Option<Cache>>,
    /// Per node: what its IOMMU remembers.
    pub iotlbs: Vec<Option<Iotlb>>,
    /// Per node: translations that its device keeps.
    pub atcs: Vec<Option<Atc>>,
    /// Per node: when the next write and the next read between its ports may go on.
    pub peer_free_at: Vec<[u64; 2]>,
    /// Per link between CPUs: when the next packet between devices may go on.
    pub crossing_free_at: Vec<u64>,
    /// Per link: until when the packet that came by it and leaves now is read out, where inputs keep one queue each.
    pub read_until: Vec<u64>,
}

impl State {
    pub fn new(spec: &Spec) -> State {
        let count = |credits: u16| if credits == 0 { INFINITE } else { u32::from(credits) };
        let links = spec.links.iter().map(|link| LinkState {
            free_at: 0,
            remainder: 0,
            wire: Wire::new(link),
            sendings: [Sending::NONE; 3],
            terms: Terms::of(link),
            header: link.credits.map(|credits| count(credits.header)),
            data: link.credits.map(|credits| count(credits.data)),
            waiting: [0; 3],
            turn: 0,
            shared: link.sharing.is_some(),
            sent_last: false,
            served: 0,
            weighted: !spec.nodes[link.from.at()].phases.is_empty(),
            phase: 0,
            in_order: spec.nodes[link.from.at()].in_order,
            in_turn: spec.nodes[link.from.at()].reads_in_turn.max(1),
            arrivals: 0,
            debt: 0,
            unacknowledged: 0,
            starvation: Starvation::NONE,
            flights: VecDeque::with_capacity(64),
            returns: VecDeque::with_capacity(64),
            last_return: 0,
            jobs: VecDeque::new(),
        });
        State {
            now: 0,
            links: links.collect(),
            queues: vec![[List::EMPTY; 3]; spec.queues as usize],
            came_by: came_by(spec),
            arena: Arena::new(1024),
            engines: spec
                .engines
                .iter()
                .map(|engine| EngineState::new(engine, spec.translates(engine)))
                .collect(),
            memory_free_at: vec![0; spec.nodes.len()],
            caches: spec.nodes.iter().map(|node| Some(Cache::new(&node.memory?.cache?))).collect(),
            iotlbs: spec.nodes.iter().map(|node| Some(Iotlb::new(&node.iommu?, node.inputs.len()))).collect(),
            atcs: spec
                .nodes
                .iter()
                .map(|node| node.atc.map(|atc| Atc::new(atc.entries, spec.tags(atc.engine))))
                .collect(),
            peer_free_at: vec![[0; 2]; spec.nodes.len()],
            crossing_free_at: vec![0; spec.links.len()],
            read_until: vec![0; spec.links.len()],
        }
    }

    /// What is wrong when nothing should be under way: credits not back, TLPs or tags lost. Empty when all is well.
    pub fn leftovers(&self, spec: &Spec, faults: &[LinkFaults]) -> Vec<String> {
        let mut wrong = Vec::new();
        for ((state, link), faults) in self.links.iter().zip(&spec.links).zip(faults) {
            for class in Class::ALL {
                let [leaked_header, leaked_data] = faults.leaked[class.at()];
                let granted = link.credits[class.at()];
                let back = |pick: fn(&CreditReturn) -> u32| -> u32 {
                    state.returns.iter().filter(|r| r.class == class).map(pick).sum()
                };
                let header = state.header[class.at()] + back(|r| r.header) + leaked_header;
                let data = state.data[class.at()] + back(|r| r.data) + leaked_data;
                if granted.header != 0 && header != u32::from(granted.header) {
                    wrong.push(format!(
                        "{}: {header} of {} {class:?} header credits",
                        link.name, granted.header
                    ));
                }
                if granted.data != 0 && data != u32::from(granted.data) {
                    wrong.push(format!("{}: {data} of {} {class:?} data credits", link.name, granted.data));
                }
            }
            if !state.flights.is_empty() || !state.jobs.is_empty() || state.is_waiting() {
                wrong.push(format!("{}: traffic left", link.name));
            }
        }
        if self.arena.len() != 0 {
            wrong.push(format!("{} TLPs left in queues", self.arena.len()));
        }
        for (engine, spec) in self.engines.iter().zip(&spec.engines) {
            if engine.outstanding() != 0 {
                wrong.push(format!("{}: {} tags in use", spec.name, engine.outstanding()));
            }
        }
        wrong
    }
}
