//! How a node is, for `status`, in base units: bytes, bytes a second, seconds, RFC 3339 in UTC.

use samara_protocol::id::{ManifestId, NodeId, Part, ProductId};
use samara_protocol::swarm::io::{Distance, UploadAudience};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::api::Stage;

/// Everything that `status` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node itself.
    pub node: NodeStatus,
    /// Its limits and how it uses them.
    pub limits: LimitStatus,
    /// Its disk.
    pub store: StoreStatus,
    /// What it carries.
    pub products: Vec<ProductStatus>,
    /// What moves, or is ready to.
    pub transfers: Vec<TransferStatus>,
    /// Whom it is connected to.
    pub peers: Vec<PeerStatus>,
}

/// The node itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its PeerId.
    pub peer: NodeId,
    /// `origin` or `site`.
    pub role: String,
    /// The program's version.
    pub version: String,
    /// Since its start.
    pub uptime_seconds: u64,
    /// Where it listens, `host:port`.
    pub listening: Vec<String>,
    /// Where it says it can be reached.
    pub external: Vec<String>,
    /// Whether others can dial it.
    pub dialable: Dialable,
}

/// Whether others can dial a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialable {
    /// Somebody has.
    Yes,
    /// It listens, and nobody has dialled it yet.
    Unknown,
    /// It does not listen beyond this machine.
    No,
}

/// The limits and how they are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitStatus {
    /// Configured; `None` is no limit.
    pub up_bytes_per_second: Option<u64>,
    /// Configured; `None` is no limit.
    pub down_bytes_per_second: Option<u64>,
    /// Who is served: `off`, `site`, `tenant` or `all`.
    pub upload: String,
    /// Payload sent, over the last five seconds.
    pub sending_bytes_per_second: u64,
    /// Payload received, over the last five seconds.
    pub receiving_bytes_per_second: u64,
    /// Payload sent since the start.
    pub sent_bytes: u64,
    /// Payload received since the start.
    pub received_bytes: u64,
}

/// The store's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// On disk now.
    pub used_bytes: u64,
    /// Promised to running transfers.
    pub reserved_bytes: u64,
    /// What could still be written.
    pub free_bytes: u64,
    /// Configured; `None` is what the disk has.
    pub quota_bytes: Option<u64>,
}

/// A product that the node carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductStatus {
    /// As this site calls it.
    pub name: String,
    /// Its id.
    pub id: ProductId,
    /// When its newest timestamp was signed; `None` before the first.
    pub metadata_at: Option<String>,
    /// When that expires.
    pub metadata_expires: Option<String>,
    /// How this node's own credentials stand: `good`, `ends_soon` (within 30 days), `ended`, `revoked` or `unusable`.
    pub credentials: String,
    /// Until when they are or were good, where that is known.
    pub credentials_until: Option<String>,
    /// Older than tolerated: verified releases are served, "latest" is refused.
    pub stale: bool,
    /// What its followed channels have promoted last.
    pub channels: Vec<ChannelStatus>,
}

/// A followed channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Its name.
    pub name: String,
    /// The release promoted last.
    pub version: Option<Version>,
    /// How far that is here.
    pub stage: Option<Stage>,
}

/// One transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferStatus {
    /// As this site calls it.
    pub product: String,
    /// Which release.
    pub version: Version,
    /// The BLAKE3 of its head.
    pub manifest: ManifestId,
    /// `entries` or `payload`.
    pub part: PartName,
    /// How far it is.
    pub stage: Stage,
    /// Bytes wanted that are verified.
    pub have_bytes: u64,
    /// Of those, safe from a power loss.
    pub durable_bytes: u64,
    /// Bytes wanted.
    pub wanted_bytes: u64,
    /// Bytes a second, lately.
    pub bytes_per_second: u64,
    /// At that rate; `None` when nothing moves or nothing is missing.
    pub eta_seconds: Option<u64>,
    /// Where bytes came from.
    pub sources: Vec<SourceBytes>,
    /// Served to others.
    pub sent_bytes: u64,
    /// What it waits for, when nothing moves.
    pub waiting_for: Option<String>,
}

/// Which of a release's layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartName {
    /// The entries list.
    Entries,
    /// Attachments and files.
    Payload,
}

impl From<Part> for PartName {
    fn from(part: Part) -> Self {
        match part {
            Part::Entries => Self::Entries,
            Part::Payload => Self::Payload,
        }
    }
}

/// Bytes from one class of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceBytes {
    /// Which class.
    pub source: SourceClass,
    /// Payload bytes.
    pub bytes: u64,
}

/// Where bytes come from, cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceClass {
    /// Verified before this transfer began, or before the node was started again.
    Resumed,
    /// Held already, in an older release.
    Reused,
    /// A node of the own site.
    Site,
    /// Another site of the own tenant.
    Tenant,
    /// Another tenant's site in the region.
    Region,
    /// Any other site.
    Other,
    /// The vendor.
    Origin,
}

impl SourceClass {
    /// The word in JSON and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resumed => "resumed",
            Self::Reused => "reused",
            Self::Site => "site",
            Self::Tenant => "tenant",
            Self::Region => "region",
            Self::Other => "other",
            Self::Origin => "origin",
        }
    }
}

impl From<Distance> for SourceClass {
    fn from(distance: Distance) -> Self {
        match distance {
            Distance::Site => Self::Site,
            Distance::Tenant => Self::Tenant,
            Distance::Region => Self::Region,
            Distance::Other => Self::Other,
            Distance::Origin => Self::Origin,
        }
    }
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its PeerId.
    pub peer: NodeId,
    /// Its end, `host:port`.
    pub address: String,
    /// How far away it is; never `resumed` or `reused`.
    pub distance: SourceClass,
    /// Whether this node dialled.
    pub dialled: bool,
    /// Since it was admitted.
    pub connected_seconds: u64,
    /// Payload from it.
    pub received_bytes: u64,
    /// Payload to it.
    pub sent_bytes: u64,
}

/// The word for an audience in `status` and the configuration.
#[must_use]
pub fn audience(audience: UploadAudience) -> String {
    crate::config::settings::audience_name(audience).to_owned()
}
