//! Why a home cannot be used: which file, what is wrong, and the way out.

use std::io;
use std::path::{Path, PathBuf};

use samara_protocol::trust::join::JoinError;
use samara_protocol::trust::product::TrustError;

/// What is wrong with a home or a file in it.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others than the owner can read or write a key, or it belongs to somebody else.
    #[error("{}: {reason}; run `chmod 600` on it, and take a new key if others may have read it", path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Who can do what.
        reason: String,
    },
    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that must be there is not.
    #[error("{}: not there; {way_out}", path.display())]
    Absent {
        /// Which file.
        path: PathBuf,
        /// What makes it.
        way_out: &'static str,
    },
    /// Something that must not be there is.
    #[error("{}: exists already; {way_out}", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
        /// What to do.
        way_out: &'static str,
    },
    /// No product of that name.
    #[error("product `{name}` is not known here; {way_out}")]
    NoProduct {
        /// The name.
        name: String,
        /// What makes it known.
        way_out: String,
    },
    /// Metadata was refused.
    #[error("product `{name}`: {source}")]
    Trust {
        /// Which product.
        name: String,
        /// Why.
        #[source]
        source: TrustError,
    },
    /// A join file was refused.
    #[error(transparent)]
    Join(#[from] JoinError),
}

impl AccessError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn damaged(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
