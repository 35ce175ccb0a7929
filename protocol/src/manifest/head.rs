//! The head of a manifest: the small signed file from which everything else of a release follows.
//!
//! Invariant: a head has one spelling, canonical JSON (keys sorted, no white space), and its BLAKE3 is the release's
//! [`ManifestId`]. It carries the product's id and no name. That a head is the vendor's is for [`crate::trust`] to say.

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use super::entry::{Artifact, EntryError, MediaType};
use super::path::{PathError, ReleasePath};
use super::twins::fold;
use crate::id::{ManifestId, ProductId};
use crate::limits::{
    ATTACHMENTS_MAX, DEPENDENCIES_MAX, ENTRIES_BYTES_MAX, ENTRIES_MAX, GROUP_BYTES, GROUPS_MAX, HEAD_BYTES_MAX,
    VERSION_BYTES_MAX,
};

/// The only schema that is understood.
pub const SCHEMA: u32 = 0;

/// Why bytes are no head.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// Too long.
    #[error("a manifest head of {0} bytes is longer than the {HEAD_BYTES_MAX} allowed")]
    Long(u64),
    /// Not the JSON that is expected.
    #[error("it is not a manifest head")]
    Json(#[from] serde_json::Error),
    /// Written by another version of Samara.
    #[error("the manifest head has schema {0}; this samara understands schema {SCHEMA}: update it")]
    Schema(u32),
    /// The version is no semantic version in its one spelling, or has build metadata.
    #[error("`{0}` cannot be a release's version; write a semantic version without build metadata, for example 2.4.1")]
    Version(String),
    /// A count or total that cannot be.
    #[error("the manifest head says {0}, which cannot be")]
    Value(&'static str),
    /// An artifact that cannot be.
    #[error(transparent)]
    Artifact(#[from] EntryError),
    /// An attachment's name.
    #[error(transparent)]
    Name(#[from] PathError),
    /// Attachments or dependencies out of order, twice, or too many.
    #[error("the manifest head's {0} are out of order, listed twice or too many")]
    Order(&'static str),
    /// Right but spelled in another way.
    #[error("the manifest head is not in canonical form (sorted keys, no white space)")]
    Canonical,
}

/// How urgent the vendor says a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// As any.
    #[default]
    Normal,
    /// Closes a security hole.
    Security,
}

/// The entries list as the head names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntriesRef {
    /// Its bytes.
    pub artifact: Artifact,
    /// How many entries.
    pub count: u32,
}

/// What travels beside the list: known before the list is there, checked when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadTotals {
    /// Bytes, each artifact once.
    pub bytes: u64,
    /// Groups of the layout.
    pub groups: u32,
}

/// Something that belongs to a release and is not installed: notes, an SBOM, provenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// Its bytes.
    pub artifact: Artifact,
    /// What they are.
    #[serde(rename = "mediaType")]
    pub media_type: MediaType,
    /// Its name, a single component under the rules of [`ReleasePath`].
    pub name: String,
}

/// Another product that must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// Which product.
    pub product: ProductId,
    /// Which versions of it.
    pub version: VersionReq,
}

/// The head; fields in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Sorted by name.
    pub attachments: Vec<Attachment>,
    /// Sorted by product.
    #[serde(rename = "dependsOn")]
    pub depends_on: Vec<Dependency>,
    /// The list.
    pub entries: EntriesRef,
    /// What the list and the attachments add up to.
    pub payload: PayloadTotals,
    /// Whose release it is.
    pub product: ProductId,
    /// Whether an upgrade may not jump over it.
    pub required: bool,
    /// [`SCHEMA`].
    pub schema: u32,
    /// From which versions one may come; from any when absent.
    #[serde(rename = "upgradeFrom", default, skip_serializing_if = "Option::is_none")]
    pub upgrade_from: Option<VersionReq>,
    /// How urgent it is.
    pub urgency: Urgency,
    /// Which version it is.
    pub version: Version,
}

impl Head {
    /// The canonical bytes.
    ///
    /// # Errors
    /// When a field is one that [`Self::decode`] refuses.
    pub fn encode(&self) -> Result<Vec<u8>, HeadError> {
        self.check()?;
        let bytes = serde_json::to_vec(self)?;
        if bytes.len() as u64 > HEAD_BYTES_MAX {
            return Err(HeadError::Long(bytes.len() as u64));
        }
        Ok(bytes)
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// When they are not the canonical bytes of a possible head.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        if bytes.len() as u64 > HEAD_BYTES_MAX {
            return Err(HeadError::Long(bytes.len() as u64));
        }
        let head: Self = match serde_json::from_slice(bytes) {
            Ok(head) => head,
            Err(error) => return Err(other_schema(bytes).unwrap_or(HeadError::Json(error))),
        };
        if head.encode()? == bytes {
            Ok(head)
        } else {
            Err(HeadError::Canonical)
        }
    }

    /// The release's name, from its head's bytes.
    #[must_use]
    pub fn id_of(bytes: &[u8]) -> ManifestId {
        ManifestId(*blake3::hash(bytes).as_bytes())
    }

    fn check(&self) -> Result<(), HeadError> {
        if self.schema != SCHEMA {
            return Err(HeadError::Schema(self.schema));
        }
        check_version(&self.version)?;
        self.entries.artifact.check()?;
        let EntriesRef { artifact, count } = self.entries;
        let possible =
            artifact.size <= ENTRIES_BYTES_MAX && count <= ENTRIES_MAX && (count == 0) == (artifact.size == 0);
        if !possible {
            return Err(HeadError::Value("a size or count of the entries list"));
        }
        let PayloadTotals { bytes, groups } = self.payload;
        if groups > GROUPS_MAX || bytes > u64::from(groups) * GROUP_BYTES || bytes < u64::from(groups) {
            return Err(HeadError::Value("payload totals"));
        }
        if self.attachments.len() > ATTACHMENTS_MAX || self.attachments.windows(2).any(|two| two[0].name >= two[1].name)
        {
            return Err(HeadError::Order("attachments"));
        }
        let mut folded: Vec<String> = self.attachments.iter().map(|one| fold(&one.name)).collect();
        folded.sort();
        if folded.windows(2).any(|two| two[0] == two[1]) {
            return Err(HeadError::Order("attachments"));
        }
        for attachment in &self.attachments {
            attachment.artifact.check()?;
            if ReleasePath::new(&attachment.name)?.depth() > 0 {
                return Err(HeadError::Value("an attachment's name with a slash"));
            }
        }
        if self.depends_on.len() > DEPENDENCIES_MAX
            || self.depends_on.windows(2).any(|two| two[0].product >= two[1].product)
        {
            return Err(HeadError::Order("dependencies"));
        }
        Ok(())
    }
}

/// Reads a version as a release may have it: one spelling, no build metadata (which would give two releases one place in
/// the order).
///
/// # Errors
/// Names the text and gives an example.
pub fn parse_version(text: &str) -> Result<Version, HeadError> {
    let error = || HeadError::Version(text.chars().take(100).collect());
    let version = Version::parse(text).map_err(|_| error())?;
    check_version(&version)?;
    Ok(version)
}

fn check_version(version: &Version) -> Result<(), HeadError> {
    let text = version.to_string();
    if !version.build.is_empty() || text.len() > VERSION_BYTES_MAX {
        return Err(HeadError::Version(text.chars().take(100).collect()));
    }
    Ok(())
}

/// When bytes are no head that we know because a later Samara wrote them, the schema says so.
fn other_schema(bytes: &[u8]) -> Option<HeadError> {
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }
    let Schema { schema } = serde_json::from_slice(bytes).ok()?;
    (schema != SCHEMA).then_some(HeadError::Schema(schema))
}

#[cfg(test)]
mod tests;
