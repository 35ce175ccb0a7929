//! Lays artifacts into groups and groups into blocks, one section after the other.

use std::collections::HashMap;
use std::ops::Range;

use super::{ArtifactRef, LayoutError, Placed, Section, groups_of};
use crate::id::ArtifactId;
use crate::limits::{GROUP_BYTES, GROUPS_MAX};
use crate::manifest::blocks::{Block, BlockTable};

/// A layout that grows section by section.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) placed: Vec<Placed>,
    pub(super) sections: Vec<Range<u32>>,
    /// Place (none for empty artifacts) and size of every artifact seen.
    pub(super) by_id: HashMap<ArtifactId, (Option<u32>, u64)>,
    next_group: u32,
    pub(super) bytes: u64,
    group_bytes_of_packs: HashMap<u32, u32>,
}

impl Builder {
    pub(super) fn section(&mut self, section: &Section) -> Result<(), LayoutError> {
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

    /// Each section starts a block.
    pub(super) fn blocks(&self) -> BlockTable {
        let log = BlockTable::groups_log(|log| {
            let sections = self.sections.iter();
            sections
                .map(|groups| (groups.end - groups.start).div_ceil(1 << log))
                .sum()
        });
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
        BlockTable::new(blocks)
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
