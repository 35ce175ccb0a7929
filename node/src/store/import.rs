//! Files become artifacts: hashed with all threads, placed by reflink, copy or link, durable before they are claimed.
//!
//! A large file is prepared under `incoming/` (its root is known only at the end) and renamed. Small files wait for
//! their layout, which says where in the pack they lie.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use samara_protocol::id::{ArtifactId, LayoutId};
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::manifest::layout::{ArtifactRef, Layout};
use samara_protocol::tree::geometry::Geometry;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::tree::verify::verify_packed;

use super::body::{Body, Holding};
use super::disk::{Disk, DiskFile, Open, RealDisk, read_exact, remove_if_there};
use super::error::Context;
use super::files::Key;
use super::hash::Job;
use super::index::Batch;
use super::paths::ArtifactFile;
use super::shared::{Shared, lock};
use super::tables::BodyRecord;
use super::{Held, Place, Source, StoreError};

/// From this size on one file is hashed by all threads; below it each thread has a file of its own.
const SPLIT_FROM_BYTES: u64 = 32 << 20;
/// More files than this are synced by one call for the whole file system.
const SYNC_EACH_MAX: usize = 16;

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

    /// Runs `work` for `0..count` on all threads; stops at the first error.
    pub(super) fn in_parallel(
        &self,
        count: usize,
        work: impl Fn(usize) -> Result<(), StoreError> + Sync,
    ) -> Result<(), StoreError> {
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        let run = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return;
                }
                if let Err(error) = work(at) {
                    next.store(count, Ordering::Relaxed);
                    lock(&failed).get_or_insert(error);
                }
            }
        };
        if count < 2 || self.threads < 2 {
            run();
        } else {
            std::thread::scope(|scope| {
                for _ in 0..self.threads.min(count) {
                    scope.spawn(run);
                }
            });
        }
        failed.into_inner().unwrap_or_default().map_or(Ok(()), Err)
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

    /// Makes prepared large files durable under their final names and records them. Takes what it adopts.
    fn adopt(&self, prepared: &mut [Prepared]) -> Result<(), StoreError> {
        let _no_checkpoint_between = lock(&self.checkpointing);
        let mut seen = std::collections::HashSet::new();
        let mut fresh = Vec::new();
        for prepared in prepared.iter_mut().filter(|prepared| prepared.waiting.is_some()) {
            let artifact = prepared.artifact;
            lock(&self.pending).imported.insert(artifact.id);
            if seen.insert(artifact.id) && !self.is_whole(artifact)? {
                fresh.push((artifact, prepared));
            }
        }
        let disk = &*self.disk;
        let files = fresh.iter().filter_map(|(_, prepared)| prepared.waiting.as_ref());
        let files: Vec<&Path> = files
            .flat_map(|waiting| std::iter::once(&*waiting.data).chain(waiting.outboard.as_deref()))
            .collect();
        if files.len() > SYNC_EACH_MAX {
            self.lock.sync_all().on("sync", self.paths.root())?;
        } else {
            for path in files {
                disk.open(path, Open::Read)
                    .and_then(|file| file.sync())
                    .on("sync", path)?;
            }
        }
        let mut batch = Batch::default();
        for (artifact, prepared) in &mut fresh {
            let Some(waiting) = prepared.waiting.take() else {
                continue;
            };
            let record = self.name_adopted(*artifact, &waiting)?;
            batch.artifacts.push((artifact.id, Some(record)));
        }
        if !batch.artifacts.is_empty() {
            let dir = self.paths.artifacts();
            disk.sync_dir(&dir).on("sync", &dir)?;
        }
        self.index.commit(&batch)?;
        for (id, record) in batch.artifacts {
            if let (Some(body), Some(record)) = (self.body_in_use(Key::Artifact(id)), record) {
                self.made_whole(&body, record);
            }
        }
        Ok(())
    }

    fn name_adopted(&self, artifact: ArtifactRef, waiting: &Waiting) -> Result<BodyRecord, StoreError> {
        let path = |file| self.paths.artifact(artifact.id, file);
        if let Some(outboard) = &waiting.outboard {
            self.disk
                .rename(outboard, &path(ArtifactFile::Outboard))
                .on("rename", outboard)?;
        }
        let data = path(ArtifactFile::Data);
        self.disk.rename(&waiting.data, &data).on("rename", &waiting.data)?;
        let part = path(ArtifactFile::Part);
        remove_if_there(&*self.disk, &part).on("remove", &part)?;
        self.files.forget(Key::Artifact(artifact.id));
        let file = self.disk.open(&data, Open::Read).on("open", &data)?;
        let groups = u32::try_from(artifact.size.div_ceil(GROUP_BYTES)).expect("checked when it was hashed");
        Ok(BodyRecord {
            len: artifact.size,
            number: 0,
            durable: RangeSet::from(0..groups),
            stamp: file.stamp().on("look at", &data)?,
            checked_at: self.disk.now(),
        })
    }

    /// A body in use is whole now, by another way than writes.
    fn made_whole(&self, body: &Arc<Body>, record: BodyRecord) {
        let (volatile, gained) = {
            let mut holding = body.holding();
            let volatile = std::mem::take(&mut holding.volatile);
            let gained = record.durable.difference(&holding.durable);
            holding.durable = record.durable;
            holding.unchecked = RangeSet::new();
            holding.checked_at = record.checked_at;
            holding.stamp = Some(record.stamp);
            (volatile, gained)
        };
        self.forget_volatile(body, &volatile);
        if let Key::Artifact(id) = body.key {
            for layout in self.open_layouts() {
                if let Some(groups) = layout.groups_of(&id, &gained) {
                    self.tell_durable(layout.id, &groups);
                }
            }
        }
    }

    fn is_whole(&self, artifact: ArtifactRef) -> Result<bool, StoreError> {
        let body = self.artifact_body(artifact)?;
        let there = self.inspect(&body).is_some();
        let holding = body.holding();
        Ok(there && holding.durable.contains_range(0..body.group_count()) && holding.unchecked.is_empty())
    }

    /// The body of a large artifact, with what is held of it.
    pub(super) fn artifact_body(&self, artifact: ArtifactRef) -> Result<Arc<Body>, StoreError> {
        if artifact.size < GROUP_BYTES {
            return Err(StoreError::Absent(artifact.id));
        }
        let geometry = Geometry::new(artifact.size).map_err(|_| StoreError::Absent(artifact.id))?;
        let _one_at_a_time = lock(&self.opening);
        let mut fresh = Vec::new();
        let make = |holding: Holding| Body::artifact(artifact.id, geometry, holding);
        let body = self.body(Key::Artifact(artifact.id), make, &mut fresh)?;
        self.recover(&fresh)?;
        Ok(body)
    }

    pub(super) fn import_packed(
        &self,
        id: LayoutId,
        layout: Arc<Layout>,
        source: &(dyn Fn(ArtifactId) -> Option<Source> + Sync),
    ) -> Result<Held, StoreError> {
        self.open_layout(id, layout)?;
        let open = self.layout(id)?;
        let mut missing = Vec::new();
        for part in open.parts().iter().filter(|part| part.body.key == Key::Pack(id)) {
            let held = open.held();
            let groups = part.groups.clone();
            missing.extend(groups.filter(|group| !held.durable.contains(*group) && !held.volatile.contains(*group)));
        }
        self.require(missing.len() as u64 * GROUP_BYTES)?;
        self.in_parallel(missing.len(), |at| {
            let Some((body, index)) = open.locate(missing[at]) else {
                return Ok(());
            };
            let data = gather(body, index, source)?;
            self.write_group(body, index, &data, &[])?;
            open.own(missing[at]);
            Ok(())
        })?;
        if let Some(fault) = self.checkpoint_for(id) {
            return Err(fault);
        }
        Ok(open.held())
    }
}

/// A packed group from its artifacts' files.
fn gather(
    body: &Body,
    index: u32,
    source: &(dyn Fn(ArtifactId) -> Option<Source> + Sync),
) -> Result<Vec<u8>, StoreError> {
    let mut data = Vec::with_capacity(body.group_len(index));
    for placed in body.packed(index) {
        let expected = placed.artifact;
        let source = source(expected.id).ok_or(StoreError::Absent(expected.id))?;
        let path = &source.path;
        let start = data.len();
        if let Some(bytes) = &source.bytes {
            data.extend_from_slice(bytes);
            if verify_packed([expected], bytes).is_err() {
                return Err(StoreError::Changed { path: path.clone() });
            }
            continue;
        }
        let file = open_source(&source)?;
        data.resize(
            body.group_len(index)
                .min(start + usize::try_from(expected.size).expect("smaller than a group")),
            0,
        );
        let read = read_exact(&*file, &mut data[start..], 0);
        changed(read, path)?;
        let grown = file.stamp().on("look at", path)?.len != expected.size;
        if grown || verify_packed([expected], &data[start..]).is_err() {
            return Err(StoreError::Changed { path: path.clone() });
        }
    }
    Ok(data)
}

fn size_of(source: &Source) -> Result<u64, StoreError> {
    let metadata = match &source.file {
        Some(file) => file.metadata(),
        None => std::fs::metadata(&source.path),
    };
    Ok(metadata.on("look at", &source.path)?.len())
}

fn open_source(source: &Source) -> Result<Arc<dyn DiskFile>, StoreError> {
    match &source.file {
        Some(file) => Ok(RealDisk::file(Arc::clone(file))),
        None => RealDisk.open(&source.path, Open::Read).on("open", &source.path),
    }
}

fn geometry(path: &Path, size: u64) -> Result<Geometry, StoreError> {
    Geometry::new(size).map_err(|source| StoreError::TooLarge {
        path: path.to_owned(),
        source,
    })
}

/// A file that became shorter while it was read changed.
fn changed<T>(outcome: io::Result<T>, path: &Path) -> Result<T, StoreError> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(StoreError::Changed { path: path.to_owned() })
        }
        other => other.on("read", path),
    }
}

/// Whether `to` now shares all blocks of `from`.
pub(super) fn reflink(from: Option<&File>, to: Option<&File>) -> bool {
    match (from, to) {
        (Some(from), Some(to)) => rustix::fs::ioctl_ficlone(to, from).is_ok(),
        _ => false,
    }
}
