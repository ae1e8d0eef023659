//! The secret of a cluster: who opens a connection and who accepts it prove to each other that they know it, without
//! saying it. A proof is a MAC over everything both have said, two fresh nonces included, so that none serves twice or
//! elsewhere.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Fewest bytes: what is shorter can be found by trying.
const SECRET_BYTES_MIN: usize = 16;
/// Most bytes.
const SECRET_BYTES_MAX: usize = 4_096;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file.
    #[error("the file of the cluster's secret {} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is in it.
    #[error(
        "the file of the cluster's secret {} must hold {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes besides white space \
         around them, not {bytes}: make one with `head -c 32 /dev/urandom | base64`",
        path.display()
    )]
    Length {
        /// Which file.
        path: PathBuf,
        /// How many it holds.
        bytes: usize,
    },
}

/// What all nodes of a cluster know, and nobody else.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Who proves: what one side says is no proof of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Opener,
    Accepter,
}

/// What shows that somebody knows the secret.
pub(super) type Proof = [u8; 32];

impl Secret {
    /// Reads the secret of a file; white space around it is not part of it.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let content = fs::read(path).map_err(|source| SecretError::Unreadable { path: path.into(), source })?;
        let secret = content.trim_ascii();
        let bytes = secret.len();
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes) {
            return Err(SecretError::Length { path: path.into(), bytes });
        }
        Ok(Self::new(secret))
    }

    pub(super) fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("a key of this MAC has any length"))
    }

    /// The proof of one side of a connection that began with these two frames.
    pub(super) fn proof(&self, side: Side, hello: &[u8], challenge: &[u8]) -> Proof {
        self.mac(side, hello, challenge).finalize().into_bytes().into()
    }

    /// Whether that is the proof of one side. How long it takes says nothing about the right one.
    pub(super) fn is_proof(&self, proof: &Proof, side: Side, hello: &[u8], challenge: &[u8]) -> bool {
        self.mac(side, hello, challenge).verify_slice(proof).is_ok()
    }

    fn mac(&self, side: Side, hello: &[u8], challenge: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(match side {
            Side::Opener => b"quorate peer opener",
            Side::Accepter => b"quorate peer accepter",
        });
        for said in [hello, challenge] {
            // With its length, so that no other pair of frames has the same bytes.
            mac.update(&u64::try_from(said.len()).expect("a length fits 64 bits").to_be_bytes());
            mac.update(said);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_secret_one_side_and_one_conversation() {
        let (secret, other) = (Secret::new(b"one secret of many"), Secret::new(b"another one of many"));
        let proof = secret.proof(Side::Opener, b"hello", b"challenge");
        assert!(secret.is_proof(&proof, Side::Opener, b"hello", b"challenge"));
        assert!(!other.is_proof(&proof, Side::Opener, b"hello", b"challenge"));
        assert!(!secret.is_proof(&proof, Side::Accepter, b"hello", b"challenge"));
        assert!(!secret.is_proof(&proof, Side::Opener, b"hell", b"ochallenge"));
        assert!(!secret.is_proof(&proof, Side::Opener, b"hello", b"challengf"));
        assert_eq!(format!("{secret:?}"), "Secret");
    }

    #[test]
    fn a_file_holds_the_secret_and_white_space() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        fs::write(&path, "  0123456789abcdef\n").expect("writes");
        let read = Secret::read(&path).expect("good");
        let same = Secret::new(b"0123456789abcdef").proof(Side::Opener, b"h", b"c");
        assert!(read.is_proof(&same, Side::Opener, b"h", b"c"));
        fs::write(&path, "too short\n").expect("writes");
        let message = Secret::read(&path).expect_err("refused").to_string();
        assert!(
            message.contains("not 9") && message.contains("/dev/urandom") && !message.contains("short"),
            "{message}"
        );
        let missing = Secret::read(Path::new("/nowhere/secret")).expect_err("refused").to_string();
        assert!(missing.contains("/nowhere/secret"), "{missing}");
    }
}
