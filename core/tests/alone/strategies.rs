//! What concurrent writes under a prefix become: where the last writer wins, and what broken clocks do to that.

use quorate_core::config::{ClusterConfig, Config, ConfigError, Strategies, Strategy};
use quorate_core::limits;
use quorate_core::shard::Request;
use quorate_core::time::WallTime;

use crate::machine::{Machine, key, put, values};

fn strategies(entries: &[(&str, Strategy)]) -> Result<Strategies, ConfigError> {
    Strategies::new(entries.iter().map(|(prefix, strategy)| ((*prefix).to_owned(), *strategy)))
}

/// A node where the last writer wins over keys under `last/`.
fn machine() -> Machine {
    let strategies = strategies(&[("last/", Strategy::Lww)]).expect("good");
    Machine::new(Config { cluster: ClusterConfig { strategies, ..ClusterConfig::default() }, ..Config::default() })
}

#[test]
fn the_longest_prefix_decides() {
    use Strategy::{Lww, Siblings};
    let strategies = strategies(&[("a/b/", Siblings), ("a/", Lww), ("a/b/c", Lww)]).expect("good");
    for (name, expected) in
        [("a", Siblings), ("a/", Lww), ("a/x", Lww), ("a/b/x", Siblings), ("a/b/c", Lww), ("b", Siblings)]
    {
        assert_eq!(strategies.of(&key(name)), expected, "{name}");
    }
    assert_eq!(strategies.to_string(), "=siblings,a/=lww,a/b/=siblings,a/b/c=lww");
}

#[test]
fn what_decides_alike_is_equal_however_it_was_said() {
    use Strategy::{Lww, Siblings};
    let plain = Strategies::default();
    for said in [&[("", Siblings)][..], &[("a", Siblings)], &[("a", Siblings), ("", Siblings)]] {
        assert_eq!(strategies(said).expect("good"), plain, "{said:?}");
    }
    let all = strategies(&[("", Lww)]).expect("good");
    assert_eq!(strategies(&[("a/b", Lww), ("", Lww), ("a", Lww)]).expect("good"), all);
    assert_ne!(all, plain);
    let stored = serde_json::to_string(&all).expect("serializes");
    assert_eq!(serde_json::from_str::<Strategies>(&stored).expect("parses"), all);
}

#[test]
fn strategies_out_of_bounds_are_refused() {
    let twice = strategies(&[("a", Strategy::Lww), ("a", Strategy::Siblings)]);
    assert_eq!(twice, Err(ConfigError::StrategyTwice { prefix: "a".into() }));
    let long = "k".repeat(limits::KEY_BYTES_MAX + 1);
    assert_eq!(strategies(&[(&long, Strategy::Lww)]), Err(ConfigError::StrategyPrefix { length: 1_025 }));
    let many = (0..=limits::STRATEGIES_MAX).map(|number| (format!("{number:03}"), Strategy::Lww));
    assert_eq!(Strategies::new(many), Err(ConfigError::StrategyCount));
    let hostile = format!("[[{long:?},\"lww\"]]");
    assert!(serde_json::from_str::<Strategies>(&hostile).is_err());
}

#[test]
fn where_the_last_writer_wins_a_context_spares_nothing() {
    let mut machine = machine();
    for (name, expected) in [("last/k", &["2"][..]), ("first/k", &["1", "2"])] {
        let nothing = machine.ask(Request::get(key(name))).expect("it answers").context;
        for value in ["1", "2"] {
            machine.ask(put(name, value, Some(&nothing))).expect("it answers");
        }
        let read = machine.ask(Request::get(key(name))).expect("it answers");
        assert_eq!(values(&read), expected, "{name}");
    }
    assert_eq!(machine.conflicts, [2], "and none under last/");
}

#[test]
fn a_deletion_is_a_last_writer_too() {
    let mut machine = machine();
    let nothing = machine.ask(Request::get(key("last/k"))).expect("it answers").context;
    machine.ask(put("last/k", "1", Some(&nothing))).expect("it answers");
    machine.ask(Request::write(key("last/k"), None, Some(nothing))).expect("it answers");
    let read = machine.ask(Request::get(key("last/k"))).expect("it answers");
    assert!(read.set.is_deleted());
}

/// The clock of the node shows a day in the next century, a value is written, and then it is put right.
#[test]
fn a_later_write_wins_over_a_stamp_from_the_far_future() {
    for informed in [true, false] {
        let mut machine = machine();
        let nothing = machine.ask(Request::get(key("last/k"))).expect("it answers").context;
        let century = WallTime(1_000_000 + 100 * 365 * 86_400_000);
        machine.set_wall(century);
        let future = machine.ask(put("last/k", "future", None)).expect("it answers");
        assert!(future.set.newest().expect("it is there").1.stamp.wall_ms >= century.0);
        machine.restart(WallTime(2_000_000));
        let later = machine.ask(put("last/k", "later", informed.then_some(&nothing))).expect("it answers");
        let stamp = later.set.newest().expect("it is there").1.stamp;
        assert!(stamp.wall_ms < 3_000_000, "the broken clock is not followed: {stamp}");
        let read = machine.ask(Request::get(key("last/k"))).expect("it answers");
        assert_eq!((values(&read), read.set.len()), (vec!["later".to_owned()], 1));
    }
}

/// A clock that is fast by less than the bound is followed, so that what comes after is stamped after.
#[test]
fn a_clock_that_is_a_little_fast_is_followed() {
    let mut machine = machine();
    machine.set_wall(WallTime(1_059_000));
    machine.ask(put("last/k", "fast", None)).expect("it answers");
    machine.restart(WallTime(1_000_000));
    let later = machine.ask(put("last/k", "later", None)).expect("it answers");
    assert!(later.set.newest().expect("it is there").1.stamp.wall_ms >= 1_059_000);
}
