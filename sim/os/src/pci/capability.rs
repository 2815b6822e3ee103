//! The two lists of capabilities of a function.

use peerbus_units::FunctionId;

use super::regs;
use super::tree::Capabilities;
use crate::{ConfigAccess, ConfigSpace};

/// Steps after which a list counts as circular, as in the kernel.
const STANDARD_STEPS: u16 = 48;
const EXTENDED_STEPS: u16 = 480;

/// Offset of the first capability with that id in the list that starts at 0x34.
pub fn find_capability(cs: &impl ConfigSpace, id: FunctionId, wanted: u8) -> Option<u16> {
    if cs.read_word(id, regs::STATUS) & regs::STATUS_CAPABILITIES == 0 {
        return None;
    }
    let mut position = regs::CAPABILITY_LIST;
    for _ in 0..STANDARD_STEPS {
        position = u16::from(cs.read_byte(id, position));
        if position < 0x40 {
            return None;
        }
        position &= !3;
        match cs.read_byte(id, position) {
            0xff => return None,
            found if found == wanted => return Some(position),
            _ => position += 1,
        }
    }
    None
}

/// Offset of the first extended capability with that id in the list that starts at 0x100.
pub fn find_extended_capability(cs: &impl ConfigSpace, id: FunctionId, wanted: u16) -> Option<u16> {
    let mut position = regs::EXTENDED_CAPABILITIES;
    for _ in 0..EXTENDED_STEPS {
        let header = cs.read_dword(id, position);
        if header == 0 || header == u32::MAX {
            return None;
        }
        if header & 0xffff == u32::from(wanted) {
            return Some(position);
        }
        position = (header >> 20 & 0xffc) as u16;
        if position < regs::EXTENDED_CAPABILITIES {
            return None;
        }
    }
    None
}

/// All capabilities this crate uses. Only a PCI Express function has extended ones.
pub(crate) fn read(cs: &impl ConfigSpace, id: FunctionId) -> Capabilities {
    let pcie = find_capability(cs, id, regs::CAP_PCIE);
    let extended = |wanted| pcie.and_then(|_| find_extended_capability(cs, id, wanted));
    Capabilities {
        pcie,
        acs: extended(regs::EXT_CAP_ACS),
        ari: extended(regs::EXT_CAP_ARI),
        sriov: extended(regs::EXT_CAP_SRIOV),
        rebar: extended(regs::EXT_CAP_REBAR),
    }
}
