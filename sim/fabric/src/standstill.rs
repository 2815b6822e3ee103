//! [`Standstill`]: why a run cannot go on, as a chain of waits that ends where nobody will ever move.
//!
//! Nothing is due and descriptors are open: every packet waits for something. From an engine with work the chain
//! goes from each wait to what it waits for:
//!
//! ```text
//! engine         -> the link it sends on, or the answer to a read that holds a tag
//! answer         -> the link in front of which its request or its completion stands
//! class at link  -> the receive buffer behind the link, or the older posted requests that must go first
//! full buffer    -> the link that its packets wait for
//! ```
//!
//! It ends in a wait that was met before (a cycle), in a buffer that can never hold the packet, in credits that nobody
//! holds any more, or in an answer that no packet carries.

use std::fmt;

use peerbus_units::Picos;

use crate::run::Fabric;
use crate::spec::{EngineId, FIRST_SOURCE, FlowId, JOBS, LinkId};
use crate::store::List;
use crate::tlp::Class;

/// A run that cannot go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standstill {
    /// When the last thing happened.
    pub at: Picos,
    /// Flows with bytes that were neither delivered nor refused.
    pub flows: Vec<FlowId>,
    /// Those bytes.
    pub bytes: u64,
    /// Waits in words, each for the next one.
    pub waits: Vec<String>,
    /// Number of the wait, from 0, that the last one waits for. `None` when the chain ends.
    pub cycle: Option<usize>,
}

impl fmt::Display for Standstill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing can move any more: {}", self.waits.join("; "))?;
        match self.cycle {
            Some(0) => f.write_str("; and so on in a circle, back to the first"),
            Some(start) => write!(f, "; and so on in a circle, back to wait {}", start + 1),
            None => Ok(()),
        }
    }
}

/// Something that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waiter {
    Engine(EngineId),
    /// A read's answer, by engine and tag.
    Answer(EngineId, u16),
    /// Packets of a class in front of a link.
    Output(LinkId, Class),
    /// Packets of a class in the receive buffer behind a link.
    Buffer(LinkId, Class),
}

/// What stands first in front of a link, of a class.
struct First {
    /// Data credits it needs.
    data: u32,
    /// An older posted request of its input must go first.
    held_back: bool,
}

impl Fabric {
    /// Why nothing goes on although descriptors are open. `None` when all are done, or while something is due. Call it
    /// when [`Fabric::advance`] has returned `None`.
    pub fn standstill(&self) -> Option<Standstill> {
        let unfinished = |flow: &usize| {
            let flow = &self.ledger.flows[*flow];
            flow.asked > flow.delivered + flow.refused
        };
        let flows: Vec<usize> = (0..self.ledger.flows.len()).filter(unfinished).collect();
        if flows.is_empty() || self.queue.next().is_some() {
            return None;
        }
        let open = |flow: &usize| {
            let flow = &self.ledger.flows[*flow];
            flow.asked - flow.delivered - flow.refused
        };
        let (waits, cycle) = self.chain(self.first_waiter(&flows)?);
        Some(Standstill {
            at: self.now(),
            bytes: flows.iter().map(open).sum(),
            flows: flows.into_iter().map(|flow| FlowId(u16::try_from(flow).unwrap_or(u16::MAX))).collect(),
            waits,
            cycle,
        })
    }

    /// An engine of `flows` with work, or else packets that an engine has sent.
    fn first_waiter(&self, flows: &[usize]) -> Option<Waiter> {
        let engines = flows.iter().filter_map(|flow| self.ledger.flows[*flow].engine);
        let busy = |engine: &EngineId| {
            let state = &self.state.engines[engine.at()];
            !state.active.is_empty() || state.outstanding() > 0
        };
        let engine = engines.into_iter().find(busy).map(Waiter::Engine);
        engine.or_else(|| {
            let links = (0..self.spec.links.len()).map(LinkId::from_index);
            let mut outputs = links.flat_map(|link| Class::ALL.map(|class| (link, class)));
            outputs
                .find(|(link, class)| self.state.links[link.at()].waiting[class.at()] != 0)
                .map(|(link, class)| Waiter::Output(link, class))
        })
    }

    /// The waits from `first` on, and which one the last waits for.
    fn chain(&self, first: Waiter) -> (Vec<String>, Option<usize>) {
        let (mut met, mut waits) = (vec![first], Vec::new());
        loop {
            let (text, next) = match met[met.len() - 1] {
                Waiter::Engine(engine) => self.wait_of_engine(engine),
                Waiter::Answer(engine, tag) => self.wait_of_answer(engine, tag),
                Waiter::Output(link, class) => self.wait_of_output(link, class),
                Waiter::Buffer(link, class) => self.wait_of_buffer(link, class),
            };
            waits.push(text);
            let Some(next) = next else { return (waits, None) };
            if let Some(start) = met.iter().position(|waiter| *waiter == next) {
                return (waits, Some(start));
            }
            met.push(next);
        }
    }

    fn wait_of_engine(&self, engine: EngineId) -> (String, Option<Waiter>) {
        let (spec, state) = (&self.spec.engines[engine.at()], &self.state.engines[engine.at()]);
        let asks = state.tags.iter().position(|tag| tag.left > 0).and_then(|tag| u16::try_from(tag).ok());
        match (asks, spec.link) {
            (Some(tag), _) if state.active.is_empty() || !state.has_free_tag() => {
                let text = format!("{} waits for the answer to a read (tag {tag})", spec.name);
                (text, Some(Waiter::Answer(engine, tag)))
            }
            (_, Some(link)) => {
                let class = spec.direction.class();
                let text =
                    format!("{} has a {} request for link {}", spec.name, name(class), self.link_name(link));
                (text, Some(Waiter::Output(link, class)))
            }
            _ => (format!("{} has no link", spec.name), None),
        }
    }

    fn wait_of_answer(&self, engine: EngineId, tag: u16) -> (String, Option<Waiter>) {
        let mine = |other: u16, other_tag: u16| u32::from(other) == engine.0 && other_tag == tag;
        for link in (0..self.spec.links.len()).map(LinkId::from_index) {
            let state = &self.state.links[link.at()];
            if state.jobs.iter().any(|job| mine(job.engine, job.tag)) {
                let text = format!("the answer stands in front of link {}", self.link_name(link));
                return (text, Some(Waiter::Output(link, Class::Completion)));
            }
            for class in [Class::NonPosted, Class::Completion] {
                let holds = |list: List| {
                    self.state.arena.iter(list).any(|queued| mine(queued.tlp.engine, queued.tlp.tag))
                };
                if self.queues_of(link).any(|(_, lists)| holds(lists[class.at()])) {
                    let what = if class == Class::NonPosted { "read request" } else { "answer" };
                    let text = format!("the {what} stands in front of link {}", self.link_name(link));
                    return (text, Some(Waiter::Output(link, class)));
                }
            }
        }
        ("no packet carries that read any more: its answer was lost".to_owned(), None)
    }

    fn wait_of_output(&self, link: LinkId, class: Class) -> (String, Option<Waiter>) {
        let (state, granted) = (&self.state.links[link.at()], self.spec.links[link.at()].credits[class.at()]);
        let (link_name, class_name) = (self.link_name(link), name(class));
        let Some(first) = self.first_at(link, class) else {
            return (format!("nothing {class_name} stands in front of link {link_name}"), None);
        };
        if first.held_back {
            let text =
                format!("at link {link_name}, {class_name} packets may not pass older posted requests");
            return (text, Some(Waiter::Output(link, Class::Posted)));
        }
        if state.has_credits(class, first.data) {
            return (format!("link {link_name} has credits and does not send: it is down"), None);
        }
        let short = match state.header[class.at()] {
            0 => format!("none of {} {class_name} header credits", granted.header),
            _ => {
                let left = state.data[class.at()];
                format!(
                    "{left} of {} {class_name} data credits and needs {} for the next packet",
                    granted.data, first.data
                )
            }
        };
        (format!("link {link_name} has {short}"), Some(Waiter::Buffer(link, class)))
    }

    fn wait_of_buffer(&self, link: LinkId, class: Class) -> (String, Option<Waiter>) {
        let spec = &self.spec.links[link.at()];
        let node = &self.spec.nodes[spec.to.at()];
        let towards = |output: &&LinkId| {
            let lists = &self.state.queues[self.spec.queue(link, **output) as usize];
            !lists[class.at()].is_empty()
        };
        if let Some(output) = node.outputs.iter().find(towards) {
            let (name, next) = (&node.name, self.link_name(*output));
            return (
                format!("its buffer at {name} holds packets that wait for link {next}"),
                Some(Waiter::Output(*output, class)),
            );
        }
        let (granted, first) = (spec.credits[class.at()], self.first_at(link, class));
        let text = match first {
            Some(first) if granted.data != 0 && first.data > u32::from(granted.data) => {
                format!("the buffer at {} can never hold it", node.name)
            }
            _ => format!("the buffer at {} is empty: its credits were never given back", node.name),
        };
        (text, None)
    }

    /// The queues in front of `link`, with the number of their input.
    fn queues_of(&self, link: LinkId) -> impl Iterator<Item = (u32, &[List; 3])> {
        let (base, stride) = self.queue_base[link.at()];
        let inputs = &self.spec.nodes[self.spec.links[link.at()].from.at()].inputs;
        (0u32..)
            .zip(inputs)
            .map(move |(input, _)| (input, &self.state.queues[(base + input * stride) as usize]))
    }

    /// The first packet of `class` that stands in front of `link`, of any input.
    fn first_at(&self, link: LinkId, class: Class) -> Option<First> {
        let waiting = self.state.links[link.at()].waiting[class.at()];
        for (input, lists) in self.queues_of(link).filter(|(input, _)| waiting & 1 << input != 0) {
            debug_assert!(input < JOBS);
            if let Some(queued) = self.state.arena.front(lists[class.at()]) {
                let posted = lists[Class::Posted.at()];
                let held_back = class != Class::Posted && self.is_held_back(posted, queued);
                return Some(First { data: queued.tlp.data_credits(), held_back });
            }
        }
        if let Some((_, completion)) = self.next_completion(link).filter(|_| class == Class::Completion) {
            return Some(First { data: completion.data_credits(), held_back: false });
        }
        let sources = self.spec.links[link.at()].sources.iter().zip(FIRST_SOURCE..);
        let mut engines = sources.filter(|(_, source)| waiting & 1 << source != 0).map(|(engine, _)| *engine);
        let engine = engines.find(|engine| self.spec.engines[engine.at()].direction.class() == class)?;
        let active = self.state.engines[engine.at()].active.first()?;
        let length = active.left.min(self.spec.engines[engine.at()].max_payload);
        let data = if class == Class::Posted { length.div_ceil(16) } else { 0 };
        Some(First { data: u32::try_from(data).unwrap_or(u32::MAX), held_back: false })
    }

    fn link_name(&self, link: LinkId) -> &str {
        &self.spec.links[link.at()].name
    }
}

fn name(class: Class) -> &'static str {
    match class {
        Class::Posted => "posted",
        Class::NonPosted => "non-posted",
        Class::Completion => "completion",
    }
}
