//! What a client stores under a key. Never looks inside the bytes.

use core::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::limits;

/// A value: bytes and what they are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Value {
    /// What the bytes are; kept and given back, never interpreted here.
    pub content_type: ContentType,
    /// The bytes.
    pub bytes: Bytes,
}

impl Value {
    /// A value of JSON text.
    #[must_use]
    pub fn json(text: impl Into<Bytes>) -> Self {
        Self { content_type: ContentType::json(), bytes: text.into() }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match core::str::from_utf8(&self.bytes) {
            Ok(text) if text.len() <= 64 => f.write_str(text),
            _ => write!(f, "{} bytes of {}", self.bytes.len(), self.content_type.as_str()),
        }
    }
}

/// A media type as the client sent it, 1 to 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "SmolStr")]
pub struct ContentType(SmolStr);

/// A content type that is empty or too long. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a content type must be 1 to {} bytes long, this one has {length}", limits::CONTENT_TYPE_BYTES_MAX)]
pub struct ContentTypeError {
    /// Length found, in bytes.
    pub length: usize,
}

impl ContentType {
    const JSON: &'static str = "application/json";

    /// Checks the length.
    ///
    /// # Errors
    /// [`ContentTypeError`] when it is empty or longer than [`limits::CONTENT_TYPE_BYTES_MAX`].
    pub fn new(text: &str) -> Result<Self, ContentTypeError> {
        if text.is_empty() || text.len() > limits::CONTENT_TYPE_BYTES_MAX {
            return Err(ContentTypeError { length: text.len() });
        }
        Ok(Self(SmolStr::new(text)))
    }

    /// `application/json`.
    #[must_use]
    pub const fn json() -> Self {
        Self(SmolStr::new_static(Self::JSON))
    }

    /// Whether this is JSON, which the HTTP interface shows as it is instead of as base64.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.0 == Self::JSON
    }

    /// The type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<SmolStr> for ContentType {
    type Error = ContentTypeError;

    fn try_from(text: SmolStr) -> Result<Self, ContentTypeError> {
        Self::new(&text)
    }
}
