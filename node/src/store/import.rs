//! Files become artifacts: hashed with all threads, placed by reflink, copy or link, durable before they are claimed.
//!
//! A large file is prepared under `incoming/` (its root is known only at the end) and renamed. Small files wait for
//! their layout, which says where in the pack they lie.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use samara_protocol::id::ArtifactId;
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::manifest::layout::ArtifactRef;
use samara_protocol::tree::geometry::Geometry;

use super::disk::{Disk, DiskFile, Open, RealDisk, remove_if_there};
use super::error::Context;
use super::hash::Job;
use super::shared::{Shared, lock};
use super::{Place, Source, StoreError};

mod adopt;
mod packed;
mod parallel;
mod source;

pub(super) use source::reflink;
use source::{changed, geometry, open_source, size_of};

/// From this size on one file is hashed by all threads; below it each thread has a file of its own.
const SPLIT_FROM_BYTES: u64 = 32 << 20;

/// A hashed file, and where it waits under `incoming/` if it is large.
struct Prepared {
    artifact: ArtifactRef,
    waiting: Option<Waiting>,
}

struct Waiting {
    data: PathBuf,
    outboard: Option<PathBuf>,
}

/// Root and size of a file; holds nothing.
///
/// # Errors
/// When it cannot be read, changes meanwhile, or is larger than 16 TiB.
pub fn hash_file(path: &Path, threads: usize) -> Result<ArtifactRef, StoreError> {
    let source = RealDisk.open(path, Open::Read).on("open", path)?;
    let before = source.stamp().on("look at", path)?;
    let geometry = geometry(path, before.len)?;
    let job = Job {
        source: &*source,
        geometry,
        copy: None,
        outboard: None,
    };
    let id = changed(job.run(threads), path)?;
    if source.stamp().on("look at", path)? != before {
        return Err(StoreError::Changed { path: path.to_owned() });
    }
    Ok(ArtifactRef { id, size: before.len })
}

impl Shared {
    pub(super) fn import(&self, sources: &[Source], place: Place) -> Result<Vec<ArtifactRef>, StoreError> {
        let sizes = sources.iter().map(size_of);
        let sizes = sizes.collect::<Result<Vec<u64>, StoreError>>()?;
        let copied = sources.iter().zip(&sizes).filter(|(_, size)| **size >= GROUP_BYTES);
        let copied = copied.filter(|(source, _)| self.may_copy(source, place));
        let _room = self.allot(copied.map(|(_, size)| size).sum())?;
        let slots: Vec<Mutex<Option<Prepared>>> = sources.iter().map(|_| Mutex::new(None)).collect();
        let outcome = self.prepare_all(sources, &sizes, place, &slots);
        let prepared = slots
            .into_iter()
            .filter_map(|slot| slot.into_inner().unwrap_or_default());
        let mut prepared: Vec<Prepared> = prepared.collect();
        let outcome = outcome.and_then(|()| self.adopt(&mut prepared));
        for waiting in prepared.iter_mut().filter_map(|prepared| prepared.waiting.take()) {
            // What was not adopted; the next start of the store would remove it, too.
            let _ = remove_if_there(&*self.disk, &waiting.data);
            let _ = waiting.outboard.map(|path| remove_if_there(&*self.disk, &path));
        }
        outcome?;
        Ok(prepared.into_iter().map(|prepared| prepared.artifact).collect())
    }

    /// Whether the file's blocks may be needed twice. Where the file system shares them nothing is, and that is tried.
    fn may_copy(&self, source: &Source, place: Place) -> bool {
        let Some(file) = open_source(source).ok().filter(|_| place != Place::Copy) else {
            return true;
        };
        let number = self.incoming.fetch_add(1, Ordering::Relaxed);
        let probe = self.paths.incoming().join(format!("{number}.probe"));
        let shares = match place {
            Place::Copy | Place::Reflink => self.clones(&*file, &probe),
            Place::Link => self.disk.link(&source.path, &probe).is_ok() || self.clones(&*file, &probe),
        };
        let _ = remove_if_there(&*self.disk, &probe);
        !shares
    }

    fn clones(&self, file: &dyn DiskFile, to: &Path) -> bool {
        let target = self.disk.open(to, Open::Create);
        target.is_ok_and(|target| reflink(file.as_file(), target.as_file()))
    }

    fn prepare_all(
        &self,
        sources: &[Source],
        sizes: &[u64],
        place: Place,
        slots: &[Mutex<Option<Prepared>>],
    ) -> Result<(), StoreError> {
        let (large, small): (Vec<usize>, Vec<usize>) = (0..sources.len()).partition(|i| sizes[*i] >= SPLIT_FROM_BYTES);
        for i in large {
            *lock(&slots[i]) = Some(self.prepare(&sources[i], place, self.threads)?);
        }
        self.in_parallel(small.len(), |at| {
            let i = small[at];
            *lock(&slots[i]) = Some(self.prepare(&sources[i], place, 1)?);
            Ok(())
        })
    }

    fn prepare(&self, source: &Source, place: Place, threads: usize) -> Result<Prepared, StoreError> {
        let path = &source.path;
        let file = open_source(source)?;
        let before = file.stamp().on("look at", path)?;
        let geometry = geometry(path, before.len)?;
        if let Some(expected) = source.expected
            && expected.size != before.len
        {
            return Err(StoreError::Changed { path: path.clone() });
        }
        let large = before.len >= GROUP_BYTES;
        let waiting = large.then(|| self.waiting(geometry));
        let hashed = self.hash_into(path, &*file, geometry, waiting.as_ref(), place, threads);
        let prepared = hashed.and_then(|id| {
            // Not the time of the last change of names: linking changes that.
            let after = file.stamp().on("look at", path)?;
            if (after.len, after.modified, after.inode) != (before.len, before.modified, before.inode) {
                return Err(StoreError::Changed { path: path.clone() });
            }
            if let Some(expected) = source.expected.filter(|expected| expected.id != id) {
                let (expected, path) = (expected.id, path.clone());
                return Err(StoreError::Unexpected {
                    path,
                    expected,
                    found: id,
                });
            }
            Ok(ArtifactRef { id, size: before.len })
        });
        match prepared {
            Ok(artifact) => Ok(Prepared { artifact, waiting }),
            Err(error) => {
                if let Some(waiting) = waiting {
                    let _ = remove_if_there(&*self.disk, &waiting.data);
                    let _ = waiting.outboard.map(|path| remove_if_there(&*self.disk, &path));
                }
                Err(error)
            }
        }
    }

    fn waiting(&self, geometry: Geometry) -> Waiting {
        let number = self.incoming.fetch_add(1, Ordering::Relaxed);
        let base = self.paths.incoming();
        Waiting {
            data: base.join(format!("{number}.data")),
            outboard: (geometry.outboard_len() > 0).then(|| base.join(format!("{number}.tree"))),
        }
    }

    fn hash_into(
        &self,
        path: &Path,
        source: &dyn DiskFile,
        geometry: Geometry,
        waiting: Option<&Waiting>,
        place: Place,
        threads: usize,
    ) -> Result<ArtifactId, StoreError> {
        let mut job = Job {
            source,
            geometry,
            copy: None,
            outboard: None,
        };
        let Some(waiting) = waiting else {
            return changed(job.run(1), path);
        };
        let make = |path: &Path, len| -> Result<Arc<dyn DiskFile>, StoreError> {
            let file = self.disk.open(path, Open::Create).on("make", path)?;
            file.set_len(len).on("make", path)?;
            Ok(file)
        };
        let outboard = waiting
            .outboard
            .as_deref()
            .map(|path| make(path, geometry.outboard_len()));
        let outboard = outboard.transpose()?;
        job.outboard = outboard.as_deref();
        let linked = place == Place::Link && self.link(path, source, &waiting.data)?;
        let placed = match place {
            Place::Link if linked => None,
            // Another file system, or one without links.
            Place::Link | Place::Reflink | Place::Copy => {
                let target = self.disk.open(&waiting.data, Open::Create).on("make", &waiting.data)?;
                let shared = place != Place::Copy && reflink(source.as_file(), target.as_file());
                if !shared {
                    target.set_len(geometry.size()).on("make", &waiting.data)?;
                }
                Some((target, shared))
            }
        };
        match &placed {
            // The clone does not change any more, whoever writes to the source.
            Some((target, true)) => job.source = &**target,
            Some((target, false)) => job.copy = Some(&**target),
            None => {}
        }
        match job.run(threads) {
            Err(error) if super::error::is_full(&error) => Err(error).on("write to", &waiting.data),
            other => changed(other, path),
        }
    }

    /// Whether the very file that is open could be given a second name.
    fn link(&self, path: &Path, source: &dyn DiskFile, to: &Path) -> Result<bool, StoreError> {
        if self.disk.link(path, to).is_err() {
            return Ok(false);
        }
        let linked = self
            .disk
            .open(to, Open::Read)
            .and_then(|file| file.stamp())
            .on("look at", to)?;
        if linked.inode == source.stamp().on("look at", path)?.inode {
            return Ok(true);
        }
        self.disk.remove(to).on("remove", to)?;
        Ok(false)
    }
}
