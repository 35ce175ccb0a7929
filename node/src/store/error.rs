//! What can go wrong with the store; every message names the culprit and the way out.

use std::io;
use std::path::{Path, PathBuf};

use samara_protocol::id::{ArtifactId, LayoutId, ManifestId};
use samara_protocol::manifest::layout::LayoutError;
use samara_protocol::units::show_bytes;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process owns the store.
    #[error("the store `{dir}` is in use by process {pid}; ask that process, or stop it first")]
    Owned {
        /// The store.
        dir: PathBuf,
        /// Who holds the lock, as that process wrote it.
        pid: String,
    },
    /// The folder was written by another version of the program.
    #[error(
        "the store `{dir}` has format `{found}`, this program knows `{known}`; use the program that wrote it, or another folder"
    )]
    Format {
        /// The store.
        dir: PathBuf,
        /// What its format file says.
        found: String,
        /// What it would have to say.
        known: &'static str,
    },
    /// Not enough room on the disk.
    #[error("disk full: {} are needed in `{dir}`, {} more than there are beside the {} that are left free; free some space on that disk, set a smaller `reserve` under [store], or let the node keep fewer releases (`keep`)", show_bytes(*needed), show_bytes(*missing), show_bytes(*kept))]
    DiskFull {
        /// The store.
        dir: PathBuf,
        /// Bytes that the operation takes.
        needed: u64,
        /// Bytes that are not there.
        missing: u64,
        /// Bytes that are left to others.
        kept: u64,
    },
    /// Not enough room below the operator's quota.
    #[error("quota: {} are needed in `{dir}`, {} more than the quota of {} leaves; raise `quota` under [store], or let the node keep fewer releases (`keep`)", show_bytes(*needed), show_bytes(*missing), show_bytes(*quota))]
    QuotaFull {
        /// The store.
        dir: PathBuf,
        /// Bytes that the operation takes.
        needed: u64,
        /// Bytes that are not there.
        missing: u64,
        /// The quota.
        quota: u64,
    },
    /// The file system refused.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The index (redb) refused.
    #[error(
        "the index `{path}` failed: {message}; the data files are not affected and it is opened anew with the next checkpoint"
    )]
    Index {
        /// The index file.
        path: PathBuf,
        /// What redb says.
        message: String,
    },
    /// No such layout is open.
    #[error("release {} is not open in the store", .0.manifest.short())]
    NotOpen(LayoutId),
    /// A group number beyond the layout, or of another kind or length than the layout says.
    #[error("group {group} does not fit the layout of release {}", .layout.manifest.short())]
    NoSuchGroup {
        /// Which layout.
        layout: LayoutId,
        /// Which group.
        group: u32,
    },
    /// The artifact (or part of it) is not held.
    #[error("artifact {0} is not whole in the store")]
    Absent(ArtifactId),
    /// The bytes on disk are not what the artifact's root says; they are reported as lost and will be fetched again.
    #[error("artifact {0} is damaged on disk and has to be fetched again")]
    Damaged(ArtifactId),
    /// The file is not what it should be.
    #[error("`{path}` is artifact {found}, not {expected}")]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// What was wanted.
        expected: ArtifactId,
        /// What it is.
        found: ArtifactId,
    },
    /// The file changed while it was read.
    #[error("`{path}` changed while it was read; publish from a folder that nobody writes to")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file is too large.
    #[error("`{path}`: {source}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        source: samara_protocol::tree::geometry::TooLarge,
    },
    /// The bytes are not the head that the id names.
    #[error("these bytes are not the head of release {0}")]
    NotTheHead(ManifestId),
    /// A layout could not be made.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl StoreError {
    /// Whether the cause is a lack of space: the same call may succeed after some was freed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::DiskFull { .. } | Self::QuotaFull { .. } => true,
            Self::Io { source, .. } => is_full(source),
            _ => false,
        }
    }
}

/// Whether the system said that there is no space.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Puts what was tried on what to an I/O error.
pub(super) trait Context<T> {
    /// See the trait.
    fn on(self, action: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> Context<T> for io::Result<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io {
            action,
            path: path.to_owned(),
            source,
        })
    }
}
