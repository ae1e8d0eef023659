//! A world for membership alone: as many lists of members as there is room for, on a virtual clock, with a network that
//! loses messages and processes that stand still. What gossip is measured with, at sizes at which whole nodes would be too
//! much. It judges nothing, reads no clock, and uses what every node uses of [`crate::membership`] and no more.

mod cluster;
mod figures;
mod measure;
mod network;
mod process;

pub use cluster::{Cluster, Setting, list};
pub use figures::{Quantiles, rounds_until_all};
pub use measure::{Quiet, Stalls, Turnover, absence, heal, quiet, stalls, turnover, watch};
