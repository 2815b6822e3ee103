//! Which part of the catalogue a captured function stands for: by its ids, else by its class.

use super::facts::Facts;
use crate::catalogue::Catalogue;
use crate::part::{DeviceKind, DevicePart, PciId, SwitchPart};

/// A part, and why it was taken although the ids do not name it.
pub struct Choice<'c, P> {
    /// The part.
    pub part: &'c P,
    /// The reason in words.
    pub guess: Option<String>,
}

/// The catalogue as the importer asks it.
#[derive(Clone, Copy)]
pub struct Parts<'c> {
    catalogue: &'c Catalogue,
    switch: &'c SwitchPart,
    bridge: &'c SwitchPart,
    device: &'c DevicePart,
}

impl<'c> Parts<'c> {
    /// Asks `catalogue`.
    ///
    /// # Panics
    ///
    /// When it lacks `generic-switch`, `generic-pci-bridge` or a generic device; the shipped one has them.
    pub fn new(catalogue: &'c Catalogue) -> Parts<'c> {
        let lacks = |what: &str| -> ! { panic!("the catalogue has no generic {what}") };
        Parts {
            catalogue,
            switch: catalogue.find_switch("generic-switch").unwrap_or_else(|| lacks("switch")),
            bridge: catalogue.find_switch("generic-pci-bridge").unwrap_or_else(|| lacks("PCI bridge")),
            device: catalogue.generic_device(DeviceKind::Other, None).unwrap_or_else(|| lacks("device")),
        }
    }

    /// The part of a device.
    pub fn device(self, function: &Facts) -> Choice<'c, DevicePart> {
        if let Some(part) = function.pci.and_then(|pci| self.catalogue.device_by_pci(pci)) {
            return Choice { part, guess: None };
        }
        let class = function.class.unwrap_or(0xff_0000);
        let part = self.catalogue.device_by_class(class, DeviceKind::of_class(class)).unwrap_or(self.device);
        // What nobody simulates traffic to needs no word.
        let guess = (part.kind != DeviceKind::Other)
            .then(|| format!("{}; by its class {class:#08x} taken as {}", known(function.pci), part.id));
        Choice { part, guess }
    }

    /// The part of a switch with `ports` downstream ports, or of a bridge to a conventional bus. A part with fewer ports
    /// or lanes than are in use is not it.
    pub fn switch(
        self,
        function: &Facts,
        conventional: bool,
        ports: usize,
        lanes: u8,
    ) -> Choice<'c, SwitchPart> {
        if conventional {
            return Choice { part: self.bridge, guess: None };
        }
        let by_id = function.pci.and_then(|pci| self.catalogue.switch_by_pci(pci));
        let enough = |part: &&SwitchPart| {
            let lanes_needed = (ports + 1) * usize::from(part.lanes.min(lanes.max(1)));
            usize::from(part.ports) > ports && usize::from(part.total_lanes) >= lanes_needed
        };
        match by_id.filter(enough) {
            Some(part) => Choice { part, guess: None },
            None => {
                let guess = format!("{}; taken as {}", known(function.pci), self.switch.id);
                Choice { part: self.switch, guess: Some(guess) }
            }
        }
    }
}

fn known(pci: Option<PciId>) -> String {
    match pci {
        Some(pci) => format!("{:04x}:{:04x} is not in the catalogue", pci.vendor, pci.device),
        None => "no PCI id is shown".to_owned(),
    }
}
