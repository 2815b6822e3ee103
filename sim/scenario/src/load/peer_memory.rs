//! `PeerMemory` as written → [`peerbus_system::peer_memory`], and whether it fits a machine.

use peerbus_machine::Machine;
use peerbus_machine::file::Leaf;
use peerbus_system::expand::devices;
use peerbus_system::peer_memory::{
    Distribution, LARGEST_REQUEST, LONGEST_LIFE, MOST_OUTSTANDING, MOST_REQUESTS, PeerMemory, Policy,
    Provider, Quantity, Transfer,
};
use peerbus_units::Bytes;
use serde::de::DeserializeOwned;

use super::context::{Context, Place};
use crate::{codes, file};

const DEFAULT_OUTSTANDING: u32 = 32;
const DEFAULT_REQUESTS: u64 = 1_000;
const LARGEST_BAR: u8 = 5;
/// 2^63: the largest power of two, hence the largest BAR and alignment.
const HALF_OF_ALL: u64 = 1 << 63;

const SIZES: &str = "a distribution of sizes, such as Fixed(\"64KiB\")";
const TIMES: &str = "a distribution of times, such as Exponential(\"20us\")";

impl Context<'_> {
    /// The workload at `place`.
    pub fn peer_memory(&mut self, given: &file::PeerMemory, place: &Place) -> Option<PeerMemory> {
        let name = self.name(&given.name, place);
        let providers = self.providers(given, place);
        let target = self.target(given, place);
        let clients = self.devices(&given.clients, place, "clients");
        let publish = match &given.publish {
            None => Some(true),
            given => self.take(given, place, "publish", "true or false"),
        };
        let choose = self.choice(&given.choose, place, "choose");
        let policy = self.policy(given, place);
        let user = self.choice(&given.user, place, "user");
        let sizes = self.request_sizes(&given.sizes, place);
        let lifetimes = self.distribution(&given.lifetimes, place, "lifetimes", TIMES);
        let intervals = self.distribution(&given.intervals, place, "intervals", TIMES);
        let outstanding =
            self.count(&given.outstanding, place, "outstanding", 1..=MOST_OUTSTANDING, DEFAULT_OUTSTANDING);
        let requests = self.count(&given.requests, place, "requests", 1..=MOST_REQUESTS, DEFAULT_REQUESTS);
        let transfer = self.choice(&given.transfer, place, "transfer");
        let refused = self.when_refused(given, place);
        let memory = PeerMemory {
            name: name?,
            providers: providers?,
            publish: publish?,
            clients: clients?,
            choose: choose?,
            policy: policy?,
            user: user?,
            sizes: sizes?,
            lifetimes: lifetimes?,
            intervals: intervals?,
            outstanding: outstanding?,
            requests: requests?,
            transfer: transfer?,
            refused: refused?,
            target: target?,
        };
        self.ends_in_time(&memory, place).then_some(memory)
    }

    /// A target may do without.
    fn providers(&mut self, given: &file::PeerMemory, place: &Place) -> Option<Vec<Provider>> {
        if given.providers.is_empty() && given.target.is_none() {
            self.none_given(place, "providers", "a list such as [(device: \"nvme*\")]");
            return None;
        }
        let mut providers = Vec::new();
        for (index, provider) in given.providers.iter().enumerate() {
            providers.push(self.provider(provider, &place.element("providers", index)));
        }
        providers.into_iter().collect()
    }

    fn provider(&mut self, given: &file::Provider, place: &Place) -> Option<Provider> {
        let device = self.require(&given.device, place, "device", "a device, such as \"nvme*\"");
        let bar = match &given.bar {
            None => Some(None),
            given => self.count(given, place, "bar", 0..=LARGEST_BAR, 0).map(Some),
        };
        let offset = match &given.offset {
            None => Some(Bytes::ZERO),
            given => self.size(given, place, "offset", 0..=HALF_OF_ALL),
        };
        let size = match &given.size {
            None => Some(None),
            given => self.size(given, place, "size", 1..=HALF_OF_ALL).map(Some),
        };
        Some(Provider { device: device?, bar: bar?, offset: offset?, size: size? })
    }

    fn policy(&mut self, given: &file::PeerMemory, place: &Place) -> Option<Policy> {
        let policy = self.choice(&given.policy, place, "policy")?;
        match policy {
            Policy::Align(align) if !align.is_power_of_two() => {
                let message = format!("an alignment of {align} is not a power of two");
                let help = "write a power of two, such as Align(\"64KiB\")";
                self.error(codes::WRONG_SIZE, &place.field("policy"), message, help);
                None
            }
            policy => Some(policy),
        }
    }

    /// Sizes of requests: a request of no bytes is a driver's mistake, one that exceeds every BAR a mistake here.
    fn request_sizes(
        &mut self,
        given: &Option<Leaf<Distribution<Bytes>>>,
        place: &Place,
    ) -> Option<Distribution<Bytes>> {
        let sizes = self.distribution(given, place, "sizes", SIZES)?;
        let range = Bytes(1)..=LARGEST_REQUEST;
        let extremes = match &sizes {
            // Its draws are at least a byte; the mean is what people write.
            Distribution::Exponential(mean) => [*mean, sizes.most()],
            sizes => [sizes.least(), sizes.most()],
        };
        if let Some(size) = extremes.into_iter().find(|size| !range.contains(size)) {
            let message = format!("a request of {size} is out of range");
            let help = format!("write sizes of 1B to {LARGEST_REQUEST}, and exponential means of up to 1GiB");
            self.error(codes::WRONG_SIZE, &place.field("sizes"), message, help);
            return None;
        }
        Some(sizes)
    }

    fn distribution<T: Quantity + DeserializeOwned>(
        &mut self,
        given: &Option<Leaf<Distribution<T>>>,
        place: &Place,
        name: &'static str,
        expected: &str,
    ) -> Option<Distribution<T>> {
        let distribution = self.require(given, place, name, expected)?;
        match distribution.problem() {
            None => Some(distribution),
            Some((message, help)) => {
                self.error(codes::WRONG_DISTRIBUTION, &place.field(name), message, help);
                None
            }
        }
    }

    fn ends_in_time(&mut self, memory: &PeerMemory, place: &Place) -> bool {
        let fits = memory.longest() <= LONGEST_LIFE;
        if !fits {
            let message = format!(
                "{} requests with intervals of up to {} and lifetimes of up to {} may take more than ten days",
                memory.requests,
                memory.intervals.most(),
                memory.lifetimes.most()
            );
            self.error(
                codes::WRONG_TIME,
                &place.field("requests"),
                message,
                "make fewer requests, or shorten the times",
            );
        }
        fits
    }

    /// Reports everything about `memory` that `machine` does not have.
    pub fn fit_peer_memory(&mut self, memory: &PeerMemory, place: &Place, machine: &Machine) {
        let moves = memory.transfer != Transfer::Nothing;
        for (index, provider) in memory.providers.iter().enumerate() {
            let at = place.element("providers", index).field("device");
            let found = devices(machine, &provider.device);
            if found.is_empty() {
                self.no_device(&provider.device, &at, machine);
            }
            for device in found {
                self.reachable(device, &at, machine, "choose a device with a memory BAR");
                if moves {
                    self.linked(device, &at, machine);
                }
            }
        }
        self.fit_target(memory, moves, place, machine);
        for (index, client) in memory.clients.iter().enumerate() {
            let at = place.element("clients", index);
            let found = devices(machine, client);
            if found.is_empty() {
                self.no_device(client, &at, machine);
            }
            for device in found.into_iter().filter(|_| moves) {
                self.linked(device, &at, machine);
            }
        }
    }
}
