//! When garbage is collected: what was let go stays as long as it may be of use to a release that is on its way, unless
//! one waits for the room.
//!
//! The store itself keeps whatever is open. Here is decided only when to look: not before it is known what of each release
//! lies in the store already, and never twice at a time.

use samara_protocol::id::{LayoutId, ManifestId, Part};

use super::driver::Driver;
use super::products::Follow;
use super::releases::{Phase, Release};
use super::report::{OpenError, Report};
use crate::observe::Event;
use crate::store::{GcReport, StoreError};

/// Whether there may be garbage, and whether a worker is at it.
///
/// Not due at the start: what a node that follows no channel has lies there for whoever asks for it again.
#[derive(Debug, Default)]
pub(super) struct Collecting {
    due: bool,
    running: bool,
}

/// What a release has to say about a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Say {
    /// Nothing: all of it is open, and so is kept.
    Nothing,
    /// It would lose what it could take from older releases: later, unless somebody waits for room.
    RatherNot,
    /// A worker finds out at this moment what of it is here: what nobody else needs may be its own.
    No,
}

impl Driver {
    /// Something is not needed any more, or somebody waits for room.
    pub(super) const fn collect(&mut self) {
        self.collecting.due = true;
    }

    /// Nothing of a release is needed any more: its promise of room ends now, its bytes when garbage is collected.
    pub(super) fn close_in_store(&mut self, manifest: ManifestId) {
        for part in [Part::Entries, Part::Payload] {
            self.store.close_layout(LayoutId { manifest, part });
        }
        self.collect();
    }

    /// Whether collecting can make room in this node's store: a fetch's own store is gone with it, and an origin keeps all
    /// that it has published.
    pub(super) fn collects(&self) -> bool {
        let keeps_all = self
            .products
            .iter()
            .any(|(_, product)| product.follow == Follow::Everything);
        !keeps_all && !self.config.leaf
    }

    /// Has a worker collect, as soon as that costs no release anything.
    pub(super) fn collect_if_due(&mut self) {
        if !self.collecting.due || self.collecting.running || !self.collects() {
            return;
        }
        let wanted = self.releases.iter().any(|(_, release)| release.waits_for_room());
        let may = |(manifest, release): (ManifestId, &Release)| match self.say(manifest, release) {
            Say::Nothing => true,
            Say::RatherNot => wanted,
            Say::No => false,
        };
        if !self.releases.iter().all(may) {
            return;
        }
        (self.collecting.due, self.collecting.running) = (false, true);
        let (store, reports) = (self.store.clone(), self.shell.reports.clone());
        tokio::spawn(async move {
            let outcome = tokio::task::spawn_blocking(move || store.gc(&[])).await;
            let outcome = outcome.expect("collecting does not panic and is not aborted");
            let _ = reports.send(Report::Collected(outcome)).await;
        });
    }

    fn say(&self, manifest: ManifestId, release: &Release) -> Say {
        let payload = LayoutId {
            manifest,
            part: Part::Payload,
        };
        let is_open = self.store.is_open(payload);
        match release.phase {
            Phase::Staged => Say::Nothing,
            Phase::Blocked(_) | Phase::Room(_) if is_open => Say::Nothing,
            Phase::Looking | Phase::Opening(_) if !is_open => Say::No,
            _ => Say::RatherNot,
        }
    }

    /// What can go is gone: whoever waits for room tries again.
    pub(super) fn on_collected(&mut self, outcome: Result<GcReport, StoreError>) {
        self.collecting.running = false;
        let freed = outcome.as_ref().is_ok_and(|report| report.freed > 0);
        match outcome {
            Ok(report) if freed || !report.releases.is_empty() => {
                self.observer.emit(Event::GarbageCollected {
                    freed: report.freed,
                    releases: report.releases.len() as u64,
                });
                self.measure_store();
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "garbage could not be collected; it is tried again when room is needed or a release goes");
            }
        }
        // Somebody has come to wait since it began, or something was let go: whoever tries now may fail for want of that.
        if self.collecting.due {
            return;
        }
        let waiting = |(_, release): &(ManifestId, &Release)| release.waits_for_room();
        let waiting: Vec<(ManifestId, Phase)> = self
            .releases
            .iter()
            .filter(waiting)
            .map(|(manifest, release)| (manifest, release.phase.clone()))
            .collect();
        for (manifest, phase) in waiting {
            match phase {
                Phase::Room(part) => self.open_with_all_room(manifest, part),
                _ if freed => self.retry(manifest),
                _ => {}
            }
        }
    }

    /// Tries again what did not fit; whatever can go is gone.
    fn open_with_all_room(&mut self, manifest: ManifestId, part: Part) {
        if let Some(release) = self.releases.get_mut(manifest) {
            release.has_all_room = true;
        }
        self.open(manifest, part);
    }

    /// A release that does not fit waits for garbage to be collected, once.
    pub(super) fn may_get_room(&mut self, manifest: ManifestId, error: &OpenError) -> bool {
        let full = matches!(error, OpenError::Store(error) if error.is_full());
        let collects = self.collects();
        if full && collects {
            self.make_room_for(manifest);
        }
        match self.releases.get_mut(manifest) {
            Some(release) if full && collects && !release.has_all_room => {
                if let Phase::Opening(part) = release.phase {
                    release.phase = Phase::Room(part);
                }
                true
            }
            _ => false,
        }
    }
}
