//! Removes what no pin needs.
//!
//! Order: copy what pinned layouts borrow from dying packs into their own, commit an index that claims nothing of what
//! dies (the tombstone: an entry that is gone), then unlink. A crash between leaves files that nobody claims; the next
//! collection finds them by their names.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use samara_protocol::id::{ArtifactId, LayoutId, ManifestId};
use samara_protocol::manifest::layout::{ArtifactRef, Group};
use samara_protocol::tree::ranges::RangeSet;

use super::body::{Body, Shape};
use super::error::Context;
use super::files::Key;
use super::index::Batch;
use super::layouts::OpenLayout;
use super::paths::Paths;
use super::shared::{Shared, lock};
use super::tables::Location;
use super::{GcReport, Pin, StoreError};

/// What stays.
struct Keep {
    artifacts: HashSet<ArtifactId>,
    packs: HashSet<LayoutId>,
    releases: HashSet<ManifestId>,
}

impl Shared {
    pub(super) fn gc(&self, pins: &[Pin]) -> Result<GcReport, StoreError> {
        let mut keep = Keep {
            artifacts: lock(&self.pending).imported.clone(),
            packs: pins.iter().map(|pin| pin.id).collect(),
            releases: pins.iter().map(|pin| pin.id.manifest).collect(),
        };
        let mut dying_numbers = HashSet::new();
        let (artifacts, packs) = self.index.all()?;
        for id in packs.iter().filter(|id| !keep.packs.contains(id)) {
            dying_numbers.insert(self.index.number(*id));
        }
        for pin in pins {
            let large = pin.layout.placed().iter().filter(|placed| !placed.is_packed());
            keep.artifacts.extend(large.map(|placed| placed.artifact.id));
            self.bring_home(pin, &dying_numbers)?;
        }
        let _no_checkpoint = lock(&self.checkpointing);
        let _no_opening = lock(&self.opening);
        let mut report = GcReport {
            closed: self.close_unpinned(&keep),
            ..GcReport::default()
        };
        let mut batch = Batch {
            dead_packs: dying_numbers.into_iter().collect(),
            ..Batch::default()
        };
        let gone = artifacts.into_iter().filter(|id| !keep.artifacts.contains(id));
        batch.artifacts.extend(gone.map(|id| (id, None)));
        let gone = packs.into_iter().filter(|id| !keep.packs.contains(id));
        batch.packs.extend(gone.map(|id| (id, None)));
        self.relocate(pins, &mut batch)?;
        self.index.commit(&batch)?;
        self.unlink(&keep, &mut report)?;
        Ok(report)
    }

    /// Copies the packed groups that a pinned layout borrows from dying packs into its own pack, durable on return.
    fn bring_home(&self, pin: &Pin, dying: &HashSet<u32>) -> Result<(), StoreError> {
        if dying.is_empty() || pin.layout.placed().iter().all(|placed| !placed.is_packed()) {
            return Ok(());
        }
        self.open_layout(pin.id, std::sync::Arc::clone(&pin.layout))?;
        let open = self.layout(pin.id)?;
        let mut copied = false;
        for group in open.shared().iter() {
            if !self.borrows_from(&open, group, dying)? {
                continue;
            }
            let mut data = Vec::new();
            let (Some(_), Some((body, index))) = (
                self.frame_of_shared(&open, group, &mut data, &mut |_, _| ()),
                open.locate(group),
            ) else {
                // Damaged: it was told as lost and will be fetched into the own pack.
                continue;
            };
            self.write_group(body, index, &data, &[])?;
            copied = true;
        }
        if copied && let Some(fault) = self.checkpoint_for(pin.id) {
            return Err(fault);
        }
        if copied {
            let own = open
                .locate_pack()
                .map(|body| body.holding().durable.clone())
                .unwrap_or_default();
            for group in open.groups_of_pack(&own).iter() {
                open.own(group);
            }
        }
        Ok(())
    }

    fn borrows_from(&self, open: &OpenLayout, group: u32, dying: &HashSet<u32>) -> Result<bool, StoreError> {
        let Some(Group::Packed { artifacts, .. }) = open.layout.group(group) else {
            return Ok(false);
        };
        let ids: Vec<ArtifactId> = open.layout.placed()[artifacts]
            .iter()
            .map(|placed| placed.artifact.id)
            .collect();
        let found = self.usable_locations(&ids)?;
        Ok(found.iter().flatten().any(|at| dying.contains(&at.pack)))
    }

    fn close_unpinned(&self, keep: &Keep) -> Vec<LayoutId> {
        let mut layouts = self.layouts.write().unwrap_or_else(PoisonError::into_inner);
        let closed: Vec<LayoutId> = layouts.keys().copied().filter(|id| !keep.packs.contains(id)).collect();
        for id in &closed {
            layouts.remove(id);
        }
        drop(layouts);
        let stays = |key: &Key| match key {
            Key::Artifact(id) => keep.artifacts.contains(id),
            Key::Pack(id) => keep.packs.contains(id),
        };
        let dropped: Vec<_> = {
            let mut pending = lock(&self.pending);
            pending.dirty.extract_if(|key, _| !stays(key)).collect()
        };
        // Nobody may lean on what dies, neither a reply that runs nor a layout that is opened later.
        let bodies: Vec<_> = lock(&self.bodies).extract_if(|key, _| !stays(key)).collect();
        let bodies = bodies.into_iter().filter_map(|(_, body)| body.upgrade());
        for body in bodies {
            let all = RangeSet::from(0..body.group_count());
            let volatile = body.holding().volatile.clone();
            body.holding().lose(&all);
            self.forget_volatile(&body, &volatile);
            self.files.forget(body.key);
        }
        drop(dropped);
        closed
    }

    /// Small artifacts that were found in a dying pack may lie in a living one, too: says so.
    fn relocate(&self, pins: &[Pin], batch: &mut Batch) -> Result<(), StoreError> {
        if batch.dead_packs.is_empty() {
            return Ok(());
        }
        for open in pins.iter().filter_map(|pin| self.layout(pin.id).ok()) {
            let Some(body) = open.locate_pack() else { continue };
            let held = body.holding().durable.clone();
            let own: Vec<(ArtifactRef, u64)> = body.packed_in(&held).collect();
            let ids: Vec<ArtifactId> = own.iter().map(|(artifact, _)| artifact.id).collect();
            let found = self.index.locations(&ids)?;
            for ((artifact, offset), at) in own.into_iter().zip(found) {
                if at.is_none_or(|at| batch.dead_packs.contains(&at.pack)) {
                    batch.locations.extend(location(body, artifact, offset));
                }
            }
        }
        Ok(())
    }

    fn unlink(&self, keep: &Keep, report: &mut GcReport) -> Result<(), StoreError> {
        let mut artifacts = HashSet::new();
        for dir in self.paths.artifact_dirs() {
            report.freed += self.unlink_in(&dir, |name| {
                let id = Paths::artifact_of_name(name).filter(|id| !keep.artifacts.contains(id));
                artifacts.extend(id);
                id.map(|id| Some(Key::Artifact(id)))
            })?;
        }
        report.artifacts = artifacts.len() as u64;
        report.freed += self.unlink_in(&self.paths.packs(), |name| {
            let id = Paths::pack_of_name(name).filter(|id| !keep.packs.contains(id));
            id.inspect(|_| report.packs += 1).map(|id| Some(Key::Pack(id)))
        })?;
        let mut releases = Vec::new();
        report.freed += self.unlink_in(&self.paths.heads(), |name| {
            let id = Paths::head_of_name(name).filter(|id| !keep.releases.contains(id));
            id.inspect(|id| releases.push(*id)).map(|_| None)
        })?;
        report.releases = releases;
        Ok(())
    }

    /// Removes the files of a folder that `dies` names; the bytes given back.
    fn unlink_in(&self, dir: &Path, mut dies: impl FnMut(&str) -> Option<Option<Key>>) -> Result<u64, StoreError> {
        let mut freed = 0;
        for file in self.disk.list(dir).on("list", dir)? {
            if let Some(key) = dies(&file.name) {
                if let Some(key) = key {
                    self.files.forget(key);
                }
                let path: PathBuf = dir.join(&file.name);
                self.disk.remove(&path).on("remove", &path)?;
                freed += file.allocated;
            }
        }
        Ok(freed)
    }
}

fn location(body: &Body, artifact: ArtifactRef, offset: u64) -> Option<(ArtifactId, Option<Location>)> {
    let Shape::Pack { number, .. } = &body.shape else {
        return None;
    };
    let len = u32::try_from(artifact.size).ok()?;
    let pack = *number;
    Some((artifact.id, Some(Location { pack, offset, len })))
}
