//! What is there already, and preparing what is not.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FileType, Mode};
use samara_protocol::manifest::entry::{Artifact, Entry, EntryKind};

use super::salvage::Saved;
use super::{Failed, PlaceOptions, Uses, walker};
use crate::release::dir::{Dir, Walker, kind, step};
use crate::release::parallel::map_batches;
use crate::release::record::{Own, Placed, Record, has_root};
use crate::release::source::{ArtifactBytes, ArtifactSource, fill};

/// For each entry what lies at its path, if that is already right, mode included.
pub(super) fn current(
    own: &Own,
    entries: &[Entry],
    old: Option<&Record>,
    threads: usize,
) -> Result<Vec<Option<Placed>>, Failed> {
    let look = |walker: &mut Walker, batch: &[Entry]| {
        let mut found = Vec::with_capacity(batch.len());
        for entry in batch {
            let path = entry.path.as_str();
            let before = old.and_then(|old| old.paths.get(path));
            found.push(current_one(walker, entry, before).map_err(Failed::at(path, "read"))?);
        }
        Ok(found)
    };
    let batches = map_batches(entries, threads, || walker(&own.root), look)?;
    Ok(batches.into_iter().flatten().collect())
}

fn current_one(walker: &mut Walker, entry: &Entry, before: Option<&Placed>) -> io::Result<Option<Placed>> {
    let Some((dir, name)) = walker.find(entry.path.as_str())? else {
        return Ok(None);
    };
    let Some(stat) = dir.stat(name)? else { return Ok(None) };
    let mode_there = stat.st_mode & 0o7777;
    match &entry.kind {
        EntryKind::Directory { mode } => {
            let right = kind(&stat) == FileType::Directory && mode_there == mode.bits();
            Ok(right.then(|| Placed::Folder { mode: mode.bits() }))
        }
        EntryKind::Symlink { target } => {
            let right = dir
                .read_link(name)?
                .is_some_and(|there| there == target.as_str().as_bytes());
            let target = target.as_str().to_owned();
            Ok(right.then_some(Placed::Symlink { target }))
        }
        EntryKind::File { mode, artifact, .. } => {
            let like = kind(&stat) == FileType::RegularFile && mode_there == mode.bits();
            if !like || u64::try_from(stat.st_size) != Ok(artifact.size) {
                return Ok(None);
            }
            let now = Placed::file(artifact.id, &stat);
            let right = before == Some(&now) || has_root(dir, name, artifact.id)?;
            Ok(right.then_some(now))
        }
    }
}

/// The folders that the entries lie in and that are ours: an older release's, or made now.
pub(super) fn folders(own: &Own, entries: &[Entry], old: Option<&Record>) -> Result<BTreeSet<String>, Failed> {
    let mut ours = BTreeSet::new();
    let mut foreign = BTreeSet::new();
    let mut walker = walker(&own.root)?;
    for folder in entries.iter().flat_map(|entry| entry.path.ancestors()) {
        if ours.contains(folder) || foreign.contains(folder) {
            continue;
        }
        let is_ours = old.is_some_and(|old| old.folders.contains(folder)) || {
            let found = walker.find(folder).map_err(Failed::at(folder, "read"))?;
            let there = found.map_or(Ok(false), |(dir, name)| dir.is_folder(name));
            !there.map_err(Failed::at(folder, "read"))?
        };
        if is_ours {
            ours.insert(folder.to_owned())
        } else {
            foreign.insert(folder.to_owned())
        };
    }
    Ok(ours)
}

/// Prepares every entry that is not current in the tree under `new`. Answers for each entry what was prepared.
pub(super) fn stage(
    new: &Dir,
    entries: &[Entry],
    current: &[Option<Placed>],
    source: &dyn ArtifactSource,
    saved: &Saved,
    options: &PlaceOptions<'_>,
) -> Result<Vec<Option<Placed>>, Failed> {
    let todo: Vec<(usize, &Entry)> = entries
        .iter()
        .enumerate()
        .filter(|(at, _)| current.get(*at).is_none_or(Option::is_none))
        .collect();
    let mut uses: Uses = HashMap::new();
    for artifact in todo.iter().filter_map(|(_, entry)| entry.artifact()) {
        *uses.entry(artifact.id).or_insert_with(|| AtomicU32::new(0)).get_mut() += 1;
    }
    let work = Work { uses, source, saved };
    let write = |walker: &mut Walker, batch: &[(usize, &Entry)]| {
        let mut done = Vec::with_capacity(batch.len());
        for (at, entry) in batch {
            let path = entry.path.as_str();
            let placed = work.write(walker, entry).map_err(Failed::at(path, "prepared"))?;
            if let (Some(tell), Some(artifact)) = (options.progress, entry.artifact()) {
                tell(artifact.size);
            }
            done.push((*at, placed));
        }
        Ok(done)
    };
    let batches = map_batches(&todo, options.threads, || walker(new), write)?;
    let mut staged = vec![None; entries.len()];
    for (at, placed) in batches.into_iter().flatten() {
        staged[at] = Some(placed);
    }
    Ok(staged)
}

struct Work<'a> {
    uses: Uses,
    source: &'a dyn ArtifactSource,
    saved: &'a Saved,
}

impl Work<'_> {
    fn write(&self, walker: &mut Walker, entry: &Entry) -> io::Result<Placed> {
        let (dir, name) = walker.make(entry.path.as_str())?;
        match &entry.kind {
            EntryKind::Directory { mode } => {
                dir.make(name, mode.bits())?;
                Ok(Placed::Folder { mode: mode.bits() })
            }
            EntryKind::Symlink { target } => {
                dir.symlink(target.as_str(), name)?;
                let target = target.as_str().to_owned();
                Ok(Placed::Symlink { target })
            }
            EntryKind::File { mode, artifact, .. } => {
                let file = self.file(dir, name, artifact, mode.bits())?;
                let mut stat = rustix::fs::fstat(&file)?;
                if u64::try_from(stat.st_size) != Ok(artifact.size) {
                    return Err(io::Error::other(
                        "the source gave another number of bytes than the release has",
                    ));
                }
                if stat.st_mode & 0o7777 != mode.bits() {
                    step()?;
                    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode.bits()))?;
                    stat = rustix::fs::fstat(&file)?;
                }
                Ok(Placed::file(artifact.id, &stat))
            }
        }
    }

    fn file(&self, dir: &Dir, name: &str, artifact: &Artifact, mode: u32) -> io::Result<File> {
        let last = self
            .uses
            .get(&artifact.id)
            .is_none_or(|left| left.fetch_sub(1, Ordering::AcqRel) == 1);
        if let Some(file) = self.saved.give(artifact, last, dir, name, mode)? {
            return Ok(file);
        }
        if artifact.size == 0 {
            return dir.create(name, mode);
        }
        match self.source.bytes(artifact, last)? {
            ArtifactBytes::Memory(bytes) => {
                let mut file = dir.create(name, mode)?;
                step()?;
                file.write_all(&bytes)?;
                Ok(file)
            }
            ArtifactBytes::Copy(from) => copy(from, dir, name, artifact, mode),
            ArtifactBytes::Exposed(from) => {
                let file = copy(from, dir, name, artifact, mode)?;
                check(opened(dir, name)?, artifact)?;
                Ok(file)
            }
            ArtifactBytes::Move(path) => {
                if dir.adopt(&path, name)? {
                    return opened(dir, name);
                }
                copy(File::open(path)?, dir, name, artifact, mode)
            }
        }
    }
}

/// Copies an open file to a new one.
pub(super) fn copy(mut from: File, dir: &Dir, name: &str, artifact: &Artifact, mode: u32) -> io::Result<File> {
    let mut to = dir.create(name, mode)?;
    fill(&mut from, &mut to, artifact)?;
    Ok(to)
}

/// Whether a copy is what was asked for.
fn check(mut copy: File, artifact: &Artifact) -> io::Result<()> {
    let found = blake3::Hasher::new().update_reader(&mut copy)?.finalize();
    if *found.as_bytes() == artifact.id.0 {
        return Ok(());
    }
    Err(io::Error::other(
        "a file in the folder was changed while the release was being fetched",
    ))
}

/// A file that was just renamed to here.
pub(super) fn opened(dir: &Dir, name: &str) -> io::Result<File> {
    dir.read(name)?
        .ok_or_else(|| io::Error::other("what the source gave is no regular file"))
}
