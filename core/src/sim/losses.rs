//! How much may be lost: the world never breaks more than the protocol claims to survive, or what it finds would prove
//! nothing. Of the stores that acknowledged a write, and those for which a fallback did, at most W-1 may lose it before all
//! its owners have it.
//!
//! That is decided here and nowhere else, from what clients were promised and by whom. It is never decided from what stores
//! hold, so that no fault of theirs can hide behind it, with one exception: a write that is on the disks of all its owners
//! has as many copies as it can have, and its account starts afresh.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::network::HostIndex;
use crate::causality::Dot;
use crate::config::Replication;
use crate::id::{Key, Token};

/// A write that a client was told is safe.
#[derive(Clone, Debug)]
struct Promise {
    dot: Dot,
    /// Who said so, or will have it of who said so.
    stores: BTreeSet<HostIndex>,
    /// Who has lost it since.
    lost: BTreeSet<HostIndex>,
}

/// A write that is not answered yet: whoever loses data meanwhile may have said already that it has it.
#[derive(Clone, Debug)]
struct Open {
    key: Key,
    lost: BTreeSet<HostIndex>,
}

/// The account of every write.
#[derive(Clone, Debug)]
pub(super) struct Losses {
    /// W-1.
    each_write: usize,
    /// Stores that may be without what they lost at one time: each of them gets it back from others that have it.
    at_once: usize,
    promises: BTreeMap<Key, Vec<Promise>>,
    open: BTreeMap<Token, Open>,
    /// Stores that lost everything and have not been seen whole since.
    pulling: BTreeSet<HostIndex>,
    /// Rows that were damaged and have not been seen whole since.
    damaged: BTreeSet<(HostIndex, Key)>,
}

/// What may be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One key.
    Key(Key),
    /// Everything that is durable, for a while: what a store had is unknown to it.
    Some,
    /// Everything, and the store must pull it again.
    Store,
}

impl Losses {
    pub(super) fn new(replication: Replication) -> Self {
        let (r, w) = (usize::from(replication.r.get()), usize::from(replication.w.get()));
        // A store pulls from so many others that every earlier quorum has one of them: with fewer quorums' worth of whole
        // stores it would wait for one that waits for it.
        let at_once = (w - 1).min((r.min(w) - 1).max(1));
        Self {
            each_write: w - 1,
            at_once,
            promises: BTreeMap::new(),
            open: BTreeMap::new(),
            pulling: BTreeSet::new(),
            damaged: BTreeSet::new(),
        }
    }

    /// A client sends a write.
    pub(super) fn begin(&mut self, token: Token, key: Key) {
        self.open.insert(token, Open { key, lost: BTreeSet::new() });
    }

    /// It got no answer, or none that promises anything.
    pub(super) fn give_up(&mut self, token: Token) {
        self.open.remove(&token);
    }

    /// It was told that its write is safe, because these stores have it or are about to. Promises about writes that this one
    /// replaced are kept from now on by keeping it.
    pub(super) fn promise(
        &mut self,
        token: Token,
        dot: Dot,
        stores: BTreeSet<HostIndex>,
        replaced: impl Fn(Dot) -> bool,
    ) {
        let Some(open) = self.open.remove(&token) else { return };
        let lost = stores.intersection(&open.lost).copied().collect();
        let promises = self.promises.entry(open.key).or_default();
        promises.retain(|promise| promise.dot != dot && !replaced(promise.dot));
        promises.push(Promise { dot, stores, lost });
    }

    /// A store has dropped what it held of a key, or of all, because all owners of now have it: they stand for it.
    pub(super) fn hand_over(
        &mut self,
        store: HostIndex,
        key: Option<&Key>,
        owners: impl Fn(&Key) -> BTreeSet<HostIndex>,
    ) {
        let promises = self.promises.iter_mut().filter(|(of, _)| key.is_none_or(|key| key == *of));
        for (key, promises) in promises {
            for promise in promises.iter_mut().filter(|promise| promise.stores.contains(&store)) {
                promise.stores.remove(&store);
                promise.lost.remove(&store);
                promise.stores.extend(owners(key));
            }
        }
    }

    /// Stores that lost everything and have not been seen whole since.
    pub(super) fn pulling(&self) -> impl Iterator<Item = HostIndex> {
        self.pulling.iter().copied()
    }

    /// A store that lost everything is whole again.
    pub(super) fn is_whole(&mut self, store: HostIndex) {
        self.pulling.remove(&store);
    }

    /// Gives up what is whole again of the rows that were damaged.
    pub(super) fn keep_damaged(&mut self, is_damaged: impl Fn(HostIndex, &Key) -> bool) {
        self.damaged.retain(|(store, key)| is_damaged(*store, key));
    }

    /// Stores that are not whole, as far as it touches what is lost.
    fn not_whole(&self, scope: &Scope) -> BTreeSet<HostIndex> {
        let touches = |key: &Key| !matches!(scope, Scope::Key(only) if only != key);
        let damaged = self.damaged.iter().filter(|(_, key)| touches(key)).map(|(store, _)| *store);
        damaged.chain(self.pulling.iter().copied()).collect()
    }

    /// Whether a store may lose so much, and if so, notes that it does. `owners` gives the owners of a key if all of them
    /// have the write on their disks, or one that replaced it.
    pub(super) fn lose(
        &mut self,
        store: HostIndex,
        scope: &Scope,
        owners: impl Fn(&Key, Dot) -> Option<BTreeSet<HostIndex>>,
    ) -> bool {
        let touches = |key: &Key| !matches!(scope, Scope::Key(only) if only != key);
        let others_not_whole = self.not_whole(scope).into_iter().filter(|other| *other != store).count();
        if *scope != Scope::Some && others_not_whole >= self.at_once {
            return false;
        }
        let may = |lost: &BTreeSet<HostIndex>| lost.len() + usize::from(!lost.contains(&store)) <= self.each_write;
        if self.open.values().any(|open| touches(&open.key) && !may(&open.lost)) {
            return false;
        }
        for (key, promises) in self.promises.iter_mut().filter(|(key, _)| touches(key)) {
            for promise in promises {
                if promise.stores.contains(&store)
                    && !may(&promise.lost)
                    && let Some(owners) = owners(key, promise.dot)
                {
                    (promise.stores, promise.lost) = (owners, BTreeSet::new());
                }
                if promise.stores.contains(&store) && !may(&promise.lost) {
                    return false;
                }
            }
        }
        for open in self.open.values_mut().filter(|open| touches(&open.key)) {
            open.lost.insert(store);
        }
        for (_, promises) in self.promises.iter_mut().filter(|(key, _)| touches(key)) {
            let broken = promises.iter_mut().filter(|promise| promise.stores.contains(&store));
            broken.for_each(|promise| _ = promise.lost.insert(store));
        }
        match scope {
            Scope::Key(key) => _ = self.damaged.insert((store, key.clone())),
            Scope::Some => {}
            Scope::Store => _ = self.pulling.insert(store),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ActorId;

    const A: HostIndex = 0;
    const B: HostIndex = 1;
    const C: HostIndex = 2;

    fn key() -> Key {
        Key::new("cart").expect("a good key")
    }

    fn dot(counter: u64) -> Dot {
        Dot { actor: ActorId(1), counter }
    }

    /// A write that these stores acknowledged, with quorums of N, R and W.
    fn promised(n: u8, r: u8, w: u8, stores: &[HostIndex]) -> Losses {
        let mut losses = Losses::new(Replication::new(n, r, w).expect("good quorums"));
        losses.begin(Token(1), key());
        losses.promise(Token(1), dot(1), stores.iter().copied().collect(), |_| false);
        losses
    }

    const NOT_EVERYWHERE: fn(&Key, Dot) -> Option<BTreeSet<HostIndex>> = |_, _| None;

    #[test]
    fn at_most_one_store_fewer_than_a_write_quorum_loses_a_write() {
        for (n, r, w, stores, allowed) in [
            (3, 2, 2, &[A, B][..], &[true, false][..]),
            (3, 2, 2, &[A, B, C], &[true, false, false]),
            (3, 2, 2, &[A], &[true]),
            (3, 3, 1, &[A], &[false]),
            (5, 3, 3, &[A, B, C], &[true, true, false]),
        ] {
            let mut losses = promised(n, r, w, stores);
            let given: Vec<bool> =
                [A, B, C].into_iter().map(|store| losses.lose(store, &Scope::Key(key()), NOT_EVERYWHERE)).collect();
            assert_eq!(given[..stores.len()], *allowed, "{n}, {r}, {w}, {stores:?}");
            let other = Scope::Key(Key::new("other").expect("a good key"));
            let spared = losses.lose(A, &other, NOT_EVERYWHERE);
            assert_eq!(spared, w > 1, "of another key nothing was promised, but one copy may be all there is");
        }
    }

    #[test]
    fn a_write_that_is_everywhere_starts_afresh() {
        let mut losses = promised(3, 2, 2, &[A, B]);
        assert!(losses.lose(A, &Scope::Some, NOT_EVERYWHERE));
        assert!(!losses.lose(B, &Scope::Some, NOT_EVERYWHERE));
        assert!(losses.lose(B, &Scope::Some, |_, _| Some([A, B, C].into())));
        assert!(!losses.lose(C, &Scope::Some, NOT_EVERYWHERE), "it has been lost once since");
    }

    #[test]
    fn what_is_lost_while_a_write_is_under_way_counts() {
        let mut losses = Losses::new(Replication::default());
        losses.begin(Token(1), key());
        assert!(losses.lose(A, &Scope::Some, NOT_EVERYWHERE));
        assert!(!losses.lose(B, &Scope::Some, NOT_EVERYWHERE), "both may have acknowledged it already");
        losses.promise(Token(1), dot(1), [A, B].into(), |_| false);
        assert!(!losses.lose(B, &Scope::Some, NOT_EVERYWHERE));
    }

    #[test]
    fn a_write_that_was_replaced_is_kept_by_keeping_what_replaced_it() {
        let mut losses = promised(3, 2, 2, &[A, B]);
        assert!(losses.lose(A, &Scope::Some, NOT_EVERYWHERE));
        losses.begin(Token(2), key());
        losses.promise(Token(2), dot(2), [B, C].into(), |replaced| replaced == dot(1));
        assert!(losses.lose(B, &Scope::Some, NOT_EVERYWHERE));
        assert!(!losses.lose(C, &Scope::Some, NOT_EVERYWHERE));
    }

    #[test]
    fn stores_that_pull_need_whole_ones() {
        let mut losses = Losses::new(Replication::default());
        assert!(losses.lose(A, &Scope::Store, NOT_EVERYWHERE));
        assert!(!losses.lose(B, &Scope::Store, NOT_EVERYWHERE));
        losses.is_whole(A);
        assert!(losses.lose(B, &Scope::Store, NOT_EVERYWHERE));
        assert_eq!(losses.pulling().collect::<Vec<_>>(), [B]);
    }

    #[test]
    fn a_row_that_is_damaged_is_whole_elsewhere() {
        let mut losses = Losses::new(Replication::default());
        assert!(losses.lose(A, &Scope::Key(key()), NOT_EVERYWHERE));
        for scope in [Scope::Key(key()), Scope::Store] {
            assert!(!losses.lose(B, &scope, NOT_EVERYWHERE));
        }
        losses.keep_damaged(|_, _| false);
        assert!(losses.lose(B, &Scope::Store, NOT_EVERYWHERE));
    }
}
