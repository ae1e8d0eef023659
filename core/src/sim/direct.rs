//! Requests that somebody hands to a node of the world as they are, with everything a request can say. For whoever tests
//! the data plane from outside; schedules have actions of their own.

use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use super::action::{ClientOperation, RequestOptions};
use super::client::{Asked, Open};
use super::world::{ClientRequest, Item, World};
use crate::error::RequestError;
use crate::id::{NodeId, Token};
use crate::request::{Operation, Reply, Request};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

impl World {
    /// Sends a node a request, and waits for nothing. Nothing if there is no such node.
    pub fn submit(&mut self, node: &NodeId, request: Request) -> Option<Token> {
        let host = self.index(node)?;
        let key = request.key.clone();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let operation = match &request.operation {
            Operation::Get => ClientOperation::Get { key },
            Operation::Write { value: Some(value), .. } => {
                ClientOperation::Put { key, value: text(&value.bytes), informed: false }
            }
            Operation::Write { value: None, .. } => ClientOperation::Delete { key, informed: false },
        };
        let asked = Arc::new(Asked { client: "stranger".into(), operation, options: RequestOptions::default() });
        let before = self.checker.oracle.acknowledgements();
        let open = Open { asked: asked.clone(), host, tries: 0, began: self.now(), before, replied: false };
        let (token, _) = self.clients.begin(self.now(), node, open);
        if request.operation != Operation::Get {
            self.checker.losses.begin(token, request.key.clone());
        }
        let sent_at = self.now();
        self.put(sent_at, Item::Request(Arc::new(ClientRequest { asked, host, token, request, sent_at })));
        Some(token)
    }

    /// Sends a node a request, and runs the world until it is answered.
    ///
    /// # Errors
    /// The node's answer, or that there was none.
    pub fn ask(&mut self, node: &NodeId, request: Request) -> Reply {
        let silent = Err(RequestError::Timeout { coordinator: node.clone() });
        let Some(token) = self.submit(node, request) else { return silent };
        let until = self.now() + PATIENCE;
        while self.next_at().is_some_and(|at| at <= until) {
            let answer = self.next_reply().filter(|(answered, _)| *answered == token).map(|(_, reply)| reply.clone());
            self.step();
            if let Some(reply) = answer {
                return reply;
            }
        }
        silent
    }
}
