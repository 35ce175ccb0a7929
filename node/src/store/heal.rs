//! A damaged or deleted outboard is made again from data that is still whole: an origin has nobody to fetch it from.
//!
//! Tried when a group cannot be proved, at a checkpoint and at recovery, and only when it is the outboard that does not lead
//! to a group; damaged data is fetched again instead.

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
use super::pairs::PairPage;
use super::paths::ArtifactFile;
use super::recover::has_outboard;
use super::shared::Shared;

/// What became of a wish to make an outboard again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mending {
    /// It is right now: look again.
    Mended,
    /// Another thread is at it: ask again.
    UnderWay,
    /// It is not the outboard alone that is damaged.
    No,
}

impl Shared {
    /// A group of a body that was whole cannot be proved, or the outboard is not there: if the data is what it must be, the
    /// outboard is made again and nothing is lost. Hashes the whole artifact, so it is tried only while nothing of it is
    /// missing: what fails is lost, and the next loss does not hash it all again.
    pub(super) fn mend(&self, body: &Arc<Body>) -> Mending {
        if body.outboard_len() == 0 || !body.is_whole() {
            return Mending::No;
        }
        let Some(_one_at_a_time) = body.begin_mending() else {
            return Mending::UnderWay;
        };
        match self.files.get(body.key) {
            Ok(files) if self.data_may_be_whole(body, &files) => {
                if self.outboard_of_fresh_files_is_good(body) || self.remake_outboard(body, &files) {
                    Mending::Mended
                } else {
                    Mending::No
                }
            }
            _ => Mending::No,
        }
    }

    /// Makes the outboard of a once whole artifact again if that is what it lacks; its groups are volatile then. Once after
    /// each loss.
    pub(super) fn heal_outboard(&self, body: &Arc<Body>) {
        let Some(_one_at_a_time) = body.begin_mending() else {
            return;
        };
        {
            let mut holding = body.holding();
            if holding.heal_tried || holding.writers > 0 {
                return;
            }
            holding.heal_tried = true;
        }
        let Ok(files) = self.files.get(body.key) else { return };
        if body.outboard_len() > 0 && self.data_may_be_whole(body, &files) && !outboard_is_good(body, &files) {
            self.remake_outboard(body, &files);
        }
    }

    fn data_may_be_whole(&self, body: &Body, files: &Files) -> bool {
        let Key::Artifact(id) = body.key else { return false };
        let stamp = files.data.stamp();
        files.data_path == self.paths.artifact(id, ArtifactFile::Data)
            && stamp.is_ok_and(|stamp| stamp.len == body.len() && stamp.links > 0)
    }

    /// Whether another thread has made it again since this one looked. Every pair counts: which one is wrong is not known.
    fn outboard_of_fresh_files_is_good(&self, body: &Arc<Body>) -> bool {
        let Shape::Artifact { id, geometry } = body.shape else {
            return true;
        };
        let Ok(files) = self.files.get(body.key) else {
            return false;
        };
        let mut way = StoredVerifier::new(id, geometry);
        let mut page = PairPage::default();
        has_outboard(body, &files)
            && (0..body.group_count()).all(|index| {
                way.check_path(GroupIndex(index), |node| page.read(&files, node))
                    .is_ok()
            })
    }

    /// Whether data and outboard are right now.
    fn remake_outboard(&self, body: &Arc<Body>, files: &Files) -> bool {
        let number = self.incoming.fetch_add(1, Ordering::Relaxed);
        let fresh = self.paths.incoming().join(format!("{number}.tree"));
        let outcome = self.make_outboard(body, files, &fresh);
        // Gone when it was renamed.
        let _ = remove_if_there(&*self.disk, &fresh);
        match outcome {
            Ok(made) => {
                if made {
                    tracing::info!(body = ?body.key, "an outboard was damaged and is made again from the data");
                    self.files.forget(body.key);
                    body.holding().unchecked = RangeSet::new();
                    // Durable groups stay so: data and outboard were synced.
                    self.add_volatile(body, &RangeSet::from(0..body.group_count()));
                }
                made
            }
            Err(error) => {
                tracing::warn!(body = ?body.key, %error, "an outboard is damaged and cannot be made again");
                false
            }
        }
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
        // What was durable stays so, whoever wrote to the data last.
        files.data.sync()?;
        outboard.sync()?;
        let path = self.paths.artifact(id, ArtifactFile::Outboard);
        self.disk.rename(fresh, &path)?;
        self.disk.sync_dir(&self.paths.artifacts())?;
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
