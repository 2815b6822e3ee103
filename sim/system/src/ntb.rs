//! Non-transparent bridges, as drivers of both hosts set them up: which device of this host sends through which window to what
//! of the other host.

use peerbus_machine::Machine;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::expand;

/// What a driver puts into the table of requesters of one side of a bridge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Requesters {
    /// The side: the device that requesters send to.
    pub device: String,
    /// Devices, by name or pattern, of which the first functions are in the table.
    pub requesters: Vec<String>,
}

/// The two sides of a bridge, by index of their devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sides {
    /// The side that is sent to.
    pub here: usize,
    /// The side in the other host.
    pub there: usize,
}

/// The bridge of which `device` is a side.
///
/// # Errors
///
/// In words: there is no such device, or it is no side of a bridge.
pub fn sides(machine: &Machine, device: &str) -> Result<Sides, String> {
    let here =
        expand::single(machine, device).ok_or_else(|| format!("`{device}` names no device, or several"))?;
    let pair = machine.ntbs.iter().find_map(|(one, other)| match here {
        _ if here == *one => Some(*other),
        _ if here == *other => Some(*one),
        _ => None,
    });
    let name = &machine.devices[here].name;
    match pair {
        Some(there) => Ok(Sides { here, there }),
        None => Err(format!("`{name}` is no side of a non-transparent bridge")),
    }
}

/// The devices that `requesters` puts into the table of its side.
///
/// # Errors
///
/// In words: it is no side, names no device, or more than the table holds.
pub fn table(machine: &Machine, requesters: &Requesters) -> Result<(usize, Vec<usize>), String> {
    let Sides { here, .. } = sides(machine, &requesters.device)?;
    for pattern in &requesters.requesters {
        if expand::devices(machine, pattern).is_empty() {
            return Err(format!("no device is called `{pattern}`"));
        }
    }
    let devices = expand::device_list(machine, &requesters.requesters);
    let most = machine.devices[here].part.ntb.as_ref().map_or(0, |ntb| usize::from(ntb.requesters));
    if devices.len() > most {
        let name = &machine.devices[here].name;
        return Err(format!(
            "{} requesters do not fit the table of `{name}`, which holds {most}",
            devices.len()
        ));
    }
    Ok((here, devices))
}
