//! Which record wins: the same for everybody, whatever the order; and a member alone speaks for itself.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::harness::{in_state, name, record};
use crate::config::Timing;
use crate::membership::{
    ChangeKind, Claim, Digest, DigestEntry, Effects, INCARNATION_JUMP_MAX, INCARNATION_MAX, Member, Membership,
    MembershipMessage, MessageError, State, Version, Why,
};
use crate::rng::Rng;
use crate::time::Time;

fn node(incarnation: u64) -> Membership {
    let mut membership = Membership::new(
        record(&name("me"), incarnation),
        Timing::default(),
        Rng::labelled(1, "node"),
        Vec::<Member>::new(),
    );
    membership.on_timer(Time::ZERO, &mut Effects::default());
    membership
}

fn tell(membership: &mut Membership, claims: Vec<Claim>) -> Effects {
    let mut out = Effects::default();
    let from = name("teller");
    membership.handle(Time::ZERO, &from, MembershipMessage::Gossip { claims }, &mut out).expect("keeps the rules");
    out
}

fn claim(subject: &str, incarnation: u64, state: State) -> Claim {
    let member = in_state(&name(subject), incarnation, state);
    let by = if state == State::Alive { name(subject) } else { name("accuser") };
    Claim { member: member.into(), by }
}

#[test]
fn incarnation_decides_and_then_the_graver_state() {
    use State::{Alive, Dead, Left, Suspect};
    let cases = [
        // what is held, what is heard, whether it is taken over
        ((1, Alive), (1, Alive), false),
        ((1, Alive), (1, Suspect), true),
        ((1, Alive), (1, Dead), true),
        ((1, Suspect), (1, Alive), false),
        ((1, Suspect), (2, Alive), true),
        ((1, Suspect), (1, Dead), true),
        ((2, Suspect), (1, Dead), false),
        ((1, Dead), (1, Alive), false),
        ((1, Dead), (1, Suspect), false),
        ((1, Dead), (2, Alive), true),
        ((1, Dead), (2, Suspect), true),
        ((2, Alive), (1, Dead), false),
        ((1, Dead), (1, Left), true),
        ((1, Left), (1, Dead), false),
        ((1, Left), (2, Alive), true),
    ];
    for (held, heard, taken) in cases {
        let mut membership = node(1);
        tell(&mut membership, alloc::vec![claim("x", 0, Alive), claim("x", held.0, held.1)]);
        let out = tell(&mut membership, alloc::vec![claim("x", heard.0, heard.1)]);
        let expected = if taken { heard } else { held };
        let version = membership.member(&name("x")).expect("known").member.version();
        assert_eq!((version.incarnation, version.state), expected, "{held:?}, then {heard:?}");
        assert_eq!(out.changes.len(), usize::from(taken), "{held:?}, then {heard:?}: {:?}", out.changes);
    }
}

#[test]
fn every_change_has_a_name() {
    use ChangeKind::{Died, Joined, Left, Refuted, Revived, Suspected, Updated};
    let story = [
        (1, State::Alive, Some(Joined)),
        (1, State::Suspect, Some(Suspected)),
        (2, State::Alive, Some(Refuted)),
        (3, State::Alive, None),
        (3, State::Suspect, Some(Suspected)),
        (3, State::Dead, Some(Died)),
        (4, State::Alive, Some(Revived)),
        (4, State::Left, Some(Left)),
        (5, State::Alive, Some(Revived)),
    ];
    let mut membership = node(1);
    for (incarnation, state, expected) in story {
        let told = claim("x", incarnation, state);
        let out = tell(&mut membership, alloc::vec![told.clone()]);
        assert_eq!(out.changes.first().map(|change| change.kind), expected, "{incarnation} {state:?}");
        for change in out.changes {
            assert_eq!((change.incarnation, change.by), (incarnation, told.by.clone()));
            assert_eq!(change.why, Why::Told { teller: name("teller") });
        }
    }
    let moved = Member { boot: 9, ..record(&name("x"), 6) };
    let out = tell(&mut membership, alloc::vec![Claim::own(moved)]);
    assert_eq!(out.changes.first().map(|change| change.kind), Some(Updated));
    assert!(!out.persist, "what happens to others is not this node's incarnation");
}

#[test]
fn an_accused_answers_above_the_accusation_and_asks_for_durability() {
    for (own, accusation, state) in
        [(1, 1, State::Suspect), (1, 1, State::Dead), (3, 8, State::Dead), (3, 3, State::Left)]
    {
        let mut membership = node(own);
        let out = tell(&mut membership, alloc::vec![claim("me", accusation, state)]);
        assert_eq!(membership.me().version(), Version { incarnation: accusation + 1, state: State::Alive });
        assert!(out.persist);
        assert_eq!(out.changes.len(), 1);
        assert_eq!(out.changes[0].kind, ChangeKind::Refuted);
        assert_eq!(out.changes[0].why, Why::Accused { state });
        assert_eq!(out.changes[0].by, name("accuser"));
        let told = membership.rumors().find(|rumor| rumor.claim.member.node == name("me")).expect("it is spread");
        assert_eq!(told.claim.member.incarnation, accusation + 1);
        assert_eq!(membership.local_health(), 1, "whoever is accused has reason to doubt itself");
        // To whoever still says so it repeats its answer, without rising again.
        let out = tell(&mut membership, alloc::vec![claim("me", accusation, State::Dead)]);
        let answer = MembershipMessage::Gossip { claims: alloc::vec![Claim::own(membership.me().clone())] };
        assert_eq!(out, Effects { sends: alloc::vec![(name("teller"), answer)], ..Effects::default() });
        assert_eq!(membership.me().incarnation, accusation + 1);
    }
}

#[test]
fn who_still_accuses_a_member_that_has_refuted_is_told_so() {
    for (heard, told) in [
        ((1, State::Suspect), true),
        ((1, State::Dead), true),
        ((1, State::Alive), false),
        ((2, State::Suspect), false),
    ] {
        let mut membership = node(1);
        tell(&mut membership, alloc::vec![claim("x", 2, State::Alive)]);
        let out = tell(&mut membership, alloc::vec![claim("x", heard.0, heard.1)]);
        let refutation = MembershipMessage::Gossip { claims: alloc::vec![claim("x", 2, State::Alive)] };
        assert_eq!(out.sends.contains(&(name("teller"), refutation)), told, "{heard:?}");
    }
}

#[test]
fn another_life_under_the_same_name_is_answered() {
    let mut membership = node(4);
    let other = Member { boot: 2, ..record(&name("me"), 4) };
    let out = tell(&mut membership, alloc::vec![Claim::own(other.clone())]);
    assert_eq!(membership.me().incarnation, 5);
    assert_eq!(out.changes[0].why, Why::OtherLife { address: other.address, boot: 2 });
    let mut out = Effects::default();
    let own_name =
        membership.handle(Time::ZERO, &name("me"), MembershipMessage::Gossip { claims: Vec::new() }, &mut out);
    assert_eq!(own_name, Err(MessageError::OwnName));
}

#[test]
fn h4_nobody_else_can_refute_or_stop_a_member() {
    let mut membership = node(1);
    tell(&mut membership, alloc::vec![claim("x", 1, State::Dead)]);
    let stopped = Member { stopped: true, ..in_state(&name("x"), 2, State::Dead) };
    for member in [record(&name("x"), 2), stopped] {
        let forged = Claim { member: member.into(), by: name("friend") };
        let mut out = Effects::default();
        let message = MembershipMessage::Gossip { claims: alloc::vec![forged] };
        let refused = membership.handle(Time::ZERO, &name("friend"), message, &mut out);
        assert!(matches!(refused, Err(MessageError::Owner { .. })), "{refused:?}");
        assert_eq!(out, Effects::default());
        assert_eq!(membership.member(&name("x")).expect("known").member.state, State::Dead);
    }
}

#[test]
fn incarnations_cannot_be_driven_to_their_end() {
    // Beyond the bound: malformed. Far ahead: passed over. At the very end: no answer, and no harm.
    let mut membership = node(1);
    let mut out = Effects::default();
    let message = MembershipMessage::Gossip { claims: alloc::vec![claim("me", INCARNATION_MAX + 1, State::Dead)] };
    assert!(membership.handle(Time::ZERO, &name("teller"), message, &mut out).is_err());
    for incarnation in [INCARNATION_MAX, INCARNATION_JUMP_MAX + 2] {
        let out = tell(
            &mut membership,
            alloc::vec![claim("me", incarnation, State::Dead), claim("x", incarnation, State::Dead)],
        );
        assert_eq!(out, Effects::default());
    }
    tell(&mut membership, alloc::vec![claim("me", INCARNATION_JUMP_MAX + 1, State::Dead)]);
    assert_eq!(membership.me().incarnation, INCARNATION_JUMP_MAX + 2);

    let mut last = node(INCARNATION_MAX);
    let out = tell(&mut last, alloc::vec![claim("me", INCARNATION_MAX, State::Dead)]);
    assert_eq!(out, Effects::default());
    let mut out = Effects::default();
    last.stop(Time::ZERO, &mut out);
    assert_eq!(last.me().incarnation, INCARNATION_MAX);
}

#[test]
fn a_digest_shows_a_returner_what_is_remembered_of_it() {
    let mut membership = node(2);
    let mut out = Effects::default();
    let entries =
        alloc::vec![DigestEntry { node: name("me"), version: Version { incarnation: 7, state: State::Dead } }];
    let digest = Digest { sender: record(&name("other"), 1).into(), after: None, upto: None, entries };
    membership
        .handle(Time::ZERO, &name("other"), MembershipMessage::Digest(digest), &mut out)
        .expect("keeps the rules");
    assert_eq!(membership.me().incarnation, 8);
    assert!(out.persist);
    let answer = out.sends.iter().find_map(|(_, message)| match message {
        MembershipMessage::Records { claims, .. } => claims.iter().find(|claim| claim.member.node == name("me")),
        _ => None,
    });
    assert_eq!(answer.expect("told at once").member.incarnation, 8);
}

#[test]
fn who_refutes_what_a_list_says_tells_its_sender_at_once() {
    let mut membership = node(2);
    for (claims, answers) in
        [(alloc::vec![claim("me", 2, State::Dead)], true), (alloc::vec![claim("x", 2, State::Dead)], false)]
    {
        let mut out = Effects::default();
        let message = MembershipMessage::Records { claims, wanted: Vec::new() };
        membership.handle(Time::ZERO, &name("other"), message, &mut out).expect("keeps the rules");
        let claims = alloc::vec![claim("me", 3, State::Alive)];
        let answer = MembershipMessage::Records { claims, wanted: Vec::new() };
        assert_eq!(out.sends.contains(&(name("other"), answer)), answers);
    }
}

fn states() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Alive), Just(State::Suspect), Just(State::Dead), Just(State::Left)]
}

proptest! {
    #[test]
    fn who_has_heard_the_same_agrees_in_whatever_order(
        told in prop::collection::vec((0..3_u8, 0..4_u64, states()), 1..12),
        order in any::<u64>(),
    ) {
        // The first word about each member is that it lives: one who is only known to have left is not remembered.
        let known: Vec<Claim> = ["x0", "x1", "x2"].map(|subject| claim(subject, 0, State::Alive)).into();
        let claims: Vec<Claim> =
            told.iter().map(|(subject, incarnation, state)| claim(&alloc::format!("x{subject}"), *incarnation, *state)).collect();
        let mut shuffled = claims.clone();
        Rng::labelled(order, "order").shuffle(&mut shuffled);
        let versions = |claims: &[Claim]| {
            let mut membership = node(1);
            tell(&mut membership, known.clone());
            tell(&mut membership, claims.to_vec());
            ["x0", "x1", "x2"].map(|subject| membership.member(&name(subject)).expect("known").member.version())
        };
        let oracle = ["x0", "x1", "x2"].map(|subject| {
            let about = claims.iter().chain(&known).filter(|claim| claim.member.node == name(subject));
            about.map(|claim| claim.member.version()).max().expect("known")
        });
        prop_assert_eq!(versions(&claims), oracle);
        prop_assert_eq!(versions(&shuffled), oracle);
    }
}
