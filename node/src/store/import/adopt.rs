//! Prepared large files become artifacts of the store: durable, named, recorded.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::manifest::layout::ArtifactRef;
use samara_protocol::tree::geometry::Geometry;
use samara_protocol::tree::ranges::RangeSet;

use super::{Prepared, Waiting};
use crate::store::StoreError;
use crate::store::body::{Body, Holding};
use crate::store::disk::{Open, remove_if_there};
use crate::store::error::Context;
use crate::store::files::Key;
use crate::store::index::Batch;
use crate::store::paths::ArtifactFile;
use crate::store::shared::{Shared, lock};
use crate::store::tables::BodyRecord;

/// More files than this are synced by one call for the whole file system.
const SYNC_EACH_MAX: usize = 16;

impl Shared {
    /// Makes prepared large files durable under their final names and records them. Takes what it adopts.
    pub(super) fn adopt(&self, prepared: &mut [Prepared]) -> Result<(), StoreError> {
        let _no_checkpoint_between = lock(&self.checkpointing);
        let mut seen = HashSet::new();
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
    pub(in crate::store) fn artifact_body(&self, artifact: ArtifactRef) -> Result<Arc<Body>, StoreError> {
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
}
