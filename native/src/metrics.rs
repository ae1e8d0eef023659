//! What a node counts and times, under the names that Prometheus sees. Names, labels and meanings stay as they are: people
//! have built alarms on them. Labels never hold keys, values or anything that clients choose.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use quorate_core::event::{EventKind, OperationKind};
use quorate_core::membership::ChangeKind;

/// The content type of the text format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds for what takes a round in a data centre or an fsync, in seconds.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds for values of one key.
const SIBLINGS: [f64; 8] = [1.0, 2.0, 3.0, 5.0, 10.0, 25.0, 50.0, 100.0];

/// What a store on disk counts. Made by the store, which exists before everything else.
#[derive(Clone, Debug)]
pub(crate) struct StoreMeters {
    /// How long fsyncs took.
    pub(crate) fsync: Histogram,
    /// Reads that met something that does not match its checksum.
    pub(crate) damaged_reads: IntCounter,
}

impl StoreMeters {
    pub(crate) fn new() -> Self {
        let help = "Time that an fsync of the store took; one serves all writes that wait for it.";
        let fsync = HistogramOpts::new("quorate_fsync_duration_seconds", help).buckets(SECONDS.to_vec());
        let damaged =
            options("damaged_reads_total", "Reads in which the store's engine met a checksum that does not fit.");
        Self {
            fsync: Histogram::with_opts(fsync).expect("a good name"),
            damaged_reads: IntCounter::with_opts(damaged).expect("a good name"),
        }
    }
}

/// Everything that one node counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    responses: IntCounterVec,
    requests: IntCounterVec,
    durations: HistogramVec,
    siblings: Histogram,
    hints: IntCounterVec,
    repaired: IntCounter,
    conflicts: IntCounter,
    hedged: IntCounter,
    damaged: IntCounter,
    collected: IntCounter,
    layout_refusals: IntCounter,
    rejected: IntCounter,
    transitions: IntCounterVec,
    /// What is looked up when somebody asks.
    pub(crate) looked_up: LookedUp,
}

/// Values that something else keeps, and that are copied here when somebody asks.
#[derive(Debug)]
pub(crate) struct LookedUp {
    pub(crate) uptime: IntGauge,
    pub(crate) ready: IntGauge,
    pub(crate) members: IntGaugeVec,
    pub(crate) rumors: IntGauge,
    pub(crate) local_health: IntGauge,
    pub(crate) messages: IntCounterVec,
    pub(crate) layout_version: IntGauge,
    pub(crate) layout_active: IntGauge,
    pub(crate) layout_owners: IntGauge,
    pub(crate) virtual_nodes: IntGauge,
    pub(crate) slices: IntGaugeVec,
    pub(crate) hints_kept: IntGaugeVec,
    pub(crate) exchanges: IntCounter,
    pub(crate) exchange_repairs: IntCounter,
    pub(crate) trees_built: IntCounter,
    pub(crate) healed: IntCounter,
    pub(crate) keys: IntGauge,
    pub(crate) disk_used: IntGauge,
    pub(crate) disk_free: IntGauge,
    pub(crate) queues: IntGaugeVec,
    pub(crate) http_under_way: IntGauge,
    pub(crate) coordinated: IntGauge,
}

impl Metrics {
    /// Nothing was counted yet. `store` is what the store counts, if it has a disk.
    ///
    /// # Panics
    /// When a name is given twice, which is a fault of this file.
    #[must_use]
    pub(crate) fn new(store: Option<StoreMeters>) -> Self {
        let names = Names(Registry::new());
        if let Some(store) = store {
            names.add(store.fsync);
            names.add(store.damaged_reads);
        }
        let build = names.gauges("build_info", "Always 1; the label says which version runs.", "version");
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "quorate_request_duration_seconds",
                "Time from a data request at this node until it had its quorum, or failed.",
            )
            .buckets(SECONDS.to_vec()),
            &["operation"],
        );
        let siblings = HistogramOpts::new("quorate_siblings", "Values that a read found under one key.");
        let metrics = Self {
            responses: names.counters(
                "http_responses_total",
                "Answers of the HTTP interface.",
                &["method", "path", "status"],
            ),
            requests: names.counters(
                "requests_total",
                "Data requests that this node has answered; the outcome is ok, or the code of the error.",
                &["operation", "outcome"],
            ),
            durations: names.add(durations.expect("a good name")),
            siblings: names.add(Histogram::with_opts(siblings.buckets(SIBLINGS.to_vec())).expect("a good name")),
            hints: names.counters(
                "hints_total",
                "Writes for owners that could not be reached: stored here, delivered from here, refused because there were too many.",
                &["outcome"],
            ),
            repaired: names.counter("repaired_copies_total", "Copies that were behind and were sent the merged set."),
            conflicts: names.counter("conflicts_total", "Writes that left a key with several values."),
            hedged: names.counter("hedged_requests_total", "Requests of which somebody else was asked, too, because an answer was late."),
            damaged: names.counter("damaged_objects_total", "Stored objects that did not match their checksum."),
            collected: names.counter("tombstones_collected_total", "Deletions that nobody needs to remember any more."),
            layout_refusals: names.counter("layout_refusals_total", "Requests of replicas that named another layout."),
            rejected: names.counter("rejected_messages_total", "Messages of other nodes that say what no member says."),
            transitions: names.counters(
                "member_transitions_total",
                "Changes of what this node believes of members.",
                &["transition"],
            ),
            looked_up: LookedUp::new(&names),
            registry: names.0,
        };
        metrics.begin_at_zero();
        metrics
    }

    /// What has not happened yet is there, too: an alarm on a rise must see where it rose from.
    fn begin_at_zero(&self) {
        for operation in ["get", "put", "delete"] {
            self.requests.with_label_values(&[operation, "ok"]);
            self.requests.with_label_values(&[operation, "quorum_not_met"]);
            self.durations.with_label_values(&[operation]);
        }
        for outcome in ["stored", "delivered", "refused"] {
            self.hints.with_label_values(&[outcome]);
        }
        for kind in [ChangeKind::Joined, ChangeKind::Suspected, ChangeKind::Died, ChangeKind::Refuted] {
            self.transitions.with_label_values(&[transition(kind)]);
        }
    }

    /// An answer of the interface; `path` is that of the route.
    pub(crate) fn answered(&self, method: &str, path: &str, status: u16) {
        self.responses.with_label_values(&[method, path, &status.to_string()]).inc();
    }

    /// A data request that came to its end.
    pub(crate) fn requested(&self, operation: OperationKind, outcome: &str, took: Duration) {
        let name = match operation {
            OperationKind::Get => "get",
            OperationKind::Put => "put",
            OperationKind::Delete => "delete",
        };
        self.requests.with_label_values(&[name, outcome]).inc();
        self.durations.with_label_values(&[name]).observe(took.as_secs_f64());
    }

    /// A read that found so many values.
    pub(crate) fn found(&self, siblings: usize) {
        self.siblings.observe(f64::from(u32::try_from(siblings).unwrap_or(u32::MAX)));
    }

    /// Something that happened inside the core.
    pub(crate) fn happened(&self, kind: &EventKind) {
        match kind {
            EventKind::HintStored { .. } => self.hints.with_label_values(&["stored"]).inc(),
            EventKind::HintDelivered { .. } => self.hints.with_label_values(&["delivered"]).inc(),
            EventKind::HintRefused { .. } => self.hints.with_label_values(&["refused"]).inc(),
            EventKind::Repaired { .. } => self.repaired.inc(),
            EventKind::Conflict { .. } => self.conflicts.inc(),
            EventKind::Hedged { .. } => self.hedged.inc(),
            EventKind::Damaged { .. } => self.damaged.inc(),
            EventKind::TombstoneCollected { .. } => self.collected.inc(),
            EventKind::LayoutRefused { .. } => self.layout_refusals.inc(),
            EventKind::Rejected { .. } => self.rejected.inc(),
            EventKind::MemberChanged { change } => {
                self.transitions.with_label_values(&[transition(change.kind)]).inc();
            }
            _ => {}
        }
    }

    /// Everything in the text format of Prometheus.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("memory takes everything");
        text
    }
}

impl LookedUp {
    fn new(names: &Names) -> Self {
        Self {
            uptime: names.gauge("uptime_seconds", "Time since the start of the node."),
            ready: names.gauge("ready", "1 if the node can serve requests, else 0."),
            members: names.gauges("members", "Members as this node believes them to be.", "status"),
            rumors: names.gauge("gossip_rumors", "News of members that are being spread now."),
            local_health: names
                .gauge("gossip_local_health", "0 if this node keeps up with its own probes; greater if it does not."),
            messages: names.counters(
                "peer_messages_total",
                "Messages between nodes: sent, dropped because they could not be sent, received, and malformed ones.",
                &["outcome"],
            ),
            layout_version: names.gauge("layout_version", "The newest version of who owns what."),
            layout_active: names
                .gauge("layout_active_versions", "Versions that are active; more than 1 while ownership passes."),
            layout_owners: names.gauge("layout_owners", "Nodes that own a part of the ring."),
            virtual_nodes: names.gauge("virtual_nodes", "Tokens on the ring."),
            slices: names.gauges(
                "layout_slices",
                "Slices of the ring, of 64, as to the newest layout: synced here, read under it, passed to it.",
                "state",
            ),
            hints_kept: names.gauges(
                "hints",
                "Writes that are kept here for owners that could not be reached.",
                "target",
            ),
            exchanges: names.counter(
                "anti_entropy_exchanges_total",
                "Comparisons of a slice with another owner that came to their end.",
            ),
            exchange_repairs: names
                .counter("anti_entropy_repairs_total", "Copies that comparisons brought up to date."),
            trees_built: names.counter("hash_trees_rebuilt_total", "Hash trees that did not fit their objects."),
            healed: names.counter("healed_objects_total", "Damaged objects that were fetched from their other owners."),
            keys: names.gauge("keys", "Keys that this node stores, deleted ones included."),
            disk_used: names.gauge("disk_used_bytes", "Bytes of the files of the store."),
            disk_free: names.gauge("disk_free_bytes", "Bytes left on the file system of the store; 0 without a disk."),
            queues: names.gauges("queue_length", "Inputs that wait for a thread of the node.", "thread"),
            http_under_way: names.gauge("http_requests_in_progress", "Requests that have come and are not answered."),
            coordinated: names
                .gauge("coordinated_requests_in_progress", "Data requests that this node coordinates now."),
        }
    }
}

/// Sets a counter that something else keeps.
pub(crate) fn set(counter: &IntCounter, value: u64) {
    counter.reset();
    counter.inc_by(value);
}

/// A count as a gauge has it.
pub(crate) fn gauged(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

const fn transition(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Joined => "joined",
        ChangeKind::Suspected => "suspected",
        ChangeKind::Died => "died",
        ChangeKind::Refuted => "refuted",
        ChangeKind::Revived => "revived",
        ChangeKind::Left => "left",
        ChangeKind::Updated => "updated",
    }
}

/// Makes what is counted known under its name, once.
struct Names(Registry);

impl Names {
    fn add<M: Collector + Clone + 'static>(&self, meter: M) -> M {
        self.0.register(Box::new(meter.clone())).expect("every name is given once");
        meter
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::with_opts(options(name, help)).expect("a good name"))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(options(name, help), labels).expect("a good name"))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::with_opts(options(name, help)).expect("a good name"))
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> IntGaugeVec {
        self.add(IntGaugeVec::new(options(name, help), &[label]).expect("a good name"))
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("quorate_{name}"), help)
}
