//! The simulated world: real nodes of this crate on a virtual clock, with a network, disks and clients that one seed makes
//! and an explicit schedule disturbs. The same setting and actions give the same run, natively and in wasm. It uses only
//! what every shell uses, `step`, and has no way into a node that the real world does not have.

mod action;
mod bench;
mod client;
mod host;
mod invariant;
mod minimize;
mod network;
mod picture;
pub mod player;
mod recorded;
mod related;
mod schedule;
mod sentence;
mod story;
mod verdict;
mod world;

pub use action::{Action, ClientOperation, DiskFate, Network, Setting};
pub use bench::Bench;
pub use host::node_name;
pub use invariant::Invariant;
pub use minimize::{Minimized, Progress, minimize_by};
pub use recorded::Recorded;
pub use schedule::{Schedule, Step, fingerprint};
pub use story::{Line, Story};
pub use verdict::{Fault, Mark, Tally, Verdict, Violation};
pub use world::World;
