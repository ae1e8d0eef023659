//! The inspector of a node: what its process does, and what it believes of the others.

use quorate_core::id::NodeId;
use quorate_core::membership::State;
use quorate_core::sim::{Action, DiskFate};
use quorate_core::view::{MemberView, NodeView, ProcessState};
use yew::prelude::*;

use crate::app::{Msg, Tell};
use crate::model::{Model, Selection, Standing};
use crate::words;

/// The inspector of this node.
pub(super) fn panel(model: &Model, node: &NodeView, tell: &Tell) -> Html {
    let (standing, doubters) = model.standing(node);
    let process = match (node.process, &node.not_ready) {
        (ProcessState::Running, None) => "runs and serves".into(),
        (ProcessState::Running, Some(reason)) => format!("runs, but cannot serve yet: {reason}"),
        (ProcessState::Crashed, _) => "crashed".into(),
        (ProcessState::Stopped, _) => "was stopped, and said goodbye".into(),
    };
    let seen = match standing {
        Standing::Suspected | Standing::Dead => format!("doubted by {}", words::list(&doubters)),
        _ if doubters.is_empty() => "nobody doubts it".into(),
        _ => format!("{} no longer count on it", words::list(&doubters)),
    };
    let owned = model
        .view
        .ring
        .tokens
        .iter()
        .filter(|token| model.view.ring.owners.get(usize::from(token.owner)) == Some(&node.node));
    let owned = u64::try_from(owned.count()).unwrap_or(u64::MAX);
    html! {
        <>
            <p class="eyebrow"><span>{"Node"}</span><span>{node.zone.as_str()}</span></p>
            <p class="title">{super::disc(&node.node, true)}{format!("Node {}", node.node)}</p>
            <p class="sub">{process}<br />{seen}</p>
            {actions(node, tell)}
            <dl class="facts">
                <dt>{"keys"}</dt><dd>{node.keys}</dd>
                <dt>{"tokens"}</dt><dd>{owned}</dd>
                <dt>{"layout"}</dt><dd>{node.layout_version}</dd>
                <dt>{"incarnation"}</dt><dd>{node.incarnation}</dd>
                <dt>{"store opened"}</dt><dd>{words::count(node.boot, "time")}</dd>
            </dl>
            <section><h2>{format!("Members as {} sees them", node.node)}</h2>{members(model, node, tell)}</section>
        </>
    }
}

fn actions(node: &NodeView, tell: &Tell) -> Html {
    let button = |label: &'static str, action: Action| {
        let onclick = tell.reform(move |_: MouseEvent| Msg::Do(vec![action.clone()]));
        html! { <button class="button quiet" {onclick}>{label}</button> }
    };
    let name = || node.node.clone();
    let mark = {
        let name = name();
        tell.reform(move |_: MouseEvent| Msg::ToggleMark(name.clone()))
    };
    html! {
        <div class="actions">
            if node.process == ProcessState::Running {
                {button("Crash", Action::Crash { node: name(), disk: DiskFate::Kept })}
                {button("Stop", Action::Stop { node: name() })}
                {button("Cut off", Action::Partition { groups: vec![vec![name()]] })}
            } else {
                {button("Restart", Action::Restart { node: name() })}
            }
            <button class="button quiet" onclick={mark}>{"Mark"}</button>
        </div>
    }
}

fn members(model: &Model, node: &NodeView, tell: &Tell) -> Html {
    if node.members.is_empty() {
        return html! { <p class="quiet-text">{"It knows of nobody."}</p> };
    }
    html! {
        <table class="members">
            <thead><tr><th scope="col">{"node"}</th><th scope="col">{"is"}</th><th scope="col">{"last heard"}</th></tr></thead>
            <tbody>{for node.members.iter().map(|member| row(model, &node.node, member, tell))}</tbody>
        </table>
    }
}

fn row(model: &Model, observer: &NodeId, member: &MemberView, tell: &Tell) -> Html {
    let (word, class) = match (member.state, member.stopped) {
        (State::Alive, _) => ("alive", "alive"),
        (State::Suspect, _) => ("suspected", "suspected"),
        (State::Dead, true) => ("stopped", "dead"),
        (State::Dead, false) => ("dead", "dead"),
        (State::Left, _) => ("left", "dead"),
    };
    let heard = match member.last_seen {
        _ if member.node == *observer => "itself".into(),
        Some(heard) => format!("{} ago", words::span(model.playback.now.since(heard))),
        None => "never".into(),
    };
    let name = member.node.clone();
    let onclick = tell.reform(move |_: MouseEvent| Msg::Select(Selection::Node(name.clone())));
    html! {
        <tr class={class}>
            <td><button class="node-link" {onclick}>{member.node.as_str()}</button></td>
            <td><i class={classes!("state-sign", class)}></i>{word}</td>
            <td class="time">{heard}</td>
        </tr>
    }
}
