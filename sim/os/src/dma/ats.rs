//! Address Translation Services: which devices may keep translations, and switching them on.
//!
//! A driver of an IOMMU enables ATS for a function that has the capability and whose requests it translates. AMD's does so for
//! every one. Intel's wants to be told by firmware: below a root port only if its tables list the port. Those of recorded
//! machines list none, and none is taken to be listed. With `pci=noats` nobody does.

use alloc::vec::Vec;

use super::default_domain::ATS;
use super::{Dma, IommuDriver};
use crate::pci::{FunctionIndex, Tree, find_extended_capability};
use crate::{ConfigAccess, ConfigSpace};

/// Offset of the control register in the capability.
const CONTROL: u16 = 0x06;
/// Of the control register.
const ENABLE: u16 = 1 << 15;
/// The smallest translation unit, as its log2 minus 12: pages of 4 KiB.
const UNIT: u16 = 0x1f;

impl Dma {
    /// Enables ATS where the driver does, and tells where. Once after [`Dma::attach`].
    pub fn enable_ats(
        &self,
        tree: &Tree,
        cs: &mut impl ConfigSpace,
        driver: IommuDriver,
        disabled: bool,
    ) -> Vec<FunctionIndex> {
        let enables = match driver {
            IommuDriver::Amd { .. } => !disabled,
            IommuDriver::Intel { .. } | IommuDriver::Other => false,
        };
        let mut enabled = Vec::new();
        for (index, function) in tree.iter().filter(|_| enables) {
            let express = function.capabilities.pcie.is_some() && self.is_translated(index);
            let offset = if express { find_extended_capability(cs, function.id, ATS) } else { None };
            if let Some(offset) = offset {
                let control = cs.read_word(function.id, offset + CONTROL) & !UNIT;
                cs.write_word(function.id, offset + CONTROL, control | ENABLE);
                enabled.push(index);
            }
        }
        enabled
    }
}
