//! What a release is made of.
pub mod layout;
pub mod reply;
