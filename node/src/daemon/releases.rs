//! Releases on their way: manifest head, entries list, payload, staged. A table of them and their phases; the driver acts on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use samara_protocol::id::{ManifestId, NodeId, Part, ProductId};
use samara_protocol::limits::{ASKED_RELEASES_MAX, RELEASES_MAX};
use samara_protocol::manifest::layout::Layout;
use samara_protocol::time::Timestamp;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::trust::document::Promotion;
use samara_protocol::trust::release::VerifiedManifest;
use semver::Version;

use super::opening::Selection;

mod phase;

pub(super) use phase::{Blockage, Cause, Phase};

/// All releases that this node works on or serves.
#[derive(Debug, Default)]
pub(super) struct Releases {
    all: BTreeMap<ManifestId, Release>,
    last_number: u32,
}

/// One release.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) product: ProductId,
    pub(super) version: Version,
    /// Stands for it towards the scheduler.
    pub(super) number: u32,
    pub(super) selection: Selection,
    pub(super) priority: u8,
    pub(super) phase: Phase,
    /// The head, once verified.
    pub(super) manifest: Option<VerifiedManifest>,
    /// Layouts that the scheduler has open.
    pub(super) open: BTreeSet<Part>,
    /// Layouts that are known.
    pub(super) layouts: BTreeMap<Part, Arc<Layout>>,
    /// A followed channel lists it.
    pub(super) listed: bool,
    /// When it was asked for by name last: for a while it stays although no followed channel lists it.
    pub(super) asked: Option<Timestamp>,
    /// The own site was told that there is no room for it.
    pub(super) full_told: bool,
    /// All garbage was collected since it did not fit: it is blocked if it does not fit now.
    pub(super) has_all_room: bool,
    /// When a blocked one is tried again.
    pub(super) retry_at: Timestamp,
    /// Whether its head lay in the store when it was taken up: without that, no earlier run of this node began on it.
    pub(super) begun_before: bool,
    /// What was here before anything was fetched: from an earlier run, and from other releases. `None` until the payload
    /// is opened.
    pub(super) found: Option<Found>,
}

/// Bytes of the payload that needed no transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// Verified by an earlier run of this node.
    pub(super) resumed: u64,
    /// Held for another release.
    pub(super) reused: u64,
}

impl Release {
    /// Whether it is here for those alone who asked for it.
    const fn is_extra(&self) -> bool {
        self.asked.is_some() && !self.listed
    }

    /// Whether it goes on as soon as there is room.
    pub(super) const fn waits_for_room(&self) -> bool {
        matches!(
            self.phase,
            Phase::Room(_) | Phase::Blocked(Blockage { cause: Cause::Full, .. })
        )
    }
}

impl Releases {
    /// Adds a release, unless it is known or there are as many as there may be; says whether it did.
    pub(super) fn add(
        &mut self,
        manifest: ManifestId,
        product: ProductId,
        version: Version,
        selection: Selection,
        priority: u8,
    ) -> bool {
        if self.is_full() || self.all.contains_key(&manifest) {
            return false;
        }
        self.last_number += 1;
        let release = Release {
            product,
            version,
            number: self.last_number,
            selection,
            priority,
            phase: Phase::Looking,
            manifest: None,
            open: BTreeSet::new(),
            layouts: BTreeMap::new(),
            listed: false,
            asked: None,
            full_told: false,
            has_all_room: false,
            retry_at: Timestamp::ZERO,
            begun_before: false,
            found: None,
        };
        self.all.insert(manifest, release);
        true
    }

    /// What of `wanted` needs no transfer because it is `held` now, before anything was asked for.
    ///
    /// An artifact that another release here has as well counts as reused, even where an earlier run fetched it for this one.
    pub(super) fn find(&self, manifest: ManifestId, layout: &Layout, wanted: &RangeSet, held: &RangeSet) -> Found {
        let begun_before = self.get(manifest).is_some_and(|release| release.begun_before);
        let others: Vec<_> = self
            .iter()
            .filter(|(other, _)| *other != manifest)
            .filter_map(|(_, release)| release.layouts.get(&Part::Payload))
            .collect();
        let mut found = Found::default();
        for index in wanted.intersection(held).iter() {
            let Some(group) = layout.group(index) else { continue };
            let artifact = layout.artifact_of(&group);
            let elsewhere = others.iter().any(|other| other.find(&artifact).is_some());
            if begun_before && !elsewhere {
                found.resumed += u64::from(group.len());
            } else {
                found.reused += u64::from(group.len());
            }
        }
        found
    }

    /// How many of the releases of a product that its channels list, newest first, may be taken part in: what others take,
    /// and what was asked for by name, comes first.
    pub(super) fn room_for(&self, product: ProductId, listed: &[Promotion]) -> usize {
        let others = self.iter().filter(|(manifest, release)| {
            let is_listed = listed.iter().any(|promotion| promotion.manifest == *manifest);
            release.product != product || release.asked.is_some() && !is_listed
        });
        RELEASES_MAX.saturating_sub(others.count())
    }

    /// What makes place for one more, when there is none: the oldest that is staged and that nobody asked for by name.
    pub(super) fn to_make_place(&self) -> Option<ManifestId> {
        let spare = self
            .iter()
            .filter(|(_, release)| release.phase == Phase::Staged && release.asked.is_none());
        let oldest = spare.min_by(|(_, one), (_, other)| one.version.cmp(&other.version));
        oldest.map(|(manifest, _)| manifest).filter(|_| self.is_full())
    }

    /// What was asked for longest ago of the unlisted ones, when there are more than may be.
    pub(super) fn asked_too_many(&self) -> Option<ManifestId> {
        let extra: Vec<_> = self.iter().filter(|(_, release)| release.is_extra()).collect();
        let oldest = extra.iter().min_by_key(|(_, release)| (release.asked, release.number));
        oldest
            .map(|(manifest, _)| *manifest)
            .filter(|_| extra.len() > ASKED_RELEASES_MAX)
    }

    /// Staged ones that no channel lists and that nobody has asked for during `time`.
    pub(super) fn not_asked_for(&self, now: Timestamp, time: Duration) -> Vec<ManifestId> {
        let lapsed = |release: &Release| {
            let asked = release.asked.is_some_and(|asked| now.since(asked) < time);
            release.is_extra() && release.phase == Phase::Staged && !asked
        };
        self.iter()
            .filter(|(_, release)| lapsed(release))
            .map(|(manifest, _)| manifest)
            .collect()
    }

    /// Whether there are as many as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.all.len() >= RELEASES_MAX
    }

    pub(super) fn get(&self, manifest: ManifestId) -> Option<&Release> {
        self.all.get(&manifest)
    }

    pub(super) fn get_mut(&mut self, manifest: ManifestId) -> Option<&mut Release> {
        self.all.get_mut(&manifest)
    }

    pub(super) fn remove(&mut self, manifest: ManifestId) -> Option<Release> {
        self.all.remove(&manifest)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ManifestId, &Release)> {
        self.all.iter().map(|(manifest, release)| (*manifest, release))
    }

    pub(super) fn of_product(&self, product: ProductId) -> Vec<ManifestId> {
        self.iter()
            .filter(|(_, release)| release.product == product)
            .map(|(manifest, _)| manifest)
            .collect()
    }

    /// Those whose head nobody is being asked for.
    pub(super) fn without_head(&self) -> Vec<(ManifestId, ProductId)> {
        let waiting = self
            .iter()
            .filter(|(_, release)| matches!(release.phase, Phase::Head { asking: None, .. }));
        waiting.map(|(manifest, release)| (manifest, release.product)).collect()
    }

    /// Those whose head is here and that are not staged.
    pub(super) fn under_way(&self, product: ProductId) -> Vec<ManifestId> {
        let moving = |release: &Release| matches!(release.phase, Phase::Opening(_) | Phase::Room(_) | Phase::Moving(_));
        self.iter()
            .filter(|(_, release)| release.product == product && moving(release))
            .map(|(manifest, _)| manifest)
            .collect()
    }

    /// Those whose head `peer` is being asked for.
    pub(super) fn asking(&self, peer: NodeId) -> Vec<(ManifestId, ProductId)> {
        let asked = self
            .iter()
            .filter(|(_, release)| matches!(release.phase, Phase::Head { asking: Some(of), .. } if of == peer));
        asked.map(|(manifest, release)| (manifest, release.product)).collect()
    }

    /// Blocked ones whose time has come.
    pub(super) fn to_retry(&self, now: Timestamp) -> Vec<ManifestId> {
        let due = self
            .iter()
            .filter(|(_, release)| matches!(release.phase, Phase::Blocked(_)) && release.retry_at <= now);
        due.map(|(manifest, _)| manifest).collect()
    }
}

#[cfg(test)]
mod tests;
