//! The CPU rule: some CPUs forward between all their host bridges.

/// Who made a CPU, as far as a rule asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuVendor {
    /// `AuthenticAMD`.
    Amd,
    /// `HygonGenuine`: derived from AMD's, but another vendor to the kernel.
    Hygon,
    /// `GenuineIntel`.
    Intel,
    /// Any other.
    Other,
}

impl CpuVendor {
    /// The vendor with that CPUID vendor string, which is also `vendor_id` in `/proc/cpuinfo`.
    pub fn from_id(vendor_id: &str) -> CpuVendor {
        match vendor_id {
            "AuthenticAMD" => CpuVendor::Amd,
            "HygonGenuine" => CpuVendor::Hygon,
            "GenuineIntel" => CpuVendor::Intel,
            _ => CpuVendor::Other,
        }
    }
}

/// CPU 0, which stands for all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuIdentity {
    /// Vendor.
    pub vendor: CpuVendor,
    /// Family, the extended one included, as `/proc/cpuinfo` prints it (Zen is 0x17).
    pub family: u32,
    /// Model. No rule asks for it yet.
    pub model: u32,
    /// True for a kernel built for x86. The rule exists only there.
    pub x86: bool,
}

impl CpuIdentity {
    /// The first AMD family whose host bridges forward to each other (Zen).
    const ZEN: u32 = 0x17;

    /// The kernel's `cpu_supports_p2pdma`: peer-to-peer through the host bridge works whatever the host bridges are.
    pub fn forwards_everywhere(&self) -> bool {
        self.x86 && self.vendor == CpuVendor::Amd && self.family >= CpuIdentity::ZEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_amd_from_zen_on_forwards_everywhere() {
        let check = |vendor_id, family, x86, expect| {
            let cpu = CpuIdentity { vendor: CpuVendor::from_id(vendor_id), family, model: 1, x86 };
            assert_eq!(cpu.forwards_everywhere(), expect, "{vendor_id} {family:#x} {x86}");
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
