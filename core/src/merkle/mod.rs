//! The hash tree over what one store holds of one slice, kept up with every write, and how two trees are compared on the
//! arcs that two stores share. It reads no rows, sends nothing, and says only *where* two stores differ: what is newer, and
//! who is right, is not asked here.
//!
//! Dynamo (DeCandia et al. 2007, section 4.7) compares Merkle trees (Merkle 1987) to find what replicas lack. Here a node
//! is not a hash of hashes but the *sum* of the hashes of the entries below it, modulo 2^128, and their number. So a write
//! changes one path by subtracting the old entry and adding the new one, whatever else is below, and the sum of any set of
//! nodes is the digest of what lies below all of them. An entry is a key and the dots of its live versions: values are not
//! hashed, history that replicas remember to different lengths does not count, and an object without a live version is no
//! entry. Sums are no defence against somebody who chooses what is summed (Wagner 2002, the generalized birthday problem);
//! nobody does: a dot carries the random id of the store that issued it.
//!
//! **Shape.** A slice is cut into 16 parts, each into 16, each into 16: [`LEAVES`] leaves of a slice, 2^18 of the ring. Only
//! what is occupied is kept. With 10^6 keys a leaf has four of them, and a difference is found with 16 digests on each of
//! three levels. A store of 10^8 keys has some 400 of them in each leaf: then every differing key costs the listing of a leaf,
//! some 6 kB, and the recomputation of a leaf that an arc cuts reads 400 rows. The tree takes 15 MB of memory at most.
//!
//! **Arcs.** Two stores share some arcs of a slice, whose ends lie anywhere. A node wholly inside them counts with its sum,
//! one outside not at all, and a leaf that an end cuts is summed up again from the rows inside. So both compare exactly
//! what both own, however different the rest is.

mod arcs;
mod node;
mod sum;
mod tree;

#[cfg(test)]
mod tests;

pub use arcs::Arcs;
pub use node::TreeNode;
pub use sum::{Digest, Sum};
pub use tree::{Mismatch, Tree};

/// Children of a node.
pub const ARITY: u16 = 16;
/// Levels below the root; the last one is the leaves.
pub const DEPTH: u8 = 3;
/// Leaves of one slice.
pub const LEAVES: u16 = ARITY.pow(3);
