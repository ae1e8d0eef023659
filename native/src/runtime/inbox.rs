//! Where messages of peers go: each to the machine it is for. Waits where there is no room, so that a peer that sends
//! faster than this node takes is slowed by its own connection. Never looks further into a message than its address.

use std::sync::Arc;

use bytes::Bytes;
use quorate_core::id::NodeId;
use quorate_core::message::{Envelope, Message, NodeMessage};
use tokio::sync::{Semaphore, mpsc};

use super::control::ControlInput;
use super::shard::ShardInput;
use super::shard_of;
use crate::peer::Receive;

/// Bytes of messages that wait for the shards, in all.
const WAITING_BYTES_MAX: usize = 512 * 1_024 * 1_024;

/// Hands messages on.
pub(super) struct Inbox {
    control: mpsc::Sender<ControlInput>,
    shards: Vec<mpsc::Sender<ShardInput>>,
    room: Arc<Semaphore>,
}

impl Inbox {
    pub(super) fn new(control: mpsc::Sender<ControlInput>, shards: Vec<mpsc::Sender<ShardInput>>) -> Self {
        Self { control, shards, room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)) }
    }
}

impl Receive for Inbox {
    async fn receive(&self, from: &NodeId, frame: Bytes) -> Result<(), String> {
        let envelope = Box::new(Envelope::decode(&frame).map_err(|error| error.to_string())?);
        let from = from.clone();
        let Message::Shard(slice, _) = envelope.message else {
            return self.control.send(ControlInput::Message { from, envelope }).await.map_err(|_| stopping());
        };
        let bytes = u32::try_from(frame.len()).expect("frames are shorter than 4 GiB");
        drop(frame);
        let permit = self.room.clone().acquire_many_owned(bytes).await.map_err(|_| stopping())?;
        let shard = &self.shards[shard_of(slice, self.shards.len())];
        shard.send(ShardInput::Message { from, envelope, permit }).await.map_err(|_| stopping())
    }

    /// What refuses a connection refuses a member: the core hears of it in its own terms.
    async fn refused(&self, by: &NodeId, reason: &str) {
        let message = Message::Node(NodeMessage::Refused { reason: reason.into() });
        let envelope = Box::new(Envelope { cluster: None, cause: None, message });
        // A node that is stopping does not mind who refuses it.
        let _ = self.control.send(ControlInput::Message { from: by.clone(), envelope }).await;
    }
}

fn stopping() -> String {
    "this node is stopping".into()
}
