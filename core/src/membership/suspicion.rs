//! How long a suspect has to say that it lives: long while one member alone accuses it, shorter with every member that
//! comes to the same independently. Integers only, so that every machine computes the same. Never decides who is accused.
//!
//! Dadgar, Phillips and Currey, "Lifeguard: Local Health Awareness for More Accurate Failure Detection", 2017,
//! section IV-B.

use alloc::vec::Vec;
use core::time::Duration;

use crate::id::NodeId;
use crate::time::Time;

/// The longest suspicion, in multiples of the shortest.
const LONGEST: u32 = 10;
/// So many members besides the first accuser are enough for the shortest suspicion.
const CONFIRMATIONS: usize = 2;
/// The binary logarithm of 100, in units of 2^-16.
const LOG2_OF_100: u64 = 435_411;

/// The case against one member.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    since: Time,
    /// The first accuser first; no one twice.
    accusers: Vec<NodeId>,
    /// Since when this node has asked the suspect itself, and had no answer.
    witnessed: Option<Time>,
}

impl Suspicion {
    pub(super) fn new(since: Time, accuser: NodeId) -> Self {
        Self { since, accusers: alloc::vec![accuser], witnessed: None }
    }

    pub(super) fn since(&self) -> Time {
        self.since
    }

    pub(super) fn accusers(&self) -> &[NodeId] {
        &self.accusers
    }

    /// Adds an accuser; says whether it is a new one that counts. No more than `confirmations_max` besides the first.
    pub(super) fn confirm(&mut self, accuser: &NodeId, confirmations_max: usize) -> bool {
        let new = self.confirmations() < confirmations_max && !self.accusers.contains(accuser);
        if new {
            self.accusers.push(accuser.clone());
        }
        new
    }

    /// Whether this node has had no answer itself: without that it does not end in death.
    pub(super) fn is_witnessed(&self) -> bool {
        self.witnessed.is_some()
    }

    pub(super) fn witness(&mut self, now: Time) {
        self.witnessed = self.witnessed.or(Some(now));
    }

    /// The suspect has answered this node, so that its refutation must be on the way: its time begins anew.
    pub(super) fn restart(&mut self, now: Time) {
        self.since = now;
        self.witnessed = None;
    }

    /// Time in which this node stood still could not have brought a sign of life: it does not count.
    pub(super) fn extend(&mut self, stalled: Duration) {
        self.since = self.since + stalled;
        self.witnessed = self.witnessed.map(|witnessed| witnessed + stalled);
    }

    /// When it ends in death. However old it is: to this node's own question the suspect has a while to answer.
    pub(super) fn deadline(&self, limits: &Limits) -> Time {
        let deadline = self.since + limits.after(self.confirmations());
        self.witnessed.map_or(deadline, |witnessed| deadline.max(witnessed + limits.hearing))
    }

    const fn confirmations(&self) -> usize {
        self.accusers.len() - 1
    }
}

/// How long suspicions last in a cluster of a given size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For so many members.
    members: u64,
    confirmations_max: usize,
    /// How long a suspect has without a confirmation, with one, and so on.
    after: [Duration; CONFIRMATIONS + 1],
    /// How long a suspect has at least to answer to each who buries it.
    hearing: Duration,
}

impl Limits {
    /// `members` counts all that have not left; `witnesses` those that could confirm an accusation by this node.
    pub(super) fn new(interval: Duration, multiplier: u8, members: u64, witnesses: u64) -> Self {
        let shortest = shortest(interval, multiplier, members);
        let confirmations_max = confirmations_max(witnesses);
        let after = core::array::from_fn(|confirmations| {
            if confirmations >= confirmations_max {
                return shortest;
            }
            let longest = shortest.saturating_mul(LONGEST);
            let [share, whole] = [confirmations, confirmations_max].map(|count| u128::from(log2_fixed(above(count))));
            longest - nanoseconds((longest - shortest).as_nanos() * share / whole)
        });
        Self { members, confirmations_max, after, hearing: shortest / 2 }
    }

    /// Whether they are those of this size.
    pub(super) fn fit(&self, members: u64, witnesses: u64) -> bool {
        self.members == members && self.confirmations_max == confirmations_max(witnesses)
    }

    /// Enough confirmations for the shortest suspicion.
    pub(super) const fn confirmations_max(&self) -> usize {
        self.confirmations_max
    }

    /// How long a suspect has that so many others besides the first accuser suspect too.
    pub(super) fn after(&self, confirmations: usize) -> Duration {
        *self.after.get(confirmations).unwrap_or(&self.after[CONFIRMATIONS])
    }
}

/// The shortest suspicion: `multiplier` intervals for up to a hundred members, more by the logarithm of their number.
pub(super) fn shortest(interval: Duration, multiplier: u8, members: u64) -> Duration {
    let base = interval.saturating_mul(u32::from(multiplier));
    let factor = log2_fixed(members.max(100));
    nanoseconds(base.as_nanos() * u128::from(factor.max(LOG2_OF_100)) / u128::from(LOG2_OF_100))
}

/// So many confirmations are waited for where so many members could give one.
fn confirmations_max(witnesses: u64) -> usize {
    usize::try_from(witnesses).map_or(CONFIRMATIONS, |witnesses| CONFIRMATIONS.min(witnesses))
}

fn above(count: usize) -> u64 {
    u64::try_from(count + 1).expect("a count fits 64 bits")
}

fn nanoseconds(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(u64::MAX))
}

/// The binary logarithm in units of 2^-16, rounded down: the whole part from the position of the highest bit, the rest bit
/// by bit, by squaring.
pub(crate) fn log2_fixed(number: u64) -> u64 {
    assert!(number > 0, "0 has no logarithm");
    let whole = number.ilog2();
    // The number scaled to [1, 2), in units of 2^-31.
    let mut rest = (u128::from(number) << 31) >> whole;
    let mut result = u64::from(whole);
    for _ in 0..16 {
        rest = (rest * rest) >> 31;
        let bit = rest >> 32;
        rest >>= bit;
        result = (result << 1) | u64::from(bit == 1);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    #[expect(clippy::disallowed_methods, reason = "its digits differ between machines: compared with room for that")]
    fn logarithms_agree_with_floating_point() {
        for number in (1..5_000).chain([100_000, 1 << 24, u32::MAX - 1, u32::MAX]) {
            let exact = f64::from(number).log2() * 65_536.0;
            let found = u32::try_from(log2_fixed(u64::from(number))).map(f64::from).expect("at most 32 * 65,536");
            assert!((exact - found).abs() < 2.0, "{number}: {found}, not {exact}");
        }
        assert_eq!(log2_fixed(u64::MAX) >> 16, 63);
    }

    #[test]
    fn the_shortest_suspicion_grows_with_the_logarithm_of_the_members() {
        for (members, seconds) in [(1, 6), (3, 6), (10, 6), (100, 6), (1_000, 9), (10_000, 12)] {
            let found = shortest(SECOND, 6, members);
            let expected = Duration::from_secs(seconds);
            assert!(found.abs_diff(expected) < Duration::from_millis(1), "{members}: {found:?}");
        }
    }

    #[test]
    fn confirmations_shorten_a_suspicion() {
        // Two are enough; the first counts ln 2 / ln 3 of the way.
        let limits = Limits::new(SECOND, 4, 5, 3);
        let seconds = |confirmations| limits.after(confirmations).as_millis();
        assert_eq!(limits.confirmations_max(), 2);
        assert_eq!(seconds(0), 40_000);
        assert!((17_286..17_288).contains(&seconds(1)), "{}", seconds(1));
        assert_eq!(seconds(2), 4_000);
        assert_eq!(seconds(9), 4_000);
    }

    #[test]
    fn where_nobody_can_confirm_nobody_is_waited_for() {
        assert_eq!(Limits::new(SECOND, 4, 2, 0).after(0), Duration::from_secs(4));
        assert_eq!(Limits::new(SECOND, 4, 3, 1).after(0), Duration::from_secs(40));
        assert_eq!(Limits::new(SECOND, 4, 3, 1).after(1), Duration::from_secs(4));
    }

    #[test]
    fn however_late_a_node_asks_the_suspect_has_half_its_time_to_answer() {
        let limits = Limits::new(SECOND, 4, 2, 0);
        let mut suspicion = Suspicion::new(Time::ZERO, NodeId::new("a").expect("a good name"));
        assert_eq!(suspicion.deadline(&limits), Time::from_ms(4_000));
        suspicion.witness(Time::from_ms(1_000));
        assert_eq!(suspicion.deadline(&limits), Time::from_ms(4_000));
        suspicion.restart(Time::ZERO);
        suspicion.witness(Time::from_ms(9_000));
        suspicion.witness(Time::from_ms(10_000));
        assert_eq!(suspicion.deadline(&limits), Time::from_ms(11_000), "from its first question on");
    }

    #[test]
    fn an_accuser_counts_once() {
        let name = |text| NodeId::new(text).expect("a good name");
        let mut suspicion = Suspicion::new(Time::ZERO, name("a"));
        assert!(!suspicion.confirm(&name("a"), 2));
        assert!(suspicion.confirm(&name("b"), 2));
        assert!(!suspicion.confirm(&name("b"), 2));
        assert!(suspicion.confirm(&name("c"), 2));
        assert!(!suspicion.confirm(&name("d"), 2), "more than enough");
        assert_eq!(suspicion.accusers().len(), 3);
    }
}
