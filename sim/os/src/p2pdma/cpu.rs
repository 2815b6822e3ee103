//! Which CPU: some forward peer-to-peer traffic between all their root ports.

/// Vendor of the CPU, as `/proc/cpuinfo` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuVendor {
    /// `AuthenticAMD`.
    Amd,
    /// `GenuineIntel`.
    Intel,
    /// `HygonGenuine`.
    Hygon,
    /// Any other, other architectures included.
    Other,
}

impl CpuVendor {
    /// The vendor `/proc/cpuinfo` calls `text`.
    pub fn from_cpuinfo(text: &str) -> CpuVendor {
        match text {
            "AuthenticAMD" => CpuVendor::Amd,
            "GenuineIntel" => CpuVendor::Intel,
            "HygonGenuine" => CpuVendor::Hygon,
            _ => CpuVendor::Other,
        }
    }
}

/// Identity of CPU 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuIdentity {
    /// Vendor.
    pub vendor: CpuVendor,
    /// Family, extended family included (0x17 for the first Zen).
    pub family: u32,
    /// Model.
    pub model: u32,
}

/// First family of Zen cores.
const ZEN: u32 = 0x17;

impl CpuIdentity {
    /// True when every path across the root complex is allowed, whatever the host bridges: AMD Zen and later.
    pub fn forwards_peer_to_peer(&self) -> bool {
        self.vendor == CpuVendor::Amd && self.family >= ZEN
    }
}
