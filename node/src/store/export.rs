//! Whole artifacts leave the store as files: by reflink where the file system can, else by one copy that keeps holes.
//!
//! What leaves was hashed since its file changed last; a small artifact is hashed every time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use samara_protocol::id::LayoutId;
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::manifest::layout::ArtifactRef;
use samara_protocol::tree::ranges::RangeSet;

use super::disk::RealDisk;
use super::error::Context;
use super::files::{Files, Key};
use super::hash::copy_sparse;
use super::import::reflink;
use super::paths::ArtifactFile;
use super::shared::{Shared, lock};
use super::{Place, StoreError};

impl Shared {
    pub(super) fn open_artifact(&self, artifact: ArtifactRef) -> Result<File, StoreError> {
        let (_, files) = self.whole(artifact)?;
        // A descriptor of its own, to read only; the name may have become the final one meanwhile.
        let data = self.paths.artifact(artifact.id, ArtifactFile::Data);
        File::open(&files.data_path)
            .or_else(|_| File::open(&data))
            .on("open", &data)
    }

    pub(super) fn place(
        &self,
        id: LayoutId,
        artifact: ArtifactRef,
        dest: &Path,
        place: Place,
    ) -> Result<(), StoreError> {
        if artifact.size < GROUP_BYTES {
            let data = if artifact.size == 0 {
                Vec::new()
            } else {
                self.read_small(id, artifact.id)?
            };
            return create_new(dest)
                .and_then(|mut file| file.write_all(&data))
                .on("write", dest);
        }
        let (_, files) = self.whole(artifact)?;
        if place == Place::Link {
            return std::fs::hard_link(&files.data_path, dest).on("link", dest);
        }
        let file = create_new(dest).on("make", dest)?;
        if place == Place::Reflink && reflink(files.data.as_file(), Some(&file)) {
            return Ok(());
        }
        copy(&files, file, artifact.size).on("write", dest)
    }

    pub(super) fn take(&self, artifact: ArtifactRef, dest: &Path) -> Result<(), StoreError> {
        let _no_checkpoint_between = lock(&self.checkpointing);
        let (body, files) = self.whole(artifact)?;
        // The index hears of it with the next checkpoint; a claim on a file that is not there is dropped at any start.
        match std::fs::rename(&files.data_path, dest) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let file = create_new(dest).on("make", dest)?;
                copy(&files, file, artifact.size).on("write", dest)?;
                self.disk.remove(&files.data_path).on("remove", &files.data_path)?;
            }
            other => other.on("move", dest)?,
        }
        self.forget_taken(&body, &files, artifact);
        Ok(())
    }

    fn forget_taken(&self, body: &Arc<super::body::Body>, files: &Files, artifact: ArtifactRef) {
        let all = RangeSet::from(0..body.group_count());
        // Nobody is told of a loss: whoever takes the files wants the release no more, and would have them fetched again.
        let volatile = {
            let mut holding = body.holding();
            let volatile = holding.volatile.clone();
            holding.lose(&all);
            volatile
        };
        self.forget_volatile(body, &volatile);
        self.files.forget(Key::Artifact(artifact.id));
        if files.outboard.is_some() {
            // Without its data it is of no use; garbage collection would find it, too.
            let _ = self.disk.remove(&files.outboard_path);
        }
        self.mark_dirty(body);
    }
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn copy(files: &Files, to: File, len: u64) -> io::Result<()> {
    to.set_len(len)?;
    copy_sparse(&*files.data, &*RealDisk::file(Arc::new(to)), len)
}
