//! Numbers about numbers: quantiles, and what the theory of epidemics expects. Integers only.

use alloc::vec::Vec;
use core::time::Duration;

/// Times, to be asked for quantiles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quantiles(Vec<Duration>);

impl Quantiles {
    /// These times.
    #[must_use]
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The least time that at least `percent` of a hundred do not exceed; zero where there are none.
    #[must_use]
    pub fn percent(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// How many times there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.0.len()
    }
}

/// Serf's published formula for how gossip spreads: after r rounds in which everybody who knows tells `fanout` others, of
/// `members` the share 1 / (1 + (members + 1) * e^(-fanout * (1 - loss) * r / 2)) knows. The rounds until that is 99.99 %.
///
/// # Panics
/// When everything is lost: then nobody ever knows.
#[must_use]
pub fn rounds_until_all(members: u64, fanout: u64, loss_percent: u64) -> u64 {
    assert!(loss_percent < 100 && fanout > 0, "something must arrive");
    // The share is reached once e^(fanout * (1 - loss) * r / 2) is 9,999 times members + 1.
    let wanted = log2_ceiling_fixed((members + 1) * 9_999);
    // The binary logarithm of e, in units of 2^-16, times what one round adds to the exponent, in percent.
    let gain = 94_548 * fanout * (100 - loss_percent) / 2;
    (wanted * 100).div_ceil(gain)
}

/// The binary logarithm in units of 2^-16, to within one.
fn log2_ceiling_fixed(number: u64) -> u64 {
    crate::membership::log2_fixed(number) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_gives_the_published_rounds() {
        for (members, without_loss, with_loss) in [(30, 9, 12), (100, 10, 13), (1_000, 11, 15), (10_000, 13, 17)] {
            assert_eq!(rounds_until_all(members, 3, 0), without_loss, "{members}");
            assert_eq!(rounds_until_all(members, 3, 25), with_loss, "{members}");
        }
    }

    #[test]
    fn quantiles_are_of_what_was_measured() {
        let seconds = |count| Quantiles::new((1..=count).rev().map(Duration::from_secs).collect());
        assert_eq!(seconds(100).percent(50), Duration::from_secs(50));
        assert_eq!(seconds(100).percent(99), Duration::from_secs(99));
        assert_eq!(seconds(10).percent(99), Duration::from_secs(10));
        assert_eq!(Quantiles::default().percent(99), Duration::ZERO);
    }
}
