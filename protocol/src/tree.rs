//! BLAKE3 trees over groups of 64 KiB: where a node lies, how a tree is built, proved and checked.
//!
//! The tree of an artifact is BLAKE3's own, cut off below groups of 64 KiB, so its root is the plain `b3sum` of the
//! bytes. An artifact of one group needs no tree; one of n groups has n - 1 inner nodes. The **outboard** holds for
//! each of them its **pair**, the chaining values of the left and the right child, at a fixed place (pre-order).
//!
//! | module | answers |
//! |---|---|
//! | [`geometry`] | which nodes there are, where they lie in the outboard, which lead to a group |
//! | [`outboard`] | bytes in, outboard and root out, also in parts on many threads |
//! | [`prove`] | which pairs the next group of a reply has to carry |
//! | [`verify`] | is this group what the root says; which pairs are new |
//! | [`ranges`] | sets of group numbers |
//!
//! Nothing here reads a file or starts a thread: bytes and pairs come in from the caller.

pub mod geometry;
pub mod outboard;
pub mod prove;
pub mod ranges;
pub mod verify;
