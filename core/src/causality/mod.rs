//! Cause and effect between versions of a key: who saw what before writing, and so which versions are siblings and which
//! are history. It never looks at a clock to decide that, never mints a dot in a merge, and never drops a version that no
//! writer has seen.
//!
//! Dotted version vectors (Preguiça, Baquero, Almeida, Fonte and Gonçalves, "Dotted version vectors: efficient causality
//! tracking for distributed key-value stores", 2012; as one set for each key: Almeida, Baquero, Gonçalves, Preguiça and
//! Fonte, "Scalable and accurate causality tracking for eventually consistent stores", 2014), after the clocks of
//! DeCandia et al., "Dynamo" (2007), section 4.4, with explicit dots:
//!
//! * every write is one event and has one name, its [`Dot`]: the actor that accepted it and that actor's counter;
//! * a replica holds, for each key, a [`SiblingSet`]: what it *knows of* (a [`VersionVector`]) and the versions of it that
//!   are *live*. What is known and not live has been superseded;
//! * a reader gets the live versions and what was known as a *context*, and hands it back with its write: that write
//!   replaces exactly what the reader had seen.
//!
//! **Spans instead of single counters.** A plain version vector says "everything of this actor up to 9". That is only true
//! as long as an actor never forgets. One that crashes after its write reached the others, but before its own disk had it,
//! and that then writes again, would say with its new dot that it knows the lost one; a client that reads only the new
//! version would overwrite the older one without ever having seen it. So the vector has spans with both ends (interval
//! version vectors: Mukund, Shenoy and Suresh, "Optimized OR-sets without ordering constraints", 2014; the exceptions of
//! Malkhi and Terry, "Concise version vectors in WinFS", 2005), and an actor says that it issued nothing for a key between
//! two of its dots only while its store has been whole since the earlier one ([`Issuer`]). Without crashes every actor
//! still has a single span.

mod by_dot;
mod dot;
mod floor;
mod issuer;
mod malformed;
mod requests;
mod siblings;
mod stamp;
mod token;
mod vector;

pub use dot::Dot;
pub use floor::Floor;
pub use issuer::{FreshDot, IssueError, Issuer};
pub use malformed::Malformed;
pub use requests::RequestName;
pub use siblings::{SetLimit, SiblingSet, UpdateError, Version};
pub use stamp::{HybridClock, Stamp, StampAhead};
#[cfg(feature = "sim")]
pub use token::unproven;
pub use token::{CONTEXT_TEXT_BYTES_MAX, ContextError, ContextSecret, decode, encode};
pub use vector::{DotSpan, VersionVector};
