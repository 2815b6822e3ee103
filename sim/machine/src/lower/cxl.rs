//! Memory of CXL devices: what no CPU can reach is said.

use super::context::{Context, Place};
use crate::codes;
use crate::cxl::CxlProblem;
use crate::model::Machine;

/// Warns of devices with CXL whose memory no CPU sees. `places` are those of the devices.
pub(super) fn check(ctx: &mut Context, machine: &Machine, places: &[Place]) {
    for (device, place) in places.iter().enumerate() {
        if machine.devices[device].part.cxl.is_none() {
            continue;
        }
        let Err(problem) = machine.cxl_memory(device) else { continue };
        let name = &machine.devices[device].name;
        let at = |link: usize| machine.links[link].name.clone();
        let (why, help) = match problem {
            CxlProblem::Nothing => ("it has no memory, or no link".to_owned(), "give it `memory` and a port"),
            CxlProblem::TooSlow(link) => {
                (format!("the link to {} is slower than generation 3", at(link)), "make the link faster")
            }
            CxlProblem::NotAbove(link) => {
                let why = format!("what is above the link to {} has PCIe only", at(link));
                (why, "use a CPU part and a switch part with `cxl`")
            }
            CxlProblem::TooDeep => {
                ("more than one switch lies between".to_owned(), "put it below a root port or its switch")
            }
            CxlProblem::Divided(link) => {
                let why = format!("the link to {} is divided into virtual channels", at(link));
                (why, "leave `virtual_channel` out")
            }
        };
        let message = format!("no CPU can use the memory of {name} by CXL: {why}");
        ctx.warning(codes::NO_CXL, place, message, help);
    }
}
