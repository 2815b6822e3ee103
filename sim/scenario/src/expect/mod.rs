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

pub use bind::{Names, check};
pub use condition::{
    Condition, ErrorValue, FlowValue, MatrixValue, Measure, PoolValue, Problem, Side, Term, Test, What,
};
pub use evaluate::evaluate;
pub use number::Ratio;
pub use parse::parse;
pub use value::{Dimension, Kind, Value};
