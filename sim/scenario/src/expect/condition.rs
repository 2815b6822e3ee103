//! [`Condition`]: an expectation, understood.

use std::fmt;
use std::ops::Range;

use peerbus_machine::diagnostic::Code;
use peerbus_system::expand::Pattern;

use super::number::Ratio;
use super::value::{Dimension, Kind, Value};

/// What is wrong with a condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What kind of problem.
    pub code: Code,
    /// Bytes of the condition's text that are wrong.
    pub span: Range<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// A comparison that a scenario expects to hold.
#[derive(Clone, PartialEq, Debug)]
pub struct Condition {
    /// As written.
    pub text: String,
    /// Left side.
    pub left: Side,
    /// How the sides are compared.
    pub test: Test,
    /// Right side.
    pub right: Side,
}

/// How two sides are compared.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Test {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// The right text is part of the left one, or of one of a list.
    Contains,
    /// `~ … within …%`: the sides differ by at most this share of the right one.
    Near(Ratio),
}

impl Test {
    /// As written between the sides.
    pub fn sign(self) -> &'static str {
        match self {
            Test::Equal => "==",
            Test::NotEqual => "!=",
            Test::Less => "<",
            Test::AtMost => "<=",
            Test::Greater => ">",
            Test::AtLeast => ">=",
            Test::Contains => "contains",
            Test::Near(_) => "~",
        }
    }

    /// True when it can compare values of those kinds.
    pub fn fits(self, left: Kind, right: Kind) -> bool {
        match self {
            Test::Contains => matches!(left, Kind::Text | Kind::List) && right == Kind::Text,
            Test::Equal | Test::NotEqual => left == right && left != Kind::List,
            _ => left == right && matches!(left, Kind::Number(_)),
        }
    }
}

/// One side: a term, perhaps times a plain number.
#[derive(Clone, PartialEq, Debug)]
pub struct Side {
    /// The factor; absent for none.
    pub factor: Option<Ratio>,
    /// What is multiplied.
    pub term: Term,
    /// Bytes of the condition's text it stands in.
    pub span: Range<usize>,
}

impl Side {
    /// The kind of its value.
    pub fn kind(&self) -> Kind {
        match &self.term {
            Term::Constant(value) => value.kind(),
            Term::Measure(measure) => measure.what.kind(),
        }
    }

    /// What it measures, if it does.
    pub fn measure(&self) -> Option<&Measure> {
        match &self.term {
            Term::Constant(_) => None,
            Term::Measure(measure) => Some(measure),
        }
    }
}

/// A value without its factor.
#[derive(Clone, PartialEq, Debug)]
pub enum Term {
    /// Written in the condition.
    Constant(Value),
    /// Measured by a run.
    Measure(Measure),
}

/// A value that runs measure.
#[derive(Clone, PartialEq, Debug)]
pub struct Measure {
    /// Which one.
    pub what: What,
    /// Variants it is taken from. Absent for every variant that has it, each compared with itself.
    pub variant: Option<Pattern>,
    /// Flows, matrices, pools, kinds of errors, or places that count.
    pub name: Pattern,
    /// Bytes of the condition's text it stands in.
    pub span: Range<usize>,
}

impl Measure {
    /// Number of `*` whose meanings pair the two sides of a condition.
    pub fn wildcards(&self) -> usize {
        let names = if self.what.has_names() { self.name.wildcards() } else { 0 };
        self.variant.as_ref().map_or(0, Pattern::wildcards) + names
    }
}

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Of a flow: `flow.NAME.…`.
    Flow(FlowValue),
    /// Over the throughputs of a matrix: `matrix.NAME.…`.
    Matrix(MatrixValue),
    /// Of a workload on peer memory, or of one of its pools: `pool.NAME.…`, `pool.NAME.PROVIDER.…`.
    Pool(PoolValue),
    /// Over spaces of a kind: `space.KIND.…`, with one of [`peerbus_system::space::SpaceKind::ALL`].
    Space(SpaceValue),
    /// Errors of all kinds: `errors`.
    Errors,
    /// Errors of a kind: `error.KIND.…`.
    Error(ErrorValue),
    /// What functions, IOMMUs or caches counted: `counter.PLACE.…`, with one of [`peerbus_system::outcome::COUNTERS`].
    Counter(&'static str),
}

impl What {
    /// True when its names are those of flows, matrices or pools, known before a run.
    pub fn has_names(self) -> bool {
        matches!(self, What::Flow(_) | What::Matrix(_) | What::Pool(_))
    }

    /// The kind of its value.
    pub fn kind(self) -> Kind {
        match self {
            What::Flow(value) => value.kind(),
            What::Matrix(_) => Kind::Number(Dimension::Rate),
            What::Pool(value) => value.kind(),
            What::Space(value) => value.kind(),
            What::Errors | What::Error(ErrorValue::Count) | What::Counter(_) => {
                Kind::Number(Dimension::Count)
            }
            What::Error(ErrorValue::Bytes) => Kind::Number(Dimension::Size),
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$item_doc:meta])* $item:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $type {
            $($(#[$item_doc])* $item,)*
        }

        impl $type {
            /// All of them, with the words that conditions use.
            pub const ALL: &[($type, &str)] = &[$(($type::$item, $word),)*];
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let word = $type::ALL.iter().find(|(item, _)| item == self).map_or("", |(_, word)| word);
                f.write_str(word)
            }
        }
    };
}

words!(
    /// Values of a flow.
    FlowValue {
        /// Delivered bytes over the time it took, in whole bytes per second, rounded down.
        Throughput = "throughput",
        /// Mean latency.
        Mean = "latency.mean",
        /// Median latency.
        Median = "latency.p50",
        /// 99th percentile of the latency.
        Tail = "latency.p99",
        /// What was asked for.
        Bytes = "bytes",
        /// What arrived.
        Delivered = "delivered",
        /// What was refused.
        Refused = "refused",
        /// Time from start to end.
        Duration = "duration",
        /// When its first descriptor was given.
        Start = "start",
        /// When its last byte arrived.
        End = "end",
        /// What the operating system decided, such as `BUS_ADDR`.
        MapType = "map_type",
        /// The kernel's distance.
        Distance = "distance",
        /// `BUS` or `CPU`.
        DmaKind = "dma_kind",
        /// The first DMA address, as a number.
        DmaAddr = "dma_addr",
        /// Why the operating system refused.
        Refusal = "refusal",
        /// `true` when it went through host memory.
        Staged = "staged",
        /// Resources that held it back.
        LimitedBy = "limited_by",
        /// Nodes on its way.
        Path = "path",
    }
);

words!(
    /// Values of a matrix.
    MatrixValue {
        /// Lowest throughput of its flows.
        Min = "min",
        /// Highest throughput of its flows.
        Max = "max",
        /// Mean of its flows' throughputs.
        Mean = "mean",
    }
);

words!(
    /// Values of a kind of errors.
    ErrorValue {
        /// How often.
        Count = "count",
        /// Bytes concerned.
        Bytes = "bytes",
    }
);

words!(
    /// Values of spaces of a kind, together: sizes, what is taken, slack and refusals in all; the largest hole is that of the
    /// space that is worst off, and so is fragmentation.
    SpaceValue {
        /// All there is.
        Size = "size",
        /// The most that was taken.
        Used = "used",
        /// The least that the largest free piece ever was.
        LargestHole = "largest_hole",
        /// Lost to alignment.
        Alignment = "alignment",
        /// Lost to the granule.
        Granule = "granule",
        /// 1 − largest free piece / all that is free, over time.
        Fragmentation = "fragmentation",
        /// Requests that got nothing.
        Refused = "refused",
        /// What decided about the first of them.
        Decided = "decided",
    }
);

impl SpaceValue {
    fn kind(self) -> Kind {
        match self {
            SpaceValue::Fragmentation | SpaceValue::Refused => Kind::Number(Dimension::Count),
            SpaceValue::Decided => Kind::Text,
            _ => Kind::Number(Dimension::Size),
        }
    }
}

words!(
    /// Values of a workload on peer memory, and of its pools. Where a workload has several pools, its peak,
    /// fragmentation and largest hole are those of the pool that is worst off.
    PoolValue {
        /// Requests made.
        Requests = "requests",
        /// Requests that got peer memory.
        Granted = "granted",
        /// Requests that went through host memory instead.
        Staged = "staged",
        /// Requests that got no peer memory, staged ones included.
        Refused = "refused",
        /// Those to a target's namespace that is not enabled.
        NotEnabled = "refused.NOT_ENABLED",
        /// Those for which no provider was found.
        NoProvider = "refused.NO_PROVIDER",
        /// Those whose client cannot reach the memory.
        NotSupported = "refused.NOT_SUPPORTED",
        /// Those larger than every registered range.
        LargerThanChunk = "refused.LARGER_THAN_CHUNK",
        /// Those larger than what was free.
        Exhausted = "refused.EXHAUSTED",
        /// Those for which enough was free, but not in one usable piece.
        Fragmented = "refused.FRAGMENTED",
        /// Those that failed otherwise.
        Failed = "refused.FAILED",
        /// What clients moved over the time it took, in whole bytes per second, rounded down.
        Throughput = "throughput",
        /// Median of the time that requests waited because their client held as much as it may.
        WaitMedian = "wait.p50",
        /// 99th percentile of that.
        WaitTail = "wait.p99",
        /// Bytes registered.
        Size = "size",
        /// Most bytes in use at a time.
        Peak = "peak",
        /// The least that the largest free piece ever was.
        LargestHole = "largest_hole",
        /// 1 − largest free piece / free bytes, over time.
        Fragmentation = "fragmentation",
    }
);

impl PoolValue {
    /// True when a single pool has the value, too.
    pub fn of_pools(self) -> bool {
        use PoolValue::{Fragmentation, Granted, LargestHole, Peak, Refused, Size};
        matches!(self, Granted | Refused | Size | Peak | LargestHole | Fragmentation)
    }

    fn kind(self) -> Kind {
        match self {
            PoolValue::Throughput => Kind::Number(Dimension::Rate),
            PoolValue::WaitMedian | PoolValue::WaitTail => Kind::Number(Dimension::Time),
            PoolValue::Size | PoolValue::Peak | PoolValue::LargestHole => Kind::Number(Dimension::Size),
            _ => Kind::Number(Dimension::Count),
        }
    }
}

impl FlowValue {
    fn kind(self) -> Kind {
        match self {
            FlowValue::Throughput => Kind::Number(Dimension::Rate),
            FlowValue::Mean | FlowValue::Median | FlowValue::Tail | FlowValue::Duration => {
                Kind::Number(Dimension::Time)
            }
            FlowValue::Start | FlowValue::End => Kind::Number(Dimension::Time),
            FlowValue::Bytes | FlowValue::Delivered | FlowValue::Refused => Kind::Number(Dimension::Size),
            FlowValue::Distance | FlowValue::DmaAddr => Kind::Number(Dimension::Count),
            FlowValue::MapType | FlowValue::DmaKind | FlowValue::Refusal | FlowValue::Staged => Kind::Text,
            FlowValue::LimitedBy | FlowValue::Path => Kind::List,
        }
    }
}
