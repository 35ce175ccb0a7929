//! Verified bytes on disk: large artifacts by root, small ones packed by release, and the index of what is held.
//!
//! What comes in has been verified by the caller; what is claimed after a restart is what a committed checkpoint says or
//! what hashes again (AI-5). All calls block: they belong on worker threads. Nothing else names redb; nothing here names
//! the network or the async runtime. `docs/storage.md` has the whole picture.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use samara_protocol::id::{ArtifactId, LayoutId, ManifestId};
use samara_protocol::manifest::layout::{ArtifactRef, Layout};
use samara_protocol::tree::geometry::{Node, Pair};
use samara_protocol::tree::ranges::RangeSet;

pub mod disk;
mod error;

pub use disk::{Disk, RealDisk};
pub use error::StoreError;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The most bytes that the store may take on disk; `None`: what the disk has.
    pub quota: Option<u64>,
    /// Where it lies.
    pub disk: Arc<dyn Disk>,
    /// Threads for hashing (import, recovery).
    pub threads: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            quota: None,
            disk: Arc::new(RealDisk),
            threads: std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(8),
        }
    }
}

/// What was found when the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// The index was missing or broken and starts empty: open the layouts of all releases ([`Store::manifests`]), oldest
    /// first; each finds its groups again by hashing what is on disk.
    pub index_rebuilt: bool,
    /// Large artifacts in the index, whole or not.
    pub artifacts: u64,
    /// Packs of small artifacts in the index.
    pub packs: u64,
    /// Releases whose head is here.
    pub releases: u64,
}

/// Which groups of a layout are held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Verified and safe from a power loss.
    pub durable: RangeSet,
    /// Verified and written, lost with the power until the next checkpoint. Never overlaps with `durable`.
    pub volatile: RangeSet,
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

/// What changed for one layout since the last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Durable now.
    pub durable: RangeSet,
    /// Not held any more: a failed sync, rot, files that were touched by others. Found at any time, told here.
    pub lost: RangeSet,
}

/// What a checkpoint did.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// For each open layout that it concerns.
    pub layouts: Vec<(LayoutId, Changes)>,
    /// What kept it from finishing; what it could do is in `layouts`, the rest is tried again with the next.
    pub fault: Option<StoreError>,
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

/// What a read gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Served {
    /// Groups whose frames are in the buffer.
    pub served: RangeSet,
    /// Groups that are not held, or turned out not to be what their root says; told again by the next checkpoint.
    pub lost: RangeSet,
    /// Payload bytes in the buffer.
    pub bytes: u64,
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
    /// Where it is.
    pub path: PathBuf,
    /// What it must be, when that is known.
    pub expected: Option<ArtifactRef>,
}

/// What disk space the store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes allocated to data, outboards and packs.
    pub used: u64,
    /// Bytes promised to running transfers.
    pub reserved: u64,
    /// Bytes that could still be written under quota and disk, beside those promised.
    pub free: u64,
}

/// A release's layout that garbage collection must keep whole.
#[derive(Debug, Clone)]
pub struct Pin {
    /// Which.
    pub id: LayoutId,
    /// Its layout.
    pub layout: Arc<Layout>,
}

/// What garbage collection did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcReport {
    /// Bytes of disk space given back.
    pub freed: u64,
    /// Large artifacts removed.
    pub artifacts: u64,
    /// Packs removed.
    pub packs: u64,
    /// Releases whose heads were removed.
    pub releases: Vec<ManifestId>,
    /// Layouts that were open and not pinned; they are closed now.
    pub closed: Vec<LayoutId>,
}

/// An open store. Cheap to clone; every method may be called from any thread.
#[derive(Debug, Clone)]
pub struct Store;

/// The state of one reply across several [`Store::read`] calls: which pairs its frames have already carried.
#[derive(Debug)]
pub struct Reply;

#[expect(unused_variables, clippy::unimplemented, missing_docs, clippy::missing_errors_doc, reason = "signatures first")]
impl Store {
    /// Opens or makes the store in `dir`. One process owns it until the last clone is dropped.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<(Self, RecoveryReport), StoreError> {
        unimplemented!()
    }

    /// Keeps a release's head, durable on return.
    pub fn put_head(&self, manifest: ManifestId, head: &[u8]) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub fn head(&self, manifest: ManifestId) -> Result<Option<Vec<u8>>, StoreError> {
        unimplemented!()
    }
    /// The releases whose heads are kept, oldest first.
    pub fn manifests(&self) -> Result<Vec<ManifestId>, StoreError> {
        unimplemented!()
    }

    /// Opens a layout: finds what is held of it (also what older releases brought), hashing what was written after the
    /// last checkpoint. Idempotent. Makes no file.
    pub fn open_layout(&self, id: LayoutId, layout: Arc<Layout>) -> Result<Held, StoreError> {
        unimplemented!()
    }
    pub fn close_layout(&self, id: LayoutId) {
        unimplemented!()
    }
    pub fn held(&self, id: LayoutId) -> Result<Held, StoreError> {
        unimplemented!()
    }
    /// Promises room for those of `wanted` that are not held; refuses with `DiskFull`/`QuotaFull` when there is not enough.
    /// Replaces the layout's earlier promise.
    pub fn reserve(&self, id: LayoutId, wanted: &RangeSet) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Writes verified groups; they are volatile on return. The groups of one reply must be written in the order they
    /// came, and after an error the rest of that reply must be dropped: later groups lean on pairs of earlier ones.
    pub fn write(&self, id: LayoutId, groups: &[GroupWrite<'_>]) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Makes all that was written durable, for all layouts: sync data, sync outboards, commit the index.
    pub fn checkpoint(&self) -> Checkpoint {
        unimplemented!()
    }
    /// Bytes written since the last checkpoint.
    pub fn volatile_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Begins a reply to one request.
    pub fn reply(&self, id: LayoutId) -> Result<Reply, StoreError> {
        unimplemented!()
    }
    /// Appends frames for `groups`, which ascend over the whole reply, to `out`: what `header` appends, the proof, the data.
    pub fn read(
        &self,
        reply: &mut Reply,
        groups: &RangeSet,
        out: &mut Vec<u8>,
        header: &mut dyn FnMut(FrameShape, &mut Vec<u8>),
    ) -> Result<Served, StoreError> {
        unimplemented!()
    }
    /// Reads and hashes groups now (a peer refused them, or a scrub); the lost ones come back and with the next checkpoint.
    pub fn recheck(&self, id: LayoutId, groups: &RangeSet) -> Result<RangeSet, StoreError> {
        unimplemented!()
    }

    /// Hashes files on all threads and places the large ones (>= 64 KiB) in the store, durable on return; small ones are
    /// only hashed ([`Store::import_packed`] takes them once their layout is known). Answers in the order of `sources`.
    pub fn import(&self, sources: &[Source], place: Place) -> Result<Vec<ArtifactRef>, StoreError> {
        unimplemented!()
    }
    /// Packs the small artifacts of a layout from files; durable on return. The layout is open then.
    pub fn import_packed(
        &self,
        id: LayoutId,
        layout: Arc<Layout>,
        source: &(dyn Fn(ArtifactId) -> Option<PathBuf> + Sync),
    ) -> Result<Held, StoreError> {
        unimplemented!()
    }

    /// A whole small artifact of an open layout, verified.
    pub fn read_small(&self, id: LayoutId, artifact: ArtifactId) -> Result<Vec<u8>, StoreError> {
        unimplemented!()
    }
    /// The file of a whole large artifact, verified since it last changed; for reading only.
    pub fn open_artifact(&self, artifact: ArtifactRef) -> Result<std::fs::File, StoreError> {
        unimplemented!()
    }
    /// Places a whole artifact (large or small, of an open layout) at `dest`, which must not exist.
    pub fn place(&self, id: LayoutId, artifact: ArtifactRef, dest: &Path, place: Place) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Moves a whole large artifact out of the store to `dest` on the same file system (copies to another); it is not held
    /// any more then.
    pub fn take(&self, artifact: ArtifactRef, dest: &Path) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Removes all that no pin needs.
    pub fn gc(&self, pins: &[Pin]) -> Result<GcReport, StoreError> {
        unimplemented!()
    }
    pub fn usage(&self) -> Result<Usage, StoreError> {
        unimplemented!()
    }
}
