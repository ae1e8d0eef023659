//! Why a promise was broken, as a short account for a person: what was done, what the nodes made of it, and what was found.
//! It is told from the trace, walking from the events about the key back along their causes. It explains a run; it never
//! judges one.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::related::key_of;
use super::sentence::{self, Told, Weight};
use super::{Action, Schedule, Violation};
use crate::event::{Event, EventId, EventKind};
use crate::id::{Key, NodeId};
use crate::time::Time;

/// The most sentences before the end.
const LINES_MAX: usize = 36;
/// Of those, how many tell of the beginning where even what matters most is too much; the rest tell of the end.
const BEGINNING_MAX: usize = 12;
/// What several nodes do within this time is one sentence.
const TOGETHER: Duration = Duration::from_secs(2);

/// A sentence and its moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it happened.
    pub at: Time,
    /// What happened.
    pub text: String,
}

/// A whole account. As text: a line each, the broken promise last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// What happened, in the order of time.
    pub lines: Vec<Line>,
    /// Sentences that were left out, because they matter less.
    pub left_out: usize,
    /// The promise that was broken, in its own words.
    pub promise: &'static str,
    /// When that was found.
    pub at: Time,
    /// What was found.
    pub found: String,
}

impl Story {
    /// Tells how a schedule broke a promise, from the events of its run, oldest first.
    #[must_use]
    pub fn tell(schedule: &Schedule, violation: &Violation, events: &[Event]) -> Self {
        let until = violation.at;
        let about = About::new(violation, events);
        let mut sentences: Vec<Sentence> = schedule
            .steps
            .iter()
            .filter(|step| step.at <= until && about.has_action(&step.action))
            .filter_map(|step| Some(Sentence::deed(step.at, sentence::of_action(&step.action)?)))
            .collect();
        let mut told = Told::default();
        // How the cluster came together is told only where somebody meddled with it.
        let began = schedule.steps.first().map_or(Time::ZERO, |step| step.at);
        for event in events.iter().filter(|event| event.at <= until) {
            let sentence = sentence::of_event(event, &mut told);
            let Some((weight, text)) = sentence.filter(|_| about.has_event(event)) else { continue };
            if weight == Weight::Detail && event.at < began {
                continue;
            }
            sentences.push(Sentence { at: event.at, weight, nodes: Vec::from([event.node.clone()]), text, times: 1 });
        }
        sentences.sort_by_key(|sentence| sentence.at);
        let folded = fold(sentences);
        let all = folded.len();
        let lines = shortened(folded);
        let version = violation.key.as_ref().zip(violation.dot).and_then(|(key, dot)| told.version(key, dot));
        let found = version
            .map_or_else(|| violation.detail.clone(), |number| format!("{} (version {number})", violation.detail));
        let left_out = all - lines.len();
        Self { lines, left_out, promise: violation.invariant.sentence(), at: until, found }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{:>12}  {}", moment(line.at), line.text)?;
        }
        if self.left_out > 0 {
            writeln!(f, "{:>12}  ({} smaller things are left out)", "", self.left_out)?;
        }
        writeln!(f, "{:>12}  Broken: {}", moment(self.at), self.promise)?;
        writeln!(f, "{:>12}  {}", "", self.found)
    }
}

/// To the millisecond: `2.428 s`.
fn moment(at: Time) -> String {
    format!("{}.{:03} s", at.as_ms() / 1_000, at.as_ms() % 1_000)
}

/// What a story is about.
struct About<'a> {
    key: Option<&'a Key>,
    /// The events about the key, what they are because of, and the messages that they sent.
    chain: BTreeSet<EventId>,
}

impl<'a> About<'a> {
    fn new(violation: &'a Violation, events: &[Event]) -> Self {
        let key = violation.key.as_ref();
        let mut chain = BTreeSet::new();
        // Forwards: a message is about what it was sent for.
        for event in events {
            let is_first = match (key, key_of_event(&event.kind)) {
                (Some(key), Some(found)) => key == found,
                (Some(_), None) => false,
                (None, found) => found.is_some(),
            };
            let is_message =
                key_of_event(&event.kind).is_none() && event.cause.is_some_and(|cause| chain.contains(&cause));
            if is_first || is_message {
                chain.insert(event.id);
            }
        }
        // Backwards: what made it happen.
        let causes: BTreeMap<EventId, EventId> =
            events.iter().filter_map(|event| Some((event.id, event.cause?))).collect();
        for event in chain.clone() {
            let mut next = causes.get(&event);
            while let Some(cause) = next.filter(|cause| chain.insert(**cause)) {
                next = causes.get(cause);
            }
        }
        Self { key, chain }
    }

    fn has_action(&self, action: &Action) -> bool {
        match (action, self.key) {
            (Action::Client { operation, .. }, Some(key)) => key_of(operation) == key,
            _ => true,
        }
    }

    /// What befalls whole nodes always belongs to it; what is about keys or messages, only along the chain.
    fn has_event(&self, event: &Event) -> bool {
        let is_of_a_request = key_of_event(&event.kind).is_some()
            || matches!(
                event.kind,
                EventKind::Lost { .. } | EventKind::LayoutRefused { .. } | EventKind::Rejected { .. }
            );
        !is_of_a_request || self.chain.contains(&event.id)
    }
}

/// The key that an event is about, if it is about one.
const fn key_of_event(kind: &EventKind) -> Option<&Key> {
    match kind {
        EventKind::Requested { key, .. }
        | EventKind::Replied { key, .. }
        | EventKind::VoteCounted { key, .. }
        | EventKind::QuorumMet { key, .. }
        | EventKind::QuorumMissed { key, .. }
        | EventKind::Stored { key }
        | EventKind::Conflict { key, .. }
        | EventKind::Minted { key, .. }
        | EventKind::StandInAsked { key, .. }
        | EventKind::Hedged { key, .. }
        | EventKind::HintStored { key, .. }
        | EventKind::HintRefused { key, .. }
        | EventKind::HintDelivered { key, .. }
        | EventKind::Damaged { key }
        | EventKind::Healed { key }
        | EventKind::TombstoneCollected { key }
        | EventKind::Repaired { key, .. }
        | EventKind::DotRefused { key } => Some(key),
        EventKind::Sent { key, .. } => key.as_ref(),
        _ => None,
    }
}

/// A sentence before it is a line: who did it is kept apart, so that several may share it.
#[derive(Clone, Debug)]
struct Sentence {
    at: Time,
    weight: Weight,
    /// Who; nobody where the sentence is whole.
    nodes: Vec<NodeId>,
    text: String,
    times: u32,
}

impl Sentence {
    const fn deed(at: Time, text: String) -> Self {
        Self { at, weight: Weight::Deed, nodes: Vec::new(), text, times: 1 }
    }

    fn line(self) -> Line {
        let who = if self.nodes.is_empty() { String::new() } else { format!("{} ", sentence::names(&self.nodes)) };
        let times = if self.times > 1 { format!(" ({} times)", self.times) } else { String::new() };
        Line { at: self.at, text: format!("{who}{}{times}", self.text) }
    }
}

/// What several nodes do at about the same time becomes one sentence, and so does what one node does again and again.
fn fold(sentences: Vec<Sentence>) -> Vec<Sentence> {
    let mut folded: Vec<Sentence> = Vec::new();
    for sentence in sentences {
        let recent = folded.iter_mut().rev().take_while(|before| before.at + TOGETHER >= sentence.at);
        // A deed in between separates: what is done before and after it is not the same.
        let mut recent = recent.take_while(|before| !before.nodes.is_empty());
        match recent.find(|before| before.text == sentence.text && !sentence.nodes.is_empty()) {
            Some(before) if before.nodes == sentence.nodes => before.times += 1,
            Some(before) if before.times == 1 && !before.nodes.contains(&sentence.nodes[0]) => {
                before.nodes.extend(sentence.nodes);
            }
            _ => folded.push(sentence),
        }
    }
    folded
}

/// As many as a person reads: what matters least is left out first, then the middle.
fn shortened(sentences: Vec<Sentence>) -> Vec<Line> {
    let count = |most: Weight| sentences.iter().filter(|sentence| sentence.weight <= most).count();
    let weights = [Weight::Detail, Weight::Step, Weight::Deed];
    let most = weights.into_iter().find(|most| count(*most) <= LINES_MAX).unwrap_or(Weight::Deed);
    let mut kept: Vec<Line> =
        sentences.into_iter().filter(|sentence| sentence.weight <= most).map(Sentence::line).collect();
    if kept.len() > LINES_MAX {
        kept.drain(BEGINNING_MAX..kept.len() - (LINES_MAX - BEGINNING_MAX));
    }
    kept
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::causality::{Dot, VersionVector};
    use crate::event::{LossReason, MessageKind, OperationKind};
    use crate::id::ActorId;
    use crate::sim::{ClientOperation, Invariant, Setting, Step};

    fn node(name: &str) -> NodeId {
        NodeId::new(name).expect("a name")
    }

    fn key(name: &str) -> Key {
        Key::new(name).expect("a key")
    }

    const fn dot(counter: u64) -> Dot {
        Dot { actor: ActorId(7), counter }
    }

    /// Events as a table: which millisecond, the number of the cause (0 for none), whose, what. Numbers count from one.
    fn events(table: Vec<(u64, u32, &str, EventKind)>) -> Vec<Event> {
        let id = |number| EventId { origin: 1, number };
        let event = |(number, (ms, cause, name, kind)): (u32, (u64, u32, &str, EventKind))| Event {
            id: id(number),
            cause: (cause > 0).then(|| id(cause)),
            at: Time::from_ms(ms),
            node: node(name),
            kind,
        };
        (1..).zip(table).map(event).collect()
    }

    fn violation(name: &str) -> Violation {
        Violation {
            invariant: Invariant::AcknowledgedIsKept,
            at: Time::from_ms(9_000),
            key: Some(key(name)),
            dot: Some(dot(1)),
            detail: "nobody has it".into(),
        }
    }

    fn schedule(steps: Vec<(u64, Action)>) -> Schedule {
        let steps = steps.into_iter().map(|(ms, action)| Step { at: Time::from_ms(ms), action });
        Schedule { setting: Setting::default(), steps: steps.collect() }
    }

    fn minted(name: &str, counter: u64, replaces: &[u64]) -> EventKind {
        let mut past = VersionVector::new();
        replaces.iter().for_each(|counter| assert!(past.insert(dot(*counter))));
        EventKind::Minted { key: key(name), dot: dot(counter), replaces: past, request: None }
    }

    fn stored(name: &str) -> EventKind {
        EventKind::Stored { key: key(name) }
    }

    fn acknowledged(name: &str) -> EventKind {
        EventKind::Replied { operation: OperationKind::Put, key: key(name), error: None }
    }

    fn told(steps: Vec<(u64, Action)>, table: Vec<(u64, u32, &str, EventKind)>) -> Vec<String> {
        let story = Story::tell(&schedule(steps), &violation("cart"), &events(table));
        story.lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_lost_write_is_told_from_the_request_to_what_was_found() {
        let operation = ClientOperation::Put { key: key("cart"), value: "milk".into(), informed: false };
        let put = serde_json::json!({"client": {"client": "alice", "node": "A", "operation": operation}});
        let put: Action = serde_json::from_value(put).expect("a request");
        let steps = vec![(1_000, put), (2_000, Action::Partition { groups: vec![vec![node("B"), node("C")]] })];
        let requested = EventKind::Requested { operation: OperationKind::Put, key: key("cart") };
        let copy = EventKind::Sent { to: node("B"), message: MessageKind::Write, key: Some(key("cart")) };
        let table = vec![
            (1_005, 0, "A", requested),
            (1_006, 1, "A", minted("cart", 1, &[])),
            (1_006, 2, "A", stored("cart")),
            (1_006, 2, "A", copy),
            (1_008, 4, "A", EventKind::Lost { to: node("B"), message: MessageKind::Write, reason: LossReason::Loss }),
            (1_010, 2, "C", stored("cart")),
            (1_012, 2, "A", acknowledged("cart")),
            (1_500, 0, "C", EventKind::Crashed),
        ];
        let story = Story::tell(&schedule(steps), &violation("cart"), &events(table));
        let expected = [
            "     1.000 s  alice asked A to put cart = \"milk\"",
            "     1.006 s  A made version 1 of cart, which replaces nothing",
            "     1.006 s  A and C stored cart",
            "     1.008 s  A sent B a copy in vain: the network lost it",
            "     1.012 s  A acknowledged cart",
            "     1.500 s  C crashed",
            "     2.000 s  the network was cut around B and C",
            "     9.000 s  Broken: A write that a client was told is safe is found afterwards, or was replaced by one that had seen it.",
            "              nobody has it (version 1)",
        ];
        assert_eq!(story.to_string().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn other_keys_and_what_came_too_late_are_no_part_of_it() {
        let late = (9_001, 0, "A", EventKind::Crashed);
        let table = vec![(1, 0, "A", stored("other")), (2, 0, "A", minted("other", 5, &[])), late];
        assert!(told(vec![], table).is_empty());
    }

    #[test]
    fn versions_are_numbered_and_say_what_they_replace() {
        let table = vec![
            (1, 0, "A", minted("cart", 1, &[])),
            (2, 0, "B", minted("cart", 2, &[])),
            (3, 0, "C", minted("cart", 3, &[1, 2])),
        ];
        assert_eq!(told(vec![], table)[2], "C made version 3 of cart, which replaces 1 and 2");
    }

    #[test]
    fn what_is_done_again_and_again_is_one_sentence_until_something_is_done_to_the_world() {
        let again = |ms| (ms, 0, "A", EventKind::Repaired { key: key("cart"), replica: node("B") });
        let table = vec![again(100), again(200), again(300), again(700)];
        let lines = told(vec![(500, Action::Heal)], table);
        let sentence = "A sent B what it missed of cart";
        assert_eq!(lines, [&alloc::format!("{sentence} (3 times)"), "every link was healed", sentence]);
    }

    #[test]
    fn a_long_story_loses_what_matters_least_and_then_its_middle() {
        let vote = |votes| EventKind::VoteCounted { key: key("cart"), from: node("B"), votes, needed: 200 };
        let votes = (0..100).map(|n| (u64::from(n) * 10, 0, "A", vote(n))).collect::<Vec<_>>();
        let mut table = votes;
        table.push((2_000, 0, "A", acknowledged("cart")));
        let story = Story::tell(&schedule(vec![]), &violation("cart"), &events(table));
        assert_eq!((story.lines.len(), story.left_out), (1, 100));

        let crashes =
            (1..=100).map(|n| (n * 50, Action::Partition { groups: vec![vec![node(&alloc::format!("N{n}"))]] }));
        let lines = told(crashes.collect(), vec![]);
        assert_eq!(lines.len(), LINES_MAX);
        assert_eq!(lines[0], "the network was cut around N1");
        assert_eq!(lines[LINES_MAX - 1], "the network was cut around N100");
    }
}
