//! Membership, as a whole.
