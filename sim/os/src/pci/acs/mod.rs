//! Access Control Services: control words, how a kernel sets them, and whether a path is isolated.
//!
//! Two questions are asked about ACS, and they are not opposites. Peer-to-peer asks whether anything *redirects*: any
//! of RR, CR, EC in any control word on the way ([`acs_control`], [`AcsWord::redirects`]). Groups ask whether a path
//! *isolates*: whether all bits asked for are set on every function up to the root ([`acs_enabled`], [`acs_path`]),
//! where a function known to isolate without a register counts as one that has it.
//!
//! [`acs_program`] sets the words: what an IOMMU driver requests, then the lists of the command line.

mod isolation;
mod list;
mod program;
mod quirk;
mod register;

pub use isolation::{acs_enabled, acs_path};
pub use list::{AcsBits, AcsSyntax, AcsSyntaxError, check_config_list, check_device_list};
pub use program::{
    AcsEvent, AcsList, AcsParameters, AcsState, acs_at_driver_bind, acs_ports_bound, acs_program,
};
pub use register::{AcsWord, acs_capability, acs_control, set_acs_control};
