//! Non-transparent bridges: pairs of devices that are the two sides of one.

use std::collections::BTreeMap;

use super::context::{Context, Place};
use super::draft::DraftDevice;
use crate::codes;
use crate::file::{self, Leaf};
use crate::load::{list_words, nearest};

/// The pairs, by index of their devices.
pub(super) fn ntbs(ctx: &mut Context, given: &[file::Ntb], devices: &[DraftDevice]) -> Vec<(usize, usize)> {
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (index, ntb) in given.iter().enumerate() {
        let place = Place::default().element("ntbs", index);
        let from = side(ctx, &ntb.from, &place, "from", devices);
        let to = side(ctx, &ntb.to, &place, "to", devices);
        let (Some(from), Some(to)) = (from, to) else { continue };
        let taken = |device: usize| pairs.iter().any(|(one, other)| *one == device || *other == device);
        if from == to {
            let message = "both sides are the same device".to_owned();
            ctx.error(codes::LINK_TO_ITSELF, &place, message, "write the name of another device");
        } else if taken(from) || taken(to) {
            let message = "a side of this bridge is a side of another one".to_owned();
            ctx.error(codes::LINKED_TWICE, &place, message, "a bridge has two devices for itself");
        } else {
            pairs.push((from, to));
        }
    }
    pairs
}

/// The device that a side is.
fn side(
    ctx: &mut Context,
    leaf: &Option<Leaf<String>>,
    place: &Place,
    field: &'static str,
    devices: &[DraftDevice],
) -> Option<usize> {
    let name = ctx.require(leaf, place, field, "the name of a device")?;
    let names: BTreeMap<&str, usize> = devices
        .iter()
        .enumerate()
        .filter_map(|(index, device)| Some((device.name.as_deref()?, index)))
        .collect();
    let place = place.field(field);
    let Some(index) = names.get(name.as_str()).copied() else {
        let uncertain = devices.iter().any(|device| device.part.is_none() || device.name_lost);
        if !uncertain && !ctx.source.may_have_defined(&name) {
            let names: Vec<&str> = names.keys().copied().collect();
            let list = format!("devices: {}", list_words(&names, 30).replace(" or ", ", "));
            let help = match nearest(&name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? {list}"),
                None => list,
            };
            ctx.error(codes::UNKNOWN_DEVICE, &place, format!("there is no device `{name}`"), help);
        }
        return None;
    };
    let device = &devices[index];
    let part = device.part.as_ref()?;
    if part.ntb.is_none() {
        let message =
            format!("`{name}` is of part `{}`, which is no side of a non-transparent bridge", part.id);
        let help = "use a part with `ntb`, such as `pex-87xx-ntb`";
        ctx.error(codes::NOT_A_BRIDGE, &place, message, help);
        return None;
    }
    Some(index)
}
