//! Ed25519 keys. Signing is deterministic, and a key comes from a seed that the caller drew: no entropy is used here.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::id::{IdError, NodeId};
use crate::trust::canonical;

/// An Ed25519 signature.
pub type Signature = [u8; 64];

/// Signs for one key. An implementation may ask a token, a KMS or another program, so it may fail.
pub trait Signer {
    /// The key that it signs for.
    fn public(&self) -> PublicKey;

    /// Signs `message`.
    ///
    /// # Errors
    /// When the key cannot be reached or refuses.
    fn sign(&self, message: &[u8]) -> Result<Signature, SignError>;
}

/// A signer did not sign.
#[derive(Debug, thiserror::Error)]
#[error("key {key} did not sign: {reason}")]
pub struct SignError {
    /// Which key.
    pub key: PublicKey,
    /// Why.
    pub reason: String,
}

/// A private key in this process's memory.
pub struct SigningKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// The key of a seed; the seed is the secret.
    ///
    /// # Panics
    /// Never: every 32-byte seed is a key.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("every 32-byte seed is a key");
        let public = pair
            .public_key()
            .as_ref()
            .try_into()
            .expect("an Ed25519 key has 32 bytes");
        Self {
            seed,
            pair,
            public: PublicKey(public),
        }
    }

    /// The seed, to write it to a key file.
    #[must_use]
    pub const fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// The public half as a node's name.
    #[must_use]
    pub const fn node_id(&self) -> NodeId {
        NodeId(self.public.0)
    }

    /// Signs `message`; the same message gives the same signature.
    ///
    /// # Panics
    /// Never: signing with a key in memory cannot fail.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signature = self.pair.sign(message);
        signature
            .as_ref()
            .try_into()
            .expect("an Ed25519 signature has 64 bytes")
    }
}

impl Signer for SigningKey {
    fn public(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        Ok(Self::sign(self, message))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public)
    }
}

/// An Ed25519 public key that is not (only) a node's: a role's or a site's. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .is_ok()
    }

    /// The key as TUF writes it.
    #[must_use]
    pub fn tuf_key(&self) -> Value {
        json!({"keytype": "ed25519", "keyval": {"public": self.to_string()}, "scheme": "ed25519"})
    }

    /// The key's id: SHA-256 of its canonical TUF form, in hexadecimal.
    ///
    /// # Panics
    /// Never: the form holds nothing that canonical JSON cannot write.
    #[must_use]
    pub fn key_id(&self) -> String {
        let bytes = canonical::encode(&self.tuf_key()).expect("plain strings are canonical JSON");
        data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
    }
}

impl From<NodeId> for PublicKey {
    fn from(node: NodeId) -> Self {
        Self(node.0)
    }
}

impl From<PublicKey> for NodeId {
    fn from(key: PublicKey) -> Self {
        Self(key.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

impl FromStr for PublicKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
        bytes
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(Self)
            .ok_or_else(|| IdError { text: text.to_owned() })
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_key_and_a_message_one_signature() {
        let key = SigningKey::from_seed([3; 32]);
        let again = SigningKey::from_seed([3; 32]);
        assert_eq!(key.public(), again.public());
        assert_eq!(key.sign(b"m"), again.sign(b"m"));
        assert!(key.public().verifies(b"m", &key.sign(b"m")));
        assert!(!key.public().verifies(b"n", &key.sign(b"m")));
        assert!(!SigningKey::from_seed([4; 32]).public().verifies(b"m", &key.sign(b"m")));
    }

    #[test]
    fn the_key_of_rfc_8032_test_1_is_derived_and_signs_as_written_there() {
        let seed = data_encoding::HEXLOWER
            .decode(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
            .expect("hex");
        let key = SigningKey::from_seed(seed.try_into().expect("32 bytes"));
        assert_eq!(
            key.public().to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert!(
            data_encoding::HEXLOWER
                .encode(&key.sign(b""))
                .starts_with("e5564300c360ac729086e2cc806e828a")
        );
    }

    #[test]
    fn the_key_id_is_the_one_that_sigstore_tuf_computes() {
        let key = SigningKey::from_seed([5; 32]).public();
        let tuf: sigstore_tuf::Key = serde_json::from_value(key.tuf_key()).expect("a TUF key");
        assert_eq!(tuf.key_id().expect("an id"), key.key_id());
    }
}
