//! Dots that nobody has to hear of any more: of each actor all up to a counter. Never says what became of them.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Dot, Malformed, VersionVector};
use crate::id::ActorId;
use crate::limits;

/// For each actor, a counter: the dots up to it are below the floor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(ActorId, u64)>", into = "Vec<(ActorId, u64)>")]
pub struct Floor {
    upto: BTreeMap<ActorId, u64>,
}

impl Floor {
    /// The floor that nothing is below.
    #[must_use]
    pub const fn new() -> Self {
        Self { upto: BTreeMap::new() }
    }

    /// Whether nothing is below it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.upto.is_empty()
    }

    /// The greatest counter of the actor that is below it; 0 if none is.
    #[must_use]
    pub fn get(&self, actor: ActorId) -> u64 {
        self.upto.get(&actor).copied().unwrap_or(0)
    }

    /// Whether the dot is below it.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        dot.counter <= self.get(dot.actor)
    }

    /// Whether all dots of the vector are below it.
    #[must_use]
    pub fn covers_all(&self, known: &VersionVector) -> bool {
        known.iter().all(|span| span.upto <= self.get(span.actor))
    }

    /// Whether everything that is below the other is below this one.
    #[must_use]
    pub fn descends(&self, other: &Self) -> bool {
        other.upto.iter().all(|(actor, upto)| *upto <= self.get(*actor))
    }

    /// Raises it above all dots of the vector. Says whether it could: there is room for [`limits::ACTORS_MAX`] actors.
    #[must_use]
    pub fn raise_above(&mut self, known: &VersionVector) -> bool {
        let mut raised = self.upto.clone();
        for span in known.iter() {
            let upto = raised.entry(span.actor).or_default();
            *upto = span.upto.max(*upto);
        }
        let room = raised.len() <= limits::ACTORS_MAX;
        if room {
            self.upto = raised;
        }
        room
    }

    /// Raises it to wherever the other is higher. Actors beyond [`limits::ACTORS_MAX`] are left out: a floor that is too
    /// low only keeps more than it must. Says whether anything changed.
    pub fn raise(&mut self, other: &Self) -> bool {
        let before = self.clone();
        for (&actor, &upto) in &other.upto {
            let full = self.upto.len() >= limits::ACTORS_MAX;
            match self.upto.entry(actor) {
                Entry::Occupied(mut own) => {
                    let highest = upto.max(*own.get());
                    own.insert(highest);
                }
                Entry::Vacant(_) if full => {}
                Entry::Vacant(own) => {
                    own.insert(upto);
                }
            }
        }
        *self != before
    }

    /// What is below both.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let both = self.upto.iter().map(|(&actor, &upto)| (actor, upto.min(other.get(actor))));
        Self { upto: both.filter(|(_, upto)| *upto > 0).collect() }
    }
}

impl From<Floor> for Vec<(ActorId, u64)> {
    fn from(floor: Floor) -> Self {
        floor.upto.into_iter().collect()
    }
}

impl TryFrom<Vec<(ActorId, u64)>> for Floor {
    type Error = Malformed;

    fn try_from(wire: Vec<(ActorId, u64)>) -> Result<Self, Malformed> {
        if wire.len() > limits::ACTORS_MAX {
            return Err(Malformed::SpanCount { found: wire.len() });
        }
        let mut last: Option<ActorId> = None;
        for &(actor, upto) in &wire {
            if upto == 0 || upto > limits::COUNTER_MAX {
                return Err(Malformed::Span { actor, after: 0, count: upto });
            }
            if last.is_some_and(|last| last >= actor) {
                return Err(Malformed::SpanOrder { actor, after: 0 });
            }
            last = Some(actor);
        }
        Ok(Self { upto: wire.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn dots() -> impl Iterator<Item = Dot> {
        (1..=3).flat_map(|actor| (1..=8).map(move |counter| Dot { actor: ActorId(actor), counter }))
    }

    fn below(floor: &Floor) -> BTreeSet<Dot> {
        dots().filter(|dot| floor.covers(*dot)).collect()
    }

    fn any_floor() -> impl Strategy<Value = Floor> {
        prop::collection::btree_map(1_u128..=3, 1_u64..=7, 0..=3)
            .prop_map(|upto| Floor { upto: upto.into_iter().map(|(actor, upto)| (ActorId(actor), upto)).collect() })
    }

    proptest! {
        #[test]
        fn a_floor_is_the_set_of_the_dots_below_it(one in any_floor(), other in any_floor()) {
            let (of_one, of_other) = (below(&one), below(&other));
            let mut raised = one.clone();
            prop_assert_eq!(raised.raise(&other), !one.descends(&other));
            prop_assert_eq!(below(&raised), &of_one | &of_other);
            prop_assert_eq!(below(&one.meet(&other)), &of_one & &of_other);
            prop_assert_eq!(one.descends(&other), of_other.is_subset(&of_one));
            let wire = postcard::to_allocvec(&one).expect("serializes");
            prop_assert_eq!(postcard::from_bytes::<Floor>(&wire).expect("parses"), one);
        }

        #[test]
        fn it_is_raised_above_a_vector_and_not_further(
            floor in any_floor(),
            known in prop::collection::btree_set((1_u128..=3, 1_u64..=7), 0..6),
        ) {
            let mut vector = VersionVector::new();
            for &(actor, counter) in &known {
                vector.insert(Dot { actor: ActorId(actor), counter });
            }
            let mut raised = floor.clone();
            prop_assert!(raised.raise_above(&vector) && raised.covers_all(&vector) && raised.descends(&floor));
            for actor in (1..=3).map(ActorId) {
                prop_assert_eq!(raised.get(actor), floor.get(actor).max(vector.get(actor)));
            }
        }
    }

    #[test]
    fn malformed_floors_are_refused() {
        let actor = ActorId;
        for wire in [
            vec![(actor(1), 0)],
            vec![(actor(1), limits::COUNTER_MAX + 1)],
            vec![(actor(2), 1), (actor(1), 1)],
            vec![(actor(1), 1), (actor(1), 2)],
            (0..=1_000).map(|number| (actor(number), 1)).collect(),
        ] {
            assert!(Floor::try_from(wire.clone()).is_err(), "{wire:?}");
        }
    }

    #[test]
    fn a_floor_has_room_for_so_many_actors() {
        let mut floor = Floor { upto: (0..1_000).map(|number| (ActorId(number), 1)).collect() };
        let mut vector = VersionVector::new();
        vector.insert(Dot { actor: ActorId(5_000), counter: 1 });
        assert!(!floor.raise_above(&vector));
        assert!(!floor.raise(&Floor { upto: [(ActorId(5_000), 1)].into() }));
    }
}
