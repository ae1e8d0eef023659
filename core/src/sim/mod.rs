//! The simulated world: real nodes of this crate on a virtual clock, with a network, disks, clocks and clients that one
//! seed makes and an explicit schedule disturbs. The same setting and actions give the same run, natively and in wasm. It
//! uses only what every shell uses, `step`, and has no way into a node that the real world does not have.

mod action;
mod bench;
mod checker;
mod client;
mod conclude;
mod direct;
mod disk;
mod faults;
pub mod gossip;
mod host;
mod invariant;
mod judge;
mod lists;
mod losses;
mod minimize;
mod network;
mod oracle;
mod outside;
pub mod pair;
mod picture;
mod placement;
pub mod player;
mod recorded;
mod related;
mod schedule;
mod sentence;
mod story;
mod swarm;
mod verdict;
mod world;

pub use action::{Action, ClientOperation, DiskFate, DiskFault, LayoutChange, Network, RequestOptions, Setting};
pub use bench::Bench;
pub use host::node_name;
pub use invariant::Invariant;
pub use minimize::{Minimized, Progress, minimize, minimize_by};
pub use outside::{History, Seen, Write};
pub use placement::{PartitionsRow, TokensRow};
pub use recorded::Recorded;
pub use schedule::{Schedule, Step};
pub use story::{Line, Story};
pub use swarm::{Mode, fingerprint};
pub use verdict::{Fault, Mark, Tally, Verdict, Violation};
pub use world::World;
