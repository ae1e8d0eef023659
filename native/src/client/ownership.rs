//! `quorate layout`, `join`, `leave`, `remove` and `replace`: who owns what, and changes of it. Whatever moves data is shown
//! as a plan first, and done only once somebody has said yes.

use std::io::{self, IsTerminal as _, Write as _};

use bytes::Bytes;
use clap::{Args, Subcommand};
use hyper::Method;
use quorate_core::id::NodeId;
use serde_json::{Map, Value, json};

use super::command::{ClientArguments, ClientError, accepted, print_json, text};
use super::connection::Call;
use super::table;
use crate::config::Endpoint;

/// What can be done about who owns what.
#[derive(Clone, Debug, Subcommand)]
pub enum OwnershipCommand {
    /// Who owns what, and changes of it.
    #[command(subcommand)]
    Layout(LayoutCommand),
    /// Introduce the node at an address to the cluster that is asked.
    Join {
        /// Where the node is reached
        #[arg(value_name = "HOST:PORT")]
        address: Endpoint,
        /// Where to ask.
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Make the node at the endpoint leave for good: it hands over what it holds, then its process ends.
    Leave {
        /// Where to ask.
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Take a node, dead or alive, out of the layout for good.
    Remove {
        /// Which
        node: NodeId,
        /// How.
        #[command(flatten)]
        change: ChangeMode,
    },
    /// Give the place of a node, dead or alive, to another member that is alive.
    Replace {
        /// Who goes
        old: NodeId,
        /// Who comes
        new: NodeId,
        /// How.
        #[command(flatten)]
        change: ChangeMode,
    },
}

/// What can be done with the layout as a whole.
#[derive(Clone, Debug, Subcommand)]
pub enum LayoutCommand {
    /// The owners, and how far a change has come.
    Show {
        /// Where to ask.
        #[command(flatten)]
        client: ClientArguments,
    },
    /// What changes would move; nothing moves.
    Plan {
        /// What changes.
        #[command(flatten)]
        changes: ChangeArguments,
        /// Where to ask.
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Make changes, all in one version, once the plan was shown.
    Apply {
        /// What changes.
        #[command(flatten)]
        changes: ChangeArguments,
        /// The layout version that the changes were planned for; another one is refused [default: that of now]
        #[arg(long, value_name = "VERSION")]
        base: Option<u64>,
        /// How.
        #[command(flatten)]
        change: ChangeMode,
    },
    /// Go back to what was before the change that is under way.
    Revert {
        /// Where to ask.
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Take out nodes that are lost for ever, without asking the owners: only for when most of them are lost.
    Force {
        /// Which
        #[arg(required = true, value_name = "NODE")]
        lost: Vec<NodeId>,
        /// How.
        #[command(flatten)]
        change: ChangeMode,
    },
}

/// Whether to ask before something changes, and where it is done.
#[derive(Args, Clone, Debug)]
pub struct ChangeMode {
    /// Do it without asking; needed where there is no terminal
    #[arg(long, short)]
    yes: bool,
    /// Where to ask.
    #[command(flatten)]
    client: ClientArguments,
}

/// Changes of the layout.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = true)]
pub struct ChangeArguments {
    /// Take a node out; repeatable
    #[arg(long, value_name = "NODE,..", value_delimiter = ',')]
    remove: Vec<NodeId>,
    /// Give the place of OLD to NEW; repeatable
    #[arg(long, value_name = "OLD=NEW,..", value_delimiter = ',', value_parser = parse_pair)]
    replace: Vec<(String, String)>,
    /// Give a node another share, relative to the others; repeatable
    #[arg(long, value_name = "NODE=1..100,..", value_delimiter = ',', value_parser = parse_weight)]
    weight: Vec<(String, u16)>,
    /// Move a node to another zone; repeatable
    #[arg(long, value_name = "NODE=ZONE,..", value_delimiter = ',', value_parser = parse_pair)]
    zone: Vec<(String, String)>,
}

impl ChangeArguments {
    /// As the interface takes them.
    fn body(&self, base: Option<u64>) -> Value {
        let pairs = |pairs: &[(String, String)]| -> Map<String, Value> {
            pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
        };
        let weights: Map<String, Value> =
            self.weight.iter().map(|(node, weight)| (node.clone(), json!(weight))).collect();
        json!({
            "base": base,
            "remove": self.remove,
            "replace": pairs(&self.replace),
            "weight": weights,
            "zone": pairs(&self.zone),
        })
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.into(), value.into())),
        _ => Err("it must be two names with = between them, for example node-1=node-4".into()),
    }
}

fn parse_weight(text: &str) -> Result<(String, u16), String> {
    let pair = text.split_once('=').and_then(|(node, weight)| Some((node, weight.parse().ok()?)));
    match pair {
        Some((node, weight)) if !node.is_empty() && (1..=100).contains(&weight) => Ok((node.into(), weight)),
        _ => Err("it must be a node and a whole number from 1 to 100 with = between them, for example node-1=2".into()),
    }
}

/// Asks, and writes what is answered to `out`.
pub(super) async fn run(command: OwnershipCommand, out: &mut impl io::Write) -> Result<(), ClientError> {
    match command {
        OwnershipCommand::Layout(command) => run_layout(command, out).await,
        OwnershipCommand::Join { address, client } => {
            let call = post("/gossip/join", &json!({ "address": address.0 }));
            let answer = ask(call, &client).await?;
            show(&answer, &client, out, |joined| {
                format!("{} at {} is a member now\n", text(&joined["node_id"]), text(&joined["address"]))
            })
        }
        OwnershipCommand::Leave { client } => {
            let answer = ask(post("/gossip/leave", &json!({})), &client).await?;
            show(&answer, &client, out, |leaving| {
                format!(
                    "{} leaves with layout {}: it hands over what it holds, then its process ends\n",
                    text(&leaving["node_id"]),
                    text(&leaving["layout_version"])
                )
            })
        }
        OwnershipCommand::Remove { node, change } => apply(json!({ "remove": [node] }), &change, out).await,
        OwnershipCommand::Replace { old, new, change } => {
            apply(json!({ "replace": { old.as_str(): new } }), &change, out).await
        }
    }
}

async fn run_layout(command: LayoutCommand, out: &mut impl io::Write) -> Result<(), ClientError> {
    match command {
        LayoutCommand::Show { client } => {
            let answer = ask(Call::get("/api/v1/layout"), &client).await?;
            show(&answer, &client, out, layout_text)
        }
        LayoutCommand::Plan { changes, client } => {
            let answer = ask(post("/api/v1/layout/plan", &changes.body(None)), &client).await?;
            show(&answer, &client, out, plan_text)
        }
        LayoutCommand::Apply { changes, base, change } => apply(changes.body(base), &change, out).await,
        LayoutCommand::Revert { client } => {
            let answer = ask(post("/api/v1/layout/revert", &json!({})), &client).await?;
            show(&answer, &client, out, changed_text)
        }
        LayoutCommand::Force { lost, change } => force(&lost, &change, out).await,
    }
}

/// Shows the plan, and carries out exactly that one once somebody has said yes.
async fn apply(mut body: Value, mode: &ChangeMode, out: &mut impl io::Write) -> Result<(), ClientError> {
    let plan = ask(post("/api/v1/layout/plan", &body), &mode.client).await?;
    // Of two documents, only the last one is of use to a program.
    if !mode.client.json || !mode.yes {
        show(&plan, &mode.client, out, plan_text)?;
    }
    confirm(mode, out, "Make this change?")?;
    body["base"] = plan["base"].clone();
    let answer = ask(post("/api/v1/layout/apply", &body), &mode.client).await?;
    show(&answer, &mode.client, out, changed_text)
}

/// Shows what is risked, in the words of the node asked, and does it once somebody has said yes.
async fn force(lost: &[NodeId], mode: &ChangeMode, out: &mut impl io::Write) -> Result<(), ClientError> {
    let target = "/api/v1/layout/force";
    let refusal = mode.client.send(post(target, &json!({ "lost": lost }))).await?;
    let body: Value = serde_json::from_slice(&refusal.body).unwrap_or_default();
    if body["error"]["risk"].is_null() {
        accepted(refusal)?;
        return Ok(());
    }
    if !mode.client.json || !mode.yes {
        show(&body["error"]["risk"], &mode.client, out, risk_text)?;
    }
    confirm(mode, out, "Give them up for lost?")?;
    let answer = ask(post(target, &json!({ "lost": lost, "i_know_what_is_lost": true })), &mode.client).await?;
    show(&answer, &mode.client, out, changed_text)
}

/// Goes on only if somebody says yes, in the arguments or at the terminal.
fn confirm(mode: &ChangeMode, out: &mut impl io::Write, question: &str) -> Result<(), ClientError> {
    if mode.yes {
        return Ok(());
    }
    out.flush()?;
    if !io::stdin().is_terminal() {
        return Err(ClientError::NotConfirmed);
    }
    let mut terminal = io::stderr();
    write!(terminal, "{question} [y/N] ")?;
    terminal.flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(ClientError::NotConfirmed),
    }
}

fn post(target: &str, body: &Value) -> Call {
    let headers = vec![("content-type", "application/json".to_owned())];
    Call { method: Method::POST, headers, body: Bytes::from(body.to_string()), ..Call::get(target) }
}

async fn ask(call: Call, client: &ClientArguments) -> Result<Value, ClientError> {
    let answer = accepted(client.send(call).await?)?;
    serde_json::from_slice(&answer.body).map_err(|_| ClientError::NotQuorate(answer.status.as_u16()))
}

fn show(
    answer: &Value,
    client: &ClientArguments,
    out: &mut impl io::Write,
    for_people: impl Fn(&Value) -> String,
) -> Result<(), ClientError> {
    if client.json {
        return print_json(answer.to_string().as_bytes(), out);
    }
    Ok(out.write_all(for_people(answer).as_bytes())?)
}

fn changed_text(id: &Value) -> String {
    format!(
        "the layout is at version {} now: `quorate layout show` tells how far data has moved\n",
        text(&id["version"])
    )
}

fn layout_text(layout: &Value) -> String {
    let progress = &layout["progress"];
    let all = text(&progress["slices"]);
    let row = |owner: &Value| {
        let mut row = ["node_id", "zone", "weight", "place"].map(|name| text(&owner[name])).to_vec();
        row.push(format!("{} of {all}", text(&owner["slices_synced"])));
        row
    };
    let rows: Vec<_> = layout["owners"].as_array().into_iter().flatten().map(row).collect();
    let mut shown = table::render(&["NODE", "ZONE", "WEIGHT", "PLACE", "SYNCED"], &rows);
    shown += &format!(
        "layout {} (epoch {}, hash {})\n",
        text(&layout["version"]),
        text(&layout["epoch"]),
        text(&layout["hash"])
    );
    let active: Vec<String> = layout["active_versions"].as_array().into_iter().flatten().map(text).collect();
    if active.len() > 1 {
        shown += &format!(
            "a change is under way: versions {} are active; of {all} slices {} are read under the newest, {} have passed\n",
            active.join(", "),
            text(&progress["read"]),
            text(&progress["passed"])
        );
    }
    if let Some(reason) = layout["not_ready"].as_str() {
        shown += &format!("the node asked cannot serve: {reason}\n");
    }
    shown
}

fn plan_text(plan: &Value) -> String {
    let percent = |value: &Value| value.as_f64().map_or_else(String::new, |percent| format!("{percent:.2}%"));
    let part = |part: &Value| match part["ranges"].as_u64() {
        None | Some(0) => "nothing".to_owned(),
        Some(ranges) => {
            let bytes = part["bytes"].as_u64().map_or_else(String::new, |bytes| format!(", about {bytes} bytes"));
            format!("{} in {ranges} ranges{bytes}", percent(&part["percent"]))
        }
    };
    let row = |node: &Value| {
        let (before, after) = (percent(&node["share_before_percent"]), percent(&node["share_after_percent"]));
        vec![text(&node["node_id"]), before, after, part(&node["takes"]), part(&node["gives"])]
    };
    let rows: Vec<_> = plan["nodes"].as_array().into_iter().flatten().map(row).collect();
    let mut shown = table::render(&["NODE", "BEFORE", "AFTER", "TAKES", "GIVES"], &rows);
    shown += &format!("planned for layout {}, which would become {}\n", text(&plan["base"]), text(&plan["version"]));
    shown
}

fn risk_text(risk: &Value) -> String {
    let lost: Vec<String> = risk["lost"].as_array().into_iter().flatten().map(text).collect();
    format!(
        "To be given up for lost: {}\n  {}% of all keys have no owner left: they are lost\n  {}% of all keys may have lost \
         their last acknowledged writes\n  a node that lives after all is overruled, and what only it knows is lost\n",
        lost.join(", "),
        text(&risk["no_copy_left_percent"]),
        text(&risk["last_writes_at_risk_percent"])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_have_two_names_and_weights_a_range() {
        assert_eq!(parse_pair("a=b"), Ok(("a".into(), "b".into())));
        assert!(["a", "=b", "a="].into_iter().all(|text| parse_pair(text).is_err()));
        assert_eq!(parse_weight("a=100"), Ok(("a".into(), 100)));
        assert!(["a", "=1", "a=0", "a=101", "a=x"].into_iter().all(|text| parse_weight(text).is_err()));
    }

    #[test]
    fn a_plan_says_who_takes_and_gives_how_much() {
        let moved =
            |ranges, percent, bytes: Option<u64>| json!({ "ranges": ranges, "percent": percent, "bytes": bytes });
        let plan = json!({ "base": 4, "version": 5, "nodes": [{
            "node_id": "a", "share_before_percent": 25.0, "share_after_percent": 33.333,
            "takes": moved(7, 8.333, Some(100)), "gives": moved(0, 0.0, None),
        }] });
        let expected = "NODE  BEFORE  AFTER   TAKES                               GIVES\n\
                        a     25.00%  33.33%  8.33% in 7 ranges, about 100 bytes  nothing\n\
                        planned for layout 4, which would become 5\n";
        assert_eq!(plan_text(&plan), expected);
    }
}
