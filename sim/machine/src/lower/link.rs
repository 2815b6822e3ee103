//! Links: generation and lanes, held to what both ends support.
//!
//! A link that its file does not describe is the fastest and widest that both ends support.

use super::context::{Context, Place};
use super::facts;
use super::limits::{GENERATIONS, LANES};
use crate::codes;
use crate::file::{self, Leaf};
use crate::load::list_words;
use crate::model::{Config, Facts, VirtualChannel};
use crate::part::{CpuPart, DevicePart, SwitchPart};
use peerbus_units::{BitErrorRate, Picos};

/// Retimers that the specification allows on one link.
const MOST_RETIMERS: u8 = 2;

/// What a retimer adds when nothing is said. Assumed: products state 10 to 50 ns; the specification allows 64 ns.
const RETIMER_LATENCY: Picos = Picos::nanos(20);

/// Longest time along wires, or through one retimer, that is no mistake.
const LONGEST_WAY: Picos = Picos::nanos(1_000);

/// What one end of a link supports.
#[derive(Clone, Debug)]
pub(super) struct End {
    generation: u8,
    /// The part only assumes its generation, so a file that names another knows better.
    generation_is_assumed: bool,
    lanes: u8,
    /// Such as ``device part `t4` ``.
    part: String,
    assumed: Facts,
}

macro_rules! end {
    ($name:ident $part:ty, $word:literal) => {
        /// The end of a link at a port of this part.
        pub(super) fn $name(part: &$part) -> End {
            End {
                generation: part.generation,
                generation_is_assumed: facts::is_assumed(&part.sources, "generation"),
                lanes: part.lanes,
                part: format!(concat!($word, " part `{}`"), part.id),
                assumed: facts::assumed(&part.sources, &["generation", "lanes"]),
            }
        }
    };
}

impl End {
    /// The same, with the generation and width that its function's own registers state.
    pub(super) fn limited(mut self, config: &Config) -> End {
        if let Some(express) = config.express.get() {
            self.generation = express.generation.unwrap_or(self.generation);
            self.generation_is_assumed &= express.generation.is_none();
            self.lanes = express.lanes.unwrap_or(self.lanes);
        }
        self
    }

    end!(root_port CpuPart, "CPU");
    end!(switch SwitchPart, "switch");
    end!(device DevicePart, "device");
}

/// What became of a description of a link.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub generation: u8,
    pub lanes: u8,
    pub propagation: Picos,
    pub bit_errors: BitErrorRate,
    pub virtual_channel: Option<VirtualChannel>,
    pub assumed: Facts,
}

/// Generation and lanes of the link that `link` at `place` describes, between two ends, of which those are
/// `None` whose part was not found.
pub(super) fn resolve(
    ctx: &mut Context,
    link: Option<&file::Link>,
    place: &Place,
    ends: &[Option<End>],
) -> Resolved {
    let ends: Vec<&End> = ends.iter().flatten().collect();
    let none = file::Link::default();
    let given = link.unwrap_or(&none);
    let generation = generation(ctx, given, place, &ends);
    let lanes = lanes(ctx, given, place, &ends);
    let propagation = propagation(ctx, given, place);
    let bit_errors = bit_errors(ctx, given, place);
    let virtual_channel = virtual_channel(ctx, given, place);
    let mut assumed = Facts::new();
    if generation.is_none() || lanes.is_none() {
        assumed.extend(ends.iter().flat_map(|end| end.assumed.iter().copied()));
    }
    let fastest = ends.iter().map(|end| end.generation).min();
    let widest = ends.iter().map(|end| end.lanes).min();
    Resolved {
        generation: generation.or(fastest).unwrap_or(1),
        lanes: lanes.or(widest).unwrap_or(1),
        propagation,
        bit_errors,
        virtual_channel,
        assumed,
    }
}

fn generation(ctx: &mut Context, link: &file::Link, place: &Place, ends: &[&End]) -> Option<u8> {
    let given = ctx.take(&link.generation, place, "gen", "a PCIe generation, 1 to 7")?;
    let place = place.field("gen");
    if !GENERATIONS.contains(&given) {
        let message = format!("there is no PCIe generation {given}");
        ctx.error(codes::BAD_GENERATION, &place, message, "write a generation from 1 to 7");
        return None;
    }
    let known = ends.iter().filter(|end| !end.generation_is_assumed);
    if let Some(end) = known.min_by_key(|end| end.generation).filter(|end| given > end.generation) {
        let message = format!("generation {given} is faster than {} supports: {}", end.part, end.generation);
        let help = format!(
            "write `gen: {}`, or leave it out for the fastest that both ends support",
            end.generation
        );
        ctx.error(codes::LINK_TOO_FAST, &place, message, help);
    }
    Some(given)
}

fn lanes(ctx: &mut Context, link: &file::Link, place: &Place, ends: &[&End]) -> Option<u8> {
    let given = ctx.take(&link.lanes, place, "lanes", "a number of lanes: 1, 2, 4, 8, 12, 16 or 32")?;
    let place = place.field("lanes");
    if !LANES.contains(&given) {
        let widths: Vec<String> = LANES.iter().map(u8::to_string).collect();
        let message = format!("a link cannot have {given} lanes");
        ctx.error(codes::BAD_LANES, &place, message, format!("write {}", list_words(&widths, 9)));
        return None;
    }
    if let Some(end) = ends.iter().min_by_key(|end| end.lanes).filter(|end| given > end.lanes) {
        let message = format!("{given} lanes are more than {} has: {}", end.part, end.lanes);
        let help =
            format!("write `lanes: {}`, or leave it out for the widest that both ends have", end.lanes);
        ctx.error(codes::LINK_TOO_WIDE, &place, message, help);
    }
    Some(given)
}

/// Time along the wires and through the retimers of a link.
fn propagation(ctx: &mut Context, link: &file::Link, place: &Place) -> Picos {
    let retimers = ctx.take(&link.retimers, place, "retimers", "a number of retimers, 0 to 2").unwrap_or(0);
    if retimers > MOST_RETIMERS {
        let message = format!("{retimers} retimers are more than a link may have");
        ctx.error(codes::BAD_RETIMERS, &place.field("retimers"), message, "write 0, 1 or 2");
    }
    let mut time = |leaf: &Option<Leaf<Picos>>, name: &'static str, default: Picos| {
        let Some(time) = ctx.take(leaf, place, name, "a time such as \"20ns\"") else { return default };
        if time > LONGEST_WAY {
            let message = format!("{time} are far beyond any link");
            ctx.error(codes::BAD_RETIMERS, &place.field(name), message, "write at most \"1us\"");
        }
        time.min(LONGEST_WAY)
    };
    let each = time(&link.retimer_latency, "retimer_latency", RETIMER_LATENCY);
    let wires = time(&link.propagation, "propagation", Picos::ZERO);
    wires + Picos(each.0 * u64::from(retimers.min(MOST_RETIMERS)))
}

fn bit_errors(ctx: &mut Context, link: &file::Link, place: &Place) -> BitErrorRate {
    let given = ctx.take(&link.bit_error_rate, place, "bit_error_rate", "a bit error rate such as \"1e-12\"");
    let rate = given.unwrap_or_default();
    if rate > BitErrorRate::MOST {
        let message = format!("with a bit error rate of {rate} hardly a packet would arrive");
        let help = format!("write at most \"{}\"", BitErrorRate::MOST);
        ctx.error(codes::BAD_ERROR_RATE, &place.field("bit_error_rate"), message, help);
    }
    rate.min(BitErrorRate::MOST)
}

fn virtual_channel(ctx: &mut Context, link: &file::Link, place: &Place) -> Option<VirtualChannel> {
    let expected = "a channel such as (traffic_classes: [7], buffers: 25)";
    let channel = ctx.take(&link.virtual_channel, place, "virtual_channel", expected)?;
    let classes = &channel.traffic_classes;
    let repeated = (1..classes.len()).any(|at| classes[..at].contains(&classes[at]));
    let problem = if classes.is_empty() {
        Some(("a channel without traffic classes carries nothing", "list some of the classes 1 to 7"))
    } else if classes.contains(&0) {
        Some(("traffic class 0 belongs to virtual channel 0", "list some of the classes 1 to 7"))
    } else if repeated || classes.iter().any(|class| *class > 7) {
        Some(("traffic classes are 0 to 7, each listed once", "list some of the classes 1 to 7"))
    } else if !(1..=99).contains(&channel.buffers) {
        Some(("both channels need buffers", "write a share from 1 to 99 hundredths"))
    } else {
        None
    };
    if let Some((message, help)) = problem {
        ctx.error(codes::BAD_VIRTUAL_CHANNEL, &place.field("virtual_channel"), message.to_owned(), help);
        return None;
    }
    Some(channel)
}

/// Reports what is wrong with the link of a port that nothing is connected to.
pub(super) fn dangling(ctx: &mut Context, link: &file::Link, place: &Place, port: Option<End>) {
    resolve(ctx, Some(link), place, &[port]);
    let message = "this link leads nowhere: nothing is connected to the port".to_owned();
    ctx.warning(codes::LINK_TO_NOTHING, place, message, "add `below:` to the port, or drop its `link`");
}
