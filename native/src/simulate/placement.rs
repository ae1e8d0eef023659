//! `quorate sim --placement`: how evenly the placements share and how little moves, as a table for people to keep. It only
//! prints; what is measured and what is promised is in `quorate_core::sim`.

use std::io::{self, Write};
use std::num::{NonZeroU8, NonZeroU16};

use quorate_core::sim::{PartitionsRow, TokensRow};

const TOKENS: NonZeroU16 = NonZeroU16::new(150).expect("above zero");
const COPIES: NonZeroU8 = NonZeroU8::new(3).expect("above zero");
/// Sets of node names, for each size.
const SETS: u16 = 100;
/// Sizes of clusters, in nodes. Tokens are measured at every size from the first to the last; these have a row.
const SIZES: [u16; 12] = [3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 99, 100];
const SIZES_OF_ONE_COPY: [u16; 3] = [10, 50, 100];
const PARTITIONS: [u16; 5] = [16, 32, 64, 256, 1_024];

const HEAD: &str = "# Placement

How evenly the ring is shared, and how much moves when a node joins or leaves, counted in copies: 3 of everything. Exact, by
the widths of arcs. Written by `quorate sim --placement >core/tests/placement.md`; do not edit.

What is promised. When a node joins, ranges move to it and to nobody else. `tokens:150`, over 100 sets of node names: to an
n-node cluster's joiner move, on average, at most 1.02 / (n + 1) of all copies, and at worst 1.25 / (n + 1); the heaviest node
holds at most 1.25 times the mean. `partitions`: a node holds at most the copies divided by the nodes, rounded up; at most
one partition a node moves more than balance forces to.
";

const TOKENS_HEAD: &str = "
## tokens:150

| nodes | to a joiner, mean of 1 / (n + 1) | worst | heaviest, of the mean | sets where others gain |
| --- | --- | --- | --- | --- |
";

const ONE_COPY_HEAD: &str = "
With 1 copy of everything shares are less even, because none is a mean of several. Nothing is promised of that:

| nodes | to a joiner, mean of 1 / (n + 1) | worst | heaviest, of the mean | sets where others gain |
| --- | --- | --- | --- | --- |
";

const PARTITIONS_HEAD: &str = "
## partitions

Nodes of equal weight that joined one after the other. Each pair is what was found and what it is held against: the copies of
the heaviest node and the most it may have; the copies that moved and those that had to.

| partitions | nodes | heaviest, most | joining, forced | leaving, forced | to others than the joiner |
| --- | --- | --- | --- | --- | --- |
";

/// Measures, and prints as it goes. Says whether everything is as promised.
pub(super) fn run(out: &mut impl Write) -> io::Result<bool> {
    let mut misses = Vec::new();
    write!(out, "{HEAD}{TOKENS_HEAD}")?;
    let [first, .., last] = SIZES;
    let mut worst: Option<TokensRow> = None;
    for nodes in first..=last {
        let row = TokensRow::measure(TOKENS, COPIES, nodes, SETS);
        worst = Some(worst.map_or(row, |worst| worst.or_worse(&row)));
        if SIZES.contains(&nodes) {
            tokens_row(&nodes.to_string(), &row, out)?;
        }
        misses.extend(row.misses());
    }
    if let Some(worst) = worst {
        tokens_row(&format!("{first} to {last}, worst"), &worst, out)?;
    }
    write!(out, "{ONE_COPY_HEAD}")?;
    for nodes in SIZES_OF_ONE_COPY {
        tokens_row(&nodes.to_string(), &TokensRow::measure(TOKENS, NonZeroU8::MIN, nodes, SETS), out)?;
    }
    write!(out, "{PARTITIONS_HEAD}")?;
    for partitions in PARTITIONS.into_iter().filter_map(NonZeroU16::new) {
        for row in PartitionsRow::measure(partitions, COPIES, &SIZES) {
            let [most, joining, leaving] =
                [row.most, row.joining, row.leaving].map(|(found, held)| format!("{found}, {held}"));
            writeln!(out, "| {partitions} | {} | {most} | {joining} | {leaving} | {} |", row.nodes, row.spilled)?;
            misses.extend(row.misses());
        }
        out.flush()?;
    }
    let end = if misses.is_empty() { "Everything is as promised.".to_owned() } else { misses.join("\n") };
    writeln!(out, "\n{end}")?;
    Ok(misses.is_empty())
}

fn tokens_row(nodes: &str, row: &TokensRow, out: &mut impl Write) -> io::Result<()> {
    let [average, worst, heaviest] = [row.moved_on_average, row.moved_at_worst, row.heaviest].map(ratio);
    writeln!(out, "| {nodes} | {average} | {worst} | {heaviest} | {} |", row.spilled)?;
    out.flush()
}

/// Millionths as a number with three places, rounded up: no promise is kept by rounding.
fn ratio(millionths: u64) -> String {
    let thousandths = millionths.div_ceil(1_000);
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_rounded_up() {
        assert_eq!([1_250_000, 1_250_001, 999_999, 7_000].map(ratio), ["1.250", "1.251", "1.000", "0.007"]);
    }
}
