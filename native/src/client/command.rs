//! `quorate get`, `put`, `delete`, `status`, `members` and `ring`: what each asks for and how the answer is shown. Events are
//! in `events`, changes of who owns what in `ownership`.

use std::io::{self, Read as _};
use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, Subcommand};
use hyper::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::connection::{Answer, Call, ConnectionError, Streamed};
use super::events::{self, EventsArguments};
use super::ownership::{self, OwnershipCommand};
use super::table;
use crate::config::Endpoint;
use crate::tls::{TlsClient, TlsError};
use crate::tokens;

/// Everything that may mean something in a path or a query.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where to ask, and how to show the answer.
#[derive(Args, Clone, Debug)]
pub struct ClientArguments {
    /// Any nodes of the cluster; the first that can be reached is asked
    #[arg(
        long,
        env = "QUORATE_ENDPOINT",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:8080"
    )]
    pub(crate) endpoint: Vec<Endpoint>,
    /// What proves to the nodes who you are; better said in the environment, which other users of the machine do not see
    #[arg(long, env = "QUORATE_TOKEN", hide_env_values = true, value_parser = parse_token)]
    token: Option<String>,
    /// Speak TLS, and believe nodes with a certificate of this authority, a PEM file
    #[arg(long, env = "QUORATE_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Show the whole answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_token(text: &str) -> Result<String, String> {
    tokens::check(text).map(|()| text.to_owned())
}

impl ClientArguments {
    /// Sends a call to the first endpoint that can be reached.
    pub(super) async fn send(&self, call: Call) -> Result<Answer, ClientError> {
        Ok(self.authorized(call).send(&self.endpoint, self.tls()?.as_ref()).await?)
    }

    /// As `send`, for an answer that comes bit by bit.
    pub(super) async fn stream(&self, call: Call) -> Result<Streamed, ClientError> {
        Ok(self.authorized(call).stream(&self.endpoint, self.tls()?.as_ref()).await?)
    }

    fn authorized(&self, mut call: Call) -> Call {
        call.headers.extend(self.token.as_ref().map(|token| ("authorization", format!("Bearer {token}"))));
        call
    }

    /// What proves to the nodes who asks.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// How to speak TLS, where that is wanted.
    pub(crate) fn tls(&self) -> Result<Option<TlsClient>, TlsError> {
        self.tls_ca.as_deref().map(TlsClient::of_authority).transpose()
    }
}

/// What can be asked of a cluster.
#[derive(Clone, Debug, Subcommand)]
pub enum ClientCommand {
    /// Read a key.
    Get {
        /// The key
        key: String,
        /// Write the bytes as they were stored, and nothing else
        #[arg(long, conflicts_with = "json")]
        raw: bool,
        /// Answers to wait for, or all [default: the cluster's]
        #[arg(long, value_name = "R")]
        r: Option<String>,
        /// Where to ask.
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Write a key.
    Put {
        /// The key
        key: String,
        /// The value: JSON, or else a text; - reads it from standard input
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Store the bytes as they are, not as JSON
        #[arg(long)]
        raw: bool,
        /// The context of a read: replace exactly what it showed
        #[arg(long, value_name = "TOKEN")]
        context: Option<String>,
        /// Durable copies to wait for, or all [default: the cluster's]
        #[arg(long, value_name = "W")]
        w: Option<String>,
        /// Where to ask.
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Delete a key; one that is absent is fine.
    Delete {
        /// The key
        key: String,
        /// The context of a read: delete exactly what it showed
        #[arg(long, value_name = "TOKEN")]
        context: Option<String>,
        /// Durable copies to wait for, or all [default: the cluster's]
        #[arg(long, value_name = "W")]
        w: Option<String>,
        /// Where to ask.
        #[command(flatten)]
        client: ClientArguments,
    },
    /// How the cluster does, as the node asked sees it.
    Status {
        /// Where to ask.
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Every member and what is believed of it.
    Members {
        /// Where to ask.
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Who owns the ring.
    Ring {
        /// Also tell who holds this key
        #[arg(long)]
        key: Option<String>,
        /// Where to ask.
        #[command(flatten)]
        client: ClientArguments,
    },
    /// What users and nodes have told the whole cluster: a death, a new layout, a key in conflict, a deployment.
    Events(EventsArguments),
    /// Who owns what, and changes of it.
    #[command(flatten)]
    Ownership(OwnershipCommand),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no answer.
    #[error("{0}")]
    Connection(String),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The answer is no.
    #[error("{message} ({code})")]
    Refused {
        /// The error's code.
        code: String,
        /// What it says.
        message: String,
    },
    /// The answer is not one of quorate's.
    #[error("what answers is no node of quorate: status {0}")]
    NotQuorate(u16),
    /// Nobody has said yes.
    #[error("nothing was changed: add --yes to do it")]
    NotConfirmed,
    /// Standard input or output.
    #[error("standard input or output failed: {0}")]
    Io(#[from] io::Error),
}

impl From<ConnectionError> for ClientError {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(error.to_string())
    }
}

/// Asks, and writes what is answered to `out`.
///
/// # Errors
/// [`ClientError`].
pub async fn run(command: ClientCommand, out: &mut impl io::Write) -> Result<(), ClientError> {
    match command {
        ClientCommand::Get { key, raw: true, r, client } => {
            let mut call = Call::get(data_target(&key, "r", r.as_deref()));
            call.headers.push(("accept", "application/octet-stream".into()));
            let answer = accepted(client.send(call).await?)?;
            out.write_all(&answer.body)?;
        }
        ClientCommand::Get { key, raw: false, r, client } => {
            let call = Call::get(data_target(&key, "r", r.as_deref()));
            show(call, &client, out, value_text).await?;
        }
        ClientCommand::Put { key, value, raw, context, w, client } => {
            let (content_type, body) = put_body(value, raw)?;
            let target = data_target(&key, "w", w.as_deref());
            let mut call = Call { method: Method::PUT, body, ..Call::get(target) };
            call.headers.push(("content-type", content_type.into()));
            show(with_context(call, context), &client, out, written_text).await?;
        }
        ClientCommand::Delete { key, context, w, client } => {
            let call = Call { method: Method::DELETE, ..Call::get(data_target(&key, "w", w.as_deref())) };
            show(with_context(call, context), &client, out, written_text).await?;
        }
        ClientCommand::Status { client } => show(Call::get("/api/v1/status"), &client, out, status_text).await?,
        ClientCommand::Members { client } => show(Call::get("/gossip/members"), &client, out, members_text).await?,
        ClientCommand::Ring { key, client } => {
            let query = key.map(|key| format!("?key={}", encoded(&key))).unwrap_or_default();
            show(Call::get(format!("/api/v1/ring{query}")), &client, out, ring_text).await?;
        }
        ClientCommand::Events(arguments) => events::run(arguments, out).await?,
        ClientCommand::Ownership(command) => ownership::run(command, out).await?,
    }
    out.flush()?;
    Ok(())
}

/// Sends a call and shows the answer, as JSON or as text for people.
async fn show(
    call: Call,
    client: &ClientArguments,
    out: &mut impl io::Write,
    text: impl Fn(&Value) -> String,
) -> Result<(), ClientError> {
    let answer = accepted(client.send(call).await?)?;
    if client.json {
        return print_json(&answer.body, out);
    }
    let body = serde_json::from_slice(&answer.body).map_err(|_| ClientError::NotQuorate(answer.status.as_u16()))?;
    out.write_all(text(&body).as_bytes())?;
    Ok(())
}

/// An answer for programs, on a line of its own.
pub(super) fn print_json(body: &[u8], out: &mut impl io::Write) -> Result<(), ClientError> {
    out.write_all(body)?;
    Ok(out.write_all(b"\n")?)
}

/// The answer, if it is a success.
pub(super) fn accepted(answer: Answer) -> Result<Answer, ClientError> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match (body["error"]["code"].as_str(), body["error"]["message"].as_str()) {
        (Some(code), Some(message)) => Err(ClientError::Refused { code: code.into(), message: message.into() }),
        _ => Err(ClientError::NotQuorate(answer.status.as_u16())),
    }
}

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

fn data_target(key: &str, quorum: &str, count: Option<&str>) -> String {
    let query = count.map(|count| format!("?{quorum}={}", encoded(count))).unwrap_or_default();
    format!("/api/v1/data/{}{query}", encoded(key))
}

fn with_context(mut call: Call, context: Option<String>) -> Call {
    call.headers.extend(context.map(|context| ("x-quorate-context", context)));
    call
}

/// What is sent for a value, and as what.
fn put_body(value: String, raw: bool) -> Result<(&'static str, Bytes), ClientError> {
    let bytes = if value == "-" {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes)?;
        bytes
    } else {
        value.into_bytes()
    };
    if raw {
        return Ok(("application/octet-stream", bytes.into()));
    }
    let value = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
    Ok(("application/json", json!({ "value": value }).to_string().into()))
}

/// One line for each value; bytes that are not JSON in Base64.
fn value_text(body: &Value) -> String {
    let one = |entry: &Value| match entry.get("value") {
        Some(value) => value.to_string(),
        None => format!("{} ({})", text(&entry["value_base64"]), text(&entry["content_type"])),
    };
    match body["siblings"].as_array() {
        Some(siblings) => siblings.iter().map(|sibling| one(sibling) + "\n").collect(),
        None => one(body) + "\n",
    }
}

fn written_text(body: &Value) -> String {
    let names = |list: &Value| list.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ");
    let result = &body["replication_result"];
    let failed = names(&result["failed_nodes"]);
    let missing = if failed.is_empty() { String::new() } else { format!("; not on {failed}") };
    format!("durable on {}{missing}\n", names(&result["successful_nodes"]))
}

fn status_text(body: &Value) -> String {
    let (cluster, replication, storage) = (&body["cluster"], &body["replication"], &body["storage"]);
    let quorum = if replication["quorum_available"] == true { "available" } else { "not available" };
    let ready = body["not_ready_reason"].as_str().unwrap_or("yes");
    let members = format!(
        "{} alive, {} suspected, {} dead",
        text(&cluster["alive"]),
        text(&cluster["suspected"]),
        text(&cluster["dead"])
    );
    let copies = format!(
        "n={} r={} w={}, quorum {quorum}",
        text(&replication["n"]),
        text(&replication["r"]),
        text(&replication["w"])
    );
    let rows = [
        ("node", text(&body["node_id"])),
        ("version", text(&body["version"])),
        ("up", format!("{} s", text(&body["uptime_s"]))),
        ("ready", ready.into()),
        ("cluster", format!("{} ({})", text(&cluster["name"]), text(&cluster["id"]))),
        ("members", members),
        ("replication", copies),
        ("layout", text(&body["ring"]["layout_version"])),
        ("keys", text(&storage["keys"])),
        ("storage", format!("{}, {} bytes", text(&storage["engine"]), text(&storage["bytes"]))),
        ("durability", text(&storage["durability"])),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.into(), value]).collect();
    table::render(&["WHAT", "VALUE"], &rows)
}

fn members_text(body: &Value) -> String {
    let row = |member: &Value| {
        let stopped = member["stopped"] == true;
        let status = text(&member["status"]);
        vec![
            text(&member["node_id"]),
            text(&member["address"]),
            if stopped { format!("{status} (stopped)") } else { status },
            text(&member["incarnation"]),
            text(&member["zone"]),
            text(&member["last_seen"]),
        ]
    };
    let rows: Vec<_> =
        body["cluster_members"].as_object().into_iter().flatten().map(|(_, member)| row(member)).collect();
    table::render(&["NODE", "ADDRESS", "STATUS", "INCARNATION", "ZONE", "LAST SEEN"], &rows)
}

fn ring_text(body: &Value) -> String {
    let row = |node: &Value| ["node_id", "address", "zone", "weight", "tokens"].map(|name| text(&node[name])).to_vec();
    let rows: Vec<_> = body["nodes"].as_array().into_iter().flatten().map(row).collect();
    let mut shown = table::render(&["NODE", "ADDRESS", "ZONE", "WEIGHT", "TOKENS"], &rows);
    shown += &format!("layout {}, {} virtual nodes\n", text(&body["layout_version"]), text(&body["virtual_nodes"]));
    if let Some(replicas) = body["replicas"].as_array() {
        let names: Vec<String> = replicas.iter().map(text).collect();
        shown += &format!("{} lies at {} and is held by {}\n", body["key"], text(&body["hash"]), names.join(", "));
    }
    shown
}

/// A JSON value without the quotes of a text; nothing for null.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_json_or_else_a_text() {
        for (value, sent) in [
            ("1", r#"{"value":1}"#),
            ("{\"a\": [true]}", r#"{"value":{"a":[true]}}"#),
            ("John Doe", r#"{"value":"John Doe"}"#),
            ("\"quoted\"", r#"{"value":"quoted"}"#),
        ] {
            let (content_type, body) = put_body(value.into(), false).expect("no input is read");
            assert_eq!((content_type, &body[..]), ("application/json", sent.as_bytes()));
        }
        assert_eq!(put_body("1".into(), true).expect("no input is read"), ("application/octet-stream", "1".into()));
    }

    #[test]
    fn a_key_is_one_segment_of_the_path() {
        assert_eq!(data_target("a/b c?ä", "w", Some("all")), "/api/v1/data/a%2Fb%20c%3F%C3%A4?w=all");
        assert_eq!(data_target("user:1", "r", None), "/api/v1/data/user%3A1");
    }

    #[test]
    fn siblings_are_one_line_each() {
        let body =
            json!({ "value": 1, "siblings": [{ "value": 1 }, { "value_base64": "AA==", "content_type": "x/y" }] });
        assert_eq!(value_text(&body), "1\nAA== (x/y)\n");
        assert_eq!(value_text(&json!({ "value": null })), "null\n");
    }

    #[test]
    fn refusals_are_told_in_the_servers_words() {
        let answer = |status, body: &'static str| Answer { status, body: body.into() };
        let refused = accepted(answer(
            hyper::StatusCode::NOT_FOUND,
            r#"{"error":{"code":"not_found","message":"there is no value under \"k\""}}"#,
        ));
        assert_eq!(refused.expect_err("refused").to_string(), "there is no value under \"k\" (not_found)");
        let foreign = accepted(answer(hyper::StatusCode::BAD_GATEWAY, "<html>"));
        assert!(foreign.expect_err("refused").to_string().contains("502"));
    }
}
