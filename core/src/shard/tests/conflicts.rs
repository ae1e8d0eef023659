//! Who tells of a key that comes to have several values, and how often.

use super::*;

/// Two writes that have not seen each other, through different nodes.
fn write_twice(cluster: &mut Cluster, key: &Key, values: [&str; 2]) {
    let context = cluster.ask("a", get(key)).expect("it can be read").context;
    for (at, value) in ["b", "c"].into_iter().zip(values) {
        let value = Some(Value::json(String::from(value)));
        cluster.request(at, Request::write(key.clone(), value, Some(context.clone())));
    }
    cluster.run(1_000);
}

#[test]
fn the_first_living_owner_tells_once_that_a_key_has_several_values() {
    let mut cluster = Cluster::new(&FIVE);
    let key = keys(&cluster).next().expect("there are many keys");
    cluster.ask("a", put(&key, "0")).expect("it is written");
    cluster.run(1_000);
    assert_eq!(cluster.conflicts, []);
    write_twice(&mut cluster, &key, ["1", "2"]);
    assert_eq!(cluster.conflicts, [(node("a"), key.clone(), 2)]);
    // A third one makes no other conflict of it, and a read none.
    cluster.ask("d", get(&key)).expect("it can be read");
    cluster.run(1_000);
    assert_eq!(cluster.conflicts.len(), 1);
    // Merged and in conflict again, while the first owner is down.
    cluster.ask("b", put(&key, "3")).expect("it is written");
    cluster.down(&["a"]);
    let context = cluster.ask("b", get(&key)).expect("it can be read").context;
    for (at, value) in [("b", "4"), ("c", "5")] {
        let value = Some(Value::json(String::from(value)));
        cluster.request(at, Request::write(key.clone(), value, Some(context.clone())));
    }
    cluster.run(1_000);
    assert_eq!(cluster.conflicts[1..], [(node("b"), key.clone(), 2)]);
}

#[test]
fn equal_values_and_keys_of_which_the_last_writer_wins_are_no_conflict() {
    let mut config = Config::default();
    let strategy = [(String::from("last/"), Strategy::Lww)];
    config.cluster.strategies = Strategies::new(strategy).expect("one prefix");
    let mut cluster = Cluster::with(&FIVE, config);
    let key = keys(&cluster).next().expect("there are many keys");
    cluster.ask("a", put(&key, "0")).expect("it is written");
    write_twice(&mut cluster, &key, ["1", "1"]);
    for number in 0..20 {
        let key = Key::new(&format!("last/{number}")).expect("a good key");
        cluster.ask("a", put(&key, "0")).expect("it is written");
        write_twice(&mut cluster, &key, ["1", "2"]);
    }
    assert_eq!(cluster.conflicts, []);
}
