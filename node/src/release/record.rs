//! What Samara keeps in `DIR/.samara`: what lies in the folder, and what a switch is about to do.
//!
//! | name | is |
//! |---|---|
//! | `lock` | held while anything is placed |
//! | `manifest`, `entries` | the placed release's head and list, byte for byte |
//! | `record` | what was written, with size, time and inode: how it is known that nobody altered it |
//! | `stage/` | what is being prepared: `new/` is a tree of all that changes |
//! | `journal` | there while a switch runs: the record that will be |
//! | `salvage/` | large artifacts that a crashed attempt had already taken, by id |
//! | `kept/N/` | files that stood in the way of switch N and were not ours |
//!
//! Record and journal are written whole under another name and renamed. One that cannot be read counts as not there:
//! everything that they say is checked against the disk, so the cost is hashing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{FileType, FlockOperation, Stat};
use samara_protocol::id::{ArtifactId, ManifestId};
use samara_protocol::limits::RECORD_BYTES_MAX;
use samara_protocol::manifest::path::{OWN_FOLDER, ReleasePath};
use samara_protocol::manifest::platform::Platform;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::digest::root_of;
use super::dir::{Dir, kind};

pub(super) const RECORD: &str = "record";
pub(super) const JOURNAL: &str = "journal";
pub(super) const MANIFEST: &str = "manifest";
/// The entries list of the release that lies there.
pub const ENTRIES: &str = "entries";
pub(super) const STAGE: &str = "stage";
pub(super) const NEW: &str = "new";
pub(super) const SALVAGE: &str = "salvage";
pub(super) const KEPT: &str = "kept";
const LOCK: &str = "lock";

/// Something that was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Placed {
    File {
        id: ArtifactId,
        size: u64,
        mode: u32,
        /// Modification time, seconds and nanoseconds.
        time: (i64, u64),
        inode: u64,
    },
    Symlink {
        target: String,
    },
    Folder {
        mode: u32,
    },
}

impl Placed {
    pub(super) fn file(id: ArtifactId, stat: &Stat) -> Self {
        Self::File {
            id,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode & 0o7777,
            time: (stat.st_mtime, stat.st_mtime_nsec),
            inode: stat.st_ino,
        }
    }

    /// Whether `name` in `dir` still has the content that was placed. Modes are not looked at.
    pub(super) fn is_unaltered(&self, dir: &Dir, name: &str) -> io::Result<bool> {
        let Some(stat) = dir.stat(name)? else { return Ok(false) };
        match self {
            Self::Folder { .. } => Ok(kind(&stat) == FileType::Directory),
            Self::Symlink { target } => Ok(dir.read_link(name)?.is_some_and(|there| there == target.as_bytes())),
            Self::File {
                id, size, time, inode, ..
            } => {
                if kind(&stat) != FileType::RegularFile || u64::try_from(stat.st_size) != Ok(*size) {
                    return Ok(false);
                }
                if (stat.st_mtime, stat.st_mtime_nsec) == *time && stat.st_ino == *inode {
                    return Ok(true);
                }
                has_root(dir, name, *id)
            }
        }
    }
}

/// Whether a file's bytes hash to `id`.
pub(super) fn has_root(dir: &Dir, name: &str, id: ArtifactId) -> io::Result<bool> {
    match dir.read(name)? {
        Some(mut file) => Ok(root_of(&mut file)? == id),
        None => Ok(false),
    }
}

/// What lies in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) schema: u32,
    pub(super) manifest: ManifestId,
    /// The machines that the folder is for.
    pub(super) platforms: Vec<Platform>,
    pub(super) paths: BTreeMap<String, Placed>,
    /// Folders that were made on the way.
    pub(super) folders: BTreeSet<String>,
}

/// A switch that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    /// Where what stands in the way goes, below `kept`.
    pub(super) kept: String,
    pub(super) record: Record,
}

pub(super) const SCHEMA: u32 = 0;

/// A target folder with its `.samara`, locked.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) root: Dir,
    pub(super) own: Dir,
    _lock: std::fs::File,
}

impl Record {
    /// Whether it is of this format and names nothing outside its folder: it decides what is removed, and who may write to
    /// the folder is not who may write to what lies beside it.
    fn is_sound(&self) -> bool {
        self.schema == SCHEMA && (self.paths.keys().chain(&self.folders)).all(|path| ReleasePath::new(path).is_ok())
    }
}

/// Why a target folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("another process works there")]
    Busy,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Own {
    /// Opens and locks; `.samara` is made if it is not there.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let root = Dir::open_root(dir)?;
        let own = root.make(OWN_FOLDER, 0o755)?;
        let lock = own.open_or_create(LOCK)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root, own, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Busy),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    pub(super) fn record(&self) -> io::Result<Option<Record>> {
        let record: Option<Record> = read(&self.own, RECORD)?;
        Ok(record.filter(Record::is_sound))
    }

    pub(super) fn journal(&self) -> io::Result<Option<Journal>> {
        let journal: Option<Journal> = read(&self.own, JOURNAL)?;
        Ok(journal.filter(|journal| journal.record.is_sound() && ReleasePath::new(&journal.kept).is_ok()))
    }
}

fn read<T: DeserializeOwned>(dir: &Dir, name: &str) -> io::Result<Option<T>> {
    let Some(file) = dir.read(name)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    // One that is longer is cut, and so cannot be read.
    file.take(RECORD_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes).ok())
}
