//! Identities: 32-byte names with one meaning each, so that one is never taken for another.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id: 64 lower-case hexadecimal digits are needed")]
pub struct IdError {
    /// What was given.
    pub text: String,
}

/// Orders ids by their bytes, eight at a time: what a scheduler knows is looked up by ids, again and again.
macro_rules! by_bytes {
    ($name:ident) => {
        impl Ord for $name {
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                words(&self.0).cmp(&words(&other.0))
            }
        }

        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
    };
}

/// The same as numbers, so that their order is that of the bytes.
#[inline]
fn words(bytes: &[u8; 32]) -> [u64; 4] {
    std::array::from_fn(|at| {
        let word = bytes[8 * at..].first_chunk().expect("four words");
        u64::from_be_bytes(*word)
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub [u8; 32]);

        by_bytes!($name);

        impl $name {
            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first eight hexadecimal digits, for logs.
            #[must_use]
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
                bytes
                    .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                    .map(Self)
                    .ok_or_else(|| IdError { text: text.to_owned() })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// The plain BLAKE3 root of an artifact's bytes: `b3sum` of the file equals it.
    ArtifactId
}
id! {
    /// The SHA-256 of an artifact's bytes, for tools that know no BLAKE3.
    Sha256
}
id! {
    /// The BLAKE3 of a manifest head's bytes: names one immutable release.
    ManifestId
}
id! {
    /// The BLAKE3 of a product's first root metadata file.
    ProductId
}
id! {
    /// The BLAKE3 of a signed statement's payload: names one grant or enrolment.
    StatementId
}

/// A node's or host's Ed25519 public key. Shown as its libp2p PeerId.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub [u8; 32]);

by_bytes!(NodeId);

/// What stands before the 32 key bytes in an Ed25519 PeerId: identity multihash of a protobuf public key.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The text is not the PeerId of an Ed25519 key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a node's PeerId: base58 text starting with 12D3Koo is needed")]
pub struct NodeIdError {
    /// What was given.
    pub text: String,
}

impl NodeId {
    /// The raw public key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The last eight characters of the PeerId, for logs (the first ones are the same for all).
    #[must_use]
    pub fn short(&self) -> String {
        let text = self.to_string();
        text[text.len().saturating_sub(8)..].to_owned()
    }

    /// The bytes of the libp2p PeerId.
    #[must_use]
    pub fn peer_id_bytes(&self) -> [u8; 38] {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }

    /// The key inside a libp2p PeerId's bytes, if it holds an Ed25519 key.
    #[must_use]
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Option<Self> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        key.try_into().ok().map(Self)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.peer_id_bytes()).into_string())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.short())
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        bs58::decode(text)
            .into_vec()
            .ok()
            .and_then(|bytes| Self::from_peer_id_bytes(&bytes))
            .ok_or_else(|| NodeIdError { text: text.to_owned() })
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which of a release's two layouts: the entries list travels first, through the same swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Part {
    /// The entries list alone.
    Entries = 0,
    /// Attachments and files.
    Payload = 1,
}

/// Names one layout: what is announced, wanted and requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutId {
    /// The release.
    pub manifest: ManifestId,
    /// The list or the payload.
    pub part: Part,
}

/// One outgoing data request of this node; never reused within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One incoming data request at this node; never reused within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServeId(pub u64);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_stand_in_the_order_of_their_bytes(one in any::<[u8; 32]>(), other in any::<[u8; 32]>(), same in 0usize..33) {
            let mut other = other;
            other[..same].copy_from_slice(&one[..same]);
            prop_assert_eq!(NodeId(one).cmp(&NodeId(other)), one.cmp(&other));
            prop_assert_eq!(ManifestId(one).partial_cmp(&ManifestId(other)), one.partial_cmp(&other));
        }

        #[test]
        fn a_text_is_an_id_only_if_it_is_how_that_id_is_shown(
            text in prop_oneof![".{0,70}", "[0-9a-fA-F]{62,66}", "12D3Koo[1-9A-HJ-NP-Za-km-z]{40,50}"]
        ) {
            if let Ok(id) = text.parse::<ManifestId>() {
                prop_assert_eq!(id.to_string(), text.clone());
            }
            if let Ok(id) = text.parse::<NodeId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn bytes_are_a_peer_id_only_if_they_are_that_of_a_node(bytes in proptest::collection::vec(any::<u8>(), 30..42)) {
            if let Some(id) = NodeId::from_peer_id_bytes(&bytes) {
                prop_assert_eq!(id.peer_id_bytes().to_vec(), bytes);
            }
        }
    }

    #[test]
    fn node_id_is_shown_as_a_libp2p_peer_id_and_read_back() {
        let id = NodeId([7; 32]);
        assert!(id.to_string().starts_with("12D3Koo"), "{id}");
        assert_eq!(id.to_string().parse::<NodeId>(), Ok(id));
        assert!("12D3Koo".parse::<NodeId>().is_err());
    }

    #[test]
    fn hex_ids_refuse_upper_case_and_other_lengths() {
        let id = ArtifactId([0xab; 32]);
        assert_eq!(id.to_string().parse::<ArtifactId>(), Ok(id));
        assert!(id.to_string().to_uppercase().parse::<ArtifactId>().is_err());
        assert!("ab".parse::<ArtifactId>().is_err());
    }
}
