//! How a write gets its dot: what it replaces, which counter it is issued, and that the counter is reserved durably first.
//! It sends nothing and counts no votes.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::barrier::Then;
use super::operation::{Stage, Write};
use super::{Operation, Output, Picture, Shard, rows};
use crate::causality::{self, Dot, IssueError, Issuer, RequestName, SiblingSet, Version, VersionVector};
use crate::config::{Config, Strategy};
use crate::error::RequestError;
use crate::event::EventKind;
use crate::hash::{Position, Slice};
use crate::id::{Key, RequestId, RequestKey};
use crate::limits;
use crate::node::{FromShard, NodeEvent};
use crate::planted::PlantedBug;
use crate::storage::{Batch, Storage, StorageError};

/// What came of minting a dot.
pub(super) enum Minted {
    Fresh(Box<Write>),
    LeaseNeeded { slice: Slice, upto: u64 },
}

impl<S: Storage> Shard<S> {
    /// The write's set, with the write in it under a fresh dot. `seen` is what a read before it has shown.
    pub(super) fn mint(&mut self, id: RequestId, seen: Option<&SiblingSet>) -> Result<Minted, RequestError> {
        let picture = self.picture.clone().expect("requests come after the picture");
        let again = self.operations[&id].replacing.clone();
        let request = &self.operations[&id].request;
        let Operation::Write { value, context, request_key } = request.operation.clone() else {
            unreachable!("only writes mint dots");
        };
        let key = request.key.clone();
        let slice = Position::of(&key).slice();
        let wall = self.wall_now();
        let mut set = self.load(&key).map_err(RequestError::Storage)?;
        let seen = seen.map(|seen| self.strip(Position::of(&key), &set, seen));
        let sealed = self.collection.marks.get(&slice).map(|marks| marks.sealed.get(self.start.actor));
        let issuer = self.issuers.get_mut(&slice).expect("requests come to the shard of their slice");
        if let Some(seen) = seen.as_deref() {
            issuer.observe(set.context(), seen.context());
            if let Some(forgotten) = forgotten_dots(issuer, seen, &self.start.config) {
                self.effects.push(Output::Control(NodeEvent(forgotten)));
            }
            rows::merge(&mut set, seen).map_err(RequestError::Storage)?;
        }
        set.forget_requests(wall, self.start.config.repair.request_memory);
        let retried = request_key.filter(|_| again.is_none()).and_then(|name| set.find_request(name));
        if let Some(dot) = retried {
            // Nothing is minted: the replicas are sent what there is, until enough of them hold the write.
            let seen = set.context_of(dot);
            return Ok(Minted::Fresh(Box::new(Write { set, fresh: dot, seen, again: true })));
        }
        let mut replaces = match (&context, seen) {
            _ if again.is_some() => again.unwrap_or_default(),
            (Some(context), _) => {
                let mut context = decode_context(&picture, &key, context)?;
                issuer.clamp(&mut context);
                context
            }
            (None, Some(seen)) => seen.context().clone(),
            (None, None) => VersionVector::default(),
        };
        if picture.config.strategies.of(&key) == Strategy::Lww {
            // The last writer wins over all that is here, whatever it has seen and whatever the stamps say.
            replaces.merge(set.context());
        }
        check_siblings(&set, &replaces)?;
        let known = set.context().get(issuer.actor()).max(replaces.get(issuer.actor()));
        let floor = known.max(sealed.unwrap_or(0));
        let fresh = match issuer.next(floor) {
            Ok(fresh) => fresh,
            Err(IssueError::LeaseNeeded { upto }) => return Ok(Minted::LeaseNeeded { slice, upto }),
            Err(IssueError::Exhausted) => {
                return Err(RequestError::Storage(StorageError::Io(IssueError::Exhausted.to_string())));
            }
        };
        for (_, version) in set.live() {
            // A stamp too far ahead is somebody's broken clock: it orders nothing here.
            let _ = self.clock.observe(version.stamp, wall);
        }
        let request = request_key.map(|name| RequestName::new(name, &replaces));
        let version = Version { stamp: self.clock.now(wall), value, request };
        // The dot is above all that is covered, so this fails only on a context of more actors than a key can have.
        set.update(&replaces, fresh, version).map_err(|error| RequestError::InvalidContext(error.to_string()))?;
        let due = issuer.lease_due();
        if let Some(upto) = due {
            // The block in use is not used up: the next write tries again, and the failure is on the trace.
            let _ = self.lease(slice, upto);
        }
        self.note_minted(&key, fresh.dot(), &replaces, request_key);
        self.note_siblings(&key, &set);
        let mut seen = replaces;
        seen.insert(fresh.dot());
        Ok(Minted::Fresh(Box::new(Write { set, fresh: fresh.dot(), seen, again: false })))
    }

    fn note_minted(&mut self, key: &Key, dot: Dot, replaces: &VersionVector, request: Option<RequestKey>) {
        self.effects.event(|| EventKind::Minted { key: key.clone(), dot, replaces: replaces.clone(), request });
    }

    fn note_siblings(&mut self, key: &Key, set: &SiblingSet) {
        let siblings = set.values().len();
        if siblings > 1 {
            let siblings = u32::try_from(siblings).unwrap_or(u32::MAX);
            self.effects.event(|| EventKind::Conflict { key: key.clone(), siblings });
        }
    }

    /// Reserves dots durably; writes that need them go on then.
    pub(super) fn lease(&mut self, slice: Slice, upto: u64) -> Result<(), StorageError> {
        if self.leasing.get(&slice).is_some_and(|under_way| *under_way >= upto) {
            return Ok(());
        }
        let mut batch = Batch::default();
        rows::put_lease(&mut batch, slice, self.start.actor, upto);
        let seq = self.apply(batch)?;
        self.leasing.insert(slice, upto);
        self.barrier.wait(seq, None, Then::Leased { slice, upto });
        Ok(())
    }

    pub(super) fn on_leased(&mut self, slice: Slice, upto: u64) {
        self.leasing.retain(|of, under_way| *of != slice || *under_way > upto);
        self.issuers.get_mut(&slice).expect("a lease of an own slice").extended(upto);
        self.mint_again(|of| of == slice);
    }

    /// Writes that wait for dots of these slices try again.
    pub(super) fn mint_again(&mut self, slices: impl Fn(Slice) -> bool) {
        let waiting: Vec<(RequestId, Option<SiblingSet>)> = self
            .operations
            .iter()
            .filter(|(_, operation)| slices(Position::of(&operation.request.key).slice()))
            .filter_map(|(id, operation)| match &operation.stage {
                Stage::Leasing { seen } => Some((*id, seen.clone())),
                _ => None,
            })
            .collect();
        for (id, seen) in waiting {
            self.effects.cause = self.operations[&id].cause;
            self.begin_writing(id, seen);
        }
    }
}

/// What to tell the control plane if a set knows dots of the issuer's actor that it never issued: this store has forgotten
/// them.
pub(super) fn forgotten_dots(issuer: &Issuer, set: &SiblingSet, config: &Config) -> Option<FromShard> {
    let trusting = config.has_bug(PlantedBug::ReuseDot) || config.has_bug(PlantedBug::TrustOldCopy);
    let forgotten = set.context().get(issuer.actor()) > issuer.issued() && !trusting;
    forgotten.then(|| FromShard::Forgotten { actor: issuer.actor() })
}

/// A write may not add a sibling to a key that has as many as it may have. One that replaces some may.
fn check_siblings(set: &SiblingSet, replaces: &VersionVector) -> Result<(), RequestError> {
    let left = set.live().filter(|(dot, _)| !replaces.covers(*dot)).count();
    if left >= limits::SIBLINGS_MAX {
        return Err(RequestError::TooManySiblings { siblings: u32::try_from(left).unwrap_or(u32::MAX) });
    }
    Ok(())
}

/// What a client's context stands for.
pub(super) fn decode_context(picture: &Picture, key: &Key, context: &str) -> Result<VersionVector, RequestError> {
    causality::decode(&picture.secret, key, context).map_err(|error| RequestError::InvalidContext(error.to_string()))
}
