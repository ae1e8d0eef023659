//! What the nodes of the show say of the cluster, asked over HTTP like anybody would.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::Call;
use crate::config::Endpoint;

/// How long a node has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The slices of the ring: ownership passes one by one.
const SLICES: u8 = quorate_core::hash::SLICES;

/// What a node answers to a question; nothing if it does not.
pub(super) async fn ask<T: DeserializeOwned>(endpoint: &Endpoint, path: &str) -> Option<T> {
    let call = Call::get(path).send(std::slice::from_ref(endpoint), None);
    let answer = timeout(ANSWER_TIMEOUT, call).await.ok()?.ok()?;
    serde_json::from_slice(&answer.body).ok().filter(|_| answer.status.is_success())
}

/// Whether a node serves, and knows exactly these as owners, each with everything that it owns, and no change under way.
pub(super) async fn is_settled(endpoint: &Endpoint, owners: &[String]) -> bool {
    let (ready, layout) = (ask::<Value>(endpoint, "/ready").await, ask::<Value>(endpoint, "/api/v1/layout").await);
    ready.is_some() && layout.is_some_and(|layout| is_settled_layout(&layout, owners))
}

fn is_settled_layout(layout: &Value, owners: &[String]) -> bool {
    let listed = layout["owners"].as_array().into_iter().flatten();
    let listed: BTreeSet<&str> = listed.filter_map(|owner| owner["node_id"].as_str()).collect();
    let is_synced = |owner: &String| layout["progress"]["synced"][owner] == SLICES;
    listed == owners.iter().map(String::as_str).collect()
        && owners.iter().all(is_synced)
        && layout["progress"]["passed"] == SLICES
        && layout["active_versions"] == json!([layout["version"]])
}

/// Whether a node believes that a member is dead.
pub(super) async fn is_dead(endpoint: &Endpoint, member: &str) -> bool {
    let members: Option<Value> = ask(endpoint, "/gossip/members").await;
    members.is_some_and(|members| members["cluster_members"][member]["status"] == "dead")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_over_once_all_is_synced_and_one_version_is_left() {
        let owners = ["a".to_owned(), "b".to_owned()];
        let settled = json!({
            "version": 3, "active_versions": [3], "owners": [{ "node_id": "b" }, { "node_id": "a" }],
            "progress": { "passed": 64, "synced": { "a": 64, "b": 64 } },
        });
        assert!(is_settled_layout(&settled, &owners));
        assert!(!is_settled_layout(&settled, &owners[..1]));
        for (path, value) in [
            ("/active_versions", json!([2, 3])),
            ("/owners", json!([{ "node_id": "a" }])),
            ("/progress/passed", json!(63)),
            ("/progress/synced/b", json!(63)),
        ] {
            let mut other = settled.clone();
            *other.pointer_mut(path).expect("it is there") = value;
            assert!(!is_settled_layout(&other, &owners), "{path}");
        }
    }
}
