//! Who hands out the dots of one actor in one slice. No dot twice, whatever crashes: counters are reserved durably, in
//! blocks, before the first of a block is used, and a restart skips what was left of the last one. Never writes the
//! reservation itself: it says what must be durable and is told when it is.

use super::{Dot, VersionVector};
use crate::id::ActorId;
use crate::limits;

/// A dot that nobody has used yet, for one write at the actor's own store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshDot {
    dot: Dot,
    remembered_after: u64,
}

impl FreshDot {
    /// The dot.
    #[must_use]
    pub const fn dot(&self) -> Dot {
        self.dot
    }

    /// The actor's store holds, key by key, every dot that the actor has issued above this counter.
    pub(super) const fn remembered_after(&self) -> u64 {
        self.remembered_after
    }
}

/// Why no dot was issued. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The block is used up.
    #[error("the dots up to {upto} must be reserved durably first")]
    LeaseNeeded {
        /// What to reserve, and then to report with [`Issuer::extended`].
        upto: u64,
    },
    /// The counters are used up, which only a peer's false claim can bring about: the store needs a new actor.
    #[error("no dot is left below {}: this store needs a new actor", limits::COUNTER_MAX)]
    Exhausted,
}

/// Hands out the dots of one actor in one slice of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    actor: ActorId,
    /// No dot above this one was handed out.
    issued: u64,
    /// Dots up to this one may be handed out: that they may have been is durable.
    leased: u64,
    /// The store holds every own dot above this one.
    remembered_after: u64,
}

impl Issuer {
    /// The issuer of an actor that has just been minted for an empty, restored or cloned store.
    #[must_use]
    pub const fn new(actor: ActorId) -> Self {
        Self { actor, issued: 0, leased: 0, remembered_after: 0 }
    }

    /// The issuer of a store that was in use, from the last lease that is durable in it. Everything up to there counts as
    /// issued; some of it may have reached others and been lost here.
    ///
    /// # Panics
    /// When the lease is above [`limits::COUNTER_MAX`], which none is.
    #[must_use]
    pub const fn resume(actor: ActorId, leased: u64) -> Self {
        assert!(leased <= limits::COUNTER_MAX, "no lease goes that far");
        Self { actor, issued: leased, leased, remembered_after: leased }
    }

    /// Whose dots it hands out.
    #[must_use]
    pub const fn actor(&self) -> ActorId {
        self.actor
    }

    /// The greatest counter handed out, or counted as such.
    #[must_use]
    pub const fn issued(&self) -> u64 {
        self.issued
    }

    /// Up to where counters are reserved.
    #[must_use]
    pub const fn leased(&self) -> u64 {
        self.leased
    }

    /// The next dot, above `floor`: what the key's set and context already cover of this actor
    /// ([`VersionVector::get`]).
    ///
    /// # Errors
    /// [`IssueError::LeaseNeeded`] when it would lie outside the lease; [`IssueError::Exhausted`] when none is left.
    pub fn next(&mut self, floor: u64) -> Result<FreshDot, IssueError> {
        let counter = self.issued.max(floor).saturating_add(1);
        if counter > limits::COUNTER_MAX {
            return Err(IssueError::Exhausted);
        }
        if counter > self.leased {
            return Err(IssueError::LeaseNeeded { upto: Self::block_from(counter) });
        }
        self.issued = counter;
        let dot = Dot { actor: self.actor, counter };
        Ok(FreshDot { dot, remembered_after: self.remembered_after })
    }

    /// What to reserve now, so that no write has to wait for it: the next block, once half of this one is used.
    #[must_use]
    pub fn lease_due(&self) -> Option<u64> {
        let upto = Self::block_from(self.leased.saturating_add(1));
        (self.leased - self.issued < limits::DOT_LEASE / 2 && upto > self.leased).then_some(upto)
    }

    /// The reservation up to here is durable.
    ///
    /// # Panics
    /// When it is above [`limits::COUNTER_MAX`], which none is.
    pub fn extended(&mut self, upto: u64) {
        assert!(upto <= limits::COUNTER_MAX, "no lease goes that far");
        self.leased = self.leased.max(upto);
    }

    /// Takes from a context what it claims of this actor's dots beyond those issued, so that dots nobody has issued are not
    /// covered before they are. Says whether there were any.
    pub fn clamp(&self, context: &mut VersionVector) -> bool {
        context.truncate(self.actor, self.issued)
    }

    /// To be called with what the store knows of a key and with what a peer's set of that key knows, before the two are
    /// merged. If the peer knows dots of this very actor that the store does not, the store has forgotten something:
    /// from now on no key's history at this actor is taken for whole before its next write. Says whether that is so.
    pub fn observe(&mut self, known: &VersionVector, incoming: &VersionVector) -> bool {
        let forgotten = !known.descends_for(self.actor, incoming);
        if forgotten {
            self.forgot();
        }
        forgotten
    }

    /// To be called when the store has lost a key and with it perhaps dots of this actor that nobody else has: from now on
    /// no key's history at this actor is taken for whole before its next write.
    pub const fn forgot(&mut self) {
        self.remembered_after = self.issued;
    }

    fn block_from(counter: u64) -> u64 {
        (counter - 1).saturating_add(limits::DOT_LEASE).min(limits::COUNTER_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::DotSpan;
    use super::*;

    const A: ActorId = ActorId(1);
    const BLOCK: u64 = limits::DOT_LEASE;

    fn counter(issuer: &mut Issuer, floor: u64) -> Result<u64, IssueError> {
        issuer.next(floor).map(|fresh| fresh.dot().counter)
    }

    fn covering(after: u64, upto: u64) -> VersionVector {
        let mut vector = VersionVector::new();
        vector.cover(DotSpan { actor: A, after, upto });
        vector
    }

    #[test]
    fn no_dot_leaves_before_its_lease_is_durable() {
        let mut issuer = Issuer::new(A);
        assert_eq!(counter(&mut issuer, 0), Err(IssueError::LeaseNeeded { upto: BLOCK }));
        issuer.extended(2);
        assert_eq!(counter(&mut issuer, 0), Ok(1));
        assert_eq!(counter(&mut issuer, 0), Ok(2));
        assert_eq!(counter(&mut issuer, 0), Err(IssueError::LeaseNeeded { upto: 2 + BLOCK }));
        issuer.extended(1);
        assert_eq!(issuer.leased(), 2, "a late report takes nothing back");
    }

    #[test]
    fn a_restart_skips_the_rest_of_the_lease() {
        let mut issuer = Issuer::new(A);
        issuer.extended(BLOCK);
        let before = counter(&mut issuer, 0).expect("leased");
        let mut issuer = Issuer::resume(A, BLOCK);
        issuer.extended(2 * BLOCK);
        assert_eq!((before, counter(&mut issuer, 0)), (1, Ok(BLOCK + 1)));
    }

    #[test]
    fn the_next_block_is_due_when_half_of_this_one_is_used() {
        let mut issuer = Issuer::new(A);
        assert_eq!(issuer.lease_due(), Some(BLOCK));
        issuer.extended(BLOCK);
        assert_eq!(issuer.lease_due(), None);
        assert_eq!(counter(&mut issuer, BLOCK / 2), Ok(BLOCK / 2 + 1));
        assert_eq!(issuer.lease_due(), Some(2 * BLOCK));
    }

    #[test]
    fn a_floor_is_jumped_over_and_the_end_is_the_end() {
        let mut issuer = Issuer::new(A);
        assert_eq!(counter(&mut issuer, 70_000), Err(IssueError::LeaseNeeded { upto: 70_000 + BLOCK }));
        issuer.extended(70_000 + BLOCK);
        assert_eq!(counter(&mut issuer, 70_000), Ok(70_001));
        for floor in [limits::COUNTER_MAX, u64::MAX] {
            assert_eq!(counter(&mut issuer, floor), Err(IssueError::Exhausted));
        }
        issuer.extended(limits::COUNTER_MAX);
        assert_eq!(counter(&mut issuer, limits::COUNTER_MAX - 1), Ok(limits::COUNTER_MAX));
        assert_eq!(issuer.lease_due(), None);
    }

    #[test]
    fn a_context_covers_only_what_was_issued() {
        let mut issuer = Issuer::new(A);
        issuer.extended(BLOCK);
        for _ in 0..5 {
            counter(&mut issuer, 0).expect("leased");
        }
        let mut honest = covering(0, 5);
        assert!(!issuer.clamp(&mut honest));
        assert_eq!(honest, covering(0, 5));
        let mut context = covering(0, limits::COUNTER_MAX);
        assert!(issuer.clamp(&mut context));
        assert_eq!(context, covering(0, 5));
        let mut beyond = covering(900, 901);
        assert!(issuer.clamp(&mut beyond));
        assert!(beyond.is_empty());
    }

    #[test]
    fn a_peer_that_knows_more_of_us_than_we_do_shows_that_we_forgot() {
        let mut issuer = Issuer::new(A);
        issuer.extended(BLOCK);
        counter(&mut issuer, 8).expect("leased");
        assert!(!issuer.observe(&covering(0, 9), &covering(3, 9)));
        assert_eq!(issuer.next(0).expect("leased").remembered_after(), 0);
        assert!(issuer.observe(&VersionVector::new(), &covering(8, 9)));
        assert_eq!(issuer.next(0).expect("leased").remembered_after(), 10);
    }
}
