//! Where a key lies on the ring, and a hash that is the same on every machine. Never a defence against an attacker who
//! may choose what is hashed by [`StableHasher`]: positions are SHA-256, state hashes are not.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::id::Key;

/// How many slices the ring is cut into, for ever: files do not depend on the number of threads.
pub const SLICES: u8 = 64;

/// The bits of a position that say which slice it is in.
const SLICE_BITS: u32 = SLICES.ilog2();

const _: () = assert!(1 << SLICE_BITS == SLICES);

/// A point on the ring of 2^64 points: the first 8 bytes of a SHA-256, big endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position(pub u64);

impl Position {
    /// The first point.
    pub const MIN: Self = Self(0);
    /// The last point; the next one clockwise is the first.
    pub const MAX: Self = Self(u64::MAX);

    /// Where a key lies.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        Self(key.place())
    }

    /// Where the bytes lie.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(digest::head(bytes))
    }

    /// The first 4 of the 8 bytes: the ring of 2^32 points that people see.
    #[must_use]
    pub fn short(self) -> u32 {
        u32::try_from(self.0 >> 32).expect("the upper half of 64 bits has 32")
    }

    /// The slice it is in.
    #[must_use]
    pub fn slice(self) -> Slice {
        Slice(u8::try_from(self.0 >> (u64::BITS - SLICE_BITS)).expect("a few bits fit a byte"))
    }

    /// The next point counter-clockwise.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }

    /// The next point clockwise.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One of the [`SLICES`] equal parts of the ring: the unit in which threads share the data, and in which dots are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Slice(u8);

/// A number that names no slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("slice {found}: slices are numbered 0 to {}", SLICES - 1)]
pub struct SliceError {
    /// The number found.
    pub found: u8,
}

impl Slice {
    /// All of them, clockwise from position 0.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..SLICES).map(Self)
    }

    /// Its number, 0 to 63.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its first position.
    #[must_use]
    pub fn first(self) -> Position {
        Position(u64::from(self.0) << (u64::BITS - SLICE_BITS))
    }

    /// Its last position.
    #[must_use]
    pub fn last(self) -> Position {
        Position(self.first().0 | (u64::MAX >> SLICE_BITS))
    }
}

impl TryFrom<u8> for Slice {
    type Error = SliceError;

    fn try_from(number: u8) -> Result<Self, SliceError> {
        if number < SLICES { Ok(Self(number)) } else { Err(SliceError { found: number }) }
    }
}

impl From<Slice> for u8 {
    fn from(slice: Slice) -> Self {
        slice.0
    }
}

/// A rolling 64-bit hash for comparing states: the same natively and in wasm, today and tomorrow.
///
/// It is FNV-1a (Fowler, Noll, Vo; RFC 9923) over bytes. Integers go in big endian at their own width, and what has a
/// variable length goes in after its length, so that neighbours cannot run into each other. There is no way to put in a
/// `usize`, whose width differs between machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StableHasher(u64);

impl StableHasher {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;

    /// The hash of nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Self::OFFSET_BASIS)
    }

    /// Puts in one byte.
    pub fn u8(&mut self, number: u8) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(Self::PRIME);
    }

    /// Puts in 16 bits.
    pub fn u16(&mut self, number: u16) {
        self.fixed(&number.to_be_bytes());
    }

    /// Puts in 32 bits.
    pub fn u32(&mut self, number: u32) {
        self.fixed(&number.to_be_bytes());
    }

    /// Puts in 64 bits.
    pub fn u64(&mut self, number: u64) {
        self.fixed(&number.to_be_bytes());
    }

    /// Puts in 128 bits.
    pub fn u128(&mut self, number: u128) {
        self.fixed(&number.to_be_bytes());
    }

    /// Puts in a length and so many bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u64(u64::try_from(bytes.len()).expect("a length fits 64 bits"));
        self.fixed(bytes);
    }

    /// The hash of all that was put in; more may follow.
    #[must_use]
    pub const fn finish(&self) -> u64 {
        self.0
    }

    fn fixed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.u8(byte);
        }
    }
}

impl Default for StableHasher {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_the_head_of_sha_256() {
        // SHA-256("abc") = ba7816bf 8f01cfea ..., the example of FIPS 180-4.
        let position = Position::of(&Key::new("abc").expect("a good key"));
        assert_eq!(position, Position(0xba78_16bf_8f01_cfea));
        assert_eq!(position.short(), 0xba78_16bf);
        assert_eq!(position.slice().number(), 0xba >> 2);
    }

    #[test]
    fn slices_cover_the_ring_without_gap_or_overlap() {
        let mut expected = Position::MIN;
        for slice in Slice::all() {
            assert_eq!(slice.first(), expected);
            assert_eq!(slice.first().slice(), slice);
            assert_eq!(slice.last().slice(), slice);
            assert_eq!(u8::from(slice), slice.number());
            expected = slice.last().next();
        }
        assert_eq!(expected, Position::MIN);
        assert_eq!(Slice::all().count(), usize::from(SLICES));
        assert_eq!(Slice::try_from(64), Err(SliceError { found: 64 }));
        assert!(postcard::from_bytes::<Slice>(&[64]).is_err());
        assert!(postcard::from_bytes::<Slice>(&[63]).is_ok());
    }

    #[test]
    fn the_stable_hash_is_fnv_1a() {
        for (text, expected) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            let mut hasher = StableHasher::new();
            hasher.fixed(text.as_bytes());
            assert_eq!(hasher.finish(), expected, "{text:?}");
        }
    }

    #[test]
    fn neighbours_do_not_run_into_each_other() {
        let hash = |parts: &[&[u8]]| {
            let mut hasher = StableHasher::new();
            parts.iter().for_each(|part| hasher.bytes(part));
            hasher.finish()
        };
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_ne!(hash(&[b""]), hash(&[]));
        let mut narrow = StableHasher::new();
        narrow.u16(1);
        let mut wide = StableHasher::new();
        wide.u32(1);
        assert_ne!(narrow, wide);
    }
}
