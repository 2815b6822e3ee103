//! Which links run CXL, and which memory of devices the CPUs use through them.
//!
//! A link runs CXL when both of its ends can and it is fast enough: 68-byte flits from 8 GT/s on, 256-byte flits from
//! 64 GT/s on. Otherwise it is a PCIe link. A CPU reaches memory at the end of CXL links below one of its root ports, with
//! one switch between at most; more levels need routing by port, which is not modelled.

use peerbus_units::Bytes;

use crate::model::{FunctionIndex, Link, Machine, Role};

/// The slowest generation that CXL runs at.
const SLOWEST: u8 = 3;

/// Memory of a device that its CPU uses as its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CxlMemory {
    /// Index of the device.
    pub device: usize,
    /// Index of the CPU.
    pub cpu: usize,
    /// Its size.
    pub size: Bytes,
    /// Indices of the links to it, from the root port on.
    pub links: Vec<usize>,
}

/// Why the CPU does not see the memory of a device that has CXL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CxlProblem {
    /// It has no memory, or no link that is seen.
    Nothing,
    /// The link with that index is too slow.
    TooSlow(usize),
    /// What is above the link with that index has no CXL.
    NotAbove(usize),
    /// There is more than one switch between.
    TooDeep,
    /// The link with that index is divided into virtual channels, which CXL links are not.
    Divided(usize),
}

impl Machine {
    /// True when the link with that index runs CXL.
    pub fn runs_cxl(&self, link: usize) -> bool {
        let link = &self.links[link];
        self.lower_end_has_cxl(link) && self.upper_end_has_cxl(link) && can_run(link)
    }

    /// Every device memory that a CPU uses as its own, in order of devices.
    pub fn cxl_memories(&self) -> Vec<CxlMemory> {
        let with_cxl = (0..self.devices.len()).filter(|device| self.devices[*device].part.cxl.is_some());
        with_cxl.filter_map(|device| self.cxl_memory(device).ok()).collect()
    }

    /// The way to the memory of a device with CXL; or why there is none.
    ///
    /// # Errors
    ///
    /// The first problem on the way up, for a device whose part has `cxl`.
    pub fn cxl_memory(&self, device: usize) -> Result<CxlMemory, CxlProblem> {
        let this = &self.devices[device];
        let size = this.memory.filter(|size| size.0 > 0).ok_or(CxlProblem::Nothing)?;
        let mut links = Vec::new();
        let mut next = Some(this.link.ok_or(CxlProblem::Nothing)?);
        while let Some(index) = next {
            let link = &self.links[index];
            if !self.upper_end_has_cxl(link) {
                return Err(CxlProblem::NotAbove(index));
            }
            if link.virtual_channel.is_some() {
                return Err(CxlProblem::Divided(index));
            }
            if !can_run(link) {
                return Err(CxlProblem::TooSlow(index));
            }
            links.insert(0, index);
            next = link.upper.and_then(|port| self.link_above(port));
        }
        if links.len() > 2 {
            return Err(CxlProblem::TooDeep);
        }
        let bridge = self.functions[this.functions[0]].host_bridge;
        Ok(CxlMemory { device, cpu: self.host_bridges[bridge].cpu, size, links })
    }

    /// The link above the switch whose downstream port is `port`; `None` for a root port.
    fn link_above(&self, port: FunctionIndex) -> Option<usize> {
        let Role::SwitchDownstream(switch) = self.functions[port].role else { return None };
        let upstream = self.switches[switch].upstream;
        self.links.iter().position(|link| link.lower == upstream)
    }

    fn upper_end_has_cxl(&self, link: &Link) -> bool {
        match link.upper.map(|port| self.functions[port].role) {
            Some(Role::SwitchDownstream(switch)) => self.switches[switch].part.cxl,
            Some(Role::RootPort) => {
                let bridge = self.functions[link.lower].host_bridge;
                self.cpus[self.host_bridges[bridge].cpu].part.cxl.is_some()
            }
            // Ports that software cannot see are those that virtual machines leave out.
            _ => false,
        }
    }

    fn lower_end_has_cxl(&self, link: &Link) -> bool {
        match self.functions[link.lower].role {
            Role::Endpoint(device) => self.devices[device].part.cxl.is_some(),
            Role::SwitchUpstream(switch) => self.switches[switch].part.cxl,
            _ => false,
        }
    }
}

fn can_run(link: &Link) -> bool {
    link.generation >= SLOWEST && link.virtual_channel.is_none()
}
