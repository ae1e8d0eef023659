//! Questions are answered by whom they concern, once, and end in time.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::{SECOND, World, event_name, members, name};
use crate::gossip::{Answers, Asked, Audience, HEALTH, Heard, QuestionId, RefusedError, Reply};
use crate::id::NodeId;
use crate::limits;
use crate::time::Time;

fn asked(text: &str, timeout: Duration, to: Audience) -> Asked {
    Asked { name: event_name(text), payload: Bytes::from_static(b"?"), timeout, to }
}

impl World {
    fn ask(&mut self, place: usize, asked: Asked) -> Result<QuestionId, RefusedError> {
        self.call(place, |gossip, now, members, out| gossip.ask(now, asked, members, out))
    }

    fn answers(&self, place: usize) -> Option<(Time, &Answers)> {
        self.nodes[place].heard.iter().find_map(|(at, heard)| match heard {
            Heard::Answers(answers) => Some((*at, answers)),
            _ => None,
        })
    }

    /// The questions that a node was put.
    fn put(&self, place: usize) -> Vec<(NodeId, QuestionId)> {
        let put = self.nodes[place].heard.iter().filter_map(|(_, heard)| match heard {
            Heard::Question { from, id, .. } => Some((from.clone(), *id)),
            _ => None,
        });
        put.collect()
    }

    /// Lets every node but some answer what it was put.
    fn answer_all(&mut self, silent: &[usize]) {
        for place in (0..self.nodes.len()).filter(|place| !silent.contains(place)) {
            for (from, id) in self.put(place) {
                let text = alloc::format!("n{place}");
                let said = self.call(place, |g, now, _, out| g.answer(now, &from, id, Bytes::from(text), out));
                assert_eq!(said, Ok(()));
            }
        }
    }
}

#[test]
fn all_of_50_say_how_they_are_though_a_quarter_is_lost() {
    for seed in 0..5 {
        let mut world = World::new(50, seed, 250_000);
        world.run(SECOND);
        for place in 0..50 {
            world.call(place, |gossip, _, _, _| gossip.set_ready(place != 3));
        }
        let begin = world.now;
        let id = world.ask(0, asked(HEALTH, 10 * SECOND, Audience::All)).expect("asked");
        world.run(12 * SECOND);
        let (at, answers) = world.answers(0).expect("over");
        assert_eq!((answers.id, answers.missing.len(), answers.replies.len()), (id, 0, 50));
        assert!(at.since(begin) < 9 * SECOND, "it ended when all had answered: {:?}", at.since(begin));
        for (node, reply) in &answers.replies {
            let Reply::Health(health) = reply else { panic!("{node} says {reply:?}") };
            assert_eq!((health.is_ready, health.alive, health.dead), (*node != name("n3"), 50, 0));
        }
    }
}

#[test]
fn a_question_is_put_once_however_often_it_is_asked_again() {
    let mut world = World::new(5, 1, 500_000);
    world.run(SECOND);
    world.ask(2, asked("which version?", 20 * SECOND, Audience::All)).expect("asked");
    world.run(8 * SECOND);
    assert!((0..5).all(|place| world.put(place).len() == 1), "each once, the asker too");
    world.answer_all(&[]);
    world.run(10 * SECOND);
    let (_, answers) = world.answers(2).expect("over");
    let mut said: Vec<_> = answers.replies.clone();
    said.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = (0..5).map(|place| alloc::format!("n{place}"));
    let expected: Vec<_> = expected.map(|text| (name(&text), Reply::Answer(Bytes::from(text)))).collect();
    assert_eq!((said, answers.missing.len()), (expected, 0));
}

#[test]
fn only_those_are_asked_whom_it_concerns() {
    let tags = [(String::from("role"), String::from("web"))].into();
    let nodes = ["n3", "n1", "n3", "n9"].map(name).to_vec();
    for (to, expected, missing) in [
        (Audience::Tags(tags), &["n0", "n5"][..], &[][..]),
        (Audience::Nodes(nodes), &["n1", "n3"], &["n9"]),
        (Audience::Nodes(Vec::new()), &[], &[]),
    ] {
        let mut world = World::new(8, 2, 0);
        world.run(SECOND);
        world.ask(4, asked(HEALTH, SECOND, to)).expect("asked");
        world.run(SECOND);
        let (_, answers) = world.answers(4).expect("over");
        let mut said: Vec<_> = answers.replies.iter().map(|(node, _)| node.as_str()).collect();
        said.sort_unstable();
        assert_eq!(
            (&said[..], &answers.missing[..]),
            (expected, &missing.iter().map(|n| name(n)).collect::<Vec<_>>()[..])
        );
    }
}

#[test]
fn who_says_nothing_is_missing_at_the_time_out_and_who_dies_is_not_waited_for() {
    let mut world = World::new(6, 3, 0);
    world.run(SECOND);
    let begin = world.now;
    world.ask(0, asked("anyone?", 3 * SECOND, Audience::All)).expect("asked");
    world.run(SECOND);
    world.answer_all(&[4]);
    world.run(3 * SECOND);
    let (at, answers) = world.answers(0).expect("over");
    assert_eq!((at.since(begin), answers.replies.len(), &answers.missing[..]), (3 * SECOND, 5, &[name("n4")][..]));

    let mut world = World::new(6, 3, 0);
    world.run(SECOND);
    let begin = world.now;
    world.ask(0, asked("anyone?", 30 * SECOND, Audience::All)).expect("asked");
    world.run(SECOND);
    world.answer_all(&[4]);
    world.run(SECOND);
    assert!(world.answers(0).is_none(), "n4 may still answer");
    world.nodes[0].members = members(0, 6, &[4]);
    world.run(SECOND);
    let (at, answers) = world.answers(0).expect("over");
    assert!(at.since(begin) < 3 * SECOND && answers.missing == [name("n4")], "{answers:?}");
}

#[test]
fn a_name_of_nodes_that_is_not_known_is_said_to_be_unknown() {
    let mut world = World::new(2, 4, 0);
    world.run(SECOND);
    let question = asked("quorate.mood", SECOND, Audience::All);
    assert!(matches!(world.ask(0, question), Err(RefusedError::Reserved { .. })));
    // From a later version, which has more names.
    let question = crate::gossip::Question {
        id: QuestionId(7),
        name: event_name("quorate.mood"),
        payload: Bytes::new(),
        timeout_ms: 1_000,
    };
    let message = crate::gossip::GossipMessage::Question(question);
    let mut out = crate::gossip::Effects::default();
    let (now, node) = (world.now, &mut world.nodes[1]);
    node.gossip.handle(now, &name("n0"), message, &node.members, &mut out).expect("fine");
    let unknown = crate::gossip::GossipMessage::Reply { id: QuestionId(7), reply: Reply::Unknown };
    assert_eq!((out.sends, out.heard), ([(name("n0"), unknown)].to_vec(), Vec::new()));
}

#[test]
fn too_many_questions_are_refused() {
    let mut world = World::new(3, 5, 0);
    world.run(SECOND);
    for _ in 0..limits::QUESTIONS_MAX {
        world.ask(0, asked("anyone?", SECOND, Audience::All)).expect("asked");
    }
    assert!(matches!(world.ask(0, asked("anyone?", SECOND, Audience::All)), Err(RefusedError::Busy { .. })));
    world.run(2 * SECOND);
    world.ask(0, asked("anyone?", SECOND, Audience::All)).expect("asked again once they are over");
    for timeout in [Duration::ZERO, 61 * SECOND] {
        assert!(matches!(world.ask(0, asked("anyone?", timeout, Audience::All)), Err(RefusedError::Bounds(_))));
    }
}
