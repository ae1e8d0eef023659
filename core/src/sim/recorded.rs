//! Schedules in files: one that once broke a promise is kept, with what it broke, and run again for ever after. Says how
//! such a file reads; never opens one.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::Schedule;

/// A schedule and what it is about. As JSON it is the schedule with one more field before its own, so that any schedule is
/// a recorded one about nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// What it once broke, or what it shows.
    #[serde(default)]
    pub about: String,
    /// The schedule.
    #[serde(flatten)]
    pub schedule: Schedule,
}
