//! What all parts of the store share: the disk, the index, the bodies in use, the open layouts, and what the next
//! checkpoint has to do and to tell.
//!
//! Locks are taken in this order, and none is held over a disk operation except the first two: `checkpointing`,
//! `opening`, `layouts`, a body's holding, `bodies`, `pending`. Files that are made or replaced have a lock of their own
//! (`OpenFiles`), which is held over disk operations and over none of these.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use samara_protocol::id::{ArtifactId, LayoutId};
use samara_protocol::tree::ranges::RangeSet;

use super::body::{Body, Seen, Shape};
use super::disk::{Disk, Lock};
use super::files::{Key, OpenFiles};
use super::index::Index;
use super::layouts::OpenLayout;
use super::paths::Paths;
use super::tables::Location;
use super::{Changes, StoreError};

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) paths: Paths,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) index: Index,
    pub(super) files: OpenFiles,
    pub(super) threads: usize,
    pub(super) quota: Option<u64>,
    pub(super) reserve: u64,
    pub(super) layouts: RwLock<HashMap<LayoutId, Arc<OpenLayout>>>,
    pub(super) bodies: Mutex<HashMap<Key, Weak<Body>>>,
    pub(super) pending: Mutex<Pending>,
    /// Held by a checkpoint, and by what must not meet one.
    pub(super) checkpointing: Mutex<()>,
    /// Held while a layout is being opened.
    pub(super) opening: Mutex<()>,
    /// Layouts that are being hashed.
    pub(super) scrubbing: Mutex<HashSet<LayoutId>>,
    /// Payload bytes written and not yet durable.
    pub(super) volatile_bytes: AtomicU64,
    /// Names files being imported.
    pub(super) incoming: AtomicU64,
    /// Bytes that running imports have been given room for.
    pub(super) importing: AtomicU64,
    pub(super) lock: Box<dyn Lock>,
}

/// What the next checkpoint has to do and to tell.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Bodies with something to sync or to commit.
    pub(super) dirty: HashMap<Key, Arc<Body>>,
    /// Folders with names that are not durable.
    pub(super) dirs: BTreeSet<PathBuf>,
    /// Small artifacts whose location is wrong.
    pub(super) forgotten: HashSet<ArtifactId>,
    /// Large artifacts that were imported and are not in an open layout yet; garbage collection spares them.
    pub(super) imported: HashSet<ArtifactId>,
    /// Changes that came otherwise than by a checkpoint, and are not told yet.
    pub(super) news: HashMap<LayoutId, Changes>,
}

/// Locks; a thread that panicked leaves data that every other call can bear, as the invariants hold between statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn layout(&self, id: LayoutId) -> Result<Arc<OpenLayout>, StoreError> {
        let layouts = self.layouts.read().unwrap_or_else(PoisonError::into_inner);
        layouts.get(&id).cloned().ok_or(StoreError::NotOpen(id))
    }

    pub(super) fn open_layouts(&self) -> Vec<Arc<OpenLayout>> {
        let layouts = self.layouts.read().unwrap_or_else(PoisonError::into_inner);
        layouts.values().cloned().collect()
    }

    /// The body if anyone uses it.
    pub(super) fn body_in_use(&self, key: Key) -> Option<Arc<Body>> {
        lock(&self.bodies).get(&key).and_then(Weak::upgrade)
    }

    /// Has the next checkpoint sync and commit the body, unless it was dropped and another has its name.
    pub(super) fn mark_dirty(&self, body: &Arc<Body>) {
        let in_use = self.body_in_use(body.key);
        if !in_use.is_some_and(|in_use| Arc::ptr_eq(&in_use, body)) {
            return;
        }
        let mut pending = lock(&self.pending);
        pending.dirty.entry(body.key).or_insert_with(|| Arc::clone(body));
    }

    /// Groups of a body were seen not to be what they must be: forgets them, and notes it for every layout that has them.
    /// `false` when something was lost since they were seen: nothing is done, look again.
    #[must_use]
    pub(super) fn lose(&self, body: &Arc<Body>, groups: &RangeSet, seen: &mut Seen, why: &str) -> bool {
        let Some((lost, volatile)) = body.holding().lose_seen(groups, seen) else {
            return false;
        };
        self.forget_lost(body, &lost, &volatile, why);
        true
    }

    /// What of a body is not durable cannot become so, and neither can what is being written to it: the same.
    pub(super) fn lose_volatile(&self, body: &Arc<Body>, why: &str) {
        let lost = {
            let mut holding = body.holding();
            let others = RangeSet::from(0..body.group_count()).difference(&holding.durable);
            holding.lose(&others)
        };
        self.forget_lost(body, &lost, &lost, why);
    }

    fn forget_lost(&self, body: &Arc<Body>, lost: &RangeSet, volatile: &RangeSet, why: &str) {
        if lost.is_empty() {
            return;
        }
        tracing::warn!(body = ?body.key, groups = ?lost, why, "groups are lost and will be fetched again");
        self.forget_volatile(body, volatile);
        self.mark_dirty(body);
        match &body.shape {
            Shape::Artifact { id, .. } => {
                for layout in self.open_layouts() {
                    if let Some(groups) = layout.groups_of(id, lost) {
                        self.tell_lost(layout.id, &groups);
                    }
                }
            }
            Shape::Pack { number, .. } => {
                let ids: Vec<ArtifactId> = body.packed_in(lost).map(|(artifact, _)| artifact.id).collect();
                for layout in self.open_layouts() {
                    if Key::Pack(layout.id) == body.key {
                        self.tell_lost(layout.id, &layout.groups_of_pack(lost));
                    }
                }
                self.forget_locations(&ids, |at| at.pack == *number);
            }
        }
    }

    /// Small artifacts are not where the index says (when `wrong` holds of it): no layout may lean on that any more.
    pub(super) fn forget_locations(&self, ids: &[ArtifactId], wrong: impl Fn(&Location) -> bool) {
        let found = self.index.locations(ids).unwrap_or_default();
        let known: Vec<ArtifactId> = if found.len() == ids.len() {
            let wrong = |(id, at): (&ArtifactId, &Option<Location>)| at.as_ref().filter(|at| wrong(at)).map(|_| *id);
            ids.iter().zip(&found).filter_map(wrong).collect()
        } else {
            ids.to_vec()
        };
        lock(&self.pending).forgotten.extend(&known);
        for layout in self.open_layouts() {
            let lost = layout.unshare(&known);
            if !lost.is_empty() {
                self.tell_lost(layout.id, &lost);
            }
        }
    }

    pub(super) fn tell_lost(&self, layout: LayoutId, groups: &RangeSet) {
        if !groups.is_empty() {
            lock(&self.pending)
                .news
                .entry(layout)
                .or_default()
                .lost
                .union_with(groups);
        }
    }

    pub(super) fn tell_durable(&self, layout: LayoutId, groups: &RangeSet) {
        if !groups.is_empty() {
            lock(&self.pending)
                .news
                .entry(layout)
                .or_default()
                .durable
                .union_with(groups);
        }
    }

    pub(super) fn forget_volatile(&self, body: &Body, groups: &RangeSet) {
        let bytes: u64 = groups.iter().map(|index| body.group_len(index) as u64).sum();
        // Never below zero: every group was added once when it became volatile.
        self.volatile_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
