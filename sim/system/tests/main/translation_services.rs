//! Address Translation Services: where the kernel enables them.

use peerbus_system::boot::{BootOptions, boot};
use peerbus_system::kernel::{IommuMode, KernelSettings};

use crate::run::topologies;

#[test]
fn ats_is_enabled_where_the_driver_translates() {
    let mut machine = topologies()["genoa-nic-2gpu.ron"].clone();
    let adapter = machine.devices.iter().position(|device| device.part.atc.is_some()).unwrap();
    let function = machine.devices[adapter].functions[0];
    let mut check = |vendor: &str, iommu, cmdline: &str, expect| {
        machine.cpus[0].part.vendor = vendor.to_owned();
        let settings =
            KernelSettings { iommu: Some(iommu), cmdline: cmdline.to_owned(), ..KernelSettings::default() };
        let booted = boot(&machine, &settings, &BootOptions::default());
        assert_eq!(booted.registers.ats_enabled(function), expect, "{vendor} {iommu:?} {cmdline:?}");
    };
    check("AuthenticAMD", IommuMode::Translate, "", true);
    check("AuthenticAMD", IommuMode::Translate, "pci=noats", false);
    check("AuthenticAMD", IommuMode::Passthrough, "", false);
    check("AuthenticAMD", IommuMode::None, "", false);
    check("GenuineIntel", IommuMode::Translate, "", false);
}
