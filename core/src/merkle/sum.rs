//! The sum of the entries below a node of a hash tree. Knows nothing of where they lie.

use core::ops::{Add, AddAssign};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::id::Key;

/// So many entries, and the sum of their hashes modulo 2^128.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sum {
    /// The sum of the hashes.
    #[serde(with = "fixed")]
    pub hash: u128,
    /// How many entries.
    pub count: u64,
}

/// The lower half of a sum's hash: what is compared below the root. Two different nodes have the same one with a
/// probability of 2^-64; then their difference is found when either changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u64);

impl Sum {
    /// Nothing.
    pub const EMPTY: Self = Self { hash: 0, count: 0 };

    /// One entry: a key, and the digest of the dots of its live versions
    /// ([`SiblingSet::digest`](crate::causality::SiblingSet::digest)).
    #[must_use]
    pub fn of(key: &Key, dots: [u8; 16]) -> Self {
        let mut hash = Sha256::new();
        hash.update(u64::try_from(key.as_bytes().len()).expect("a length fits 64 bits").to_be_bytes());
        hash.update(key.as_bytes());
        hash.update(dots);
        let hash = hash.finalize();
        Self { hash: u128::from_be_bytes(*hash.first_chunk().expect("a SHA-256 has 32 bytes")), count: 1 }
    }

    /// Whether there is no entry.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.count == 0
    }

    /// The rest without a part of it; nothing if that is no part of this sum.
    #[must_use]
    pub fn without(self, part: Self) -> Option<Self> {
        let count = self.count.checked_sub(part.count)?;
        let rest = Self { hash: self.hash.wrapping_sub(part.hash), count };
        (count > 0 || rest.hash == 0).then_some(rest)
    }

    /// Its short form.
    #[must_use]
    pub fn digest(self) -> Digest {
        Digest(u64::try_from(self.hash & u128::from(u64::MAX)).expect("the lower half has 64 bits"))
    }
}

impl Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { hash: self.hash.wrapping_add(other.hash), count: self.count.saturating_add(other.count) }
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl core::iter::Sum for Sum {
    fn sum<I: Iterator<Item = Self>>(sums: I) -> Self {
        sums.fold(Self::EMPTY, Add::add)
    }
}

// Random bits: eight bytes, which a number of variable length would make ten of.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_be_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; 8]>::deserialize(deserializer).map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

/// Sixteen bytes, always.
mod fixed {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(hash: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        hash.to_be_bytes().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        <[u8; 16]>::deserialize(deserializer).map(u128::from_be_bytes)
    }
}
