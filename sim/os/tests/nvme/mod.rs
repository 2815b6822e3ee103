//! NVMe and peer memory: the target's three decisions, and the memory buffer of a controller.

mod buffer;
mod target;
