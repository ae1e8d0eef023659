//! What happened and what was done, as sentences in the past tense, each with how much it matters to somebody who asks why
//! a promise was broken. Looks at one thing at a time and remembers only what makes them shorter.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::action::{Action, ClientOperation, LayoutChange};
use crate::causality::{Dot, VersionVector};
use crate::event::{Event, EventKind, LossReason, MessageKind, OperationKind};
use crate::id::{Key, NodeId};
use crate::membership::ChangeKind;
use crate::time::Time;

/// How much a sentence matters. What matters least goes first when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// The story cannot be told without it.
    Deed,
    /// A step of what followed.
    Step,
    /// How that step came about.
    Detail,
}

/// What sentences need to know of what was told before.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// The versions of each key in the order in which they were made, which numbers them: dots are no names for people.
    versions: BTreeMap<Key, Vec<Dot>>,
    /// How many owners the ring had.
    owners: BTreeSet<u32>,
}

impl Told {
    /// The number of a version that has just been made.
    fn add(&mut self, key: &Key, dot: Dot) -> usize {
        let dots = self.versions.entry(key.clone()).or_default();
        dots.push(dot);
        dots.len()
    }

    /// The number of a version. Dots are unique within a slice of the ring, so the key must be known.
    pub(super) fn version(&self, key: &Key, dot: Dot) -> Option<usize> {
        Some(self.versions.get(key)?.iter().position(|known| *known == dot)? + 1)
    }

    /// The versions of a key that are in a past, as a list: `1, 2 and 4`.
    fn covered(&self, key: &Key, past: &VersionVector) -> String {
        let dots = self.versions.get(key).map_or(&[][..], Vec::as_slice);
        let numbers = (1..).zip(dots).filter(|(_, dot)| past.covers(**dot));
        list(&numbers.map(|(number, _): (usize, _)| number.to_string()).collect::<Vec<_>>())
    }
}

/// What a node did, without its name; nothing for what is only traffic.
pub(super) fn of_event(event: &Event, told: &mut Told) -> Option<(Weight, String)> {
    of_life(event, told).or_else(|| of_write(event, told)).or_else(|| of_repair(event))
}

/// Processes, disks, clocks, members.
fn of_life(event: &Event, told: &mut Told) -> Option<(Weight, String)> {
    let node = &event.node;
    Some(match &event.kind {
        EventKind::Started { .. } if event.at > Time::ZERO => (Weight::Deed, "started".into()),
        EventKind::Crashed => (Weight::Deed, "crashed".into()),
        EventKind::Stopped => (Weight::Deed, "stopped, and said goodbye".into()),
        EventKind::Paused { paused: true } => (Weight::Deed, "stood still".into()),
        EventKind::Paused { paused: false } => (Weight::Deed, "went on".into()),
        EventKind::ClockSet { offset_ms } => (Weight::Step, format!("had its clock set {offset_ms} ms off")),
        EventKind::DiskFault { what } => (Weight::Deed, format!("had a fault of the disk: {what}")),
        EventKind::StorageFailed { reason } => (Weight::Step, format!("was refused by its disk: {reason}")),
        EventKind::ActorMinted { reason, .. } => (Weight::Deed, format!("took a new name for its writes: {reason}")),
        EventKind::Synced { objects } if *objects > 0 => {
            (Weight::Step, format!("had pulled everything it owns: {objects} objects"))
        }
        EventKind::LayoutChanged { owners, .. } if told.owners.insert(*owners) => {
            (Weight::Detail, format!("followed a ring of {owners} owners"))
        }
        EventKind::MemberChanged { change } if change.node != *node => match change.kind {
            ChangeKind::Died => (Weight::Detail, format!("took {} for dead", change.node)),
            ChangeKind::Revived => (Weight::Detail, format!("saw {} back", change.node)),
            ChangeKind::Left => (Weight::Detail, format!("heard that {} left for good", change.node)),
            _ => return None,
        },
        EventKind::Rejected { from, reason } => (Weight::Detail, format!("refused what {from} sent: {reason}")),
        _ => return None,
    })
}

/// From a request to its answer.
fn of_write(event: &Event, told: &mut Told) -> Option<(Weight, String)> {
    Some(match &event.kind {
        EventKind::Minted { key, dot, replaces, .. } => {
            let replaced = told.covered(key, replaces);
            let number = told.add(key, *dot);
            let replaced = if replaced.is_empty() { "nothing".into() } else { replaced };
            (Weight::Deed, format!("made version {number} of {key}, which replaces {replaced}"))
        }
        EventKind::Stored { key } => (Weight::Step, format!("stored {key}")),
        EventKind::VoteCounted { key, from, votes, needed } => {
            (Weight::Detail, format!("counted {from} for {key}: {votes} of {needed} answers"))
        }
        EventKind::QuorumMet { operation, key, by } => {
            (Weight::Step, format!("had answers enough to {} {key}: {}", verb(*operation), names(by)))
        }
        EventKind::QuorumMissed { operation, key, by, needed } => {
            (Weight::Step, format!("needed {needed} answers to {} {key} and had {}", verb(*operation), names(by)))
        }
        EventKind::Replied { operation, key, error } => {
            let answer = match (error, operation) {
                (Some(code), _) => format!("answered {} of {key}: {}", verb(*operation), code.replace('_', " ")),
                (None, OperationKind::Get) => format!("answered what {key} is"),
                (None, OperationKind::Put) => format!("acknowledged {key}"),
                (None, OperationKind::Delete) => format!("acknowledged that {key} is deleted"),
            };
            (Weight::Deed, answer)
        }
        EventKind::Conflict { key, siblings } => {
            (Weight::Step, format!("held {siblings} values of {key} side by side"))
        }
        EventKind::DotRefused { key } => {
            (Weight::Deed, format!("refused a version of {key} that it had seen replaced"))
        }
        EventKind::Lost { to, message, reason } => (Weight::Detail, lost(to, *message, *reason)?),
        EventKind::LayoutRefused { named, own } => {
            (Weight::Detail, format!("refused a request under layout {named}: it had {own}"))
        }
        _ => return None,
    })
}

/// What nodes do for each other afterwards.
fn of_repair(event: &Event) -> Option<(Weight, String)> {
    Some(match &event.kind {
        EventKind::StandInAsked { key, fallback, target } => {
            (Weight::Step, format!("asked {fallback} to stand in for {target} with {key}"))
        }
        EventKind::Hedged { key, to } => (Weight::Detail, format!("asked {to} for {key} too: an answer was late")),
        EventKind::HintStored { key, target } => (Weight::Deed, format!("kept {key} for {target}")),
        EventKind::HintRefused { target, .. } => (Weight::Deed, format!("kept as much for {target} as it may already")),
        EventKind::HintDelivered { key, to } => (Weight::Deed, format!("handed {to} the {key} it had kept")),
        EventKind::Compared { peer, differing, .. } if *differing > 0 => {
            (Weight::Detail, format!("compared with {peer}: {differing} keys differed"))
        }
        EventKind::TreeRebuilt { .. } => (Weight::Detail, "built a hash tree anew".into()),
        EventKind::Damaged { key } => (Weight::Deed, format!("found its copy of {key} damaged")),
        EventKind::Healed { key } => (Weight::Deed, format!("had {key} back from its other owners")),
        EventKind::FloorRaised { .. } => (Weight::Detail, "raised the floor of a slice".into()),
        EventKind::TombstoneCollected { key } => (Weight::Deed, format!("forgot that {key} was deleted")),
        EventKind::Repaired { key, replica } => (Weight::Deed, format!("sent {replica} what it missed of {key}")),
        _ => return None,
    })
}

fn lost(to: &NodeId, message: MessageKind, reason: LossReason) -> Option<String> {
    let what = match message {
        MessageKind::Write => "a copy",
        MessageKind::WriteAnswer => "a vote",
        MessageKind::Read => "a question",
        MessageKind::ReadAnswer => "an answer",
        MessageKind::Forward | MessageKind::ForwardAnswer => "a forwarded request",
        MessageKind::Hint | MessageKind::HandOff => "a hint",
        MessageKind::Repair => "a repair",
        _ => return None,
    };
    let why = match reason {
        LossReason::Loss => "the network lost it",
        LossReason::Cut => "the link was cut",
        LossReason::Down => "nobody listened",
        LossReason::Full => "the link was full",
    };
    Some(format!("sent {to} {what} in vain: {why}"))
}

/// What somebody did to the world, as a whole sentence; nothing for what nodes say of themselves.
pub(super) fn of_action(action: &Action) -> Option<String> {
    Some(match action {
        Action::Client { client, node, operation, options } => {
            let what = match operation {
                ClientOperation::Get { key } => format!("what {key} is"),
                ClientOperation::Put { key, value, informed } => format!("to put {key} = {value:?}{}", seen(*informed)),
                ClientOperation::Delete { key, informed } => format!("to delete {key}{}", seen(*informed)),
            };
            let strictly = if options.strict { ", owners only" } else { "" };
            let retry = match &options.retry[..] {
                [] => String::new(),
                others => format!(", then {} if that fails", names(others)),
            };
            format!("{client} asked {node} {what}{strictly}{retry}")
        }
        Action::Slow { node, by } if by.is_zero() => format!("{node} was quick again"),
        Action::Slow { node, by } => format!("{node} became slow: {by:?} for everything"),
        Action::SlowControl { node, by } if by.is_zero() => format!("the control plane of {node} was quick again"),
        Action::SlowControl { node, by } => format!("the control plane of {node} became slow: {by:?} for everything"),
        Action::PowerFailure => "the power failed everywhere".into(),
        Action::Add => "a node was added".into(),
        Action::Layout { node, change } => format!("an operator asked {node} {}", layout_change(change)),
        Action::Partition { groups } => {
            let sides: Vec<String> = groups.iter().map(|group| names(group)).collect();
            format!("the network was cut around {}", sides.join(" | "))
        }
        Action::Link { from, to, cut: true, .. } => format!("the link from {from} to {to} was cut"),
        Action::Link { from, to, cut: false, loss_per_million: 0, latency } if latency.is_zero() => {
            format!("the link from {from} to {to} was mended")
        }
        Action::Link { from, to, loss_per_million, latency, .. } => {
            let percent = loss_per_million / 10_000;
            format!("the link from {from} to {to} lost {percent} % and took {latency:?} longer")
        }
        Action::Heal => "every link was healed".into(),
        Action::HealCore { core } => format!("{} and what joins them were mended for good", names(core)),
        // Nodes say so themselves, if anything came of it.
        Action::Crash { .. }
        | Action::Stop { .. }
        | Action::Restart { .. }
        | Action::Pause { .. }
        | Action::Resume { .. }
        | Action::Clock { .. }
        | Action::Disk { .. } => return None,
    })
}

fn layout_change(change: &LayoutChange) -> String {
    match change {
        LayoutChange::Leave => "to leave for good".into(),
        LayoutChange::Remove { node } => format!("to remove {node}"),
        LayoutChange::Replace { old, new } => format!("to replace {old} by {new}"),
        LayoutChange::Weigh { node, weight } => format!("to give {node} the weight {weight}"),
        LayoutChange::Revert => "to revert the change of the layout".into(),
        LayoutChange::Force { lost } => format!("to go on without {}, lost for ever", names(lost)),
    }
}

const fn seen(informed: bool) -> &'static str {
    if informed { ", replacing what it had seen" } else { "" }
}

pub(super) const fn verb(operation: OperationKind) -> &'static str {
    match operation {
        OperationKind::Get => "get",
        OperationKind::Put => "put",
        OperationKind::Delete => "delete",
    }
}

/// Names as a list: `A, B and C`, or `nobody`.
pub(super) fn names(nodes: &[NodeId]) -> String {
    let text = list(&nodes.iter().map(|node| node.as_str().to_string()).collect::<Vec<_>>());
    if text.is_empty() { "nobody".into() } else { text }
}

fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
