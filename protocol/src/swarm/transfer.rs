//! One layout that this node takes part in: what is wanted, asked for, held and durable.
//!
//! Invariant (see `check`): a group is missing, or one peer is relied on for it (others may still owe it, see `stealing`), or
//! it is held; `have` marks exactly the blocks whose every group is held, `busy` only blocks with nothing left to ask for.

use std::ops::Range;
use std::sync::Arc;

use crate::bits::Bits;
use crate::id::NodeId;
use crate::limits::GROUP_BYTES;
use crate::manifest::blocks::{Block, BlockTable};
use crate::time::Timestamp;
use crate::tree::ranges::RangeSet;

use super::event::Sources;
use super::io::{Distance, OpenTransfer};
use super::rate::Meter;
use super::seeding::Seeding;

#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) number: u16,
    pub(super) product: u32,
    pub(super) priority: u8,
    pub(super) table: Arc<BlockTable>,
    pub(super) wanted: Bits,
    pub(super) have: Bits,
    pub(super) durable: Bits,
    /// Blocks of which every missing group is requested.
    pub(super) busy: Bits,
    pub(super) held: RangeSet,
    pub(super) held_durable: RangeSet,
    /// What requests that are not shared have left: somebody is relied on for it.
    pub(super) requested: RangeSet,
    /// How many requests are shared (see `stealing`).
    pub(super) shared: u32,
    /// Bytes of wanted blocks that are not had.
    pub(super) left: u64,
    pub(super) opened: Timestamp,
    pub(super) complete: bool,
    pub(super) durable_told: bool,
    pub(super) sources: Sources,
    pub(super) meter: Meter,
    pub(super) progress_told: Option<Timestamp>,
    /// Payload bytes that arrived though they were held already.
    pub(super) wasted: u64,
    /// Payload bytes served to others.
    pub(super) sent: u64,
    pub(super) seeding: Seeding,
}

impl Transfer {
    pub(super) fn new(number: u16, open: OpenTransfer, is_origin: bool, now: Timestamp) -> Self {
        let blocks = open.table.len();
        let mut held = open.durable.clone();
        held.union_with(&open.volatile);
        let mut transfer = Self {
            number,
            product: open.product,
            priority: open.priority,
            wanted: open.wanted,
            have: open.table.whole_blocks(&held),
            durable: open.table.whole_blocks(&open.durable),
            busy: Bits::none(blocks),
            held,
            held_durable: open.durable,
            requested: RangeSet::new(),
            shared: 0,
            left: 0,
            opened: now,
            complete: false,
            durable_told: false,
            sources: Sources::default(),
            meter: Meter::default(),
            progress_told: None,
            wasted: 0,
            sent: 0,
            seeding: Seeding::new(blocks, is_origin),
            table: open.table,
        };
        transfer.count_left();
        transfer
    }

    /// Changes what is wanted.
    pub(super) fn want(&mut self, now: Timestamp, wanted: Bits) {
        self.wanted = wanted;
        self.opened = now;
        self.complete = false;
        self.durable_told = false;
        self.count_left();
    }

    fn count_left(&mut self) {
        let missing = self.wanted.iter().filter(|block| !self.have.get(*block));
        self.left = missing.map(|block| self.table.get(block).bytes).sum();
    }

    /// Whether every wanted block is had.
    pub(super) const fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Whether every wanted block is durable.
    pub(super) fn is_durable(&self) -> bool {
        self.wanted.count_common(&self.durable) == self.wanted.count()
    }

    /// Bytes of wanted blocks.
    pub(super) fn wanted_bytes(&self) -> u64 {
        self.wanted.iter().map(|block| self.table.get(block).bytes).sum()
    }

    /// Bytes of wanted blocks that are durable.
    pub(super) fn durable_bytes(&self) -> u64 {
        let durable = self.wanted.iter().filter(|block| self.durable.get(*block));
        durable.map(|block| self.table.get(block).bytes).sum()
    }

    /// Bytes that are needed to fetch `block`, at least: a span is not smaller without reason.
    pub(super) fn block_bytes(&self) -> u64 {
        let first = if self.table.is_empty() {
            1
        } else {
            self.table.get(0).groups
        };
        u64::from(first) * GROUP_BYTES
    }

    /// What of a block is neither held nor requested.
    pub(super) fn askable(&self, block: u32) -> RangeSet {
        let mut groups = RangeSet::from(self.table.get(block).range());
        groups.subtract(&self.within(&self.held, block));
        groups.subtract(&self.within(&self.requested, block));
        groups
    }

    fn within(&self, set: &RangeSet, block: u32) -> RangeSet {
        cut(set, self.table.get(block).range())
    }

    /// Notes that these groups are asked for.
    pub(super) fn ask(&mut self, groups: &RangeSet) {
        self.requested.union_with(groups);
        for block in self.blocks_of(groups) {
            if self.askable(block).is_empty() {
                self.busy.set(block, true);
            }
        }
    }

    /// Notes that these groups are not asked for any more and not held.
    pub(super) fn unask(&mut self, groups: &RangeSet) {
        self.requested.subtract(groups);
        for block in self.blocks_of(groups) {
            let idle = !self.askable(block).is_empty();
            if idle {
                self.busy.set(block, false);
            }
        }
    }

    /// Counts bytes that a peer brought, before they are noted: what is new to it, the rest as wasted. What comes is told many
    /// groups at a time, and when several are asked for the same ones part of it may be there already.
    pub(super) fn count(&mut self, peer: NodeId, distance: Distance, groups: &RangeSet, bytes: u64) {
        let again = groups.intersection(&self.held);
        let wasted = if again.count() == groups.count() {
            bytes
        } else {
            let missing = nominal(groups).saturating_sub(bytes);
            (nominal(&again) - self.short_of(&again).min(missing)).min(bytes)
        };
        self.wasted += wasted;
        if wasted < bytes {
            self.sources.add(peer, distance, bytes - wasted);
        }
    }

    /// Bytes by which groups are shorter than 64 KiB. The table has the bytes of whole blocks; the short group is taken to be a
    /// block's last one, as it is except where small files are packed.
    fn short_of(&self, groups: &RangeSet) -> u64 {
        let blocks = self.blocks_of(groups).into_iter().map(|block| self.table.get(block));
        let ending = blocks.filter(|block| groups.contains(block.range().end - 1));
        let short = |block: Block| (u64::from(block.groups) * GROUP_BYTES).saturating_sub(block.bytes);
        ending.map(|block| short(block).min(GROUP_BYTES - 1)).sum()
    }

    /// Notes verified groups; returns the blocks that became whole.
    pub(super) fn hold(&mut self, groups: &RangeSet) -> RangeSet {
        self.held.union_with(groups);
        self.requested.subtract(groups);
        let mut whole = RangeSet::new();
        for block in self.blocks_of(groups) {
            let entry = self.table.get(block);
            if self.have.get(block) || !self.held.contains_range(entry.range()) {
                continue;
            }
            self.have.set(block, true);
            self.busy.set(block, false);
            whole.insert(block..block + 1);
            if self.wanted.get(block) {
                self.left -= entry.bytes;
            }
        }
        whole
    }

    /// Notes durable groups (which are held); returns the blocks that became durable.
    pub(super) fn harden(&mut self, groups: &RangeSet) -> RangeSet {
        self.held_durable.union_with(groups);
        let mut whole = RangeSet::new();
        for block in self.blocks_of(groups) {
            let range = self.table.get(block).range();
            if !self.durable.get(block) && self.held_durable.contains_range(range) {
                self.durable.set(block, true);
                whole.insert(block..block + 1);
            }
        }
        whole
    }

    /// Notes lost groups; returns the blocks that were had and are not any more.
    pub(super) fn lose(&mut self, groups: &RangeSet) -> RangeSet {
        self.held.subtract(groups);
        self.held_durable.subtract(groups);
        let mut gone = RangeSet::new();
        for block in self.blocks_of(groups) {
            self.durable.set(block, false);
            if self.have.set(block, false) {
                gone.insert(block..block + 1);
                if self.wanted.get(block) {
                    self.left += self.table.get(block).bytes;
                    self.complete = false;
                    self.durable_told = false;
                }
            }
            if !self.askable(block).is_empty() {
                self.busy.set(block, false);
            }
        }
        gone
    }

    /// The blocks that hold any of `groups`, ascending.
    pub(super) fn blocks_of(&self, groups: &RangeSet) -> Vec<u32> {
        let mut blocks: Vec<u32> = Vec::new();
        for range in groups.ranges() {
            let Some(first) = self.table.of_group(range.start) else {
                continue;
            };
            let last = self.table.of_group(range.end - 1).unwrap_or(self.table.len() - 1);
            let from = blocks.last().map_or(first, |done| first.max(done + 1));
            blocks.extend(from..=last);
        }
        blocks
    }
}

/// What of `set` lies in `range`; costs what it finds.
pub(super) fn cut(set: &RangeSet, range: Range<u32>) -> RangeSet {
    let ranges = set.ranges();
    let from = ranges.partition_point(|held| held.end <= range.start);
    let inside = ranges[from..].iter().take_while(|held| held.start < range.end);
    inside
        .map(|held| held.start.max(range.start)..held.end.min(range.end))
        .collect()
}

/// Whether anything of `set` lies in `range`.
pub(super) fn touches(set: &RangeSet, range: Range<u32>) -> bool {
    let at = set.ranges().partition_point(|held| held.end <= range.start);
    set.ranges().get(at).is_some_and(|held| held.start < range.end)
}

/// Nominal bytes of groups: the shell reports the true ones.
pub(super) fn nominal(groups: &RangeSet) -> u64 {
    groups.count() * GROUP_BYTES
}

/// The first `count` groups of a set.
pub(super) fn first_groups(set: &RangeSet, mut count: u64) -> RangeSet {
    let mut first = RangeSet::new();
    for range in set.ranges() {
        if count == 0 {
            break;
        }
        let len = count.min(u64::from(range.end - range.start));
        let len = u32::try_from(len).expect("not longer than the range");
        first.insert(range.start..range.start + len);
        count -= u64::from(len);
    }
    first
}
