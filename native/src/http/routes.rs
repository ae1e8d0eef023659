//! Every operation of the interface, once: where it is, what it needs, who carries it out, and what is said about it. The
//! router and what describes the interface to programs are both made from this table.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{MethodRouter, delete, get, post, put};

use super::access::{self, Access, Gate};
use super::openapi::{self, About, Field, Kind, Parameter};
use super::{App, cluster, data, events, gossip, health, kv, layout, members, metrics, page};
use crate::peer;

/// One method of one path.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    /// In lower case.
    pub(crate) method: &'static str,
    /// As axum writes paths.
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) about: About,
    handler: Handler,
}

type Handler = fn() -> MethodRouter<Arc<App>>;

impl Operation {
    const fn new(
        method: &'static str,
        path: &'static str,
        access: Access,
        handler: Handler,
        summary: &'static str,
    ) -> Self {
        let (parameters, body) = (&[], &[]);
        let about = About { summary, parameters, body, takes_bytes: false, status: 200, answer: "application/json" };
        Self { method, path, access, about, handler }
    }

    const fn with(mut self, parameters: &'static [Parameter]) -> Self {
        self.about.parameters = parameters;
        self
    }

    const fn body(mut self, fields: &'static [Field]) -> Self {
        self.about.body = fields;
        self
    }

    const fn or_bytes(mut self) -> Self {
        self.about.takes_bytes = true;
        self
    }

    const fn status(mut self, status: u16) -> Self {
        self.about.status = status;
        self
    }

    const fn answers(mut self, content_type: &'static str) -> Self {
        self.about.answer = content_type;
        self
    }
}

const fn reads(path: &'static str, access: Access, handler: Handler, summary: &'static str) -> Operation {
    Operation::new("get", path, access, handler, summary)
}

const fn posts(path: &'static str, access: Access, handler: Handler, summary: &'static str) -> Operation {
    Operation::new("post", path, access, handler, summary)
}

const DATA: &str = "/api/v1/data/{*key}";

const KEY: Parameter = Parameter("key", Kind::Needed, "the key");
const R: Parameter = Parameter("r", Kind::Quorum, "answers to wait for; the cluster's default if it is left out");
const PR: Parameter = Parameter("pr", Kind::Quorum, "answers of owners to wait for");
const W: Parameter =
    Parameter("w", Kind::Quorum, "durable copies to wait for; the cluster's default if it is left out");
const PW: Parameter = Parameter("pw", Kind::Quorum, "durable copies at owners to wait for");
const SLOPPY: Parameter = Parameter("sloppy", Kind::Flag, "false: no other node stands in for an owner that is away");
const TIMEOUT: Parameter = Parameter("timeout_ms", Kind::Whole, "how long to wait at most");
const CONTEXT: Parameter = Parameter("X-Quorate-Context", Kind::Text, "context of a read: what the write replaces");
const IDEMPOTENCY: Parameter = Parameter("Idempotency-Key", Kind::Text, "the same name is the same write, sent again");

const READ: &[Parameter] = &[R, PR, TIMEOUT];
const WRITE: &[Parameter] = &[W, PW, SLOPPY, TIMEOUT, CONTEXT, IDEMPOTENCY];
const DELETE_BY_KEY: &[Parameter] = &[
    Parameter("key", Kind::Text, "the key, if the body does not name it"),
    W,
    PW,
    SLOPPY,
    TIMEOUT,
    CONTEXT,
    IDEMPOTENCY,
];

const CONTEXT_FIELD: Field = Field("context", Kind::Text, "as the header X-Quorate-Context");
const VALUE_FIELD: Field = Field("value", Kind::AnyNeeded, "any JSON");
const CHANGES: &[Field] = &[
    Field("base", Kind::Whole, "the layout version that the changes were planned for"),
    Field("remove", Kind::Texts, "nodes that give up what they own"),
    Field("replace", Kind::Object, "who goes, and who takes the place"),
    Field("weight", Kind::Object, "shares of nodes, 1 to 100"),
    Field("zone", Kind::Object, "failure domains of nodes"),
];

/// All of them.
pub(crate) const OPERATIONS: &[Operation] = &[
    reads(DATA, Access::Read, || get(data::get), "Read a key.").with(READ),
    Operation::new("put", DATA, Access::Write, || put(data::put), "Write a key.")
        .with(WRITE)
        .body(&[VALUE_FIELD, CONTEXT_FIELD])
        .or_bytes(),
    Operation::new("delete", DATA, Access::Write, || delete(data::delete), "Delete a key; an absent one is fine.")
        .with(WRITE)
        .body(&[CONTEXT_FIELD]),
    posts("/kv/set", Access::Write, || post(kv::set), "Write a key that the body names.").with(WRITE).body(&[
        Field("key", Kind::Needed, "the key"),
        VALUE_FIELD,
        CONTEXT_FIELD,
    ]),
    reads("/kv/get", Access::Read, || get(kv::get), "Read a key.").with(&[KEY, R, PR, TIMEOUT]),
    posts("/kv/delete", Access::Write, || post(kv::delete), "Delete a key.")
        .with(DELETE_BY_KEY)
        .body(&[Field("key", Kind::Text, "the key"), CONTEXT_FIELD]),
    Operation::new("delete", "/kv/delete", Access::Write, || delete(kv::delete), "Delete a key.")
        .with(DELETE_BY_KEY)
        .body(&[Field("key", Kind::Text, "the key"), CONTEXT_FIELD]),
    reads("/kv/stats", Access::Read, || get(kv::stats), "What this node stores."),
    reads("/api/v1/status", Access::Read, || get(cluster::status), "How the cluster does, and this node in it."),
    reads("/status", Access::Read, || get(cluster::status), "The same as /api/v1/status."),
    reads("/api/v1/ring", Access::Read, || get(cluster::ring), "The ring, and who holds a key.").with(&[Parameter(
        "key",
        Kind::Text,
        "also tell who holds this key",
    )]),
    reads(
        "/api/v1/vector-clock",
        Access::Read,
        || get(cluster::vector_clock),
        "What was done through this node lately.",
    )
    .with(&[Parameter("since", Kind::Whole, "only what came after this event")]),
    reads(
        "/api/v1/cluster/health",
        Access::Read,
        || get(health::gathered),
        "Every member's own view, and where they differ.",
    ),
    reads("/api/v1/cluster/members", Access::Read, || get(members::list), "Every member, and what it owns."),
    posts("/api/v1/cluster/members", Access::Admin, || post(members::change), "Add, remove or replace a node.").body(
        &[
            Field("action", Kind::Needed, "add, remove or replace"),
            Field("node_id", Kind::Text, "who comes; who goes; or whose place is taken"),
            Field("new_node_id", Kind::Text, "who takes the place"),
            Field("address", Kind::Text, "where whoever comes is reached, host:port"),
            Field("http_address", Kind::Text, "as the address, and before it"),
        ],
    ),
    reads("/api/v1/layout", Access::Read, || get(layout::show), "Who owns what, and how far a change has come."),
    // A plan changes nothing.
    posts("/api/v1/layout/plan", Access::Read, || post(layout::plan), "What changes would move; nothing moves.")
        .body(CHANGES),
    posts("/api/v1/layout/apply", Access::Admin, || post(layout::apply), "Make changes, all in one version.")
        .body(CHANGES),
    posts(
        "/api/v1/layout/revert",
        Access::Admin,
        || post(layout::revert),
        "Go back to what was before the change under way.",
    ),
    posts(
        "/api/v1/layout/force",
        Access::Admin,
        || post(layout::force),
        "Give nodes up for lost, without asking the owners.",
    )
    .body(&[
        Field("lost", Kind::Texts, "which nodes"),
        Field("i_know_what_is_lost", Kind::Flag, "true: the risk that an answer without it tells is accepted"),
    ]),
    reads(
        "/gossip/status",
        Access::Read,
        || get(gossip::status),
        "How many members are alive, and the timing of gossip.",
    ),
    reads("/gossip/members", Access::Read, || get(gossip::members), "Every member and what is believed of it."),
    reads("/gossip/rumors", Access::Read, || get(gossip::rumors), "What is being spread now."),
    posts("/gossip/join", Access::Admin, || post(gossip::join), "Introduce a node to the cluster.").body(&[
        Field("address", Kind::Needed, "where it is reached, host:port"),
        Field("node_id", Kind::Text, "who is expected there"),
    ]),
    posts("/gossip/leave", Access::Admin, || post(members::leave), "Make this node leave for good.").status(202),
    posts("/gossip/event", Access::Write, || post(events::fire), "Tell the whole cluster something.")
        .body(&[Field("name", Kind::Needed, "what it is called"), Field("payload", Kind::Any, "what it says")])
        .status(202),
    reads("/gossip/events", Access::Read, || get(events::listen), "What the cluster is told, as it comes.")
        .with(&[
            Parameter("name", Kind::Text, "only events of this name"),
            Parameter("follow", Kind::Flag, "false: only events that the node remembers"),
        ])
        .answers("text/event-stream"),
    posts("/gossip/query", Access::Write, || post(events::ask), "Ask members something, and gather the answers.").body(
        &[
            Field("name", Kind::Needed, "what it is called"),
            Field("payload", Kind::Any, "what is asked"),
            Field("timeout_ms", Kind::Whole, "how long to wait for answers"),
            Field("to", Kind::Object, "who is asked: nodes, or tags; all if it is left out"),
        ],
    ),
    reads("/health", Access::Anyone, || get(cluster::health), "Whether every thread of the node answers."),
    reads("/ready", Access::Anyone, || get(cluster::ready), "Whether the node can serve requests."),
    reads("/metrics", Access::Read, || get(metrics::metrics), "What the node counts, for Prometheus.")
        .answers("text/plain"),
    reads("/openapi.json", Access::Public, || get(openapi::document), "This document."),
    reads("/", Access::Public, || get(page::document), "The dashboard of the cluster.").answers("text/html"),
    reads("/playground", Access::Public, || get(page::document), "The playground.").answers("text/html"),
    reads(peer::PATH, Access::Anyone, || get(super::peers), "Where connections between nodes begin; not for clients.")
        .status(101),
];

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let add = |router: Router<Arc<App>>, operation: &Operation| {
        let gate = Gate { app: app.clone(), access: operation.access, path: operation.path };
        let admit = middleware::from_fn_with_state(gate, access::admit);
        router.route(operation.path, (operation.handler)().route_layer(admit))
    };
    OPERATIONS
        .iter()
        .fold(Router::new(), add)
        .fallback(super::elsewhere)
        .method_not_allowed_fallback(super::method_not_allowed)
        .with_state(app)
}
