//! Shared buffers: who may have a device's own memory, where pinned buffers lie, and how BARs are taken back.

use peerbus_os::Profile;
use peerbus_os::dma_buf::{
    Amdgpu, AttachError, Attaching, BufferRequest, DmaBuf, Exporter, ImportError, ImportedPages, Importer,
    Invalidated, MapError, MoveError, PhysicalVector, PinError, Placement, Places, Region, RegionError,
    RegionKind, RegionSource, Revocation, VfioBuffer, VfioDevice, VfioError, Xe, register,
};
use peerbus_os::p2pdma::{MappedPage, P2pdmaRules, Pin, PinError as GupError};
use peerbus_units::{Bytes, CpuAddr};

use crate::p2pdma::worked_memory::{Example, example};

mod vectors;

const NEW: P2pdmaRules = P2pdmaRules::LINUX_7_3;
const OLD: P2pdmaRules = P2pdmaRules::LINUX_6_12;
const ANYWHERE: Places = Places { device: true, system: true };
const DEVICE: Places = Places { device: true, system: false };

fn near(importer: Option<Importer>) -> Attaching {
    Attaching { importer, distance: Some(4), xgmi: false }
}

fn far(importer: Option<Importer>) -> Attaching {
    Attaching { importer, distance: None, xgmi: false }
}

const DYNAMIC: Option<Importer> = Some(Importer::DYNAMIC);
const PINNED: Option<Importer> = Some(Importer::PINNED);

#[test]
fn amdgpu_never_refuses_and_takes_the_flag_back() {
    let check = |rules, change: fn(&mut Amdgpu), attaching: Attaching, expect| {
        let mut exporter = Amdgpu::new(ANYWHERE);
        change(&mut exporter);
        let mut buffer = DmaBuf::new(exporter);
        let id = buffer.attach(&rules, &attaching).unwrap();
        assert_eq!(buffer.attachment(id).unwrap().peer2peer, expect, "{attaching:?} {exporter:?}");
    };
    for rules in [OLD, NEW] {
        check(rules, |_| {}, near(DYNAMIC), true);
        check(rules, |_| {}, far(DYNAMIC), false);
        check(rules, |_| {}, Attaching { xgmi: true, ..far(DYNAMIC) }, true);
        check(rules, |_| {}, near(None), false);
        check(rules, |_| {}, near(Some(Importer { allow_peer2peer: false, invalidate: true })), false);
        let old = rules == OLD;
        check(rules, |buffer| buffer.giving.compressed = true, near(DYNAMIC), old);
        check(rules, |buffer| buffer.giving.runtime_active = false, near(DYNAMIC), old);
    }
}

#[test]
fn older_kernels_demand_a_callback() {
    let mut buffer = DmaBuf::new(Amdgpu::new(ANYWHERE));
    assert_eq!(buffer.attach(&OLD, &near(PINNED)), Err(AttachError::NoCallback));
    assert_eq!(AttachError::NoCallback.errno(), "EINVAL");
    assert!(buffer.attach(&NEW, &near(PINNED)).is_ok());
    assert!(buffer.attach(&OLD, &near(None)).is_ok());
}

#[test]
fn xe_refuses_what_it_can_neither_reach_nor_move() {
    let check = |places, attaching: Attaching, expect| {
        let mut exporter = Xe::new(places);
        assert_eq!(exporter.attach(&NEW, &attaching), expect, "{attaching:?}");
    };
    check(ANYWHERE, near(DYNAMIC), Ok(true));
    check(ANYWHERE, far(DYNAMIC), Ok(false));
    check(DEVICE, near(DYNAMIC), Ok(true));
    check(DEVICE, far(DYNAMIC), Err(AttachError::CannotMove));
    check(DEVICE, near(None), Err(AttachError::CannotMove));
}

/// Pins with one importer nearby, then with one far away beside it.
fn pin_beside<E: Exporter>(exporter: E) -> [Result<Placement, PinError>; 3] {
    let mut buffer = DmaBuf::new(exporter);
    let first = buffer.attach(&NEW, &near(DYNAMIC)).unwrap();
    let alone = buffer.pin(first);
    buffer.unpin();
    let other = buffer.attach(&NEW, &far(DYNAMIC));
    let beside = buffer.pin(first);
    buffer.unpin();
    other.iter().for_each(|other| buffer.detach(*other));
    [alone, beside, buffer.pin(first)]
}

/// Property B17.
#[test]
fn one_importer_out_of_reach_pins_the_buffer_in_system_memory() {
    let expect = [Ok(Placement::Device), Ok(Placement::System), Ok(Placement::Device)];
    assert_eq!(pin_beside(Amdgpu::new(ANYWHERE)), expect);
    assert_eq!(pin_beside(Xe::new(ANYWHERE)), expect);
    let stuck = [Ok(Placement::Device), Err(PinError::NoPlace), Ok(Placement::Device)];
    assert_eq!(pin_beside(Amdgpu::new(DEVICE)), stuck);
}

#[test]
fn a_pinned_buffer_does_not_move() {
    let mut buffer = DmaBuf::new(Xe::new(ANYWHERE));
    let first = buffer.attach(&NEW, &near(DYNAMIC)).unwrap();
    assert_eq!(buffer.pin(first), Ok(Placement::Device));
    let second = buffer.attach(&NEW, &far(DYNAMIC)).unwrap();
    assert_eq!(buffer.pin(second), Err(PinError::PinnedElsewhere));
    assert_eq!(buffer.map(second), Err(MapError::NoPlace));
    let fixed = buffer.attach(&NEW, &near(None)).unwrap();
    assert_eq!(buffer.pin(fixed), Err(PinError::NotDynamic));
    assert_eq!(buffer.map(fixed), Err(MapError::NoPlace));
    buffer.unpin();
    let mapped = buffer.map(fixed).unwrap();
    assert_eq!((mapped.placement, mapped.wait_for_fences), (Placement::System, true));
    // The static mapping holds a pin until it is undone.
    assert_eq!(buffer.map(first).unwrap().placement, Placement::System);
    buffer.detach(second);
    buffer.unmap(fixed);
    buffer.detach(fixed);
    assert_eq!(buffer.pin(first), Ok(Placement::Device));
}

#[test]
fn a_move_invalidates_what_was_mapped() {
    let mut buffer = DmaBuf::new(Amdgpu::new(ANYWHERE));
    let [close, distant] =
        [near(DYNAMIC), far(DYNAMIC)].map(|attaching| buffer.attach(&NEW, &attaching).unwrap());
    let silent = buffer.attach(&NEW, &near(PINNED)).unwrap();
    let mapped = buffer.map(close).unwrap();
    assert_eq!((mapped.placement, mapped.wait_for_fences), (Placement::Device, false));
    assert_eq!(mapped.invalidated, []);
    let mapped = buffer.map(distant).unwrap();
    assert_eq!((mapped.placement, mapped.invalidated), (Placement::System, vec![close, distant]));
    assert!(buffer.attachment(close).unwrap().stale && !buffer.attachment(distant).unwrap().stale);
    assert!(!buffer.attachment(silent).unwrap().stale);
    assert_eq!(buffer.map(close).unwrap().placement, Placement::System);
    assert!(!buffer.attachment(close).unwrap().stale);
    assert_eq!(buffer.mappings(), 2);
    buffer.detach(close);
    assert_eq!(buffer.map(close), Err(MapError::NoAttachment));
}

#[test]
fn a_driver_moves_what_is_not_pinned() {
    let mut buffer = DmaBuf::new(Amdgpu::new(ANYWHERE));
    let first = buffer.attach(&NEW, &near(DYNAMIC)).unwrap();
    let silent = buffer.attach(&NEW, &near(PINNED)).unwrap();
    buffer.map(first).unwrap();
    assert_eq!(buffer.relocate(Placement::Device), Ok(vec![]), "it is there");
    assert_eq!(buffer.relocate(Placement::System), Ok(vec![first]));
    assert!(buffer.attachment(first).unwrap().stale);
    assert_eq!(buffer.map(first).unwrap().placement, Placement::System);
    assert_eq!(buffer.relocate(Placement::Device), Ok(vec![first]));
    assert_eq!((buffer.pin(silent), buffer.pin_count()), (Ok(Placement::Device), 1));
    assert_eq!(buffer.relocate(Placement::System), Err(MoveError::Pinned));
    buffer.unpin();
    assert_eq!(buffer.relocate(Placement::System), Ok(vec![first]));
    let mut stays = DmaBuf::new(Xe::new(DEVICE));
    assert_eq!(stays.relocate(Placement::System), Err(MoveError::NoPlace));
}

const MIB: u64 = 1 << 20;

fn vector(address: u64, length: u64) -> PhysicalVector {
    PhysicalVector { address: CpuAddr(address), length: Bytes(length) }
}

/// Function `a`: BAR 0 of 64 MiB, BAR 4 of 2 MiB; BAR 1 is absent.
fn device(profile: Profile) -> (Example, VfioDevice) {
    let mut example = example(profile);
    let function = example.a;
    let _ = example.p2pdma.init(&example.machine.tree, function);
    (example, VfioDevice { function, exports: true, memory_enabled: true })
}

fn get(
    example: &mut Example,
    device: &VfioDevice,
    region: usize,
    flags: u32,
    ranges: &[(u64, u64)],
) -> Result<DmaBuf<VfioBuffer>, VfioError> {
    let request = BufferRequest { region, flags, ranges };
    device.buffer(&mut example.p2pdma, &example.machine.tree, &request)
}

#[test]
fn a_buffer_of_a_bar_is_checked_first() {
    let (mut example, device) = device(Profile::Linux_7_3);
    let mut check = |region, flags, ranges: &[(u64, u64)], expect: VfioError, errno| {
        let found = get(&mut example, &device, region, flags, ranges).map(|_| ());
        assert_eq!((found, expect.errno()), (Err(expect), errno), "{region} {flags} {ranges:x?}");
    };
    check(9, 0, &[], VfioError::Request, "EINVAL");
    check(9, 1, &[(0, 4096)], VfioError::Request, "EINVAL");
    for region in [1, 6, 9, usize::MAX] {
        check(region, 0, &[(0, 4096)], VfioError::NoRegion, "ENODEV");
    }
    for range in [(0, 0), (100, 4096), (0, 100), (0, 1 << 63)] {
        check(0, 0, &[range], VfioError::Ranges, "EINVAL");
    }
    let top = u64::MAX - 4095;
    check(0, 0, &[(0, top), (0, top)], VfioError::Overflow, "EOVERFLOW");
    check(0, 0, &[(top, 8192)], VfioError::Overflow, "EOVERFLOW");
    check(0, 0, &[(0, 4096), (64 * MIB, 4096)], VfioError::BeyondBar, "EINVAL");
    check(4, 0, &[(0, 2 * MIB + 4096)], VfioError::BeyondBar, "EINVAL");
    let deaf = VfioDevice { exports: false, ..device };
    let found = get(&mut example, &deaf, 0, 0, &[(0, 4096)]).map(|_| ());
    assert_eq!(found, Err(VfioError::NotSupported));
    let b = VfioDevice { function: example.b, ..device };
    assert_eq!(get(&mut example, &b, 0, 0, &[(0, 4096)]).map(|_| ()), Err(VfioError::NoProvider));
    let buffer = get(&mut example, &device, 0, 0, &[(4096, 8192), (MIB, 4096)]).unwrap();
    let first = example.machine.tree[example.a].resources[0].range().unwrap().first().0;
    assert_eq!(buffer.exporter.vectors, [vector(first + 4096, 8192), vector(first + MIB, 4096)]);
    let (mut old, device) = self::device(Profile::Linux_6_12);
    assert_eq!(get(&mut old, &device, 0, 0, &[(0, 4096)]).map(|_| ()), Err(VfioError::NotSupported));
}

/// Property B16.
#[test]
fn an_importer_of_a_bar_must_reach_it_and_let_go() {
    let (mut example, device) = device(Profile::Linux_7_3);
    let mut buffer = get(&mut example, &device, 0, 0, &[(0, 4096)]).unwrap();
    let staged = Some(Importer { allow_peer2peer: false, invalidate: true });
    assert_eq!(buffer.attach(&NEW, &near(staged)), Err(AttachError::NotPeerToPeer));
    assert_eq!(buffer.attach(&NEW, &near(None)), Err(AttachError::NotPeerToPeer));
    assert_eq!(buffer.attach(&NEW, &near(PINNED)), Err(AttachError::NotRevocable));
    assert_eq!(AttachError::NotRevocable.errno(), "EOPNOTSUPP");
    let id = buffer.attach(&NEW, &near(DYNAMIC)).unwrap();
    assert_eq!(buffer.pin(id), Ok(Placement::Device));
    assert_eq!(buffer.map(id).unwrap().placement, Placement::Device);
    // With memory decoding off the buffer is born revoked.
    let off = VfioDevice { memory_enabled: false, ..device };
    let mut revoked = get(&mut example, &off, 0, 0, &[(0, 4096)]).unwrap();
    assert_eq!(revoked.attach(&NEW, &near(DYNAMIC)), Err(AttachError::Revoked));
    assert_eq!(revoked.attach(&NEW, &near(staged)), Err(AttachError::NotPeerToPeer));
    assert_eq!(revoked.unrevoke(), Some(vec![]));
    assert!(revoked.attach(&NEW, &near(DYNAMIC)).is_ok());
}

#[test]
fn a_revocation_waits_for_fences_then_for_mappings() {
    let (mut example, device) = device(Profile::Linux_7_3);
    let mut buffer = get(&mut example, &device, 0, 0, &[(0, 4096)]).unwrap();
    let [first, second] = [0, 1].map(|_| buffer.attach(&NEW, &near(DYNAMIC)).unwrap());
    buffer.map(first).unwrap();
    assert_eq!(buffer.revoke(), [first, second]);
    assert_eq!(buffer.revoke(), []);
    assert!(buffer.attachment(first).unwrap().stale);
    assert_eq!(buffer.map(second), Err(MapError::Revoked));
    assert_eq!(buffer.poll_revocation(false), Revocation::Fences);
    assert_eq!(buffer.unrevoke(), None);
    assert_eq!(buffer.poll_revocation(true), Revocation::Mappings(1));
    assert_eq!(buffer.unrevoke(), None);
    buffer.unmap(first);
    assert_eq!(buffer.poll_revocation(true), Revocation::Done);
    assert_eq!(buffer.map(first), Err(MapError::Revoked));
    assert_eq!(buffer.unrevoke(), Some(vec![first, second]));
    assert_eq!(buffer.poll_revocation(true), Revocation::None);
    assert!(buffer.map(first).is_ok());
}

#[test]
fn iommufd_imports_one_range_and_loses_it_for_good() {
    let (mut example, device) = device(Profile::Linux_7_3);
    let mut several = get(&mut example, &device, 0, 0, &[(0, 4096), (8192, 4096)]).unwrap();
    assert_eq!(ImportedPages::import(&NEW, &mut several), Err(ImportError::SeveralRanges));
    assert_eq!(ImportError::SeveralRanges.errno(), "EOPNOTSUPP");
    let mut buffer = get(&mut example, &device, 0, 0, &[(0, 4096)]).unwrap();
    let mut pages = ImportedPages::import(&NEW, &mut buffer).unwrap();
    assert_eq!(pages.memory(), buffer.exporter.vectors[0]);
    assert_eq!(buffer.revoke(), [pages.attachment]);
    pages.invalidated();
    assert!(pages.is_revoked() && pages.memory().length == Bytes::ZERO);
    let error = ImportedPages::import(&NEW, &mut buffer);
    assert_eq!(error, Err(ImportError::Attach(AttachError::Revoked)));
}

#[test]
fn regions_are_made_of_what_their_kind_allows() {
    let check = |kind, source, expect| assert_eq!(register(kind, source), expect, "{kind:?} of {source:?}");
    let page = RegionSource::Page;
    let remote = Err(RegionError::Pin(GupError::RemoteIo));
    check(RegionKind::Ordinary, page(MappedPage::PeerMemory), remote);
    check(RegionKind::Ordinary, page(MappedPage::Io), Err(RegionError::Pin(GupError::NoPage)));
    check(RegionKind::Ordinary, page(MappedPage::Ordinary), Ok(Region::Pinned(Pin::InPlace)));
    let out = Ok(Region::Pinned(Pin::AfterMigrationToRam));
    check(RegionKind::Ordinary, page(MappedPage::DeviceCoherent), out);
    check(RegionKind::OnDemand, page(MappedPage::PeerMemory), Ok(Region::PeerPage));
    check(RegionKind::OnDemand, page(MappedPage::DevicePrivate), Ok(Region::FaultToRam));
    check(RegionKind::OnDemand, page(MappedPage::Io), Err(RegionError::NoPage));
    let buffer = |revoked, page_aligned| RegionSource::DmaBuf { revoked, page_aligned };
    check(RegionKind::DmaBuf, buffer(false, false), Ok(Region::Buffer));
    check(RegionKind::DmaBuf, buffer(true, true), Err(RegionError::Revoked));
    check(RegionKind::DataDirect, buffer(false, false), Err(RegionError::Unsuited));
    check(RegionKind::DataDirect, buffer(false, true), Ok(Region::Buffer));
    check(RegionKind::Ordinary, buffer(false, true), Err(RegionError::Unsuited));
    assert_eq!(RegionError::Revoked.errno(), "EINVAL");
}

/// Which RDMA regions can be made of a BAR that VFIO exports.
#[test]
fn only_regions_that_let_go_attach_to_a_bar() {
    let (mut example, device) = device(Profile::Linux_7_3);
    for (kind, expect) in [
        (RegionKind::DmaBuf, None),
        (RegionKind::RevocableDmaBuf, None),
        (RegionKind::PinnedDmaBuf, Some(AttachError::NotRevocable)),
        (RegionKind::DataDirect, Some(AttachError::NotRevocable)),
    ] {
        let mut buffer = get(&mut example, &device, 0, 0, &[(0, 4096)]).unwrap();
        assert_eq!(buffer.attach(&NEW, &near(kind.importer())).err(), expect, "{kind:?}");
    }
    assert_eq!(RegionKind::RevocableDmaBuf.invalidated(), Invalidated::RevokedForEver);
    assert_eq!(RegionKind::DmaBuf.invalidated(), Invalidated::MappedAgainAtFault);
    assert_eq!(RegionKind::PinnedDmaBuf.invalidated(), Invalidated::Never);
}
