//! Open layouts: which body holds which group.
//!
//! Two layouts that have an artifact in common have its body in common. A packed group that is not in the layout's own
//! pack but all of whose artifacts lie in older packs is *shared*: held by reference through their locations.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use samara_protocol::id::{ArtifactId, LayoutId};
use samara_protocol::manifest::layout::{Group, Layout};
use samara_protocol::tree::geometry::Geometry;
use samara_protocol::tree::ranges::RangeSet;

use super::body::{Body, Holding, PackRuns};
use super::files::Key;
use super::shared::{Shared, lock};
use super::tables::Location;
use super::{Held, StoreError};

/// See the module.
#[derive(Debug)]
pub(super) struct OpenLayout {
    pub(super) id: LayoutId,
    pub(super) layout: Arc<Layout>,
    /// Ascending by group, all groups.
    parts: Vec<Part>,
    /// Groups held by reference; none that the own pack holds.
    shared: Mutex<RangeSet>,
    /// Bytes promised to it and not yet written.
    pub(super) reserved: AtomicU64,
}

/// Consecutive groups of one body.
#[derive(Debug)]
pub(super) struct Part {
    /// In the layout.
    pub(super) groups: Range<u32>,
    pub(super) body: Arc<Body>,
    /// Where they start in the body.
    pub(super) first: u32,
}

impl Part {
    pub(super) fn to_layout(&self, held: &RangeSet) -> RangeSet {
        let last = self.first + (self.groups.end - self.groups.start);
        let own = held.intersection(&RangeSet::from(self.first..last));
        let shift = |range: &Range<u32>| {
            let start = self.groups.start + (range.start - self.first);
            start..start + (range.end - range.start)
        };
        own.ranges().iter().map(shift).collect()
    }
}

impl OpenLayout {
    /// The body of a group and its place there.
    pub(super) fn locate(&self, group: u32) -> Option<(&Arc<Body>, u32)> {
        let at = self.parts.partition_point(|part| part.groups.end <= group);
        let part = self.parts.get(at).filter(|part| part.groups.contains(&group))?;
        Some((&part.body, part.first + (group - part.groups.start)))
    }

    /// Those of `groups` that are not held.
    pub(super) fn missing(&self, groups: &RangeSet) -> RangeSet {
        let is_held = |group: u32| {
            self.locate(group)
                .is_some_and(|(body, index)| body.holding().contains(index))
                || self.is_shared(group)
        };
        let missing = groups.iter().filter(|group| !is_held(*group));
        missing.map(|group| group..group + 1).collect()
    }

    /// The own pack, if the layout has packed groups.
    pub(super) fn locate_pack(&self) -> Option<&Arc<Body>> {
        let pack = self.parts.iter().find(|part| part.body.key == Key::Pack(self.id));
        pack.map(|part| &part.body)
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(super) fn is_shared(&self, group: u32) -> bool {
        lock(&self.shared).contains(group)
    }

    pub(super) fn shared(&self) -> RangeSet {
        lock(&self.shared).clone()
    }

    /// The layout's groups for groups of a large artifact of it.
    pub(super) fn groups_of(&self, id: &ArtifactId, groups: &RangeSet) -> Option<RangeSet> {
        let placed = self.layout.find(id)?;
        let (_, first) = self.locate(placed.first_group)?;
        debug_assert_eq!(first, 0, "a large artifact starts its body");
        let shift = |range: &Range<u32>| placed.first_group + range.start..placed.first_group + range.end;
        Some(groups.ranges().iter().map(shift).collect())
    }

    /// The layout's groups for groups of its pack.
    pub(super) fn groups_of_pack(&self, groups: &RangeSet) -> RangeSet {
        let mut out = RangeSet::new();
        for part in self.parts.iter().filter(|part| part.body.key == Key::Pack(self.id)) {
            out.union_with(&part.to_layout(groups));
        }
        out
    }

    /// The layout's own pack's groups are written: no reference is needed.
    pub(super) fn own(&self, group: u32) {
        lock(&self.shared).remove(group..group + 1);
    }

    /// Small artifacts are not where they were: the groups that leant on them.
    pub(super) fn unshare(&self, ids: &[ArtifactId]) -> RangeSet {
        let mut shared = lock(&self.shared);
        if shared.is_empty() {
            return RangeSet::new();
        }
        let groups = ids
            .iter()
            .filter_map(|id| self.layout.find(id))
            .map(|placed| placed.first_group);
        let gone: RangeSet = groups
            .filter(|group| shared.contains(*group))
            .map(|group| group..group + 1)
            .collect();
        shared.subtract(&gone);
        gone
    }

    /// Bytes of its promise were used.
    pub(super) fn spend(&self, bytes: u64) {
        let spend = |promised: u64| Some(promised.saturating_sub(bytes));
        let _ = self.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend);
    }

    pub(super) fn held(&self) -> Held {
        let mut held = Held::default();
        for part in &self.parts {
            let holding = part.body.holding();
            held.durable.union_with(&part.to_layout(&holding.durable));
            held.volatile.union_with(&part.to_layout(&holding.volatile));
        }
        held.durable.union_with(&lock(&self.shared));
        held.volatile.subtract(&held.durable);
        held
    }
}

impl Shared {
    /// Opens a layout; see [`super::Store::open_layout`].
    pub(super) fn open_layout(&self, id: LayoutId, layout: Arc<Layout>) -> Result<Held, StoreError> {
        if let Ok(open) = self.layout(id) {
            return Ok(open.held());
        }
        // One at a time: nobody may see a body that another call has not finished with.
        let _one_at_a_time = lock(&self.opening);
        if let Ok(open) = self.layout(id) {
            return Ok(open.held());
        }
        let mut fresh = Vec::new();
        let parts = self.parts(id, &layout, &mut fresh)?;
        self.recover(&fresh)?;
        let shared = self.shared_groups(&layout, &parts)?;
        let open = Arc::new(OpenLayout {
            id,
            layout,
            parts,
            shared: Mutex::new(shared),
            reserved: AtomicU64::new(0),
        });
        let mut layouts = self.layouts.write().unwrap_or_else(PoisonError::into_inner);
        let open = Arc::clone(layouts.entry(id).or_insert(open));
        drop(layouts);
        let mut pending = lock(&self.pending);
        for placed in open.layout.placed() {
            pending.imported.remove(&placed.artifact.id);
        }
        drop(pending);
        Ok(open.held())
    }

    pub(super) fn is_open(&self, id: LayoutId) -> bool {
        let layouts = self.layouts.read().unwrap_or_else(PoisonError::into_inner);
        layouts.contains_key(&id)
    }

    pub(super) fn close_layout(&self, id: LayoutId) {
        let mut layouts = self.layouts.write().unwrap_or_else(PoisonError::into_inner);
        layouts.remove(&id);
        drop(layouts);
        lock(&self.pending).news.remove(&id);
    }

    fn parts(&self, id: LayoutId, layout: &Arc<Layout>, fresh: &mut Vec<Arc<Body>>) -> Result<Vec<Part>, StoreError> {
        let runs = PackRuns::of(layout);
        let mut parts = Vec::new();
        if runs.count() > 0 {
            let number = self.index.number(id);
            let make = |holding| Body::pack(id, Arc::clone(layout), runs.clone(), number, holding);
            let body = self.body(Key::Pack(id), make, fresh)?;
            for (groups, first) in runs.iter() {
                let body = Arc::clone(&body);
                parts.push(Part { groups, body, first });
            }
        }
        for placed in layout.placed().iter().filter(|placed| !placed.is_packed()) {
            let artifact = placed.artifact;
            let geometry = Geometry::new(artifact.size).expect("a layout holds at most 2^28 groups");
            let make = |holding| Body::artifact(artifact.id, geometry, holding);
            parts.push(Part {
                groups: placed.groups(),
                body: self.body(Key::Artifact(artifact.id), make, fresh)?,
                first: 0,
            });
        }
        parts.sort_unstable_by_key(|part| part.groups.start);
        Ok(parts)
    }

    /// The body in use, or a new one with what the index has of it; the new ones go to `fresh`.
    pub(super) fn body(
        &self,
        key: Key,
        make: impl FnOnce(Holding) -> Body,
        fresh: &mut Vec<Arc<Body>>,
    ) -> Result<Arc<Body>, StoreError> {
        if let Some(body) = self.body_in_use(key) {
            return Ok(body);
        }
        let record = match key {
            Key::Artifact(id) => self.index.artifact(id)?,
            Key::Pack(id) => self.index.pack(id)?,
        };
        let recorded = record.as_ref().map_or(Holding::default(), |record| Holding {
            durable: record.durable.clone(),
            stamp: Some(record.stamp),
            checked_at: record.checked_at,
            ..Holding::default()
        });
        let body = Arc::new(make(recorded));
        // A record of another length is of another time; nothing of it is believed.
        if record.is_some_and(|record| record.len != body.len()) {
            let all = RangeSet::from(0..body.group_count());
            body.holding().lose(&all);
        }
        let mut bodies = lock(&self.bodies);
        if let Some(other) = bodies.get(&key).and_then(Weak::upgrade) {
            return Ok(other);
        }
        bodies.retain(|_, body| body.strong_count() > 0);
        bodies.insert(key, Arc::downgrade(&body));
        fresh.push(Arc::clone(&body));
        Ok(body)
    }

    /// Packed groups that are not in the own pack and whose artifacts all lie in other packs.
    fn shared_groups(&self, layout: &Layout, parts: &[Part]) -> Result<RangeSet, StoreError> {
        let mut shared = RangeSet::new();
        let (mut ids, mut groups) = (Vec::new(), Vec::new());
        for part in parts.iter().filter(|part| matches!(part.body.key, Key::Pack(_))) {
            let held = part.to_layout(&part.body.holding().held());
            for group in part.groups.clone().filter(|group| !held.contains(*group)) {
                if let Some(Group::Packed { artifacts, .. }) = layout.group(group) {
                    let start = ids.len();
                    ids.extend(layout.placed()[artifacts].iter().map(|placed| placed.artifact.id));
                    groups.push((group, start..ids.len()));
                }
            }
        }
        let found = self.usable_locations(&ids)?;
        for (group, ids) in groups {
            if found[ids].iter().all(Option::is_some) {
                shared.insert(group..group + 1);
            }
        }
        Ok(shared)
    }

    /// Where small artifacts lie, leaving out what is known to be wrong and packs that are not there.
    pub(super) fn usable_locations(&self, ids: &[ArtifactId]) -> Result<Vec<Option<Location>>, StoreError> {
        let mut found = self.index.locations(ids)?;
        let mut lengths = std::collections::HashMap::new();
        let pending = lock(&self.pending);
        for (id, at) in ids.iter().zip(&mut found) {
            if pending.forgotten.contains(id) {
                *at = None;
            }
        }
        drop(pending);
        for at in &mut found {
            let Some(location) = at else { continue };
            let len = *lengths
                .entry(location.pack)
                .or_insert_with(|| self.pack_len(location.pack));
            if location.offset.saturating_add(u64::from(location.len)) > len {
                *at = None;
            }
        }
        Ok(found)
    }

    fn pack_len(&self, number: u32) -> u64 {
        let files = self
            .index
            .pack_of_number(number)
            .map(|id| self.files.get(Key::Pack(id)));
        let stamp = files.and_then(Result::ok).map(|files| files.data.stamp());
        stamp
            .and_then(Result::ok)
            .map_or(0, |stamp| if stamp.links == 0 { 0 } else { stamp.len })
    }
}
