//! The machine below memory management: RAM, a CPU of 46 bits, and a kernel with one of the two designs of private memory.

use peerbus_os::device_private::{Platform, PrivateDesign, PrivateMemory};
use peerbus_os::iomem::{DirectMap, IoMem, IoResource, Paging, PhysicalSpace};
use peerbus_os::mm::rules::{HugePolicy, MmRules};
use peerbus_os::mm::{DeviceId, Mm};
use peerbus_os::pci::ResourceFlags;
use peerbus_os::test_device::Kind;
use peerbus_os::{Profile, Rules, RulesOptions};
use peerbus_units::{Bytes, CpuAddr, Range};

/// A kernel with a design. The series that moves private memory into a space of its own was posted for the 7.x line; 6.x
/// with it is a back-port.
pub fn kernel(profile: Profile, design: PrivateDesign) -> Rules {
    profile.rules(RulesOptions { private_design: Some(design), ..RulesOptions::default() })
}

/// Every kernel with every design: profiles oldest first, and in physical space first.
pub fn kernels() -> Vec<Rules> {
    let designs = |profile| PrivateDesign::ALL.map(|design| kernel(profile, design));
    Profile::ALL.into_iter().flat_map(designs).collect()
}

/// The same kernel with another idea of when anonymous memory gets huge pages.
pub fn with_huge(rules: Rules, huge_policy: HugePolicy) -> Rules {
    Rules { mm: MmRules { huge_policy, ..rules.mm }, ..rules }
}

/// A name for failures.
pub fn name(rules: &Rules) -> String {
    format!("{} in {}", rules.profile, rules.pagemap.private_design)
}

/// A machine with `pages` pages of RAM from address 0.
pub fn machine(rules: Rules, pages: u64) -> Mm {
    let size = Bytes(pages << 12);
    let direct_map = DirectMap::distribution(CpuAddr(size.0));
    let space = PhysicalSpace::X86 { paging: Paging::FourLevel, physical_bits: 46, direct_map };
    let mut iomem = IoMem::new(space.end());
    let ram = Range::sized(CpuAddr(0), size).expect("a machine has RAM");
    let mut ram = IoResource::memory(ram, "System RAM").busy();
    ram.flags |= ResourceFlags::SYSTEM_RAM;
    iomem.request(iomem.root(), ram).expect("the tree is empty");
    Mm::new(PrivateMemory::new(Platform::new(rules, iomem, &space)))
}

/// Private memory, or coherent memory at an address of the device's own.
pub fn kind(device: DeviceId, coherent: bool) -> Kind {
    match coherent {
        true => Kind::Coherent(CpuAddr((1 << 40) + (u64::from(device.0) << 28))),
        false => Kind::Private,
    }
}
