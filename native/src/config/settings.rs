//! What one node runs with: the options of all sources, completed and checked against each other. Never reads a source.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::num::{NonZeroU8, NonZeroU16, NonZeroUsize};
use std::path::PathBuf;

use quorate_core::config::{ClusterConfig, Config, ConfigError, Replication, Strategies, Timing, Trace};
use quorate_core::id::{Address, NodeId};
use quorate_core::limits;

use super::options::{LogFormat, Options, StorageKind};
use super::units::{Durability, Origin, Patience};
use crate::discovery::DiscoveryService;
use crate::tls::TlsFiles;

/// What one node runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name.
    pub node_id: NodeId,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it listens besides.
    pub kv_listen: Option<SocketAddr>,
    /// Where peers are told to reach it.
    pub advertise: Address,
    /// Where its data lies.
    pub data_dir: PathBuf,
    /// Whom it asks to be let in; itself is not among them.
    pub seeds: Vec<Address>,
    /// Where it finds more of them. Its name is among the seeds, too.
    pub discovery: Option<DiscoveryService>,
    /// Whether it talks to other nodes.
    pub gossip: bool,
    /// Where the data is kept.
    pub storage: StorageKind,
    /// When a write counts as written.
    pub durability: Durability,
    /// Data-plane threads, 1 to 64.
    pub shards: u8,
    /// Threads that serve connections: half of the cores, for the shards are the other half.
    pub connection_threads: NonZeroUsize,
    /// What it speaks TLS with; nothing if it does not.
    pub tls: Option<TlsFiles>,
    /// Where the tokens are that clients must prove; none if they need not.
    pub tokens_file: Option<PathBuf>,
    /// Where the secret is that other nodes must know; none if they need not.
    pub peer_secret_file: Option<PathBuf>,
    /// Pages from here may do what programs may.
    pub allow_origins: Vec<Origin>,
    /// Whether pages that members serve may write.
    pub dashboard_write: bool,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What the core is told.
    pub core: Config,
}

/// Why the options cannot be used together. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The core refuses.
    #[error(transparent)]
    Core(#[from] ConfigError),
    /// Anybody could reach the node.
    #[error(
        "--listen {0} would let anybody who reaches this machine read and write: add --tokens-file FILE, so that they must \
         prove who they are, or --insecure if that is meant, or listen on 127.0.0.1"
    )]
    Exposed(IpAddr),
    /// There is nothing to tell peers.
    #[error(
        "--listen {0} is no address that peers could be told: add --advertise HOST:PORT, where they reach this node"
    )]
    NoAdvertise(IpAddr),
    /// The largest value is out of range.
    #[error("--max-value-size must be 1 to {max} bytes (16MiB), not {given}", max = limits::VALUE_BYTES_MAX)]
    ValueSize {
        /// What was given, in bytes.
        given: usize,
    },
    /// The tags are too many or too long.
    #[error(
        "at most {} tags with names and values of at most {} bytes are kept",
        limits::TAGS_MAX,
        limits::TAG_BYTES_MAX
    )]
    Tags,
    /// Seeds for a node that talks to nobody.
    #[error(
        "--gossip false is a node that talks to nobody: leave out --seed-node and --discovery-service, or --gossip false"
    )]
    SeedsWithoutGossip,
    /// Some of the files are missing.
    #[error(
        "TLS needs --tls-cert and --tls-key, and, to know other nodes by, --tls-ca (not with --gossip false): {0} is missing"
    )]
    TlsIncomplete(&'static str),
    /// The host name does not make a name.
    #[error("this machine's name does not make a node id: give --node-id NAME, 1 to 64 of A-Z a-z 0-9 . _ -")]
    NoName,
}

impl Settings {
    /// Completes the options with the defaults and checks them.
    ///
    /// # Errors
    /// [`SettingsError`] says which option to change.
    pub fn new(options: Options) -> Result<Self, SettingsError> {
        let port = options.port.unwrap_or(8080);
        let ip = options.listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        if !ip.is_loopback() && options.tokens_file.is_none() && options.insecure != Some(true) {
            return Err(SettingsError::Exposed(ip));
        }
        let listen = SocketAddr::new(ip, port);
        // Two names for one port are one port.
        let kv_listen = options.kv_port.filter(|second| *second != port).map(|port| SocketAddr::new(ip, port));
        let advertise = match &options.advertise {
            Some(endpoint) => endpoint.0.clone(),
            None if ip.is_unspecified() => return Err(SettingsError::NoAdvertise(ip)),
            None => Address::new(&listen.to_string()).expect("a socket address is a good address"),
        };
        let node_id = match &options.node_id {
            Some(node_id) => node_id.clone(),
            None => default_node_id(port)?,
        };
        let gossip = options.gossip.unwrap_or(true);
        let given = options.seed_node.clone().unwrap_or_default();
        // Whoever says that there are no seeds means the discovery, too.
        let discovery = options.discovery_service.clone().filter(|_| options.seed_node != Some(Vec::new()));
        if !gossip && (!given.is_empty() || discovery.is_some()) {
            return Err(SettingsError::SeedsWithoutGossip);
        }
        let others = given.into_iter().map(|seed| seed.0).filter(|seed| !is_self(seed, &advertise, listen));
        let seeds = others.chain(discovery.iter().map(|service| service.address().clone())).collect();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(64));
        Ok(Self {
            data_dir: options.data_dir.clone().unwrap_or_else(|| PathBuf::from("data").join(node_id.as_str())),
            storage: options.storage.unwrap_or(StorageKind::Lsm),
            durability: options.durability.unwrap_or(Durability::Sync),
            shards: options.shards.unwrap_or_else(|| u8::try_from(cores.div_ceil(2)).expect("at most 32")),
            connection_threads: NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN),
            tls: tls_files(&options, gossip)?,
            tokens_file: options.tokens_file.clone(),
            peer_secret_file: options.peer_secret_file.clone(),
            allow_origins: options.allow_origin.clone().unwrap_or_default(),
            dashboard_write: options.dashboard_write.unwrap_or(false),
            log_format: options.log_format.unwrap_or(LogFormat::Text),
            core: core_config(options)?,
            node_id,
            kv_listen,
            listen,
            advertise,
            seeds,
            discovery,
            gossip,
        })
    }

    /// Whether clients must show who they are and nodes need not, where strangers may reach this one.
    pub(crate) fn anybody_may_join(&self) -> bool {
        !self.listen.ip().is_loopback()
            && self.gossip
            && self.tokens_file.is_some()
            && self.peer_secret_file.is_none()
            && self.tls.is_none()
    }
}

fn tls_files(options: &Options, gossip: bool) -> Result<Option<TlsFiles>, SettingsError> {
    let Options { tls_cert, tls_key, tls_ca, .. } = options.clone();
    if tls_cert.is_none() && tls_key.is_none() && tls_ca.is_none() {
        return Ok(None);
    }
    let certificate = tls_cert.ok_or(SettingsError::TlsIncomplete("--tls-cert"))?;
    let key = tls_key.ok_or(SettingsError::TlsIncomplete("--tls-key"))?;
    if gossip && tls_ca.is_none() {
        return Err(SettingsError::TlsIncomplete("--tls-ca"));
    }
    Ok(Some(TlsFiles { certificate, key, authority: tls_ca }))
}

fn core_config(options: Options) -> Result<Config, SettingsError> {
    let default = Config::default();
    let usual = default.cluster.replication;
    let n = options.replication_factor.unwrap_or_else(|| usual.n.get());
    let r = options.read_quorum.unwrap_or_else(|| usual.r.get().min(n));
    let w = options.write_quorum.unwrap_or_else(|| usual.w.get().min(n));
    let cluster = ClusterConfig {
        name: options.cluster.unwrap_or(default.cluster.name),
        replication: Replication::new(n, r, w)?,
        placement: options.placement.unwrap_or(default.cluster.placement),
        strategies: Strategies::new(options.strategy.unwrap_or_default())?,
    };
    let spans = default.timing;
    let timing = Timing {
        gossip_interval: options.gossip_interval.map_or(spans.gossip_interval, |span| span.0),
        probe_interval: options.probe_interval.map_or(spans.probe_interval, |span| span.0),
        probe_timeout: options.probe_timeout.map_or(spans.probe_timeout, |span| span.0),
        suspicion_multiplier: options
            .suspicion_multiplier
            .and_then(NonZeroU8::new)
            .unwrap_or(spans.suspicion_multiplier),
        ..spans
    };
    timing.validate()?;
    let tags: BTreeMap<_, _> = options.tag.unwrap_or_default().into_iter().collect();
    let too_long = |text: &String| text.len() > limits::TAG_BYTES_MAX;
    if tags.len() > limits::TAGS_MAX || tags.iter().any(|(name, value)| too_long(name) || too_long(value)) {
        return Err(SettingsError::Tags);
    }
    let value_bytes_max = options.max_value_size.map_or(default.value_bytes_max, |size| size.0);
    if value_bytes_max == 0 || value_bytes_max > limits::VALUE_BYTES_MAX {
        return Err(SettingsError::ValueSize { given: value_bytes_max });
    }
    Ok(Config {
        cluster,
        zone: options.zone.unwrap_or(default.zone),
        weight: options.weight.and_then(NonZeroU16::new).unwrap_or(default.weight),
        tags,
        timing,
        value_bytes_max,
        trace: Trace::Outcomes,
        evict_after: options.evict_after.map_or(default.evict_after, |Patience(span)| span),
        ..default
    })
}

/// Host name and port, with what a name cannot hold replaced by dashes.
fn default_node_id(port: u16) -> Result<NodeId, SettingsError> {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let suffix = format!("-{port}");
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let host: String = host.chars().map(allowed).take(limits::NODE_ID_BYTES_MAX - suffix.len()).collect();
    NodeId::new(&format!("{host}{suffix}")).map_err(|_| SettingsError::NoName)
}

/// Whether a seed is this node itself: by its text, or because it leads to this machine and this port. One that does not
/// resolve is somebody else: it may resolve later.
pub(crate) fn is_self(seed: &Address, advertise: &Address, listen: SocketAddr) -> bool {
    if seed == advertise {
        return true;
    }
    let same_port = seed.as_str().rsplit_once(':').is_some_and(|(_, port)| port.parse() == Ok(listen.port()));
    let leads_here = |address: SocketAddr| {
        address.ip() == listen.ip()
            // Only an address of this machine can be bound.
            || listen.ip().is_unspecified() && UdpSocket::bind((address.ip(), 0)).is_ok()
    };
    same_port && seed.as_str().to_socket_addrs().is_ok_and(|mut found| found.any(leads_here))
}

#[cfg(test)]
mod tests {
    use super::super::units::{Endpoint, Size, Span};
    use super::*;
    use std::time::Duration;

    fn settings(change: impl FnOnce(&mut Options)) -> Result<Settings, String> {
        let mut options = Options { node_id: Some(NodeId::new("n").expect("good")), ..Options::default() };
        change(&mut options);
        Settings::new(options).map_err(|error| error.to_string())
    }

    fn endpoint(text: &str) -> Endpoint {
        text.parse().expect("an endpoint")
    }

    #[test]
    fn the_defaults_are_those_of_the_interface() {
        let settings = Settings::new(Options::default()).expect("good");
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.advertise.as_str(), "127.0.0.1:8080");
        assert!(settings.node_id.as_str().ends_with("-8080"), "{}", settings.node_id);
        assert_eq!(settings.data_dir, PathBuf::from("data").join(settings.node_id.as_str()));
        assert_eq!((settings.storage, settings.durability), (StorageKind::Lsm, Durability::Sync));
        let expected = Config { trace: Trace::Outcomes, ..Config::default() };
        assert_eq!(settings.core, expected, "a server logs what came of something, not every step");
    }

    #[test]
    fn listening_beyond_this_machine_must_be_meant() {
        let open = |options: &mut Options| options.listen = "0.0.0.0".parse().ok();
        let message = settings(open).expect_err("refused");
        assert!(message.contains("--insecure") && message.contains("--tokens-file"), "{message}");
        let guarded = |secret: Option<&str>| {
            let settings = settings(|options| {
                open(options);
                options.advertise = Some(endpoint("node-1:8080"));
                options.tokens_file = Some("tokens".into());
                options.peer_secret_file = secret.map(Into::into);
            });
            settings.expect("good")
        };
        assert_eq!(guarded(None).tokens_file, Some("tokens".into()));
        assert!(guarded(None).anybody_may_join() && !guarded(Some("secret")).anybody_may_join());
        let insecure = |options: &mut Options| {
            open(options);
            options.insecure = Some(true);
        };
        assert!(settings(insecure).expect_err("refused").contains("--advertise"));
        let told = settings(|options| {
            insecure(options);
            options.advertise = Some(endpoint("node-1:8080"));
        });
        assert_eq!(told.expect("good").advertise.as_str(), "node-1:8080");
    }

    #[test]
    fn a_seed_that_is_the_node_itself_is_left_out() {
        let seeds = ["127.0.0.1:8080", "localhost:8080", "127.0.0.1:8081", "nowhere.invalid:8080", "me:9"];
        let settings = settings(|options| {
            options.advertise = Some(endpoint("me:9"));
            options.seed_node = Some(seeds.map(endpoint).into());
        });
        let left: Vec<_> = settings.expect("good").seeds.iter().map(ToString::to_string).collect();
        assert_eq!(left, ["127.0.0.1:8081", "nowhere.invalid:8080"]);
    }

    #[test]
    fn a_discovery_is_a_seed_unless_there_are_to_be_none() {
        let service = || "dns://localhost:8080".parse().ok();
        let found = settings(|options| options.discovery_service = service()).expect("good");
        assert_eq!(found.seeds.iter().map(Address::as_str).collect::<Vec<_>>(), ["localhost:8080"]);
        let bootstrap = settings(|options| {
            options.discovery_service = service();
            options.seed_node = Some(Vec::new());
        });
        let bootstrap = bootstrap.expect("good");
        assert!(bootstrap.seeds.is_empty() && bootstrap.discovery.is_none());
    }

    #[test]
    fn a_node_dead_for_a_day_is_evicted_unless_another_span_or_never_was_said() {
        let evict_after = |text: Option<&str>| {
            let patience = text.map(|text| text.parse().expect("good"));
            settings(|options| options.evict_after = patience).expect("good").core.evict_after
        };
        assert_eq!(evict_after(None), Some(Duration::from_secs(86_400)));
        assert_eq!(evict_after(Some("0s")), Some(Duration::ZERO));
        assert_eq!(evict_after(Some("never")), None);
    }

    #[test]
    fn quorums_shrink_with_the_number_of_copies_only_where_nothing_was_said() {
        let one = settings(|options| options.replication_factor = Some(1)).expect("good");
        let replication = one.core.cluster.replication;
        assert_eq!((replication.n.get(), replication.r.get(), replication.w.get()), (1, 1, 1));
        let said = settings(|options| {
            options.replication_factor = Some(1);
            options.write_quorum = Some(2);
        });
        assert!(said.expect_err("refused").contains("write quorum 2"));
    }

    #[test]
    fn strategies_are_checked_together() {
        use quorate_core::config::Strategy::{self, Lww, Siblings};
        use quorate_core::id::Key;
        let with = |entries: &[(&str, Strategy)]| {
            let entries = entries.iter().map(|(prefix, strategy)| ((*prefix).to_owned(), *strategy)).collect();
            settings(|options| options.strategy = Some(entries)).map(|settings| settings.core.cluster.strategies)
        };
        let key = |name: &str| Key::new(name).expect("a good key");
        let strategies = with(&[("session/", Lww), ("session/kept/", Siblings)]).expect("good");
        assert_eq!((strategies.of(&key("session/1")), strategies.of(&key("session/kept/1"))), (Lww, Siblings));
        let message = with(&[("a", Lww), ("a", Siblings)]).expect_err("refused");
        assert!(message.contains("two strategies for the prefix \"a\""), "{message}");
    }

    #[test]
    fn tls_needs_all_of_its_files() {
        let with = |certificate: bool, key: bool, authority: bool, gossip: bool| {
            settings(|options| {
                options.tls_cert = certificate.then(|| "cert".into());
                options.tls_key = key.then(|| "key".into());
                options.tls_ca = authority.then(|| "ca".into());
                options.gossip = Some(gossip);
            })
            .map(|settings| settings.tls.is_some())
        };
        assert_eq!(with(false, false, false, true), Ok(false));
        assert_eq!((with(true, true, true, true), with(true, true, false, false)), (Ok(true), Ok(true)));
        assert!(with(true, true, false, true).expect_err("refused").contains("--tls-ca is missing"));
        assert!(with(true, false, true, true).expect_err("refused").contains("--tls-key is missing"));
        assert!(with(false, false, true, true).expect_err("refused").contains("--tls-cert is missing"));
    }

    #[test]
    fn values_out_of_range_are_refused_with_the_range() {
        let size = settings(|options| options.max_value_size = Some(Size(17 << 20)));
        assert!(size.expect_err("refused").contains("16MiB"));
        let probe = settings(|options| options.probe_timeout = Some(Span(Duration::from_secs(2))));
        assert!(probe.expect_err("refused").contains("shorter than the probe interval"));
        let lonely = settings(|options| {
            options.gossip = Some(false);
            options.seed_node = Some(vec![endpoint("a:1")]);
        });
        assert!(lonely.expect_err("refused").contains("--seed-node"));
        let tags = settings(|options| options.tag = Some(vec![("t".into(), "v".repeat(129))]));
        assert!(tags.expect_err("refused").contains("128"));
    }
}
