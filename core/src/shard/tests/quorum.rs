//! Who must answer, who may stand in, and what a client may be told. `B1` and so on name the scenarios that other stores
//! were found wrong in.

use super::*;

fn key_of(cluster: &Cluster) -> Key {
    keys(cluster).next().expect("there are many keys")
}

/// One request through `a`, and what it is told.
#[track_caller]
fn check(cluster: &mut Cluster, request: Request, expected: &str) {
    let reply = cluster.ask("a", request.clone());
    assert_eq!(told(&reply), expected, "{request:?}");
}

#[test]
fn a_healthy_cluster_asks_nobody_to_stand_in() {
    let mut cluster = Cluster::new(&FIVE);
    let key = key_of(&cluster);
    check(&mut cluster, put(&key, "1"), "1 by a, b, c");
    cluster.run(1_000);
    cluster.sent.clear();
    check(&mut cluster, of(3, get(&key)), "1 by a, b, c");
    cluster.run(10_000);
    let to_fallbacks = cluster.sent.iter().filter(|(_, to, _)| *to == node("d") || *to == node("e")).count();
    assert_eq!(to_fallbacks, 0);
}

#[test]
fn b1_pr_and_pw_count_owners_that_answered_and_nobody_who_stands_in() {
    let mut cluster = Cluster::new(&FIVE);
    let key = key_of(&cluster);
    check(&mut cluster, put(&key, "1"), "1 by a, b, c");
    cluster.run(1_000);
    cluster.silent(&["b"]);
    check(&mut cluster, by_owners(3, put(&key, "2")), "quorum_not_met by a, c, d for b");
    check(&mut cluster, by_owners(3, get(&key)), "quorum_not_met by a, c");
    check(&mut cluster, by_owners(2, put(&key, "3")), "3 by a, c");
    check(&mut cluster, of(3, put(&key, "4")), "4 by a, c, d for b");
    cluster.down(&["b"]);
    check(&mut cluster, by_owners(3, put(&key, "5")), "quorum_not_met by ; failed b");
    check(&mut cluster, of(3, put(&key, "6")), "6 by a, c, d for b; failed b");
}

#[test]
fn b2_two_owners_down_pw_fails_and_w_of_two_nodes_does_not() {
    let mut cluster = Cluster::new(&FIVE);
    let key = key_of(&cluster);
    cluster.down(&["b", "c"]);
    check(&mut cluster, by_owners(2, put(&key, "1")), "quorum_not_met by ; failed b, c");
    // Riak's node_confirms asks for distinct nodes; here every vote is another node's.
    check(&mut cluster, put(&key, "2"), "2 by a, d for b, e for c; failed b, c");
    let strict = Request { sloppy: false, ..put(&key, "4") };
    check(&mut cluster, strict, "quorum_not_met by a; failed b, c");
}

#[test]
fn b3_what_a_fallback_does_not_hold_is_unknown_and_never_absent() {
    let mut cluster = Cluster::new(&FIVE);
    let key = key_of(&cluster);
    check(&mut cluster, put(&key, "1"), "1 by a, b, c");
    cluster.run(1_000);
    // The only owner that can be reached has lost its disk and has nobody to pull from; the fallbacks hold nothing.
    drop(cluster.crash("b"));
    cluster.down(&["a", "c"]);
    cluster.start("b", Disk::default());
    let reply = cluster.ask("b", of(1, get(&key)));
    assert_eq!(told(&reply), "quorum_not_met by ; failed a, c");
    // Once one of them holds something, that is an answer.
    let reply = cluster.ask("b", of(2, put(&key, "2")));
    assert_eq!(told(&reply), "2 by b, d for a, e for c; failed a, c");
    let reply = cluster.ask("b", of(1, get(&key)));
    assert_eq!(told(&reply), "2 by d for a; failed a, c");
}

#[test]
fn that_a_key_is_absent_takes_as_many_owners_as_the_quorum_has() {
    let mut cluster = Cluster::new(&FIVE);
    let mut some = keys(&cluster);
    let mut key = || some.next().expect("there are many keys");
    let (never, deleted, written) = (key(), key(), key());
    check(&mut cluster, get(&never), "absent by a, b");
    check(&mut cluster, put(&deleted, "1"), "1 by a, b, c");
    cluster.run(1_000);
    cluster.down(&["b", "c"]);
    check(&mut cluster, delete(&deleted), "absent by a, d for b, e for c; failed b, c");
    check(&mut cluster, put(&written, "1"), "1 by a, d for b, e for c; failed b, c");
    check(&mut cluster, get(&never), "quorum_not_met by a; failed b, c");
    check(&mut cluster, get(&deleted), "quorum_not_met by a, d for b, e for c; failed b, c");
    check(&mut cluster, get(&written), "1 by a, d for b; failed b, c");
    let strict = Request { sloppy: false, ..get(&written) };
    check(&mut cluster, strict, "quorum_not_met by a; failed b, c");
    // One owner is back, and is handed what was kept for it.
    cluster.down(&["c"]);
    cluster.run(2_000);
    check(&mut cluster, get(&deleted), "absent by a, b; failed c");
    check(&mut cluster, get(&written), "1 by a, b; failed c");
}

#[test]
fn b4_more_answers_than_there_are_copies_or_none_are_the_clients_mistake() {
    let mut cluster = Cluster::new(&FIVE);
    let key = key_of(&cluster);
    for count in [0, 4, u8::MAX] {
        check(&mut cluster, of(count, get(&key)), "invalid_argument");
        check(&mut cluster, of(count, put(&key, "1")), "invalid_argument");
        check(&mut cluster, by_owners(count, get(&key)), "invalid_argument");
        check(&mut cluster, by_owners(count, delete(&key)), "invalid_argument");
    }
    check(&mut cluster, get(&key), "absent by a, b");
}

#[test]
fn b5_a_write_that_failed_in_part_says_that_it_may_still_appear_and_it_does() {
    let mut cluster = Cluster::new(&["a", "b", "c"]);
    let key = key_of(&cluster);
    check(&mut cluster, put(&key, "1"), "1 by a, b, c");
    cluster.run(1_000);
    let reply = cluster.ask("a", get(&key));
    let context = Some(reply.expect("it is there").context);
    cluster.run(1_000);
    cluster.silent(&["b", "c"]);
    let reply = cluster.ask("a", Request::write(key.clone(), Some(Value::json("2")), context));
    assert_eq!(told(&reply), "quorum_not_met by a");
    let error = reply.expect_err("it failed");
    assert!(error.to_string().contains("may still appear later") && error.is_retryable(), "{error}");
    cluster.silent(&[]);
    check(&mut cluster, of(3, get(&key)), "2 by a, b, c");
    cluster.run(1_000);
    assert_eq!(["b", "c"].map(|name| cluster.holds(name, &key)), [["2"], ["2"]], "the read has repaired them");
}

#[test]
fn an_owner_that_has_not_pulled_everything_is_no_vote_of_a_read() {
    let mut cluster = Cluster::new(&FIVE);
    let key = key_of(&cluster);
    check(&mut cluster, put(&key, "1"), "1 by a, b, c");
    cluster.run(1_000);
    drop(cluster.crash("b"));
    // It may pull from nobody: what it lacks stays unknown.
    cluster.loses = |message| matches!(message, ShardMessage::Pull { .. });
    cluster.start("b", Disk::default());
    check(&mut cluster, of(3, get(&key)), "quorum_not_met by a, c");
    check(&mut cluster, get(&key), "1 by a, c");
    cluster.silent(&["c"]);
    check(&mut cluster, get(&key), "quorum_not_met by a");
    // It is a vote of a write: what it is given it keeps.
    check(&mut cluster, by_owners(2, put(&key, "2")), "2 by a, b");
    cluster.silent(&[]);
    cluster.loses = |_| false;
    cluster.run(5_000);
    check(&mut cluster, of(3, get(&key)), "2 by a, b, c");
}

#[test]
fn an_owner_whose_disk_is_full_or_stuck_is_replaced_for_a_write() {
    let mut cluster = Cluster::new(&FIVE);
    let key = key_of(&cluster);
    cluster.disk("b").full = true;
    check(&mut cluster, of(3, put(&key, "1")), "1 by a, c, d for b; failed b");
    cluster.disk("b").full = false;
    cluster.disk("c").stuck = true;
    let begin = cluster.now;
    check(&mut cluster, of(3, put(&key, "2")), "2 by a, b, d for c");
    let took = cluster.now.since(begin).as_millis();
    assert!((150..200).contains(&took), "{took} ms: long enough to be late, too short for a client to notice");
}

#[test]
fn a_late_owner_is_not_replaced_once_the_quorum_is_met() {
    let mut cluster = Cluster::new(&FIVE);
    let key = key_of(&cluster);
    cluster.silent(&["b"]);
    check(&mut cluster, put(&key, "1"), "1 by a, c");
    cluster.run(5_000);
    assert_eq!(cluster.count_sent(|message| matches!(message, ShardMessage::Hint { .. })), 0);
}

#[test]
fn a_fallback_that_is_silent_too_is_replaced_by_the_next() {
    let mut cluster = Cluster::new(&FIVE);
    let key = key_of(&cluster);
    cluster.down(&["b"]);
    cluster.silent(&["b", "d"]);
    check(&mut cluster, of(3, put(&key, "1")), "1 by a, c, e for b; failed b");
}

#[test]
fn two_fallbacks_for_one_owner_are_one_vote() {
    let mut cluster = Cluster::new(&FIVE);
    let key = key_of(&cluster);
    let context = Some(cluster.ask("a", get(&key)).expect("it is absent").context);
    cluster.down(&["b"]);
    cluster.disk("d").stuck = true;
    cluster.silent(&["b", "c"]);
    let token = cluster.request("a", of(3, Request::write(key.clone(), Some(Value::json("1")), context)));
    cluster.run(400);
    cluster.unstick("d");
    cluster.run(5_000);
    let reply = cluster.replies.remove(&token).expect("it is answered");
    // Both fallbacks have it, and both will hand it to b.
    assert_eq!(told(&reply), "quorum_not_met by a, d for b, e for b; failed b");
    assert_eq!((cluster.hints("d").as_str(), cluster.hints("e").as_str()), ("b: 1", "b: 1"));
}

#[test]
fn while_owners_change_no_fallback_stands_in() {
    let mut cluster = Cluster::new(&FIVE);
    let key = key_of(&cluster);
    cluster.begin_change(cluster.with_owner("f"));
    cluster.down(&["b", "c"]);
    let reply = cluster.ask("a", put(&key, "1"));
    assert!(told(&reply).starts_with("quorum_not_met"), "{reply:?}");
    assert_eq!(cluster.count_sent(|message| matches!(message, ShardMessage::Hint { .. })), 0);
}

#[test]
fn the_answer_to_an_earlier_question_of_a_request_is_no_vote() {
    let mut cluster = Cluster::new(&["a", "b", "c"]);
    let key = key_of(&cluster);
    cluster.disk("b").stuck = true;
    cluster.disk("c").stuck = true;
    let token = cluster.request("a", put(&key, "1"));
    cluster.run(50);
    let rounds = |cluster: &Cluster| {
        let name = |message: &ShardMessage| match message {
            ShardMessage::Write { request, .. } => Some(*request),
            _ => None,
        };
        cluster.sent.iter().filter_map(|(_, _, message)| name(message)).collect::<BTreeSet<_>>()
    };
    assert_eq!(rounds(&cluster).len(), 1);
    // The layout changes before they have answered; what they promised under the old one is void.
    cluster.loses = |message| matches!(message, ShardMessage::Write { .. });
    cluster.begin_change(cluster.with_owner("f"));
    ["b", "c"].iter().for_each(|name| cluster.unstick(name));
    cluster.run(100);
    assert!(rounds(&cluster).len() == 2 && !cluster.replies.contains_key(&token));
    cluster.loses = |_| false;
    cluster.run(1_000);
    assert!(cluster.replies.contains_key(&token), "it is asked again");
}
