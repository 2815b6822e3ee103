//! [`Atc`]: a device's own cache of translations (PCI Express, Address Translation Services).
//!
//! An engine of a device whose ATS is enabled sends no request for an address that it has not asked about. What it asks is
//! a packet like any other, a translation request, to the root complex; there the IOMMU looks the address up, and the
//! completion tells the page. Requests then carry translated addresses: a root complex takes them as they are, and a
//! switch whose port permits it (ACS Direct Translated P2P) sends them straight to a peer although it redirects others.
//!
//! A few translation requests are under way at a time, those for the pages that the engines will come to next included.
//! For an address that has no translation, or whose translation request was refused, the device sends a request that is not
//! translated: where that leads is for the IOMMU to say. When software writes tables, everything is forgotten, as by
//! invalidation requests that take no time; an answer under way then is of no use any more.

use std::collections::{BTreeMap, VecDeque};

use peerbus_machine::registers::{DomainNumber, Translation};
use peerbus_units::{Bytes, DmaAddr, Iova};

use crate::cause::Cause;
use crate::cursor::AddressKind;
use crate::ledger::LatencyOf;
use crate::path::Decoded;
use crate::pause::leaf;
use crate::requester::{Active, Descriptor, Offer};
use crate::run::Fabric;
use crate::spec::{EngineId, FlowId, LinkId, NodeId};
use crate::tlp::{Attributes, Tlp};

/// Bytes of a completion of a translation request: one entry.
const ENTRY: Bytes = Bytes(8);
/// Bit of a token that tells page requests from translation requests.
const PAGE_TOKEN: u64 = 1 << 31;
/// log2 of the smallest page, which a translation request without an answer is for.
const SMALLEST: u32 = 12;

/// A page that the device knows, by its first address.
#[derive(Clone, Copy, Debug)]
struct Page {
    last: u64,
    /// To be added to an address; `None`: it has no translation.
    moved: Option<u64>,
    /// When it was used last.
    used: u64,
    /// It is known since then.
    since: u64,
}

/// State of a device's cache.
#[derive(Clone, Debug)]
pub(crate) struct Atc {
    pages: BTreeMap<u64, Page>,
    capacity: usize,
    /// Counts uses.
    clock: u64,
    /// First addresses of the smallest pages asked about, by number of the question; `None`: the number is free.
    asked: Vec<Option<u64>>,
    /// Questions whose answers are of no use any more.
    stale: Vec<bool>,
    /// Questions whose page is not there and which wait until they may ask for it, and how many do.
    waiting: VecDeque<usize>,
    pages_asked: usize,
    /// What its translation requests are counted for, once there was one.
    flow: Option<FlowId>,
}

impl Atc {
    pub fn new(entries: u16, requests: u16) -> Atc {
        let requests = usize::from(requests.max(1));
        Atc {
            pages: BTreeMap::new(),
            capacity: usize::from(entries.max(1)),
            clock: 0,
            asked: vec![None; requests],
            stale: vec![false; requests],
            waiting: VecDeque::new(),
            pages_asked: 0,
            flow: None,
        }
    }

    /// The page of `addr`: its ends, what to add, and since when it is known.
    fn find(&mut self, addr: u64) -> Option<(u64, Page)> {
        let (first, page) = self.pages.range_mut(..=addr).next_back()?;
        if page.last < addr {
            return None;
        }
        self.clock += 1;
        page.used = self.clock;
        Some((*first, *page))
    }

    /// Bytes from an address on that it asks about at most: a smallest page for every request that may be under way, but
    /// no more than leave room for the pages that are in use.
    fn ahead(&self) -> u64 {
        let pages = self.asked.len().min((self.capacity / 2).max(1));
        u64::try_from(pages).unwrap_or(1) << SMALLEST
    }

    fn knows(&self, addr: u64) -> bool {
        self.pages.range(..=addr).next_back().is_some_and(|(_, page)| page.last >= addr)
    }

    /// Keeps a page, in place of the one that was unused for longest.
    fn keep(&mut self, first: u64, last: u64, moved: Option<u64>, now: u64) {
        self.clock += 1;
        // A page that was larger, or smaller ones, until tables were written anew: there are none.
        let inside: Vec<u64> = self.pages.range(first..=last).map(|(first, _)| *first).collect();
        for old in inside {
            self.pages.remove(&old);
        }
        if self.pages.len() >= self.capacity
            && let Some(oldest) = self.pages.iter().min_by_key(|(_, page)| page.used).map(|(first, _)| *first)
        {
            self.pages.remove(&oldest);
        }
        self.pages.insert(first, Page { last, moved, used: self.clock, since: now });
    }

    /// A number for a question about the page of `addr`; `None` when it is being asked or too much is.
    fn question(&mut self, addr: u64) -> Option<usize> {
        let page = addr >> SMALLEST << SMALLEST;
        if self.asked.contains(&Some(page)) {
            return None;
        }
        let free = self.asked.iter().position(Option::is_none)?;
        (self.asked[free], self.stale[free]) = (Some(page), false);
        Some(free)
    }

    /// Forgets every page, and what answers under way will say.
    fn forget(&mut self) {
        self.pages.clear();
        self.stale.fill(true);
        for number in self.waiting.drain(..) {
            self.asked[number] = None;
        }
    }
}

impl Fabric {
    /// Turns `engine` to a descriptor that is ready and whose next address it has a translation for, or knows not to have
    /// one. Where there is none, the pages are asked for, and it is told what to wait for.
    pub(crate) fn turn_to_translated(&mut self, engine: EngineId) -> Option<Offer> {
        let node = self.spec.engines[engine.at()].node;
        let asked = self.ledger.atcs[node.at()].requests;
        let (now, count) = (self.state.now, self.state.engines[engine.at()].active.len());
        let turn = self.state.engines[engine.at()].turn;
        for step in 0..count {
            let turn = (turn + step) % count;
            let active = self.state.engines[engine.at()].active[turn];
            if active.ready <= now && (has_way(&active) || self.translate_at_device(engine, turn)) {
                self.state.engines[engine.at()].turn = turn;
                return None;
            }
        }
        if self.ledger.atcs[node.at()].requests > asked {
            // The questions may go out at once.
            return Some(Offer::At(now));
        }
        let later = self.state.engines[engine.at()].active.iter().map(|active| active.ready);
        Some(later.filter(|ready| *ready > now).min().map_or(Offer::Nothing, Offer::At))
    }

    /// Looks up the next address of a descriptor in the device's cache, and finds its way.
    fn translate_at_device(&mut self, engine: EngineId, turn: usize) -> bool {
        let active = self.state.engines[engine.at()].active[turn];
        let spec = &self.spec.engines[engine.at()];
        let node = spec.node;
        let own = active.attributes.has(Attributes::TRANSLATED);
        let requester = spec.requester.filter(|_| !own);
        let domain = requester.and_then(|requester| self.decode.domain_of(requester));
        let Some(atc) = self.state.atcs[node.at()].as_mut().filter(|_| domain.is_some()) else { return true };
        let found = atc.find(active.addr);
        let Some((first, page)) = found else {
            self.ask_ahead(node, active.addr, active.left);
            return false;
        };
        self.ledger.atcs[node.at()].hits += 1;
        if let Some(moved) = page.moved {
            let to = active.addr.wrapping_add(moved);
            let way = self.decode_as(engine, to, AddressKind::Translated);
            let [first, last] = [first, page.last].map(|end| end.wrapping_add(moved));
            let decoded = Decoded {
                first: way.first.max(first).wrapping_sub(moved),
                last: way.last.min(last).wrapping_sub(moved),
                moved,
                attributes: Attributes::TRANSLATED,
                ..way
            };
            self.state.engines[engine.at()].active[turn].decoded = Some(decoded);
            self.ledger.flows[usize::from(active.flow)].route = Some(decoded.route);
        }
        self.state.engines[engine.at()].active[turn].translated = page.since;
        let behind = (page.last - active.addr).saturating_add(1);
        if behind < active.left {
            self.ask_ahead(node, active.addr.wrapping_add(behind), active.left - behind);
        }
        true
    }

    /// Asks for the page of `addr` and, as far as requests are left, for those behind it that the next `left` bytes lie in.
    fn ask_ahead(&mut self, node: NodeId, addr: u64, left: u64) {
        let Some(engine) = self.spec.nodes[node.at()].atc.map(|atc| atc.engine) else { return };
        let last = addr.saturating_add(left - 1);
        let ahead = self.state.atcs[node.at()].as_ref().map_or(0, Atc::ahead);
        let mut page = addr;
        loop {
            let Some(atc) = &mut self.state.atcs[node.at()] else { return };
            if atc.asked.iter().all(Option::is_some) {
                return;
            }
            let number = if atc.knows(page) { None } else { atc.question(page) };
            if let Some(number) = number {
                self.ask(node, engine, page, number);
            }
            match (page >> SMALLEST << SMALLEST).checked_add(1 << SMALLEST) {
                Some(next) if next <= last && next - addr < ahead => page = next,
                _ => return,
            }
        }
    }

    fn ask(&mut self, node: NodeId, engine: EngineId, addr: u64, number: usize) {
        self.ledger.atcs[node.at()].requests += 1;
        self.put_question(node, engine, addr, number, Attributes::TRANSLATION_REQUEST);
    }

    /// Sends question `number` about the page of `addr`: a translation request, or a page request.
    fn put_question(&mut self, node: NodeId, engine: EngineId, addr: u64, number: usize, kind: Attributes) {
        let known = self.state.atcs[node.at()].as_ref().and_then(|atc| atc.flow);
        let flow = known.unwrap_or_else(|| self.add_flow(LatencyOf::Request));
        if let Some(atc) = &mut self.state.atcs[node.at()] {
            atc.flow = Some(flow);
        }
        let page_request = if kind.has(Attributes::PAGE_REQUEST) { PAGE_TOKEN } else { 0 };
        let token = u64::from(node.0) << 32 | page_request | u64::try_from(number).unwrap_or(0);
        let page = DmaAddr(addr >> SMALLEST << SMALLEST);
        let descriptor = Descriptor::new(engine, page, ENTRY, flow, token);
        self.submit(Descriptor { attributes: kind, ..descriptor });
    }

    /// A translation request has come to the root complex by `link`, and is answered when its page has been looked up.
    pub(crate) fn look_up_for_device(&mut self, link: LinkId, tlp: &Tlp, route: u32, node: NodeId) {
        let now = self.state.now;
        self.return_credits(link, tlp, now);
        if tlp.attributes.has(Attributes::PAGE_REQUEST) {
            self.ledger.iommus[node.at()].page_requests += 1;
            let requester = self.spec.engines[usize::from(tlp.engine)].requester;
            let domain = requester.and_then(|requester| self.decode.domain_of(requester));
            let ready = now + self.time_to_bring(domain, tlp.addr);
            self.charge(tlp.flow, Cause::Software, ready - now);
            self.died(tlp.flow, ready);
            self.answer(route, tlp, ready, false);
            return;
        }
        let requester = self.spec.engines[usize::from(tlp.engine)].requester;
        let domain = requester.and_then(|requester| self.decode.domain_of(requester));
        let ready =
            domain.and_then(|domain| self.look_up(domain, node, tlp.addr)).map_or(now, |found| found.ready);
        self.charge(tlp.flow, Cause::Translation, ready - now);
        self.died(tlp.flow, ready);
        self.answer(route, tlp, ready, false);
    }

    /// The answer to question `token` has come, or will not.
    #[cold]
    pub(crate) fn translation_done(&mut self, token: u64, refused: bool) {
        let node = NodeId(u32::try_from(token >> 32).unwrap_or(0));
        let number = usize::try_from(token & (PAGE_TOKEN - 1)).unwrap_or(0);
        let brought = token & PAGE_TOKEN != 0;
        let now = self.state.now;
        let cut_off = self.is_cut_off(node).is_some();
        let Some(engine) = self.spec.nodes[node.at()].atc.map(|atc| atc.engine) else { return };
        let requester = self.spec.engines[engine.at()].requester;
        let domain = requester.and_then(|requester| self.decode.domain_of(requester));
        if brought {
            self.page_is_brought(node, number, domain.filter(|_| !refused));
        }
        let Some(atc) = &mut self.state.atcs[node.at()] else { return };
        let usable = !atc.stale[number] && !cut_off && !refused;
        if let (true, Some(page), Some(domain)) = (usable, atc.asked[number], domain) {
            if brought {
                self.ask(node, engine, page, number);
                return;
            }
            if self.is_absent(domain, page) && self.page_requests(node) > 0 {
                self.request_page(node, number);
                return;
            }
        }
        let Some(atc) = &mut self.state.atcs[node.at()] else { return };
        let page = atc.asked[number].take().filter(|_| !atc.stale[number] && !cut_off);
        if let (Some(page), Some(domain)) = (page, domain) {
            let mapped =
                matches!(self.decode.iommu.translate(domain, Iova(page)), Translation::Mapped { .. });
            let (shift, moved) = leaf(&self.decode.iommu, domain, page);
            let mask = (1u64 << shift) - 1;
            let good = mapped && !refused;
            self.ledger.atcs[node.at()].denied += u64::from(!good);
            atc.keep(page & !mask, page | mask, good.then_some(moved), now);
        }
        // Whoever waits for it tries again, or asks again.
        if let Some(link) = self.spec.nodes[node.at()].upstream {
            self.wake(link, now);
        }
    }

    /// Question `number` of a device has found that its page is not there: the device asks for the page, if no more are being
    /// brought than it may ask for.
    fn request_page(&mut self, node: NodeId, number: usize) {
        let most = self.page_requests(node);
        let Some(engine) = self.spec.nodes[node.at()].atc.map(|atc| atc.engine) else { return };
        let Some(atc) = &mut self.state.atcs[node.at()] else { return };
        if atc.pages_asked >= most {
            atc.waiting.push_back(number);
            return;
        }
        let Some(page) = atc.asked[number] else { return };
        atc.pages_asked += 1;
        self.ledger.atcs[node.at()].page_requests += 1;
        let kind = Attributes::TRANSLATION_REQUEST.with(Attributes::PAGE_REQUEST);
        self.put_question(node, engine, page, number, kind);
    }

    /// The answer to a page request has come, or will not: the next one may be sent.
    fn page_is_brought(&mut self, node: NodeId, number: usize, domain: Option<DomainNumber>) {
        let Some(atc) = &mut self.state.atcs[node.at()] else { return };
        let page = atc.asked[number];
        atc.pages_asked = atc.pages_asked.saturating_sub(1);
        let next = atc.waiting.pop_front();
        if let (Some(page), Some(domain)) = (page, domain) {
            self.page_in(domain, page);
        }
        if let Some(next) = next {
            self.request_page(node, next);
        }
    }

    /// Software has written tables: no device keeps what they said.
    pub(crate) fn invalidate_devices(&mut self) {
        for (atc, ledger) in self.state.atcs.iter_mut().zip(&mut self.ledger.atcs) {
            if let Some(atc) = atc {
                atc.forget();
                ledger.invalidations += 1;
            }
        }
    }

    /// A device is reset.
    pub(crate) fn reset_translations(&mut self, node: NodeId) {
        if let Some(atc) = &mut self.state.atcs[node.at()] {
            atc.forget();
        }
    }

    /// The engine whose answers `engine` waits for, if nothing else keeps it from sending.
    pub(crate) fn waits_for_translation(&self, engine: EngineId) -> Option<EngineId> {
        let state = &self.state.engines[engine.at()];
        let node = self.spec.engines[engine.at()].node;
        let waits = state.translates && !state.active.is_empty() && !state.active.iter().any(has_way);
        self.spec.nodes[node.at()].atc.filter(|_| waits).map(|atc| atc.engine)
    }
}

/// True when the way of a descriptor's next request is known.
fn has_way(active: &Active) -> bool {
    active.decoded.is_some_and(|way| (way.first..=way.last).contains(&active.addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_unused_for_longest_goes() {
        let mut atc = Atc::new(2, 4);
        atc.keep(0x1000, 0x1fff, Some(5), 10);
        atc.keep(0x20_0000, 0x3f_ffff, Some(7), 20);
        assert_eq!(atc.find(0x1abc).map(|(first, page)| (first, page.moved)), Some((0x1000, Some(5))));
        atc.keep(0x40_0000, 0x40_0fff, None, 30);
        assert!(!atc.knows(0x20_0000) && atc.knows(0x1000) && atc.knows(0x40_0fff));
        assert_eq!(atc.find(0x2000).map(|(first, _)| first), None);
    }

    #[test]
    fn a_page_is_asked_for_once_and_a_few_at_a_time() {
        let mut atc = Atc::new(8, 2);
        assert_eq!(
            [0x1000, 0x1fff, 0x2000, 0x3000].map(|addr| atc.question(addr)),
            [Some(0), None, Some(1), None]
        );
        atc.forget();
        assert_eq!(atc.stale, [true, true]);
    }
}
