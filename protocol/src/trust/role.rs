//! The eight roles of a product's repository, their names, files and target paths.
//!
//! ```text
//! root --+-- targets (offline; delegations and nothing else) --+-- releases  releases/*.json
//!        +-- snapshot (the one sealing origin)                 +-- channels  channels/*.json
//!        +-- timestamp (the one sealing origin)                +-- recalls   recalls.json
//!                                                              +-- grants    revoked.json; signs grants too
//! ```

use std::fmt;

/// A role of a product: each has its own keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Names everybody's keys, its own successors' included. Offline.
    Root,
    /// Names the keys of the four roles below it. Offline.
    Targets,
    /// Fixes one version of every file. The sealing origin's.
    Snapshot,
    /// Says which snapshot is current, and until when. The sealing origin's.
    Timestamp,
    /// Binds versions to manifests. A CI job's.
    Releases,
    /// Puts releases on channels.
    Channels,
    /// Takes releases back, for ever.
    Recalls,
    /// Signs grants, and revokes.
    Grants,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Root,
        Self::Targets,
        Self::Snapshot,
        Self::Timestamp,
        Self::Releases,
        Self::Channels,
        Self::Recalls,
        Self::Grants,
    ];

    /// The four roles whose keys the root names.
    pub const TOP: [Self; 4] = [Self::Root, Self::Snapshot, Self::Targets, Self::Timestamp];

    /// The four roles that `targets` delegates to, in that order.
    pub const DELEGATED: [Self; 4] = [Self::Releases, Self::Channels, Self::Recalls, Self::Grants];

    /// The role's name in metadata.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
            Self::Releases => "releases",
            Self::Channels => "channels",
            Self::Recalls => "recalls",
            Self::Grants => "grants",
        }
    }

    /// The role with that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// The target paths that a delegated role may sign for; none for the others.
    #[must_use]
    pub const fn path_pattern(self) -> Option<&'static str> {
        match self {
            Self::Root | Self::Targets | Self::Snapshot | Self::Timestamp => None,
            Self::Releases => Some("releases/*.json"),
            Self::Channels => Some("channels/*.json"),
            Self::Recalls => Some(RECALLS_PATH),
            Self::Grants => Some(REVOKED_PATH),
        }
    }

    /// The name of its file in a snapshot, e.g. `releases.json`.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{}.json", self.as_str())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The one target of the `recalls` role.
pub const RECALLS_PATH: &str = "recalls.json";
/// The one target of the `grants` role.
pub const REVOKED_PATH: &str = "revoked.json";

/// The target path of a release's manifest head.
#[must_use]
pub fn release_path(version: &semver::Version) -> String {
    format!("releases/{version}.json")
}

/// The version in a release's target path.
#[must_use]
pub fn release_version(path: &str) -> Option<semver::Version> {
    let text = path.strip_prefix("releases/")?.strip_suffix(".json")?;
    let version: semver::Version = text.parse().ok()?;
    (release_path(&version) == path).then_some(version)
}
