//! A release's contents on their way into the store of an origin: artifacts first, then head and list.
//!
//! Nothing that the publisher says is believed: every artifact is hashed here. Small ones wait in a spool file until the
//! layout is known, because only then their places in the pack are. All calls block. Used by a running node, to which a
//! verb passes open files, and by the verb itself when no node runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use samara_protocol::id::{ArtifactId, LayoutId, ManifestId, Part};
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::manifest::contents::{Contents, ContentsError};
use samara_protocol::manifest::head::{Head, HeadError};
use samara_protocol::manifest::layout::{ArtifactRef, Layout, LayoutError};
use samara_protocol::manifest::list::{self, ListError};

use crate::store::{Place, Source, Store, StoreError};

/// Why a release cannot be imported. What was imported of it stays, and is found again when it is published again: an origin
/// collects no garbage.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A passed file or the spool.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what the publisher says it is.
    #[error("a file is not artifact {0} any more: it changed while it was being published; publish again")]
    Changed(ArtifactId),
    /// The head.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The list.
    #[error(transparent)]
    List(#[from] ListError),
    /// The list is not the one that the head names.
    #[error("the entries list is not the one that the manifest head names")]
    OtherList,
    /// Both together.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// No layout for the list.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The list names an artifact that was not passed.
    #[error("artifact {0} is listed but was not passed")]
    Missing(ArtifactId),
}

/// One release being imported.
#[derive(Debug)]
pub struct Importing {
    store: Store,
    place: Place,
    spool: Spool,
}

impl Importing {
    /// Begins; the spool lies in `dir`, which is on the store's disk.
    ///
    /// # Errors
    /// When the spool cannot be made.
    pub fn begin(store: Store, dir: &Path, link: bool) -> Result<Self, ImportError> {
        let place = if link { Place::Link } else { Place::Reflink };
        Ok(Self {
            store,
            place,
            spool: Spool::new(dir)?,
        })
    }

    /// Imports files that are already open.
    ///
    /// # Errors
    /// When one is not what it is said to be, or the store refuses.
    pub fn add(&mut self, artifacts: &[ArtifactRef], files: Vec<File>) -> Result<(), ImportError> {
        let mut large = Vec::new();
        for (artifact, file) in artifacts.iter().zip(files) {
            if artifact.size < GROUP_BYTES {
                self.spool.add(*artifact, &file)?;
            } else {
                let path = PathBuf::from(artifact.id.to_string());
                large.push(Source {
                    path,
                    file: Some(Arc::new(file)),
                    bytes: None,
                    expected: Some(*artifact),
                });
            }
        }
        self.store.import(&large, self.place)?;
        Ok(())
    }

    /// Imports files by their paths.
    ///
    /// # Errors
    /// As [`Importing::add`].
    pub fn add_paths(&mut self, files: &BTreeMap<ArtifactRef, PathBuf>) -> Result<(), ImportError> {
        let mut large = Vec::new();
        for (artifact, path) in files {
            if artifact.size < GROUP_BYTES {
                let file = File::open(path).map_err(|source| ImportError::Io {
                    what: path.display().to_string(),
                    source,
                })?;
                self.spool.add(*artifact, &file)?;
            } else {
                large.push(Source {
                    expected: Some(*artifact),
                    ..Source::from(path.clone())
                });
            }
        }
        self.store.import(&large, self.place)?;
        Ok(())
    }

    /// Checks head and list as a consumer would and packs the small artifacts; all of it is durable on return.
    ///
    /// # Errors
    /// When they contradict each other or what was passed.
    pub fn finish(self, head: &[u8], bytes: &[u8]) -> Result<ManifestId, ImportError> {
        let parsed = Head::decode(head)?;
        let manifest = Head::id_of(head);
        let list_ref = parsed.entries.artifact.layout_ref();
        if bytes.len() as u64 != list_ref.size || *blake3::hash(bytes).as_bytes() != list_ref.id.0 {
            return Err(ImportError::OtherList);
        }
        let entries = list::decode(bytes)?;
        let contents = Contents::new(&parsed, &entries)?;
        drop(entries);
        self.import_list(manifest, list_ref, bytes)?;
        self.import_payload(manifest, &Arc::new(contents.into_layout()))?;
        self.store.put_head(manifest, head)?;
        Ok(manifest)
    }

    fn import_list(&self, manifest: ManifestId, list: ArtifactRef, bytes: &[u8]) -> Result<(), ImportError> {
        let layout = Arc::new(Layout::single(list)?);
        let id = LayoutId {
            manifest,
            part: Part::Entries,
        };
        if list.size < GROUP_BYTES {
            let give = |_: ArtifactId| {
                Some(Source {
                    bytes: Some(bytes.to_vec()),
                    ..Source::from(PathBuf::from("the entries list"))
                })
            };
            self.store.import_packed(id, layout, &give)?;
        } else {
            let mut spool = Spool::new(&self.spool.dir)?;
            spool.file.write_all(bytes).map_err(|source| spool.failed(source))?;
            let path = PathBuf::from("the entries list");
            self.store.import(
                &[Source {
                    path,
                    file: Some(Arc::new(spool.file)),
                    bytes: None,
                    expected: Some(list),
                }],
                Place::Copy,
            )?;
        }
        Ok(())
    }

    fn import_payload(&self, manifest: ManifestId, layout: &Arc<Layout>) -> Result<(), ImportError> {
        let id = LayoutId {
            manifest,
            part: Part::Payload,
        };
        let give = |artifact: ArtifactId| self.spool.give(artifact);
        let held = self.store.import_packed(id, Arc::clone(layout), &give)?;
        let all = samara_protocol::tree::ranges::RangeSet::from(0..layout.group_count());
        let missing = all.difference(&held.durable);
        match missing.ranges().first().and_then(|range| layout.group(range.start)) {
            None => Ok(()),
            Some(group) => Err(ImportError::Missing(layout.artifact_of(&group))),
        }
    }
}

/// Small artifacts, one behind the other, in a file without a name.
#[derive(Debug)]
struct Spool {
    dir: PathBuf,
    file: File,
    end: u64,
    places: BTreeMap<ArtifactId, (u64, usize)>,
}

impl Spool {
    fn new(dir: &Path) -> Result<Self, ImportError> {
        let failed = |source| ImportError::Io {
            what: dir.display().to_string(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let file = tempfile::tempfile_in(dir).map_err(failed)?;
        Ok(Self {
            dir: dir.to_owned(),
            file,
            end: 0,
            places: BTreeMap::new(),
        })
    }

    fn add(&mut self, artifact: ArtifactRef, mut from: &File) -> Result<(), ImportError> {
        if artifact.size == 0 || self.places.contains_key(&artifact.id) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let read = from
            .seek(SeekFrom::Start(0))
            .and_then(|_| from.take(artifact.size + 1).read_to_end(&mut bytes));
        read.map_err(|source| ImportError::Io {
            what: artifact.id.to_string(),
            source,
        })?;
        if bytes.len() as u64 != artifact.size || *blake3::hash(&bytes).as_bytes() != artifact.id.0 {
            return Err(ImportError::Changed(artifact.id));
        }
        self.file
            .write_all_at(&bytes, self.end)
            .map_err(|source| self.failed(source))?;
        self.places.insert(artifact.id, (self.end, bytes.len()));
        self.end += artifact.size;
        Ok(())
    }

    fn give(&self, artifact: ArtifactId) -> Option<Source> {
        let (at, len) = *self.places.get(&artifact)?;
        let mut bytes = vec![0; len];
        // A spool that cannot be read is as good as an artifact that was not passed.
        self.file.read_exact_at(&mut bytes, at).ok()?;
        Some(Source {
            bytes: Some(bytes),
            ..Source::from(self.dir.clone())
        })
    }

    fn failed(&self, source: io::Error) -> ImportError {
        ImportError::Io {
            what: format!("the spool in {}", self.dir.display()),
            source,
        }
    }
}
