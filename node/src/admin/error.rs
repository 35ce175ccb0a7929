//! What can go wrong between a verb and a node.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use samara_protocol::limits::ADMIN_LINE_BYTES_MAX;

use super::api::Refusal;

/// Why the socket, or a request over it, does not work.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no socket, or nobody listens on it.
    #[error("{}: no node is running here; start one with `samara node run`, or name another with --socket", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// Another process listens on it.
    #[error("{}: another node is running here; stop it first, or give this one another home", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket lies there.
    #[error("{}: is in the way and no socket; move it, or set `socket` under [node]", path.display())]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The other end closed, or sent what is no message.
    #[error("{}: {what}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What came.
        what: String,
    },
    /// No answer in time.
    #[error("{}: the node does not answer within {} s; it hangs or is overloaded, see its log", path.display(), waited.as_secs())]
    TimedOut {
        /// The socket.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The caller wanted no more.
    #[error("{}: stopped waiting; the node goes on", path.display())]
    Stopped {
        /// The socket.
        path: PathBuf,
    },
    /// The node answered no.
    #[error(transparent)]
    Refused(Refusal),
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("a message of more than {ADMIN_LINE_BYTES_MAX} bytes")]
    TooLong,
    #[error("a message that cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a message of version {0}, this program speaks {schema}; use the same version of samara for both", schema = super::api::SCHEMA)]
    Version(u32),
    #[error("{named} files are named and {passed} came along")]
    Files { named: usize, passed: usize },
    #[error("files were lost on the way: too many are open; raise the limit of open files")]
    FilesLost,
    #[error("the other end closed in the middle of a message")]
    Cut,
}

impl LineError {
    pub(super) fn at(self, path: &Path) -> AdminError {
        let path = path.to_owned();
        match self {
            Self::Io(source) => AdminError::Io { path, source },
            other => AdminError::Broken {
                path,
                what: other.to_string(),
            },
        }
    }
}
