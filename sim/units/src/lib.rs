//! Quantities the simulator computes with: sizes, times, rates, addresses, ranges, function ids.
//!
//! Two rules make wrong results hard to write:
//!
//! * **Address spaces are types.** [`CpuAddr`], [`BusAddr`], [`Iova`] and [`DevicePage`] have no common
//!   arithmetic and no conversion into each other. A host bridge's window is the only bridge between the
//!   first two; an IOMMU table between an IOVA and a CPU address. [`DmaAddr`] is what a driver hands to a
//!   device: opaque, and made explicitly from one of the others.
//! * **Everything is an integer.** Time is picoseconds, sizes are bytes, a [`Rate`] is a reduced fraction.
//!
//! Modules in reading order: `size`, `time`, `rate`, `error_rate`, `address`, `range`, `function`, and `text`, which holds
//! the one parser for numbers with units.
#![no_std]
extern crate alloc;

mod address;
mod error_rate;
mod function;
mod range;
mod rate;
#[cfg(feature = "serde")]
mod serial;
mod size;
mod text;
mod time;

pub use address::{Address, BusAddr, CpuAddr, DevicePage, DmaAddr, Iova, Pfn};
pub use error_rate::BitErrorRate;
pub use function::{FunctionId, ParseFunctionIdError};
pub use range::Range;
pub use rate::Rate;
pub use size::Bytes;
pub use text::{ParseUnitError, parse_integer};
pub use time::Picos;
