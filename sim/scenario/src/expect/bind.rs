//! Which flows, matrices, pools and variants a measured value stands for, and which left ones meet which right ones.
//!
//! Without a variant in front, a value is taken in every variant that has it; two such values meet in the same
//! variant. Where both sides have `*`, a left name meets the right names whose `*` stand for the same. Everything
//! else meets everything: a condition holds when it holds for all that meet.

use peerbus_machine::load::{list_words, nearest};
use peerbus_system::space::SpaceKind;

use super::condition::{Condition, Measure, PoolValue, Problem, What};
use crate::codes;

/// What one variant makes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// The variant; empty in a scenario without variants.
    pub variant: String,
    /// Flows.
    pub flows: Vec<String>,
    /// Matrices.
    pub matrices: Vec<String>,
    /// Workloads on peer memory.
    pub memories: Vec<String>,
    /// Their pools: `WORKLOAD.PROVIDER`.
    pub pools: Vec<String>,
}

impl Names {
    /// Names that have `value`.
    fn of_pools(&self, value: PoolValue) -> impl Iterator<Item = &String> {
        let single = if value.of_pools() { self.pools.as_slice() } else { &[] };
        self.memories.iter().chain(single)
    }
}

/// One thing that a measured value stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Index of the variant.
    pub variant: usize,
    /// Flow, matrix or pool; for errors the pattern of kinds, for counters that of places.
    pub name: String,
    /// True when the condition does not say which variant.
    any_variant: bool,
    captures: Vec<String>,
}

/// Everything `measure` stands for, in the order of variants and their names.
pub fn bind(measure: &Measure, variants: &[Names]) -> Vec<Bound> {
    let mut found = Vec::new();
    for (index, names) in variants.iter().enumerate() {
        let Some(captured) =
            measure.variant.as_ref().map_or(Some(Vec::new()), |v| v.captures(&names.variant))
        else {
            continue;
        };
        let all = measure.name.to_string();
        let candidates: Vec<&String> = match measure.what {
            What::Flow(_) => names.flows.iter().collect(),
            What::Matrix(_) => names.matrices.iter().collect(),
            What::Pool(value) => names.of_pools(value).collect(),
            What::Space(_) | What::Errors | What::Error(_) | What::Counter(_) => vec![&all],
        };
        for name in candidates {
            let inner = if measure.what.has_names() { measure.name.captures(name) } else { Some(Vec::new()) };
            let Some(inner) = inner else { continue };
            found.push(Bound {
                variant: index,
                name: name.clone(),
                any_variant: measure.variant.is_none(),
                captures: captured.iter().chain(&inner).map(|&text| text.to_owned()).collect(),
            });
        }
    }
    found
}

/// True when the two meet.
fn meet(left: &Bound, right: &Bound) -> bool {
    let apart = left.any_variant && right.any_variant && left.variant != right.variant;
    let both_wild = !left.captures.is_empty() && !right.captures.is_empty();
    !apart && (!both_wild || left.captures == right.captures)
}

/// What is compared with what; `None` for a side that is a constant.
pub type Pair = (Option<Bound>, Option<Bound>);

/// All comparisons that `condition` stands for. The error is a left name that meets nothing.
pub fn pairs(condition: &Condition, variants: &[Names]) -> Result<Vec<Pair>, Bound> {
    let bound = |side: Option<&Measure>| side.map(|measure| bind(measure, variants));
    match (bound(condition.left.measure()), bound(condition.right.measure())) {
        (None, None) => Ok(Vec::new()),
        (Some(left), None) => Ok(left.into_iter().map(|one| (Some(one), None)).collect()),
        (None, Some(right)) => Ok(right.into_iter().map(|one| (None, Some(one))).collect()),
        (Some(left), Some(right)) => {
            let mut met = Vec::new();
            for one in left {
                let before = met.len();
                met.extend(
                    right
                        .iter()
                        .filter(|other| meet(&one, other))
                        .map(|other| (Some(one.clone()), Some(other.clone()))),
                );
                if met.len() == before {
                    return Err(one);
                }
            }
            Ok(met)
        }
    }
}

/// What is wrong with `condition` in a scenario that makes `variants`; empty when it can be evaluated.
pub fn check(condition: &Condition, variants: &[Names]) -> Vec<Problem> {
    let measures = [condition.left.measure(), condition.right.measure()];
    let mut problems: Vec<Problem> =
        measures.into_iter().flatten().filter_map(|measure| unknown(measure, variants)).collect();
    if let [Some(left), Some(right)] = measures
        && problems.is_empty()
    {
        problems.extend(unpaired(condition, left, right, variants));
    }
    problems
}

/// What is wrong with `measure` in a scenario that makes `variants`: it stands for nothing.
pub fn check_measure(measure: &Measure, variants: &[Names]) -> Option<Problem> {
    unknown(measure, variants)
}

/// `measure` is of one of these kinds of errors or spaces, or why not.
fn unknown_kind(measure: &Measure, of: &str, kinds: &[&str]) -> Option<Problem> {
    if kinds.iter().any(|kind| measure.name.matches(kind)) {
        return None;
    }
    let wanted = measure.name.to_string();
    let list = list_words(kinds, kinds.len()).replace(" or ", " and ");
    let help = match nearest(&wanted, kinds.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? runs report {list}"),
        None => format!("runs report {list}"),
    };
    let message = format!("no run reports {of} of the kind `{wanted}`");
    Some(Problem { code: codes::CONDITION_NAME, span: measure.span.clone(), message, help })
}

/// `measure` stands for something, or why not.
fn unknown(measure: &Measure, variants: &[Names]) -> Option<Problem> {
    let wrong_kind = match measure.what {
        What::Error(_) => unknown_kind(measure, "errors", &peerbus_system::outcome::ERROR_KINDS),
        What::Space(_) => unknown_kind(measure, "spaces", &SpaceKind::ALL.map(|(_, name)| name)),
        _ => None,
    };
    if wrong_kind.is_some() {
        return wrong_kind;
    }
    if !bind(measure, variants).is_empty() {
        return None;
    }
    let in_variant =
        |names: &&Names| measure.variant.as_ref().is_none_or(|wanted| wanted.matches(&names.variant));
    let reached: Vec<&Names> = variants.iter().filter(in_variant).collect();
    if let Some(wanted) = measure.variant.as_ref().filter(|_| reached.is_empty()) {
        let names: Vec<&str> =
            variants.iter().map(|names| names.variant.as_str()).filter(|n| !n.is_empty()).collect();
        return Some(not_made(measure, "variant", &wanted.to_string(), &names));
    }
    let (sort, mut names): (_, Vec<&str>) = match measure.what {
        What::Matrix(_) => {
            ("matrix", reached.iter().flat_map(|names| &names.matrices).map(String::as_str).collect())
        }
        What::Pool(value) => {
            ("pool", reached.iter().flat_map(|names| names.of_pools(value)).map(String::as_str).collect())
        }
        _ => ("flow", reached.iter().flat_map(|names| &names.flows).map(String::as_str).collect()),
    };
    names.sort_unstable();
    names.dedup();
    Some(not_made(measure, sort, &measure.name.to_string(), &names))
}

fn not_made(measure: &Measure, sort: &str, wanted: &str, names: &[&str]) -> Problem {
    let message = match wanted.contains('*') {
        true => format!("`{wanted}` fits no {sort} of this scenario"),
        false => format!("this scenario has no {sort} `{wanted}`"),
    };
    let shown = list_words(names, 6).replace(" or ", " and ");
    let help = match (nearest(wanted, names.iter().copied()), names.is_empty()) {
        (_, true) => format!("it has no {sort} at all"),
        (Some(near), false) => format!("did you mean `{near}`? it has {shown}"),
        (None, false) => format!("it has {shown}"),
    };
    Problem { code: codes::CONDITION_NAME, span: measure.span.clone(), message, help }
}

/// Every left name meets a right one and the other way round, or what is wrong.
fn unpaired(condition: &Condition, left: &Measure, right: &Measure, variants: &[Names]) -> Option<Problem> {
    let (a, b) = (left.wildcards(), right.wildcards());
    if a != b && a > 0 && b > 0 {
        let message = format!("the left side has `*` {a}×, the right side {b}×");
        let help = "with `*` on both sides, equal ones are compared: write as many on each side".to_owned();
        return Some(Problem { code: codes::CONDITION_PAIRS, span: 0..condition.text.len(), message, help });
    }
    let lone = |from: &Measure, to: &Measure| {
        let others = bind(to, variants);
        bind(from, variants).into_iter().find(|one| !others.iter().any(|other| meet(one, other)))
    };
    let (measure, other, alone) = match (lone(left, right), lone(right, left)) {
        (Some(alone), _) => (left, right, alone),
        (None, Some(alone)) => (right, left, alone),
        (None, None) => return None,
    };
    let name = qualified(&variants[alone.variant].variant, &alone.name);
    let message = format!("`{name}` is compared with nothing: `{}` has no counterpart of it", other.name);
    let help =
        "both sides must be made by the same variants, and their `*` must fit the same names".to_owned();
    Some(Problem { code: codes::CONDITION_PAIRS, span: measure.span.clone(), message, help })
}

/// A name with its variant in front: `redirect-on/peer`.
pub fn qualified(variant: &str, name: &str) -> String {
    match (variant.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (false, true) => variant.to_owned(),
        (false, false) => format!("{variant}/{name}"),
    }
}
