//! Peer-to-peer decisions: worked examples, every small tree, and recordings of booted kernels.

mod addresses;
mod booted_machines;
mod captures;
mod every_small_tree;
mod machine;
mod many_pairs;
mod profiles;
mod random_machines;
mod replayed;
mod worked;
