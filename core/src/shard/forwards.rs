//! What other nodes handed on to this one lately, so that a request which is sent again is not done again. It does not say
//! what became of a request whose reply it had to forget, and never lets one of those be done anew.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;

use crate::id::{NodeId, RequestId};
use crate::limits;
use crate::request::Reply;
use crate::time::Time;

/// How long after its deadline a request may still arrive again.
const GRACE: Duration = Duration::from_secs(5);
/// What a reply takes besides its values, at least.
const REPLY_BYTES_MIN: usize = 512;

/// A request of another node: names of different nodes may be alike.
type Name = (NodeId, RequestId);

/// What is known of a request that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meeting {
    /// It was not here before.
    New,
    /// It is under way, or was done and the reply is forgotten.
    Known,
    /// It was done.
    Answered(Box<Reply>),
    /// It may have been here before: there are as many that may come again as can be remembered.
    Full,
}

#[derive(Clone, Debug)]
struct Known {
    until: Time,
    is_write: bool,
    reply: Option<Box<Reply>>,
}

/// The requests that may come again.
#[derive(Clone, Debug, Default)]
pub(super) struct Forwards {
    known: BTreeMap<Name, Known>,
    by_end: BTreeSet<(Time, Name)>,
    /// Replies in the order they were made, with the bytes they take.
    replies: VecDeque<(Name, usize)>,
    reply_bytes: usize,
}

impl Forwards {
    /// A request arrives that may take so long. A new one is remembered.
    pub(super) fn meet(
        &mut self,
        from: &NodeId,
        request: RequestId,
        is_write: bool,
        now: Time,
        timeout: Duration,
    ) -> Meeting {
        while let Some((until, name)) = self.by_end.first()
            && *until <= now
        {
            self.known.remove(name);
            self.by_end.pop_first();
        }
        let name = (from.clone(), request);
        match self.known.get(&name) {
            Some(Known { reply: Some(reply), .. }) => Meeting::Answered(reply.clone()),
            Some(_) => Meeting::Known,
            None if self.known.len() >= limits::FORWARDS_MAX => Meeting::Full,
            None => {
                let until = now + timeout + GRACE;
                self.by_end.insert((until, name.clone()));
                self.known.insert(name, Known { until, is_write, reply: None });
                Meeting::New
            }
        }
    }

    /// A request was done. A read is forgotten: doing it again does no harm.
    pub(super) fn answered(&mut self, from: &NodeId, request: RequestId, reply: &Reply) {
        let name = (from.clone(), request);
        let Some(known) = self.known.get_mut(&name) else { return };
        if !known.is_write {
            self.by_end.remove(&(known.until, name.clone()));
            self.known.remove(&name);
            return;
        }
        known.reply = Some(Box::new(reply.clone()));
        let bytes = reply_bytes(reply);
        self.replies.push_back((name, bytes));
        self.reply_bytes += bytes;
        while self.reply_bytes > limits::FORWARD_REPLY_BYTES_MAX
            && let Some((oldest, bytes)) = self.replies.pop_front()
        {
            self.reply_bytes -= bytes;
            if let Some(known) = self.known.get_mut(&oldest) {
                known.reply = None;
            }
        }
    }
}

fn reply_bytes(reply: &Reply) -> usize {
    let values = reply.iter().flat_map(|success| success.set.live());
    let bytes = values.filter_map(|(_, version)| version.value.as_ref()).map(|value| value.bytes.len());
    REPLY_BYTES_MIN + bytes.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RequestError;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn reply() -> Reply {
        Err(RequestError::Overloaded)
    }

    fn meet(forwards: &mut Forwards, from: &str, request: u64, at: Time) -> Meeting {
        let from = NodeId::new(from).expect("a good name");
        forwards.meet(&from, RequestId(request), true, at, TIMEOUT)
    }

    fn answered(forwards: &mut Forwards, request: u64) {
        forwards.answered(&NodeId::new("A").expect("a good name"), RequestId(request), &reply());
    }

    #[test]
    fn a_write_that_is_sent_again_is_not_done_again() {
        let mut forwards = Forwards::default();
        assert_eq!(meet(&mut forwards, "A", 1, Time::ZERO), Meeting::New);
        assert_eq!(meet(&mut forwards, "A", 1, Time::ZERO), Meeting::Known);
        assert_eq!(meet(&mut forwards, "B", 1, Time::ZERO), Meeting::New, "names of two nodes may be alike");
        answered(&mut forwards, 1);
        let late = Time::ZERO + TIMEOUT;
        assert_eq!(meet(&mut forwards, "A", 1, late), Meeting::Answered(Box::new(reply())));
        assert_eq!(meet(&mut forwards, "A", 1, late + GRACE), Meeting::New, "nobody sends it again by then");
    }

    #[test]
    fn a_read_is_forgotten_once_it_is_answered() {
        let mut forwards = Forwards::default();
        let from = NodeId::new("A").expect("a good name");
        let mut meet = || forwards.meet(&from, RequestId(1), false, Time::ZERO, TIMEOUT);
        assert_eq!((meet(), meet()), (Meeting::New, Meeting::Known));
        answered(&mut forwards, 1);
        assert!(forwards.known.is_empty() && forwards.by_end.is_empty() && forwards.replies.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_nothing_is_done_twice_for_that() {
        let mut forwards = Forwards::default();
        let all = u64::try_from(limits::FORWARDS_MAX).expect("a small number");
        for request in 0..all {
            assert_eq!(meet(&mut forwards, "A", request, Time::ZERO), Meeting::New);
            answered(&mut forwards, request);
        }
        assert_eq!(meet(&mut forwards, "A", all, Time::ZERO), Meeting::Full);
        assert!(forwards.reply_bytes <= limits::FORWARD_REPLY_BYTES_MAX);
        assert_eq!(meet(&mut forwards, "A", 0, Time::ZERO), Meeting::Known, "its reply is forgotten, it is not");
        assert_eq!(meet(&mut forwards, "A", all - 1, Time::ZERO), Meeting::Answered(Box::new(reply())));
        assert_eq!(meet(&mut forwards, "A", all, Time::ZERO + TIMEOUT + GRACE), Meeting::New);
    }
}
