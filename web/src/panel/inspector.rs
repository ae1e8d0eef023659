//! The inspector: one thing in full. With nothing selected, the cluster as a whole and what happened.

use quorate_core::id::NodeId;
use quorate_core::sim::Action;
use quorate_core::view::LinkView;
use yew::prelude::*;

use super::{PanelProps, key, node, operation, story};
use crate::app::{Msg, Tell};
use crate::faults::link;
use crate::model::{Model, Selection, Standing};
use crate::words;

/// The inspector.
#[component]
pub fn Inspector(props: &PanelProps) -> Html {
    let model = props.snapshot.model.borrow();
    let tell = &props.tell;
    let content = match &model.selection {
        Selection::Nothing => overview(&model, tell),
        Selection::Node(name) => match model.node(name) {
            Some(seen) => node::panel(&model, seen, tell),
            None => overview(&model, tell),
        },
        Selection::Key(name) => key::panel(&model, name, tell),
        Selection::Operation(id) => match model.operations.get(id) {
            Some(seen) => operation::panel(&model, seen, tell),
            None => overview(&model, tell),
        },
        Selection::Link(a, b) => link_panel(&model, a, b, tell),
    };
    let back = (model.selection != Selection::Nothing).then(|| {
        let onclick = tell.reform(|_: MouseEvent| Msg::Select(Selection::Nothing));
        html! { <button class="back" {onclick} title="Back to the cluster (Esc)">{"← The cluster"}</button> }
    });
    html! { <div class="inspector">{back}{content}</div> }
}

fn overview(model: &Model, tell: &Tell) -> Html {
    let count =
        |wanted: &[Standing]| model.view.nodes.iter().filter(|node| wanted.contains(&model.standing(node).0)).count();
    let alive = count(&[Standing::Alive]);
    let keys: u64 = model.view.nodes.iter().map(|node| node.keys).sum();
    let (standing, ring) = (&model.view.nodes, &model.view.ring);
    let rows = [
        ("suspected", count(&[Standing::Suspected])),
        ("given up, but running", count(&[Standing::Dead])),
        ("crashed or stopped", count(&[Standing::Crashed, Standing::Stopped])),
        ("starting", count(&[Standing::Starting])),
    ];
    let others = rows.iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {word}"));
    let others: Vec<_> = others.collect();
    let tokens = u64::try_from(ring.tokens.len()).unwrap_or(u64::MAX);
    html! {
        <>
            <p class="eyebrow">{"The cluster"}</p>
            <p class="big"><b>{alive}</b><span>{format!("of {} alive", words::count(u64::try_from(standing.len()).unwrap_or(u64::MAX), "node"))}</span></p>
            <p class="sub">{others.join(", ")}</p>
            <dl class="facts">
                <dt>{"ring"}</dt><dd>{format!("{}, layout {}", words::count(tokens, "token"), ring.layout_version)}</dd>
                <dt>{"copies held"}</dt><dd>{keys}</dd>
                <dt>{"on their way"}</dt><dd>{words::count(u64::try_from(model.view.messages.len()).unwrap_or(u64::MAX), "message")}</dd>
            </dl>
            {known_keys(model, tell)}
            <section><h2>{"What happened"}</h2>{story::list(model)}</section>
        </>
    }
}

/// The keys that clients asked for, to look at.
fn known_keys(model: &Model, tell: &Tell) -> Html {
    let mut keys: Vec<_> = model.operations.values().rev().map(|operation| &operation.key).collect();
    let mut seen = std::collections::BTreeSet::new();
    keys.retain(|key| seen.insert((*key).clone()));
    if keys.is_empty() {
        return html! {};
    }
    let chip = |name: &&quorate_core::id::Key| {
        let key = (*name).clone();
        let onclick = tell.reform(move |_: MouseEvent| Msg::Select(Selection::Key(key.clone())));
        html! { <button class="key-chip" {onclick}>{words::short(name.as_str(), 24)}</button> }
    };
    html! { <section><h2>{"Keys"}</h2><div class="key-chips">{for keys.iter().take(24).map(chip)}</div></section> }
}

fn link_panel(model: &Model, a: &NodeId, b: &NodeId, tell: &Tell) -> Html {
    let found = |from: &NodeId, to: &NodeId| model.view.links.iter().find(|link| link.from == *from && link.to == *to);
    let (there, back) = (found(a, b), found(b, a));
    let act = |actions: Vec<Action>| tell.reform(move |_: MouseEvent| Msg::Do(actions.clone()));
    let is_cut = |seen: Option<&LinkView>| seen.is_some_and(|seen| seen.cut);
    let broken = there.is_some() || back.is_some();
    html! {
        <>
            <p class="eyebrow">{"Link"}</p>
            <p class="title">{super::disc(a, false)}{"↔"}{super::disc(b, false)}</p>
            <dl class="facts">
                <dt>{format!("{a} → {b}")}</dt><dd>{link_words(model, there)}</dd>
                <dt>{format!("{b} → {a}")}</dt><dd>{link_words(model, back)}</dd>
            </dl>
            <div class="actions">
                if !is_cut(there) { <button class="button quiet" onclick={act(vec![link(a, b, true, 0)])}>{format!("Cut {a} → {b}")}</button> }
                if !is_cut(back) { <button class="button quiet" onclick={act(vec![link(b, a, true, 0)])}>{format!("Cut {b} → {a}")}</button> }
                if !is_cut(there) && !is_cut(back) {
                    <button class="button quiet" onclick={act(vec![link(a, b, true, 0), link(b, a, true, 0)])}>{"Cut both ways"}</button>
                }
                if broken { <button class="button" onclick={act(vec![link(a, b, false, 0), link(b, a, false, 0)])}>{"Heal"}</button> }
            </div>
        </>
    }
}

fn link_words(model: &Model, seen: Option<&LinkView>) -> String {
    match seen {
        None => "whole".into(),
        Some(link) if link.cut => format!("cut for {}", words::span(model.playback.now.since(link.since))),
        Some(link) => format!("loses {} % of the messages", link.loss_per_million / 10_000),
    }
}
