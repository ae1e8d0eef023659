//! The layout as a specification: what may be decided, and in what order ownership passes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use proptest::prelude::*;

use super::*;
use crate::config::{ClusterConfig, Placement};
use crate::hash::Slice;
use crate::id::ActorId;
use crate::rng::Rng;

fn node(index: u64) -> NodeId {
    NodeId::new(&alloc::format!("n{index}")).expect("a good name")
}

fn role(index: u64) -> Role {
    Role { store: ActorId(index.into()), ..Role::plain(node(index).as_str()) }
}

fn admit(index: u64) -> Change {
    Change::Admit { node: node(index), role: role(index) }
}

fn remove(index: u64) -> Change {
    Change::Remove { node: node(index), why: Farewell::Removed }
}

fn layout_of(count: u64) -> Layout {
    let founded = Layout::founded_by(node(0), role(0), &cluster());
    let others: Vec<Change> = (1..count).map(admit).collect();
    if others.is_empty() { founded } else { founded.with(&others, &cluster()).expect("they are none yet") }
}

fn cluster() -> ClusterConfig {
    let placement = Placement::Tokens(NonZeroU16::new(8).expect("above zero"));
    ClusterConfig { placement, ..ClusterConfig::default() }
}

fn names(layout: &Layout) -> Vec<&str> {
    layout.owners().map(NodeId::as_str).collect()
}

#[test]
fn every_change_is_another_version_and_says_what_it_cannot_do() {
    let three = layout_of(3);
    let four = three.with(&[admit(3)], &cluster()).expect("it is none yet");
    assert_eq!((four.version(), names(&four)), (three.version() + 1, Vec::from(["n0", "n1", "n2", "n3"])));
    assert!(three.id() < four.id());
    let without = four.with(&[remove(1)], &cluster()).expect("others are left");
    assert_eq!(names(&without), ["n0", "n2", "n3"]);
    assert_eq!(without.exclusion(&node(1)).expect("it is excluded").store, ActorId(1));
    assert!(without.with(&[admit(1)], &cluster()).expect("it may come back").exclusion(&node(1)).is_none());

    let alone = layout_of(1);
    for (layout, changes, expected) in [
        (&three, &[remove(7)][..], ChangeError::NotAnOwner(node(7))),
        (&alone, &[remove(0)], ChangeError::LastOwner(node(0))),
        (&three, &[admit(1)], ChangeError::Nothing),
        (&three, &[], ChangeError::Nothing),
    ] {
        assert_eq!(layout.with(changes, &cluster()), Err(expected), "{changes:?}");
    }
}

#[test]
fn going_back_is_another_version_with_the_owners_of_before() {
    let before = layout_of(3);
    let readmit = Change::Readmit { node: node(2), store: ActorId(9) };
    let after = before.with(&[remove(1), admit(5), readmit], &cluster()).expect("a good change");
    let back = after.reverted_to(&before, &cluster()).expect("it differs");
    assert_eq!((back.version(), names(&back)), (after.version() + 1, names(&before)));
    assert_eq!(back.role(&node(2)).expect("it is back").store, ActorId(9), "a store that was lost stays lost");
    assert!(back.exclusion(&node(5)).is_some() && back.exclusion(&node(1)).is_none());
    assert_eq!(before.reverted_to(&before, &cluster()), Err(ChangeError::Nothing));
}

/// Decides among so many proposers, with a network that loses, repeats and reorders, and gives what each learned.
fn decide(acceptors: u64, proposers: u64, seed: u64) -> Vec<Layout> {
    let mut rng = Rng::labelled(seed, "paxos");
    let base = layout_of(acceptors);
    let mut voters: BTreeMap<NodeId, Acceptor> =
        base.owners().map(|node| (node.clone(), Acceptor::default())).collect();
    let begin = |proposer: u64, round: u64| {
        let layout = base.with(&[admit(100 + proposer)], &cluster()).expect("it is none yet");
        Proposal::new(&base, layout, Ballot { round, node: node(proposer) })
    };
    let mut proposals: Vec<Proposal> = (0..proposers).map(|proposer| begin(proposer, 1)).collect();
    let mut flying: Vec<(NodeId, usize, Decision, bool)> = Vec::new();
    let mut decided = Vec::new();
    for _ in 0..4_000 {
        let proposer = usize::try_from(rng.below(proposers)).expect("few");
        if rng.chance(200_000) {
            let question = proposals[proposer].question();
            flying.extend(base.owners().map(|voter| (voter.clone(), proposer, question.clone(), true)));
        }
        if rng.chance(2_000) {
            let round = proposals.iter().map(Proposal::round).max().unwrap_or(0) + rng.below(2);
            proposals[proposer] = begin(u64::try_from(proposer).expect("few"), round);
        }
        if flying.is_empty() {
            continue;
        }
        let index = usize::try_from(rng.below(u64::try_from(flying.len()).expect("few"))).expect("few");
        let (voter, to, message, asks) =
            if rng.chance(100_000) { flying[index].clone() } else { flying.swap_remove(index) };
        if rng.chance(150_000) {
            continue;
        }
        if asks {
            if let Some(answer) = voters.get_mut(&voter).expect("a voter").answer(message) {
                flying.push((voter, to, answer, false));
            }
        } else if let Step::Decided(layout) = proposals[to].take(&voter, message) {
            decided.push(layout);
        }
    }
    decided
}

proptest! {
    #[test]
    fn one_content_is_decided_whoever_proposes_and_whatever_is_lost(
        acceptors in 1_u64..6, proposers in 1_u64..5, seed in any::<u64>(),
    ) {
        let decided = decide(acceptors, proposers, seed);
        prop_assert!(decided.windows(2).all(|pair| pair[0] == pair[1]), "{decided:?}");
    }
}

#[test]
fn a_majority_that_hears_each_other_decides() {
    let decided = (0..20).filter(|seed| !decide(5, 3, *seed).is_empty()).count();
    assert!(decided >= 15, "{decided} of 20 runs came to a decision");
}

/// A change from three owners to four, as the first node sees it.
fn changing() -> History {
    let before = layout_of(3);
    let mut history = History::begin(before.clone(), &cluster());
    history.follow(before.with(&[admit(3)], &cluster()).expect("it is none yet"), &cluster());
    history
}

fn says(history: &mut History, index: u64, synced: u64, moved: u64) {
    history.track(&node(index), synced, moved);
    history.advance(cluster().replication, |_| false);
}

#[test]
fn a_slice_is_read_anew_once_enough_are_synced_and_passes_once_the_old_readers_have_moved() {
    let mut history = changing();
    let slice = Slice::all().next().expect("there are 64");
    let point = |history: &History| {
        let rings = history.rings();
        (rings.reads_under(slice), rings.writing(slice).len())
    };
    let (old, new) = (history.layout().version() - 1, history.layout().version());
    assert_eq!(point(&history), (old, 2), "reads ask the old owners, writes need both");
    says(&mut history, 0, u64::MAX, 0);
    assert_eq!(point(&history), (old, 2), "one is not enough for a quorum of two");
    for index in 1..4 {
        says(&mut history, index, u64::MAX, 0);
    }
    assert_eq!(point(&history), (new, 2), "reads ask the new owners, writes still need both");
    says(&mut history, 0, u64::MAX, u64::MAX);
    assert_eq!(point(&history), (new, 2), "two of three could still answer a read under the old layout");
    says(&mut history, 1, u64::MAX, u64::MAX);
    assert_eq!(point(&history), (new, 1), "no old quorum is left");
    assert!(history.revertible().is_none());
}

#[test]
fn one_dead_owner_does_not_hold_a_change_up() {
    let mut history = changing();
    // The joiner never says a word.
    for index in 0..3 {
        says(&mut history, index, u64::MAX, u64::MAX);
    }
    assert!(history.rings().is_all_settled());
}

#[test]
fn what_was_seen_to_have_passed_is_believed_by_those_who_forgot_that_they_said_so() {
    let mut ahead = changing();
    for index in 0..3 {
        says(&mut ahead, index, u64::MAX, if index < 2 { 7 } else { 0 });
    }
    let mut behind = changing();
    let news = News { trackers: BTreeMap::new(), ..ahead.news() };
    assert!(behind.learn(&news, &cluster()).changed);
    assert_eq!((behind.progress().read, behind.progress().passed), (64, 3));
}

#[test]
fn whoever_missed_versions_knows_nothing_more_of_what_it_was_synced_under() {
    let mut long_away = History::begin(layout_of(3), &cluster());
    let mut chain = Vec::from([layout_of(3)]);
    for index in 3..7 {
        let next = chain.last().expect("there is one").with(&[admit(index)], &cluster()).expect("it is none yet");
        chain.push(next);
    }
    let recent = News { chain: chain[3..].to_vec(), points: [(0, 0); 64].to_vec(), ..News::default() };
    assert!(long_away.learn(&recent, &cluster()).newer);
    assert!(!long_away.rings().knows(chain[0].id()));

    let mut there = History::begin(chain[2].clone(), &cluster());
    assert!(there.learn(&recent, &cluster()).newer);
    assert!(there.rings().knows(chain[2].id()), "what it is synced under is still known");
}

proptest! {
    #[test]
    fn nodes_that_hear_the_same_in_any_order_come_to_the_same(
        said in prop::collection::vec((0_u64..4, any::<u64>(), any::<u64>()), 0..20), seed in any::<u64>(),
    ) {
        let mut owners: Vec<History> = (0..4).map(|_| changing()).collect();
        let mut news = Vec::new();
        for (index, synced, moved) in said {
            let owner = &mut owners[usize::try_from(index).expect("few")];
            says(owner, index, synced, moved);
            news.push(owner.news());
        }
        let (mut one, mut other) = (changing(), changing());
        let mut shuffled = news.clone();
        Rng::labelled(seed, "order").shuffle(&mut shuffled);
        for (history, order) in [(&mut one, &news), (&mut other, &shuffled)] {
            for news in order {
                history.learn(news, &cluster());
            }
            history.advance(cluster().replication, |_| false);
        }
        prop_assert_eq!(one.digest(), other.digest());
        prop_assert_eq!(one.rings().hash(), other.rings().hash());
    }
}

#[test]
fn a_plan_names_what_moves_and_nothing_that_stays() {
    let before = Active::new(layout_of(4), &cluster());
    let after = Active::new(before.layout.with(&[admit(4)], &cluster()).expect("it is none yet"), &cluster());
    let plan = Plan::new(&before, &after);
    let joiner = &plan.moves[&node(4)];
    assert_eq!((joiner.before_ppm, joiner.gives_ppm), (0, 0));
    assert_eq!(joiner.takes_ppm, joiner.after_ppm);
    let given: u64 = plan.moves.values().map(|of| of.gives_ppm).sum();
    assert!(given.abs_diff(joiner.takes_ppm) <= 5, "what it takes, others give: {given} and {}", joiner.takes_ppm);
    assert!((0..4).all(|index| plan.moves[&node(index)].takes_ppm == 0));
}
