//! What `quorate serve` can be told, as clap reads it. The environment and the file are read by the same parser, so that
//! one rule and one message serves all three. Never fills in a default: that happens once, in `settings`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use quorate_core::config::{Placement, Strategy};
use quorate_core::id::{ClusterName, NodeId, Zone};

use super::units::{Durability, Endpoint, Origin, Patience, Size, Span, parse_strategy, parse_tag};
use crate::discovery::DiscoveryService;

/// Where the data is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StorageKind {
    /// On disk, in a log-structured merge tree.
    Lsm,
    /// On disk, in one file of copy-on-write B-trees.
    Btree,
    /// In memory only: a restart begins empty.
    Memory,
}

impl StorageKind {
    /// As it is written on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lsm => "lsm",
            Self::Btree => "btree",
            Self::Memory => "memory",
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The flags of `quorate serve`. Each is also QUORATE_FLAG in the environment (upper case, _ for -) and a key of
/// --config FILE.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Stable name of this node: 1 to 64 of A-Z a-z 0-9 . _ - [default: host name and port]
    #[arg(long, value_name = "NAME")]
    pub node_id: Option<NodeId>,
    /// Port for clients, peers and the page [default: 8080]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// A second port for the same things
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub kv_port: Option<u16>,
    /// IP address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    pub listen: Option<IpAddr>,
    /// Where peers reach this node [default: the listen address and port]
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<Endpoint>,
    /// Directory of this node's data, locked while it runs [default: ./data/NODE-ID]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Any live members of the cluster to join; none founds a cluster, or goes back to the one in the data directory
    #[arg(long, alias = "seed-nodes", value_name = "HOST:PORT,..", value_delimiter = ',')]
    pub seed_node: Option<Vec<Endpoint>>,
    /// A name in the DNS that leads to the members of the cluster, asked again at each try to join
    #[arg(long, value_name = "dns://NAME:PORT")]
    pub discovery_service: Option<DiscoveryService>,
    /// Name of the cluster; nodes of other names are refused [default: quorate]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<ClusterName>,
    /// Copies of each key, N; the same on every node [default: 3]
    #[arg(long, value_name = "N")]
    pub replication_factor: Option<u8>,
    /// Answers a read waits for, R; the same on every node [default: 2, or N if that is less]
    #[arg(long, value_name = "R")]
    pub read_quorum: Option<u8>,
    /// Durable copies a write waits for, W; the same on every node [default: 2, or N if that is less]
    #[arg(long, value_name = "W")]
    pub write_quorum: Option<u8>,
    /// How the ring is cut among the nodes, tokens:K or partitions:K; the same on every node [default: tokens:150]
    #[arg(long)]
    pub placement: Option<Placement>,
    /// What concurrent writes of keys that begin with PREFIX become: siblings or lww (the last writer wins, others are
    /// lost); repeatable, the longest prefix decides; the same on every node [default: =siblings]
    #[arg(long, value_name = "PREFIX=STRATEGY,..", value_delimiter = ',', value_parser = parse_strategy)]
    pub strategy: Option<Vec<(String, Strategy)>>,
    /// Failure domain: copies of a key go to distinct zones first [default: default]
    #[arg(long)]
    pub zone: Option<Zone>,
    /// Share of the ring relative to the other nodes, 1 to 100 [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub weight: Option<u16>,
    /// For people and queries; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_tag)]
    pub tag: Option<Vec<(String, String)>>,
    /// false: a single node that talks to nobody [default: true]
    #[arg(long, value_name = "BOOL")]
    pub gossip: Option<bool>,
    /// Between two rounds of gossip [default: 200ms]
    #[arg(long, value_name = "SPAN")]
    pub gossip_interval: Option<Span>,
    /// Between two probes of members [default: 600ms]
    #[arg(long, value_name = "SPAN")]
    pub probe_interval: Option<Span>,
    /// Until a probe counts as unanswered and others are asked [default: 300ms]
    #[arg(long, value_name = "SPAN")]
    pub probe_timeout: Option<Span>,
    /// Shortest suspicion in probe intervals, for up to 100 members, 1 to 100 [default: 6]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub suspicion_multiplier: Option<u8>,
    /// A node dead for so long is taken out of the layout, if there are more owners than copies: a span of time, 0s for at
    /// once, or never [default: 24h]
    #[arg(long, value_name = "SPAN")]
    pub evict_after: Option<Patience>,
    /// When a write counts as written: sync, after an fsync that writes which come together share; interval:SPAN, once the
    /// operating system has it, with an fsync after each span; os, then too, with no fsync for its sake until the node stops
    /// [default: sync]
    #[arg(long, value_name = "sync|interval:SPAN|os")]
    pub durability: Option<Durability>,
    /// Where the data is kept [default: lsm]
    #[arg(long, value_enum)]
    pub storage: Option<StorageKind>,
    /// Data-plane threads, 1 to 64; may be changed on existing data [default: half of the cores]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub shards: Option<u8>,
    /// Largest value accepted, at most 16MiB [default: 1MiB]
    #[arg(long, value_name = "SIZE")]
    pub max_value_size: Option<Size>,
    /// Certificate of this node, PEM: clients and other nodes speak TLS with it from then on; needs --tls-key and --tls-ca
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Authority of the cluster, PEM: whoever has a certificate of it is taken for a node
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Whoever asks must send one of the tokens in this file: a line for each, `read TOKEN`, `write TOKEN` or
    /// `admin TOKEN`; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub tokens_file: Option<PathBuf>,
    /// Only nodes that know the secret in this file are let in, and only they are talked to; the same on every node
    #[arg(long, value_name = "FILE")]
    pub peer_secret_file: Option<PathBuf>,
    /// Listen beyond this machine although nobody has to prove who they are
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub insecure: Option<bool>,
    /// Pages of these origins may use this node as a program may; repeatable [default: none]
    #[arg(long, value_name = "ORIGIN,..", value_delimiter = ',')]
    pub allow_origin: Option<Vec<Origin>>,
    /// Pages that members of the cluster serve may write, too, and not only read
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub dashboard_write: Option<bool>,
    /// How log lines look; RUST_LOG says which there are [default: text]
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
}

impl Options {
    /// These options, and where they say nothing the weaker ones.
    #[must_use]
    pub fn or(self, weaker: Self) -> Self {
        Self {
            node_id: self.node_id.or(weaker.node_id),
            port: self.port.or(weaker.port),
            kv_port: self.kv_port.or(weaker.kv_port),
            listen: self.listen.or(weaker.listen),
            advertise: self.advertise.or(weaker.advertise),
            data_dir: self.data_dir.or(weaker.data_dir),
            seed_node: self.seed_node.or(weaker.seed_node),
            discovery_service: self.discovery_service.or(weaker.discovery_service),
            cluster: self.cluster.or(weaker.cluster),
            replication_factor: self.replication_factor.or(weaker.replication_factor),
            read_quorum: self.read_quorum.or(weaker.read_quorum),
            write_quorum: self.write_quorum.or(weaker.write_quorum),
            placement: self.placement.or(weaker.placement),
            strategy: self.strategy.or(weaker.strategy),
            zone: self.zone.or(weaker.zone),
            weight: self.weight.or(weaker.weight),
            tag: self.tag.or(weaker.tag),
            gossip: self.gossip.or(weaker.gossip),
            gossip_interval: self.gossip_interval.or(weaker.gossip_interval),
            probe_interval: self.probe_interval.or(weaker.probe_interval),
            probe_timeout: self.probe_timeout.or(weaker.probe_timeout),
            suspicion_multiplier: self.suspicion_multiplier.or(weaker.suspicion_multiplier),
            evict_after: self.evict_after.or(weaker.evict_after),
            durability: self.durability.or(weaker.durability),
            storage: self.storage.or(weaker.storage),
            shards: self.shards.or(weaker.shards),
            max_value_size: self.max_value_size.or(weaker.max_value_size),
            tls_cert: self.tls_cert.or(weaker.tls_cert),
            tls_key: self.tls_key.or(weaker.tls_key),
            tls_ca: self.tls_ca.or(weaker.tls_ca),
            tokens_file: self.tokens_file.or(weaker.tokens_file),
            peer_secret_file: self.peer_secret_file.or(weaker.peer_secret_file),
            insecure: self.insecure.or(weaker.insecure),
            allow_origin: self.allow_origin.or(weaker.allow_origin),
            dashboard_write: self.dashboard_write.or(weaker.dashboard_write),
            log_format: self.log_format.or(weaker.log_format),
        }
    }
}
