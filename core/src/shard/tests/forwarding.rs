//! Requests that come in at a node that does not own their key.

use super::*;

const FIVE: [&str; 5] = ["a", "b", "c", "d", "e"];

fn is_forward(message: &ShardMessage) -> bool {
    matches!(message, ShardMessage::Forward { .. })
}

fn start() -> (Cluster, Key) {
    let cluster = Cluster::new(&FIVE);
    let key = keys(&cluster).next().expect("there are many keys");
    (cluster, key)
}

#[test]
fn a_forwarded_request_that_is_lost_is_sent_again() {
    let (mut cluster, key) = start();
    cluster.loses = is_forward;
    let token = cluster.request("d", put(&key, "1"));
    cluster.run(300);
    assert_eq!(cluster.count_sent(is_forward), 1);
    cluster.loses = |_| false;
    cluster.run(400);
    assert_eq!(told(&cluster.replies[&token]), "1 by a, b, c");
    assert_eq!(cluster.count_sent(is_forward), 2);
}

#[test]
fn a_forwarded_write_that_comes_twice_is_done_once() {
    let (mut cluster, key) = start();
    cluster.loses = |message| matches!(message, ShardMessage::ForwardAnswer { .. });
    let token = cluster.request("d", put(&key, "1"));
    cluster.run(1_800);
    assert_eq!(cluster.count_sent(is_forward), 4);
    assert_eq!(cluster.count_sent(|message| matches!(message, ShardMessage::ForwardAnswer { .. })), 4);
    cluster.loses = |_| false;
    cluster.run(400);
    assert_eq!(told(&cluster.replies[&token]), "1 by a, b, c", "it is told what came of the first");
    let writes = cluster.count_sent(|message| matches!(message, ShardMessage::Write { .. }));
    assert_eq!(writes, 2, "one to b and one to c");
}

#[test]
fn a_forwarded_write_that_comes_again_while_it_is_under_way_is_done_once() {
    let (mut cluster, key) = start();
    ["b", "c"].iter().for_each(|name| cluster.disk(name).stuck = true);
    let token = cluster.request("d", Request { sloppy: false, ..put(&key, "1") });
    cluster.run(1_800);
    assert_eq!(cluster.count_sent(is_forward), 4);
    ["b", "c"].iter().for_each(|name| cluster.unstick(name));
    cluster.run(100);
    assert_eq!(told(&cluster.replies[&token]), "1 by a, b, c");
    assert_eq!(cluster.count_sent(|message| matches!(message, ShardMessage::ForwardAnswer { .. })), 1);
}

#[test]
fn a_write_is_never_handed_to_two_owners() {
    let (mut cluster, key) = start();
    cluster.silent(&["a"]);
    let reply = cluster.ask("d", put(&key, "1"));
    assert_eq!(told(&reply), "timeout");
    assert!(reply.expect_err("it failed").to_string().contains("may still appear later"));
    let asked: BTreeSet<NodeId> =
        cluster.sent.iter().filter(|(_, _, message)| is_forward(message)).map(|(_, to, _)| to.clone()).collect();
    assert_eq!(asked, [node("a")].into());
    // Nor when the owner is found to be down, and its silence is forgotten.
    cluster.run(3_000);
    let token = cluster.request("d", put(&key, "2"));
    cluster.down(&["a"]);
    assert_eq!(told(&cluster.replies[&token]), "timeout");
}

#[test]
fn a_read_that_is_late_is_handed_to_another_owner_too() {
    let (mut cluster, key) = start();
    cluster.ask("a", put(&key, "1")).expect("it is written");
    for _ in 0..20 {
        cluster.ask("d", get(&key)).expect("it is there");
    }
    cluster.silent(&["a"]);
    let begin = cluster.now;
    assert_eq!(told(&cluster.ask("d", get(&key))), "1 by b, c");
    let took = cluster.now.since(begin).as_millis();
    assert!((10..100).contains(&took), "{took} ms: later than nearly all others, and soon enough");
    assert!(cluster.count(|kind| matches!(kind, EventKind::Hedged { to, .. } if *to == node("b"))) == 1);
}

#[test]
fn a_read_whose_owner_is_found_to_be_down_goes_to_another_one() {
    let (mut cluster, key) = start();
    cluster.ask("a", put(&key, "1")).expect("it is written");
    cluster.silent(&["a"]);
    let token = cluster.request("d", get(&key));
    cluster.down(&["a"]);
    cluster.run(100);
    assert_eq!(told(&cluster.replies[&token]), "1 by b, c; failed a");
}

#[test]
fn a_late_read_asks_a_fallback() {
    let (mut cluster, key) = start();
    cluster.down(&["b", "c"]);
    assert_eq!(told(&cluster.ask("a", put(&key, "1"))), "1 by a, d for b, e for c; failed b, c");
    // b and c are up again and hang before they are handed anything.
    cluster.down(&[]);
    cluster.silent(&["b", "c"]);
    let begin = cluster.now;
    assert_eq!(told(&cluster.ask("a", get(&key))), "1 by a, d for b");
    let took = cluster.now.since(begin).as_millis();
    assert!((500..600).contains(&took), "{took} ms: with too few answers to know better it is patient");
    assert!(cluster.count(|kind| matches!(kind, EventKind::Hedged { .. })) > 0);
}

fn named(key: &Key, value: &str) -> Request {
    let mut request = put(key, value);
    let Operation::Write { request_key, .. } = &mut request.operation else { unreachable!("it is a write") };
    *request_key = Some(RequestKey(7));
    request
}

#[test]
fn a_write_with_a_name_goes_to_another_owner_when_the_first_is_silent() {
    let (mut cluster, key) = start();
    cluster.silent(&["a"]);
    let token = cluster.request("d", named(&key, "1"));
    cluster.run(450);
    assert!(!cluster.replies.contains_key(&token));
    cluster.run(400);
    assert!(told(&cluster.replies[&token]).starts_with("1 by b, c"), "{}", told(&cluster.replies[&token]));
    // The first owner was slow and not dead: the two are one write.
    let (mut cluster, key) = start();
    cluster.loses = |message| matches!(message, ShardMessage::ForwardAnswer { .. });
    cluster.request("d", named(&key, "1"));
    cluster.run(1_800);
    assert!(cluster.sent.iter().any(|(_, to, message)| is_forward(message) && *to == node("b")));
    cluster.loses = |_| false;
    cluster.run(2_000);
    ["a", "b", "c"].iter().for_each(|name| assert_eq!(cluster.holds(name, &key), ["1"], "at {name}"));
}

#[test]
fn whoever_has_not_answered_is_asked_last_for_a_moment() {
    let (mut cluster, key) = start();
    cluster.silent(&["a"]);
    cluster.request("d", put(&key, "1"));
    cluster.run(600);
    // Without a name it waits for its owner; the next one does not.
    let token = cluster.request("d", put(&key, "2"));
    cluster.run(400);
    assert!(told(&cluster.replies[&token]).starts_with("2 by b, c"), "{}", told(&cluster.replies[&token]));
    cluster.silent(&[]);
    cluster.run(5_000);
    cluster.sent.clear();
    cluster.ask("d", put(&key, "3")).expect("it is written");
    assert!(cluster.sent.iter().any(|(_, to, message)| is_forward(message) && *to == node("a")));
}
