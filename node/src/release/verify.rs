//! A placed folder against the manifest that is kept in it.
//!
//! Every file of the release is read and both its hashes are compared; modes, links and empty folders are looked at;
//! what is there and not of the release is listed. That the kept manifest is the vendor's is not said here: the caller
//! compares [`Verification::manifest`] with what it trusts.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use samara_protocol::id::{ManifestId, ProductId};
use samara_protocol::manifest::entry::{Entry, EntryKind};
use samara_protocol::manifest::head::{Head, HeadError};
use samara_protocol::manifest::list::ListError;
use samara_protocol::manifest::path::OWN_FOLDER;

use super::digest::{digest, digest_bytes};
use super::dir::{Dir, Walker, kind};
use super::parallel::{default_threads, map_batches};
use super::place::{PlaceError, select};
use super::record::{ENTRIES, JOURNAL, MANIFEST, RECORD, Record};

/// Bytes of a manifest kept in a folder, at the most.
const KEPT_BYTES_MAX: u64 = samara_protocol::limits::ENTRIES_BYTES_MAX;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The release that the folder says it holds.
    pub manifest: ManifestId,
    /// Its product.
    pub product: ProductId,
    /// Its version.
    pub version: semver::Version,
    /// Files, links and empty folders that are right.
    pub right: u64,
    /// Bytes that were hashed.
    pub bytes: u64,
    /// Paths whose content, mode, target or kind is another than the release's, and what is wrong; sorted.
    pub modified: Vec<(String, &'static str)>,
    /// Paths of the release with nothing there; sorted.
    pub missing: Vec<String>,
    /// Paths that are not of the release, folders once for all in them; sorted.
    pub extra: Vec<String>,
}

impl Verification {
    /// Whether everything of the release is as it must be. Extra files do not count.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.modified.is_empty() && self.missing.is_empty()
    }
}

/// Why a folder cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyDirError {
    /// Nothing was placed there.
    #[error("`{}` holds no release that was placed by samara fetch: its .samara folder or manifest is missing", .0.display())]
    NoRelease(PathBuf),
    /// A switch was broken off.
    #[error("a fetch into `{}` was broken off; run the same fetch again, which finishes it", .0.display())]
    Unfinished(PathBuf),
    /// The kept manifest was damaged.
    #[error("the manifest kept in `{}` is damaged; fetch again", dir.display())]
    Damaged {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: DamageError,
    },
    /// The file system.
    #[error("`{path}` in `{}` could not be read", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// Which path in it.
        path: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

/// What is wrong with a kept manifest.
#[derive(Debug, thiserror::Error)]
pub enum DamageError {
    /// The head.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The list.
    #[error(transparent)]
    List(#[from] ListError),
    /// Head and list do not belong together.
    #[error("the entries list is not the one that the manifest names")]
    OtherList,
    /// The record.
    #[error("the record of what was placed is missing or of another release")]
    Record,
    /// The chosen platforms.
    #[error(transparent)]
    Place(#[from] Box<PlaceError>),
}

/// Verifies what lies in `dir`.
///
/// # Errors
/// When there is nothing to compare with, or something cannot be read; a file that differs is no error.
pub fn verify(dir: &Path, threads: Option<usize>) -> Result<Verification, VerifyDirError> {
    let fail = |path: &str, source: io::Error| VerifyDirError::Io {
        dir: dir.to_owned(),
        path: path.to_owned(),
        source,
    };
    let root = Dir::open_root(dir).map_err(|error| fail(".", error))?;
    let own = root.open(OWN_FOLDER).map_err(|error| fail(OWN_FOLDER, error))?;
    let own = own.ok_or_else(|| VerifyDirError::NoRelease(dir.to_owned()))?;
    let kept = |name: &str| read(&own, name).map_err(|error| fail(OWN_FOLDER, error));
    if kept(JOURNAL)?.is_some() {
        return Err(VerifyDirError::Unfinished(dir.to_owned()));
    }
    let (Some(head), Some(list)) = (kept(MANIFEST)?, kept(ENTRIES)?) else {
        return Err(VerifyDirError::NoRelease(dir.to_owned()));
    };
    let record = kept(RECORD)?;
    let damaged = |cause| VerifyDirError::Damaged {
        dir: dir.to_owned(),
        cause,
    };
    let (head_read, entries) = manifest(&head, &list, record.as_deref()).map_err(damaged)?;
    let looked = map_batches(
        &entries,
        threads.unwrap_or_else(default_threads),
        || {
            Ok((
                root.again().map(Walker::new).map_err(|error| fail(".", error))?,
                Vec::new(),
            ))
        },
        |(walker, buffer), batch| {
            let look = |entry: &Entry| look(walker, entry, buffer).map_err(|error| fail(entry.path.as_str(), error));
            batch.iter().map(look).collect::<Result<Vec<_>, _>>()
        },
    )?;
    let mut verification = Verification {
        manifest: Head::id_of(&head),
        product: head_read.product,
        version: head_read.version,
        right: 0,
        bytes: 0,
        modified: Vec::new(),
        missing: Vec::new(),
        extra: extra(&root, &entries).map_err(|error| fail(".", error))?,
    };
    for (entry, state) in entries.iter().zip(looked.into_iter().flatten()) {
        match state {
            State::Right(bytes) => {
                verification.right += 1;
                verification.bytes += bytes;
            }
            State::Missing => verification.missing.push(entry.path.to_string()),
            State::Modified(why) => verification.modified.push((entry.path.to_string(), why)),
        }
    }
    Ok(verification)
}

fn manifest(head: &[u8], list: &[u8], record: Option<&[u8]>) -> Result<(Head, Vec<Entry>), DamageError> {
    let id = Head::id_of(head);
    let head = Head::decode(head)?;
    if digest_bytes(list) != head.entries.artifact {
        return Err(DamageError::OtherList);
    }
    let record: Option<Record> = record.and_then(|bytes| serde_json::from_slice(bytes).ok());
    let record = record
        .filter(|record| record.manifest == id)
        .ok_or(DamageError::Record)?;
    let entries = samara_protocol::manifest::list::decode(list)?;
    let entries = select(entries, &record.platforms).map_err(Box::new)?;
    Ok((head, entries))
}

fn read(dir: &Dir, name: &str) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = dir.read(name)? else { return Ok(None) };
    let mut bytes = Vec::new();
    // A record is larger than the list that it was made from by a factor at most.
    io::Read::read_to_end(&mut io::Read::take(file, KEPT_BYTES_MAX * 8), &mut bytes)?;
    Ok(Some(bytes))
}

enum State {
    Right(u64),
    Missing,
    Modified(&'static str),
}

fn look(walker: &mut Walker, entry: &Entry, buffer: &mut Vec<u8>) -> io::Result<State> {
    let Some((dir, name)) = walker.find(entry.path.as_str())? else {
        return Ok(State::Missing);
    };
    let Some(stat) = dir.stat(name)? else {
        return Ok(State::Missing);
    };
    let (there, mode_there) = (kind(&stat), stat.st_mode & 0o7777);
    let wrong = |why| Ok(State::Modified(why));
    match &entry.kind {
        EntryKind::Directory { .. } if there != FileType::Directory => wrong("is no folder"),
        EntryKind::Directory { mode } if mode.bits() != mode_there => wrong("mode"),
        EntryKind::Directory { .. } => Ok(State::Right(0)),
        EntryKind::Symlink { target } => match dir.read_link(name)? {
            None => wrong("is no link"),
            Some(to) if to != target.as_str().as_bytes() => wrong("points elsewhere"),
            Some(_) => Ok(State::Right(0)),
        },
        EntryKind::File { mode, artifact, .. } => {
            let Some(mut file) = dir.read(name)?.filter(|_| there == FileType::RegularFile) else {
                return wrong("is no file");
            };
            if u64::try_from(stat.st_size) != Ok(artifact.size) {
                return wrong("size");
            }
            if digest(&mut file, buffer)? != *artifact {
                return wrong("content");
            }
            if mode.bits() != mode_there {
                return wrong("mode");
            }
            Ok(State::Right(artifact.size))
        }
    }
}

fn extra(root: &Dir, entries: &[Entry]) -> io::Result<Vec<String>> {
    let mut known: BTreeSet<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
    known.insert(OWN_FOLDER);
    let through: BTreeSet<&str> = entries.iter().flat_map(|entry| entry.path.ancestors()).collect();
    let folders: BTreeSet<&str> = entries
        .iter()
        .filter(|entry| matches!(entry.kind, EntryKind::Directory { .. }))
        .map(|entry| entry.path.as_str())
        .collect();
    let mut extra = Vec::new();
    let mut todo = vec![(root.again()?, String::new())];
    while let Some((dir, prefix)) = todo.pop() {
        for name in dir.names()? {
            let path = format!("{prefix}{name}");
            let inside = through.contains(path.as_str()) || folders.contains(path.as_str());
            match if inside { dir.open(&name)? } else { None } {
                Some(folder) => todo.push((folder, format!("{path}/"))),
                None if known.contains(path.as_str()) || through.contains(path.as_str()) => {}
                None => extra.push(path),
            }
        }
    }
    extra.sort();
    Ok(extra)
}

#[cfg(test)]
mod tests;
