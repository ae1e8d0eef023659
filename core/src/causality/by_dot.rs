//! A few things by their dots. It knows nothing of what they are.

use alloc::vec::{self, Vec};

use super::Dot;

/// A map from dots, in their order. A key has few versions, nearly always one: a sorted list takes one allocation, of the
/// size of what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ByDot<V>(Vec<(Dot, V)>);

impl<V> Default for ByDot<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> ByDot<V> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains_key(&self, dot: Dot) -> bool {
        self.find(dot).is_ok()
    }

    pub(super) fn get(&self, dot: Dot) -> Option<&V> {
        self.find(dot).ok().map(|index| &self.0[index].1)
    }

    pub(super) fn get_mut(&mut self, dot: Dot) -> Option<&mut V> {
        self.find(dot).ok().map(|index| &mut self.0[index].1)
    }

    /// What is there already goes.
    pub(super) fn insert(&mut self, dot: Dot, value: V) {
        match self.find(dot) {
            Ok(index) => self.0[index].1 = value,
            Err(index) => self.0.insert(index, (dot, value)),
        }
    }

    pub(super) fn remove(&mut self, dot: Dot) {
        if let Ok(index) = self.find(dot) {
            self.0.remove(index);
        }
    }

    pub(super) fn retain(&mut self, mut keeps: impl FnMut(Dot, &mut V) -> bool) {
        self.0.retain_mut(|(dot, value)| keeps(*dot, value));
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (Dot, &V)> {
        self.0.iter().map(|(dot, value)| (*dot, value))
    }

    pub(super) fn keys(&self) -> impl DoubleEndedIterator<Item = Dot> {
        self.0.iter().map(|(dot, _)| *dot)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    fn find(&self, dot: Dot) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(&dot))
    }
}

impl<V> FromIterator<(Dot, V)> for ByDot<V> {
    fn from_iter<I: IntoIterator<Item = (Dot, V)>>(items: I) -> Self {
        let mut map = Self::new();
        items.into_iter().for_each(|(dot, value)| map.insert(dot, value));
        map
    }
}

impl<V> IntoIterator for ByDot<V> {
    type Item = (Dot, V);
    type IntoIter = vec::IntoIter<(Dot, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
