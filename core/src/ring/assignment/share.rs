//! How many copies each owner should hold, from the weights alone. Never which ones.

use alloc::vec;
use alloc::vec::Vec;

/// How much somebody should have, both bounds included: two neighbouring numbers, or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) least: u32,
    pub(super) most: u32,
}

impl Share {
    /// A share of `part` in `whole` of so many.
    fn of(things: u64, part: u64, whole: u64) -> Self {
        let fit = |number: u64| u32::try_from(number).expect("a share of what is counted in 32 bits");
        Self { least: fit(things * part / whole), most: fit((things * part).div_ceil(whole)) }
    }

    /// One `parts`-th of so many.
    pub(super) fn part(things: u32, parts: u32) -> Self {
        Self::of(u64::from(things), 1, u64::from(parts))
    }
}

/// Divides `copies` of each partition by weight. As nobody can hold a partition twice, who would have more than all
/// partitions gets all of them, and the others divide the rest by their weights.
pub(super) fn by_weight(weights: &[u16], partitions: u32, copies: u32) -> Vec<Share> {
    let mut shares: Vec<Option<Share>> = vec![None; weights.len()];
    let mut slots = u64::from(partitions) * u64::from(copies);
    loop {
        let open =
            || weights.iter().zip(&shares).filter(|(_, share)| share.is_none()).map(|(&weight, _)| u64::from(weight));
        let whole: u64 = open().sum();
        let is_full = |weight: u16| u64::from(weight) * slots >= u64::from(partitions) * whole;
        let full = (0..weights.len()).find(|&owner| shares[owner].is_none() && is_full(weights[owner]));
        let Some(full) = full else {
            let share = |(&weight, share): (&u16, &Option<Share>)| {
                share.unwrap_or_else(|| Share::of(slots, u64::from(weight), whole))
            };
            return weights.iter().zip(&shares).map(share).collect();
        };
        shares[full] = Some(Share { least: partitions, most: partitions });
        slots -= u64::from(partitions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(weights: &[u16], partitions: u32, copies: u32, expected: &[(u32, u32)]) {
        let found: Vec<_> = by_weight(weights, partitions, copies).iter().map(|s| (s.least, s.most)).collect();
        assert_eq!(found, expected, "{weights:?}, {copies} copies of {partitions}");
    }

    #[test]
    fn shares_follow_weights_and_nobody_holds_a_partition_twice() {
        check(&[1, 1, 1, 1], 64, 3, &[(48, 48); 4]);
        check(&[1; 5], 64, 3, &[(38, 39); 5]);
        check(&[1, 1, 2], 64, 1, &[(16, 16), (16, 16), (32, 32)]);
        check(&[1, 1, 2], 64, 2, &[(32, 32), (32, 32), (64, 64)]);
        check(&[1, 1, 100], 64, 2, &[(32, 32), (32, 32), (64, 64)]);
        check(&[1, 2, 9, 100], 64, 3, &[(21, 22), (42, 43), (64, 64), (64, 64)]);
        check(&[7, 9], 8, 2, &[(8, 8), (8, 8)]);
        check(&[1; 3], 1, 1, &[(0, 1); 3]);
    }
}
