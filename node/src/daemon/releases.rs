//! Releases on their way: manifest head, entries list, payload, staged. A table of phases; the driver acts on it.

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
use super::report::OpenError;
use crate::store::StoreError;

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

/// How far it is.
///
/// | phase | left when | to |
/// |---|---|---|
/// | Looking | the worker looked for the head in the store | Opening(Entries), or Head |
/// | Head | the head is here and verified | Opening(Entries) |
/// | Opening(p) | the worker opened layout p | Moving(p) |
/// | Opening(p) | there is no room for p, and garbage was not looked for | Room(p) |
/// | Room(p) | what can go is gone | Opening(p) |
/// | Moving(Entries) | the list is durable | Opening(Payload) |
/// | Moving(Payload) | everything wanted is durable | Staged |
/// | Opening(Payload) | the list turned out damaged | Opening(Entries) |
/// | Staged | something wanted of the payload was lost | Moving(Payload) |
/// | any | disk or release says no | Blocked |
/// | Blocked | its time has come | Opening(Entries), or Head |
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// A worker looks whether the store has the head.
    Looking,
    /// The head is being asked for.
    Head {
        asking: Option<NodeId>,
        refused: BTreeSet<NodeId>,
    },
    /// A worker opens the layout.
    Opening(Part),
    /// There is no room for the layout until garbage is collected.
    Room(Part),
    /// The scheduler moves its blocks.
    Moving(Part),
    /// Verified and durable, all that is wanted.
    Staged,
    /// Cannot go on; says why and what to do.
    Blocked(Blockage),
}

/// Why a release cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blockage {
    /// For people.
    pub(super) why: String,
    /// Of which kind.
    pub(super) cause: Cause,
}

/// What stands in a release's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// Disk or quota is full.
    Full,
    /// It has no such entry as was asked for; says how to find the right one.
    NoEntry { way_out: String },
    /// Anything else.
    Other,
}

impl Cause {
    fn of(error: &StoreError) -> Self {
        if error.is_full() { Self::Full } else { Self::Other }
    }
}

impl From<&StoreError> for Blockage {
    fn from(error: &StoreError) -> Self {
        Self {
            why: error.to_string(),
            cause: Cause::of(error),
        }
    }
}

impl From<&OpenError> for Blockage {
    fn from(error: &OpenError) -> Self {
        Self {
            why: error.to_string(),
            cause: match error {
                OpenError::Store(error) => Cause::of(error),
                OpenError::NoEntry(missing) => Cause::NoEntry {
                    way_out: missing.way_out(),
                },
                OpenError::Release(_) => Cause::Other,
            },
        }
    }
}

impl Phase {
    /// The store does not have the head, and nobody was asked yet.
    pub(super) const fn start() -> Self {
        Self::Head {
            asking: None,
            refused: BTreeSet::new(),
        }
    }

    /// For whoever waits.
    pub(super) const fn in_words(&self) -> &'static str {
        match self {
            Self::Head { .. } => "asking for the release's manifest",
            Self::Opening(Part::Entries) | Self::Moving(Part::Entries) => "fetching the list of files",
            Self::Looking | Self::Opening(Part::Payload) => "looking at what is here already",
            Self::Room(_) => "making room",
            Self::Moving(Part::Payload) => "fetching",
            Self::Staged => "staged",
            Self::Blocked(_) => "cannot go on",
        }
    }
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
mod tests {
    use samara_protocol::id::ArtifactId;
    use samara_protocol::manifest::layout::{ArtifactRef, Section};

    use super::*;

    const GROUP: u64 = samara_protocol::limits::GROUP_BYTES;

    fn manifest(number: u8) -> ManifestId {
        ManifestId([number; 32])
    }

    fn layout(artifacts: &[(u8, u64)]) -> Layout {
        let artifact = |(number, size): &(u8, u64)| ArtifactRef {
            id: ArtifactId([*number; 32]),
            size: *size,
        };
        let artifacts = artifacts.iter().map(artifact).collect();
        Layout::new(&[Section { artifacts }]).expect("two artifacts")
    }

    fn releases(numbers: &[u8]) -> Releases {
        let mut releases = Releases::default();
        for number in numbers {
            let product = ProductId([0; 32]);
            releases.add(
                manifest(*number),
                product,
                Version::new(1, 0, u64::from(*number)),
                Selection::default(),
                0,
            );
        }
        releases
    }

    #[test]
    fn what_an_earlier_run_began_is_resumed_and_what_another_release_has_is_reused() {
        let mut releases = releases(&[1, 2]);
        let other = Arc::new(layout(&[(7, 2 * GROUP)]));
        releases
            .get_mut(manifest(1))
            .expect("added")
            .layouts
            .insert(Part::Payload, other);
        let new = layout(&[(7, 2 * GROUP), (8, 3 * GROUP)]);
        let (all, held) = (RangeSet::from(0..5), RangeSet::from(0..4));
        let found = releases.find(manifest(2), &new, &all, &held);
        assert_eq!(
            (found.resumed, found.reused),
            (0, 4 * GROUP),
            "nothing can be resumed that was never begun"
        );
        releases.get_mut(manifest(2)).expect("added").begun_before = true;
        let found = releases.find(manifest(2), &new, &all, &held);
        assert_eq!((found.resumed, found.reused), (2 * GROUP, 2 * GROUP));
    }

    fn promotion(number: u8) -> Promotion {
        Promotion {
            version: Version::new(1, 0, u64::from(number)),
            manifest: manifest(number),
            sequence: u64::from(number),
            held: false,
        }
    }

    #[test]
    fn there_are_never_more_than_the_scheduler_can_open_and_what_was_asked_for_comes_first() {
        let numbers: Vec<u8> = (0..=u8::MAX).collect();
        let mut releases = releases(&numbers);
        assert!(releases.is_full());
        let (product, listed) = (ProductId([0; 32]), [promotion(1), promotion(2)]);
        assert!(!releases.add(
            ManifestId([1, 2].repeat(16).try_into().expect("32")),
            product,
            Version::new(9, 0, 0),
            Selection::default(),
            0
        ));
        assert_eq!(releases.to_make_place(), None, "none is staged");
        for number in [3, 7, 5] {
            releases.get_mut(manifest(number)).expect("added").phase = Phase::Staged;
        }
        releases.get_mut(manifest(3)).expect("added").asked = Some(Timestamp::ZERO);
        assert_eq!(releases.to_make_place(), Some(manifest(5)));
        assert_eq!(releases.room_for(product, &listed), RELEASES_MAX - 1);
        assert_eq!(releases.room_for(ProductId([1; 32]), &listed), 0);
    }

    #[test]
    fn what_was_asked_for_longest_ago_goes_first_and_what_a_channel_lists_stays() {
        let count = u8::try_from(ASKED_RELEASES_MAX).expect("few");
        let mut releases = releases(&(0..count + 2).collect::<Vec<_>>());
        for number in 0..count + 2 {
            let release = releases.get_mut(manifest(number)).expect("added");
            release.asked = Some(Timestamp::ZERO.after(Duration::from_secs(100 - u64::from(number))));
            release.phase = Phase::Staged;
        }
        releases.get_mut(manifest(count + 1)).expect("added").listed = true;
        assert_eq!(releases.asked_too_many(), Some(manifest(count)));
        let (now, time) = (
            Timestamp::ZERO.after(Duration::from_secs(101)),
            Duration::from_secs(u64::from(count)),
        );
        assert_eq!(
            releases.not_asked_for(now, time),
            [manifest(count - 1), manifest(count)]
        );
        releases.get_mut(manifest(count)).expect("added").phase = Phase::Moving(Part::Payload);
        assert_eq!(
            releases.not_asked_for(now, time),
            [manifest(count - 1)],
            "one that is on its way is not taken away"
        );
        releases.remove(manifest(count));
        assert_eq!(releases.asked_too_many(), None);
    }

    #[test]
    fn only_what_is_wanted_counts_as_found() {
        let mut releases = releases(&[1]);
        releases.get_mut(manifest(1)).expect("added").begun_before = true;
        let (wanted, held) = (RangeSet::from(1..2), RangeSet::from(0..3));
        let found = releases.find(manifest(1), &layout(&[(8, 3 * GROUP)]), &wanted, &held);
        assert_eq!((found.resumed, found.reused), (GROUP, 0));
    }
}
