//! Traffic classes: packets of a class other than 0 have an engine of their own, where any link tells classes apart.

use peerbus_fabric::{Direction, EngineSpec};

use super::flow::Leg;
use super::schedule::Planner;
use crate::workload::Packets;

impl Planner<'_> {
    /// `leg` with the traffic class that `packets` say. A device has an engine per class: one queue would let a class that
    /// waits for buffers hold up another. On machines without virtual channels classes make no difference, and on private
    /// links there are none.
    pub(super) fn in_class(&mut self, leg: Leg, packets: Packets) -> Result<Leg, String> {
        let class = packets.traffic_class;
        if class == 0 || leg.private.is_some() || leg.engine.is_some() || !self.spec.has_channels() {
            return Ok(leg);
        }
        let own = match leg.direction {
            Direction::Write => self.spec.writer(leg.device),
            Direction::Read => self.spec.reader(leg.device),
        };
        let own = &self.spec.engines[usize::try_from(own.0).unwrap_or(usize::MAX)];
        let name = format!("{}.tc{class}", own.name);
        let known = self.schedule.engines.iter().position(|engine| engine.name == name);
        let engine = match known {
            Some(known) => known,
            None => {
                let link = own.link.map(|link| self.spec.channel(link, class));
                self.add_engine(EngineSpec { name, traffic_class: class, link, ..own.clone() })?
            }
        };
        Ok(Leg { engine: Some(engine), ..leg })
    }
}
