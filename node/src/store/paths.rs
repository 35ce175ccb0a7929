//! Where everything lies below the store's folder. Names are made from ids alone, so they say what a file is.

use std::path::{Path, PathBuf};

use samara_protocol::id::{ArtifactId, LayoutId, ManifestId, Part};

/// The folder of a store.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    root: PathBuf,
}

/// A file that belongs to a large artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArtifactFile {
    /// Its bytes, not yet whole.
    Part,
    /// Its bytes, once whole.
    Data,
    /// Its outboard.
    Outboard,
}

impl ArtifactFile {
    const ALL: [Self; 3] = [Self::Part, Self::Data, Self::Outboard];

    const fn extension(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Data => "data",
            Self::Outboard => "tree",
        }
    }
}

impl Paths {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn format(&self) -> PathBuf {
        self.root.join("format")
    }

    pub(super) fn index(&self) -> PathBuf {
        self.root.join("index.redb")
    }

    /// Files that are being imported; emptied when the store is opened.
    pub(super) fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    pub(super) fn packs(&self) -> PathBuf {
        self.root.join("packs")
    }

    pub(super) fn heads(&self) -> PathBuf {
        self.root.join("releases")
    }

    pub(super) fn head(&self, manifest: ManifestId) -> PathBuf {
        self.heads().join(format!("{manifest}.head"))
    }

    pub(super) fn head_of_name(name: &str) -> Option<ManifestId> {
        name.strip_suffix(".head")?.parse().ok()
    }

    pub(super) fn pack(&self, id: LayoutId) -> PathBuf {
        let part = match id.part {
            Part::Entries => "entries",
            Part::Payload => "payload",
        };
        self.packs().join(format!("{}.{part}", id.manifest))
    }

    pub(super) fn pack_of_name(name: &str) -> Option<LayoutId> {
        let (manifest, part) = name.split_once('.')?;
        let part = match part {
            "entries" => Part::Entries,
            "payload" => Part::Payload,
            _ => return None,
        };
        let manifest = manifest.parse().ok()?;
        Some(LayoutId { manifest, part })
    }

    /// The files of large artifacts. One folder: file systems of today index their folders, and 256 of them would have to be
    /// made and listed for a host that fetches one file.
    pub(super) fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// What a store is made of, beside its root.
    pub(super) fn folders(&self) -> [PathBuf; 4] {
        [self.artifacts(), self.packs(), self.heads(), self.incoming()]
    }

    pub(super) fn artifact(&self, id: ArtifactId, file: ArtifactFile) -> PathBuf {
        self.artifacts().join(format!("{id}.{}", file.extension()))
    }

    pub(super) fn artifact_of_name(name: &str) -> Option<ArtifactId> {
        let (id, extension) = name.split_once('.')?;
        // A copy that was being made when the process died is named by its original and one extension more.
        let extension = extension.strip_suffix(".own").unwrap_or(extension);
        let known = ArtifactFile::ALL.iter().any(|file| file.extension() == extension);
        id.parse().ok().filter(|_| known)
    }
}
