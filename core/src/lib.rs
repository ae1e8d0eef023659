//! The pure, deterministic core of Quorate: ring, causality, membership, layout, quorums, repair.
//!
//! It does no IO, reads no clock, draws no randomness of its own and starts no thread. Time, randomness and storage are
//! handed in; what it wants done comes back as values. `no_std` is the cheap proof: sockets, threads, `Instant` and
//! randomly seeded hash maps cannot even be named here.
//!
//! Two machines make a node: [`node::Node`] (who is alive, who owns what) and [`shard::Shard`] (the data of some slices of
//! the ring). Both have one way in and one way out, `step`. A shell feeds them and does what they say: the native server,
//! or the simulated world in `sim`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod causality;
pub mod config;
mod digest;
pub mod effects;
pub mod error;
pub mod event;
pub mod gossip;
pub mod hash;
pub mod id;
pub mod layout;
pub mod limits;
pub mod membership;
pub mod merkle;
pub mod message;
pub mod node;
pub mod planted;
pub mod request;
pub mod ring;
pub mod rng;
pub mod shard;
#[cfg(feature = "sim")]
pub mod sim;
pub mod storage;
pub mod time;
pub mod value;
pub mod view;
mod wire;
