//! Quorate's server: it gives the core's machines a clock, a disk and a network, and carries out what they say.
//!
//! It takes no decision about data or membership: whatever is decided is decided in `quorate-core`, where the simulator
//! can see it.

pub mod config;
pub mod peer;
pub mod storage;
