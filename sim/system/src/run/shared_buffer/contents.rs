//! What is in a buffer: a version per chunk and place, and what it should be.

use peerbus_os::dma_buf::Placement;

/// Versions of all chunks.
#[derive(Clone, Debug)]
pub struct Contents {
    device: Vec<u64>,
    system: Vec<u64>,
    last: Vec<u64>,
    newest: u64,
}

impl Contents {
    /// A new buffer: the same in both places.
    pub fn new(chunks: u64) -> Contents {
        let all = vec![0; usize::try_from(chunks).unwrap_or(usize::MAX)];
        Contents { device: all.clone(), system: all.clone(), last: all, newest: 0 }
    }

    fn at(&mut self, place: Placement) -> &mut Vec<u64> {
        match place {
            Placement::Device => &mut self.device,
            Placement::System => &mut self.system,
        }
    }

    /// A write has arrived in that memory.
    pub fn write(&mut self, chunk: usize, place: Placement) {
        self.newest += 1;
        let version = self.newest;
        self.at(place)[chunk] = version;
        self.last[chunk] = version;
    }

    /// Whether a read of that memory finds what was written last.
    pub fn is_right(&mut self, chunk: usize, place: Placement) -> bool {
        self.at(place)[chunk] == self.last[chunk]
    }

    /// A chunk has been copied from the other memory.
    pub fn copy(&mut self, chunk: usize, to: Placement) {
        let other = if to == Placement::Device { Placement::System } else { Placement::Device };
        let version = self.at(other)[chunk];
        self.at(to)[chunk] = version;
    }

    /// A copy was refused on the way, by a link that is down: what was in the chunk is lost, and known to be.
    pub fn lose(&mut self, chunk: usize, to: Placement) {
        self.write(chunk, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_was_left_is_wrong() {
        let (device, system) = (Placement::Device, Placement::System);
        let mut contents = Contents::new(2);
        assert!(contents.is_right(1, device) && contents.is_right(1, system));
        contents.write(1, device);
        assert!(contents.is_right(1, device) && !contents.is_right(1, system));
        contents.copy(1, system);
        assert!(contents.is_right(1, system));
        contents.write(1, system);
        assert!(!contents.is_right(1, device) && contents.is_right(0, device));
        contents.copy(1, device);
        contents.lose(1, system);
        assert!(contents.is_right(1, system));
    }
}
