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

use crate::bits::Bits;
use crate::id::ArtifactId;
use crate::limits::{BLOCKS_MAX, GROUP_BYTES, GROUPS_MAX};
use crate::tree::ranges::RangeSet;

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

/// One block: consecutive groups of one section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its first group.
    pub first_group: u32,
    /// How many groups.
    pub groups: u32,
    /// Bytes in all.
    pub bytes: u64,
}

impl Block {
    /// Its groups.
    #[must_use]
    pub const fn range(&self) -> Range<u32> {
        self.first_group..self.first_group + self.groups
    }
}

/// All blocks of a layout: all that the scheduler knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockTable(Vec<Block>);

impl BlockTable {
    /// A table of given blocks, for simulations.
    ///
    /// # Panics
    /// When the blocks do not follow each other without a gap.
    #[must_use]
    pub fn new(blocks: Vec<Block>) -> Self {
        let mut next = 0;
        for block in &blocks {
            assert!(
                block.first_group == next && block.groups > 0 && block.bytes > 0,
                "blocks follow each other"
            );
            next += block.groups;
        }
        Self(blocks)
    }

    /// How many blocks.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.0.len()).expect("a layout has at most 4,096 blocks")
    }

    /// Whether there is nothing to move.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Block `i`.
    ///
    /// # Panics
    /// When there is no such block.
    #[must_use]
    pub fn get(&self, i: u32) -> Block {
        self.0[i as usize]
    }

    /// The block that holds group `group`, if there is one.
    #[must_use]
    pub fn of_group(&self, group: u32) -> Option<u32> {
        let at = self
            .0
            .partition_point(|block| block.first_group <= group)
            .checked_sub(1)?;
        (group < self.0[at].range().end).then(|| u32::try_from(at).expect("at most 4,096"))
    }

    /// How many groups in all.
    #[must_use]
    pub fn group_count(&self) -> u32 {
        self.0.last().map_or(0, |block| block.range().end)
    }

    /// Bytes in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|block| block.bytes).sum()
    }

    /// The blocks of which `groups` holds every group.
    #[must_use]
    pub fn whole_blocks(&self, groups: &RangeSet) -> Bits {
        let mut bits = Bits::none(self.len());
        for i in 0..self.len() {
            if groups.contains_range(self.get(i).range()) {
                bits.set(i, true);
            }
        }
        bits
    }

    /// All groups of the blocks in `blocks`.
    #[must_use]
    pub fn groups_of(&self, blocks: &Bits) -> RangeSet {
        blocks.iter().map(|i| self.get(i).range()).collect()
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

#[derive(Default)]
struct Builder {
    placed: Vec<Placed>,
    sections: Vec<Range<u32>>,
    /// Place (none for empty artifacts) and size of every artifact seen.
    by_id: HashMap<ArtifactId, (Option<u32>, u64)>,
    next_group: u32,
    bytes: u64,
    group_bytes_of_packs: HashMap<u32, u32>,
}

impl Builder {
    fn section(&mut self, section: &Section) -> Result<(), LayoutError> {
        let start = self.next_group;
        let mut fresh = Vec::new();
        for artifact in &section.artifacts {
            match self.by_id.get(&artifact.id) {
                Some((_, size)) if *size != artifact.size => return Err(LayoutError::TwoSizes(artifact.id)),
                Some(_) => {}
                None => {
                    self.by_id.insert(artifact.id, (None, artifact.size));
                    fresh.push(*artifact);
                }
            }
        }
        self.pack(
            fresh
                .iter()
                .filter(|artifact| (1..GROUP_BYTES).contains(&artifact.size)),
        )?;
        for artifact in fresh.iter().filter(|artifact| artifact.size >= GROUP_BYTES) {
            let first_group = self.next_group;
            self.advance(groups_of(artifact.size))?;
            self.place(Placed {
                artifact: *artifact,
                first_group,
                offset: 0,
            });
        }
        self.sections.push(start..self.next_group);
        Ok(())
    }

    fn pack<'a>(&mut self, small: impl Iterator<Item = &'a ArtifactRef>) -> Result<(), LayoutError> {
        let mut used = GROUP_BYTES;
        for artifact in small {
            if used + artifact.size > GROUP_BYTES {
                self.advance(1)?;
                used = 0;
            }
            let offset = u32::try_from(used).expect("inside a group");
            self.place(Placed {
                artifact: *artifact,
                first_group: self.next_group - 1,
                offset,
            });
            used += artifact.size;
            self.group_bytes_of_packs
                .insert(self.next_group - 1, u32::try_from(used).expect("at most a group"));
        }
        Ok(())
    }

    fn place(&mut self, placed: Placed) {
        let at = u32::try_from(self.placed.len()).expect("fewer artifacts than entries");
        self.by_id.insert(placed.artifact.id, (Some(at), placed.artifact.size));
        self.bytes += placed.artifact.size;
        self.placed.push(placed);
    }

    fn advance(&mut self, groups: u32) -> Result<(), LayoutError> {
        let next = self.next_group.checked_add(groups).filter(|next| *next <= GROUPS_MAX);
        self.next_group = next.ok_or(LayoutError::TooLarge)?;
        Ok(())
    }

    /// The smallest 2^k groups a block that gives at most `BLOCKS_MAX` blocks, each section starting one.
    fn blocks(&self) -> BlockTable {
        let count = |log: u32| {
            self.sections
                .iter()
                .map(|groups| (groups.end - groups.start).div_ceil(1 << log))
                .sum::<u32>()
        };
        let log = (0..=28)
            .find(|log| count(*log) <= BLOCKS_MAX)
            .expect("there are fewer sections than blocks");
        let mut blocks = Vec::new();
        for section in &self.sections {
            let mut first_group = section.start;
            while first_group < section.end {
                let groups = (1 << log).min(section.end - first_group);
                blocks.push(Block {
                    first_group,
                    groups,
                    bytes: 0,
                });
                first_group += groups;
            }
        }
        self.count_bytes(&mut blocks);
        BlockTable(blocks)
    }

    /// Every group is full but packs and the last of a large artifact: start from full and take off what is missing.
    fn count_bytes(&self, blocks: &mut [Block]) {
        for block in blocks.iter_mut() {
            block.bytes = u64::from(block.groups) * GROUP_BYTES;
        }
        let mut shorten = |group: u32, missing: u64| {
            let at = blocks.partition_point(|block| block.first_group <= group) - 1;
            blocks[at].bytes -= missing;
        };
        for (group, used) in &self.group_bytes_of_packs {
            shorten(*group, GROUP_BYTES - u64::from(*used));
        }
        for placed in self.placed.iter().filter(|placed| !placed.is_packed()) {
            let last = placed.groups().end - 1;
            shorten(
                last,
                u64::from(placed.groups().end - placed.first_group) * GROUP_BYTES - placed.artifact.size,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn artifact(n: u32, size: u64) -> ArtifactRef {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_le_bytes());
        ArtifactRef {
            id: ArtifactId(id),
            size,
        }
    }

    fn sizes() -> impl Strategy<Value = Vec<Vec<u64>>> {
        let size = prop_oneof![
            Just(0),
            1u64..70_000,
            Just(65_535),
            Just(65_536),
            Just(65_537),
            0u64..5_000_000
        ];
        prop::collection::vec(prop::collection::vec(size, 0..40), 0..5)
    }

    proptest! {
        #[test]
        fn every_byte_has_one_place_and_blocks_cover_all(sizes in sizes()) {
            let mut n = 0;
            let sections: Vec<Section> = sizes.iter().map(|sizes| Section { artifacts: sizes.iter().map(|size| { n += 1; artifact(n, *size) }).collect() }).collect();
            let layout = Layout::new(&sections).expect("within the limits");
            let total: u64 = sizes.iter().flatten().sum();
            prop_assert_eq!(layout.bytes(), total);
            prop_assert_eq!(layout.blocks().bytes(), total);
            prop_assert!(layout.blocks().len() <= BLOCKS_MAX);
            let mut by_group = 0;
            for group in 0..layout.group_count() {
                let held = layout.group(group).expect("below the count");
                prop_assert!(!held.is_empty() && u64::from(held.len()) <= GROUP_BYTES);
                by_group += u64::from(held.len());
                let block = layout.blocks().of_group(group).expect("covered");
                prop_assert!(layout.blocks().get(block).range().contains(&group));
                match held {
                    Group::Large { artifact, index, .. } => {
                        let placed = layout.placed()[artifact];
                        prop_assert!(!placed.is_packed());
                        prop_assert_eq!(placed.first_group + index, group);
                    }
                    Group::Packed { artifacts, len } => {
                        let mut at = 0;
                        for placed in &layout.placed()[artifacts] {
                            prop_assert_eq!((placed.first_group, placed.offset), (group, at));
                            at += placed.artifact.size as u32;
                        }
                        prop_assert_eq!(at, len);
                    }
                }
            }
            prop_assert_eq!(by_group, total);
            prop_assert_eq!(layout.group(layout.group_count()), None);
            for section in &sections {
                for artifact in &section.artifacts {
                    prop_assert_eq!(layout.find(&artifact.id).is_some(), artifact.size > 0);
                }
            }
        }
    }

    #[test]
    fn a_section_starts_a_block_and_the_block_size_is_the_smallest_that_fits() {
        let big = Section {
            artifacts: vec![artifact(1, 8 << 30)],
        };
        let layout = Layout::new(&[
            big.clone(),
            Section {
                artifacts: vec![artifact(2, 10)],
            },
        ])
        .expect("fits");
        let last = layout.blocks().get(layout.blocks().len() - 1);
        assert_eq!((last.groups, last.bytes), (1, 10));
        // 131,072 groups at 32 a block would be 4,096 blocks, and the second section needs one more.
        assert_eq!(layout.blocks().get(0).groups, 64);
        assert_eq!(Layout::new(&[big]).expect("fits").blocks().get(0).groups, 32);
    }

    #[test]
    fn an_artifact_listed_twice_is_stored_once_and_two_sizes_are_refused() {
        let twice = [
            Section {
                artifacts: vec![artifact(1, 5), artifact(1, 5)],
            },
            Section {
                artifacts: vec![artifact(1, 5)],
            },
        ];
        assert_eq!(Layout::new(&twice).expect("fits").bytes(), 5);
        let lies = [Section {
            artifacts: vec![artifact(1, 5), artifact(1, 6)],
        }];
        assert!(matches!(Layout::new(&lies), Err(LayoutError::TwoSizes(_))));
    }
}
