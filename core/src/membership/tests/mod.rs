//! Membership as a whole: clusters on a virtual clock, each test a property that the protocol promises.

mod detection;
mod dissemination;
mod harness;
mod healing;
mod hostile;
mod lifeguard;
mod precedence;
