//! The open files of the store, a bounded number of them: a release may have more large artifacts than a process may
//! have descriptors. A file that is in use stays open until its last user drops it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
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
    /// Both have the length that they must have: a loss of power or somebody else may have left them shorter.
    has_len: bool,
}

/// What had to be made for a body that is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Made {
    /// A file whose name is not durable before its folder is.
    pub(super) name: bool,
    /// The data file: whatever was held of it went with an older one.
    pub(super) data: bool,
}

#[derive(Debug)]
pub(super) struct OpenFiles {
    disk: Arc<dyn Disk>,
    paths: Paths,
    open: Mutex<Lru>,
    /// Held while files are made or replaced, so that two writers do not each make their own.
    making: Mutex<()>,
}

#[derive(Debug, Default)]
struct Lru {
    files: HashMap<Key, (u64, Arc<Files>)>,
    tick: u64,
    /// How often names have changed or gone. What was opened before that may be another file by now.
    renamed: u64,
}

impl OpenFiles {
    pub(super) fn new(disk: Arc<dyn Disk>, paths: Paths) -> Self {
        Self {
            disk,
            paths,
            open: Mutex::default(),
            making: Mutex::default(),
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
        let renamed = self.renamed();
        let files = Arc::new(self.open_existing(key)?);
        self.keep(key, &files, renamed);
        Ok(files)
    }

    /// The files of a body, made with the given lengths where they are missing. What had to be made is noted in `made`, even
    /// if something fails after that.
    pub(super) fn get_or_make(&self, key: Key, len: u64, outboard_len: u64, made: &mut Made) -> io::Result<Arc<Files>> {
        if let Some(files) = self.writable(key, outboard_len) {
            return Ok(files);
        }
        let _one_at_a_time = lock(&self.making);
        if let Some(files) = self.writable(key, outboard_len) {
            return Ok(files);
        }
        let mut renamed = self.renamed();
        let mut files = match self.open_existing(key) {
            Ok(files) if files.linked => {
                let own = self.own(files)?;
                self.forget(key);
                renamed = self.renamed();
                own
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make(key, made)?,
            other => other?,
        };
        // Whatever length they show: one whose sync failed may not have it on the disk.
        files.data.set_len(len)?;
        if outboard_len > 0 && files.outboard.is_none() {
            files.outboard = Some(self.disk.open(&files.outboard_path, Open::Create)?);
            made.name = true;
        }
        if let Some(outboard) = &files.outboard {
            outboard.set_len(outboard_len)?;
        }
        files.has_len = true;
        let files = Arc::new(files);
        self.keep(key, &files, renamed);
        Ok(files)
    }

    /// Forgets the open files of a body, whose names have changed or gone. Whoever is opening them at this moment uses them
    /// once and does not keep them.
    pub(super) fn forget(&self, key: Key) {
        let mut open = lock(&self.open);
        open.renamed += 1;
        open.files.remove(&key);
    }

    /// Open files that may be written to as they are.
    pub(super) fn writable(&self, key: Key, outboard_len: u64) -> Option<Arc<Files>> {
        let complete = |files: &Arc<Files>| files.has_len && (outboard_len == 0 || files.outboard.is_some());
        self.cached(key).filter(|files| !files.linked && complete(files))
    }

    fn renamed(&self) -> u64 {
        lock(&self.open).renamed
    }

    fn cached(&self, key: Key) -> Option<Arc<Files>> {
        let mut open = lock(&self.open);
        open.tick += 1;
        let tick = open.tick;
        let (used, files) = open.files.get_mut(&key)?;
        *used = tick;
        Some(Arc::clone(files))
    }

    fn keep(&self, key: Key, files: &Arc<Files>, renamed: u64) {
        let mut open = lock(&self.open);
        // Another thread may have made what was missing when this one looked.
        let is_known_better = |(_, known): &(u64, Arc<Files>)| known.has_len && !files.has_len;
        if open.renamed != renamed || open.files.get(&key).is_some_and(is_known_better) {
            return;
        }
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
            Err(error) if error.kind() == io::ErrorKind::NotFound && part != whole => match self.open_one(&part) {
                // It may have become whole, and got its name, after the first look.
                Err(error) if error.kind() == io::ErrorKind::NotFound => (self.open_one(&whole)?, whole),
                other => (other?, part),
            },
            other => (other?, whole),
        };
        let outboard = self.open_outboard(key, &outboard_path)?;
        Ok(Files {
            linked: data.stamp()?.links > 1,
            data,
            data_path,
            outboard,
            outboard_path,
            has_len: false,
        })
    }

    fn open_outboard(&self, key: Key, path: &Path) -> io::Result<Option<Arc<dyn DiskFile>>> {
        match key {
            Key::Pack(_) => Ok(None),
            Key::Artifact(_) => match self.open_one(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                other => other.map(Some),
            },
        }
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
    fn open_one(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        match self.disk.open(path, Open::Write) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.disk.open(path, Open::Read),
            other => other,
        }
    }

    /// A data file where there is none.
    fn make(&self, key: Key, made: &mut Made) -> io::Result<Files> {
        let (_, data_path, outboard_path) = self.names(key);
        let data = self.disk.open(&data_path, Open::Create)?;
        *made = Made { name: true, data: true };
        let outboard = self.open_outboard(key, &outboard_path)?;
        Ok(Files {
            data,
            data_path,
            outboard,
            outboard_path,
            linked: false,
            has_len: false,
        })
    }
}

/// Makes a file as long as it must be; what is new is a hole.
pub(super) fn give_len(file: &dyn DiskFile, len: u64) -> io::Result<()> {
    if file.stamp()?.len == len {
        Ok(())
    } else {
        file.set_len(len)
    }
}
