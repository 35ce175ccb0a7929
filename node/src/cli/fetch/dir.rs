//! Where a fetch puts things: DIR, the store under it, and the switch.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use samara_protocol::id::{ArtifactId, LayoutId, Part};
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::manifest::entry::Artifact;
use samara_protocol::manifest::list;
use samara_protocol::manifest::platform::Platform;

use super::leftovers;
use crate::admin::api::ReleaseState;
use crate::cli::{CliError, Context, ExitStatus, Printer, blame};
use crate::release::place::{PlaceError, PlaceOptions, PlaceRelease, PlaceReport, place, place_entry, select};
use crate::release::sizes::Sizes;
use crate::release::source::{ArtifactBytes, write_entry};
use crate::store::{Store, StoreError, hash_file};

/// What DIR is prepared in.
const OWN: &str = ".samara";

/// Where the result goes.
pub(super) struct Output {
    dir: Option<PathBuf>,
    store: PathBuf,
    entry: Option<String>,
    /// Folders that this fetch makes, the innermost first; none where another began.
    makes: Vec<PathBuf>,
}

/// Files in DIR that are of the release fetched there before, as they must be.
#[derive(Debug, Default)]
pub(super) struct Present(BTreeMap<ArtifactId, PathBuf>);

impl Present {
    pub(super) fn ids(&self) -> Vec<ArtifactId> {
        self.0.keys().copied().collect()
    }
}

impl Output {
    pub(super) fn new(dir: &Path, entry: Option<&str>, context: &Context) -> Result<Self, CliError> {
        let entry = entry.map(str::to_owned);
        if dir == Path::new("-") {
            if entry.is_none() {
                return Err(CliError::usage("-o -", "a whole release cannot go to stdout")
                    .way_out("name one file with --entry"));
            }
            leftovers::remove(context.home());
            return Ok(Self {
                dir: None,
                store: leftovers::own(context.home()),
                entry,
                makes: Vec::new(),
            });
        }
        if dir.exists() && !dir.is_dir() {
            return Err(CliError::usage(dir.display(), "is not a folder")
                .way_out("give -o a folder, or a path where one can be made"));
        }
        let store = dir.join(OWN).join("store");
        let above = store
            .ancestors()
            .take_while(|path| *path != Path::new("") && !path.exists());
        Ok(Self {
            dir: Some(dir.to_owned()),
            makes: above.map(Path::to_owned).collect(),
            store,
            entry,
        })
    }

    /// Nothing came and nothing will: leaves no trace of a fetch that began nothing. What an earlier one has begun stays, and
    /// what the same command goes on with; a fetch to stdout goes on with nothing.
    pub(super) fn forget(&self, error: &CliError, store: Store) {
        let in_vain = match error.status() {
            ExitStatus::Absent => true,
            // Recalled, or not let in.
            ExitStatus::Denied => store.manifests().is_ok_and(|releases| releases.is_empty()),
            _ => false,
        };
        let goes_on = self.makes.is_empty() || !in_vain;
        if self.dir.is_some() && goes_on {
            return;
        }
        // The error is what the reader has to know; a folder that stays is found by the next fetch.
        let _ = leftovers::remove_own(store, &self.store);
        for path in &self.makes {
            let _ = std::fs::remove_dir(path);
        }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.store.clone()
    }

    /// What of the release that was fetched into DIR before is still as it was: it need not be fetched again.
    pub(super) fn present(&self) -> Result<Present, CliError> {
        let Some(dir) = &self.dir else {
            return Ok(Present::default());
        };
        let Ok(bytes) = std::fs::read(dir.join(OWN).join(crate::release::ENTRIES_FILE)) else {
            return Ok(Present::default());
        };
        let Ok(entries) = list::decode(&bytes) else {
            return Ok(Present::default());
        };
        let mut present = BTreeMap::new();
        for (path, artifact) in entries
            .iter()
            .filter_map(|entry| Some((entry.path.as_str(), entry.artifact()?)))
        {
            let path = dir.join(path);
            let same_size =
                std::fs::symlink_metadata(&path).is_ok_and(|data| data.is_file() && data.len() == artifact.size);
            if same_size
                && !present.contains_key(&artifact.id)
                && hash_file(&path, 1).is_ok_and(|found| found.id == artifact.id)
            {
                present.insert(artifact.id, path);
            }
        }
        Ok(Present(present))
    }

    /// Switches DIR to the release, or writes the one entry.
    pub(super) fn place(
        &self,
        store: &Store,
        state: &ReleaseState,
        platforms: &[Platform],
        present: &Present,
        sync: bool,
        printer: &mut Printer,
    ) -> Result<PlaceReport, CliError> {
        let (head, list) = release_files(store, state).map_err(|error| self.failed(&error))?;
        let payload = LayoutId {
            manifest: state.manifest,
            part: Part::Payload,
        };
        let taken = self.store.with_file_name("taken");
        let source = |artifact: &Artifact, last: bool| bytes_of(store, payload, artifact, last, &taken, present);
        let options = PlaceOptions {
            sync,
            ..PlaceOptions::default()
        };
        let chosen = match &self.entry {
            None => None,
            Some(path) => {
                let entries =
                    list::decode(&list).map_err(|error| CliError::new(ExitStatus::Unverified, path, error))?;
                let entries = select(entries, platforms).map_err(|error| self.refused(&error))?;
                let found = entries.into_iter().find(|entry| entry.path.as_str() == path);
                Some(found.ok_or_else(|| CliError::new(ExitStatus::Absent, path, "the release has no such entry"))?)
            }
        };
        let placed = match (&self.dir, &chosen) {
            (Some(dir), Some(entry)) => place_entry(dir, entry, &source, &options),
            (Some(dir), None) => place(
                dir,
                &PlaceRelease {
                    head: &head,
                    list: &list,
                    platforms,
                },
                &source,
                &options,
            ),
            (None, Some(entry)) => {
                write_entry(entry, &source, printer.bytes())
                    .map_err(|error| CliError::io(Path::new("stdout"), &error))?;
                Ok(PlaceReport {
                    written: 1,
                    bytes: entry.artifact().map_or(0, |artifact| artifact.size),
                    sizes: Sizes::of([entry]),
                    ..PlaceReport::default()
                })
            }
            (None, None) => Ok(PlaceReport::default()),
        };
        // Emptied by the switch.
        let _ = std::fs::remove_dir(&taken);
        placed.map_err(|error| self.refused(&error))
    }

    /// Removes the store: everything of it is in DIR now.
    pub(super) fn clean(&self, store: Store) -> Result<(), CliError> {
        leftovers::remove_own(store, &self.store).map_err(|error| CliError::own_file(&self.store, &error))
    }

    fn culprit(&self) -> String {
        self.dir
            .as_ref()
            .map_or_else(|| "stdout".to_owned(), |dir| dir.display().to_string())
    }

    fn failed(&self, error: &StoreError) -> CliError {
        blame::store(error, self.culprit())
    }

    fn refused(&self, error: &PlaceError) -> CliError {
        let text = match error {
            PlaceError::Io { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        let (status, way_out) = match error {
            PlaceError::Busy(_) => (ExitStatus::Conflict, "or give another folder"),
            PlaceError::Platforms(_) => (ExitStatus::Usage, "give --platform once"),
            PlaceError::Io { source, .. } => (
                CliError::own_file(&self.store, source).status(),
                "mend the cause and run the same command again, which goes on where this ended",
            ),
            _ => (ExitStatus::Unverified, "fetch again into a new folder"),
        };
        CliError::new(status, self.culprit(), text).way_out(way_out)
    }
}

fn release_files(store: &Store, state: &ReleaseState) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let head = store
        .head(state.manifest)?
        .ok_or(StoreError::NotTheHead(state.manifest))?;
    let parsed =
        samara_protocol::manifest::head::Head::decode(&head).map_err(|_| StoreError::NotTheHead(state.manifest))?;
    let list = parsed.entries.artifact.layout_ref();
    if list.size < GROUP_BYTES {
        let id = LayoutId {
            manifest: state.manifest,
            part: Part::Entries,
        };
        return Ok((head, store.read_small(id, list.id)?));
    }
    let mut bytes = Vec::new();
    let mut file = store.open_artifact(list)?;
    io::Read::read_to_end(&mut file, &mut bytes).map_err(|_| StoreError::Damaged(list.id))?;
    Ok((head, bytes))
}

fn bytes_of(
    store: &Store,
    payload: LayoutId,
    artifact: &Artifact,
    last: bool,
    taken: &Path,
    present: &Present,
) -> io::Result<ArtifactBytes> {
    let other = |error: StoreError| io::Error::other(error.to_string());
    if let Some(path) = present.0.get(&artifact.id) {
        return File::open(path).map(ArtifactBytes::Exposed);
    }
    if artifact.size == 0 {
        return Ok(ArtifactBytes::Memory(Vec::new()));
    }
    let wanted = artifact.layout_ref();
    if artifact.size < GROUP_BYTES {
        return store
            .read_small(payload, artifact.id)
            .map(ArtifactBytes::Memory)
            .map_err(other);
    }
    if last {
        std::fs::create_dir_all(taken)?;
        let path = taken.join(artifact.id.to_string());
        store.take(wanted, &path).map_err(other)?;
        return Ok(ArtifactBytes::Move(path));
    }
    store.open_artifact(wanted).map(ArtifactBytes::Copy).map_err(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    #[test]
    fn a_fetch_that_got_nothing_leaves_nothing_and_one_that_can_go_on_stays() {
        let base = tempfile::tempdir().expect("a directory");
        let context = Context::at(base.path().join("home"));
        let absent = CliError::new(ExitStatus::Absent, "x", "is not there");
        let full = CliError::new(ExitStatus::DiskFull, "x", "is full");
        let begin = |dir: &Path| {
            let output = Output::new(dir, None, &context).expect("an output");
            let (store, _) = Store::open(&output.store(), StoreOptions::default()).expect("a store");
            (output, store)
        };
        let forget = |dir: &Path, error: &CliError| {
            let (output, store) = begin(dir);
            output.forget(error, store);
        };
        let new = base.path().join("a/b");
        forget(&new, &absent);
        assert!(
            !base.path().join("a").exists(),
            "what it made is gone, folders above too"
        );

        std::fs::create_dir_all(&new).expect("made");
        std::fs::write(new.join("mine"), "mine").expect("written");
        forget(&new, &absent);
        assert!(new.join("mine").exists() && !new.join(OWN).exists());

        forget(&new, &full);
        assert!(new.join(OWN).join("store").exists(), "the same command goes on with it");
        forget(&new, &absent);
        assert!(new.join(OWN).join("store").exists(), "an earlier fetch began it");
    }
}
