//! What verbs ask of a running node and what it answers. The two ends are the same program; `SCHEMA` changes when they
//! stop understanding each other.

use samara_protocol::id::{ArtifactId, ManifestId, ProductId};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::record::Record;
use super::status::{SourceBytes, Status};

/// The version of the lines on the socket.
pub const SCHEMA: u32 = 1;

/// What a verb asks. "Files" are passed open beside the line, in the order named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Request {
    /// How the node is: [`Response::Status`].
    Status,
    /// What the node finds wrong with itself: [`Response::Checks`].
    Doctor,
    /// Everything that happens from now on: [`Response::Event`] until the verb closes.
    Events,
    /// A release is to be published on this connection: [`Response::Publishing`].
    PublishBegin {
        /// Its product, as this node calls it.
        product: String,
        /// Its version.
        version: Version,
        /// Take a second name for large files instead of a copy, at the publisher's risk.
        link: bool,
    },
    /// Contents of the release, one file each, at most `ADMIN_FILES_MAX` a request: [`Response::Done`] once imported.
    PublishArtifacts {
        /// What the files are.
        artifacts: Vec<Artifact>,
    },
    /// The release itself. Files: the head, the entries list, then the signed files. Checked as a consumer would:
    /// [`Response::Published`].
    PublishCommit {
        /// The BLAKE3 of the head.
        manifest: ManifestId,
        /// The signed metadata that goes with it.
        signed: Vec<SignedFile>,
    },
    /// Signed metadata to take in, one file each: [`Response::Done`].
    Import {
        /// Of which product; without one it is refused.
        product: Option<ProductId>,
        /// What they are called.
        signed: Vec<SignedFile>,
    },
    /// Read again what verbs have written into the homes of the products that this node carries, credentials for one:
    /// [`Response::Done`]. The configuration is read at the start alone.
    Reload,
    /// Fetch a release for somebody who waits: [`Response::Progress`] until [`Response::Release`].
    Want {
        /// Which release.
        release: ReleaseName,
        /// For which platforms; `None` is what the node is configured for.
        platforms: Option<Vec<String>>,
        /// One path of it only.
        entry: Option<String>,
    },
    /// What the node has of a release: [`Response::Release`].
    Release {
        /// Which.
        release: ReleaseName,
    },
    /// Stop as after SIGTERM: [`Response::Done`], then the socket goes away.
    Shutdown,
}

impl Request {
    /// The word for it in logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Doctor => "doctor",
            Self::Events => "events",
            Self::PublishBegin { .. } => "publish_begin",
            Self::PublishArtifacts { .. } => "publish_artifacts",
            Self::PublishCommit { .. } => "publish_commit",
            Self::Import { .. } => "import",
            Self::Reload => "reload",
            Self::Want { .. } => "want",
            Self::Release { .. } => "release",
            Self::Shutdown => "shutdown",
        }
    }

    /// How many files must come with it.
    #[must_use]
    pub const fn files(&self) -> usize {
        match self {
            Self::PublishArtifacts { artifacts } => artifacts.len(),
            Self::PublishCommit { signed, .. } => 2 + signed.len(),
            Self::Import { signed, .. } => signed.len(),
            Self::Status
            | Self::Doctor
            | Self::Events
            | Self::PublishBegin { .. }
            | Self::Reload
            | Self::Want { .. }
            | Self::Release { .. }
            | Self::Shutdown => 0,
        }
    }
}

/// What the verb says a file holds; the node hashes it and believes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The BLAKE3 root.
    pub root: ArtifactId,
    /// Bytes.
    pub size: u64,
}

/// A signed file's name in its repository, e.g. `releases/1.0.0.json` or `3.root.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedFile {
    /// Relative, with `/` between parts.
    pub name: String,
}

/// A product and which of its releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseName {
    /// As this site calls it, `vendor/product`.
    pub product: String,
    /// A version or a channel's newest.
    pub select: Select,
}

/// Which release of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// This one.
    Version(Version),
    /// What the channel has promoted last.
    Channel(String),
}

/// What the node answers. The last line of an answer is never `Progress` or `Event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Response {
    /// It is done.
    Done,
    /// It is not done.
    Refused(Refusal),
    /// How the node is.
    Status(Box<Status>),
    /// What it found out about itself.
    Checks {
        /// One finding each.
        checks: Vec<Check>,
    },
    /// Something happened.
    Event(Record),
    /// Go on with the contents.
    Publishing {
        /// The version is there already; publishing the same content again is a no-op.
        published: Option<ManifestId>,
    },
    /// The release is published.
    Published {
        /// Which.
        manifest: ManifestId,
        /// It had been before, with the same content.
        again: bool,
    },
    /// How far it is, at least every second.
    Progress(Progress),
    /// What the node has of a release.
    Release(ReleaseState),
}

/// Why a request is not done, in words for the person at the verb. What only an operator may know is in the node's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{culprit}: {what}")]
pub struct Refusal {
    /// For the exit code.
    pub reason: RefusalKind,
    /// What the reader must look at.
    pub culprit: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub way_out: Option<String>,
}

impl Refusal {
    /// A refusal; see [`Refusal::way_out`].
    pub fn new(reason: RefusalKind, culprit: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            reason,
            culprit: culprit.into(),
            what: what.into(),
            way_out: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn way_out(mut self, text: impl Into<String>) -> Self {
        self.way_out = Some(text.into());
        self
    }
}

/// The kinds of refusal, one for each exit code but 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// None of the others.
    Failure,
    /// The request or its input is wrong.
    Usage,
    /// Not there, or not for this site.
    Absent,
    /// The caller or the node may not.
    Denied,
    /// Bytes or signatures are not what they must be.
    Unverified,
    /// Disk or quota.
    DiskFull,
    /// The node is stopping; ask again.
    Interrupted,
    /// Nobody who could help can be reached.
    Unreachable,
    /// Metadata is older than tolerated.
    Stale,
    /// It exists and differs, or somebody else is at it.
    Conflict,
}

/// A finding about a machine or node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at, one word.
    pub name: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub way_out: Option<String>,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Could not be looked at.
    Skipped,
    /// Works, but not as well as it could.
    Warning,
    /// Does not work.
    Failed,
}

/// How far a wanted release is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done or waited for, in words.
    pub phase: String,
    /// Bytes wanted that are verified.
    pub have_bytes: u64,
    /// Bytes wanted; 0 until the entries list is here.
    pub wanted_bytes: u64,
    /// Bytes a second, lately.
    pub bytes_per_second: u64,
    /// Where bytes came from so far.
    pub sources: Vec<SourceBytes>,
}

/// What a node has of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseState {
    /// The product, as this site calls it.
    pub product: String,
    /// Its id.
    pub product_id: ProductId,
    /// The version.
    pub version: Version,
    /// The BLAKE3 of the head.
    pub manifest: ManifestId,
    /// How far it is.
    pub stage: Stage,
    /// Bytes wanted that are verified.
    pub have_bytes: u64,
    /// Bytes wanted.
    pub wanted_bytes: u64,
    /// Where bytes came from.
    pub sources: Vec<SourceBytes>,
}

/// How far a release is at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Known from the metadata, nothing fetched.
    Offered,
    /// On its way.
    Fetching,
    /// All here and checked, but not safe from a power loss yet.
    Verified,
    /// All here and durable.
    Staged,
}
