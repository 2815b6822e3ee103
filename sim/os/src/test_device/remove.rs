//! A device goes, perhaps with pages out.

use super::Eviction;
use crate::hmm::Step;
use crate::migrate;
use crate::mm::{DeviceId, Errno, Mm, Wait};

/// The removal of a device: its page maps give out nothing any more, what is in its memory is brought home, and it is gone
/// with the last page that somebody held. Processes go on all the while, and may bring pages home themselves.
#[derive(Clone, Debug)]
pub struct Removal {
    device: DeviceId,
    eviction: Option<Eviction>,
}

impl Removal {
    /// Starts: nothing moves to the device from now on.
    ///
    /// # Errors
    ///
    /// `NoEntry` for an unknown device, `Busy` if it is being removed.
    pub fn start(mm: &mut Mm, device: DeviceId) -> Result<Removal, Errno> {
        mm.end_page_maps(device)?;
        Ok(Removal { device, eviction: None })
    }

    /// Goes on to the next point where Linux could sleep. It waits for pages that others hold, however long.
    pub fn step(&mut self, mm: &mut Mm) -> Step<()> {
        let Some(eviction) = &mut self.eviction else {
            self.eviction = Some(Eviction::start(mm, self.device));
            return Step::Go;
        };
        if !eviction.step(mm) {
            return Step::Go;
        }
        self.eviction = None;
        if !migrate::device_pages(mm, self.device).is_empty() {
            return Step::Wait(Wait::PagesOut(self.device));
        }
        mm.forget_device(self.device);
        Step::Done(())
    }
}
