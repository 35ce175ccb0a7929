//! From volatile to durable (AI-5): sync the data, sync the outboards, make new names durable, then commit the index.
//!
//! A crash before the commit leaves the index as it was, and everything that it claims was synced by an earlier
//! checkpoint. A sync that fails takes its groups back: after it nobody knows what is on the disk. Anything else that
//! fails leaves them volatile, for the next checkpoint to try again.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use samara_protocol::id::{ArtifactId, LayoutId};
use samara_protocol::tree::ranges::RangeSet;

use super::body::{Body, Seen, Shape};
use super::disk::Stamp;
use super::error::Context;
use super::files::{Files, Key};
use super::heal::Mending;
use super::index::Batch;
use super::paths::ArtifactFile;
use super::shared::{Shared, lock};
use super::tables::{BodyRecord, Location};
use super::{Changes, Checkpoint, StoreError};

/// More files than this are synced by one call for the whole file system instead of one call each.
const SYNC_EACH_MAX: usize = 16;

/// One body on its way through a checkpoint.
pub(super) struct Step {
    body: Arc<Body>,
    files: Option<Arc<Files>>,
    /// Volatile when the checkpoint began.
    groups: RangeSet,
    /// Of the body, when the checkpoint began.
    losses: u64,
    stamp: Stamp,
}

impl Shared {
    /// See [`super::Store::checkpoint`].
    pub(super) fn checkpoint(&self) -> Checkpoint {
        let _one_at_a_time = lock(&self.checkpointing);
        let mut fault = None;
        match self.index.look() {
            Ok(()) if self.index.was_begun_anew() => self.say_all_again(),
            Ok(()) => {}
            Err(error) => fault = Some(error),
        }
        let (dirty, mut dirs) = {
            let mut pending = lock(&self.pending);
            (std::mem::take(&mut pending.dirty), std::mem::take(&mut pending.dirs))
        };
        let mut steps = Vec::with_capacity(dirty.len());
        for body in dirty.into_values() {
            if !body.is_whole() {
                self.heal_outboard(&body);
            }
            match self.begin(&body) {
                Ok(step) => steps.push(step),
                Err(error) => {
                    self.mark_dirty(&body);
                    fault = Some(error);
                }
            }
        }
        self.sync(&mut steps, &mut fault);
        let mut changes = HashMap::<LayoutId, Changes>::new();
        match self.name_and_commit(&mut steps, &mut dirs) {
            Ok(()) => {
                for step in &steps {
                    self.settle(step, &mut changes);
                }
            }
            Err(error) => {
                for step in &steps {
                    self.mark_dirty(&step.body);
                }
                lock(&self.pending).dirs.append(&mut dirs);
                fault = Some(error);
            }
        }
        self.add_news(&mut changes);
        Checkpoint {
            layouts: changes.into_iter().collect(),
            fault,
        }
    }

    /// The index was begun anew and claims nothing: what it claimed is volatile until it claims it again.
    fn say_all_again(&self) {
        let bodies: Vec<_> = lock(&self.bodies)
            .values()
            .filter_map(std::sync::Weak::upgrade)
            .collect();
        for body in bodies {
            {
                let mut holding = body.holding();
                let durable = std::mem::take(&mut holding.durable);
                holding.volatile.union_with(&durable);
                self.count_volatile(&body, &durable);
            }
            self.mark_dirty(&body);
        }
    }

    /// A checkpoint's fault, if it left anything of the layout volatile.
    pub(super) fn checkpoint_for(&self, id: LayoutId) -> Option<StoreError> {
        let Checkpoint { layouts, fault } = self.checkpoint();
        // Whoever drives the checkpoints has to hear of these all the same.
        for (id, changes) in layouts {
            self.tell_lost(id, &changes.lost);
            self.tell_durable(id, &changes.durable);
        }
        let left = self.layout(id).is_ok_and(|open| !open.held().volatile.is_empty());
        fault.filter(|_| left)
    }

    /// Tells what came otherwise than by this checkpoint, as far as it still holds.
    fn add_news(&self, changes: &mut HashMap<LayoutId, Changes>) {
        let news = std::mem::take(&mut lock(&self.pending).news);
        for (id, news) in news {
            let Ok(open) = self.layout(id) else { continue };
            let held = open.held();
            let changed = changes.entry(id).or_default();
            changed.durable.union_with(&news.durable);
            changed.durable = changed.durable.intersection(&held.durable);
            changed.lost.union_with(&news.lost);
            changed.lost.subtract(&held.durable);
            changed.lost.subtract(&held.volatile);
        }
    }

    /// Opens what is to be synced of a body, if it is still there.
    pub(super) fn begin(&self, body: &Arc<Body>) -> Result<Step, StoreError> {
        let (groups, losses, mut seen) = {
            let holding = body.holding();
            (holding.volatile.clone(), holding.losses, holding.seen())
        };
        let files = match self.files_to_sync(body, &mut seen) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Deleted, or taken out by its owner.
                self.lose_all(body, &mut seen, "the file was deleted");
                None
            }
            Err(error) => return Err(error).on("open", &self.path_of(body.key)),
        };
        Ok(Step {
            body: Arc::clone(body),
            files,
            groups,
            losses,
            stamp: Stamp::default(),
        })
    }

    /// The files of a body, with the outboard if it has one: nothing is durable that was synced without it. `None` when it is
    /// gone, and with it the groups.
    fn files_to_sync(&self, body: &Arc<Body>, seen: &mut Seen) -> io::Result<Option<Arc<Files>>> {
        let complete = |files: &Arc<Files>| body.outboard_len() == 0 || files.outboard.is_some();
        let files = self.files.get(body.key)?;
        let stamp = files.data.stamp()?;
        if stamp.links == 0 {
            self.deleted(body, seen);
            return Ok(None);
        }
        if self.lose_beyond(body, stamp.len, seen).is_err() {
            self.mark_dirty(body);
            return Ok(None);
        }
        if complete(&files) {
            return Ok(Some(files));
        }
        // Opened by a reader before a writer had made it, or deleted.
        self.files.forget(body.key);
        let files = self.files.get(body.key)?;
        if complete(&files) {
            return Ok(Some(files));
        }
        if self.mend(body) == Mending::Mended {
            return self.files.get(body.key).map(Some);
        }
        self.lose_all(body, seen, "the outboard was deleted");
        Ok(None)
    }

    /// A data file that is open has no name any more.
    fn deleted(&self, body: &Arc<Body>, seen: &mut Seen) {
        if self.lose_deleted(body, seen).is_err() {
            self.mark_dirty(body);
        }
    }

    /// Nothing of a body is there. What was lost meanwhile was told by who found it, and the next checkpoint looks again.
    fn lose_all(&self, body: &Arc<Body>, seen: &mut Seen, why: &str) {
        let all = RangeSet::from(0..body.group_count());
        if !self.lose(body, &all, seen, why) {
            self.mark_dirty(body);
        }
    }

    /// Syncs data, then outboards. What failed is lost.
    fn sync(&self, steps: &mut [Step], fault: &mut Option<StoreError>) {
        let to_sync = steps.iter().filter(|step| !step.groups.is_empty()).count();
        if to_sync > SYNC_EACH_MAX {
            let root = self.paths.root();
            if let Err(error) = self.lock.sync_all().on("sync", root) {
                for step in steps.iter_mut() {
                    self.lose_unsynced(step);
                }
                *fault = Some(error);
            }
            return;
        }
        for step in steps.iter_mut().filter(|step| !step.groups.is_empty()) {
            let Some(files) = step.files.clone() else { continue };
            let synced = files
                .data
                .sync()
                .on("sync", &files.data_path)
                .and_then(|()| match &files.outboard {
                    Some(outboard) => outboard.sync().on("sync", &files.outboard_path),
                    None => Ok(()),
                });
            if let Err(error) = synced {
                self.lose_unsynced(step);
                *fault = Some(error);
            }
        }
    }

    fn lose_unsynced(&self, step: &mut Step) {
        // Groups that were written after the checkpoint began, or are being written, share the fate: this sync told of their
        // failure too, and the next would not tell again.
        self.lose_volatile(&step.body, "the disk could not sync them");
        self.files.forget(step.body.key);
        step.groups = RangeSet::new();
    }

    fn name_and_commit(&self, steps: &mut [Step], dirs: &mut BTreeSet<PathBuf>) -> Result<(), StoreError> {
        for step in steps.iter_mut() {
            self.name(step, dirs)?;
        }
        for dir in dirs.iter() {
            self.disk.sync_dir(dir).on("sync", dir)?;
        }
        let forgotten: Vec<ArtifactId> = lock(&self.pending).forgotten.iter().copied().collect();
        let batch = self.batch(steps, &forgotten);
        self.index.commit(&batch)?;
        let mut pending = lock(&self.pending);
        for id in forgotten {
            pending.forgotten.remove(&id);
        }
        Ok(())
    }

    /// Gives a body that is whole now its final name, and notes the folders whose names have to be durable before the
    /// index may claim anything.
    fn name(&self, step: &mut Step, dirs: &mut BTreeSet<PathBuf>) -> Result<(), StoreError> {
        let Some(files) = step.files.clone() else { return Ok(()) };
        let stamp = files.data.stamp().on("look at", &files.data_path)?;
        let (first, whole) = {
            let mut holding = step.body.holding();
            // Somebody else was at the file since it was looked at last, and the record will have the new stamp.
            if holding.stamp.is_some_and(|known| known != stamp) {
                holding.unchecked = holding.held();
            }
            let mut after = holding.durable.clone();
            after.union_with(&step.groups);
            let whole = after.contains_range(0..step.body.group_count());
            (holding.durable.is_empty() && !step.groups.is_empty(), whole)
        };
        let mut dir = || dirs.extend(files.data_path.parent().map(std::path::Path::to_owned));
        if first {
            dir();
        }
        if let Key::Artifact(id) = step.body.key
            && whole
        {
            let data = self.paths.artifact(id, ArtifactFile::Data);
            if files.data_path != data {
                match self.disk.rename(&files.data_path, &data) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        // Deleted since this checkpoint began: no reason to fail the others.
                        self.deleted(&step.body, &mut step.body.seen());
                        (step.groups, step.files) = (RangeSet::new(), None);
                        return Ok(());
                    }
                    renamed => renamed.on("rename", &files.data_path)?,
                }
                self.files.forget(step.body.key);
                dir();
            }
        }
        step.stamp = files.data.stamp().on("look at", &files.data_path)?;
        Ok(())
    }

    fn batch(&self, steps: &mut [Step], forgotten: &[ArtifactId]) -> Batch {
        let mut batch = Batch::default();
        batch.locations.extend(forgotten.iter().map(|id| (*id, None)));
        for step in steps {
            let record = self.record(step);
            match (&step.body.shape, step.body.key) {
                (Shape::Artifact { id, .. }, _) => batch.artifacts.push((*id, record)),
                (Shape::Pack { number, .. }, Key::Pack(id)) => {
                    batch.packs.push((id, record));
                    let locate = |(artifact, offset): (samara_protocol::manifest::layout::ArtifactRef, u64)| {
                        let len = u32::try_from(artifact.size).expect("smaller than a group");
                        let pack = *number;
                        (artifact.id, Some(Location { pack, offset, len }))
                    };
                    batch.locations.extend(step.body.packed_in(&step.groups).map(locate));
                }
                (Shape::Pack { .. }, Key::Artifact(_)) => {}
            }
        }
        batch
    }

    /// What the index is to say of the body; `None` when nothing is held.
    fn record(&self, step: &mut Step) -> Option<BodyRecord> {
        let mut holding = step.body.holding();
        if holding.losses != step.losses && !step.groups.is_empty() {
            // Some were lost since, and may have been written again: that is not what was synced.
            step.groups = RangeSet::new();
            self.mark_dirty(&step.body);
        }
        let mut durable = holding.durable.clone();
        durable.union_with(&step.groups.intersection(&holding.volatile));
        if holding.checked_at == 0 {
            holding.checked_at = self.disk.now();
        }
        let number = match &step.body.shape {
            Shape::Pack { number, .. } => *number,
            Shape::Artifact { .. } => 0,
        };
        // What is unchecked now is so after a restart, too: no file has the empty stamp.
        let stamp = if holding.unchecked.is_empty() {
            step.stamp
        } else {
            Stamp::default()
        };
        (!durable.is_empty()).then(|| BodyRecord {
            len: step.body.len(),
            number,
            durable,
            stamp,
            checked_at: holding.checked_at,
        })
    }

    /// The commit is done: volatile groups are durable.
    fn settle(&self, step: &Step, changes: &mut HashMap<LayoutId, Changes>) {
        let groups = {
            let mut holding = step.body.holding();
            if holding.losses != step.losses {
                // As above; the next checkpoint says what is left.
                if !step.groups.is_empty() {
                    self.mark_dirty(&step.body);
                }
                return;
            }
            let groups = step.groups.intersection(&holding.volatile);
            holding.durable.union_with(&groups);
            holding.volatile.subtract(&groups);
            if holding.writers == 0 && holding.volatile.is_empty() && step.files.is_some() {
                holding.stamp = Some(step.stamp);
            }
            groups
        };
        if groups.is_empty() {
            return;
        }
        self.forget_volatile(&step.body, &groups);
        for layout in self.open_layouts() {
            let in_layout = match step.body.key {
                Key::Artifact(id) => layout.groups_of(&id, &groups),
                Key::Pack(id) if id == layout.id => Some(layout.groups_of_pack(&groups)),
                Key::Pack(_) => None,
            };
            if let Some(in_layout) = in_layout {
                changes.entry(layout.id).or_default().durable.union_with(&in_layout);
            }
        }
    }
}
