//! What a store that lacks something is given.

use super::*;

/// What a former owner has left of a key may be long deleted, and those who own it may have forgotten that it ever was.
#[test]
fn a_giver_leaves_out_what_it_owned_once() {
    let mut cluster = Cluster::new(&["b", "c", "d"]);
    let zone = Zone::new("default").expect("a good name");
    cluster.layout.admit(node("a"), zone, NonZeroU16::MIN);
    cluster.layout.settle(&node("a"));
    let key = keys(&cluster).next().expect("there are many");
    let before = Layout::founded_by(node("b"), Zone::new("default").expect("a good name"), NonZeroU16::MIN);
    let after = core::mem::replace(&mut cluster.layout, before);
    cluster.relayout(|layout| {
        for name in ["c", "d"] {
            layout.admit(node(name), Zone::new("default").expect("a good name"), NonZeroU16::MIN);
            layout.settle(&node(name));
        }
    });
    cluster.ask("c", of(3, put(&key, "1"))).expect("it is written");
    cluster.relayout(|layout| *layout = after);
    cluster.start("a", Disk::default());
    cluster.run(5_000);
    assert_eq!(["a", "b", "c", "d"].map(|name| cluster.holds(name, &key)), [["1"]; 4]);
    drop(cluster.crash("b"));
    cluster.start("b", Disk::default());
    cluster.sent.clear();
    cluster.run(5_000);
    let given_by = |giver: &str| {
        let pages = cluster.sent.iter().filter(|(from, to, _)| (from, to) == (&node(giver), &node("b")));
        let objects = pages.filter_map(|(_, _, message)| match message {
            ShardMessage::Pulled { result: Ok(page), .. } => Some(page.objects.iter()),
            _ => None,
        });
        objects.clone().count() > 0 && objects.flatten().all(|(given, _)| *given != key)
    };
    assert_eq!(cluster.holds("b", &key), ["1"]);
    assert!(given_by("d"), "it was asked for the arcs that it shares with b, and gave nothing of this one");
    assert!(!given_by("c"));
}
