//! Every limit on the work of clients, and the error that whoever passes it is given.

use quorate_core::config::Config;
use quorate_core::error::RequestError;
use quorate_core::id::{RequestKey, Token};
use quorate_core::limits;
use quorate_core::shard::{Operation, Request};
use quorate_core::storage::StorageError;

use crate::machine::{Machine, key, put, values};

/// Writes `count` siblings, by writers who have all seen nothing, and gives back their context.
fn siblings(machine: &mut Machine, count: usize) -> String {
    let nothing = machine.ask(Request::get(key("k"))).expect("it answers").context;
    for number in 0..count {
        machine.ask(put("k", number.to_string(), Some(&nothing))).expect("below the limit");
    }
    nothing
}

#[test]
fn the_hundred_and_first_sibling_is_refused_and_whoever_merges_is_not() {
    let mut machine = Machine::new(Config::default());
    let nothing = siblings(&mut machine, limits::SIBLINGS_MAX);
    let refused = machine.ask(put("k", "more", Some(&nothing))).expect_err("refused");
    assert_eq!((refused.code(), refused.is_retryable()), ("too_many_siblings", false));
    assert!(refused.to_string().contains("100 siblings"), "{refused}");
    let read = machine.ask(Request::get(key("k"))).expect("it answers");
    assert_eq!(values(&read).len(), limits::SIBLINGS_MAX);
    let merged = machine.ask(put("k", "all", Some(&read.context))).expect("it adds none");
    assert_eq!(values(&merged), ["all"]);
}

#[test]
fn every_write_that_leaves_several_values_is_reported_with_their_number() {
    let mut machine = Machine::new(Config::default());
    siblings(&mut machine, limits::SIBLINGS_WARN);
    let expected: Vec<u32> = (2..=25).collect();
    assert_eq!(machine.conflicts, expected);
}

#[test]
fn a_value_that_is_too_large_is_refused_before_anything_is_done() {
    let mut machine = Machine::new(Config { value_bytes_max: 10, ..Config::default() });
    machine.ask(put("k", vec![b'1'; 10], None)).expect("just fits");
    let refused = machine.ask(put("k", vec![b'1'; 11], None));
    assert_eq!(refused, Err(RequestError::TooLarge { bytes: 11, max: 10 }));
}

#[test]
fn a_key_has_only_so_many_writers_waiting() {
    let mut machine = Machine::new(Config::default());
    machine.ask(put("k", "0", None)).expect("it answers");
    machine.stall(true);
    let tokens: Vec<Token> = (0..limits::KEY_WAITERS_MAX + 5).map(|_| machine.submit(put("k", "1", None))).collect();
    let refused: Vec<usize> = (0..tokens.len())
        .filter(|index| machine.reply(tokens[*index]) == Some(Err(RequestError::Overloaded)))
        .collect();
    let first = limits::KEY_WAITERS_MAX + 1;
    assert_eq!(refused, (first..tokens.len()).collect::<Vec<_>>(), "one has the turn, 256 wait");
    machine.ask(put("other", "1", None)).expect_err("its disk makes nothing durable");
    machine.stall(false);
}

#[test]
fn a_shard_has_only_so_many_requests_under_way() {
    let mut machine = Machine::new(Config::default());
    machine.ask(put("k", "0", None)).expect("it answers");
    machine.stall(true);
    let mut token = Token(0);
    for number in 0..=limits::REQUESTS_MAX {
        assert_eq!(machine.reply(token), None, "request {number} was answered");
        token = machine.submit(put(&number.to_string(), "1", None));
    }
    assert_eq!(machine.reply(token), Some(Err(RequestError::Overloaded)));
}

#[test]
fn a_shard_holds_only_so_many_bytes_of_values_under_way() {
    let mut machine = Machine::new(Config { value_bytes_max: limits::VALUE_BYTES_MAX, ..Config::default() });
    machine.ask(put("small", "0", None)).expect("it answers");
    machine.stall(true);
    let large = vec![b'1'; limits::VALUE_BYTES_MAX];
    let fit = limits::VALUE_BYTES_UNDER_WAY_MAX / u64::try_from(limits::VALUE_BYTES_MAX).expect("small");
    let mut waiting: Vec<Token> =
        (0..fit).map(|index| machine.submit(put(&index.to_string(), large.clone(), None))).collect();
    assert!(waiting.iter().all(|token| machine.reply(*token).is_none()));
    let refused = machine.submit(put("one more", "1", None));
    assert_eq!(machine.reply(refused), Some(Err(RequestError::Overloaded)));
    machine.stall(false);
    machine.pass(std::time::Duration::from_secs(1));
    waiting.retain(|token| !matches!(machine.reply(*token), Some(Ok(_))));
    assert!(waiting.is_empty(), "what was admitted is done");
    machine.ask(put("one more", "1", None)).expect("and there is room again");
}

#[test]
fn a_full_disk_is_said_to_be_full_and_reads_go_on() {
    for fills_before_any_lease in [true, false] {
        let mut machine = Machine::new(Config::default());
        if !fills_before_any_lease {
            machine.ask(put("k", "0", None)).expect("it answers");
        }
        machine.disk().full = true;
        let refused = machine.ask(put("k", "1", None)).expect_err("there is no room");
        assert_eq!(refused, RequestError::Storage(StorageError::Full), "before any lease: {fills_before_any_lease}");
        assert_eq!((refused.code(), refused.is_retryable()), ("disk_full", true));
        let read = machine.ask(Request::get(key("k"))).expect("reads need no room");
        assert_eq!(values(&read).len(), usize::from(!fills_before_any_lease));
        machine.disk().full = false;
        machine.ask(put("k", "1", None)).expect("there is room again");
    }
}

/// A write and its retry take one place among the siblings.
#[test]
fn a_retry_is_no_further_sibling() {
    let mut machine = Machine::new(Config::default());
    let nothing = siblings(&mut machine, limits::SIBLINGS_MAX - 1);
    let mut named = put("k", "named", Some(&nothing));
    if let Operation::Write { request_key, .. } = &mut named.operation {
        *request_key = Some(RequestKey(1));
    }
    for _ in 0..3 {
        machine.ask(named.clone()).expect("the hundredth, and the hundredth again");
    }
    let refused = machine.ask(put("k", "more", Some(&nothing))).expect_err("refused");
    assert_eq!(refused.code(), "too_many_siblings");
}
