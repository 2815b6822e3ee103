//! Offsets and bits of configuration registers (PCI-to-PCI Bridge Architecture 1.2, PCI Express Base).

pub(crate) const VENDOR_ID: u16 = 0x00;
pub(crate) const COMMAND: u16 = 0x04;
pub(crate) const COMMAND_IO: u16 = 0x1;
pub(crate) const COMMAND_MEMORY: u16 = 0x2;
pub(crate) const COMMAND_MASTER: u16 = 0x4;
pub(crate) const COMMAND_DECODE: u16 = COMMAND_IO | COMMAND_MEMORY;
pub(crate) const STATUS: u16 = 0x06;
pub(crate) const STATUS_CAPABILITIES: u16 = 0x10;
pub(crate) const CLASS_REVISION: u16 = 0x08;
pub(crate) const HEADER_TYPE: u16 = 0x0e;
pub(crate) const BASE_ADDRESS_0: u16 = 0x10;
pub(crate) const SUBSYSTEM_VENDOR: u16 = 0x2c;
pub(crate) const CAPABILITY_LIST: u16 = 0x34;
pub(crate) const ROM_ADDRESS: u16 = 0x30;
pub(crate) const ROM_ADDRESS_BRIDGE: u16 = 0x38;
pub(crate) const ROM_ENABLE: u32 = 0x1;
pub(crate) const ROM_MASK: u32 = 0xffff_f800;

pub(crate) const PRIMARY_BUS: u16 = 0x18;
pub(crate) const SUBORDINATE_BUS: u16 = 0x1a;
pub(crate) const IO_BASE: u16 = 0x1c;
pub(crate) const SECONDARY_STATUS: u16 = 0x1e;
pub(crate) const MEMORY_BASE: u16 = 0x20;
pub(crate) const PREF_MEMORY_BASE: u16 = 0x24;
pub(crate) const PREF_BASE_UPPER32: u16 = 0x28;
pub(crate) const PREF_LIMIT_UPPER32: u16 = 0x2c;
pub(crate) const IO_BASE_UPPER16: u16 = 0x30;
pub(crate) const BRIDGE_CONTROL: u16 = 0x3e;
pub(crate) const BRIDGE_CONTROL_MASTER_ABORT: u16 = 0x20;

pub(crate) const CAP_SUBSYSTEM: u8 = 0x0d;
pub(crate) const CAP_PCIE: u8 = 0x10;
pub(crate) const EXTENDED_CAPABILITIES: u16 = 0x100;
pub(crate) const EXT_CAP_ACS: u16 = 0x000d;
pub(crate) const EXT_CAP_ARI: u16 = 0x000e;
pub(crate) const EXT_CAP_SRIOV: u16 = 0x0010;
pub(crate) const EXT_CAP_REBAR: u16 = 0x0015;

/// Within the PCI Express capability.
pub(crate) const PCIE_FLAGS: u16 = 0x02;
pub(crate) const PCIE_FLAGS_SLOT: u16 = 0x0100;
pub(crate) const PCIE_DEVICE_CAPABILITIES: u16 = 0x04;
pub(crate) const PCIE_DEVICE_CONTROL: u16 = 0x08;
pub(crate) const PCIE_SLOT_CAPABILITIES: u16 = 0x14;
pub(crate) const PCIE_SLOT_HOTPLUG_CAPABLE: u32 = 0x40;
pub(crate) const PCIE_DEVICE_CAPABILITIES_2: u16 = 0x24;
pub(crate) const PCIE_DEVICE_CONTROL_2: u16 = 0x28;
pub(crate) const PCIE_ARI_FORWARDING: u16 = 0x20;

/// Within the ARI capability: next function number in bits 15–8.
pub(crate) const ARI_CAPABILITY: u16 = 0x04;

/// Within the SR-IOV capability.
pub(crate) const SRIOV_CONTROL: u16 = 0x08;
pub(crate) const SRIOV_CONTROL_VF_ENABLE: u16 = 0x01;
/// VF memory space enable: virtual functions answer at their BARs.
pub(crate) const SRIOV_CONTROL_VF_MEMORY: u16 = 0x08;
pub(crate) const SRIOV_INITIAL_VFS: u16 = 0x0c;
pub(crate) const SRIOV_TOTAL_VFS: u16 = 0x0e;
pub(crate) const SRIOV_NUM_VFS: u16 = 0x10;
pub(crate) const SRIOV_VF_OFFSET: u16 = 0x14;
pub(crate) const SRIOV_VF_STRIDE: u16 = 0x16;
pub(crate) const SRIOV_VF_DEVICE: u16 = 0x1a;
pub(crate) const SRIOV_SUPPORTED_PAGE_SIZES: u16 = 0x1c;
pub(crate) const SRIOV_SYSTEM_PAGE_SIZE: u16 = 0x20;
pub(crate) const SRIOV_BAR_0: u16 = 0x24;

/// Within the ACS capability.
pub(crate) const ACS_CAPABILITY: u16 = 0x04;
pub(crate) const ACS_CONTROL: u16 = 0x06;

/// Within the Resizable BAR capability: a pair of registers per BAR.
pub(crate) const REBAR_CAPABILITY: u16 = 0x04;
pub(crate) const REBAR_CONTROL: u16 = 0x08;
pub(crate) const REBAR_PAIR: u16 = 0x08;
/// Capability: sizes from 1 MiB in bits 31–4.
pub(crate) const REBAR_SIZES_SHIFT: u32 = 4;
/// Control: BAR number in bits 2–0, number of pairs in bits 7–5 (first pair only), size in bits 13–8.
pub(crate) const REBAR_BAR: u32 = 0x7;
pub(crate) const REBAR_COUNT_SHIFT: u32 = 5;
pub(crate) const REBAR_SIZE: u32 = 0x3f00;
pub(crate) const REBAR_SIZE_SHIFT: u32 = 8;
