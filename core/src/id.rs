//! Names of things: nodes, actors, clusters, zones, keys, requests. Never decides what a name is allowed to do.

use alloc::string::{String, ToString};
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use crate::digest;
use crate::limits;

/// Why a text is not a name. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The length is outside the allowed range.
    #[error("{what} must be 1 to {max} bytes long, this one has {length}")]
    Length {
        /// What was being named.
        what: &'static str,
        /// Greatest length in bytes.
        max: usize,
        /// Length found, in bytes.
        length: usize,
    },
    /// A character outside the allowed set.
    #[error("{what} may hold only {allowed}, not {found:?}")]
    Character {
        /// What was being named.
        what: &'static str,
        /// The allowed characters, for people.
        allowed: &'static str,
        /// The first character that is not.
        found: char,
    },
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $allowed:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "SmolStr")]
        pub struct $name(SmolStr);

        impl $name {
            /// Checks the text and makes it a name.
            ///
            /// # Errors
            /// [`NameError`] says which rule was broken.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let length = text.len();
                if length == 0 || length > $max {
                    return Err(NameError::Length { what: $what, max: $max, length });
                }
                let accepts: fn(char) -> bool = $accepts;
                match text.chars().find(|&c| !accepts(c)) {
                    Some(found) => Err(NameError::Character { what: $what, allowed: $allowed, found }),
                    None => Ok(Self(SmolStr::new(text))),
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl TryFrom<SmolStr> for $name {
            type Error = NameError;

            fn try_from(text: SmolStr) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl core::str::FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

const fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

text_name!(
    /// The stable name of a node: 1 to 64 of `A-Za-z0-9._-`. A node keeps it over restarts and address changes.
    NodeId, "a node id", limits::NODE_ID_BYTES_MAX, "A-Z a-z 0-9 . _ -", is_name_character
);
text_name!(
    /// Where a node is reached, `host:port` in the real world. The core never looks inside.
    Address, "an address", limits::ADDRESS_BYTES_MAX, "visible ASCII", |c| c.is_ascii_graphic()
);
text_name!(
    /// A failure domain: copies of a key go to distinct zones first.
    Zone, "a zone", limits::NODE_ID_BYTES_MAX, "A-Z a-z 0-9 . _ -", is_name_character
);
text_name!(
    /// The name that people gave the cluster. Nodes with different cluster names refuse each other.
    ClusterName, "a cluster name", limits::NODE_ID_BYTES_MAX, "A-Z a-z 0-9 . _ -", is_name_character
);
text_name!(
    /// What kind of event or question it is: 1 to 128 bytes, for people to choose.
    EventName, "an event name", limits::EVENT_NAME_BYTES_MAX, "no control characters", |c| !c.is_control()
);

macro_rules! wide_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:08x}..", self.0 >> 96)
            }
        }

        // Text for people and JavaScript, whose numbers end at 2^53; sixteen bytes on the wire.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.to_be_bytes().serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
                } else {
                    <[u8; 16]>::deserialize(deserializer).map(|bytes| Self(u128::from_be_bytes(bytes)))
                }
            }
        }
    };
}

wide_id!(
    /// Who issues dots: one random id for the life of one store. An empty, restored or cloned store gets a new one, so that
    /// no dot is ever issued twice. Its counters run per slice of the ring.
    ActorId
);
wide_id!(
    /// The identity of a cluster, minted at random by the node that founds it.
    ClusterId
);
wide_id!(
    /// What a client names a write with, so that a retry is the same write.
    RequestKey
);

/// Numbers the requests that one machine has sent to its peers. Meaningful only to its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// What the shell hands in with a client's request and finds again on the reply. Meaningful only to the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(pub u64);

/// The key of an object: 1 to 1,024 bytes of UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    text: SmolStr,
    /// Where it lies on the ring: worked out once, for it is asked at every turn.
    place: u64,
}

impl Key {
    /// Checks the length and makes the text a key.
    ///
    /// # Errors
    /// [`NameError::Length`] when it is empty or longer than [`limits::KEY_BYTES_MAX`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        let length = text.len();
        if length == 0 || length > limits::KEY_BYTES_MAX {
            return Err(NameError::Length { what: "a key", max: limits::KEY_BYTES_MAX, length });
        }
        Ok(Self { place: digest::head(text.as_bytes()), text: SmolStr::new(text) })
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Where it lies on the ring ([`crate::hash::Position::of`]).
    pub(crate) const fn place(&self) -> u64 {
        self.place
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = SmolStr::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

impl TryFrom<String> for Key {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        Self::from(key.as_str())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_at_the_door() {
        for (text, good) in [
            ("node-1", true),
            ("a", true),
            ("A.b_c-9", true),
            ("", false),
            ("a b", false),
            ("ä", false),
            ("a/b", false),
        ] {
            assert_eq!(NodeId::new(text).is_ok(), good, "{text:?}");
        }
        assert!(NodeId::new(&"n".repeat(64)).is_ok());
        assert!(NodeId::new(&"n".repeat(65)).is_err());
        assert!(Key::new(&"k".repeat(1_024)).is_ok());
        assert!(Key::new(&"k".repeat(1_025)).is_err());
        assert!(Key::new("").is_err());
    }

    #[test]
    fn wide_ids_are_text_for_people_and_bytes_on_the_wire() {
        let actor = ActorId(0x1234 << 64);
        let text = serde_json::to_string(&actor).expect("serializes");
        assert_eq!(text.len(), 34);
        assert_eq!(serde_json::from_str::<ActorId>(&text).expect("parses"), actor);
        let wire = postcard::to_allocvec(&actor).expect("serializes");
        assert_eq!(wire.len(), 16);
        assert_eq!(postcard::from_bytes::<ActorId>(&wire).expect("parses"), actor);
    }
}
