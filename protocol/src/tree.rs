//! BLAKE3 trees over groups of 64 KiB: outboards, proofs, verification.
pub mod ranges;
