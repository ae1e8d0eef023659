//! Requests for keys that this node does not own, on their way to a node that does, and its answers on their way back. It
//! never coordinates one itself.

use alloc::string::String;
use core::time::Duration;

use super::operation::{Operation as Coordination, Origin, Stage};
use super::{Picture, Reply, Shard};
use crate::error::RequestError;
use crate::hash::Position;
use crate::id::{NodeId, RequestId};
use crate::limits;
use crate::message::ShardMessage;
use crate::storage::Storage;

impl<S: Storage> Shard<S> {
    pub(super) fn hand_on(&mut self, id: RequestId, picture: &Picture, primaries: &[NodeId]) {
        let now = self.effects.now;
        let operation = self.operations.get_mut(&id).expect("it is under way");
        let hops = match operation.origin {
            Origin::Client(_) => 0,
            Origin::Peer { hops, .. } => hops,
        };
        let target = primaries.iter().find(|node| !picture.down.contains(*node)).cloned();
        let (Some(to), true) = (target, hops < limits::HOPS_MAX) else {
            let reason = String::from("no owner of the key can be reached");
            return self.end(id, Err(RequestError::NotReady { reason }));
        };
        operation.stage = Stage::Forwarded { to: to.clone() };
        let mut body = operation.request.clone();
        body.timeout = Some(operation.deadline.since(now).max(Duration::from_millis(1)));
        let slice = Position::of(&body.key).slice();
        self.send(to, slice, ShardMessage::Forward { request: id, hops: hops + 1, body });
    }

    pub(super) fn on_forward_answer(&mut self, from: &NodeId, id: RequestId, reply: Reply) {
        let asked = |operation: &Coordination| matches!(&operation.stage, Stage::Forwarded { to } if to == from);
        if self.operations.get(&id).is_some_and(asked) {
            self.end(id, reply);
        }
    }
}
