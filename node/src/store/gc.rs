//! Removes what nobody needs: no open layout, no pin, no import that is under way.
//!
//! Order: copy what layouts borrow from dying packs into their own, commit an index that claims nothing of what dies (the
//! tombstone: an entry that is gone), then unlink. A crash between leaves files that nobody claims; the next collection
//! finds them by their names.
//!
//! Invariant: what stays is decided under the lock that opening takes. A layout that is opened while this runs is open
//! before that, and all of it stays, or after the last file is gone, and finds what is left.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use samara_protocol::id::{ArtifactId, LayoutId, ManifestId};
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::manifest::layout::{ArtifactRef, Group, Layout};
use samara_protocol::tree::ranges::RangeSet;

use super::body::{Body, Shape};
use super::error::Context;
use super::files::Key;
use super::frames::Frames;
use super::index::Batch;
use super::layouts::OpenLayout;
use super::paths::Paths;
use super::shared::{Shared, lock};
use super::tables::Location;
use super::{GcReport, Pin, StoreError};

/// What stays.
#[derive(Default)]
struct Keep {
    artifacts: HashSet<ArtifactId>,
    packs: HashSet<LayoutId>,
    releases: HashSet<ManifestId>,
}

impl Keep {
    fn layout(&mut self, id: LayoutId, layout: &Layout) {
        let large = layout.placed().iter().filter(|placed| !placed.is_packed());
        self.artifacts.extend(large.map(|placed| placed.artifact.id));
        self.packs.insert(id);
        self.releases.insert(id.manifest);
    }

    fn body(&self, key: &Key) -> bool {
        match key {
            Key::Artifact(id) => self.artifacts.contains(id),
            Key::Pack(id) => self.packs.contains(id),
        }
    }
}

impl Shared {
    pub(super) fn gc(&self, pins: &[Pin]) -> Result<GcReport, StoreError> {
        // What cannot be copied now stays where it is: nothing leans on this having worked.
        if let Err(error) = self.bring_all_home(pins) {
            tracing::warn!(%error, "what newer releases borrow from an old one's pack cannot be copied; the pack stays");
        }
        let _no_checkpoint = lock(&self.checkpointing);
        let _no_opening = lock(&self.opening);
        let (artifacts, packs) = self.index.all()?;
        let keep = self.keep(pins, &packs)?;
        self.drop_bodies(&keep);
        let mut batch = Batch::default();
        let gone = artifacts.into_iter().filter(|id| !keep.artifacts.contains(id));
        batch.artifacts.extend(gone.map(|id| (id, None)));
        for id in packs.into_iter().filter(|id| !keep.packs.contains(id)) {
            batch.dead_packs.push(self.index.number(id));
            batch.packs.push((id, None));
        }
        self.relocate(&mut batch)?;
        self.index.commit(&batch)?;
        let mut report = GcReport::default();
        self.unlink(&keep, &mut report)?;
        Ok(report)
    }

    /// Everything that somebody needs. For one who keeps layouts from being opened.
    fn keep(&self, pins: &[Pin], packs: &[LayoutId]) -> Result<Keep, StoreError> {
        let mut keep = Keep {
            artifacts: lock(&self.pending).imported.clone(),
            ..Keep::default()
        };
        let open = self.open_layouts();
        for pin in pins {
            keep.layout(pin.id, &pin.layout);
        }
        for open in &open {
            keep.layout(open.id, &open.layout);
        }
        let dying = self.numbers_of(packs.iter().filter(|id| !keep.packs.contains(id)));
        if dying.is_empty() {
            return Ok(keep);
        }
        for open in &open {
            let shared = open.shared();
            let ids: Vec<ArtifactId> = shared.iter().flat_map(|group| packed_in(&open.layout, group)).collect();
            self.keep_lenders(&ids, &dying, &mut keep)?;
        }
        // Of a pin that is not open it is not known what its own pack has.
        for pin in pins.iter().filter(|pin| open.iter().all(|open| open.id != pin.id)) {
            let small = pin.layout.placed().iter().filter(|placed| placed.is_packed());
            let ids: Vec<ArtifactId> = small.map(|placed| placed.artifact.id).collect();
            self.keep_lenders(&ids, &dying, &mut keep)?;
        }
        Ok(keep)
    }

    /// Packs that small artifacts of a kept layout lie in stay as they are.
    fn keep_lenders(
        &self,
        ids: &[ArtifactId],
        dying: &HashMap<u32, LayoutId>,
        keep: &mut Keep,
    ) -> Result<(), StoreError> {
        let found = self.usable_locations(ids)?;
        let lenders = found.iter().flatten().filter_map(|at| dying.get(&at.pack));
        keep.packs.extend(lenders);
        Ok(())
    }

    fn numbers_of<'a>(&self, packs: impl Iterator<Item = &'a LayoutId>) -> HashMap<u32, LayoutId> {
        packs.map(|id| (self.index.number(*id), *id)).collect()
    }

    /// See [`Self::bring_home`], for all layouts that stay.
    fn bring_all_home(&self, pins: &[Pin]) -> Result<(), StoreError> {
        let (_, packs) = self.index.all()?;
        let mut staying: HashSet<LayoutId> = pins.iter().map(|pin| pin.id).collect();
        staying.extend(self.open_layouts().iter().map(|open| open.id));
        let dying = self.numbers_of(packs.iter().filter(|id| !staying.contains(id)));
        if dying.is_empty() {
            return Ok(());
        }
        for pin in pins {
            self.open_layout(pin.id, Arc::clone(&pin.layout))?;
        }
        for open in self.open_layouts() {
            self.bring_home(&open, &dying)?;
        }
        Ok(())
    }

    /// Copies the packed groups that a layout borrows from dying packs into its own pack, durable on return. The quota may
    /// be exceeded meanwhile: more goes than comes.
    fn bring_home(&self, open: &OpenLayout, dying: &HashMap<u32, LayoutId>) -> Result<(), StoreError> {
        let mut borrowed = Vec::new();
        for group in open.shared().iter() {
            let found = self.usable_locations(&packed_in(&open.layout, group))?;
            if found.iter().flatten().any(|at| dying.contains_key(&at.pack)) {
                borrowed.push(group);
            }
        }
        if borrowed.is_empty() {
            return Ok(());
        }
        self.require_on_disk(borrowed.len() as u64 * GROUP_BYTES)?;
        for group in borrowed {
            let mut data = Frames::default();
            let (Some(_), Some((body, index))) = (
                self.frame_of_shared(open, group, &mut data, &mut |_, _| ()),
                open.locate(group),
            ) else {
                // Damaged: it was told as lost and will be fetched into the own pack.
                continue;
            };
            self.write_group(body, index, data.as_slice(), &[])?;
        }
        if let Some(fault) = self.checkpoint_for(open.id) {
            return Err(fault);
        }
        let own = open
            .locate_pack()
            .map(|body| body.holding().durable.clone())
            .unwrap_or_default();
        for group in open.groups_of_pack(&own).iter() {
            open.own(group);
        }
        Ok(())
    }

    /// Nobody may lean on what dies, neither a reply that runs nor a layout that is opened later.
    fn drop_bodies(&self, keep: &Keep) {
        let dropped: Vec<_> = {
            let mut pending = lock(&self.pending);
            pending.dirty.extract_if(|key, _| !keep.body(key)).collect()
        };
        let bodies: Vec<_> = lock(&self.bodies).extract_if(|key, _| !keep.body(key)).collect();
        let bodies = bodies.into_iter().filter_map(|(_, body)| body.upgrade());
        for body in bodies {
            let all = RangeSet::from(0..body.group_count());
            let volatile = body.holding().volatile.clone();
            body.holding().lose(&all);
            self.forget_volatile(&body, &volatile);
            self.files.forget(body.key);
        }
        drop(dropped);
    }

    /// Small artifacts that were found in a dying pack may lie in a living one, too: says so.
    fn relocate(&self, batch: &mut Batch) -> Result<(), StoreError> {
        if batch.dead_packs.is_empty() {
            return Ok(());
        }
        for open in self.open_layouts() {
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
        report.freed += self.unlink_in(&self.paths.artifacts(), |name| {
            let id = Paths::artifact_of_name(name).filter(|id| !keep.artifacts.contains(id));
            artifacts.extend(id);
            id.map(|id| Some(Key::Artifact(id)))
        })?;
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

/// The artifacts of a packed group; none for another.
fn packed_in(layout: &Layout, group: u32) -> Vec<ArtifactId> {
    match layout.group(group) {
        Some(Group::Packed { artifacts, .. }) => {
            let placed = layout.placed()[artifacts].iter();
            placed.map(|placed| placed.artifact.id).collect()
        }
        _ => Vec::new(),
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
