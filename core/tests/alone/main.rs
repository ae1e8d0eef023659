//! What one node does by itself: its limits, each with its error, and the strategies of its keys.

mod limits;
mod machine;
mod strategies;
