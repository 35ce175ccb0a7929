//! Releases on their way: manifest head, entries list, payload, staged. A table of phases; the driver acts on it.

use std::collections::{BTreeMap, BTreeSet};

use samara_protocol::id::{LayoutId, ManifestId, NodeId, Part, ProductId};
use samara_protocol::trust::VerifiedManifest;
use semver::Version;

use super::opening::Selection;

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
    /// A verb asked for it by name: it stays although no followed channel lists it.
    pub(super) asked_for: bool,
}

/// How far it is.
///
/// | phase | left when | to |
/// |---|---|---|
/// | Head | the head is here and verified | Opening(Entries) |
/// | Opening(p) | the worker opened layout p | Moving(p) |
/// | Moving(Entries) | the list is durable | Opening(Payload) |
/// | Moving(Payload) | everything wanted is durable | Staged |
/// | any | disk or release says no | Blocked |
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// The head is being asked for.
    Head { asking: Option<NodeId>, refused: BTreeSet<NodeId> },
    /// A worker opens the layout.
    Opening(Part),
    /// The scheduler moves its blocks.
    Moving(Part),
    /// Verified and durable, all that is wanted.
    Staged,
    /// Cannot go on; says why and what to do.
    Blocked(String),
}

impl Phase {
    /// The start.
    pub(super) const fn start() -> Self {
        Self::Head { asking: None, refused: BTreeSet::new() }
    }
}

impl Releases {
    /// Adds a release, unless it is known; its selection and priority are replaced when they differ and nothing is open.
    pub(super) fn add(&mut self, manifest: ManifestId, product: ProductId, version: Version, selection: Selection, priority: u8) -> bool {
        if self.all.contains_key(&manifest) {
            return false;
        }
        self.last_number += 1;
        let release = Release {
            product,
            version,
            number: self.last_number,
            selection,
            priority,
            phase: Phase::start(),
            manifest: None,
            open: BTreeSet::new(),
            asked_for: false,
        };
        self.all.insert(manifest, release);
        true
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
        self.iter().filter(|(_, release)| release.product == product).map(|(manifest, _)| manifest).collect()
    }

    /// Those whose head nobody is being asked for.
    pub(super) fn without_head(&self) -> Vec<(ManifestId, ProductId)> {
        let waiting = self.iter().filter(|(_, release)| matches!(release.phase, Phase::Head { asking: None, .. }));
        waiting.map(|(manifest, release)| (manifest, release.product)).collect()
    }

    /// The layouts that are open, for garbage collection.
    pub(super) fn layouts(&self) -> BTreeSet<LayoutId> {
        let parts = |manifest| [Part::Entries, Part::Payload].map(|part| LayoutId { manifest, part });
        self.all.keys().flat_map(|manifest| parts(*manifest)).collect()
    }
}
