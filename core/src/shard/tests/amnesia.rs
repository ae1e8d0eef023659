//! Stores that forget a key and nothing else, without noticing: how stores of this kind lost acknowledged writes. The
//! scenarios have the names under which they are known (Riak KV); here the fallbacks and their hints are real.

use super::*;
use crate::config::Replication;

fn forget(cluster: &mut Cluster, name: &str, key: &Key) {
    let mut batch = Batch::default();
    batch.remove(Space::Objects, crate::shard::rows::object_key(key));
    let disk = &mut cluster.disk(name).rows;
    disk.apply(batch).expect("memory can be written");
    assert!(cluster.holds(name, key).is_empty());
}

/// What a client was told, without who has failed.
fn met(reply: &Reply) -> String {
    let told = told(reply);
    told.split(';').next().expect("a text").to_string()
}

#[track_caller]
fn write(cluster: &mut Cluster, at: &str, request: Request, by: &str) {
    let reply = cluster.ask(at, of(2, request));
    assert!(met(&reply).ends_with(&format!(" by {by}")), "{}", told(&reply));
    cluster.run(1_000);
}

/// What a read of all owners shows, and that they all hold the same after it.
#[track_caller]
fn settled(cluster: &mut Cluster, key: &Key, owners: &[&str]) -> Vec<String> {
    cluster.loses = |_| false;
    cluster.down(&[]);
    cluster.run(10_000);
    assert!(FIVE.iter().all(|name| cluster.hints(name).is_empty()), "all hints are handed over");
    let everybody = u8::try_from(owners.len()).expect("few");
    let shown = cluster.ask("a", by_owners(everybody, get(key))).expect("everybody is there").set;
    cluster.run(1_000);
    let values = shown.values().into_iter().filter_map(|(_, version)| version.value.as_ref());
    let mut values: Vec<String> = values.map(text).collect();
    values.sort();
    for owner in owners {
        let mut held = cluster.holds(owner, key);
        held.sort();
        assert_eq!(held, values, "{owner}");
    }
    values
}

/// A2. Through a coordinator, a write without a context replaces what a read quorum shows, and that is all that was
/// acknowledged: one value is left, where the causality layer alone (`scenarios_causality`) has two beside each other.
#[test]
fn kv679_dataloss() {
    let mut cluster = Cluster::new(&FIVE);
    let key = keys(&cluster).next().expect("there are many");
    for number in 1..=4 {
        write(&mut cluster, "a", put(&key, &number.to_string()), "a, b, c");
    }
    forget(&mut cluster, "a", &key);
    write(&mut cluster, "a", put(&key, "5"), "a, b, c");
    assert_eq!(settled(&mut cluster, &key, &["a", "b", "c"]), ["5"]);
}

/// As before, by a writer who has seen nothing and says so.
#[test]
fn kv679_dataloss_by_somebody_who_has_seen_nothing() {
    let mut cluster = Cluster::new(&FIVE);
    let mut keys = keys(&cluster);
    let key = keys.next().expect("there are many");
    let reply = cluster.ask("a", get(&key));
    let nothing = Some(reply.expect("it is absent").context);
    for number in 1..=4 {
        write(&mut cluster, "a", put(&key, &number.to_string()), "a, b, c");
    }
    forget(&mut cluster, "a", &key);
    let request = Request::write(key.clone(), Some(Value::json("5")), nothing);
    write(&mut cluster, "a", request, "a, b, c");
    assert_eq!(settled(&mut cluster, &key, &["a", "b", "c"]), ["4", "5"]);
}

/// A3. The first write reaches two fallbacks only, two later ones the other owners. The coordinator forgets the key, is
/// repaired from the fallbacks to the first write, and goes on from there.
#[test]
fn kv679_dataloss_fb() {
    let mut cluster = Cluster::new(&FIVE);
    let key = keys(&cluster).next().expect("there are many");
    cluster.loses = is_hand_off;
    cluster.down(&["b", "c"]);
    write(&mut cluster, "a", put(&key, "1"), "a, d for b, e for c");
    cluster.down(&[]);
    for value in ["2", "3"] {
        write(&mut cluster, "a", put(&key, value), "a, b, c");
    }
    forget(&mut cluster, "a", &key);
    cluster.down(&["b", "c"]);
    let reply = cluster.ask("a", get(&key));
    assert_eq!(met(&reply), "1 by a, d for b", "an old value, by as many as were asked for");
    cluster.run(1_000);
    assert_eq!(cluster.holds("a", &key), ["1"], "the read has repaired it");
    write(&mut cluster, "a", put(&key, "4"), "a, d for b, e for c");
    let values = settled(&mut cluster, &key, &["a", "b", "c"]);
    assert_eq!(values, ["3", "4"], "the last one, and the one that its writer has not seen");
}

/// A4. Two owners, three fallbacks. The first owner forgets the key, and hears of its own earlier write by a hint that is
/// handed over: a write that it does not coordinate. Then it coordinates again.
#[test]
fn kv679_dataloss_fb2() {
    let mut config = Config::default();
    config.cluster.replication = Replication::new(2, 2, 2).expect("good quorums");
    let mut cluster = Cluster::with(&FIVE, config);
    let key = keys(&cluster).next().expect("there are many");
    cluster.loses = is_hand_off;
    cluster.down(&["b"]);
    let first = cluster.ask("a", put(&key, "1"));
    assert_eq!(met(&first), "1 by a, c for b");
    let seen = Some(first.expect("it is written").context);
    let informed = |value: &str| Request::write(key.clone(), Some(Value::json(String::from(value))), seen.clone());
    cluster.down(&["b", "c"]);
    write(&mut cluster, "a", informed("2"), "a, d for b");
    cluster.down(&["a", "c", "d"]);
    write(&mut cluster, "b", informed("3"), "b, e for a");
    cluster.down(&[]);
    forget(&mut cluster, "a", &key);
    // Only what e keeps for a is handed over, in which a is told of its first write.
    cluster.loses = |_| false;
    cluster.silent(&["c", "d"]);
    cluster.run(5_000);
    cluster.loses = is_hand_off;
    assert_eq!((cluster.holds("a", &key), cluster.hints("e")), (Vec::from([String::from("3")]), String::new()));
    cluster.silent(&[]);
    cluster.down(&["b", "d", "e"]);
    write(&mut cluster, "a", put(&key, "4"), "a, c for b");
    let values = settled(&mut cluster, &key, &["a", "b"]);
    assert_eq!(values, ["2", "4"], "what no later writer has seen is there");
}
