//! Whatever arrives, a node goes on, stays bounded and believes itself alive.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use proptest::prelude::*;

use super::harness::{World, in_state, name, record};
use crate::config::Timing;
use crate::id::{ActorId, Address, NodeId, Zone};
use crate::limits;
use crate::membership::{
    Claim, Digest, DigestEntry, Effects, Member, MemberError, Membership, MembershipMessage, MessageError,
    PIGGYBACK_CLAIMS_MAX, SYNC_MEMBERS_MAX, State, Summary, Version,
};
use crate::rng::Rng;
use crate::time::Time;

fn node() -> Membership {
    let remembered = (0..5).map(|number| record(&name(&format!("n{number}")), 3));
    Membership::new(record(&name("me"), 1), Timing::default(), Rng::labelled(1, "hostile"), remembered)
}

#[test]
fn what_breaks_the_rules_is_refused_whole() {
    let good = Claim::own(record(&name("new"), 1));
    let tagged =
        |tags: Vec<(String, String)>| Claim::own(Member { tags: tags.into_iter().collect(), ..record(&name("x"), 1) });
    let many = (0..=limits::TAGS_MAX).map(|tag| (format!("{tag}"), String::new())).collect();
    let alive_and_stopped = Claim::own(Member { stopped: true, ..record(&name("x"), 1) });
    let gossip = |bad: Claim| MembershipMessage::Gossip { claims: alloc::vec![good.clone(), bad] };
    let entry = |node: &str| DigestEntry { node: name(node), version: Version { incarnation: 1, state: State::Alive } };
    let digest = |sender: &str, entries| {
        MembershipMessage::Digest(Digest {
            sender: record(&name(sender), 1).into(),
            after: Some(name("b")),
            upto: Some(name("y")),
            entries,
        })
    };
    let far = DigestEntry { version: Version { incarnation: u64::MAX, state: State::Alive }, ..entry("c") };
    let cases = [
        (gossip(tagged(many)), "17 tags"),
        (gossip(tagged(alloc::vec![(String::new(), String::new())])), "name of 0 bytes"),
        (gossip(tagged(alloc::vec![("k".into(), "v".repeat(129))])), "value of 129"),
        (gossip(alive_and_stopped), "only a dead member can be stopped"),
        (gossip(Claim::own(record(&name("x"), u64::MAX))), "incarnation"),
        (gossip(Claim { member: record(&name("x"), 1).into(), by: name("y") }), "only x itself"),
        (MembershipMessage::Gossip { claims: alloc::vec![good.clone(); PIGGYBACK_CLAIMS_MAX + 2] }, "18 claims"),
        (
            MembershipMessage::Records { claims: Vec::new(), wanted: alloc::vec![name("x"); SYNC_MEMBERS_MAX + 1] },
            "257 wanted",
        ),
        (digest("other", Vec::new()), "came from peer"),
        (digest("peer", alloc::vec![entry("d"), entry("c")]), "entry for c"),
        (digest("peer", alloc::vec![entry("c"), entry("c")]), "entry for c"),
        (digest("peer", alloc::vec![entry("b")]), "entry for b"),
        (digest("peer", alloc::vec![entry("z")]), "entry for z"),
        (digest("peer", alloc::vec![far]), "entry for c"),
        (
            digest("peer", (0..=SYNC_MEMBERS_MAX).map(|number| entry(&format!("c{number:03}"))).collect()),
            "257 digest entries",
        ),
    ];
    for (message, expected) in cases {
        let (mut membership, mut out) = (node(), Effects::default());
        let refused = membership.handle(Time::ZERO, &name("peer"), message, &mut out).expect_err(expected);
        assert!(format!("{refused}").contains(expected), "{refused}");
        assert_eq!(out, Effects::default());
        assert!(membership.member(&name("new")).is_none(), "{expected}: dropped whole");
    }
    assert!(matches!(MessageError::from(MemberError::Tags { node: name("x"), count: 17 }), MessageError::Member(_)));
}

#[test]
fn a_flood_of_names_fills_the_list_and_no_more() {
    let (mut membership, mut out) = (node(), Effects::default());
    let real = membership.member(&name("n0")).expect("known").member.clone();
    for number in 0..limits::MEMBERS_MAX + 1_000 {
        let member = record(&name(&format!("flood-{number}")), 1);
        membership.absorb(Time::ZERO, &name("n1"), alloc::vec![member], &mut out);
    }
    assert_eq!(membership.members().count(), limits::MEMBERS_MAX);
    assert!(membership.rumors().count() <= limits::MEMBERS_MAX);
    assert_eq!(membership.member(&name("n0")).expect("kept").member, real);
    // One that has left makes room.
    let left = in_state(&name("flood-7"), 1, State::Left);
    membership.absorb(Time::ZERO, &name("n1"), alloc::vec![left], &mut out);
    membership.absorb(Time::ZERO, &name("n1"), alloc::vec![record(&name("late"), 1)], &mut out);
    assert!(membership.member(&name("late")).is_some());
    assert!(membership.member(&name("flood-7")).is_none());
    assert_eq!(membership.members().count(), limits::MEMBERS_MAX);
}

#[test]
fn invented_witnesses_do_not_shorten_a_suspicion() {
    let mut world = World::settled(5, 1);
    let (victim, peer) = (world.processes[4].node.clone(), world.processes[1].node.clone());
    world.kill(4);
    let member =
        Member { state: State::Suspect, ..Member::clone(&world.membership(0).member(&victim).expect("known").member) };
    let accuse =
        |by: NodeId| MembershipMessage::Gossip { claims: alloc::vec![Claim { member: member.clone().into(), by }] };
    for witness in [peer.clone(), name("ghost-1"), name("ghost-2"), victim.clone(), peer.clone()] {
        let message = accuse(witness);
        world.call(0, |membership, now, out| membership.handle(now, &peer, message, out).expect("keeps the rules"));
    }
    let known = world.membership(0).suspicions.get(&victim).expect("suspected");
    assert_eq!(known.accusers(), [peer]);
}

#[test]
fn a_stranger_is_answered_asked_who_it_is_and_no_member_by_that_alone() {
    let (mut membership, mut out) = (node(), Effects::default());
    membership.on_timer(Time::ZERO, &mut Effects::default());
    let stranger = name("stranger");
    for sequence in 0..10 {
        let ping = MembershipMessage::Ping { sequence, claims: Vec::new() };
        membership.handle(Time::ZERO, &stranger, ping, &mut out).expect("keeps the rules");
    }
    let kinds =
        |wanted: fn(&MembershipMessage) -> bool| out.sends.iter().filter(|(_, message)| wanted(message)).count();
    assert_eq!(kinds(|message| matches!(message, MembershipMessage::Ack { .. })), 10);
    assert_eq!(kinds(|message| matches!(message, MembershipMessage::Summary(_))), 1);
    assert!(membership.member(&stranger).is_none());
}

#[test]
fn helpers_answer_at_once_what_they_need_not_ask_and_bound_what_they_do() {
    let mut membership = node();
    membership.on_timer(Time::ZERO, &mut Effects::default());
    let asker = name("n1");
    let ask = |membership: &mut Membership, sequence, target: &str| {
        let mut out = Effects::default();
        let request = MembershipMessage::PingRequest { sequence, target: name(target), claims: Vec::new() };
        membership.handle(Time::ZERO, &asker, request, &mut out).expect("keeps the rules");
        out.sends
    };
    let own = ask(&mut membership, 1, "me");
    assert!(matches!(own.as_slice(), [(to, MembershipMessage::Ack { sequence: 1, .. })] if *to == asker));
    let unknown = ask(&mut membership, 2, "nobody");
    assert!(matches!(unknown.as_slice(), [(to, MembershipMessage::Nack { sequence: 2, .. })] if *to == asker));
    let pings = (0..1_000).filter(|&sequence| !ask(&mut membership, sequence, "n2").is_empty()).count();
    assert_eq!(pings, 256);
}

#[test]
fn only_the_answer_of_the_one_asked_counts() {
    for (answerer, right_number, helpers_asked) in
        [("n0", true, 0), ("n0", false, 3), ("n1", true, 3), ("ghost", true, 3)]
    {
        let (mut membership, mut out) = (node(), Effects::default());
        membership.note_failure(Time::ZERO, &name("n0"), &mut out);
        let asked = out.sends.iter().find_map(|(to, message)| match message {
            MembershipMessage::Ping { sequence, .. } if *to == name("n0") => Some(*sequence),
            _ => None,
        });
        let sequence = asked.expect("probed at once") + u64::from(!right_number);
        let answer = MembershipMessage::Ack { sequence, claims: Vec::new() };
        membership.handle(Time::from_ms(1), &name(answerer), answer, &mut out).expect("keeps the rules");
        let mut out = Effects::default();
        membership.on_timer(Time::ZERO + Timing::default().probe_timeout, &mut out);
        let requests = out.sends.iter().filter(
            |(_, message)| matches!(message, MembershipMessage::PingRequest { target, .. } if *target == name("n0")),
        );
        assert_eq!(requests.count(), helpers_asked, "{answerer}, right number: {right_number}");
    }
}

fn names() -> impl Strategy<Value = NodeId> {
    prop_oneof![Just("me"), Just("n0"), Just("n1"), Just("n2"), Just("x"), Just("y")].prop_map(name)
}

fn members() -> impl Strategy<Value = Member> {
    let states = prop_oneof![Just(State::Alive), Just(State::Suspect), Just(State::Dead), Just(State::Left)];
    let incarnations = prop_oneof![0..6_u64, any::<u64>(), (1_u64 << 62) - 1..(1 << 62) + 2];
    (names(), incarnations, states, any::<bool>(), 0..4_u64, 0..20_u8).prop_map(
        |(node, incarnation, state, stopped, boot, tags)| Member {
            node,
            address: Address::new("host:1").expect("a good address"),
            incarnation,
            state,
            stopped,
            actor: ActorId(u128::from(boot)),
            boot,
            zone: Zone::new("z").expect("a good name"),
            weight: NonZeroU16::MIN,
            tags: (0..tags / 5 * 5).map(|tag| (format!("{tag}"), "v".repeat(usize::from(tag)))).collect(),
        },
    )
}

fn messages() -> impl Strategy<Value = MembershipMessage> {
    let claims = || {
        prop::collection::vec((members(), names()).prop_map(|(member, by)| Claim { member: member.into(), by }), 0..5)
    };
    let own_claims = || prop::collection::vec(members().prop_map(Claim::own), 0..5);
    let sequences = || prop_oneof![0..4_u64, any::<u64>()];
    let entries = prop::collection::btree_map(names(), members().prop_map(|member| member.version()), 0..5);
    let digests = (members(), prop::option::of(names()), prop::option::of(names()), entries);
    prop_oneof![
        (sequences(), own_claims()).prop_map(|(sequence, claims)| MembershipMessage::Ping { sequence, claims }),
        (sequences(), claims()).prop_map(|(sequence, claims)| MembershipMessage::Ack { sequence, claims }),
        (sequences(), names(), own_claims()).prop_map(|(sequence, target, claims)| MembershipMessage::PingRequest {
            sequence,
            target,
            claims
        }),
        (sequences(), claims()).prop_map(|(sequence, claims)| MembershipMessage::Nack { sequence, claims }),
        own_claims().prop_map(|claims| MembershipMessage::Gossip { claims }),
        claims().prop_map(|claims| MembershipMessage::Gossip { claims }),
        digests.prop_map(|(sender, after, upto, entries)| {
            let entries = entries.into_iter().map(|(node, version)| DigestEntry { node, version }).collect();
            MembershipMessage::Digest(Digest { sender: sender.into(), after, upto, entries })
        }),
        (members(), any::<u64>())
            .prop_map(|(sender, checksum)| { MembershipMessage::Summary(Summary { sender: sender.into(), checksum }) }),
        (own_claims(), prop::collection::vec(names(), 0..5))
            .prop_map(|(claims, wanted)| MembershipMessage::Records { claims, wanted }),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_messages_harms_a_node(
        script in prop::collection::vec((0..3_000_u64, names(), messages()), 1..40),
    ) {
        let mut membership = node();
        let mut now = Time::ZERO;
        let mut refused = 0;
        for (wait_ms, from, message) in script {
            let own = membership.me().incarnation;
            now = now + core::time::Duration::from_millis(wait_ms);
            let mut out = Effects::default();
            let fine = message.check(&from).is_ok() && from != name("me");
            let taken = membership.handle(now, &from, message, &mut out).is_ok();
            prop_assert_eq!(taken, fine);
            refused += usize::from(!taken);
            membership.on_timer(now, &mut out);
            prop_assert!(out.sends.len() < 64, "{} sends", out.sends.len());
            for (to, message) in &out.sends {
                prop_assert!(*to != name("me"));
                prop_assert_eq!(message.check(&name("me")), Ok(()));
            }
            let me = membership.me();
            prop_assert_eq!(me.state, State::Alive);
            prop_assert!(me.incarnation == own || (me.incarnation > own && out.persist));
            prop_assert!(membership.next_wake().is_some_and(|wake| wake >= now));
        }
        prop_assert!(membership.members().count() <= 9);
        prop_assert!(refused <= 40);
    }

    #[test]
    fn messages_survive_the_wire_and_noise_is_no_message(
        message in messages(),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = postcard::to_allocvec(&message).expect("serializes");
        prop_assert_eq!(postcard::from_bytes::<MembershipMessage>(&bytes).ok(), Some(message));
        if let Ok(message) = postcard::from_bytes::<MembershipMessage>(&noise) {
            let mut membership = node();
            let _refused_or_not = membership.handle(Time::ZERO, &name("peer"), message, &mut Effects::default());
            prop_assert_eq!(membership.me().state, State::Alive);
        }
    }
}
