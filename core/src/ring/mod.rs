//! Who owns which part of the ring.
