//! The inspector of an operation: who asked what of whom, when each replica answered, and when there were enough answers.

use std::time::Duration;

use quorate_core::event::OperationKind;
use quorate_core::id::{Key, NodeId};
use quorate_core::time::Time;
use quorate_core::view::{OperationView, OutcomeView, VoteView};
use yew::prelude::*;

use super::console::outcome;
use super::icon::Sign;
use crate::app::{Msg, Tell};
use crate::model::{Model, Selection};
use crate::words;

/// Width of the votes' tracks, in pixels.
const TRACK: f64 = 138.0;

/// The inspector of this operation.
pub(super) fn panel(model: &Model, operation: &OperationView, tell: &Tell) -> Html {
    let key = operation.key.clone();
    let select_key = tell.reform(move |_: MouseEvent| Msg::Select(Selection::Key(key.clone())));
    let verb = words::verb(operation.operation);
    let written = operation.value.as_deref().map(|value| words::short(value, 120));
    html! {
        <>
            <p class="eyebrow"><span>{"Operation"}</span><span>{&operation.client}</span></p>
            <p class="title">{Sign::Client.icon()}{verb}{" "}<button class="key-link" onclick={select_key}>{words::short(operation.key.as_str(), 28)}</button></p>
            <p class="sub">{format!("from {} to {} at {}", operation.client, operation.node, words::moment(operation.started_at))}
                {via(operation)}</p>
            if let Some(value) = written { <p class="value mono"><ins>{value}</ins></p> }
            {headline(model, operation)}
            {votes(model, operation)}
            {ending(operation)}
            if let Some(key) = model.watched_key() {
                <section><h2>{"Who holds what now"}</h2><p class="quiet-text">{super::key::summary(key)}</p>{super::key::replicas(key)}</section>
            }
        </>
    }
}

fn via(operation: &OperationView) -> Option<String> {
    let coordinator = operation.coordinator.as_ref().filter(|node| **node != operation.node)?;
    Some(format!(", coordinated by {coordinator}"))
}

fn headline(model: &Model, operation: &OperationView) -> Html {
    let replication = model.setting.replication;
    let (letter, wanted) = match operation.operation {
        OperationKind::Get => ("R", replication.r),
        OperationKind::Put | OperationKind::Delete => ("W", replication.w),
    };
    let decisive = operation.votes.iter().find(|vote| vote.decisive);
    match decisive {
        Some(vote) => {
            let span = words::span(vote.at.since(operation.started_at));
            html! { <p class="big"><b>{format!("+{span}")}</b><span>{format!("{letter} = {wanted} met")}</span></p> }
        }
        None => {
            let count = operation.votes.len();
            let word = if operation.ended_at.is_some() { "answers: not enough" } else { "answers so far" };
            html! { <p class="big"><b>{format!("{count} of {wanted}")}</b><span>{word}</span></p> }
        }
    }
}

/// A track for each owner, with its answer where it was counted, and a line where there were enough.
fn votes(model: &Model, operation: &OperationView) -> Html {
    let owners: Vec<NodeId> = model.watched_key().map(|key| key.primaries.clone()).unwrap_or_default();
    let rounds = rounds(&operation.votes);
    let scale = Scale::new(operation, model.playback.now);
    let line = operation.votes.iter().find(|vote| vote.decisive).map(|vote| {
        html! { <i class="quorum-line" style={format!("left:{:.1}px", 33.0 + scale.place(vote.at))}></i> }
    });
    let last = rounds.len().saturating_sub(1);
    let round = |(index, votes): (usize, &&[VoteView])| {
        let silent = owners.iter().filter(|owner| index == last && !votes.iter().any(|vote| vote.node == **owner));
        let answered = votes.iter().map(|vote| (&vote.node, Some(vote)));
        let rows = answered.chain(silent.map(|owner| (owner, None)));
        let heading = (rounds.len() > 1).then_some(if index == last { "then wrote" } else { "looked first" });
        html! {
            <>
                if let Some(heading) = heading { <li class="round">{heading}</li> }
                {for rows.map(|(node, vote)| track(node, vote, operation, &scale, owners.contains(node)))}
            </>
        }
    };
    html! { <ol class="votes" aria-label="Answers">{line}{for rounds.iter().enumerate().map(round)}</ol> }
}

/// The answers by rounds: a count that does not rise begins a new one. At least one round, which may be empty.
fn rounds(votes: &[VoteView]) -> Vec<&[VoteView]> {
    if votes.is_empty() {
        return vec![votes];
    }
    votes.chunk_by(|before, after| after.count > before.count).collect()
}

struct Scale {
    start: Time,
    whole: Duration,
}

impl Scale {
    fn new(operation: &OperationView, now: Time) -> Self {
        let end = operation.ended_at.unwrap_or(now);
        let last = operation.votes.iter().map(|vote| vote.at).max().unwrap_or(end);
        let whole = end.max(last).since(operation.started_at).max(Duration::from_micros(1));
        Self { start: operation.started_at, whole }
    }

    fn place(&self, at: Time) -> f64 {
        (at.since(self.start).as_secs_f64() / self.whole.as_secs_f64()).min(1.0) * TRACK
    }
}

fn track(node: &NodeId, vote: Option<&VoteView>, operation: &OperationView, scale: &Scale, is_owner: bool) -> Html {
    let (bar, words) = match vote {
        Some(vote) => {
            let place = scale.place(vote.at);
            let class = classes!("vote", vote.decisive.then_some("decisive"));
            let style = format!("width:{place:.1}px");
            let said = format!("vote {}, +{}", vote.count, words::span(vote.at.since(operation.started_at)));
            (html! { <i {class} {style}></i> }, html! { <span>{said}</span> })
        }
        None if operation.ended_at.is_some() => {
            (html! { <i class="vote none"></i> }, html! { <span class="bad">{"no answer"}</span> })
        }
        None => (html! {}, html! { <span class="time">{"not yet"}</span> }),
    };
    html! { <li>{super::disc(node, is_owner)}<span class="track">{bar}</span>{words}</li> }
}

fn ending(operation: &OperationView) -> Html {
    let took = operation.ended_at.map(|ended| words::span(ended.since(operation.started_at)));
    match (&operation.outcome, took) {
        (Some(OutcomeView::Failed { message, .. }), Some(took)) => {
            html! { <p class="ending bad">{format!("{} was told after {took}: {message}", operation.client)}</p> }
        }
        (Some(OutcomeView::Written), Some(took)) => {
            html! { <p class="ending">{format!("{} was told “ok” after {took}.", operation.client)}</p> }
        }
        (Some(OutcomeView::Found(values)), Some(took)) => {
            let found = match values.len() {
                0 => "that there is nothing".into(),
                1 => "one value".into(),
                several => format!("{several} values side by side"),
            };
            html! {
                <>
                    <p class="ending">{format!("{} was told {found} after {took}.", operation.client)}</p>
                    {for values.iter().map(|value| html! { <p class="value mono"><ins>{words::short(value, 120)}</ins></p> })}
                </>
            }
        }
        _ => html! { <p class="ending">{format!("{} waits.", operation.client)}</p> },
    }
}

/// The operations of a key, newest first.
pub(super) fn of_key(model: &Model, key: &Key, tell: &Tell) -> Html {
    let row = |operation: &OperationView| {
        let id = operation.id;
        let onclick = tell.reform(move |_: MouseEvent| Msg::Select(Selection::Operation(id)));
        let (word, class) = outcome(operation);
        html! {
            <li><button {onclick}>
                <span class="who">{&operation.client}</span><span class="what">{words::verb(operation.operation)}</span>
                <span class={classes!("outcome", class)}>{word}</span>
            </button></li>
        }
    };
    let found = model.operations.values().rev().filter(|operation| operation.key == *key).take(10);
    html! { <ol class="history">{for found.map(row)}</ol> }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::node;

    #[test]
    fn a_count_that_does_not_rise_begins_a_new_round() {
        for (counts, expected) in
            [(vec![], vec![0]), (vec![1, 2], vec![2]), (vec![1, 2, 1, 2, 3], vec![2, 3]), (vec![1, 1], vec![1, 1])]
        {
            let vote = |count: &u8| VoteView { node: node("A"), at: Time::ZERO, count: *count, decisive: false };
            let votes: Vec<_> = counts.iter().map(vote).collect();
            assert_eq!(rounds(&votes).iter().map(|round| round.len()).collect::<Vec<_>>(), expected, "{counts:?}");
        }
    }
}
