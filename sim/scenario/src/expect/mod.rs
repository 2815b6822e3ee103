//! Expectations: conditions on what runs measure.
//!
//! Modules in reading order: `number` (exact fractions), `value` (numbers with a dimension, texts), `condition`
//! (what can be written), `token` and `parse` (how it is written), `bind` (which flows a name stands for),
//! `evaluate` (whether it held). Nothing here rounds before it compares.

mod bind;
mod condition;
mod evaluate;
mod number;
mod parse;
mod token;
mod value;

pub use bind::{Bound, Names, bind, check, check_measure};
pub use condition::{
    Condition, ErrorValue, FlowValue, MatrixValue, Measure, PoolValue, Problem, Side, SpaceValue, Term, Test,
    What,
};
pub use evaluate::{bound, evaluate, value_of};
pub use number::Ratio;
pub use parse::{parse, parse_measure};
pub use value::{Dimension, Kind, Value};
pub(crate) use value::{quantity, unit_scale};
