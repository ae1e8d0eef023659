//! Repair as a specification: two owners that compare what they hold, and whole clusters in which nobody reads.

mod cluster;
mod pair;
