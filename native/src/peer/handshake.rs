//! The first frames of each side: who I am, that I know the secret where there is one, and whether I talk to you. The version stands in front in a form that every
//! version understands. Never decides on membership: that is the core's affair.

use std::io;

use quorate_core::id::{Address, ClusterName, NodeId};
use serde::{Deserialize, Serialize};

use super::secret::Proof;

/// The protocol of this binary. A node of another version is refused with both numbers named.
pub(super) const PROTOCOL: u16 = 2;
/// The name of the protocol in an `Upgrade` header.
pub const UPGRADE: &str = "quorate/1";
/// Where a connection between nodes begins.
pub const PATH: &str = "/internal/peer";
/// Longest first frame, in bytes.
pub(super) const HELLO_BYTES_MAX: u32 = 4_096;

/// What a connection carries. Bulk data has one of its own, so that it cannot delay a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Who is alive, who owns what.
    Membership,
    /// Objects.
    Data,
}

impl Lane {
    /// Longest frame, in bytes.
    pub(super) const fn frame_bytes_max(self) -> u32 {
        match self {
            Self::Membership => 4 * 1_024 * 1_024,
            // One object may have many siblings of the largest value.
            Self::Data => 256 * 1_024 * 1_024,
        }
    }
}

/// Who opens a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) cluster: ClusterName,
    pub(super) node: NodeId,
    /// Tells two processes of one name apart.
    pub(super) instance: u64,
    /// Where the node is reached.
    pub(super) address: Address,
    pub(super) lane: Lane,
    /// Drawn at random for this connection.
    pub(super) nonce: Nonce,
    /// Whether the node has a secret of the cluster.
    pub(super) has_secret: bool,
}

/// What makes a proof good for one connection only.
pub(super) type Nonce = [u8; 32];

/// What the other side says to that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// Go on; this is who I am.
    Welcome { node: NodeId, proof: Option<Proof> },
    /// Prove first that you know the secret.
    Challenge { node: NodeId, nonce: Nonce },
    /// No. This is who I am, and why, for people.
    Refused { node: NodeId, reason: String },
}

/// A first frame that is not one. The connection is closed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandshakeError {
    /// Another version of the protocol.
    #[error("it speaks version {found} of the protocol between nodes, this node speaks version {PROTOCOL}")]
    Version {
        /// The version found.
        found: u16,
    },
    /// Not a first frame at all.
    #[error("its first frame is malformed")]
    Malformed,
}

/// A fresh nonce.
pub(super) fn nonce() -> io::Result<Nonce> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    Ok(nonce)
}

/// The form of a first frame: the version, and what that version says.
pub(super) fn encode(content: &impl Serialize) -> Vec<u8> {
    let mut frame = PROTOCOL.to_be_bytes().to_vec();
    frame.extend(postcard::to_allocvec(content).expect("a first frame always has a wire form"));
    frame
}

/// Reads a first frame.
pub(super) fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Result<T, HandshakeError> {
    let (version, content) = frame.split_first_chunk::<2>().ok_or(HandshakeError::Malformed)?;
    let found = u16::from_be_bytes(*version);
    if found != PROTOCOL {
        return Err(HandshakeError::Version { found });
    }
    let (content, rest) = postcard::take_from_bytes(content).map_err(|_| HandshakeError::Malformed)?;
    if rest.is_empty() { Ok(content) } else { Err(HandshakeError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            cluster: "quorate".parse().expect("good"),
            node: "node-1".parse().expect("good"),
            instance: 7,
            address: "127.0.0.1:8081".parse().expect("good"),
            lane: Lane::Data,
            nonce: [7; 32],
            has_secret: true,
        }
    }

    #[test]
    fn a_first_frame_is_read_back_or_refused_for_what_it_is() {
        let good = encode(&hello());
        assert_eq!(decode(&good), Ok(hello()));
        let mut later = good.clone();
        later[1] = 9;
        assert_eq!(decode::<Hello>(&later), Err(HandshakeError::Version { found: 9 }));
        let long: Vec<u8> = good.iter().copied().chain([0]).collect();
        for bad in [&good[..good.len() - 1], &good[..1], &[], &long] {
            assert_eq!(decode::<Hello>(bad), Err(HandshakeError::Malformed));
        }
    }

    #[test]
    fn a_name_that_is_none_does_not_come_through() {
        let mut bad = encode(&("qu orate", "node-1", 7_u64, "a:1", Lane::Data, [7_u8; 32], false));
        assert_eq!(decode::<Hello>(&bad), Err(HandshakeError::Malformed));
        bad = encode(&("quorate", "node-1", 7_u64, "a:1", Lane::Data, [7_u8; 32], false));
        assert!(decode::<Hello>(&bad).is_ok());
    }
}
