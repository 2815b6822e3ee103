//! Words for resources, as tables show them.

use peerbus_machine::part::ResourceKind;
use peerbus_os::pci::{self, ResourceFlags};

/// `BAR2`, `ROM`, `VFBAR0`, `window`: the kernel's resource number in words.
pub fn index_name(index: usize) -> String {
    match index {
        0..=5 => format!("BAR{index}"),
        pci::resource::ROM => "ROM".into(),
        pci::resource::IOV_FIRST..=pci::resource::IOV_LAST => {
            format!("VFBAR{}", index - pci::resource::IOV_FIRST)
        }
        _ => "window".into(),
    }
}

/// The kind of space that flags ask for; a 64-bit kind may lie above 4 GiB.
pub fn kind_name(flags: ResourceFlags) -> &'static str {
    kind_word(match pci::ResourceKind::of(flags) {
        pci::ResourceKind::Io => ResourceKind::Io,
        pci::ResourceKind::Mem => ResourceKind::Mem32,
        pci::ResourceKind::Mem64 => ResourceKind::Mem64,
        pci::ResourceKind::MemPrefetch => ResourceKind::Mem32Prefetch,
        pci::ResourceKind::Mem64Prefetch => ResourceKind::Mem64Prefetch,
    })
}

/// The same words for a kind of the model.
pub fn kind_word(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Io => "io",
        ResourceKind::Mem32 => "mem32",
        ResourceKind::Mem32Prefetch => "mem32-pref",
        ResourceKind::Mem64 => "mem64",
        ResourceKind::Mem64Prefetch => "mem64-pref",
    }
}
