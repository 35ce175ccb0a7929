//! A verified release into a folder.
//!
//! Everything that changes is prepared under `DIR/.samara`, then one journal is written, then what changed is renamed into
//! place. Before the journal is there a crash leaves DIR as it was; from then on the next run finishes the switch
//! (`switch`). Invariants: nothing is written through a link that sits in DIR; a file is replaced whole; what an older
//! release had written goes when the new one has it not, unless somebody altered it; what stands in the way and is not
//! ours is moved to `.samara/kept/`, never lost. No file is synced on its own: [`PlaceOptions::sync`] syncs all at once.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use samara_protocol::id::ManifestId;
use samara_protocol::manifest::entry::Entry;
use samara_protocol::manifest::head::{Head, HeadError};
use samara_protocol::manifest::list::{self, ListError};
use samara_protocol::manifest::path::ReleasePath;
use samara_protocol::manifest::platform::Platform;

use super::dir::{Dir, Walker};
use super::parallel::default_threads;
use super::record::{ENTRIES, JOURNAL, Journal, KEPT, MANIFEST, NEW, OpenError, Own, Placed, Record, SCHEMA, STAGE};
use super::sizes::Sizes;
use super::source::ArtifactSource;

pub mod current;
mod prepare;
mod salvage;
mod switch;

/// A release to be placed. That it is the vendor's has been checked.
#[derive(Debug, Clone, Copy)]
pub struct PlaceRelease<'a> {
    /// The head's bytes.
    pub head: &'a [u8],
    /// The entries list's bytes.
    pub list: &'a [u8],
    /// The machines that DIR is for; all entries when empty.
    pub platforms: &'a [Platform],
}

/// How to place.
#[derive(Clone, Copy)]
pub struct PlaceOptions<'a> {
    /// Threads that write.
    pub threads: usize,
    /// Whether everything is durable on return.
    pub sync: bool,
    /// Told the bytes of each file that is prepared.
    pub progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

impl Default for PlaceOptions<'_> {
    fn default() -> Self {
        Self {
            threads: default_threads(),
            sync: false,
            progress: None,
        }
    }
}

impl std::fmt::Debug for PlaceOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("PlaceOptions");
        out.field("threads", &self.threads)
            .field("sync", &self.sync)
            .finish_non_exhaustive()
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlaceReport {
    /// Files, links and empty folders that were written.
    pub written: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Those that were there already.
    pub unchanged: u64,
    /// Those of an older release that were removed.
    pub removed: u64,
    /// What stood in the way and was not ours, and where it is now (relative to DIR).
    pub kept: Vec<(String, String)>,
    /// What an older release had written, was altered since, and was left where it is.
    pub left: Vec<String>,
    /// Whether a switch that had been broken off was finished first.
    pub resumed: bool,
    /// Of everything that was to be there in the end, written or not.
    pub sizes: Sizes,
}

/// Why nothing was placed. DIR is as it was, unless a switch had begun; the next run goes on.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Another process.
    #[error("another fetch into `{}` is running; wait for it", .0.display())]
    Busy(PathBuf),
    /// The file system.
    #[error("`{path}` in `{}` could not be {what}", dir.display())]
    Io {
        /// The target folder.
        dir: PathBuf,
        /// Which path in it.
        path: String,
        /// What was tried.
        what: &'static str,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The head.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The list.
    #[error(transparent)]
    List(#[from] ListError),
    /// Another release's list.
    #[error("the entries list is not the one that the manifest names")]
    OtherList,
    /// Two entries of one path are for the chosen machines.
    #[error("`{0}` differs between the chosen platforms; choose one platform")]
    Platforms(ReleasePath),
}

/// An error with what it was about, relative to the target folder.
#[derive(Debug)]
struct Failed {
    path: String,
    what: &'static str,
    source: io::Error,
}

impl Failed {
    fn at(path: impl Into<String>, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self { path, what, source }
    }
}

/// Places a release in `dir`, which is made when it is not there.
///
/// # Errors
/// Names the path; running it again goes on where this ended.
pub fn place(
    dir: &Path,
    release: &PlaceRelease<'_>,
    source: &dyn ArtifactSource,
    options: &PlaceOptions<'_>,
) -> Result<PlaceReport, PlaceError> {
    let head = Head::decode(release.head)?;
    if blake3::hash(release.list).as_bytes() != head.entries.artifact.id.as_bytes() {
        return Err(PlaceError::OtherList);
    }
    let entries = select(list::decode(release.list)?, release.platforms)?;
    let own = open(dir)?;
    let placed = run(&own, release, &entries, source, options).map_err(|failed| in_dir(dir, failed))?;
    Ok(PlaceReport {
        sizes: Sizes::of(&entries),
        ..placed
    })
}

/// Finishes a switch that was broken off in `dir`, if there is one; true when there was.
///
/// # Errors
/// As [`place`].
pub fn finish(dir: &Path, options: &PlaceOptions<'_>) -> Result<bool, PlaceError> {
    let own = open(dir)?;
    let mut report = PlaceReport::default();
    switch::finish(&own, options.sync, &mut report).map_err(|failed| in_dir(dir, failed))
}

/// Places one entry in `dir` and touches nothing else there.
///
/// # Errors
/// As [`place`].
pub fn place_entry(
    dir: &Path,
    entry: &Entry,
    source: &dyn ArtifactSource,
    options: &PlaceOptions<'_>,
) -> Result<PlaceReport, PlaceError> {
    let own = open(dir)?;
    let placed = run_entry(&own, entry, source, options).map_err(|failed| in_dir(dir, failed))?;
    Ok(PlaceReport {
        sizes: Sizes::of([entry]),
        ..placed
    })
}

/// The entries that machines of the given platforms take; all when none is given.
///
/// # Errors
/// When two of them have one path.
pub fn select(entries: Vec<Entry>, platforms: &[Platform]) -> Result<Vec<Entry>, PlaceError> {
    let takes = |entry: &Entry| platforms.is_empty() || platforms.iter().any(|machine| entry.platforms.admits(machine));
    let entries: Vec<Entry> = entries.into_iter().filter(takes).collect();
    match entries.windows(2).find(|two| two[0].path == two[1].path) {
        Some(two) => Err(PlaceError::Platforms(two[0].path.clone())),
        None => Ok(entries),
    }
}

fn open(dir: &Path) -> Result<Own, PlaceError> {
    let opened = std::fs::create_dir_all(dir)
        .map_err(OpenError::from)
        .and_then(|()| Own::open(dir));
    opened.map_err(|error| match error {
        OpenError::Busy => PlaceError::Busy(dir.to_owned()),
        OpenError::Io(source) => in_dir(dir, Failed::at(".samara", "opened")(source)),
    })
}

fn in_dir(dir: &Path, failed: Failed) -> PlaceError {
    PlaceError::Io {
        dir: dir.to_owned(),
        path: failed.path,
        what: failed.what,
        source: failed.source,
    }
}

fn run(
    own: &Own,
    release: &PlaceRelease<'_>,
    entries: &[Entry],
    source: &dyn ArtifactSource,
    options: &PlaceOptions<'_>,
) -> Result<PlaceReport, Failed> {
    let io = |what| Failed::at(".samara", what);
    let mut report = PlaceReport::default();
    report.resumed = switch::finish(own, options.sync, &mut report)?;
    let old = own.record().map_err(io("read"))?;
    let saved = salvage::collect(own).map_err(io("prepared"))?;
    let stage = own.own.make(STAGE, 0o755).map_err(io("prepared"))?;
    let new = stage.make(NEW, 0o755).map_err(io("prepared"))?;
    let current = prepare::current(own, entries, old.as_ref(), options.threads)?;
    let prepared = prepare::stage(&new, entries, &current, source, &saved, options)?;
    let mut paths = BTreeMap::new();
    for ((entry, current), staged) in entries.iter().zip(current).zip(prepared) {
        let (was_there, placed) = match current {
            Some(placed) => (1, Some(placed)),
            None => (0, staged),
        };
        report.unchanged += was_there;
        report.written += 1 - was_there;
        if let Some(placed) = placed {
            if let (Placed::File { size, .. }, 0) = (&placed, was_there) {
                report.bytes += size;
            }
            paths.insert(entry.path.to_string(), placed);
        }
    }
    stage.replace(MANIFEST, release.head, false).map_err(io("prepared"))?;
    stage.replace(ENTRIES, release.list, false).map_err(io("prepared"))?;
    let record = Record {
        schema: SCHEMA,
        manifest: Head::id_of(release.head),
        platforms: release.platforms.to_vec(),
        folders: prepare::folders(own, entries, old.as_ref())?,
        paths,
    };
    commit(own, record, options.sync).map_err(io("written"))?;
    switch::finish(own, options.sync, &mut report)?;
    Ok(report)
}

/// From here on the switch goes forward only.
fn commit(own: &Own, record: Record, sync: bool) -> io::Result<()> {
    if sync {
        own.own.sync_all()?;
    }
    let kept = own
        .own
        .open(KEPT)?
        .map_or_else(|| Ok(Vec::new()), |kept| kept.names())?;
    let highest = kept.iter().filter_map(|name| name.parse::<u32>().ok()).max();
    let journal = Journal {
        kept: highest.map_or(1, |highest| highest.saturating_add(1)).to_string(),
        record,
    };
    let bytes = serde_json::to_vec(&journal)?;
    own.own.replace(JOURNAL, &bytes, sync)
}

fn run_entry(
    own: &Own,
    entry: &Entry,
    source: &dyn ArtifactSource,
    options: &PlaceOptions<'_>,
) -> Result<PlaceReport, Failed> {
    let io = |what| Failed::at(".samara", what);
    let mut report = PlaceReport::default();
    report.resumed = switch::finish(own, options.sync, &mut report)?;
    let old = own.record().map_err(io("read"))?;
    let entries = std::slice::from_ref(entry);
    let saved = salvage::collect(own).map_err(io("prepared"))?;
    let stage = own.own.make(STAGE, 0o755).map_err(io("prepared"))?;
    let new = stage.make(NEW, 0o755).map_err(io("prepared"))?;
    let current = prepare::current(own, entries, old.as_ref(), 1)?;
    let mut staged = prepare::stage(&new, entries, &current, source, &saved, options)?;
    let Some(placed) = staged.pop().flatten() else {
        report.unchanged = 1;
        own.own.remove_all(STAGE).map_err(io("removed"))?;
        return Ok(report);
    };
    report.written = 1;
    report.bytes = entry.artifact().map_or(0, |artifact| artifact.size);
    // The record goes on naming the release that lies there; this path of it was replaced by us.
    let mut record = old.unwrap_or_else(|| Record {
        schema: SCHEMA,
        manifest: ManifestId([0; 32]),
        platforms: Vec::new(),
        paths: BTreeMap::new(),
        folders: std::collections::BTreeSet::new(),
    });
    record.folders.extend(prepare::folders(own, entries, Some(&record))?);
    record.paths.insert(entry.path.to_string(), placed);
    commit(own, record, options.sync).map_err(io("written"))?;
    switch::finish(own, options.sync, &mut report)?;
    Ok(report)
}

/// How often each artifact is still needed.
type Uses = HashMap<samara_protocol::id::ArtifactId, std::sync::atomic::AtomicU32>;

fn walker(dir: &Dir) -> Result<Walker, Failed> {
    dir.again().map(Walker::new).map_err(Failed::at(".", "opened"))
}

#[cfg(test)]
pub(crate) mod tests;
