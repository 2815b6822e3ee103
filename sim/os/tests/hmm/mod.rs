//! The memory management for device memory against recordings of the kernel's own test device.

mod line;
mod machine;
mod replay;
