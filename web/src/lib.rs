//! The page of Quorate: a simulated cluster to look at, to talk to and to break. What is drawn is computed here from
//! pictures of the cluster, in pure functions that are tested natively; nothing of the protocol is decided here.

pub mod app;
pub mod canvas;
pub mod clock;
pub mod command;
pub mod faults;
#[cfg(test)]
mod fixture;
pub mod keys;
pub mod mark;
pub mod model;
pub mod paint;
pub mod panel;
pub mod spacetime;
pub mod stage;
pub mod story;
pub mod tools;
pub mod trace;
pub mod words;
pub mod worker;
