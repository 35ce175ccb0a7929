//! A damaged or deleted outboard is made again from data that is still whole: an origin has nobody to fetch it from.
//!
//! Tried at a checkpoint and at recovery, once after each loss, and only when it is the outboard that does not lead to a
//! lost group; damaged data is fetched again instead.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use samara_protocol::tree::geometry::GroupIndex;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::tree::verify::StoredVerifier;

use super::body::{Body, Shape, read_pair};
use super::disk::{Open, remove_if_there};
use super::files::{Files, Key};
use super::hash::Job;
use super::paths::ArtifactFile;
use super::recover::has_outboard;
use super::shared::Shared;

impl Shared {
    /// Makes the outboard of a once whole artifact again if that is what it lacks; its groups are volatile then.
    pub(super) fn heal_outboard(&self, body: &Arc<Body>) {
        let Key::Artifact(id) = body.key else { return };
        {
            let mut holding = body.holding();
            if holding.heal_tried || holding.writers > 0 {
                return;
            }
            holding.heal_tried = true;
        }
        let data = self.paths.artifact(id, ArtifactFile::Data);
        let Ok(files) = self.files.get(body.key) else { return };
        let whole = files.data_path == data && files.data.stamp().is_ok_and(|stamp| stamp.len == body.len());
        if body.outboard_len() == 0 || !whole || outboard_is_good(body, &files) {
            return;
        }
        let number = self.incoming.fetch_add(1, Ordering::Relaxed);
        let fresh = self.paths.incoming().join(format!("{number}.tree"));
        match self.make_outboard(body, &files, &fresh) {
            Ok(true) => {
                tracing::info!(artifact = %id, "an outboard was damaged and is made again from the data");
                self.files.forget(body.key);
                let all = RangeSet::from(0..body.group_count());
                // What is still called durable leans on the new outboard, too, and waits for its sync.
                body.holding().durable = RangeSet::new();
                self.add_volatile(body, &all);
                body.holding().unchecked = RangeSet::new();
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(artifact = %id, %error, "an outboard is damaged and cannot be made again"),
        }
        // Gone when it was renamed.
        let _ = remove_if_there(&*self.disk, &fresh);
    }

    fn make_outboard(&self, body: &Body, files: &Files, fresh: &Path) -> io::Result<bool> {
        let Shape::Artifact { id, geometry } = body.shape else {
            return Ok(false);
        };
        let outboard = self.disk.open(fresh, Open::Create)?;
        outboard.set_len(0)?;
        outboard.set_len(body.outboard_len())?;
        let job = Job {
            source: &*files.data,
            geometry,
            copy: None,
            outboard: Some(&*outboard),
        };
        if job.run(self.threads)? != id {
            return Ok(false);
        }
        outboard.sync()?;
        let path = self.paths.artifact(id, ArtifactFile::Outboard);
        self.disk.rename(fresh, &path)?;
        self.disk.sync_dir(&self.paths.artifact_dir(id))?;
        Ok(true)
    }
}

/// Whether the outboard leads to every group that is not held: then it is the data that is damaged.
fn outboard_is_good(body: &Body, files: &Files) -> bool {
    let Shape::Artifact { id, geometry } = body.shape else {
        return true;
    };
    let missing = RangeSet::from(0..body.group_count()).difference(&body.holding().held());
    let mut way = StoredVerifier::new(id, geometry);
    has_outboard(body, files)
        && missing
            .iter()
            .all(|index| way.check_path(GroupIndex(index), |node| read_pair(files, node)).is_ok())
}
