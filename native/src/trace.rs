//! The core's events as log lines: what an operator wants to read at `info`, the rest for `RUST_LOG=quorate=trace`. The only
//! place where events become text. Never decides anything.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_core::event::{Event, EventKind};
use quorate_core::id::{Key, NodeId};
use quorate_core::limits;
use quorate_core::membership::{Change, ChangeKind, State, Why};
use quorate_core::time::Time;

/// Most nodes of which the last refusal is remembered.
const REFUSALS_MAX: usize = 256;
/// Between two warnings of the siblings of one key.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// Keys that are warned of in one such time.
const WARNED_MAX: usize = 256;

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

/// Writes the events of a shard, and does not warn of the same key again and again.
#[derive(Debug, Default)]
pub(crate) struct Data {
    /// When a key was warned of last.
    warned: BTreeMap<Key, Time>,
}

impl Data {
    pub(crate) fn log(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Conflict { key, siblings } if self.is_crowd(event.at, key, *siblings) => tracing::warn!(
                "{key:?} has {siblings} siblings, and {} is the most it can have: its writers do not send the context of \
                 a read",
                limits::SIBLINGS_MAX
            ),
            _ => shard(event),
        }
    }

    /// Whether somebody should look at the key, and was not told so in the last minute.
    fn is_crowd(&mut self, at: Time, key: &Key, siblings: u32) -> bool {
        if usize::try_from(siblings).is_ok_and(|siblings| siblings < limits::SIBLINGS_WARN)
            || self.warned.get(key).is_some_and(|last| at < *last + WARNING_INTERVAL)
        {
            return false;
        }
        if self.warned.len() >= WARNED_MAX {
            self.warned.retain(|_, last| at < *last + WARNING_INTERVAL);
        }
        // With so many crowded keys in one minute, the log has said enough.
        let has_room = self.warned.len() < WARNED_MAX || self.warned.contains_key(key);
        if has_room {
            self.warned.insert(key.clone(), at);
        }
        has_room
    }
}

fn shard(event: &Event) {
    match &event.kind {
        EventKind::StorageFailed { reason } => tracing::error!("the store failed: {reason}"),
        EventKind::Damaged { key } => tracing::warn!("the stored object {key:?} is damaged"),
        EventKind::Healed { key } => tracing::info!("the damaged object {key:?} was fetched from its other owners"),
        EventKind::TreeRebuilt { slice } => {
            tracing::warn!("the hash tree of slice {slice} did not fit its objects and was built anew");
        }
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
        // A new address or tag is no transition.
        EventKind::MemberChanged { change } if change.kind == ChangeKind::Updated => return None,
        EventKind::MemberChanged { change } => transition(change),
        EventKind::LayoutChanged { version, owners } => format!("layout {version}: {owners} owners"),
        EventKind::TwoLayouts { other, version } => {
            let text =
                format!("{other} follows another layout {version}: operators have forced both, and one is given up");
            return Some(Line::Error(text));
        }
        EventKind::Leaving => "owns nothing any more, and hands over what it holds".into(),
        EventKind::Left => "has handed over everything, and is gone for good".into(),
        EventKind::Synced { objects } => format!("holds everything that it owns; {objects} objects were pulled"),
        EventKind::Stopped => "says goodbye to the cluster".into(),
        EventKind::StorageFailed { reason } => return Some(Line::Error(format!("the store failed: {reason}"))),
        _ => return None,
    };
    Some(Line::Info(text))
}

fn transition(change: &Change) -> String {
    let Change { node, kind, by, why, .. } = change;
    let became = match kind {
        ChangeKind::Joined => "joined",
        ChangeKind::Suspected => "suspected",
        ChangeKind::Died if *why == Why::Stopped => "stopped",
        ChangeKind::Died => "dead",
        ChangeKind::Refuted => "alive after all",
        ChangeKind::Revived => "alive again",
        ChangeKind::Left => "left",
        ChangeKind::Updated => "changed",
    };
    let reason = match why {
        Why::ProbeTimeout { helpers: 0, .. } => "no answer to our probe".into(),
        Why::ProbeTimeout { helpers, nacks } => {
            format!("no answer to our probe, nor to those of {helpers} others ({nacks} said so)")
        }
        Why::SuspicionTimeout { accusers, waited } => {
            let names: Vec<&str> = accusers.iter().map(NodeId::as_str).collect();
            let waited = waited.as_secs_f32();
            format!("not a word from it for {waited:.1} s after {} suspected it", names.join(", "))
        }
        Why::Told { teller } if teller == by => format!("{teller} says so"),
        Why::Told { teller } => format!("{teller} says so, {by} noticed"),
        Why::Stopped => "it said goodbye".into(),
        Why::Announced => "it said so itself".into(),
        Why::Accused { state } => format!("it was called {}, and is not", state_text(*state)),
        Why::OtherLife { address, boot } => {
            format!("another process of this name is or was at {address}, in its start number {boot}")
        }
    };
    format!("{node} {became}: {reason}")
}

/// What people call a state.
pub(crate) const fn state_text(state: State) -> &'static str {
    match state {
        State::Alive => "alive",
        State::Suspect => "suspected",
        State::Dead => "dead",
        State::Left => "left",
    }
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
        let waited = Duration::from_millis(4_000);
        let accusers = vec![node("node-1"), node("node-3")];
        for (kind, why, expected) in [
            (ChangeKind::Joined, Why::Announced, "node-2 joined: it said so itself"),
            (
                ChangeKind::Suspected,
                Why::ProbeTimeout { helpers: 2, nacks: 1 },
                "node-2 suspected: no answer to our probe, nor to those of 2 others (1 said so)",
            ),
            (
                ChangeKind::Died,
                Why::SuspicionTimeout { accusers, waited },
                "node-2 dead: not a word from it for 4.0 s after node-1, node-3 suspected it",
            ),
            (ChangeKind::Died, Why::Stopped, "node-2 stopped: it said goodbye"),
            (ChangeKind::Suspected, Why::Told { teller: node("node-1") }, "node-2 suspected: node-1 says so"),
            (ChangeKind::Revived, Why::Told { teller: node("a") }, "node-2 alive again: a says so, node-1 noticed"),
            (
                ChangeKind::Refuted,
                Why::Accused { state: State::Dead },
                "node-2 alive after all: it was called dead, and is not",
            ),
        ] {
            let change = Change { node: node("node-2"), kind, incarnation: 1, by: node("node-1"), why };
            assert_eq!(line(&EventKind::MemberChanged { change }), Some(Line::Info(expected.into())));
        }
    }

    #[test]
    fn a_key_with_many_siblings_is_warned_of_once_a_minute() {
        let mut log = Data::default();
        let second = |number: u64| Time::ZERO + Duration::from_secs(number);
        let key = |name: &str| Key::new(name).expect("a good key");
        for (at, name, siblings, expected) in [
            (0, "a", 24, false),
            (1, "a", 25, true),
            (2, "a", 26, false),
            (2, "b", 100, true),
            (60, "a", 27, false),
            (61, "a", 28, true),
            (62, "a", 24, false),
        ] {
            assert_eq!(log.is_crowd(second(at), &key(name), siblings), expected, "{name} at {at} s");
        }
        let warned = (0..1_000).filter(|number| log.is_crowd(second(90), &key(&format!("k{number}")), 30)).count();
        assert_eq!(warned, WARNED_MAX - 1, "one was warned of in this minute already");
        assert!(log.is_crowd(second(200), &key("later"), 30), "and what is a minute old makes room");
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
        for (number, text) in
            [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (112, "112th"), (21, "21st")]
        {
            assert_eq!(ordinal(number), text);
        }
    }
}
