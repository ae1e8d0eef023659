//! Causality as a whole: replicas that write, forget and exchange sets in any order, against explicit histories.

mod laws;
mod oracle;
mod scenarios;
