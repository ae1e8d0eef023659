//! What fallbacks keep, how long, and how it comes to where it belongs.

use super::*;

/// So many keys of one owner list, written through `a` while `b` is down: `d` keeps a hint for each.
fn with_hints(count: usize, config: Config) -> (Cluster, Vec<Key>) {
    let mut cluster = Cluster::with(&FIVE, config);
    let keys: Vec<Key> = keys(&cluster).take(count).collect();
    cluster.down(&["b"]);
    let tokens: Vec<Token> = keys.iter().map(|key| cluster.request("a", put(key, "1"))).collect();
    cluster.run(1_000);
    for token in tokens {
        assert!(matches!(cluster.replies.remove(&token), Some(Ok(_))), "it is written");
    }
    (cluster, keys)
}

#[test]
fn c1_a_hint_survives_a_restart_of_the_fallback_and_is_delivered_when_the_owner_is_back() {
    let (mut cluster, keys) = with_hints(3, Config::default());
    assert_eq!(cluster.hints("d"), "b: 3");
    let disk = cluster.crash("d");
    cluster.run(5_000);
    cluster.start("d", disk);
    assert_eq!(cluster.hints("d"), "b: 3", "found again");
    cluster.run(5_000);
    assert_eq!(cluster.hints("d"), "b: 3", "its owner is still down");
    let disk = cluster.crash("d");
    cluster.down(&[]);
    cluster.run(5_000);
    cluster.start("d", disk);
    cluster.run(1_100);
    for key in &keys {
        assert_eq!(cluster.holds("b", key), ["1"]);
    }
    assert_eq!(cluster.hints("d"), "");
    assert_eq!(cluster.count(|kind| matches!(kind, EventKind::HintDelivered { .. })), 3);
    let mut disk = cluster.crash("d");
    assert_eq!(disk.rows.len(Space::Hints), 0, "nor does its disk remember any");
    disk.rows.crash();
}

#[test]
fn without_hints_nothing_is_sent_and_no_timer_runs() {
    let (mut cluster, _) = with_hints(2, Config::default());
    cluster.down(&[]);
    cluster.run(5_000);
    assert_eq!(cluster.hints("d"), "");
    cluster.sent.clear();
    cluster.run(600_000);
    assert_eq!(cluster.sent.len(), 0);
    assert!(cluster.shards.values().all(|shard| shard.delivery.due().is_none()));
}

#[test]
fn with_as_many_hints_as_there_may_be_the_next_one_is_refused_and_the_write_succeeds_by_others() {
    let mut config = Config::default();
    config.repair.hints_max = 2;
    let mut cluster = Cluster::with(&FIVE, config);
    let keys: Vec<Key> = keys(&cluster).take(5).collect();
    cluster.down(&["b"]);
    for (key, expected) in keys.iter().zip([
        "1 by a, c, d for b; failed b",
        "1 by a, c, d for b; failed b",
        "1 by a, c, e for b; failed b, d",
        "1 by a, c, e for b; failed b, d",
        "1 by a, c; failed b, d, e",
    ]) {
        assert_eq!(told(&cluster.ask("a", put(key, "1"))), expected);
    }
    assert_eq!((cluster.hints("d"), cluster.hints("e")), (String::from("b: 2"), String::from("b: 2")));
    assert_eq!(cluster.count(|kind| matches!(kind, EventKind::HintRefused { .. })), 4);
    // A hint that is there already takes more of its key.
    assert_eq!(told(&cluster.ask("a", put(&keys[0], "2"))), "2 by a, c, d for b; failed b");
    // It is no vote: with nobody left to keep it the quorum is missed.
    assert_eq!(told(&cluster.ask("a", of(3, put(&keys[4], "2")))), "quorum_not_met by a, c; failed b, d, e");
}

#[test]
fn a_fallback_votes_once_its_hint_is_durable_and_not_with_a_full_disk() {
    let mut cluster = Cluster::new(&FIVE);
    let key = keys(&cluster).next().expect("there are many keys");
    cluster.down(&["b", "c"]);
    ["d", "e"].iter().for_each(|name| cluster.disk(name).stuck = true);
    let token = cluster.request("a", put(&key, "1"));
    cluster.run(1_000);
    assert!(!cluster.replies.contains_key(&token), "nothing but the coordinator's copy is durable");
    cluster.unstick("d");
    cluster.run(50);
    let reply = cluster.replies.remove(&token).expect("it is answered");
    assert_eq!(told(&reply), "1 by a, d for b; failed b, c");

    let mut cluster = Cluster::new(&FIVE);
    cluster.down(&["b"]);
    cluster.disk("d").full = true;
    assert_eq!(told(&cluster.ask("a", of(3, put(&key, "1")))), "1 by a, c, e for b; failed b, d");
}

#[test]
fn a_read_shows_no_hint_that_is_not_durable() {
    let mut cluster = Cluster::new(&FIVE);
    let key = keys(&cluster).next().expect("there are many keys");
    cluster.down(&["b", "c"]);
    ["d", "e"].iter().for_each(|name| cluster.disk(name).stuck = true);
    cluster.request("a", put(&key, "1"));
    cluster.run(20);
    let read = cluster.request("a", get(&key));
    cluster.run(1_000);
    assert!(!cluster.replies.contains_key(&read), "a crash of both fallbacks could undo it");
    cluster.unstick("e");
    cluster.run(50);
    assert_eq!(told(&cluster.replies[&read]), "1 by a, e for c; failed b, c");
}

#[test]
fn a_hint_that_has_grown_since_it_was_sent_is_sent_again() {
    let (mut cluster, keys) = with_hints(1, Config::default());
    cluster.loses = |message| matches!(message, ShardMessage::Answer { .. }) || is_hand_off(message);
    cluster.down(&[]);
    // A hand-off leaves; before it is answered, more is written for b.
    cluster.run(1_100);
    assert!(cluster.count_sent(is_hand_off) > 0);
    cluster.loses = |_| false;
    cluster.down(&["b"]);
    cluster.run(1_100);
    cluster.down(&[]);
    cluster.disk("b").stuck = true;
    cluster.run(500);
    cluster.down.insert(node("b"));
    let picture = |cluster: &mut Cluster| cluster.show_picture("a");
    picture(&mut cluster);
    assert_eq!(told(&cluster.ask("a", put(&keys[0], "2"))), "2 by a, c, d for b; failed b");
    cluster.down.clear();
    picture(&mut cluster);
    cluster.unstick("b");
    cluster.run(5_000);
    assert_eq!((cluster.hints("d"), cluster.holds("b", &keys[0])), (String::new(), [String::from("2")].to_vec()));
}

#[test]
fn hints_are_paced_and_drained() {
    let (mut cluster, keys) = with_hints(300, Config::default());
    assert_eq!(cluster.hints("d"), "b: 300");
    cluster.sent.clear();
    cluster.loses = |message| matches!(message, ShardMessage::Answer { .. });
    cluster.down(&[]);
    cluster.run(1_500);
    let first = cluster.count_sent(is_hand_off);
    assert!(first > 0 && first <= 64, "{first} at once to an owner that does not answer");
    cluster.loses = |_| false;
    cluster.run(60_000);
    assert_eq!(cluster.hints("d"), "");
    assert!(keys.iter().all(|key| cluster.holds("b", key) == ["1"]));
    let sent = cluster.count_sent(is_hand_off);
    assert!(sent <= 300 + 3 * 64, "{sent} for 300 hints");
}

#[test]
fn where_the_owners_have_changed_a_hint_goes_to_all_of_them_and_stays_until_a_write_quorum_has_it() {
    let (mut cluster, keys) = with_hints(40, Config::default());
    // b, for whom they were kept, stays down for good; f comes and owns some of the keys.
    cluster.begin_change(cluster.with_owner("f"));
    cluster.start("f", Disk::default());
    cluster.run(2_000);
    cluster.end_change();
    let rings = cluster.rings();
    let owners = |key: &Key| rings.ring().preference_list(Position::of(key)).primaries().to_vec();
    let moved: Vec<&Key> = keys.iter().filter(|key| owners(key).contains(&node("f"))).collect();
    assert!(!moved.is_empty() && moved.len() < keys.len(), "{} of 40 keys have another owner", moved.len());
    cluster.run(10_000);
    for key in &moved {
        for owner in owners(key).into_iter().filter(|owner| *owner != node("b")) {
            assert_eq!(cluster.holds(owner.as_str(), key), ["1"], "at {owner}");
        }
    }
    assert_eq!(cluster.hints("d"), format!("b: {}", keys.len() - moved.len()), "the others wait for b");
    cluster.down(&[]);
    cluster.run(10_000);
    assert_eq!(cluster.hints("d"), "");
}

#[test]
fn a_damaged_hint_is_given_up_and_its_place_can_be_taken_again() {
    let (mut cluster, keys) = with_hints(3, Config::default());
    // They were looked at, and wait for b now.
    cluster.run(2_000);
    let page = PageLimit { rows: 3, bytes: 10_000 };
    let rows = cluster.disk("d").scan(Space::Hints, b"", None, page).expect("it can be read").rows;
    let mut batch = Batch::default();
    for (place, row) in &rows[..2] {
        let mut row = row.to_vec();
        row[3] ^= 1;
        batch.put(Space::Hints, place.clone(), row);
    }
    cluster.disk("d").rows.apply(batch).expect("memory does not fail");
    // More comes to the first one: what was there is gone, what comes is kept.
    let damaged = super::super::hints::read_place(&rows[0].0).expect("a place").1;
    assert_eq!(told(&cluster.ask("a", of(3, put(&damaged, "2")))), "2 by a, c, d for b; failed b");
    assert_eq!(cluster.hints("d"), "b: 3");
    cluster.down(&[]);
    cluster.run(2_000);
    assert_eq!(cluster.hints("d"), "");
    assert_eq!(cluster.count(|kind| matches!(kind, EventKind::Damaged { .. })), 2);
    assert_eq!(cluster.holds("b", &damaged), ["2"]);
    assert_eq!(keys.iter().filter(|key| cluster.holds("b", key).is_empty()).count(), 1);
}

#[test]
fn a_hint_from_who_coordinates_nothing_is_refused() {
    let mut cluster = Cluster::new(&FIVE);
    let key = keys(&cluster).next().expect("there are many keys");
    cluster.down(&["b"]);
    cluster.ask("a", put(&key, "1")).expect("it is written");
    let hint = cluster.sent.iter().find_map(|(_, _, message)| match message {
        hint @ ShardMessage::Hint { .. } => Some(hint.clone()),
        _ => None,
    });
    let hint = hint.expect("d was asked");
    let slice = Position::of(&key).slice();
    let mut deliver = |to: &str, message: ShardMessage| {
        let envelope = Envelope { cluster: Some(ClusterId(7)), cause: None, message: Message::Shard(slice, message) };
        cluster.step(to, Input::Message { from: node("e"), envelope });
        cluster.count(|kind| matches!(kind, EventKind::Rejected { .. }))
    };
    assert_eq!(deliver("c", hint.clone()), 1, "an owner stands in for nobody");
    let ShardMessage::Hint { request, layout, key, set, fresh, .. } = hint else { unreachable!("it is one") };
    let other = ShardMessage::Hint { request, layout, target: node("d"), key, set, fresh };
    assert_eq!(deliver("e", other), 2, "nobody stands in for a node that is no owner");
}
