//! What an operator may choose. Plain data with checks; never decides anything itself.

use core::fmt;
use core::num::{NonZeroU8, NonZeroU16};
use core::str::FromStr;
use core::time::Duration;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::id::{ClusterName, Key, Zone};
use crate::limits;
use crate::planted::PlantedBug;

/// How many copies, and how many of them must answer. Cluster-wide: fixed by the founder, a joiner that disagrees is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replication {
    /// Copies of each key (N).
    pub n: NonZeroU8,
    /// Answers a read waits for (R).
    pub r: NonZeroU8,
    /// Durable copies a write waits for (W).
    pub w: NonZeroU8,
}

/// Why a configuration cannot be used. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// N, R or W out of range.
    #[error(
        "replication factor {n}, read quorum {r}, write quorum {w}: quorums must be 1 to the replication factor, which must be 1 to {}",
        limits::REPLICATION_MAX
    )]
    Replication {
        /// N.
        n: u8,
        /// R.
        r: u8,
        /// W.
        w: u8,
    },
    /// A placement that is not understood.
    #[error(
        "placement {found:?}: it must be tokens:K with K from 1 to 1024, for example tokens:150, or partitions:K with K a power \
         of two from 1 to {}, for example partitions:64",
        limits::PARTITIONS_MAX
    )]
    Placement {
        /// What was given.
        found: String,
    },
    /// More strategies than a configuration may have.
    #[error("strategies for more than {} prefixes", limits::STRATEGIES_MAX)]
    StrategyCount,
    /// A prefix that no key can have.
    #[error("a strategy for a prefix of {length} bytes: no key is longer than {}", limits::KEY_BYTES_MAX)]
    StrategyPrefix {
        /// Its length in bytes.
        length: usize,
    },
    /// Two strategies for one prefix.
    #[error("two strategies for the prefix {prefix:?}: it can have one")]
    StrategyTwice {
        /// Which prefix.
        prefix: String,
    },
    /// A probe that would time out after the next one begins.
    #[error(
        "the probe time-out ({timeout:?}) must be shorter than the probe interval ({interval:?}), and both above zero"
    )]
    Probe {
        /// The time-out.
        timeout: Duration,
        /// The interval.
        interval: Duration,
    },
}

impl Replication {
    /// N, R and W, checked against each other.
    ///
    /// # Errors
    /// [`ConfigError::Replication`].
    pub fn new(n: u8, r: u8, w: u8) -> Result<Self, ConfigError> {
        let error = ConfigError::Replication { n, r, w };
        match (NonZeroU8::new(n), NonZeroU8::new(r), NonZeroU8::new(w)) {
            (Some(n), Some(r), Some(w)) if n.get() <= limits::REPLICATION_MAX && r <= n && w <= n => {
                Ok(Self { n, r, w })
            }
            _ => Err(error),
        }
    }
}

impl Default for Replication {
    /// Three copies, two answers for a read, two for a write.
    fn default() -> Self {
        Self::new(3, 2, 2).expect("3, 2, 2 is in range")
    }
}

/// How the ring is cut among its owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Placement {
    /// Every node has so many tokens for each unit of weight.
    Tokens(NonZeroU16),
    /// So many equal parts, a power of two up to [`limits::PARTITIONS_MAX`], are assigned to the nodes: evenly, each in
    /// as many zones as can be, and so that little moves when the nodes change.
    Partitions(NonZeroU16),
}

impl Default for Placement {
    fn default() -> Self {
        Self::Tokens(NonZeroU16::new(150).expect("150 is above zero"))
    }
}

impl FromStr for Placement {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let (kind, count) = text.split_once(':').unwrap_or_default();
        match (kind, count.parse::<NonZeroU16>()) {
            ("tokens", Ok(count)) if count.get() <= 1_024 => Ok(Self::Tokens(count)),
            ("partitions", Ok(count)) if count.is_power_of_two() && count.get() <= limits::PARTITIONS_MAX => {
                Ok(Self::Partitions(count))
            }
            _ => Err(ConfigError::Placement { found: text.into() }),
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(count) => write!(f, "tokens:{count}"),
            Self::Partitions(count) => write!(f, "partitions:{count}"),
        }
    }
}

impl TryFrom<String> for Placement {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, ConfigError> {
        text.parse()
    }
}

impl From<Placement> for String {
    fn from(placement: Placement) -> Self {
        alloc::format!("{placement}")
    }
}

/// What concurrent writes of a key become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// All of them stay, side by side, until a writer who has seen them puts one value in their place.
    #[default]
    Siblings,
    /// The last writer wins: a reader is shown the newest by the hybrid clock, and the next write replaces all of them.
    ///
    /// **Lossy.** Of two writes at the same time one is acknowledged and never seen. Which one is newest is what the clocks
    /// of their coordinators say: one that is fast by a second wins over writes up to a second later that did not see it. A
    /// coordinator follows clocks that are ahead of its own by at most [`limits::CLOCK_DRIFT_MAX`]; a stamp further ahead
    /// comes from a broken clock, and is followed by nobody. It still wins over what was written at the same time, but
    /// not over what is written later: every write first reads, and replaces what it finds whatever the stamps say.
    Lww,
}

impl Strategy {
    /// The name that the configuration has for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Siblings => "siblings",
            Self::Lww => "lww",
        }
    }
}

/// Which strategy the keys have, by their beginning: the longest prefix decides, and without one it is
/// [`Strategy::Siblings`]. Two that decide alike for every key are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(String, Strategy)>", into = "Vec<(String, Strategy)>")]
pub struct Strategies(BTreeMap<String, Strategy>);

impl Strategies {
    /// Strategies by prefix, in any order. The empty prefix is that of all keys.
    ///
    /// # Errors
    /// [`ConfigError`] when there are more than [`limits::STRATEGIES_MAX`], a prefix is longer than any key, or one is named
    /// twice with different strategies.
    pub fn new(entries: impl IntoIterator<Item = (String, Strategy)>) -> Result<Self, ConfigError> {
        let mut given: BTreeMap<String, Strategy> = BTreeMap::new();
        for (prefix, strategy) in entries {
            if prefix.len() > limits::KEY_BYTES_MAX {
                return Err(ConfigError::StrategyPrefix { length: prefix.len() });
            }
            if given.get(&prefix).is_some_and(|before| *before != strategy) {
                return Err(ConfigError::StrategyTwice { prefix });
            }
            given.insert(prefix, strategy);
            if given.len() > limits::STRATEGIES_MAX {
                return Err(ConfigError::StrategyCount);
            }
        }
        // In order, a prefix comes before all that begin with it: what is left of it decides whether they say anything new.
        let mut kept = Self::default();
        for (prefix, strategy) in given {
            if kept.of_text(&prefix) != strategy {
                kept.0.insert(prefix, strategy);
            }
        }
        Ok(kept)
    }

    /// The strategy of a key.
    #[must_use]
    pub fn of(&self, key: &Key) -> Strategy {
        if self.0.is_empty() { Strategy::default() } else { self.of_text(key.as_str()) }
    }

    fn of_text(&self, text: &str) -> Strategy {
        let matching = self.0.iter().filter(|(prefix, _)| text.starts_with(prefix.as_str()));
        matching.max_by_key(|(prefix, _)| prefix.len()).map(|(_, strategy)| *strategy).unwrap_or_default()
    }
}

impl fmt::Display for Strategies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("=")?;
        f.write_str(self.of_text("").as_str())?;
        for (prefix, strategy) in self.0.iter().filter(|(prefix, _)| !prefix.is_empty()) {
            write!(f, ",{prefix}={}", strategy.as_str())?;
        }
        Ok(())
    }
}

impl TryFrom<Vec<(String, Strategy)>> for Strategies {
    type Error = ConfigError;

    fn try_from(entries: Vec<(String, Strategy)>) -> Result<Self, ConfigError> {
        Self::new(entries)
    }
}

impl From<Strategies> for Vec<(String, Strategy)> {
    fn from(strategies: Strategies) -> Self {
        strategies.0.into_iter().collect()
    }
}

/// What every node of a cluster must agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterConfig {
    /// The cluster's name.
    pub name: ClusterName,
    /// Copies and quorums.
    pub replication: Replication,
    /// How the ring is cut.
    pub placement: Placement,
    /// What concurrent writes become.
    pub strategies: Strategies,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            name: ClusterName::new("quorate").expect("a good name"),
            replication: Replication::default(),
            placement: Placement::default(),
            strategies: Strategies::default(),
        }
    }
}

/// When members are probed, suspected and told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Between two rounds of gossip. Defaults to 200 ms.
    pub gossip_interval: Duration,
    /// Between two probes. Defaults to 600 ms.
    pub probe_interval: Duration,
    /// Until a direct probe counts as unanswered and others are asked. Defaults to 300 ms.
    pub probe_timeout: Duration,
    /// Shortest suspicion, in probe intervals for up to a hundred members. Defaults to 6.
    pub suspicion_multiplier: NonZeroU8,
    /// Sends of one rumour, in multiples of the logarithm of the cluster's size. Defaults to 6.
    pub retransmit_multiplier: NonZeroU8,
    /// Between two exchanges of the whole list with a random member. Defaults to 30 s.
    pub push_pull_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            gossip_interval: Duration::from_millis(200),
            probe_interval: Duration::from_millis(600),
            probe_timeout: Duration::from_millis(300),
            suspicion_multiplier: NonZeroU8::new(6).expect("above zero"),
            retransmit_multiplier: NonZeroU8::new(6).expect("above zero"),
            push_pull_interval: Duration::from_secs(30),
        }
    }
}

impl Timing {
    /// Checks the spans against each other.
    ///
    /// # Errors
    /// [`ConfigError::Probe`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.probe_timeout.is_zero() || self.probe_timeout >= self.probe_interval || self.gossip_interval.is_zero() {
            return Err(ConfigError::Probe { timeout: self.probe_timeout, interval: self.probe_interval });
        }
        Ok(())
    }
}

/// When and how much is repaired in the background. Every bound is there so that repair never takes the node from its
/// clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// Between two looks at the hints that are kept for a member. Defaults to 1 s.
    pub hint_interval: Duration,
    /// Most hints that one shard keeps for one member; the next one is refused and is no vote. Defaults to 100,000.
    pub hints_max: u32,
    /// Between two comparisons of one slice with its other owners. Defaults to 30 s.
    pub exchange_interval: Duration,
    /// Between two attempts to collect the tombstones of one slice. Defaults to 60 s.
    pub collect_interval: Duration,
    /// How old a tombstone must be before it is collected: longer than any request runs. Defaults to 10 min.
    pub collect_after: Duration,
    /// How long the name of a write is remembered after the write was superseded. Defaults to 10 min.
    pub request_memory: Duration,
}

impl Default for Repair {
    fn default() -> Self {
        Self {
            hint_interval: Duration::from_secs(1),
            hints_max: 100_000,
            exchange_interval: Duration::from_secs(30),
            collect_interval: Duration::from_secs(60),
            collect_after: Duration::from_secs(600),
            request_memory: Duration::from_secs(600),
        }
    }
}

/// Which events a machine makes. What it does is the same whichever are made, down to their names in what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Trace {
    /// None.
    Off,
    /// What came of something: what a server logs and a run is judged by.
    Outcomes,
    /// Every step on the way too: each message, each vote. What the page draws.
    Steps,
}

/// What one node is told when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// What the whole cluster must agree on.
    pub cluster: ClusterConfig,
    /// Failure domain. Defaults to `default`.
    pub zone: Zone,
    /// Share of the ring, relative to the others. Defaults to 1.
    pub weight: NonZeroU16,
    /// For people and queries.
    pub tags: BTreeMap<String, String>,
    /// Membership timing.
    pub timing: Timing,
    /// Repair in the background.
    pub repair: Repair,
    /// How long a request may take when the client does not say. Defaults to 5 s.
    pub request_timeout: Duration,
    /// After the write quorum, how long a reply waits for the other replicas, so that it can name them. Defaults to 10 ms.
    pub linger: Duration,
    /// Largest value accepted, in bytes. Defaults to 1 MiB.
    pub value_bytes_max: usize,
    /// Which events are made. Defaults to all.
    pub trace: Trace,
    /// An owner that has been dead for so long is taken out of the layout; nothing is never. Defaults to a day.
    pub evict_after: Option<Duration>,
    /// A bug put in on purpose. Defaults to none.
    #[cfg(feature = "planted")]
    pub planted: Option<PlantedBug>,
}

impl Config {
    /// Whether this bug was put in on purpose.
    #[cfg(feature = "planted")]
    #[must_use]
    pub fn has_bug(&self, bug: PlantedBug) -> bool {
        self.planted == Some(bug)
    }

    /// Whether this bug was put in on purpose: never, in this build.
    #[cfg(not(feature = "planted"))]
    #[must_use]
    pub const fn has_bug(&self, _: PlantedBug) -> bool {
        false
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: ClusterConfig::default(),
            zone: Zone::new("default").expect("a good name"),
            weight: NonZeroU16::MIN,
            tags: BTreeMap::new(),
            timing: Timing::default(),
            repair: Repair::default(),
            request_timeout: Duration::from_secs(5),
            linger: Duration::from_millis(10),
            value_bytes_max: limits::VALUE_BYTES_DEFAULT,
            trace: Trace::Steps,
            evict_after: Some(Duration::from_secs(24 * 60 * 60)),
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}
