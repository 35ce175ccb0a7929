//! The open files of the store, a bounded number of them: a release may have more large artifacts than a process may
//! have descriptors. A file that is in use stays open until its last user drops it.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use samara_protocol::id::{ArtifactId, LayoutId};
use samara_protocol::limits::STORE_OPEN_BODIES_MAX;

use super::disk::{Disk, DiskFile, Open};
use super::hash::copy_sparse;
use super::paths::{ArtifactFile, Paths};
use super::shared::lock;

/// Names a body: what has a file of groups of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    /// A large artifact.
    Artifact(ArtifactId),
    /// The small artifacts of one layout.
    Pack(LayoutId),
}

/// A body's open files.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) data: Arc<dyn DiskFile>,
    pub(super) data_path: PathBuf,
    /// `None` when it has none (packs, artifacts of one group) or it is not there.
    pub(super) outboard: Option<Arc<dyn DiskFile>>,
    pub(super) outboard_path: PathBuf,
    /// The data file has another name somewhere: it must not be written to.
    linked: bool,
}

#[derive(Debug)]
pub(super) struct OpenFiles {
    disk: Arc<dyn Disk>,
    paths: Paths,
    open: Mutex<Lru>,
}

#[derive(Debug, Default)]
struct Lru {
    files: HashMap<Key, (u64, Arc<Files>)>,
    tick: u64,
}

impl OpenFiles {
    pub(super) fn new(disk: Arc<dyn Disk>, paths: Paths) -> Self {
        Self {
            disk,
            paths,
            open: Mutex::default(),
        }
    }

    /// The files of a body that exist.
    ///
    /// # Errors
    /// `NotFound` when there is no data file.
    pub(super) fn get(&self, key: Key) -> io::Result<Arc<Files>> {
        if let Some(files) = self.cached(key) {
            return Ok(files);
        }
        let files = Arc::new(self.open_existing(key)?);
        self.keep(key, &files);
        Ok(files)
    }

    /// The files of a body, made with the given lengths where they are missing.
    pub(super) fn get_or_make(&self, key: Key, len: u64, outboard_len: u64) -> io::Result<Arc<Files>> {
        if let Some(files) = self
            .cached(key)
            .filter(|files| !files.linked && (outboard_len == 0 || files.outboard.is_some()))
        {
            return Ok(files);
        }
        let files = match self.open_existing(key) {
            Ok(files) if outboard_len == 0 || files.outboard.is_some() => {
                let files = if files.linked { self.own(files)? } else { files };
                give_len(&*files.data, len)?;
                if let Some(outboard) = &files.outboard {
                    give_len(&**outboard, outboard_len)?;
                }
                files
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.make(key, len, outboard_len)?,
        };
        let files = Arc::new(files);
        self.keep(key, &files);
        Ok(files)
    }

    /// Forgets the open files of a body, whose names have changed or gone.
    pub(super) fn forget(&self, key: Key) {
        lock(&self.open).files.remove(&key);
    }

    fn cached(&self, key: Key) -> Option<Arc<Files>> {
        let mut open = lock(&self.open);
        open.tick += 1;
        let tick = open.tick;
        let (used, files) = open.files.get_mut(&key)?;
        *used = tick;
        Some(Arc::clone(files))
    }

    fn keep(&self, key: Key, files: &Arc<Files>) {
        let mut open = lock(&self.open);
        if open.files.len() >= STORE_OPEN_BODIES_MAX
            && let Some(oldest) = open
                .files
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(key, _)| *key)
        {
            open.files.remove(&oldest);
        }
        open.tick += 1;
        let tick = open.tick;
        open.files.insert(key, (tick, Arc::clone(files)));
    }

    fn names(&self, key: Key) -> (PathBuf, PathBuf, PathBuf) {
        match key {
            Key::Pack(id) => (self.paths.pack(id), self.paths.pack(id), PathBuf::new()),
            Key::Artifact(id) => (
                self.paths.artifact(id, ArtifactFile::Data),
                self.paths.artifact(id, ArtifactFile::Part),
                self.paths.artifact(id, ArtifactFile::Outboard),
            ),
        }
    }

    fn open_existing(&self, key: Key) -> io::Result<Files> {
        let (whole, part, outboard_path) = self.names(key);
        let (data, data_path) = match self.open_one(&whole) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && part != whole => (self.open_one(&part)?, part),
            other => (other?, whole),
        };
        let outboard = match key {
            Key::Pack(_) => None,
            Key::Artifact(_) => match self.open_one(&outboard_path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            },
        };
        Ok(Files {
            linked: data.stamp()?.links > 1,
            data,
            data_path,
            outboard,
            outboard_path,
        })
    }

    /// Gives the store a copy of its own of a file that was linked into it: what is written now is not for the other.
    fn own(&self, linked: Files) -> io::Result<Files> {
        let mut path = linked.data_path.clone().into_os_string();
        path.push(".own");
        let path = PathBuf::from(path);
        let copy = self.disk.open(&path, Open::Create)?;
        let len = linked.data.stamp()?.len;
        copy.set_len(0)?;
        copy.set_len(len)?;
        copy_sparse(&*linked.data, &*copy, len)?;
        copy.sync()?;
        self.disk.rename(&path, &linked.data_path)?;
        if let Some(dir) = linked.data_path.parent() {
            self.disk.sync_dir(dir)?;
        }
        Ok(Files {
            data: copy,
            linked: false,
            ..linked
        })
    }

    /// To read and write where that is allowed: a linked file may be read-only.
    fn open_one(&self, path: &std::path::Path) -> io::Result<Arc<dyn DiskFile>> {
        match self.disk.open(path, Open::Write) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.disk.open(path, Open::Read),
            other => other,
        }
    }

    fn make(&self, key: Key, len: u64, outboard_len: u64) -> io::Result<Files> {
        let (whole, part, outboard_path) = self.names(key);
        let (data, data_path) = match self.open_one(&whole) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (self.disk.open(&part, Open::Create)?, part),
            other => (other?, whole),
        };
        give_len(&*data, len)?;
        let outboard = if outboard_len == 0 {
            None
        } else {
            let file = self.disk.open(&outboard_path, Open::Create)?;
            give_len(&*file, outboard_len)?;
            Some(file)
        };
        Ok(Files {
            data,
            data_path,
            outboard,
            outboard_path,
            linked: false,
        })
    }
}

fn give_len(file: &dyn DiskFile, len: u64) -> io::Result<()> {
    if file.stamp()?.len == len {
        Ok(())
    } else {
        file.set_len(len)
    }
}
