//! The simulated world: real nodes of this crate on a virtual clock, with a network, disks and clients that one seed makes
//! and an explicit schedule disturbs. The same setting and actions give the same run, natively and in wasm. It uses only
//! what every shell uses, `step`, and has no way into a node that the real world does not have.

mod action;
mod client;
mod host;
mod invariant;
mod network;
pub mod pair;
mod picture;
pub mod player;
mod schedule;
mod verdict;
mod world;

pub use action::{Action, ClientOperation, DiskFate, Network, Setting};
pub use host::node_name;
pub use invariant::Invariant;
pub use schedule::{Schedule, Step, fingerprint};
pub use verdict::{Fault, Mark, Tally, Verdict, Violation};
pub use world::World;
