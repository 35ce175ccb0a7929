//! A release's layout and who wants what of it, from head and list.
//!
//! Invariant: everybody derives the same layout. Section 0 holds the attachments in the head's order; one section follows
//! for each platform set, in the order of [`PlatformSet`] (every platform first), its artifacts in the list's order. What
//! the layout adds up to must be what the head says.

use std::collections::BTreeMap;

use super::entry::Entry;
use super::head::{Head, PayloadTotals};
use super::layout::{Layout, LayoutError, Section};
use super::platform::{Platform, PlatformSet};
use crate::bits::Bits;
use crate::id::ArtifactId;

/// Why head and list are no release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentsError {
    /// No layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The list is not the one that the head was made for.
    #[error("the head promises {promised:?}, its entries list and attachments add up to {found:?}")]
    Totals {
        /// By the head.
        promised: PayloadTotals,
        /// By the list.
        found: PayloadTotals,
    },
    /// As above, for entries.
    #[error("the head promises {promised} entries, its list has {found}")]
    Count {
        /// By the head.
        promised: u32,
        /// In the list.
        found: u64,
    },
}

/// Where everything of a release lies and which of it is for whom.
#[derive(Debug)]
pub struct Contents {
    layout: Layout,
    /// The platform sets, in order: set `i` has section `i + 1`.
    sets: Vec<PlatformSet>,
    /// For each set the artifacts that lie in an earlier section because that needs them too.
    elsewhere: Vec<Vec<ArtifactId>>,
    attachments: Vec<ArtifactId>,
}

impl Contents {
    /// From a head and the entries of its list, in order.
    ///
    /// # Errors
    /// When a bound is crossed or the totals are not those of the head.
    pub fn new<'a>(head: &Head, entries: impl IntoIterator<Item = &'a Entry>) -> Result<Self, ContentsError> {
        let mut builder = ContentsBuilder::default();
        for entry in entries {
            builder.add(entry);
        }
        builder.finish(head)
    }

    /// The layout.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The layout alone.
    #[must_use]
    pub fn into_layout(self) -> Layout {
        self.layout
    }

    /// The platform sets that entries have, in the order of their sections.
    #[must_use]
    pub fn platform_sets(&self) -> &[PlatformSet] {
        &self.sets
    }

    /// Everything.
    #[must_use]
    pub fn wanted_all(&self) -> Bits {
        Bits::all(self.layout.blocks().len())
    }

    /// The blocks that machines of the given platforms need, attachments with them.
    #[must_use]
    pub fn wanted_by(&self, machines: &[Platform]) -> Bits {
        let wants = |set: &PlatformSet| set.is_every() || machines.iter().any(|machine| set.admits(machine));
        let mut bits = self
            .layout
            .blocks_of_sections(|section| section == 0 || self.sets.get(section - 1).is_some_and(wants));
        let strays = self.sets.iter().zip(&self.elsewhere).filter(|(set, _)| wants(set));
        let strays = self.layout.blocks_of_artifacts(strays.flat_map(|(_, ids)| ids));
        for block in strays.iter() {
            bits.set(block, true);
        }
        bits
    }

    /// The blocks that one entry needs.
    #[must_use]
    pub fn wanted_entry(&self, entry: &Entry) -> Bits {
        self.layout
            .blocks_of_artifacts(entry.artifact().map(|artifact| &artifact.id))
    }

    /// The blocks of the attachments.
    #[must_use]
    pub fn wanted_attachments(&self) -> Bits {
        self.layout.blocks_of_artifacts(&self.attachments)
    }
}

/// Takes the entries one by one as they are read.
#[derive(Debug, Default)]
pub struct ContentsBuilder {
    sections: BTreeMap<PlatformSet, Section>,
    count: u64,
}

impl ContentsBuilder {
    /// The next entry, in the list's order.
    pub fn add(&mut self, entry: &Entry) {
        self.count += 1;
        let Some(artifact) = entry.artifact() else { return };
        if !self.sections.contains_key(&entry.platforms) {
            self.sections.insert(entry.platforms.clone(), Section::default());
        }
        if let Some(section) = self.sections.get_mut(&entry.platforms) {
            section.artifacts.push(artifact.layout_ref());
        }
    }

    /// What the layout adds up to, for a head that is being written.
    ///
    /// # Errors
    /// When there is no layout.
    pub fn totals(self, head_attachments: &[super::head::Attachment]) -> Result<PayloadTotals, ContentsError> {
        let (sections, _) = self.sections(head_attachments);
        let layout = Layout::new(&sections)?;
        Ok(PayloadTotals {
            bytes: layout.bytes(),
            groups: layout.group_count(),
        })
    }

    /// All entries are there.
    ///
    /// # Errors
    /// When there is no layout, or it is not what the head promises.
    pub fn finish(self, head: &Head) -> Result<Contents, ContentsError> {
        if self.count != u64::from(head.entries.count) {
            return Err(ContentsError::Count {
                promised: head.entries.count,
                found: self.count,
            });
        }
        let (sections, sets) = self.sections(&head.attachments);
        let layout = Layout::new(&sections)?;
        let found = PayloadTotals {
            bytes: layout.bytes(),
            groups: layout.group_count(),
        };
        if found != head.payload {
            return Err(ContentsError::Totals {
                promised: head.payload,
                found,
            });
        }
        let elsewhere = (1..sections.len()).map(|at| strays(&layout, &sections, at)).collect();
        Ok(Contents {
            layout,
            sets,
            elsewhere,
            attachments: head.attachments.iter().map(|one| one.artifact.id).collect(),
        })
    }

    fn sections(self, attachments: &[super::head::Attachment]) -> (Vec<Section>, Vec<PlatformSet>) {
        let artifacts = attachments.iter().map(|one| one.artifact.layout_ref()).collect();
        let mut sections = vec![Section { artifacts }];
        let mut sets = Vec::new();
        for (set, section) in self.sections {
            sets.push(set);
            sections.push(section);
        }
        (sections, sets)
    }
}

fn strays(layout: &Layout, sections: &[Section], at: usize) -> Vec<ArtifactId> {
    let own = layout.sections()[at].clone();
    let ids = sections[at].artifacts.iter().map(|artifact| artifact.id);
    ids.filter(|id| layout.find(id).is_some_and(|placed| !own.contains(&placed.first_group)))
        .collect()
}

#[cfg(test)]
mod tests;
