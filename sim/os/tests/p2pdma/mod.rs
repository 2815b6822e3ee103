//! Peer-to-peer decisions: worked examples, every small tree, and recordings of booted kernels.

mod addresses;
mod attribute;
mod booted_machines;
pub mod captures;
mod every_small_tree;
pub mod machine;
mod many_pairs;
mod profiles;
mod random_machines;
mod random_memory;
mod random_searches;
mod replayed;
mod unbinding;
mod user_mappings;
mod worked;
pub mod worked_memory;
