//! Room: what the store takes, what it has promised, what is left under the quota and on the disk.

use std::sync::atomic::Ordering;

use samara_protocol::id::LayoutId;
use samara_protocol::tree::ranges::RangeSet;

use super::error::Context;
use super::shared::{Shared, lock};
use super::{StoreError, Usage};

/// Kept free on the disk for the index and for others, at the most...
const HEADROOM_BYTES: u64 = 64 << 20;
/// ...and this part of a small disk.
const HEADROOM_PART: u64 = 50;

impl Shared {
    pub(super) fn usage(&self) -> Result<Usage, StoreError> {
        let used = self.used()?;
        let reserved = self.reserved(None);
        let left = self.left(used)?;
        Ok(Usage {
            used,
            reserved,
            free: left.saturating_sub(reserved),
        })
    }

    /// Bytes on disk of all that is the store's.
    fn used(&self) -> Result<u64, StoreError> {
        let mut used = 0;
        for dir in self.paths.folders().into_iter().chain([self.paths.root().to_owned()]) {
            let files = self.disk.list(&dir).on("list", &dir)?;
            used += files.iter().map(|file| file.allocated).sum::<u64>();
        }
        Ok(used)
    }

    /// What the quota and the disk still have.
    fn left(&self, used: u64) -> Result<u64, StoreError> {
        let root = self.paths.root();
        let space = self.disk.space(root).on("measure", root)?;
        let on_disk = space.free.saturating_sub(self.kept_free(space.total));
        Ok(self
            .quota
            .map_or(on_disk, |quota| on_disk.min(quota.saturating_sub(used))))
    }

    /// What others are left of a disk of that size.
    fn kept_free(&self, total: u64) -> u64 {
        self.reserve.max(HEADROOM_BYTES.min(total / HEADROOM_PART))
    }

    fn reserved(&self, but: Option<LayoutId>) -> u64 {
        let others = self.open_layouts().into_iter().filter(|open| Some(open.id) != but);
        let promised: u64 = others.map(|open| open.reserved.load(Ordering::Relaxed)).sum();
        promised + self.importing.load(Ordering::Relaxed)
    }

    pub(super) fn reserve(&self, id: LayoutId, wanted: &RangeSet) -> Result<(), StoreError> {
        let open = self.layout(id)?;
        // One at a time: two must not be promised the same bytes.
        let _one_at_a_time = lock(&self.opening);
        let held = open.held();
        let missing = wanted.difference(&held.durable).difference(&held.volatile);
        let groups = missing.iter().filter_map(|group| open.locate(group));
        let needed: u64 = groups.map(|(body, index)| body.group_len(index) as u64).sum();
        open.reserved.store(0, Ordering::Relaxed);
        self.check_room(needed, self.reserved(Some(id)))?;
        open.reserved.store(needed, Ordering::Relaxed);
        Ok(())
    }

    /// See [`super::Store::unreserve`].
    pub(super) fn unreserve(&self, id: LayoutId) {
        if let Ok(open) = self.layout(id) {
            open.reserved.store(0, Ordering::Relaxed);
        }
    }

    /// Refuses when the disk cannot take `needed` bytes now, whatever was promised.
    pub(super) fn require_on_disk(&self, needed: u64) -> Result<(), StoreError> {
        let root = self.paths.root();
        let missing = needed.saturating_sub(self.disk.space(root).on("measure", root)?.free);
        if missing == 0 {
            return Ok(());
        }
        Err(StoreError::DiskFull {
            dir: root.to_owned(),
            needed,
            missing,
            kept: 0,
        })
    }

    /// Refuses when there is not enough room for `needed` bytes beside what was promised.
    pub(super) fn require(&self, needed: u64) -> Result<(), StoreError> {
        self.check_room(needed, self.reserved(None))
    }

    /// Room for `needed` bytes of an import, until it ends.
    pub(super) fn allot(&self, needed: u64) -> Result<Allotment<'_>, StoreError> {
        let _one_at_a_time = lock(&self.opening);
        self.require(needed)?;
        self.importing.fetch_add(needed, Ordering::Relaxed);
        Ok(Allotment { shared: self, needed })
    }

    fn check_room(&self, needed: u64, reserved: u64) -> Result<(), StoreError> {
        if needed == 0 {
            return Ok(());
        }
        let used = self.used()?;
        let left = self.left(used)?.saturating_sub(reserved);
        let dir = self.paths.root().to_owned();
        let missing = needed.saturating_sub(left);
        match self.quota {
            _ if missing == 0 => Ok(()),
            Some(quota) if needed.saturating_add(used).saturating_add(reserved) > quota => Err(StoreError::QuotaFull {
                dir,
                needed,
                missing,
                quota,
            }),
            _ => {
                let kept = self.kept_free(self.disk.space(&dir).on("measure", &dir)?.total);
                Err(StoreError::DiskFull {
                    dir,
                    needed,
                    missing,
                    kept,
                })
            }
        }
    }
}

/// Room that an import was given.
#[derive(Debug)]
pub(super) struct Allotment<'a> {
    shared: &'a Shared,
    needed: u64,
}

impl Drop for Allotment<'_> {
    fn drop(&mut self) {
        self.shared.importing.fetch_sub(self.needed, Ordering::Relaxed);
    }
}
