//! The option objects that JavaScript hands in, and what they mean. Says what was wrong and what would be right.

use std::time::Duration;

use quorate_core::config::{Placement, Replication};
use quorate_core::sim::{DiskFate, Network, Setting};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Most nodes of a cluster.
const NODES_MAX: u8 = 64;
/// Longest latency, in milliseconds.
const LATENCY_MS_MAX: f64 = 60_000.0;

/// An object of options, all of which have a default.
pub(crate) trait Options: DeserializeOwned + Default {
    /// What it is called in an error.
    const WHAT: &'static str;
    /// The options there are.
    const NAMES: &'static [&'static str];
}

/// Refuses an object with a name that is no option: a typing error would otherwise change nothing, silently.
pub(crate) fn check_names<T: Options>(names: &[String]) -> Result<(), String> {
    match names.iter().find(|name| !T::NAMES.contains(&name.as_str())) {
        Some(name) => Err(format!("{} have no {name:?}; there are {}", T::WHAT, T::NAMES.join(", "))),
        None => Ok(()),
    }
}

/// How a cluster begins.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NewCluster {
    nodes: Option<f64>,
    seed: Option<u64>,
    n: Option<u8>,
    r: Option<u8>,
    w: Option<u8>,
    placement: Option<String>,
    network: Option<NetworkOptions>,
}

impl Options for NewCluster {
    const WHAT: &'static str = "the options of a cluster";
    const NAMES: &'static [&'static str] = &["nodes", "seed", "n", "r", "w", "placement", "network"];
}

/// The network between all nodes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct NetworkOptions {
    latency_min_ms: Option<f64>,
    latency_max_ms: Option<f64>,
    loss: f64,
}

impl NewCluster {
    /// The setting they describe.
    pub(crate) fn setting(&self) -> Result<Setting, String> {
        let default = Setting::default();
        let nodes = match self.nodes {
            None => default.nodes,
            Some(nodes) => (1..=NODES_MAX)
                .find(|count| f64::from(*count) == nodes)
                .ok_or_else(|| format!("nodes must be a whole number from 1 to {NODES_MAX}, not {nodes}"))?,
        };
        let (n, r, w) = (default.replication.n.get(), default.replication.r.get(), default.replication.w.get());
        let replication = Replication::new(self.n.unwrap_or(n), self.r.unwrap_or(r), self.w.unwrap_or(w));
        let placement = match &self.placement {
            Some(text) => text.parse::<Placement>().map_err(|error| error.to_string())?,
            None => default.placement,
        };
        Ok(Setting {
            nodes,
            seed: self.seed.unwrap_or(default.seed),
            replication: replication.map_err(|error| error.to_string())?,
            placement,
            network: self.network.unwrap_or_default().network()?,
            ..default
        })
    }
}

impl NetworkOptions {
    fn network(self) -> Result<Network, String> {
        let default = Network::default();
        let span = |given: Option<f64>, default: Duration| match given {
            None => Ok(default),
            Some(ms) if (0.0..=LATENCY_MS_MAX).contains(&ms) => Ok(Duration::from_secs_f64(ms / 1_000.0)),
            Some(ms) => Err(format!("a latency must be 0 to {LATENCY_MS_MAX} milliseconds, not {ms}")),
        };
        let latency_min = span(self.latency_min_ms, default.latency_min)?;
        let latency_max = span(self.latency_max_ms, default.latency_max.max(latency_min))?;
        if latency_min > latency_max {
            return Err("latency_min_ms must not be above latency_max_ms".into());
        }
        Ok(Network { latency_min, latency_max, loss_per_million: per_million(self.loss)?, ..default })
    }
}

/// Who asks, and how.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Asking {
    /// The client's name.
    pub(crate) client: String,
    /// Whether a write replaces exactly what this client last saw of the key.
    pub(crate) informed: bool,
}

impl Default for Asking {
    fn default() -> Self {
        Self { client: "client".into(), informed: false }
    }
}

impl Options for Asking {
    const WHAT: &'static str = "the options of a request";
    const NAMES: &'static [&'static str] = &["client", "informed"];
}

/// What a crash does.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CrashOptions {
    /// What happens to the disk.
    pub(crate) disk: DiskFate,
}

impl Options for CrashOptions {
    const WHAT: &'static str = "the options of a crash";
    const NAMES: &'static [&'static str] = &["disk"];
}

/// How a link is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LinkOptions {
    /// Nothing passes.
    pub(crate) down: bool,
    /// The share of messages that are lost.
    pub(crate) loss: f64,
    /// How much longer messages take, in milliseconds.
    pub(crate) latency: f64,
}

impl Options for LinkOptions {
    const WHAT: &'static str = "the options of a link";
    const NAMES: &'static [&'static str] = &["down", "loss", "latency"];
}

/// So many milliseconds more.
pub(crate) fn latency(ms: f64) -> Result<Duration, String> {
    if !(0.0..=LATENCY_MS_MAX).contains(&ms) {
        return Err(format!("latency must be 0 to {LATENCY_MS_MAX} milliseconds, not {ms}"));
    }
    Ok(Duration::from_secs_f64(ms / 1_000.0))
}

/// A share from 0 to 1 as so many of a million.
pub(crate) fn per_million(share: f64) -> Result<u32, String> {
    if !(0.0..=1.0).contains(&share) {
        return Err(format!("loss is the share of messages lost, 0 to 1, not {share}"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to a million")]
    let rounded = (share * 1_000_000.0).round() as u32;
    Ok(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked_and_their_defaults_are_those_of_the_world() {
        assert_eq!(NewCluster::default().setting(), Ok(Setting::default()));
        let chosen = NewCluster { nodes: Some(7.0), seed: Some(9), r: Some(1), ..NewCluster::default() };
        let setting = chosen.setting().expect("in range");
        assert_eq!((setting.nodes, setting.seed, setting.replication.r.get()), (7, 9, 1));
    }

    #[test]
    fn an_error_says_what_was_wrong_and_what_would_be_right() {
        let network = |latency_min_ms, latency_max_ms, loss| NewCluster {
            network: Some(NetworkOptions { latency_min_ms, latency_max_ms, loss }),
            ..NewCluster::default()
        };
        for (options, part) in [
            (NewCluster { nodes: Some(65.0), ..NewCluster::default() }, "from 1 to 64, not 65"),
            (NewCluster { nodes: Some(2.5), ..NewCluster::default() }, "not 2.5"),
            (NewCluster { w: Some(4), ..NewCluster::default() }, "quorums must be 1 to the replication factor"),
            (NewCluster { placement: Some("slices".into()), ..NewCluster::default() }, "tokens:150"),
            (network(Some(9.0), Some(2.0), 0.0), "must not be above"),
            (network(Some(-1.0), None, 0.0), "0 to 60000 milliseconds"),
            (network(None, None, f64::NAN), "0 to 1"),
        ] {
            let error = options.setting().expect_err(part);
            assert!(error.contains(part), "{error}");
        }
        let error = check_names::<LinkOptions>(&["delay".into()]).expect_err("there is no such option");
        assert_eq!(error, "the options of a link have no \"delay\"; there are down, loss, latency");
    }

    #[test]
    fn a_link_takes_no_less_time_than_none() {
        assert_eq!(latency(1.5), Ok(Duration::from_micros(1_500)));
        assert!(latency(-1.0).is_err() && latency(f64::NAN).is_err() && latency(60_001.0).is_err());
    }

    #[test]
    fn shares_become_parts_of_a_million() {
        for (share, expected) in
            [(0.0, Some(0)), (0.3, Some(300_000)), (1.0, Some(1_000_000)), (1.1, None), (-0.1, None)]
        {
            assert_eq!(per_million(share).ok(), expected, "{share}");
        }
    }
}
