//! Quorate's server: it gives the core's machines a clock, a disk and a network, and carries out what they say.
//!
//! It takes no decision about data or membership: whatever is decided is decided in `quorate-core`, where the simulator
//! can see it.

pub mod bench;
pub mod cli;
pub mod client;
mod clocks;
pub mod config;
pub mod demo;
mod descriptors;
pub mod discovery;
pub mod http;
pub mod load;
pub mod logging;
pub mod metrics;
pub mod operations;
pub mod page;
pub mod peer;
pub mod runtime;
pub mod serve;
pub mod simulate;
pub mod storage;
pub mod tls;
pub mod tokens;
mod trace;
