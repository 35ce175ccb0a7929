//! The blocks of a layout: the unit of availability and of the once-only rule, and all that the scheduler knows of a layout.

use std::ops::Range;

use crate::bits::Bits;
use crate::limits::{BLOCKS_MAX, GROUPS_MAX, SMALL_BLOCK_GROUPS_LOG, SMALL_BLOCKS_MAX};
use crate::tree::ranges::RangeSet;

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

    /// The size of a layout's blocks, as a power of two of groups: the smallest that gives at most [`SMALL_BLOCKS_MAX`] blocks, or, where
    /// those would be larger than [`SMALL_BLOCK_GROUPS_LOG`] says, that or the smallest that gives at most [`BLOCKS_MAX`].
    ///
    /// `count` says how many blocks of 2^k groups there would be.
    ///
    /// # Panics
    /// When one block for each section were too many.
    #[must_use]
    pub fn groups_log(count: impl Fn(u32) -> u32) -> u32 {
        let most = |log| match log {
            ..SMALL_BLOCK_GROUPS_LOG => SMALL_BLOCKS_MAX,
            _ => BLOCKS_MAX,
        };
        let mut sizes = 0..=GROUPS_MAX.ilog2();
        let log = sizes.find(|log| count(*log) <= most(*log));
        log.expect("there are fewer sections than blocks")
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
