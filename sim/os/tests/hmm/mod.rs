//! The memory management for device memory: recordings of the kernel's test device, and the kernel's own tests.

mod bench;
mod line;
mod machine;
mod replay;
mod selftests;
mod selftests_basic;
mod selftests_huge;
mod selftests_two;
