//! A slice of the table in `placement.md`, and that it can fail.

use std::num::{NonZeroU8, NonZeroU16};

use quorate_core::sim::{PartitionsRow, TokensRow};

const THREE: NonZeroU8 = NonZeroU8::new(3).expect("above zero");

fn count(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("above zero")
}

#[test]
fn tokens_keep_what_is_promised_of_them() {
    for nodes in [4, 10, 20] {
        let row = TokensRow::measure(count(150), THREE, nodes, 10);
        // Ten sets are too few for the mean to say anything.
        let row = TokensRow { moved_on_average: 0, ..row };
        assert_eq!(row.misses(), [""; 0], "{row:?}");
        assert!(row.heaviest > 1_000_000 && row.moved_at_worst > 1_000_000, "hashing is never perfectly even: {row:?}");
    }
}

#[test]
fn partitions_keep_what_is_promised_of_them() {
    for partitions in [16, 64, 256] {
        for row in PartitionsRow::measure(count(partitions), THREE, &[1, 2, 3, 4, 5, 7, 10, 20]) {
            assert_eq!(row.misses(), [""; 0], "{row:?}");
        }
    }
}

#[test]
fn what_is_not_kept_is_said() {
    let few_tokens = TokensRow::measure(count(4), THREE, 20, 10);
    assert!(few_tokens.misses().iter().any(|miss| miss.contains("held by the heaviest")), "{few_tokens:?}");
    let good = PartitionsRow::measure(count(16), THREE, &[5]).remove(0);
    let bad = PartitionsRow { most: (11, 10), joining: (14, 8), spilled: 1, ..good };
    assert_eq!(
        bad.misses(),
        [
            "3 copies of 16 partitions, 5 nodes, held by the heaviest: 11, 10 at most",
            "3 copies of 16 partitions, 5 nodes, moved by joining: 14, 13 at most",
            "3 copies of 16 partitions, 5 nodes, moved to others than the joiner: 1, 0 at most",
        ]
    );
}
