//! What comes of a request: the reply once its quorum is met or missed, and the repair of whoever turns out to be behind
//! when the late answers are in. Repairs mint no dots.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::operation::{Operation as Coordination, Stage};
use super::round::View;
use super::{LATE_ANSWERS, Shard, Success};
use crate::causality::{self, SiblingSet, VersionVector};
use crate::config::Strategy;
use crate::error::RequestError;
use crate::event::{EventKind, OperationKind};
use crate::hash::Position;
use crate::id::{NodeId, RequestId};
use crate::message::ShardMessage;
use crate::node::Picture;
use crate::planted::PlantedBug;
use crate::storage::{Storage, StorageError};

impl<S: Storage> Shard<S> {
    pub(super) fn note_quorum(&mut self, id: RequestId) {
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let (kind, key) = (operation.request.kind(), operation.request.key.clone());
        let by = operation.round().map(|round| round.votes_of().to_vec()).unwrap_or_default();
        let cause = self.effects.detail_as_cause(|| EventKind::QuorumMet { operation: kind, key, by });
        self.operations.get_mut(&id).expect("it is under way").cause = cause;
    }

    /// The quorum is met: answers, and from then on only listens for repair.
    pub(super) fn succeed(&mut self, id: RequestId) {
        let until = self.effects.now + LATE_ANSWERS;
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let written = match &operation.stage {
            Stage::Writing { write, .. } => Some((write.set.clone(), write.seen.clone())),
            _ => None,
        };
        let unmerged = self.start.config.has_bug(PlantedBug::AnswerWithoutMerging);
        let Some(round) = operation.round() else { return };
        let lingered = round.linger_until.take().is_some();
        round.replied = true;
        let (set, seen) = written.unwrap_or_else(|| {
            let one = round.votes_of().first().and_then(|node| round.set_of(node)).filter(|_| unmerged);
            let merged = one.cloned().unwrap_or_else(|| round.merged());
            let seen = merged.context().clone();
            (merged, seen)
        });
        operation.deadline = until;
        if !lingered {
            self.note_quorum(id);
            self.leave_turn_of(id);
        }
        let success = self.success(id, self.shown(id, set), &seen);
        let Coordination { origin, request, .. } = &self.operations[&id];
        let (origin, kind, key) = (origin.clone(), request.kind(), request.key.clone());
        self.reply(&origin, kind, &key, Ok(success));
        self.reschedule(id);
        self.judge(id);
    }

    /// What of a set a reader is shown.
    fn shown(&self, id: RequestId, set: SiblingSet) -> SiblingSet {
        let picture = self.picture.as_ref().expect("requests come after the picture");
        let request = &self.operations[&id].request;
        match picture.config.strategies.of(&request.key) {
            Strategy::Lww if request.kind() == OperationKind::Get => set.collapsed(),
            Strategy::Lww | Strategy::Siblings => set,
        }
    }

    fn success(&mut self, id: RequestId, set: SiblingSet, seen: &VersionVector) -> Success {
        let picture = self.picture.clone().expect("requests come after the picture");
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let (key, kind) = (operation.request.key.clone(), operation.request.kind());
        let at = Position::of(&key);
        let answers = operation.round().map(|round| round.answers(View::new(&picture, at))).unwrap_or_default();
        let actors: Vec<_> = set.context().iter().map(|span| span.actor).collect();
        let issuers: BTreeMap<_, _> = actors
            .into_iter()
            .filter_map(|actor| picture.issuers.get(&actor).map(|node| (actor, node.clone())))
            .collect();
        Success {
            context: causality::encode(&picture.secret, &key, seen),
            coordinator: self.start.node.clone(),
            replicas: shown_owners(&picture, at, kind).to_vec(),
            answers,
            layout_version: picture.rings.id.version,
            issuers,
            set,
        }
    }

    /// The quorum cannot be met any more, or time is over.
    pub(super) fn miss(&mut self, id: RequestId) {
        let picture = self.picture.clone().expect("requests come after the picture");
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let key = operation.request.key.clone();
        let kind = operation.request.kind();
        let at = Position::of(&key);
        let Some(round) = operation.round() else { return };
        let view = View::new(&picture, at);
        let (needed, primaries, answers) = (round.needed(view), round.needs.primaries, round.answers(view));
        let by = answers.successful.clone();
        self.effects.detail_as_cause(|| EventKind::QuorumMissed { operation: kind, key, by, needed });
        let replicas = shown_owners(&picture, at, kind).to_vec();
        let write = kind != OperationKind::Get;
        if write && self.operations[&id].disk_full {
            return self.end(id, Err(RequestError::Storage(StorageError::Full)));
        }
        self.end(id, Err(RequestError::QuorumNotMet { write, needed, primaries, answers, replicas }));
    }

    /// Every answer has come, or time is over: whichever owner is behind the merge is sent it. What a fallback keeps it hands
    /// over itself.
    pub(super) fn finish_late(&mut self, id: RequestId) {
        let Some(operation) = self.forget(id) else { return };
        let Stage::Reading(round) = operation.stage else { return };
        let picture = self.picture.clone().expect("requests come after the picture");
        let (key, layout) = (operation.request.key, picture.rings.id);
        let at = Position::of(&key);
        self.effects.cause = operation.cause;
        let merged = round.merged();
        for (replica, set) in round.into_sets() {
            // Names of old requests may differ, for each store forgets them by its own clock.
            let is_behind = !set.descends(&merged) || set.live().ne(merged.live());
            if !is_behind || !picture.rings.owns(&replica, at) {
                continue;
            }
            self.effects.event(|| EventKind::Repaired { key: key.clone(), replica: replica.clone() });
            if replica == self.start.node {
                self.serve_repair(&replica, layout, &key, &merged);
            } else {
                let repair = ShardMessage::Repair { layout, key: key.clone(), set: merged.clone() };
                self.send(replica, at.slice(), repair);
            }
        }
    }
}

/// The owners that people are shown: whom a read asks, and who will have what is written.
fn shown_owners(picture: &Picture, at: Position, kind: OperationKind) -> &[NodeId] {
    let rings = &picture.rings;
    let ring = if kind == OperationKind::Get { &rings.reading(at.slice()).ring } else { rings.ring() };
    ring.preference_list(at).primaries()
}
