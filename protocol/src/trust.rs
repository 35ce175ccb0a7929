//! Who may say what: TUF metadata of a product, and the statements beside it.
//!
//! Two kinds of signed things. TUF metadata ([`product`], written by [`writer`]) says what exists: releases, channels,
//! recalls, revocations. Statements ([`dsse`] envelopes) say who may have it: a [`grant`] by the vendor's `grants` role,
//! an [`enrolment`] by the site key, a [`contact`] by the node itself. [`credentials`] is the chain that a peer shows.
//!
//! Nothing here reads a clock or makes a key: the time is a [`crate::time::WallTime`] argument and a key comes from a
//! 32-byte seed. Every decoder is bounded and takes exactly one encoding of a thing (canonical JSON), so a document has
//! one set of bytes and a changed byte is a changed document.

pub mod canonical;
pub mod contact;
pub mod credentials;
pub mod document;
pub mod dsse;
pub mod enrolment;
pub mod files;
pub mod grant;
pub mod join;
pub mod key;
pub mod product;
pub mod release;
pub mod request;
pub mod role;
mod verify;
pub mod writer;

pub use release::VerifiedManifest;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod hostile_tests;
