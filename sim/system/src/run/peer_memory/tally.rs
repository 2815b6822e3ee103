//! What is counted: requests, who got what, and why others did not.

use std::collections::BTreeMap;

use peerbus_os::p2pdma::{MapError, MemoryError};
use peerbus_os::pool::AllocError;
use peerbus_units::{Bytes, Picos};

use super::pools::{NoMemory, Pools};

/// Why a request got no peer memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cause {
    /// The namespace of a target is not enabled: it asks for peer memory that its drive cannot use.
    NotEnabled,
    /// Nothing is published that the client can reach, or nothing is registered.
    NoProvider,
    /// The client cannot reach the provider's memory, or the kernel has no way to hand it to a process.
    NotSupported,
    /// No registered range is as large.
    LargerThanChunk,
    /// Less is free.
    Exhausted,
    /// Enough is free, but not in one piece, or not at an address that the policy allows.
    Fragmented,
    /// Anything else, such as a state in which a kernel would not have survived.
    Failed,
}

impl Cause {
    /// As reports and conditions write it.
    pub fn name(self) -> &'static str {
        match self {
            Cause::NotEnabled => "NOT_ENABLED",
            Cause::NoProvider => "NO_PROVIDER",
            Cause::NotSupported => "NOT_SUPPORTED",
            Cause::LargerThanChunk => "LARGER_THAN_CHUNK",
            Cause::Exhausted => "EXHAUSTED",
            Cause::Fragmented => "FRAGMENTED",
            Cause::Failed => "FAILED",
        }
    }
}

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Why.
    pub cause: Cause,
    /// With the numbers of this case.
    pub text: String,
    /// The provider that was asked, by index in the machine.
    pub provider: Option<usize>,
    /// Where its pool had no room: what was asked for in whole pages, and whether a hole is as large.
    pub lack: Option<(Bytes, bool)>,
}

/// Refusals of one cause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusals {
    /// How many.
    pub count: u64,
    /// Bytes asked for.
    pub bytes: Bytes,
    /// When the first was.
    pub first: Picos,
    /// Client of the first, by index in the machine.
    pub client: usize,
    /// The first in words.
    pub text: String,
}

/// The first request for which a provider's pool had no room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirstRefusal {
    /// Why.
    pub cause: Cause,
    /// A hole is as large, but not where the policy wants it.
    pub aligned: bool,
    /// In words.
    pub text: String,
    /// Bytes asked for.
    pub size: Bytes,
    /// In whole pages.
    pub rounded: Bytes,
    /// Client, by index in the machine.
    pub client: usize,
    /// When.
    pub at: Picos,
}

/// What one provider gave one workload.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Granted {
    /// Allocations.
    pub count: u64,
    /// Bytes asked for.
    pub bytes: Bytes,
    /// Bytes given back.
    pub returned: Bytes,
    /// Requests that asked it in vain.
    pub refused: u64,
    /// Those for which its pool had no room.
    pub lacks: u64,
    /// The first of these.
    pub first_lack: Option<FirstRefusal>,
}

/// What became of a workload's requests.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Requests made.
    pub requests: u64,
    /// Bytes they asked for.
    pub bytes: Bytes,
    /// Those that went through host memory.
    pub staged: u64,
    /// Bytes of those.
    pub staged_bytes: Bytes,
    /// By provider, by index in the machine.
    pub granted: BTreeMap<usize, Granted>,
    /// By cause.
    pub refused: BTreeMap<Cause, Refusals>,
    /// How long requests waited for a slot, in three digits, and how many that long.
    pub waits: BTreeMap<Picos, u64>,
    /// When the last allocation was given back.
    pub end: Picos,
}

/// Rounded down to eleven binary digits, a difference of less than one in a thousand: waits are kept one by one, and
/// there may be millions.
fn rounded(wait: Picos) -> Picos {
    let digits = u64::BITS - wait.0.leading_zeros();
    let dropped = digits.saturating_sub(11);
    Picos(wait.0 >> dropped << dropped)
}

impl Tally {
    /// A request of `size` is made, after waiting.
    pub fn request(&mut self, size: Bytes, waited: Picos) {
        self.requests += 1;
        self.bytes += size;
        *self.waits.entry(rounded(waited)).or_default() += 1;
    }

    /// It got memory of `provider`.
    pub fn grant(&mut self, provider: usize, size: Bytes) {
        let granted = self.granted.entry(provider).or_default();
        granted.count += 1;
        granted.bytes += size;
    }

    /// What it got is of no use: it counts as refused, and is given back.
    pub fn withdraw(&mut self, provider: usize, size: Bytes) {
        let granted = self.granted.entry(provider).or_default();
        granted.count = granted.count.saturating_sub(1);
        granted.bytes = granted.bytes.saturating_sub(size);
    }

    /// It got none.
    pub fn refuse(&mut self, refusal: Refusal, size: Bytes, client: usize, now: Picos) {
        if let Some(provider) = refusal.provider {
            let granted = self.granted.entry(provider).or_default();
            granted.refused += 1;
            if let Some((rounded, aligned)) = refusal.lack {
                let (cause, text) = (refusal.cause, &refusal.text);
                granted.lacks += 1;
                granted.first_lack.get_or_insert_with(|| FirstRefusal {
                    cause,
                    aligned,
                    text: text.clone(),
                    size,
                    rounded,
                    client,
                    at: now,
                });
            }
        }
        let first =
            || Refusals { count: 0, bytes: Bytes::ZERO, first: now, client, text: refusal.text.clone() };
        let all = self.refused.entry(refusal.cause).or_insert_with(first);
        all.count += 1;
        all.bytes += size;
    }

    /// It uses host memory instead.
    pub fn stage(&mut self, size: Bytes) {
        self.staged += 1;
        self.staged_bytes += size;
    }

    /// Memory of `provider` is given back.
    pub fn give_back(&mut self, provider: usize, size: Bytes) {
        self.granted.entry(provider).or_default().returned += size;
    }

    /// The wait that this many per cent of requests did not exceed.
    pub fn wait_percentile(&self, percent: u64) -> Picos {
        let wanted = u128::from(self.requests) * u128::from(percent);
        let mut seen = 0u128;
        for (wait, count) in &self.waits {
            seen += u128::from(*count) * 100;
            if seen >= wanted {
                return *wait;
            }
        }
        Picos::ZERO
    }
}

/// Why the memory of `provider`, called `name`, was refused to a request of `size`.
pub fn explain(
    error: NoMemory,
    pools: &Pools<'_>,
    provider: (usize, peerbus_os::pci::FunctionIndex),
    name: &str,
    size: Bytes,
) -> Refusal {
    let refusal = |cause, text| Refusal { cause, text, provider: Some(provider.0), lack: None };
    match error {
        NoMemory::Process(MapError::NoFile) => {
            let text =
                format!("this kernel gives processes no memory of {name}: there is no `allocate` file");
            refusal(Cause::NotSupported, text)
        }
        NoMemory::Driver(MemoryError::Pool(AllocError::Exhausted))
        | NoMemory::Process(MapError::NoMemory(AllocError::Exhausted)) => {
            let (cause, text) = shortage(pools, provider.1, name, size);
            let wanted = pools.rounded(size);
            let level = pools.level(provider.1);
            let lack = level.map(|level| (wanted, wanted <= level.largest_hole));
            Refusal { lack, ..refusal(cause, text) }
        }
        NoMemory::Driver(error) => refusal(Cause::Failed, format!("{name}: {error}")),
        NoMemory::Process(error) => refusal(Cause::Failed, format!("{name}: {error}")),
    }
}

/// What a pool lacked.
fn shortage(
    pools: &Pools<'_>,
    provider: peerbus_os::pci::FunctionIndex,
    name: &str,
    size: Bytes,
) -> (Cause, String) {
    let (wanted, chunk) = (pools.rounded(size), pools.largest_chunk(provider));
    let Some(level) = pools.level(provider) else {
        return (Cause::NoProvider, format!("{name} has registered no memory"));
    };
    let (free, hole) = (level.available, level.largest_hole);
    if wanted > chunk {
        return (Cause::LargerThanChunk, format!("{wanted} of {name}, whose largest chunk has {chunk}"));
    }
    if wanted > free {
        return (Cause::Exhausted, format!("{wanted} of {name}, which has {free} of {} free", level.size));
    }
    let what = if wanted > hole { "" } else { ", none of it aligned as the policy wants" };
    let text =
        format!("{wanted} of {name}, which has {free} of {} free, the largest hole {hole}{what}", level.size);
    (Cause::Fragmented, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_waits_that_happened() {
        let mut tally = Tally::default();
        for wait in [0, 0, 0, 5, 9] {
            tally.request(Bytes(1), Picos(wait));
        }
        let found: Vec<u64> = [0, 50, 60, 61, 80, 99, 100].map(|p| tally.wait_percentile(p).0).to_vec();
        assert_eq!(found, [0, 0, 0, 5, 5, 9, 9]);
        assert_eq!(Tally::default().wait_percentile(50), Picos::ZERO);
        assert_eq!(rounded(Picos(1_000_001)), Picos(1_000_001 / 512 * 512));
    }

    #[test]
    fn the_first_refusal_of_a_cause_is_told() {
        let mut tally = Tally::default();
        for (at, provider) in [(3, Some(7)), (4, None), (5, Some(7))] {
            let refusal = Refusal { cause: Cause::Exhausted, text: format!("at {at}"), provider, lack: None };
            tally.refuse(refusal, Bytes(10), 1, Picos(at));
        }
        let all = &tally.refused[&Cause::Exhausted];
        assert_eq!((all.count, all.bytes, all.first, all.text.as_str()), (3, Bytes(30), Picos(3), "at 3"));
        assert_eq!(tally.granted[&7].refused, 2);
    }
}
