//! The one order in which a release's bytes are laid out: artifacts into groups, groups into blocks.
//!
//! Everybody derives the same layout from the same manifest, so a message can name group 17 and mean the same bytes
//! everywhere. Sections come first to last (attachments, then each platform set); a section starts a block. In a
//! section the artifacts smaller than a group come first, in the given order, packed greedily into groups that none of
//! them straddles; then the larger ones, each in groups of its own, the last of which may be short. So the small
//! artifacts of a section are one contiguous run of bytes. Empty artifacts have no place: there is nothing to move.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::blocks::BlockTable;
use crate::bits::Bits;
use crate::id::ArtifactId;
use crate::limits::{BLOCKS_MAX, GROUP_BYTES, GROUPS_MAX};

mod builder;

use builder::Builder;

/// An artifact as a layout needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactRef {
    /// Its root.
    pub id: ArtifactId,
    /// Its length in bytes.
    pub size: u64,
}

/// One section's artifacts in canonical order, each artifact in one section only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// In canonical order; an id that stands in an earlier place is ignored.
    pub artifacts: Vec<ArtifactRef>,
}

/// Why there is no layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// More groups than a layout may have.
    #[error("the release has more than {GROUPS_MAX} groups of 64 KiB (16 TiB); publish it in parts")]
    TooLarge,
    /// More sections than blocks.
    #[error("the release has {0} sections, more than the {BLOCKS_MAX} blocks of a layout")]
    TooManySections(usize),
    /// The same artifact with two sizes.
    #[error("artifact {0} is listed with two different sizes")]
    TwoSizes(ArtifactId),
}

/// An artifact's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// What it is.
    pub artifact: ArtifactRef,
    /// Its first group; a small one's only group.
    pub first_group: u32,
    /// Where it starts inside its group: 0 unless packed behind others.
    pub offset: u32,
}

impl Placed {
    /// Whether it shares a packed group instead of having groups of its own.
    #[must_use]
    pub const fn is_packed(&self) -> bool {
        self.artifact.size < GROUP_BYTES
    }

    /// Its groups.
    #[must_use]
    pub fn groups(&self) -> Range<u32> {
        self.first_group..self.first_group + groups_of(self.artifact.size)
    }
}

/// What one group holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// 64 KiB (or the short rest) of one artifact.
    Large {
        /// Index into [`Layout::placed`].
        artifact: usize,
        /// Which group of that artifact, from 0.
        index: u32,
        /// Bytes.
        len: u32,
    },
    /// Several whole artifacts, one behind the other.
    Packed {
        /// Indices into [`Layout::placed`].
        artifacts: Range<usize>,
        /// Bytes in all.
        len: u32,
    },
}

impl Group {
    /// Bytes of the group.
    #[must_use]
    pub const fn len(&self) -> u32 {
        match self {
            Self::Large { len, .. } | Self::Packed { len, .. } => *len,
        }
    }

    /// Never: a group holds at least a byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where every byte of a release (or of an entries list) lies.
#[derive(Debug)]
pub struct Layout {
    placed: Vec<Placed>,
    /// For each section its groups.
    sections: Vec<Range<u32>>,
    by_id: HashMap<ArtifactId, u32>,
    blocks: Arc<BlockTable>,
    bytes: u64,
}

impl Layout {
    /// Lays out `sections` in order.
    ///
    /// # Errors
    /// When a bound would be crossed or one artifact has two sizes.
    pub fn new(sections: &[Section]) -> Result<Self, LayoutError> {
        if sections.len() > BLOCKS_MAX as usize {
            return Err(LayoutError::TooManySections(sections.len()));
        }
        let mut builder = Builder::default();
        for section in sections {
            builder.section(section)?;
        }
        let blocks = builder.blocks();
        Ok(Self {
            blocks: Arc::new(blocks),
            placed: builder.placed,
            sections: builder.sections,
            by_id: builder
                .by_id
                .into_iter()
                .filter_map(|(id, (at, _))| Some((id, at?)))
                .collect(),
            bytes: builder.bytes,
        })
    }

    /// The layout of one artifact alone, as the entries list has it.
    ///
    /// # Errors
    /// When it is too large.
    pub fn single(artifact: ArtifactRef) -> Result<Self, LayoutError> {
        Self::new(&[Section {
            artifacts: vec![artifact],
        }])
    }

    /// The blocks, shared with the scheduler.
    #[must_use]
    pub fn blocks(&self) -> &Arc<BlockTable> {
        &self.blocks
    }

    /// How many groups.
    #[must_use]
    pub fn group_count(&self) -> u32 {
        self.blocks.group_count()
    }

    /// Bytes in all, each artifact once.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All artifacts that have bytes, in layout order.
    #[must_use]
    pub fn placed(&self) -> &[Placed] {
        &self.placed
    }

    /// Where an artifact lies; `None` when it is not of this layout or empty.
    #[must_use]
    pub fn find(&self, id: &ArtifactId) -> Option<&Placed> {
        self.by_id.get(id).map(|at| &self.placed[*at as usize])
    }

    /// What group `group` holds; `None` beyond the end.
    #[must_use]
    pub fn group(&self, group: u32) -> Option<Group> {
        if group >= self.group_count() {
            return None;
        }
        let end = self.placed.partition_point(|placed| placed.first_group <= group);
        let last = self.placed[end - 1];
        if last.is_packed() {
            let start = self.placed[..end].partition_point(|placed| placed.first_group < group);
            let len = last.offset + u32::try_from(last.artifact.size).expect("smaller than a group");
            return Some(Group::Packed {
                artifacts: start..end,
                len,
            });
        }
        let index = group - last.first_group;
        let left = last.artifact.size - u64::from(index) * GROUP_BYTES;
        let len = u32::try_from(left.min(GROUP_BYTES)).expect("at most a group");
        Some(Group::Large {
            artifact: end - 1,
            index,
            len,
        })
    }

    /// The artifact that a group belongs to, the first one of a packed group.
    ///
    /// # Panics
    /// When the group is another layout's.
    #[must_use]
    pub fn artifact_of(&self, group: &Group) -> ArtifactId {
        let at = match group {
            Group::Large { artifact, .. } => *artifact,
            Group::Packed { artifacts, .. } => artifacts.start,
        };
        self.placed[at].artifact.id
    }

    /// The groups of each section, in order; empty sections have an empty range.
    #[must_use]
    pub fn sections(&self) -> &[Range<u32>] {
        &self.sections
    }

    /// The blocks that hold the sections for which `wanted` answers true.
    #[must_use]
    pub fn blocks_of_sections(&self, wanted: impl Fn(usize) -> bool) -> Bits {
        let mut bits = Bits::none(self.blocks.len());
        for (at, groups) in self.sections.iter().enumerate() {
            if wanted(at) {
                self.mark(groups.clone(), &mut bits);
            }
        }
        bits
    }

    /// The blocks that hold the given artifacts (those that are of this layout).
    #[must_use]
    pub fn blocks_of_artifacts<'a>(&self, ids: impl IntoIterator<Item = &'a ArtifactId>) -> Bits {
        let mut bits = Bits::none(self.blocks.len());
        for placed in ids.into_iter().filter_map(|id| self.find(id)) {
            self.mark(placed.groups(), &mut bits);
        }
        bits
    }

    fn mark(&self, groups: Range<u32>, bits: &mut Bits) {
        let Some(first) = self.blocks.of_group(groups.start).filter(|_| !groups.is_empty()) else {
            return;
        };
        let last = self.blocks.of_group(groups.end - 1).unwrap_or(first);
        for block in first..=last {
            bits.set(block, true);
        }
    }
}

/// Groups that an artifact takes: one for a small one.
fn groups_of(size: u64) -> u32 {
    u32::try_from(size.div_ceil(GROUP_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
