//! What peers say to each other, and its bytes.
//!
//! `docs/wire.md` has every layout. Nothing here touches a socket: bytes in, values out, and back.

pub mod codec;
pub mod control;
pub mod data;
pub mod frame;
pub mod hello;
pub mod message;

#[cfg(test)]
mod tests;
