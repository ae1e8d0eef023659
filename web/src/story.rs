//! What happened, in the reader's words and with a time: the text twin of the picture, and what is read aloud. Tells each
//! thing once (five nodes that notice one crash are one sentence); never shows an id or an enum name.

use std::collections::{BTreeSet, VecDeque};

use quorate_core::event::{Event, EventKind, OperationKind};
use quorate_core::id::{Key, NodeId};
use quorate_core::membership::{Change, ChangeKind, Why};
use quorate_core::sim::{Action, DiskFate, DiskFault, LayoutChange};
use quorate_core::time::Time;

use crate::words;

/// Most sentences that are kept.
const LINES_MAX: usize = 200;

/// How a sentence is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Somebody did something to the cluster.
    Deed,
    /// Something went wrong.
    Bad,
    /// Something went well.
    Good,
    /// Something changed.
    Plain,
}

/// One sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Counts the sentences of a run, from one.
    pub number: u64,
    /// When it happened.
    pub at: Time,
    /// What happened.
    pub text: String,
    /// How it is meant.
    pub tone: Tone,
}

/// What has been told so far.
#[derive(Clone, Debug, Default)]
pub struct Story {
    lines: VecDeque<Line>,
    /// What has been told of members: who, at which incarnation, and what.
    members: BTreeSet<(NodeId, u64, &'static str)>,
    /// The newest layout that was heard of, and how many owners were last told of.
    layout: u64,
    owners: u32,
}

impl Story {
    /// The sentences, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().rev()
    }

    /// Tells what an event says, if it says anything new.
    pub fn tell(&mut self, event: &Event) {
        if let Some((text, tone)) = self.sentence(event) {
            self.push(event.at, text, tone);
        }
    }

    /// Tells what somebody did.
    pub fn tell_deed(&mut self, at: Time, text: String) {
        self.push(at, text, Tone::Deed);
    }

    fn push(&mut self, at: Time, text: String, tone: Tone) {
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        let number = self.lines.back().map_or(0, |line| line.number) + 1;
        self.lines.push_back(Line { number, at, text, tone });
    }

    fn sentence(&mut self, event: &Event) -> Option<(String, Tone)> {
        let node = &event.node;
        Some(match &event.kind {
            EventKind::Started { boot: 1 } | EventKind::LayoutRefused { .. } => return None,
            EventKind::Started { .. } => (format!("{node} started again"), Tone::Good),
            EventKind::Crashed => (format!("{node} crashed"), Tone::Bad),
            EventKind::Stopped => (format!("{node} stopped, and said goodbye"), Tone::Plain),
            EventKind::Founded { .. } => (format!("{node} founded the cluster"), Tone::Plain),
            EventKind::JoinedCluster { through, .. } => (format!("{node} joined through {through}"), Tone::Good),
            EventKind::JoinRefused { other, reason } => (format!("{node} and {other}: {reason}"), Tone::Bad),
            EventKind::MemberChanged { change } => return self.member(node, change),
            EventKind::LayoutChanged { .. }
            | EventKind::TwoLayouts { .. }
            | EventKind::Leaving
            | EventKind::Left
            | EventKind::SlicePassed { .. }
            | EventKind::LeftoverDropped { .. } => return self.ownership(node, &event.kind),
            EventKind::Replied { operation, key, error: None } => done(node, *operation, key),
            EventKind::Replied { operation, key, error: Some(code) } if code == "not_found" => {
                (format!("{node} answered the {} of {key}: there is none", words::verb(*operation)), Tone::Plain)
            }
            EventKind::Replied { operation, key, error: Some(code) } => {
                (format!("{node} could not {} {key}: {}", words::verb(*operation), code.replace('_', " ")), Tone::Bad)
            }
            EventKind::QuorumMissed { operation, key, by, needed } => {
                let answers = words::count(u64::from(*needed), "answer");
                let had = words::list(by);
                (format!("{node} needed {answers} to {} {key}; only {had} answered", words::verb(*operation)), Tone::Bad)
            }
            EventKind::Conflict { key, siblings } => (format!("{key} has {siblings} values side by side"), Tone::Bad),
            EventKind::Repaired { key, replica } => (format!("{node} sent {replica} what it missed of {key}"), Tone::Good),
            EventKind::DotRefused { key } => (format!("{node} refused a version of {key} it had seen replaced"), Tone::Plain),
            EventKind::Synced { objects } if *objects > 0 => {
                (format!("{node} pulled {}", words::count(*objects, "object")), Tone::Good)
            }
            EventKind::StorageFailed { reason } => (format!("{node}: the disk said no: {reason}"), Tone::Bad),
            EventKind::StandInAsked { key, fallback, target } => {
                (format!("{node} asks {fallback} to stand in for {target} with {key}"), Tone::Plain)
            }
            EventKind::Hedged { key, to } => (format!("{node} asks {to} for {key} too: an answer is late"), Tone::Plain),
            EventKind::HintStored { key, target } => (format!("{node} keeps {key} for {target}"), Tone::Plain),
            EventKind::HintRefused { target, .. } => (format!("{node} keeps as much for {target} as it may"), Tone::Bad),
            EventKind::HintDelivered { key, to } => (format!("{node} handed {to} the {key} it kept"), Tone::Good),
            EventKind::Damaged { key } => (format!("{node} found its copy of {key} damaged"), Tone::Bad),
            EventKind::Healed { key } => (format!("{node} has {key} back from its other owners"), Tone::Good),
            EventKind::TreeRebuilt { .. } => (format!("{node} built a hash tree anew"), Tone::Plain),
            EventKind::TombstoneCollected { key } => (format!("{node} forgot that {key} was deleted"), Tone::Plain),
            EventKind::ActorMinted { reason, .. } => (format!("{node} signs with a new name: {reason}"), Tone::Plain),
            EventKind::Paused { paused: true } => (format!("{node} stands still"), Tone::Bad),
            EventKind::Paused { paused: false } => (format!("{node} goes on"), Tone::Good),
            EventKind::ClockSet { offset_ms } => (format!("{node}’s clock is off by {offset_ms} ms"), Tone::Bad),
            EventKind::DiskFault { what } => (format!("{node}’s disk: {what}"), Tone::Bad),
            EventKind::Minted { .. }
            | EventKind::Compared { .. }
            | EventKind::FloorRaised { .. }
            | EventKind::Synced { .. }
            | EventKind::Sent { .. }
            | EventKind::Delivered { .. }
            | EventKind::Lost { .. }
            | EventKind::Requested { .. }
            | EventKind::VoteCounted { .. }
            | EventKind::QuorumMet { .. }
            | EventKind::Stored { .. }
            // Nodes that do not know each other yet refuse each other's first words: the joining tells the story.
            | EventKind::Rejected { .. } => return None,
        })
    }

    /// Who owns what. Data moves slice by slice, which nobody wants to read.
    fn ownership(&mut self, node: &NodeId, kind: &EventKind) -> Option<(String, Tone)> {
        match kind {
            EventKind::LayoutChanged { version, owners } => {
                let is_news = *version > self.layout && *owners != self.owners;
                self.layout = self.layout.max(*version);
                if !is_news {
                    return None;
                }
                self.owners = *owners;
                Some((format!("the ring has {}", words::count(u64::from(*owners), "owner")), Tone::Plain))
            }
            EventKind::TwoLayouts { other, version } => {
                Some((format!("{node} and {other} follow different layouts {version}: both were forced"), Tone::Bad))
            }
            EventKind::Leaving => Some((format!("{node} leaves, and hands over what it holds"), Tone::Plain)),
            EventKind::Left => Some((format!("{node} has left for good"), Tone::Plain)),
            _ => None,
        }
    }

    fn member(&mut self, observer: &NodeId, change: &Change) -> Option<(String, Tone)> {
        let (member, by) = (&change.node, &change.by);
        let (kind, text, tone) = match change.kind {
            ChangeKind::Joined | ChangeKind::Updated => return None,
            ChangeKind::Suspected => ("suspected", format!("{by} suspects {member}{}", because(change)), Tone::Bad),
            ChangeKind::Died if change.why == Why::Stopped => return None,
            ChangeKind::Died => ("died", format!("{by} declares {member} dead{}", because(change)), Tone::Bad),
            ChangeKind::Refuted if observer == member => {
                ("refuted", format!("{member} says that it lives"), Tone::Good)
            }
            ChangeKind::Refuted => return None,
            ChangeKind::Revived => ("revived", format!("{observer} sees {member} back"), Tone::Good),
            ChangeKind::Left => ("left", format!("{member} left for good"), Tone::Plain),
        };
        self.members.insert((member.clone(), change.incarnation, kind)).then_some((text, tone))
    }
}

/// Why somebody thinks so, as the rest of a sentence; nothing where it is hearsay.
fn because(change: &Change) -> String {
    match &change.why {
        Why::ProbeTimeout { helpers: 0, .. } => ", who does not answer".into(),
        Why::ProbeTimeout { helpers, .. } => {
            format!(", who answers neither {} nor {}", change.by, words::count(u64::from(*helpers), "helper"))
        }
        Why::SuspicionTimeout { waited, .. } => format!(" after {} without a word", words::span(*waited)),
        _ => String::new(),
    }
}

fn done(node: &NodeId, operation: OperationKind, key: &Key) -> (String, Tone) {
    match operation {
        OperationKind::Put => (format!("{node} acknowledged {key}"), Tone::Good),
        OperationKind::Get => (format!("{node} answered what {key} is"), Tone::Good),
        OperationKind::Delete => (format!("{node} acknowledged that {key} is deleted"), Tone::Good),
    }
}

/// What somebody does to the cluster, as a sentence; nothing for what an event tells by itself.
#[must_use]
pub fn deed(action: &Action) -> Option<String> {
    match action {
        Action::Client { .. } | Action::Stop { .. } | Action::Restart { .. } | Action::PowerFailure => None,
        Action::Crash { disk: DiskFate::Kept, .. } => None,
        Action::Crash { node, disk: DiskFate::Lost } => Some(format!("you took {node}’s disk away")),
        Action::Crash { node, disk: DiskFate::RolledBack } => {
            Some(format!("you put an old copy of {node}’s disk back"))
        }
        Action::Add => Some("you added a node".into()),
        Action::Layout { node, change } => Some(match change {
            LayoutChange::Leave => format!("you told {node} to leave"),
            LayoutChange::Remove { node } => format!("you removed {node}"),
            LayoutChange::Replace { old, new } => format!("you put {new} in the place of {old}"),
            LayoutChange::Weigh { node, weight } => format!("you gave {node} the weight {weight}"),
            LayoutChange::Revert => "you took the change of the ring back".into(),
            LayoutChange::Force { lost } => format!("you gave {} up for lost", words::list(lost)),
        }),
        Action::Partition { groups } => {
            let sides: Vec<_> = groups.iter().map(|group| words::list(group)).collect();
            Some(match sides.as_slice() {
                [one] => format!("you cut {one} off"),
                _ => format!("you split the cluster: {}", sides.join(" | ")),
            })
        }
        Action::Link { from, to, cut: true, .. } => Some(format!("you cut {from} → {to}")),
        Action::Link { from, to, latency, .. } if !latency.is_zero() => {
            Some(format!("you made {from} → {to} {} ms slower", latency.as_millis()))
        }
        Action::Link { from, to, cut: false, loss_per_million: 0, .. } => Some(format!("you mended {from} → {to}")),
        Action::Link { from, to, loss_per_million, .. } => {
            Some(format!("you made {from} → {to} lose {} %", loss_per_million / 10_000))
        }
        Action::Heal => Some("you healed every link".into()),
        Action::HealCore { core } => Some(format!("you mended {} for good", words::list(core))),
        Action::Slow { node, by } if by.is_zero() => Some(format!("{node} is as quick as it was")),
        Action::Slow { node, .. } => Some(format!("you made {node} slow")),
        Action::SlowControl { node, by } if by.is_zero() => Some(format!("{node} hears of others as soon as it did")),
        Action::SlowControl { node, .. } => Some(format!("you made {node} hear late of the others")),
        Action::Disk { node, fault } => disk_deed(node, *fault),
        // The events that follow tell it.
        Action::Pause { .. } | Action::Resume { .. } | Action::Clock { .. } => None,
    }
}

/// What somebody does to a disk; nothing for what an event tells by itself.
fn disk_deed(node: &NodeId, fault: DiskFault) -> Option<String> {
    match fault {
        DiskFault::Copied => Some(format!("you put a copy of {node}’s disk aside")),
        DiskFault::Healthy => Some(format!("you mended {node}’s disk")),
        DiskFault::Unreadable | DiskFault::Full | DiskFault::Slow { .. } | DiskFault::Rot => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{event, key, node};

    fn told(events: &[(&str, EventKind)]) -> Vec<String> {
        let mut story = Story::default();
        for (number, (at, kind)) in (1..).zip(events) {
            story.tell(&event(number, None, 2_400, at, kind.clone()));
        }
        story.newest_first().map(|line| line.text.clone()).collect()
    }

    fn change(member: &str, kind: ChangeKind, incarnation: u64, by: &str) -> EventKind {
        let why = Why::Told { teller: node(by) };
        EventKind::MemberChanged { change: Change { node: node(member), kind, incarnation, by: node(by), why } }
    }

    #[test]
    fn what_several_nodes_notice_is_told_once() {
        let story = told(&[
            ("B", EventKind::Crashed),
            ("A", change("B", ChangeKind::Suspected, 1, "A")),
            ("C", change("B", ChangeKind::Suspected, 1, "A")),
            ("D", change("B", ChangeKind::Died, 1, "C")),
            ("A", change("B", ChangeKind::Died, 1, "C")),
            ("A", change("B", ChangeKind::Revived, 2, "B")),
            ("B", change("B", ChangeKind::Refuted, 2, "B")),
            ("A", change("B", ChangeKind::Suspected, 2, "A")),
        ]);
        assert_eq!(
            story,
            ["A suspects B", "B says that it lives", "A sees B back", "C declares B dead", "A suspects B", "B crashed"],
            "newest first"
        );
    }

    #[test]
    fn a_suspicion_says_why() {
        let suspected = |why| {
            let change = Change { node: node("B"), kind: ChangeKind::Suspected, incarnation: 1, by: node("A"), why };
            told(&[("A", EventKind::MemberChanged { change })])
        };
        let probed = |helpers| Why::ProbeTimeout { helpers, nacks: 0 };
        assert_eq!(suspected(probed(0)), ["A suspects B, who does not answer"]);
        assert_eq!(suspected(probed(3)), ["A suspects B, who answers neither A nor 3 helpers"]);
        assert_eq!(suspected(Why::Told { teller: node("C") }), ["A suspects B"]);
    }

    #[test]
    fn operations_and_their_failures_are_told() {
        let replied = |error: Option<&str>| EventKind::Replied {
            operation: OperationKind::Put,
            key: key("cart"),
            error: error.map(Into::into),
        };
        let missed =
            EventKind::QuorumMissed { operation: OperationKind::Get, key: key("cart"), by: vec![node("A")], needed: 2 };
        for (kind, text) in [
            (replied(None), "A acknowledged cart"),
            (replied(Some("quorum_not_met")), "A could not put cart: quorum not met"),
            (missed, "A needed 2 answers to get cart; only A answered"),
            (EventKind::Conflict { key: key("cart"), siblings: 2 }, "cart has 2 values side by side"),
        ] {
            assert_eq!(told(&[("A", kind)]), [text]);
        }
    }

    #[test]
    fn the_traffic_itself_is_not_told() {
        let sent = EventKind::Sent { to: node("B"), message: quorate_core::event::MessageKind::Gossip, key: None };
        assert!(told(&[("A", sent), ("A", EventKind::Started { boot: 1 })]).is_empty());
    }

    #[test]
    fn a_layout_is_told_when_the_number_of_owners_changes() {
        let layout = |version, owners| ("A", EventKind::LayoutChanged { version, owners });
        let story = told(&[layout(1, 1), layout(2, 3), layout(2, 3), layout(3, 3), layout(2, 2), layout(4, 4)]);
        assert_eq!(story, ["the ring has 4 owners", "the ring has 3 owners", "the ring has 1 owner"]);
    }

    #[test]
    fn deeds_are_told_as_done_by_the_reader() {
        let split = Action::Partition { groups: vec![vec![node("A"), node("B")]] };
        assert_eq!(deed(&split).as_deref(), Some("you cut A and B off"));
        assert_eq!(deed(&Action::Heal).as_deref(), Some("you healed every link"));
        assert_eq!(deed(&Action::Stop { node: node("A") }), None, "the event says so");
    }

    #[test]
    fn the_story_is_bounded() {
        let mut story = Story::default();
        for number in 0..1_000 {
            story.tell_deed(Time::from_ms(number), format!("deed {number}"));
        }
        assert_eq!(story.newest_first().count(), LINES_MAX);
        assert_eq!(story.newest_first().next().map(|line| line.text.as_str()), Some("deed 999"));
    }
}
