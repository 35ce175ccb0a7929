//! A file or folder into the entries of a release.
//!
//! Files are read once, both hashes in one read, many at a time. A single file becomes a release with one entry, named
//! as the file is. Modes become 0755 where anyone may execute and 0644 else: what a publisher's umask was is nobody's
//! business. Folders get an entry only when they are empty. Links are taken as they are and must stay inside. What
//! cannot be in a release is refused, all of it at once, with its path and the way out; nothing is left out silently.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use samara_protocol::id::ArtifactId;
use samara_protocol::manifest::entry::{Artifact, Entry, EntryKind, Mode};
use samara_protocol::manifest::path::{LinkTarget, PathError, ReleasePath};
use samara_protocol::manifest::platform::PlatformSet;

use super::digest::digest;
use super::parallel::{default_threads, map_batches};

/// Refusals shown before the rest is only counted.
const FAULTS_SHOWN: usize = 20;

/// A file or folder and the platforms that its content is for.
#[derive(Debug, Clone)]
pub struct ScanRoot {
    /// Where it is. A link here is followed; links inside are not.
    pub path: PathBuf,
    /// For which platforms.
    pub platforms: PlatformSet,
}

/// How to scan.
#[derive(Clone, Copy)]
pub struct ScanOptions<'a> {
    /// Threads that hash.
    pub threads: usize,
    /// Told the bytes of each file that is done.
    pub progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

impl Default for ScanOptions<'_> {
    fn default() -> Self {
        Self {
            threads: default_threads(),
            progress: None,
        }
    }
}

impl fmt::Debug for ScanOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanOptions")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// Unsorted across roots: `manifest::list::encode` sorts, and refuses what cannot be one release.
    pub entries: Vec<Entry>,
    /// For each artifact a file that has it.
    pub sources: BTreeMap<ArtifactId, PathBuf>,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Why there is no release.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Things that cannot be in a release.
    #[error("{}", show(.0))]
    Refused(Vec<Fault>),
    /// Nothing to publish.
    #[error("`{}` has neither files nor folders in it; there is nothing to publish", .0.display())]
    Empty(PathBuf),
}

/// One thing that cannot be in a release.
#[derive(Debug)]
pub struct Fault {
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong and the way out.
    pub why: FaultKind,
}

/// What is wrong with a file, and the way out.
#[derive(Debug, thiserror::Error)]
pub enum FaultKind {
    /// Its name, or where it points.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It is neither a file nor a folder nor a link.
    #[error("is a {0}; a release holds files, folders and links only: move it away")]
    Special(&'static str),
    /// It cannot be read.
    #[error("cannot be read ({0}); {way_out}", way_out = way_out(.0))]
    Io(#[from] io::Error),
    /// It was changed.
    #[error("changed while it was read; publish when nobody writes to it, for example from a copy")]
    Changed,
}

fn way_out(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::NotFound {
        "check the path"
    } else {
        "give the publishing user read access, or move it away"
    }
}

fn show(faults: &[Fault]) -> String {
    let mut text = String::from("these cannot be in a release:");
    for Fault { path, why } in faults.iter().take(FAULTS_SHOWN) {
        text.push_str(&format!("\n  {}: {why}", path.display()));
    }
    if let Some(more @ 1..) = faults.len().checked_sub(FAULTS_SHOWN) {
        text.push_str(&format!("\n  and {more} more"));
    }
    text
}

/// Scans all roots.
///
/// # Errors
/// Names everything that cannot be in a release.
pub fn scan(roots: &[ScanRoot], options: &ScanOptions<'_>) -> Result<Scanned, ScanError> {
    let mut walk = Walk::default();
    for root in roots {
        walk.root(root);
        if walk.found.is_empty() && walk.faults.is_empty() {
            return Err(ScanError::Empty(root.path.clone()));
        }
    }
    let hashed = map_batches(
        &walk.found,
        options.threads,
        || Ok::<_, std::convert::Infallible>(Vec::new()),
        |buffer, batch| {
            Ok(batch
                .iter()
                .map(|found| found.entry(buffer, options.progress))
                .collect::<Vec<_>>())
        },
    );
    let hashed = match hashed {
        Ok(hashed) => hashed,
        Err(never) => match never {},
    };
    let mut scanned = Scanned {
        entries: Vec::with_capacity(walk.found.len()),
        sources: BTreeMap::new(),
        bytes: 0,
    };
    let found = std::mem::take(&mut walk.found);
    for (found, entry) in found.iter().zip(hashed.into_iter().flatten()) {
        match entry {
            Ok(entry) => {
                if let Some(artifact) = entry.artifact() {
                    scanned.bytes += artifact.size;
                    scanned
                        .sources
                        .entry(artifact.id)
                        .or_insert_with(|| found.source.clone());
                }
                scanned.entries.push(entry);
            }
            Err(why) => walk.fault(&found.source, why),
        }
    }
    if walk.faults.is_empty() {
        Ok(scanned)
    } else {
        walk.faults.sort_by(|a, b| a.path.cmp(&b.path));
        Err(ScanError::Refused(walk.faults))
    }
}

/// Both hashes and the size of one file, for an attachment.
///
/// # Errors
/// When it is no file, cannot be read, or changes meanwhile.
pub fn scan_file(path: &Path) -> Result<Artifact, ScanError> {
    let refused = |why| {
        ScanError::Refused(vec![Fault {
            path: path.to_owned(),
            why,
        }])
    };
    let meta = std::fs::metadata(path).map_err(|error| refused(error.into()))?;
    match special(&meta) {
        Some(what) => Err(refused(FaultKind::Special(what))),
        None if meta.is_dir() => Err(refused(FaultKind::Special("folder"))),
        None => hash(path, &meta, &mut Vec::new()).map_err(refused),
    }
}

/// Something found, before it is hashed.
#[derive(Debug)]
struct Found {
    source: PathBuf,
    path: ReleasePath,
    platforms: PlatformSet,
    meta: Metadata,
    link: Option<LinkTarget>,
}

impl Found {
    fn entry(&self, buffer: &mut Vec<u8>, progress: Option<&(dyn Fn(u64) + Sync)>) -> Result<Entry, FaultKind> {
        let kind = if let Some(target) = &self.link {
            EntryKind::Symlink { target: target.clone() }
        } else if self.meta.is_dir() {
            EntryKind::Directory { mode: Mode::EXECUTABLE }
        } else {
            let artifact = hash(&self.source, &self.meta, buffer)?;
            progress.inspect(|tell| tell(artifact.size));
            let executable = self.meta.permissions().mode() & 0o111 != 0;
            EntryKind::File {
                mode: if executable { Mode::EXECUTABLE } else { Mode::FILE },
                artifact,
                media_type: None,
            }
        };
        Ok(Entry {
            path: self.path.clone(),
            platforms: self.platforms.clone(),
            kind,
        })
    }
}

fn hash(path: &Path, seen: &Metadata, buffer: &mut Vec<u8>) -> Result<Artifact, FaultKind> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let mut file = File::options().read(true).custom_flags(flags).open(path)?;
    let before = file.metadata()?;
    if !same(seen, &before) {
        return Err(FaultKind::Changed);
    }
    let artifact = digest(&mut file, buffer)?;
    let after = file.metadata()?;
    if artifact.size != before.len() || !same(&before, &after) {
        return Err(FaultKind::Changed);
    }
    Ok(artifact)
}

fn same(a: &Metadata, b: &Metadata) -> bool {
    let key = |m: &Metadata| {
        (
            m.dev(),
            m.ino(),
            m.len(),
            m.mtime(),
            m.mtime_nsec(),
            m.ctime(),
            m.ctime_nsec(),
        )
    };
    key(a) == key(b)
}

fn special(meta: &Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    match () {
        () if kind.is_socket() => Some("socket"),
        () if kind.is_fifo() => Some("named pipe"),
        () if kind.is_block_device() || kind.is_char_device() => Some("device"),
        () => None,
    }
}

#[derive(Debug, Default)]
struct Walk {
    found: Vec<Found>,
    faults: Vec<Fault>,
}

impl Walk {
    fn fault(&mut self, path: &Path, why: impl Into<FaultKind>) {
        self.faults.push(Fault {
            path: path.to_owned(),
            why: why.into(),
        });
    }

    fn root(&mut self, root: &ScanRoot) {
        let meta = match std::fs::metadata(&root.path) {
            Ok(meta) => meta,
            Err(error) => return self.fault(&root.path, error),
        };
        if meta.is_dir() {
            return self.folders(root);
        }
        let Some(name) = root.path.file_name() else {
            return self.fault(&root.path, io::Error::other("it has no name"));
        };
        match (special(&meta), ReleasePath::from_bytes(name.as_bytes())) {
            (Some(what), _) => self.fault(&root.path, FaultKind::Special(what)),
            (None, Err(error)) => self.fault(&root.path, error),
            (None, Ok(path)) => self.found.push(Found {
                source: root.path.clone(),
                path,
                platforms: root.platforms.clone(),
                meta,
                link: None,
            }),
        }
    }

    fn folders(&mut self, root: &ScanRoot) {
        let mut todo = vec![(root.path.clone(), String::new())];
        while let Some((folder, prefix)) = todo.pop() {
            let names = match std::fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
                Ok(names) => names,
                Err(error) => {
                    self.fault(&folder, error);
                    continue;
                }
            };
            for item in names {
                let source = item.path();
                let mut path = prefix.clone().into_bytes();
                path.extend_from_slice(item.file_name().as_bytes());
                match self.item(root, source, &path) {
                    Ok(None) => {}
                    Ok(Some((folder, path))) => todo.push((folder, format!("{path}/"))),
                    Err(why) => self.fault(&item.path(), why),
                }
            }
        }
    }

    /// Adds one item; a folder that has to be walked comes back.
    fn item(
        &mut self,
        root: &ScanRoot,
        source: PathBuf,
        path: &[u8],
    ) -> Result<Option<(PathBuf, ReleasePath)>, FaultKind> {
        let meta = std::fs::symlink_metadata(&source)?;
        if let Some(what) = special(&meta) {
            return Err(FaultKind::Special(what));
        }
        let path = ReleasePath::from_bytes(path)?;
        if meta.is_dir() && std::fs::read_dir(&source)?.next().is_some() {
            return Ok(Some((source, path)));
        }
        let link = if meta.is_symlink() {
            let target = std::fs::read_link(&source)?;
            let target = target.as_os_str().as_bytes();
            let text = std::str::from_utf8(target).map_err(|_| io::Error::other("its target is not UTF-8"))?;
            Some(LinkTarget::new(&path, text)?)
        } else {
            None
        };
        self.found.push(Found {
            source,
            path,
            platforms: root.platforms.clone(),
            meta,
            link,
        });
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
