//! Which CPU: some forward peer-to-peer traffic between all their root ports.

/// Vendor of the CPU, as `/proc/cpuinfo` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuVendor {
    /// `AuthenticAMD`.
    Amd,
    /// `GenuineIntel`.
    Intel,
    /// `HygonGenuine`: derived from AMD's Zen, but another vendor to the kernel.
    Hygon,
    /// Any other, other architectures included.
    Other,
}

impl CpuVendor {
    /// The vendor `/proc/cpuinfo` calls `text`; the same string as CPUID's.
    pub fn from_cpuinfo(text: &str) -> CpuVendor {
        match text {
            "AuthenticAMD" => CpuVendor::Amd,
            "GenuineIntel" => CpuVendor::Intel,
            "HygonGenuine" => CpuVendor::Hygon,
            _ => CpuVendor::Other,
        }
    }
}

/// Identity of CPU 0, which stands for all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuIdentity {
    /// Vendor.
    pub vendor: CpuVendor,
    /// Family, extended family included (0x17 for the first Zen).
    pub family: u32,
    /// Model. No rule asks for it yet.
    pub model: u32,
    /// True for a kernel built for x86: only that one asks for the CPU.
    pub x86: bool,
}

/// First family of Zen cores.
const ZEN: u32 = 0x17;

impl CpuIdentity {
    /// The kernel's `cpu_supports_p2pdma`: every path through a host bridge is allowed, whatever the host bridges.
    pub fn forwards_peer_to_peer(&self) -> bool {
        self.x86 && self.vendor == CpuVendor::Amd && self.family >= ZEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_amd_from_zen_on_forwards() {
        let check = |vendor, family, x86, expect| {
            let cpu = CpuIdentity { vendor: CpuVendor::from_cpuinfo(vendor), family, model: 1, x86 };
            assert_eq!(cpu.forwards_peer_to_peer(), expect, "{vendor} {family:#x} {x86}");
        };
        check("AuthenticAMD", 0x17, true, true);
        check("AuthenticAMD", 0x1a, true, true);
        check("AuthenticAMD", 0x16, true, false);
        check("AuthenticAMD", 0x0f, true, false);
        check("HygonGenuine", 0x18, true, false);
        check("GenuineIntel", 0x17, true, false);
        check("CentaurHauls", 0x17, true, false);
        check("authenticamd", 0x17, true, false);
        check("AuthenticAMD", 0x17, false, false);
    }
}
