//! Verified manifests: the only heads that a node acts on.

use std::sync::Arc;

use semver::Version;
use sha2::{Digest, Sha256};

use crate::id::{ManifestId, ProductId};
use crate::manifest::head::Head;
use crate::trust::document::{Promotion, Recall};
use crate::trust::grant::ChannelName;
use crate::trust::product::ProductTrust;

/// A manifest head that the product's `releases` role has signed for (AI-6). The one constructor is
/// [`VerifiedManifest::verify`].
#[derive(Debug, Clone)]
pub struct VerifiedManifest {
    product: ProductId,
    version: Version,
    id: ManifestId,
    bytes: Arc<[u8]>,
    head: Arc<Head>,
    listings: Vec<(ChannelName, Promotion)>,
    recall: Option<Recall>,
}

/// Why a head is not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestRefusal {
    /// The `releases` role has never bound this version.
    #[error("the product has no release {version}; `samara status` lists what it has")]
    Unknown {
        /// Which.
        version: Version,
    },
    /// The bytes are not the ones that were signed for.
    #[error("these are not the bytes of the manifest head of {version}; fetch it again")]
    OtherBytes {
        /// Of which release.
        version: Version,
    },
    /// The `releases` role has signed for something that is no head of this release.
    #[error("the vendor signed a manifest head of {version} that cannot be used: {reason}")]
    Unusable {
        /// Of which release.
        version: Version,
        /// Why.
        reason: String,
    },
}

impl VerifiedManifest {
    /// Checks `head` against what the product's `releases` role says of `version`, by length, SHA-256 and BLAKE3, and
    /// notes what channels and recalls say of it. Whether it may be offered is [`VerifiedManifest::recall`] and
    /// [`crate::trust::document::Documents::offered`].
    ///
    /// # Errors
    /// When there is no such release, or the bytes are not its head.
    pub fn verify(
        trust: &ProductTrust,
        version: &Version,
        head: impl Into<Arc<[u8]>>,
    ) -> Result<Self, ManifestRefusal> {
        let bytes: Arc<[u8]> = head.into();
        let documents = trust.documents();
        let unknown = || ManifestRefusal::Unknown {
            version: version.clone(),
        };
        let record = documents.releases.get(version).ok_or_else(unknown)?;
        let same = record.length == bytes.len() as u64
            && record.manifest.0 == *blake3::hash(&bytes).as_bytes()
            && record.sha256[..] == Sha256::digest(&bytes)[..];
        if !same {
            return Err(ManifestRefusal::OtherBytes {
                version: version.clone(),
            });
        }
        let unusable = |reason: String| ManifestRefusal::Unusable {
            version: version.clone(),
            reason,
        };
        let parsed = Head::decode(&bytes).map_err(|error| unusable(error.to_string()))?;
        if parsed.product != trust.product() || parsed.version != *version {
            return Err(unusable(format!(
                "it is the head of {} {}",
                parsed.product, parsed.version
            )));
        }
        let listings = documents.listings(record.manifest);
        Ok(Self {
            product: trust.product(),
            version: version.clone(),
            id: record.manifest,
            head: Arc::new(parsed),
            bytes,
            listings: listings.map(|(name, place)| (name.clone(), place.clone())).collect(),
            recall: documents.recalls.get(&record.manifest).cloned(),
        })
    }

    /// Of which product.
    #[must_use]
    pub const fn product(&self) -> ProductId {
        self.product
    }

    /// Which version.
    #[must_use]
    pub const fn version(&self) -> &Version {
        &self.version
    }

    /// The head's id.
    #[must_use]
    pub const fn id(&self) -> ManifestId {
        self.id
    }

    /// The head.
    #[must_use]
    pub const fn head(&self) -> &Arc<Head> {
        &self.head
    }

    /// The head's bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// The channels that listed it when it was verified, with its place on each.
    #[must_use]
    pub fn listings(&self) -> &[(ChannelName, Promotion)] {
        &self.listings
    }

    /// Its recall, when it had one at that time.
    #[must_use]
    pub const fn recall(&self) -> Option<&Recall> {
        self.recall.as_ref()
    }
}
