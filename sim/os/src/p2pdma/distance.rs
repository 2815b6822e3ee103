//! Distances to clients, the cache of map types they fill, and the search for the nearest provider.

use alloc::vec::Vec;

use peerbus_units::FunctionId;

use super::{MapType, Message, P2pdma, resolve, warnings};
use crate::ConfigSpace;
use crate::pci::{FunctionIndex, Tree};

/// A device that wants to reach peer memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// A PCI function.
    Function(FunctionIndex),
    /// Another device (a USB adapter, a virtual RDMA device) and the nearest PCI function above it. Distances are that
    /// function's, but nothing can be mapped for it.
    Below(FunctionIndex),
    /// A device with no PCI function above it.
    NotPci,
}

impl P2pdma {
    /// The kernel's `calc_map_type_and_dist`: type and distance, remembered by the provider if it has state. What it
    /// warns about goes to the log.
    pub fn calculate(
        &mut self,
        tree: &Tree,
        cs: &impl ConfigSpace,
        provider: FunctionIndex,
        client: FunctionIndex,
        verbose: bool,
    ) -> (MapType, u32) {
        let resolution = resolve(tree, cs, &self.cpu, &self.rules, provider, client);
        let (from, to) = (tree[provider].id, tree[client].id);
        let said = warnings(tree, &resolution, verbose);
        self.log.extend(said.into_iter().map(|warning| Message::Pair {
            provider: from,
            client: to,
            warning,
        }));
        if let Some(state) = self.functions.get_mut(&from) {
            state.types.insert(to, resolution.map_type);
        }
        (resolution.map_type, resolution.distance)
    }

    /// The type remembered for a client; none without state or before the first calculation.
    pub fn cached(&self, provider: FunctionId, client: FunctionId) -> Option<MapType> {
        self.functions.get(&provider)?.types.get(&client).copied()
    }

    /// Sum of the distances to all clients, or none (the kernel: −1) when there is no client, one is not PCI, or one
    /// is not supported. Silent calls stop at the first such client; verbose ones look at the others too.
    pub fn distance_many(
        &mut self,
        tree: &Tree,
        cs: &impl ConfigSpace,
        provider: FunctionIndex,
        clients: &[Client],
        verbose: bool,
    ) -> Option<u32> {
        let (mut total, mut supported) = (0u32, !clients.is_empty());
        for client in clients {
            let (Client::Function(function) | Client::Below(function)) = *client else {
                self.log.extend(verbose.then_some(Message::NotPci));
                return None;
            };
            let (map_type, distance) = self.calculate(tree, cs, provider, function, verbose);
            supported &= map_type != MapType::NotSupported;
            if !supported && !verbose {
                break;
            }
            total = total.saturating_add(distance);
        }
        supported.then_some(total)
    }

    /// [`P2pdma::distance_many`] with one client.
    pub fn distance(
        &mut self,
        tree: &Tree,
        cs: &impl ConfigSpace,
        provider: FunctionIndex,
        client: Client,
        verbose: bool,
    ) -> Option<u32> {
        self.distance_many(tree, cs, provider, &[client], verbose)
    }

    /// The published providers nearest to all clients, in order of enumeration; no more than a page has pointers.
    pub fn nearest(&mut self, tree: &Tree, cs: &impl ConfigSpace, clients: &[Client]) -> Vec<FunctionIndex> {
        let limit = 1usize << (self.page_order - 3);
        let (mut best, mut list) = (u32::MAX >> 1, Vec::new());
        for (function, _) in tree.iter() {
            if !self.is_published(tree[function].id) {
                continue;
            }
            let Some(distance) = self.distance_many(tree, cs, function, clients, false) else { continue };
            if distance > best || distance == best && list.len() >= limit {
                continue;
            }
            if distance < best {
                list.clear();
                best = distance;
            }
            list.push(function);
        }
        list
    }

    /// One of [`P2pdma::nearest`], by one number drawn from `random`, a source of uniform 32-bit numbers: the kernel's
    /// `pci_p2pmem_find_many`. (Without bias, rarely more than one is needed.)
    pub fn find_many(
        &mut self,
        tree: &Tree,
        cs: &impl ConfigSpace,
        clients: &[Client],
        random: &mut impl FnMut() -> u32,
    ) -> Option<FunctionIndex> {
        let list = self.nearest(tree, cs, clients);
        let count = u32::try_from(list.len()).ok().filter(|count| *count > 0)?;
        let at = if self.rules().unbiased_draw { unbiased(count, random) } else { scaled(count, random()).0 };
        list.get(at as usize).copied()
    }
}

/// `number` as a fraction of 2^32, times `count`: the whole part, below `count`, and the rest.
fn scaled(count: u32, number: u32) -> (u32, u32) {
    let product = u64::from(count) * u64::from(number);
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
    (half(product >> 32), half(product))
}

/// As `scaled`, drawing again where a rest tells that a result would come up once too often (Lemire 2019).
fn unbiased(count: u32, random: &mut impl FnMut() -> u32) -> u32 {
    let surplus = count.wrapping_neg() % count;
    loop {
        let (at, rest) = scaled(count, random());
        if rest >= surplus {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_below_the_count_and_reach_all() {
        for count in [1, 2, 3, 7, 512] {
            let mut numbers = (0..=u32::MAX).step_by(1 << 20).chain(core::iter::repeat(u32::MAX));
            let mut seen = alloc::vec![0; usize::try_from(count).unwrap()];
            for _ in 0..4096 {
                let at = unbiased(count, &mut || numbers.next().unwrap());
                seen[usize::try_from(at).unwrap()] += 1;
            }
            assert!(seen.iter().all(|times| *times > 0), "{count}: {seen:?}");
        }
        // 2^32 leaves a rest of 1 over 3: the number 0 is drawn again.
        let mut numbers = [0, u32::MAX].into_iter();
        assert_eq!(unbiased(3, &mut || numbers.next().unwrap()), 2);
        assert_eq!(scaled(3, 0).0, 0);
    }
}
