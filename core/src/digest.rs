//! SHA-256, and nothing else: where the hashes that everybody must agree on come from. Never a hash of states, which need
//! no cryptography.

use sha2::{Digest, Sha256};

/// The first 8 bytes of the SHA-256 of the bytes, big endian.
pub(crate) fn head(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    let (first, _) = digest.split_first_chunk::<8>().expect("a SHA-256 has 32 bytes");
    u64::from_be_bytes(*first)
}
