//! Keys and credentials on disk: vendor, site and node keys, grants, enrolments, contacts, the product's metadata.
//!
//! Three homes, which may lie on three machines or on one: the [`vendor`]'s (role keys, products, whom it granted), the
//! [`site`]'s (site key, grants, whom it enrolled) and the [`machine`]'s, a node's or host's (its identity, and each
//! product's verified metadata and credentials). Key files are 0600 and checked when opened; every write is atomic
//! ([`disk`]). Entropy enters the program in [`entropy`] alone. What a signature means is decided in `protocol`.

pub mod disk;
pub mod entropy;
pub mod error;
pub mod key_file;
pub mod machine;
pub mod product;
pub mod site;
pub mod standing;
pub mod vendor;

pub use error::AccessError;
pub use machine::Machine;
pub use product::ProductHome;
pub use standing::Standing;

#[cfg(test)]
mod tests;
