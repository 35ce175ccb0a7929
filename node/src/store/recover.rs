//! The truth at start: the committed bitfield is believed, and every group outside it whose outboard path is there is
//! hashed. So what was verified and written before a `kill -9` is held again, and nothing that is not there is claimed.
//!
//! Cost: one look at each file, and one read and hash for each group that was written after its last checkpoint.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::tree::ranges::RangeSet;

use super::StoreError;
use super::body::Body;
use super::disk::Stamp;
use super::error::Context;
use super::files::{Files, give_len};
use super::shared::{Shared, lock};

/// Seconds after which what lies on disk is hashed again before it is given to anyone.
pub(super) const CHECK_AFTER_SECONDS: i64 = 24 * 60 * 60;
/// Groups that one thread looks at in a row.
const GROUPS_PER_STEP: u32 = 256;

impl Shared {
    /// Brings the holdings of bodies that were just loaded from the index in line with their files.
    pub(super) fn recover(&self, bodies: &[Arc<Body>]) -> Result<(), StoreError> {
        let mut wanted = Vec::new();
        for body in bodies {
            // What no outboard in full length proves would be lost again by whoever looks at it next.
            if let Some(files) = self.confront(body)?.filter(|files| has_outboard(body, files)) {
                let missing = RangeSet::from(0..body.group_count()).difference(&body.holding().held());
                wanted.push((body, files, missing));
            }
        }
        for (body, good) in self.hash_all(&wanted) {
            self.add_volatile(body, &good);
        }
        for body in bodies {
            if !body.is_whole() {
                self.heal_outboard(body);
            }
        }
        Ok(())
    }

    /// Those of `groups` that are what they must be.
    pub(super) fn hash_groups(&self, body: &Arc<Body>, files: &Arc<Files>, groups: &RangeSet) -> RangeSet {
        let mut good = RangeSet::new();
        for (_, part) in self.hash_all(&[(body, Arc::clone(files), groups.clone())]) {
            good.union_with(&part);
        }
        good
    }

    fn hash_all<'a>(&self, wanted: &[(&'a Arc<Body>, Arc<Files>, RangeSet)]) -> Vec<(&'a Arc<Body>, RangeSet)> {
        let mut steps = Vec::new();
        for (body, files, groups) in wanted {
            for range in groups.ranges() {
                let mut start = range.start;
                while start < range.end {
                    let end = range.end.min(start + GROUPS_PER_STEP);
                    steps.push((*body, files, start..end));
                    start = end;
                }
            }
        }
        let found = Mutex::new(Vec::new());
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some((body, files, range)) = steps.get(next.fetch_add(1, Ordering::Relaxed)) {
                let good = hash_range(body, files, range.clone());
                if !good.is_empty() {
                    lock(&found).push((*body, good));
                }
            }
        };
        if steps.len() < 2 {
            work();
        } else {
            std::thread::scope(|scope| {
                for _ in 0..self.threads.clamp(1, steps.len()) {
                    scope.spawn(work);
                }
            });
        }
        found.into_inner().unwrap_or_default()
    }

    /// Groups are verified and in the file, and will be durable with the next checkpoint.
    pub(super) fn add_volatile(&self, body: &Arc<Body>, groups: &RangeSet) {
        let mut holding = body.holding();
        let fresh = groups.difference(&holding.held());
        holding.volatile.union_with(&fresh);
        self.count_volatile(body, &fresh);
        drop(holding);
        self.mark_dirty(body);
    }

    /// Groups became volatile.
    pub(super) fn count_volatile(&self, body: &Body, groups: &RangeSet) {
        let bytes: u64 = groups.iter().map(|index| body.group_len(index) as u64).sum();
        self.volatile_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Drops from the holding what the files cannot hold, and marks for checking what may have changed. `None` when there
    /// are no files.
    fn confront(&self, body: &Arc<Body>) -> Result<Option<Arc<Files>>, StoreError> {
        let files = match self.files.get(body.key) {
            Ok(files) => Some(files),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).on("open", &self.path_of(body.key)),
        };
        let stamp = match &files {
            Some(files) => files.data.stamp().on("look at", &files.data_path)?,
            None => Stamp::default(),
        };
        let provable = match &files {
            Some(files) => has_outboard(body, files),
            None => false,
        };
        if !provable && let Some(outboard) = files.as_ref().and_then(|files| files.outboard.as_ref()) {
            // A loss of power can take its length and leave pairs of it, and these prove their groups. A disk that cannot
            // do this now leaves the groups to be fetched again.
            if let Err(error) = give_len(&**outboard, body.outboard_len()) {
                tracing::warn!(body = ?body.key, %error, "a shortened outboard cannot be given its length back");
            }
        }
        let there = if provable {
            body.groups_within(stamp.len)
        } else {
            RangeSet::new()
        };
        let mut holding = body.holding();
        let before = holding.durable.count();
        holding.durable = holding.durable.intersection(&there);
        let changed = holding.stamp != Some(stamp);
        let old = self.disk.now().saturating_sub(holding.checked_at).abs() >= CHECK_AFTER_SECONDS;
        if changed || old {
            holding.unchecked = holding.durable.clone();
        }
        holding.stamp = Some(stamp);
        let lost = before - holding.durable.count();
        drop(holding);
        if lost > 0 {
            tracing::warn!(body = ?body.key, groups = lost, "files were truncated or deleted; their groups are fetched again");
            self.mark_dirty(body);
        }
        Ok(files)
    }
}

/// Whether the outboard is there in full length. Garbage in it is found when groups are hashed.
pub(super) fn has_outboard(body: &Body, files: &Files) -> bool {
    let wanted = body.outboard_len();
    wanted == 0
        || files.outboard.as_ref().is_some_and(|outboard| {
            outboard
                .stamp()
                .is_ok_and(|stamp| stamp.len == wanted && stamp.links > 0)
        })
}

fn hash_range(body: &Body, files: &Files, range: Range<u32>) -> RangeSet {
    let mut buffer = vec![0; usize::try_from(GROUP_BYTES).expect("64 KiB")];
    let mut checker = body.checker(files);
    let mut good = RangeSet::new();
    for index in range {
        if checker.may_be_good(index) && checker.read(index, &mut buffer).is_some() {
            good.insert(index..index + 1);
        }
    }
    good
}
