//! What a node tells the whole cluster in its own name: who has come, gone and come back, new layouts, and keys that have
//! several values. Each is told by one node, where the others would tell the same. Nothing is ever decided by it.
//!
//! A newcomer tells of itself, and whoever brought a layout about tells of it. Of a death those tell who came to the
//! verdict; of what the subject has said itself, all who heard it. They wait, each longer than the one before it by name,
//! and whoever hears it told meanwhile does not.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;
use core::time::Duration;

use bytes::Bytes;

use super::Node;
use crate::gossip;
use crate::id::{EventName, Key};
use crate::layout::LayoutId;
use crate::limits;
use crate::membership::{Change, ChangeKind, Why};
use crate::storage::Storage;
use crate::time::Time;

/// Something has happened to a member.
const MEMBER: &str = "quorate.member";
/// There is another layout.
const LAYOUT: &str = "quorate.layout";
/// A key has several values.
const CONFLICT: &str = "quorate.conflict";
/// How much longer each next one of those who could tell something waits, so that one does.
const STAGGER: Duration = Duration::from_secs(1);
/// Those who could tell something after so many others wait no longer than the one before them.
const STAGGERED_MAX: usize = 8;
/// Between two tellings of conflicts: an application that never merges makes one with every write.
const CONFLICT_PAUSE: Duration = Duration::from_secs(10);

/// What this node is to tell all others, in its own name.
#[derive(Clone, Debug)]
struct Announcement {
    due: Time,
    name: EventName,
    payload: Bytes,
}

/// What this node is to tell. At most [`limits::EVENTS_UNSENT_MAX`], and one conflict.
#[derive(Clone, Debug, Default)]
pub(super) struct Announcements {
    queue: VecDeque<Announcement>,
    conflict: Option<Conflict>,
    /// Before this no conflict is told.
    conflict_due: Time,
}

/// The first key that came to have several values since the last one was told of, and how many more there were.
#[derive(Clone, Debug)]
struct Conflict {
    key: Key,
    siblings: usize,
    more: u64,
}

impl Announcements {
    pub(super) fn next_wake(&self) -> Option<Time> {
        let conflict = self.conflict.as_ref().map(|_| self.conflict_due);
        self.queue.iter().map(|one| one.due).chain(conflict).min()
    }
}

impl<S: Storage> Node<S> {
    /// Has everybody told that this node is new in the cluster.
    pub(super) fn tell_of_joining(&mut self) {
        let (node, incarnation) = (&self.start.node, self.membership.me().incarnation);
        // A node's name needs no escaping. The others are known a moment later.
        self.announce(STAGGER, MEMBER, member_text(node.as_str(), "joined", incarnation));
    }

    /// Has everybody told what happened to another member, if it was not told of before.
    pub(super) fn tell_of_member(&mut self, change: &Change) {
        let me = &self.start.node;
        let (status, before) = match (change.kind, &change.why) {
            _ if change.node == *me => return,
            // Those who have asked it in vain come to the verdict at about the same time.
            (ChangeKind::Died, Why::SuspicionTimeout { accusers, .. }) if change.by == *me => {
                ("dead", accusers.iter().filter(|accuser| *accuser < me).count())
            }
            // This was perhaps told before this node came back, which it hears in the first moments.
            (ChangeKind::Died, Why::Stopped) => ("stopped", 1 + self.present_before()),
            (ChangeKind::Left, _) => ("left", 1 + self.present_before()),
            (ChangeKind::Revived, _) => ("alive", 1 + self.present_before()),
            _ => return,
        };
        let wait = STAGGER * u32::try_from(before.min(STAGGERED_MAX)).expect("a few");
        self.announce(wait, MEMBER, member_text(change.node.as_str(), status, change.incarnation));
    }

    /// How many members that are present come before this node by name.
    fn present_before(&self) -> usize {
        let members = self.membership.members().map(|known| &known.member);
        members.filter(|member| member.state.is_present() && member.node < self.start.node).count()
    }

    /// Has everybody told of a layout that this node has brought about.
    pub(super) fn tell_of_layout(&mut self, layout: LayoutId) {
        let (version, owners) = (layout.version, self.layout().len());
        self.announce(Duration::ZERO, LAYOUT, format!(r#"{{"layout_version":{version},"owners":{owners}}}"#));
    }

    /// Has everybody told, now and then, of keys that come to have several values.
    pub(super) fn tell_of_conflict(&mut self, key: Key, siblings: usize) {
        match &mut self.announcements.conflict {
            Some(conflict) => conflict.more = conflict.more.saturating_add(1),
            none => *none = Some(Conflict { key, siblings, more: 0 }),
        }
    }

    fn announce(&mut self, wait: Duration, name: &str, payload: String) {
        if self.announcements.queue.len() < limits::EVENTS_UNSENT_MAX {
            let name = EventName::new(name).expect("it is short and plain");
            let due = self.effects.now + wait;
            self.announcements.queue.push_back(Announcement { due, name, payload: payload.into() });
        }
    }

    pub(super) fn announce_what_is_due(&mut self) {
        let now = self.effects.now;
        if now >= self.announcements.conflict_due
            && let Some(Conflict { key, siblings, more }) = self.announcements.conflict.take()
        {
            self.announcements.conflict_due = now + CONFLICT_PAUSE;
            let key = json_text(key.as_str());
            self.announce(Duration::ZERO, CONFLICT, format!(r#"{{"key":{key},"siblings":{siblings},"more":{more}}}"#));
        }
        let mut effects = gossip::Effects::default();
        for Announcement { due, name, payload } in core::mem::take(&mut self.announcements.queue) {
            if due > now {
                self.announcements.queue.push_back(Announcement { due, name, payload });
            } else if !self.gossip.events().any(|event| event.name == name && event.payload == payload) {
                // With too much under way already, one event less: the list of members and the layout are what counts.
                let _ = self.gossip.announce(now, name, payload, &self.membership, &mut effects);
            }
        }
        self.carry_out_talk(effects);
    }
}

fn member_text(node: &str, status: &str, incarnation: u64) -> String {
    format!(r#"{{"node":"{node}","status":"{status}","incarnation":{incarnation}}}"#)
}

/// A text as JSON writes it.
fn json_text(text: &str) -> String {
    let mut json = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            control if control.is_control() && control.is_ascii() => {
                let _ = write!(json, "\\u{:04x}", u32::from(control));
            }
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::json_text;

    #[test]
    fn a_text_is_written_as_json() {
        assert_eq!(json_text("user:1/ä€"), r#""user:1/ä€""#);
        assert_eq!(json_text("a\"b\\c\n\u{7f}"), r#""a\"b\\c\u000a\u007f""#);
    }
}
