//! Peer VMAs: the contract point by point, policies and refusals, and random use against a plain model.

mod contract;
mod random;

use peerbus_os::MapType;
use peerbus_os::dma::PeerType;
use peerbus_os::peer_vma::{
    Aperture, Exporter, Filling, Importer, ObjectId, Policy, ProcessId, VmaId, VmaPages,
};
use peerbus_units::{Bytes, CpuAddr, DevicePage, FunctionId, Range};

pub const BAR: u64 = 0x40_0000_0000;
/// Bus addresses are this much below the CPU's.
pub const OFFSET: u64 = 0x10_0000_0000u64.wrapping_neg();
pub const SAME_SWITCH: PeerType = PeerType { map_type: MapType::BusAddr, bus_offset: OFFSET };
pub const OTHER_ROOT: PeerType = PeerType { map_type: MapType::ThruHostBridge, bus_offset: OFFSET };
pub const NIC: Importer = Importer(FunctionId::new(0, 2, 0, 0));
pub const GPU: Importer = Importer(FunctionId::new(0, 3, 0, 0));

/// An exporter whose BAR has `slots` slots, with an object of `pages` pages at page 1000 of its memory.
pub fn exporter(slots: u64, pages: u64, policy: Policy) -> (Exporter, ObjectId) {
    let bar = Range::sized(CpuAddr(BAR), Bytes::kib(4 * slots)).unwrap();
    let mut exporter = Exporter::new(Aperture::new(&[bar], Bytes::kib(4)), policy);
    let object = exporter.add_object(DevicePage(1000), pages).unwrap();
    (exporter, object)
}

/// A mapping of a whole object, filled lazily.
pub fn lazy(object: ObjectId, pages: u64) -> VmaPages {
    VmaPages { object, first: 0, pages, process: ProcessId(1), writable: true, filling: Filling::Lazy }
}

/// The page of memory behind a DMA address of the same bus.
pub fn behind(exporter: &Exporter, address: peerbus_units::DmaAddr) -> Option<u64> {
    let (page, offset) = exporter.aperture().translate(CpuAddr(address.0.wrapping_sub(OFFSET)))?;
    assert_eq!(offset, 0);
    Some(page.0)
}

pub fn mapped(exporter: &mut Exporter, vma: VmaId, importer: Importer, first: u64, pages: u64) -> Vec<u64> {
    let addresses = exporter.p2p_map(vma, importer, first, pages, true, SAME_SWITCH).unwrap();
    addresses.into_iter().map(|address| behind(exporter, address).unwrap()).collect()
}
