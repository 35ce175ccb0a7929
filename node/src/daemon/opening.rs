//! From a verified manifest head to layouts that can be read and written. Runs on worker threads.

use std::collections::BTreeSet;
use std::io::{BufReader, Cursor, Read};
use std::sync::{Arc, Mutex, PoisonError};

use samara_protocol::bits::Bits;
use samara_protocol::id::{ArtifactId, LayoutId, Part};
use samara_protocol::manifest::contents::ContentsBuilder;
use samara_protocol::manifest::entry::Entry;
use samara_protocol::manifest::layout::Layout;
use samara_protocol::manifest::platform::Platform;
use samara_protocol::trust::release::VerifiedManifest;

use super::report::OpenError;
use crate::store::{Held, Store};

use self::one_entry::OneEntry;

pub(super) mod one_entry;

/// Which part of a release this node wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Selection {
    /// The machines it is for; all when empty.
    pub(super) platforms: Vec<Platform>,
    /// One entry alone, by its path.
    pub(super) entry: Option<String>,
    /// Artifacts that whoever asks has already.
    pub(super) present: BTreeSet<ArtifactId>,
}

/// What the wants of this process leave out; shared with whoever holds the engine.
#[derive(Debug, Clone, Default)]
pub(super) struct Selections(Arc<Mutex<BTreeSet<ArtifactId>>>);

impl Selections {
    pub(super) fn set(&self, present: &[ArtifactId]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = present.iter().copied().collect();
    }

    pub(super) fn get(&self) -> BTreeSet<ArtifactId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A layout that is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) part: Part,
    pub(super) layout: Arc<Layout>,
    pub(super) held: Held,
    pub(super) wanted: Bits,
}

impl Selection {
    fn takes(&self, entry: &Entry) -> bool {
        self.platforms.is_empty() || self.platforms.iter().any(|machine| entry.platforms.admits(machine))
    }
}

/// Opens the layout of the entries list, of which all is wanted. The head is kept before anything is fetched: without it,
/// that would belong to nothing after a restart; and when the layout is open: garbage is the head of whatever is not.
pub(super) fn entries(store: &Store, manifest: &VerifiedManifest) -> Result<Opened, OpenError> {
    let list = manifest.head().entries.artifact.layout_ref();
    let layout = Arc::new(Layout::single(list).map_err(|error| OpenError::Release(error.to_string()))?);
    let wanted = Bits::all(layout.blocks().len());
    let opened = open(store, manifest, Part::Entries, layout, wanted)?;
    if store.head(manifest.id())?.is_none() {
        store.put_head(manifest.id(), manifest.bytes())?;
    }
    Ok(opened)
}

/// Opens the payload's layout, from the entries list that is in the store.
pub(super) fn payload(store: &Store, manifest: &VerifiedManifest, selection: &Selection) -> Result<Opened, OpenError> {
    let release = |error: &dyn std::fmt::Display| OpenError::Release(error.to_string());
    let list = read_list(store, manifest)?;
    let mut builder = ContentsBuilder::default();
    let mut one = selection.entry.as_deref().map(OneEntry::named);
    let mut needed = BTreeSet::new();
    for entry in crate::release::entries(BufReader::new(list)) {
        let entry = entry.map_err(|error| release(&error))?;
        builder.add(&entry);
        if !selection.present.is_empty() && selection.takes(&entry) {
            needed.extend(
                entry
                    .artifact()
                    .map(|artifact| artifact.id)
                    .filter(|id| !selection.present.contains(id)),
            );
        }
        if let Some(one) = &mut one {
            one.look_at(entry, selection);
        }
    }
    let contents = builder.finish(manifest.head()).map_err(|error| release(&error))?;
    let wanted = match one {
        Some(one) => contents.wanted_entry(&one.found()?),
        None if !selection.present.is_empty() => contents.layout().blocks_of_artifacts(&needed),
        None if selection.platforms.is_empty() => contents.wanted_all(),
        None => contents.wanted_by(&selection.platforms),
    };
    open(store, manifest, Part::Payload, Arc::new(contents.into_layout()), wanted)
}

fn open(
    store: &Store,
    manifest: &VerifiedManifest,
    part: Part,
    layout: Arc<Layout>,
    wanted: Bits,
) -> Result<Opened, OpenError> {
    let id = LayoutId {
        manifest: manifest.id(),
        part,
    };
    let held = store.open_layout(id, Arc::clone(&layout))?;
    store.reserve(id, &layout.blocks().groups_of(&wanted))?;
    Ok(Opened {
        part,
        layout,
        held,
        wanted,
    })
}

/// The entries list, whole in memory (at most 64 MiB, and then as a file).
fn read_list(store: &Store, manifest: &VerifiedManifest) -> Result<Box<dyn Read>, OpenError> {
    let list = manifest.head().entries.artifact.layout_ref();
    if list.size < samara_protocol::limits::GROUP_BYTES {
        let id = LayoutId {
            manifest: manifest.id(),
            part: Part::Entries,
        };
        return Ok(Box::new(Cursor::new(store.read_small(id, list.id)?)));
    }
    Ok(Box::new(store.open_artifact(list)?))
}
