//! What peers say to each other, and its bytes.
pub mod codec;
pub mod message;
