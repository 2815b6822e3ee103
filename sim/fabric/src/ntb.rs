//! Non-transparent bridges: what is sent to a window of one side goes on in the hierarchy of the other.
//!
//! Each side is an endpoint of its own hierarchy, and the two know nothing of each other's addresses and ids. A request for
//! a window goes on behind the other side with an address that begins where the window leads, and with the id of that side
//! (Requester ID Translation); its table of requesters says whom a completion is for when one comes back for that id. A
//! requester that the table does not hold has nobody to be answered for: its requests are Unsupported Requests, as are
//! those for a window that leads nowhere. The id of a root complex, which a core's requests have, is always in the table.
//!
//! An IOMMU of the other host sees the id of the bridge's side, and translates in the domain of that.

use std::collections::BTreeSet;

use peerbus_machine::model::{FunctionIndex, Machine};
use peerbus_units::{Address, BusAddr, Range};

use crate::cursor::{AddressKind, Cursor};
use crate::decode::{Decode, MissKind, Next};
use crate::path::way_back;
use crate::run::Fabric;
use crate::spec::{LinkId, NodeId, Spec};
use crate::tlp::Tlp;

/// Number of a window: six for each device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WindowNumber(u32);

impl WindowNumber {
    fn new(device: usize, bar: u8) -> WindowNumber {
        WindowNumber(u32::try_from(device).unwrap_or(u32::MAX / 6) * 6 + u32::from(bar))
    }

    fn device(self) -> usize {
        self.0 as usize / 6
    }

    fn bar(self) -> u8 {
        u8::try_from(self.0 % 6).unwrap_or(0)
    }
}

/// A side of a bridge.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    device: usize,
    /// Its function, which has the windows.
    function: FunctionIndex,
    /// The other side's, whose id requests have behind it.
    other: FunctionIndex,
    /// The link to the other side.
    link: LinkId,
    /// BARs that are windows, and where each leads.
    windows: Vec<(u8, Option<u64>)>,
    requesters: BTreeSet<FunctionIndex>,
    most_requesters: usize,
}

/// The sides of all bridges of `machine`.
pub(crate) fn sides(machine: &Machine, spec: &Spec) -> Vec<Side> {
    let both = machine.ntbs.iter().flat_map(|(one, other)| [(*one, *other), (*other, *one)]);
    let side = |(device, other): (usize, usize)| {
        let part = machine.devices[device].part.ntb.as_ref()?;
        Some(Side {
            device,
            function: machine.devices[device].functions[0],
            other: machine.devices[other].functions[0],
            link: spec.link_between(spec.device(device), spec.device(other))?,
            windows: part.windows.iter().map(|bar| (*bar, None)).collect(),
            requesters: BTreeSet::new(),
            most_requesters: usize::from(part.requesters),
        })
    };
    both.filter_map(side).collect()
}

impl Decode {
    /// What becomes of a request for an address in BAR `bar` of `function`, if that is a window.
    pub(crate) fn through_window(
        &self,
        node: NodeId,
        (function, bar): (FunctionIndex, (u8, Range<BusAddr>)),
        cursor: &mut Cursor,
    ) -> Option<Next> {
        let side = self.sides.iter().find(|side| side.function == function)?;
        let (number, range) = bar;
        let (_, to) = side.windows.iter().find(|(window, _)| *window == number)?;
        let name = &self.functions[function.index()].name;
        let refuse =
            |cursor: &Cursor, text: String| Some(self.refuse(MissKind::Unclaimed, node, cursor, text));
        if cursor.kind() == AddressKind::Question {
            return refuse(cursor, format!("{name} translates no addresses for devices"));
        }
        if let Some(requester) = cursor.requester().filter(|id| !side.requesters.contains(id)) {
            let requester = &self.functions[requester.index()].name;
            return refuse(cursor, format!("{requester} is not in the table of requesters of {name}"));
        }
        let Some(to) = to else {
            return refuse(cursor, format!("the window of {name} at {range} leads nowhere"));
        };
        cursor.translate(range.first().raw(), *to);
        cursor.pass_bridge(side.other);
        Some(Next::Bridge(side.link, WindowNumber::new(side.device, number)))
    }

    /// What `window` adds to addresses.
    fn shift(&self, window: WindowNumber) -> u64 {
        let side = self.sides.iter().find(|side| side.device == window.device());
        let shift = side.and_then(|side| {
            let (_, to) = side.windows.iter().find(|(bar, _)| *bar == window.bar())?;
            let bars = &self.functions[side.function.index()].bars;
            let (_, range) = bars.iter().find(|(bar, _)| *bar == window.bar())?;
            Some((*to)?.wrapping_sub(range.first().raw()))
        });
        shift.unwrap_or(0)
    }
}

impl Fabric {
    /// Lets window `bar` of `device`, one side of a non-transparent bridge, lead to `to` in the hierarchy of the other side:
    /// a bus address there, or where an IOMMU translates an address of the other side's domain. False when there is no such
    /// window.
    pub fn lead_window(&mut self, device: usize, bar: u8, to: u64) -> bool {
        let mut sides = self.decode.sides.iter_mut().filter(|side| side.device == device);
        let window = sides.find_map(|side| side.windows.iter_mut().find(|(window, _)| *window == bar));
        let Some((_, leads)) = window else { return false };
        *leads = Some(to);
        self.tables_were_written();
        true
    }

    /// Puts `requester` into the table of requesters of `device`, one side of a non-transparent bridge. False when it is none,
    /// or the table is full.
    pub fn admit_requester(&mut self, device: usize, requester: FunctionIndex) -> bool {
        let Some(side) = self.decode.sides.iter_mut().find(|side| side.device == device) else {
            return false;
        };
        if side.requesters.len() == side.most_requesters && !side.requesters.contains(&requester) {
            return false;
        }
        side.requesters.insert(requester);
        self.tables_were_written();
        true
    }

    /// Links of the non-transparent bridges that `tlp`, a request, has come through.
    pub(crate) fn bridges_before(&self, tlp: &Tlp) -> Vec<LinkId> {
        // Hops of a route stand one after the other, and only its last one has an end.
        let before = self.routes.hops[..tlp.hop as usize].iter().rev().take_while(|hop| hop.ends.is_none());
        let mut bridges = way_back(&self.spec, before.map(|hop| hop.link));
        bridges.reverse();
        bridges
    }

    /// The address behind `window` of a request for `addr`.
    pub(crate) fn behind_window(&self, window: WindowNumber, addr: u64) -> u64 {
        addr.wrapping_add(self.decode.shift(window))
    }
}
