//! Contexts as text that clients carry: what a reader has seen, sealed so that nobody can claim to have seen anything else.
//! A token is only good for the key and the cluster that it came from. It never expires and holds no value.
//!
//! The text is base64url without padding of: one version byte, the version vector in postcard, and the first 16 bytes of
//! an HMAC-SHA256 (RFC 2104) over all of it and the key.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::VersionVector;
use crate::id::Key;
use crate::limits;

/// What the first byte of a token says.
const FORMAT: u8 = 1;
/// Bytes of the seal.
const SEAL_BYTES: usize = 16;
/// Most bytes of a span: an actor and two numbers below 2^63 in groups of 7 bits.
const SPAN_BYTES_MAX: usize = 16 + 9 + 9;
/// Most bytes of a token before they become text; the number of spans takes two.
const TOKEN_BYTES_MAX: usize = 1 + 2 + limits::ACTORS_MAX * SPAN_BYTES_MAX + SEAL_BYTES;
/// Longest text of a token that is accepted, in bytes.
pub const CONTEXT_TEXT_BYTES_MAX: usize = TOKEN_BYTES_MAX.div_ceil(3) * 4;

const _: () = assert!(limits::ACTORS_MAX < 1 << 14, "the number of spans takes two groups of 7 bits");
const _: () = assert!(limits::COUNTER_MAX < 1 << 63, "a counter takes nine groups of 7 bits");

/// The secret of a cluster with which contexts are sealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextSecret(pub [u8; 32]);

impl fmt::Debug for ContextSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContextSecret(..)")
    }
}

/// Why a text is not a context of this key. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// Longer than any token.
    #[error("the context is {length} bytes long: none is longer than {CONTEXT_TEXT_BYTES_MAX}")]
    TooLong {
        /// Length found, in bytes.
        length: usize,
    },
    /// Not text of the right kind.
    #[error("the context is not base64url without padding: send back what an answer gave, unchanged")]
    NotBase64,
    /// A token that was cut off.
    #[error("the context is too short: {length} bytes, of which a whole one has at least {}", 2 + SEAL_BYTES)]
    TooShort {
        /// Length found, in bytes after decoding.
        length: usize,
    },
    /// A format that this node does not know.
    #[error("the context has the unknown format {format}: this node understands format {FORMAT}")]
    UnknownFormat {
        /// The format found.
        format: u8,
    },
    /// The seal does not match.
    #[error("the context does not belong to this key and this cluster, or was changed")]
    Forged,
    /// The seal matches and the content does not make sense, which only a fault of a node can bring about.
    #[error("the context is sealed and malformed: a node that made it has a fault")]
    Malformed,
}

/// The context as text, for this key only. (One of more than [`limits::ACTORS_MAX`] spans, which no sibling set has, makes
/// a text that is not accepted again.)
#[must_use]
pub fn encode(secret: &ContextSecret, key: &Key, context: &VersionVector) -> String {
    let mut token = postcard::to_extend(context, Vec::from([FORMAT])).expect("plain data serializes into memory");
    let seal = seal(secret, key, &token).finalize().into_bytes();
    token.extend(&seal[..SEAL_BYTES]);
    URL_SAFE_NO_PAD.encode(token)
}

/// The context that the text stands for.
///
/// # Errors
/// [`ContextError`] says what is wrong with the text.
pub fn decode(secret: &ContextSecret, key: &Key, text: &str) -> Result<VersionVector, ContextError> {
    let token = open(text)?;
    let (sealed, found) = split(&token)?;
    // In constant time: how much of a forged seal is right must not show.
    seal(secret, key, sealed).verify_truncated_left(found).map_err(|_| ContextError::Forged)?;
    content(sealed)
}

/// What the text says, whoever sealed it and for whichever key: for those who look on from outside and know no secret. A node
/// never goes by it.
///
/// # Errors
/// [`ContextError`] says what is wrong with the text; never [`ContextError::Forged`].
#[cfg(feature = "sim")]
pub fn unproven(text: &str) -> Result<VersionVector, ContextError> {
    content(split(&open(text)?)?.0)
}

/// The bytes of a text, of a known format as far as they go.
fn open(text: &str) -> Result<Vec<u8>, ContextError> {
    if text.len() > CONTEXT_TEXT_BYTES_MAX {
        return Err(ContextError::TooLong { length: text.len() });
    }
    let token = URL_SAFE_NO_PAD.decode(text).map_err(|_| ContextError::NotBase64)?;
    match token.first() {
        Some(&format) if format != FORMAT => Err(ContextError::UnknownFormat { format }),
        _ => Ok(token),
    }
}

/// What is sealed, and the seal.
fn split(token: &[u8]) -> Result<(&[u8], &[u8; SEAL_BYTES]), ContextError> {
    let parts = token.split_last_chunk::<SEAL_BYTES>().filter(|(sealed, _)| sealed.len() > 1);
    parts.ok_or(ContextError::TooShort { length: token.len() })
}

fn content(sealed: &[u8]) -> Result<VersionVector, ContextError> {
    match postcard::take_from_bytes(&sealed[1..]) {
        Ok((context, [])) => Ok(context),
        Ok(_) | Err(_) => Err(ContextError::Malformed),
    }
}

fn seal(secret: &ContextSecret, key: &Key, sealed: &[u8]) -> Hmac<Sha256> {
    let length = u64::try_from(sealed.len()).expect("a length fits 64 bits");
    Hmac::<Sha256>::new_from_slice(&secret.0)
        .expect("HMAC takes keys of any length")
        // The length first, so that the end of the one cannot be read as the beginning of the other.
        .chain_update(length.to_be_bytes())
        .chain_update(sealed)
        .chain_update(key.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::causality::{Dot, DotSpan};
    use crate::id::ActorId;

    const SECRET: ContextSecret = ContextSecret([7; 32]);

    fn key(text: &str) -> Key {
        Key::new(text).expect("a good key")
    }

    fn context(spans: &[(u128, u64, u64)]) -> VersionVector {
        let mut context = VersionVector::new();
        for &(actor, after, count) in spans {
            context.cover(DotSpan { actor: ActorId(actor), after, upto: after + count });
        }
        context
    }

    fn contexts() -> impl Strategy<Value = VersionVector> {
        let span = (any::<u128>(), 0..limits::COUNTER_MAX - 9, 1_u64..9);
        prop::collection::vec(span, 0..6).prop_map(|spans| context(&spans))
    }

    /// A token with the right seal around any content.
    fn sealed(key: &Key, content: &[u8]) -> String {
        let mut token = Vec::from(content);
        let seal = seal(&SECRET, key, &token).finalize().into_bytes();
        token.extend(&seal[..SEAL_BYTES]);
        URL_SAFE_NO_PAD.encode(token)
    }

    #[test]
    fn the_context_of_a_key_never_written_is_valid_and_covers_nothing() {
        let text = encode(&SECRET, &key("k"), &VersionVector::new());
        assert_eq!(text.len(), 24);
        let context = decode(&SECRET, &key("k"), &text).expect("valid");
        assert!(context.is_empty() && !context.covers(Dot { actor: ActorId(1), counter: 1 }));
    }

    #[test]
    fn a_bad_context_is_told_what_is_wrong_with_it() {
        let k = key("k");
        let good = encode(&SECRET, &k, &context(&[(1, 0, 5)]));
        let long = "A".repeat(CONTEXT_TEXT_BYTES_MAX + 1);
        for (text, expected) in [
            (good.as_str(), Ok(context(&[(1, 0, 5)]))),
            (&long, Err(ContextError::TooLong { length: long.len() })),
            (&long[1..], Err(ContextError::UnknownFormat { format: 0 })),
            ("not a context", Err(ContextError::NotBase64)),
            ("häßlich", Err(ContextError::NotBase64)),
            (&alloc::format!("{good}=="), Err(ContextError::NotBase64)),
            ("", Err(ContextError::TooShort { length: 0 })),
            ("AQ", Err(ContextError::TooShort { length: 1 })),
            (&sealed(&k, &[FORMAT]), Err(ContextError::TooShort { length: 17 })),
            (&sealed(&k, &[2, 0]), Err(ContextError::UnknownFormat { format: 2 })),
            (&sealed(&k, &[FORMAT, 1]), Err(ContextError::Malformed)),
            (&sealed(&k, &[FORMAT, 0, 0]), Err(ContextError::Malformed)),
            (&sealed(&key("l"), &[FORMAT, 0]), Err(ContextError::Forged)),
        ] {
            assert_eq!(decode(&SECRET, &k, text), expected, "{text:.40}");
        }
    }

    #[test]
    fn the_largest_context_fits() {
        let spans: Vec<_> = (0..1_000).map(|actor| (u128::MAX - actor, limits::COUNTER_MAX / 2, 1 << 61)).collect();
        let largest = context(&spans);
        let text = encode(&SECRET, &key("k"), &largest);
        assert!(text.len() <= CONTEXT_TEXT_BYTES_MAX, "{} bytes", text.len());
        assert_eq!(decode(&SECRET, &key("k"), &text), Ok(largest));
    }

    #[test]
    fn the_secret_does_not_show() {
        assert_eq!(alloc::format!("{SECRET:?}"), "ContextSecret(..)");
    }

    proptest! {
        #[test]
        fn what_was_sealed_is_what_is_opened(context in contexts(), name in "[a-z/ ]{1,20}") {
            let text = encode(&SECRET, &key(&name), &context);
            prop_assert_eq!(decode(&SECRET, &key(&name), &text), Ok(context.clone()));
            #[cfg(feature = "sim")]
            prop_assert_eq!(unproven(&text), Ok(context));
        }

        #[test]
        fn a_context_is_good_for_one_key_and_one_cluster(context in contexts(), one in "[a-c]{1,3}", other in "[a-c]{1,3}") {
            let text = encode(&SECRET, &key(&one), &context);
            if one != other {
                prop_assert_eq!(decode(&SECRET, &key(&other), &text), Err(ContextError::Forged));
            }
            prop_assert_eq!(decode(&ContextSecret([8; 32]), &key(&one), &text), Err(ContextError::Forged));
        }

        #[test]
        fn a_changed_context_is_refused(
            context in contexts(),
            at in any::<prop::sample::Index>(),
            with in "[A-Za-z0-9_-]",
            cut in any::<prop::sample::Index>(),
        ) {
            let k = key("k");
            let text = encode(&SECRET, &k, &context);
            let at = at.index(text.len());
            let mut changed = text.clone();
            changed.replace_range(at..=at, &with);
            prop_assert_eq!(decode(&SECRET, &k, &changed).is_ok(), changed == text);
            prop_assert!(decode(&SECRET, &k, &text[..cut.index(text.len())]).is_err());
        }

        #[test]
        fn hostile_text_is_refused(text in "\\PC*", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let k = key("k");
            prop_assert!(decode(&SECRET, &k, &text).is_err());
            prop_assert!(decode(&SECRET, &k, &URL_SAFE_NO_PAD.encode(&bytes)).is_err());
            // Even what a faulty node has sealed is taken apart with care.
            let content: Vec<u8> = core::iter::once(FORMAT).chain(bytes).collect();
            if let Ok(context) = decode(&SECRET, &k, &sealed(&k, &content)) {
                prop_assert!(context.iter().all(|span| span.after < span.upto && span.upto <= limits::COUNTER_MAX));
            }
        }
    }
}
