//! The one place where randomness enters the program.

use samara_protocol::trust::key::SigningKey;

/// Fresh random bytes.
///
/// # Panics
/// When the operating system has no randomness, without which nothing here may go on.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// A random id: a tenant's, a site's, a product's nonce.
#[must_use]
pub fn random_id() -> [u8; 16] {
    random()
}

/// A seed for choices that need no secrecy: jitter, shuffles.
#[must_use]
pub fn seed() -> u64 {
    u64::from_le_bytes(random())
}

/// A new key.
#[must_use]
pub fn new_key() -> SigningKey {
    SigningKey::from_seed(random())
}
