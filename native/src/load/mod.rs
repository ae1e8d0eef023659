//! Clients that write and read all the while, what they were promised, and whether it was kept: for `quorate demo`, and for
//! whoever wants to see a cluster under load. Every write has a key of its own, so that each that was acknowledged can be
//! looked for afterwards. `quorate bench` sends its operations over the same connections.
//!
//! A client does as applications should: what fails it tries again, the same write by its name, at the next node. It knows
//! nothing of the cluster but a list of endpoints.

mod attempt;
mod clients;
mod figures;
mod written;

pub(crate) use attempt::{Access, Answer, Session, TryError};
pub use clients::{Load, Pace};
pub use figures::Figures;
pub use written::{Broken, Written};

/// Written to, and read from, by everything here.
const DATA: &str = "/api/v1/data/";
