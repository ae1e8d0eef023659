//! The inspector of a key: whose it is, who is next, and what each replica holds of it.

use std::collections::BTreeSet;

use quorate_core::id::{Key, NodeId};
use quorate_core::view::{KeyView, ReplicaView, VersionView};
use yew::prelude::*;

use crate::app::Tell;
use crate::model::Model;
use crate::words;

/// The inspector of this key.
pub(super) fn panel(model: &Model, name: &Key, tell: &Tell) -> Html {
    let Some(key) = model.watched_key() else {
        return html! { <><p class="eyebrow">{"Key"}</p><p class="title">{name.as_str()}</p></> };
    };
    html! {
        <>
            <p class="eyebrow"><span>{"Key"}</span><span class="mono">{format!("{:08x}", key.hash)}</span></p>
            <p class="title">{words::short(name.as_str(), 40)}</p>
            <p class="sub">{summary(key)}</p>
            {replicas(key)}
            <section><h2>{"Asked for by"}</h2>{super::operation::of_key(model, name, tell)}</section>
        </>
    }
}

/// The key in a sentence: whether its owners agree.
pub(super) fn summary(key: &KeyView) -> String {
    let versions =
        |node: &NodeId| key.replicas.iter().find(|replica| replica.node == *node).map(dots).unwrap_or_default();
    let held: BTreeSet<_> = key.primaries.iter().map(versions).collect();
    let siblings = key.replicas.iter().map(|replica| replica.versions.len()).max().unwrap_or(0);
    match (held.len(), siblings) {
        (0 | 1, 0) => "Nobody holds anything of it.".into(),
        (0 | 1, 1) => format!("{} all hold the same.", words::list(&key.primaries)),
        (0 | 1, several) => format!("{several} values stand side by side until a write has seen them."),
        (_, _) => "Its owners hold different things.".into(),
    }
}

fn dots(replica: &ReplicaView) -> BTreeSet<(u128, u64)> {
    replica.versions.iter().map(|version| (version.actor.0, version.counter)).collect()
}

/// What each owner, each that is next, and anybody else holds.
pub(super) fn replicas(key: &KeyView) -> Html {
    let holding = |node: &NodeId| key.replicas.iter().find(|replica| replica.node == *node);
    let owners = key.primaries.iter().enumerate().map(|(index, node)| (node, format!("replica {}", index + 1)));
    let fallbacks =
        key.fallbacks.iter().filter(|node| holding(node).is_some()).map(|node| (node, "next on the ring".to_owned()));
    let is_listed = |node: &NodeId| key.primaries.contains(node) || key.fallbacks.contains(node);
    let others = key.replicas.iter().filter(|replica| !is_listed(&replica.node));
    let others = others.map(|replica| (&replica.node, "no owner".to_owned()));
    let row = |(node, part): (&NodeId, String)| {
        html! {
            <li>
                {super::disc(node, key.primaries.contains(node))}
                <div><p class="part">{part}</p>{versions(holding(node))}</div>
            </li>
        }
    };
    html! {
        <>
            <ul class="replicas">{for owners.chain(fallbacks).chain(others).map(row)}</ul>
            if let Some(first) = key.fallbacks.first() {
                <p class="quiet-text">{format!("Stands in for an owner that cannot be reached: {first}.")}</p>
            }
        </>
    }
}

fn versions(holding: Option<&ReplicaView>) -> Html {
    match holding.map(|replica| replica.versions.as_slice()) {
        None | Some([]) => html! { <p class="quiet-text">{"holds nothing"}</p> },
        Some(versions) => html! { <>{for versions.iter().map(version)}</> },
    }
}

fn version(version: &VersionView) -> Html {
    let issuer = version.issuer.as_ref().map_or_else(|| "?".into(), ToString::to_string);
    let value = version.value.as_deref().map_or_else(|| "deleted".into(), |value| words::short(value, 60));
    html! { <p class="version mono"><span>{value}</span><span class="dot">{format!("{issuer}:{}", version.counter)}</span></p> }
}

#[cfg(test)]
mod tests {
    use super::summary;
    use crate::fixture::cart;

    #[test]
    fn the_summary_says_whether_the_owners_agree() {
        assert_eq!(summary(&cart()), "Its owners hold different things.");
        let mut key = cart();
        key.primaries.pop();
        assert_eq!(summary(&key), "A and C all hold the same.");
        for replica in &mut key.replicas {
            let mut sibling = replica.versions.first().cloned().expect("it holds one");
            sibling.counter += 1;
            replica.versions.push(sibling);
        }
        assert_eq!(summary(&key), "2 values stand side by side until a write has seen them.");
        key.replicas.clear();
        assert_eq!(summary(&key), "Nobody holds anything of it.");
    }
}
