//! The core's events as log lines: what an operator wants to read at `info`, the rest for `RUST_LOG=quorate=trace`. The only
//! place where events become text. Never decides anything.

use std::collections::BTreeMap;

use quorate_core::event::{Event, EventKind};
use quorate_core::id::NodeId;
use quorate_core::membership::State;

/// Most nodes of which the last refusal is remembered.
const REFUSALS_MAX: usize = 256;

/// Writes the events of the control plane, and does not say the same refusal again and again.
#[derive(Debug)]
pub(crate) struct Membership {
    me: NodeId,
    refusals: BTreeMap<NodeId, String>,
}

impl Membership {
    pub(crate) const fn new(me: NodeId) -> Self {
        Self { me, refusals: BTreeMap::new() }
    }

    pub(crate) fn log(&mut self, event: &Event) {
        match &event.kind {
            EventKind::JoinRefused { other, reason } => {
                if self.is_news(other, reason) {
                    tracing::warn!("no membership between {} and {other}: {reason}", self.me);
                }
            }
            EventKind::JoinedCluster { cluster, through } => {
                self.refusals.clear();
                tracing::info!("joined cluster {cluster} through {through}");
            }
            kind => match line(kind) {
                Some(Line::Info(text)) => tracing::info!("{text}"),
                Some(Line::Error(text)) => tracing::error!("{text}"),
                None => tracing::trace!(?event),
            },
        }
    }

    fn is_news(&mut self, other: &NodeId, reason: &str) -> bool {
        if self.refusals.get(other).is_some_and(|last| last == reason) {
            return false;
        }
        if self.refusals.len() >= REFUSALS_MAX {
            self.refusals.clear();
        }
        self.refusals.insert(other.clone(), reason.into());
        true
    }
}

/// Writes an event of a shard.
pub(crate) fn shard(event: &Event) {
    match &event.kind {
        EventKind::StorageFailed { reason } => tracing::error!("the store failed: {reason}"),
        EventKind::Conflict { key, siblings } => tracing::debug!("{key:?} has {siblings} siblings"),
        EventKind::Rejected { from, reason } => tracing::debug!("a message of {from} was refused: {reason}"),
        _ => tracing::trace!(?event),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Info(String),
    Error(String),
}

fn line(kind: &EventKind) -> Option<Line> {
    let text = match kind {
        EventKind::Started { boot } => format!("started for the {} time with this store", ordinal(*boot)),
        EventKind::Founded { cluster } => format!("founded cluster {cluster}"),
        EventKind::MemberChanged { member, before, now, reason, .. } => {
            let change = match (before, now) {
                (None, State::Alive) => "joined",
                (_, State::Alive) => "alive again",
                (_, State::Suspect) => "suspected",
                (_, State::Dead) => "dead",
                (_, State::Left) => "left",
            };
            format!("{member} {change}: {reason}")
        }
        EventKind::LayoutChanged { version, owners } => format!("layout {version}: {owners} owners"),
        EventKind::Synced { objects } => format!("holds everything that it owns; {objects} objects were pulled"),
        EventKind::Stopped => "says goodbye to the cluster".into(),
        EventKind::StorageFailed { reason } => return Some(Line::Error(format!("the store failed: {reason}"))),
        _ => return None,
    };
    Some(Line::Info(text))
}

fn ordinal(number: u64) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().expect("a good name")
    }

    #[test]
    fn every_transition_of_a_member_is_one_line_that_a_person_reads() {
        for (before, now, reason, expected) in [
            (None, State::Alive, "it said so itself", "node-2 joined: it said so itself"),
            (Some(State::Alive), State::Suspect, "no answer to our probe", "node-2 suspected: no answer to our probe"),
            (Some(State::Suspect), State::Dead, "nobody heard of it", "node-2 dead: nobody heard of it"),
            (Some(State::Dead), State::Alive, "it is back", "node-2 alive again: it is back"),
            (Some(State::Alive), State::Left, "it said so", "node-2 left: it said so"),
        ] {
            let kind = EventKind::MemberChanged {
                member: node("node-2"),
                before,
                now,
                incarnation: 1,
                reason: reason.into(),
            };
            assert_eq!(line(&kind), Some(Line::Info(expected.into())));
        }
    }

    #[test]
    fn the_same_refusal_is_said_once() {
        let mut log = Membership::new(node("me"));
        assert!(log.is_news(&node("a"), "taken"));
        assert!(!log.is_news(&node("a"), "taken"));
        assert!(log.is_news(&node("a"), "another cluster"));
        assert!(log.is_news(&node("b"), "taken"));
        for number in 0..1_000 {
            assert!(log.is_news(&node(&format!("n{number}")), "taken"));
        }
        assert!(log.refusals.len() <= REFUSALS_MAX);
    }

    #[test]
    fn numbers_are_read_aloud() {
        for (number, text) in [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (112, "112th"), (21, "21st")] {
            assert_eq!(ordinal(number), text);
        }
    }
}
