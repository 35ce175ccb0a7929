//! Verified bytes on disk: large artifacts by root, small ones packed by release, and the index of what is held.
//!
//! What comes in has been verified by the caller; what is claimed after a restart is what a committed checkpoint says or
//! what hashes again (AI-5). All calls block: they belong on worker threads. Nothing else names redb; nothing here names
//! the network or the async runtime. `docs/storage.md` has the whole picture.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use samara_protocol::id::{ArtifactId, LayoutId, ManifestId};
use samara_protocol::limits::HEAD_BYTES_MAX;
use samara_protocol::manifest::layout::{ArtifactRef, Layout};
use samara_protocol::tree::geometry::{Node, Pair};
use samara_protocol::tree::ranges::RangeSet;

mod body;
mod checkpoint;
pub mod disk;
mod error;
mod export;
mod files;
mod frames;
mod gc;
mod hash;
mod heal;
mod import;
mod index;
mod inspect;
mod layouts;
mod pairs;
mod paths;
mod read;
mod recover;
mod report;
mod scrub;
mod shared;
mod space;
mod tables;
mod write;

#[cfg(test)]
mod tests;

pub use disk::{Disk, RealDisk};
pub use error::StoreError;
pub use frames::Frames;
pub use import::hash_file;
pub use read::Reply;
pub use report::{Changes, Checkpoint, GcReport, Held, RecoveryReport, Served, Usage};

use disk::{Lock, read_file, remove_if_there, write_file};
use error::Context;
use files::OpenFiles;
use index::Index;
use paths::Paths;
use shared::Shared;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The most bytes that the store may take on disk; `None`: what the disk has.
    pub quota: Option<u64>,
    /// Bytes of the disk that are left to others; a little is left for the index in any case.
    pub reserve: u64,
    /// Where it lies.
    pub disk: Arc<dyn Disk>,
    /// Threads for hashing (import, recovery).
    pub threads: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            quota: None,
            reserve: 0,
            disk: Arc::new(RealDisk),
            threads: std::thread::available_parallelism()
                .map_or(2, std::num::NonZero::get)
                .min(8),
        }
    }
}

/// A verified group to be written.
#[derive(Debug, Clone, Copy)]
pub struct GroupWrite<'a> {
    /// Its number in the layout.
    pub group: u32,
    /// Its bytes.
    pub data: &'a [u8],
    /// The pairs that its reply proved newly (`VerifiedGroup::pairs`).
    pub pairs: &'a [(Node, Pair)],
}

/// One group of a reply, before its bytes are there: what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameShape {
    /// Its number in the layout.
    pub group: u32,
    /// Bytes of proof behind the header.
    pub proof_len: usize,
    /// Bytes of data behind the proof.
    pub data_len: usize,
}

/// How a file comes into the store, or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Share the blocks where the file system can (reflink), else copy once.
    Reflink,
    /// Copy.
    Copy,
    /// A second name for the same file: who writes to it later damages the store (found before it is served).
    Link,
}

/// A file to import.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it is; for messages alone when `file` is given.
    pub path: PathBuf,
    /// The file, opened by somebody who may.
    pub file: Option<Arc<File>>,
    /// A small artifact's bytes themselves; nothing is opened then.
    pub bytes: Option<Vec<u8>>,
    /// What it must be, when that is known.
    pub expected: Option<ArtifactRef>,
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            bytes: None,
            expected: None,
        }
    }
}

/// A release's layout that garbage collection must keep whole although it may not be open.
#[derive(Debug, Clone)]
pub struct Pin {
    /// Which.
    pub id: LayoutId,
    /// Its layout.
    pub layout: Arc<Layout>,
}

/// An open store. Cheap to clone; every method may be called from any thread.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// How often a folder is made anew that goes away under the hands of who opens it: fetches that come and go.
const TRIES_MAX: u32 = 100;

fn take_lock(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<Box<dyn Lock>, StoreError> {
    let mut tries = 0;
    let taken = loop {
        disk.create_dir(dir).on("make", dir)?;
        tries += 1;
        match disk.lock(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && tries < TRIES_MAX => {}
            taken => break taken.on("lock", path)?,
        }
    };
    taken.map_err(|pid| StoreError::Owned {
        dir: dir.to_owned(),
        pid,
    })
}

/// What stands in the folder's format file. Version 0 promises nothing to other versions.
const FORMAT: &str = "samara store 0, draft 2";

impl Store {
    /// Opens or makes the store in `dir`. One process owns it until the last clone is dropped.
    ///
    /// # Errors
    /// When another process owns it, the format is another, or the disk refuses.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<(Self, RecoveryReport), StoreError> {
        let StoreOptions {
            quota,
            reserve,
            disk,
            threads,
        } = options;
        let paths = Paths::new(dir);
        let lock = take_lock(&*disk, dir, &paths.lock())?;
        prepare(&*disk, &paths)?;
        let (index, found) = Index::open(Arc::clone(&disk), &paths.index())?;
        let shared = Shared {
            files: OpenFiles::new(Arc::clone(&disk), paths.clone()),
            paths,
            disk,
            index,
            threads: threads.max(1),
            quota,
            reserve,
            layouts: RwLock::default(),
            bodies: Mutex::default(),
            pending: Mutex::default(),
            checkpointing: Mutex::default(),
            opening: Mutex::default(),
            scrubbing: Mutex::default(),
            volatile_bytes: AtomicU64::new(0),
            incoming: AtomicU64::new(0),
            importing: AtomicU64::new(0),
            lock,
        };
        let store = Self {
            shared: Arc::new(shared),
        };
        let report = RecoveryReport {
            index_rebuilt: found.rebuilt,
            artifacts: found.artifacts,
            packs: found.packs,
            releases: store.manifests()?.len() as u64,
        };
        Ok((store, report))
    }

    /// Keeps a release's head, durable on return.
    ///
    /// # Errors
    /// When the bytes are not what the id names, or the disk refuses.
    pub fn put_head(&self, manifest: ManifestId, head: &[u8]) -> Result<(), StoreError> {
        if blake3::hash(head).as_bytes() != manifest.as_bytes() {
            return Err(StoreError::NotTheHead(manifest));
        }
        let path = self.shared.paths.head(manifest);
        write_file(&*self.shared.disk, &path, head).on("write", &path)
    }

    /// A release's head; `None` when it is not here or damaged.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn head(&self, manifest: ManifestId) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.shared.paths.head(manifest);
        let head = read_file(&*self.shared.disk, &path, HEAD_BYTES_MAX).on("read", &path)?;
        Ok(head.filter(|head| blake3::hash(head).as_bytes() == manifest.as_bytes()))
    }

    /// The releases whose heads are here, in no order.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn manifests(&self) -> Result<Vec<ManifestId>, StoreError> {
        let dir = self.shared.paths.heads();
        let files = self.shared.disk.list(&dir).on("list", &dir)?;
        Ok(files
            .iter()
            .filter_map(|file| Paths::head_of_name(&file.name))
            .collect())
    }

    /// Opens a layout: finds what is held of it (also what other releases brought), hashing what was written after the
    /// last checkpoint. Opening it again answers what is held now. Makes no file.
    ///
    /// # Errors
    /// When the index or the disk refuse.
    pub fn open_layout(&self, id: LayoutId, layout: Arc<Layout>) -> Result<Held, StoreError> {
        self.shared.open_layout(id, layout)
    }

    /// Closes a layout; what is held of it stays until garbage is collected, its promise of room does not. Changes not yet
    /// told for it are forgotten. Waits for nothing.
    pub fn close_layout(&self, id: LayoutId) {
        self.shared.close_layout(id);
    }

    /// Whether a layout is open: its release is known to the last file, and nothing of it is collected. Waits for nothing.
    #[must_use]
    pub fn is_open(&self, id: LayoutId) -> bool {
        self.shared.is_open(id)
    }

    /// What is held of an open layout.
    ///
    /// # Errors
    /// When it is not open.
    pub fn held(&self, id: LayoutId) -> Result<Held, StoreError> {
        Ok(self.shared.layout(id)?.held())
    }

    /// Those of `groups` that are not held.
    ///
    /// # Errors
    /// When the layout is not open.
    pub fn missing(&self, id: LayoutId, groups: &RangeSet) -> Result<RangeSet, StoreError> {
        Ok(self.shared.layout(id)?.missing(groups))
    }

    /// Promises room for those of `wanted` that are not held. Replaces the layout's earlier promise, of which writing
    /// uses up what it writes.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] or [`StoreError::QuotaFull`] say how much is missing; nothing is promised then.
    pub fn reserve(&self, id: LayoutId, wanted: &RangeSet) -> Result<(), StoreError> {
        self.shared.reserve(id, wanted)
    }

    /// Takes back what was promised to a layout and not used: nothing more is written to it for now. Waits for nothing.
    pub fn unreserve(&self, id: LayoutId) {
        self.shared.unreserve(id);
    }

    /// Writes verified groups; they are volatile on return. The groups of one reply must be written in the order they
    /// came, and after an error the rest of that reply must be dropped: later groups lean on pairs of earlier ones.
    ///
    /// # Errors
    /// When the disk refuses (see [`StoreError::is_full`]); groups before the failing one are written.
    pub fn write(&self, id: LayoutId, groups: &[GroupWrite<'_>]) -> Result<(), StoreError> {
        self.shared.write(id, groups)
    }

    /// Makes all that was written durable, for all layouts: syncs data, syncs outboards, commits the index. Also tells what
    /// was lost since the last one. Costs nothing when nothing changed.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.shared.checkpoint()
    }

    /// Payload bytes written and not yet durable.
    #[must_use]
    pub fn volatile_bytes(&self) -> u64 {
        self.shared.volatile_bytes.load(Ordering::Relaxed)
    }

    /// Begins a reply to one request.
    ///
    /// # Errors
    /// When the layout is not open.
    pub fn reply(&self, id: LayoutId) -> Result<Reply, StoreError> {
        self.shared.reply(id)
    }

    /// Appends a frame for each of `groups` to `out`: what `header` appends, the proof, the data. Groups must ascend over
    /// all reads of one reply. A group that is not to be had leaves nothing in `out`.
    ///
    /// # Errors
    /// None today: what cannot be read is in [`Served::lost`].
    pub fn read(
        &self,
        reply: &mut Reply,
        groups: &RangeSet,
        out: &mut Frames,
        header: &mut dyn FnMut(FrameShape, &mut Frames),
    ) -> Result<Served, StoreError> {
        Ok(self.shared.read(reply, groups, out, header))
    }

    /// Reads and hashes groups now (a peer refused them, or a scrub). Those that are not (or no longer) held come back;
    /// losses are also told by the next checkpoint.
    ///
    /// # Errors
    /// When the layout is not open.
    pub fn recheck(&self, id: LayoutId, groups: &RangeSet) -> Result<RangeSet, StoreError> {
        self.shared.recheck(id, groups)
    }

    /// Hashes now what is only to be hashed before it is given to anyone: something of the layout was found damaged, and
    /// whoever asked for it is better served by all losses at once. Those that are lost come back and are also told by the
    /// next checkpoint.
    ///
    /// # Errors
    /// When the layout is not open.
    pub fn scrub(&self, id: LayoutId) -> Result<RangeSet, StoreError> {
        self.shared.scrub(id)
    }

    /// Hashes files on all threads and places the large ones (64 KiB and more) in the store, durable on return. Those that have
    /// to be copied need room under quota and disk. Small ones are only hashed: [`Self::import_packed`] takes them once their
    /// layout is known. Answers in the order of `sources`.
    ///
    /// # Errors
    /// The first file's that cannot be read, changes meanwhile or is not as expected; nothing is imported then.
    pub fn import(&self, sources: &[Source], place: Place) -> Result<Vec<ArtifactRef>, StoreError> {
        self.shared.import(sources, place)
    }

    /// Packs the small artifacts of a layout from files, leaving out those that other releases brought; durable on return.
    /// The layout is open then.
    ///
    /// # Errors
    /// When `source` names no file for an artifact, or the file is not the artifact any more.
    pub fn import_packed(
        &self,
        id: LayoutId,
        layout: Arc<Layout>,
        source: &(dyn Fn(ArtifactId) -> Option<Source> + Sync),
    ) -> Result<Held, StoreError> {
        self.shared.import_packed(id, layout, source)
    }

    /// A whole small artifact of an open layout, hashed.
    ///
    /// # Errors
    /// [`StoreError::Absent`] or [`StoreError::Damaged`].
    pub fn read_small(&self, id: LayoutId, artifact: ArtifactId) -> Result<Vec<u8>, StoreError> {
        self.shared.read_small(id, artifact)
    }

    /// The file of a whole large artifact, hashed since it last changed; for reading only.
    ///
    /// # Errors
    /// [`StoreError::Absent`] or [`StoreError::Damaged`].
    pub fn open_artifact(&self, artifact: ArtifactRef) -> Result<File, StoreError> {
        self.shared.open_artifact(artifact)
    }

    /// Places a whole artifact (large, or small and of an open layout, or empty) at `dest`, which must not exist. The file
    /// is not synced.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Damaged`], or what the disk says.
    pub fn place(&self, id: LayoutId, artifact: ArtifactRef, dest: &Path, place: Place) -> Result<(), StoreError> {
        self.shared.place(id, artifact, dest, place)
    }

    /// Moves a whole large artifact out of the store to `dest` (copies to another file system); it is not held any more
    /// then, and that is told to nobody as a loss.
    ///
    /// # Errors
    /// See [`Self::place`].
    pub fn take(&self, artifact: ArtifactRef, dest: &Path) -> Result<(), StoreError> {
        self.shared.take(artifact, dest)
    }

    /// Removes all that no open layout, no pin and no import under way needs. A layout that is opened meanwhile is either
    /// kept whole or finds what is left.
    ///
    /// # Errors
    /// When the index or the disk refuse; calling it again goes on.
    pub fn gc(&self, pins: &[Pin]) -> Result<GcReport, StoreError> {
        self.shared.gc(pins)
    }

    /// What disk space the store takes. Lists all its files.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        self.shared.usage()
    }
}

/// Makes the folders of a new store, checks the format of an old one, removes what an import left behind.
fn prepare(disk: &dyn Disk, paths: &Paths) -> Result<(), StoreError> {
    let path = paths.format();
    if let Some(found) = read_file(disk, &path, 4096).on("read", &path)? {
        let found = String::from_utf8_lossy(&found);
        if found.trim() != FORMAT {
            return Err(StoreError::Format {
                dir: paths.root().to_owned(),
                found: found.trim().chars().take(64).collect(),
                known: FORMAT,
            });
        }
        let incoming = paths.incoming();
        for file in disk.list(&incoming).on("list", &incoming)? {
            let path = incoming.join(file.name);
            remove_if_there(disk, &path).on("remove", &path)?;
        }
        return Ok(());
    }
    for dir in paths.folders() {
        disk.create_dir(&dir).on("make", &dir)?;
    }
    for dir in [Some(paths.root()), paths.root().parent()] {
        if let Some(dir) = dir.filter(|dir| !dir.as_os_str().is_empty()) {
            disk.sync_dir(dir).on("sync", dir)?;
        }
    }
    write_file(disk, &path, format!("{FORMAT}\n").as_bytes()).on("write", &path)
}
