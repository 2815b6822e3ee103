//! Where things stand in configuration space: offsets, bits and encodings of the PCI Local Bus 3.0, PCI-to-PCI
//! Bridge 1.2 and PCI Express Base 6.0 specifications. Names follow `linux/pci_regs.h` without its prefixes.

use peerbus_units::Bytes;

/// Bytes of one function's configuration space.
pub(crate) const SPACE_SIZE: u16 = 4096;
/// Bytes that a function without a PCI Express capability has.
pub(crate) const CONVENTIONAL_SIZE: u16 = 256;

pub(crate) const VENDOR: u16 = 0x00;
pub(crate) const COMMAND: u16 = 0x04;
pub(crate) const STATUS: u16 = 0x06;
pub(crate) const CLASS: u16 = 0x08;
pub(crate) const CACHE_LINE_SIZE: u16 = 0x0c;
pub(crate) const HEADER_TYPE: u16 = 0x0e;
pub(crate) const BAR0: u16 = 0x10;
pub(crate) const SUBSYSTEM: u16 = 0x2c;
pub(crate) const CAPABILITIES: u16 = 0x34;
/// Expansion ROM of a type 0 header, and of a type 1 header.
pub(crate) const ROM_ADDRESS: u16 = 0x30;
pub(crate) const ROM_ADDRESS_BRIDGE: u16 = 0x38;
pub(crate) const ROM_MASK: u32 = 0xffff_f800;
pub(crate) const INTERRUPT_LINE: u16 = 0x3c;

pub(crate) const COMMAND_IO: u16 = 1 << 0;
pub(crate) const COMMAND_MEMORY: u16 = 1 << 1;
pub(crate) const COMMAND_MASTER: u16 = 1 << 2;
/// Parity error response, SERR# enable and INTx disable.
pub(crate) const COMMAND_OTHER: u16 = 0x0540;
pub(crate) const STATUS_CAPABILITIES: u16 = 1 << 4;
/// Error bits of the status and secondary status registers, all cleared by writing one.
pub(crate) const STATUS_ERRORS: u16 = 0xf900;
pub(crate) const HEADER_BRIDGE: u8 = 1;
pub(crate) const HEADER_MULTI_FUNCTION: u8 = 0x80;

pub(crate) const BAR_IO: u32 = 1;
pub(crate) const BAR_64BIT: u32 = 4;
pub(crate) const BAR_PREFETCH: u32 = 8;

pub(crate) const PRIMARY_BUS: u16 = 0x18;
pub(crate) const SECONDARY_BUS: u16 = 0x19;
pub(crate) const SUBORDINATE_BUS: u16 = 0x1a;
pub(crate) const IO_BASE: u16 = 0x1c;
pub(crate) const IO_LIMIT: u16 = 0x1d;
pub(crate) const SECONDARY_STATUS: u16 = 0x1e;
pub(crate) const MEMORY_BASE: u16 = 0x20;
pub(crate) const MEMORY_LIMIT: u16 = 0x22;
pub(crate) const PREFETCH_BASE: u16 = 0x24;
pub(crate) const PREFETCH_LIMIT: u16 = 0x26;
pub(crate) const PREFETCH_BASE_UPPER: u16 = 0x28;
pub(crate) const PREFETCH_LIMIT_UPPER: u16 = 0x2c;
pub(crate) const IO_BASE_UPPER: u16 = 0x30;
pub(crate) const IO_LIMIT_UPPER: u16 = 0x32;
pub(crate) const BRIDGE_CONTROL: u16 = 0x3e;
/// Parity error response and SERR# enable.
pub(crate) const BRIDGE_CONTROL_WRITABLE: u16 = 0x0003;

/// Where the PCI Express capability stands; its structure is 60 bytes long.
pub(crate) const EXPRESS: u16 = 0x40;
pub(crate) const EXPRESS_ID: u8 = 0x10;
pub(crate) const EXPRESS_FLAGS: u16 = 0x02;
pub(crate) const DEVICE_CAPABILITIES: u16 = 0x04;
pub(crate) const DEVICE_CONTROL: u16 = 0x08;
pub(crate) const DEVICE_STATUS: u16 = 0x0a;
pub(crate) const LINK_CAPABILITIES: u16 = 0x0c;
pub(crate) const LINK_CONTROL: u16 = 0x10;
pub(crate) const LINK_STATUS: u16 = 0x12;
pub(crate) const SLOT_CAPABILITIES: u16 = 0x14;
/// In the capability's flags: the port has a slot.
pub(crate) const SLOT_IMPLEMENTED: u16 = 1 << 8;
/// In the slot capabilities.
pub(crate) const HOT_PLUG_CAPABLE: u32 = 1 << 6;
pub(crate) const DEVICE_CAPABILITIES2: u16 = 0x24;
pub(crate) const DEVICE_CONTROL2: u16 = 0x28;
/// In both: forwarding of alternative routing ids.
pub(crate) const ARI_FORWARDING: u32 = 1 << 5;
pub(crate) const ARI_FORWARDING_CONTROL: u16 = 1 << 5;
/// In the device control register: tags of 8 bits.
pub(crate) const EXTENDED_TAGS: u16 = 1 << 8;
/// In device capabilities 2: tags of 10 bits as completer and as requester.
pub(crate) const TEN_BIT_TAGS_CAPABLE: u32 = 3 << 16;
/// In device control 2: tags of 10 bits.
pub(crate) const TEN_BIT_TAGS: u16 = 1 << 12;
/// In device control 2: ID-based Ordering of requests, of completions.
pub(crate) const ID_ORDERED_REQUESTS: u16 = 1 << 8;
pub(crate) const ID_ORDERED_COMPLETIONS: u16 = 1 << 9;
/// In device control.
pub(crate) const RELAXED_ORDERING: u16 = 1 << 4;
pub(crate) const NO_SNOOP: u16 = 1 << 11;
pub(crate) const LINK_CAPABILITIES2: u16 = 0x2c;
pub(crate) const LINK_CONTROL2: u16 = 0x30;

/// Error reporting enables, relaxed ordering, payload size, extended tags, no snoop, read request size.
pub(crate) const DEVICE_CONTROL_WRITABLE: u16 = 0x79ff;
/// Relaxed ordering and no snoop are enabled at power on.
pub(crate) const DEVICE_CONTROL_POWER_ON: u16 = 0x0810;
pub(crate) const DEVICE_STATUS_ERRORS: u16 = 0x000f;
/// Role-based error reporting and extended tags.
pub(crate) const DEVICE_CAPABILITIES_FIXED: u32 = 0x0000_8020;
/// Power management control, common clock, extended synch.
pub(crate) const LINK_CONTROL_WRITABLE: u16 = 0x00c3;

/// Where the list of extended capabilities starts.
pub(crate) const EXTENDED: u16 = 0x100;
pub(crate) const ACS_ID: u16 = 0x000d;
pub(crate) const ACS_CAPABILITY: u16 = 0x04;
pub(crate) const ACS_CONTROL: u16 = 0x06;
pub(crate) const ACS_EGRESS_VECTOR: u16 = 0x08;
pub(crate) const ACS_EGRESS: u16 = 1 << 5;
pub(crate) const ACS_ENHANCED: u16 = 1 << 7;
pub(crate) const ATS_ID: u16 = 0x000f;
pub(crate) const ATS_CAPABILITY: u16 = 0x04;
pub(crate) const ATS_CONTROL: u16 = 0x06;
/// Length of the capability.
pub(crate) const ATS_LENGTH: u16 = 0x08;
/// Of its capability register: 32 invalidations are queued (0 means so), requests are for whole pages.
pub(crate) const ATS_FEATURES: u16 = 1 << 5;
/// Of its control register.
pub(crate) const ATS_ENABLE: u16 = 1 << 15;
/// Enable, and the smallest translation unit.
pub(crate) const ATS_CONTROL_WRITABLE: u16 = ATS_ENABLE | 0x1f;
pub(crate) const ARI_ID: u16 = 0x000e;
/// Next function, and the length of the capability.
pub(crate) const ARI_NEXT: u16 = 0x05;
pub(crate) const ARI_LENGTH: u16 = 0x08;
pub(crate) const SRIOV_ID: u16 = 0x0010;
pub(crate) const SRIOV_CONTROL: u16 = 0x08;
pub(crate) const SRIOV_TOTAL: u16 = 0x0e;
pub(crate) const SRIOV_NUMBER: u16 = 0x10;
pub(crate) const SRIOV_OFFSET: u16 = 0x14;
pub(crate) const SRIOV_STRIDE: u16 = 0x16;
pub(crate) const SRIOV_DEVICE: u16 = 0x1a;
pub(crate) const SRIOV_PAGES: u16 = 0x1c;
pub(crate) const SRIOV_PAGE: u16 = 0x20;
pub(crate) const SRIOV_BAR: u16 = 0x24;
/// Length of the capability.
pub(crate) const SRIOV_LENGTH: u16 = 0x40;
/// VF Enable, VF Memory Space Enable and ARI Capable Hierarchy of the control register.
pub(crate) const SRIOV_CONTROL_WRITABLE: u16 = 0x0019;
pub(crate) const SRIOV_CONTROL_ENABLE: u16 = 0x0009;
/// The capability that holds the third device control register.
pub(crate) const DEVICE3_ID: u16 = 0x002f;
pub(crate) const DEVICE3_LENGTH: u16 = 0x10;
pub(crate) const DEVICE3_CAPABILITIES: u16 = 0x04;
pub(crate) const DEVICE3_CONTROL: u16 = 0x08;
/// Tags of 14 bits as completer and as requester.
pub(crate) const FOURTEEN_BIT_TAGS_CAPABLE: u32 = 3 << 1;
pub(crate) const FOURTEEN_BIT_TAGS: u16 = 1 << 2;
pub(crate) const RESIZABLE_ID: u16 = 0x0015;
/// First capability register of the Resizable BAR capability; each BAR has one, and a control register after it.
pub(crate) const RESIZABLE_FIRST: u16 = 0x04;

/// The three-bit encoding of payload and read request sizes: 0 is 128 bytes, 5 is 4096. Sizes between two
/// encodings count as the smaller one.
pub(crate) fn encode_transfer_size(size: Bytes) -> u16 {
    (0..5).rev().find(|code| size.0 >= 256 << code).map_or(0, |code| code + 1)
}

/// The size that three bits mean; the two reserved values count as the largest.
pub(crate) fn decode_transfer_size(code: u16) -> Bytes {
    Bytes(128 << code.min(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfer_sizes_round_trip() {
        for (code, size) in [(0, 128), (1, 256), (2, 512), (3, 1024), (4, 2048), (5, 4096)] {
            assert_eq!((encode_transfer_size(Bytes(size)), decode_transfer_size(code)), (code, Bytes(size)));
        }
        assert_eq!(encode_transfer_size(Bytes(64)), 0);
        assert_eq!(encode_transfer_size(Bytes(511)), 1);
        assert_eq!(encode_transfer_size(Bytes(1 << 40)), 5);
        assert_eq!(decode_transfer_size(7), Bytes(4096));
    }
}
