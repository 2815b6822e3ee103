//! [`PrivateDesign`]: where frames of private memory come from.

use core::fmt;

/// The designs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PrivateDesign {
    /// Unused physical addresses: every kernel released so far.
    PhysicalSpace,
    /// A space of their own: the posted series.
    OwnSpace,
}

impl PrivateDesign {
    /// Both.
    pub const ALL: [PrivateDesign; 2] = [PrivateDesign::PhysicalSpace, PrivateDesign::OwnSpace];
}

impl fmt::Display for PrivateDesign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PrivateDesign::PhysicalSpace => "physical space",
            PrivateDesign::OwnSpace => "own space",
        })
    }
}
