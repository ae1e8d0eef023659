//! What it costs two owners to find where they differ, with the real messages between two real shards: a ring of five
//! nodes with 150 tokens each, keys of 20 bytes, one in a thousand of which has reached one of the two only.
//!
//! `cargo run --release -p quorate-core --features sim --example exchange [KEYS]`; KEYS is 1,000,000 unless given.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use quorate_core::config::{Placement, Repair};
use quorate_core::event::MessageKind;
use quorate_core::id::Key;
use quorate_core::sim::pair::{Pair, Traffic};

/// One key of so many differs.
const DIFFERING: usize = 1_000;
/// A key, and of its version the actor and the counter that name it.
const KEY_AND_VERSION_BYTES: u64 = 20 + 16 + 3;

fn main() {
    let keys = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().expect("KEYS is a number"));
    let interval = Duration::from_secs(120);
    let placement = Placement::Tokens(NonZeroU16::new(150).expect("above zero"));
    let repair = Repair { exchange_interval: interval, ..Repair::default() };
    let mut pair = Pair::new(5, placement, repair, false);
    let begun = Instant::now();
    let (mut shared, mut differing) = (0_u64, 0_u64);
    for number in 0..keys {
        let key = Key::new(&format!("key {number:016}")).expect("a good key");
        let owners = pair.owners(&key);
        pair.write(&owners, &key, "1");
        if owners.len() == 2 {
            shared += 1;
            if number % DIFFERING == 0 {
                differing += 1;
                pair.write(&[0], &key, "2");
            }
        }
    }
    println!("{keys} keys in the cluster, {shared} of both nodes, {differing} of them differ");
    println!("written in {:.1} s", begun.elapsed().as_secs_f64());
    let everything = shared * KEY_AND_VERSION_BYTES;

    for what in ["one key in a thousand differs", "nothing differs"] {
        pair.take_traffic();
        let before = pair.shard(0).anti_entropy();
        let (began, begun) = (pair.now(), Instant::now());
        let comparisons = u64::try_from(pair.shared_slices().len()).expect("few");
        // A slice that differs takes two looks, and one peer is compared with slice by slice.
        let end = pair.now() + interval;
        pair.run_until(end);
        let numbers = pair.shard(0).anti_entropy();
        assert!(numbers.exchanges - before.exchanges >= comparisons, "{numbers:?} after {began} to {end}");
        println!(
            "\n{what}: {} comparisons, {} copies repaired, {:.1} s of one core",
            numbers.exchanges - before.exchanges,
            numbers.keys_repaired - before.keys_repaired,
            begun.elapsed().as_secs_f64()
        );
        print(&pair.take_traffic(), everything, numbers.exchanges - before.exchanges);
    }
}

fn print(traffic: &BTreeMap<MessageKind, Traffic>, everything: u64, comparisons: u64) {
    let mut total = 0;
    for (kind, Traffic { messages, bytes }) in traffic {
        println!("  {:<16} {messages:>8} messages {bytes:>10} bytes", format!("{kind:?}"));
        total += bytes;
    }
    let per_mille = total * 100_000 / everything;
    println!(
        "  together {total} bytes: {}.{:03} % of all keys and versions ({everything} bytes), {} bytes a comparison",
        per_mille / 1_000,
        per_mille % 1_000,
        total / comparisons.max(1)
    );
}
