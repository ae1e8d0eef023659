//! What a store that lacks something is given.

use super::*;

use crate::config::Replication;

/// A cluster of all but `a`, which has the first of its keys, and the layout in which `a` has joined it.
fn before_a_joins(others: &[&str], config: Config) -> (Cluster, Key, Layout) {
    let mut cluster = Cluster::with(others, config);
    let after = cluster.with_owner("a");
    let before = core::mem::replace(&mut cluster.rings, Rings::settled(after.clone(), &cluster.config.cluster));
    let key = keys(&cluster).next().expect("there are many");
    cluster.rings = before;
    let everybody = u8::try_from(others.len()).expect("few");
    cluster.ask(others[0], of(everybody, put(&key, "1"))).expect("it is written");
    cluster.run(1_000);
    (cluster, key, after)
}

/// What a former owner has left of a key may be long deleted, and those who own it may have forgotten that it ever was.
#[test]
fn a_giver_leaves_out_what_it_owned_once() {
    let (mut cluster, key, after) = before_a_joins(&["b", "c", "d"], Config::default());
    cluster.begin_change(after);
    cluster.start("a", Disk::default());
    cluster.run(5_000);
    // Nobody hears what it offers, so it keeps what it owns no more.
    cluster.loses = |message| matches!(message, ShardMessage::Leftovers { .. });
    cluster.end_change();
    cluster.run(1_000);
    assert_eq!(["a", "b", "c", "d"].map(|name| cluster.holds(name, &key)), [["1"]; 4]);
    drop(cluster.crash("b"));
    cluster.start("b", Disk::default());
    cluster.sent.clear();
    cluster.run(5_000);
    let given_by = |giver: &str| {
        let pages = cluster.sent.iter().filter(|(from, to, _)| (from, to) == (&node(giver), &node("b")));
        let objects = pages.filter_map(|(_, _, message)| match message {
            ShardMessage::Pulled { result: Ok(page), .. } => Some(page.objects.iter().map(|(key, _)| key)),
            _ => None,
        });
        let given: Vec<Vec<&Key>> = objects.map(Iterator::collect).collect();
        (!given.is_empty(), given.concat().contains(&&key))
    };
    assert_eq!(cluster.holds("b", &key), ["1"]);
    assert_eq!(given_by("c"), (true, true));
    assert_eq!(given_by("d"), (true, false), "it shares other arcs with b");
}

/// The owner whose place a joiner takes is the only one left that has what another one's disk has damaged.
#[test]
fn what_is_damaged_where_a_joiner_pulls_is_healed_by_the_owner_it_replaces() {
    let mut config = Config::default();
    config.cluster.replication = Replication::new(2, 1, 2).expect("good quorums");
    let (mut cluster, key, after) = before_a_joins(&["b", "c"], config);
    let place = crate::shard::rows::object_key(&key);
    cluster.disk("b").rows.damage(Space::Objects, &place, Bytes::from_static(b"rot"));
    cluster.begin_change(after);
    cluster.start("a", Disk::default());
    cluster.run(5_000);
    assert_eq!(["a", "b", "c"].map(|name| cluster.holds(name, &key)), [["1"]; 3]);
    assert!(cluster.shards[&node("a")].is_whole(Position::of(&key).slice()));
}
