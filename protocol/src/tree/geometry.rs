//! Where the nodes of an artifact's tree lie.
//!
//! Invariant: the order is that of bao-tree's pre-order outboard over `BlockSize::from_chunk_log(6)` (tested against
//! it), so the inner nodes of any subtree are contiguous. Everything else in [`crate::tree`] counts through here.

use std::ops::Range;

use crate::limits::{GROUP_BYTES, GROUPS_MAX};

/// Bytes of one pair of chaining values.
pub const PAIR_BYTES: u64 = 64;

/// The chaining values of a node's left and right child, 32 bytes each.
pub type Pair = [u8; 64];

/// A group of one artifact, counted from 0. Not a group of a layout, which counts through all artifacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIndex(pub u32);

/// An inner node: its place in pre-order, 0 being the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(u32);

impl Node {
    /// Where its pair starts in the outboard, in bytes.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.0 as u64 * PAIR_BYTES
    }
}

/// The artifact is larger than a layout can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an artifact of {size} bytes is larger than the 16 TiB that a release may have; split the file")]
pub struct TooLarge {
    /// Its size.
    pub size: u64,
}

/// The shape of the tree over an artifact of a known size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    size: u64,
    groups: u32,
}

impl Geometry {
    /// The shape for `size` bytes.
    ///
    /// # Errors
    /// When the artifact is larger than 16 TiB.
    pub fn new(size: u64) -> Result<Self, TooLarge> {
        match u32::try_from(size.div_ceil(GROUP_BYTES)) {
            Ok(groups) if groups <= GROUPS_MAX => Ok(Self { size, groups }),
            _ => Err(TooLarge { size }),
        }
    }

    /// Bytes of the artifact.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.size
    }

    /// How many groups; 0 for the empty artifact.
    #[must_use]
    pub const fn group_count(self) -> u32 {
        self.groups
    }

    /// How many inner nodes: one less than groups.
    #[must_use]
    pub const fn node_count(self) -> u32 {
        self.groups.saturating_sub(1)
    }

    /// Bytes of the outboard: 64 a node.
    #[must_use]
    pub const fn outboard_len(self) -> u64 {
        self.node_count() as u64 * PAIR_BYTES
    }

    /// The bytes of a group in the artifact; `None` when there is no such group.
    #[must_use]
    pub fn bytes_of(self, group: GroupIndex) -> Option<Range<u64>> {
        let start = u64::from(group.0) * GROUP_BYTES;
        (group.0 < self.groups).then(|| start..self.size.min(start + GROUP_BYTES))
    }

    /// The inner nodes from the root to `group`; none when the artifact is one group, or has no such group.
    #[must_use]
    pub const fn path(self, group: GroupIndex) -> Path {
        let whole = self.whole();
        let span = if group.0 < self.groups {
            whole
        } else {
            Span { groups: 0, ..whole }
        };
        Path { span, group }
    }

    /// The whole tree as one span.
    #[must_use]
    pub const fn whole(self) -> Span {
        Span {
            first: 0,
            groups: self.groups,
            node: Node(0),
        }
    }

    /// The tree cut into subtrees of `2^log` groups (the last one may be shorter), in order: what can be hashed apart.
    /// None for the empty artifact.
    pub fn subtrees(self, log: u8) -> impl Iterator<Item = Span> {
        let step = 1u32 << log.min(28);
        (0..self.groups.div_ceil(step)).map(move |i| {
            let first = i * step;
            self.span(first, step.min(self.groups - first))
        })
    }

    /// The subtree over exactly these groups, which must be one of the tree's.
    pub(super) fn span(self, first: u32, groups: u32) -> Span {
        let mut span = self.whole();
        while span.groups > groups {
            let (left, right) = span.children();
            span = if first < right.first { left } else { right };
        }
        debug_assert!(
            span.first == first && span.groups == groups,
            "these groups are no subtree"
        );
        span
    }
}

/// A subtree: consecutive groups and, if there is more than one, the inner node above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub(super) first: u32,
    pub(super) groups: u32,
    /// Its own node when it has more than one group; else where one would stand.
    pub(super) node: Node,
}

impl Span {
    /// Its groups.
    #[must_use]
    pub const fn groups(self) -> Range<u32> {
        self.first..self.first + self.groups
    }

    /// Its bytes in an artifact of the given shape.
    #[must_use]
    pub fn bytes(self, geometry: Geometry) -> Range<u64> {
        let start = u64::from(self.first) * GROUP_BYTES;
        start..geometry.size.min(start + u64::from(self.groups) * GROUP_BYTES)
    }

    /// Where its own inner nodes start in the outboard; they are contiguous.
    #[must_use]
    pub const fn outboard_offset(self) -> u64 {
        self.node.offset()
    }

    /// The number of its own inner nodes.
    #[must_use]
    pub const fn node_count(self) -> u32 {
        self.groups.saturating_sub(1)
    }

    pub(super) const fn contains(self, group: GroupIndex) -> bool {
        self.first <= group.0 && group.0 - self.first < self.groups
    }

    /// Left and right half; the left has the largest power of two of groups that leaves one for the right.
    pub(super) const fn children(self) -> (Self, Self) {
        debug_assert!(self.groups > 1, "one group has no halves");
        let left = self.groups.div_ceil(2).next_power_of_two();
        (
            Self {
                first: self.first,
                groups: left,
                node: Node(self.node.0 + 1),
            },
            Self {
                first: self.first + left,
                groups: self.groups - left,
                node: Node(self.node.0 + left),
            },
        )
    }
}

/// Which child of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The first 32 bytes of the pair.
    Left,
    /// The last 32 bytes of the pair.
    Right,
}

impl Side {
    /// That child's chaining value.
    #[must_use]
    pub fn of(self, pair: &Pair) -> [u8; 32] {
        let (left, right) = pair.split_at(32);
        let half = match self {
            Self::Left => left,
            Self::Right => right,
        };
        half.try_into().expect("half of 64 bytes")
    }
}

/// One inner node on the way to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The node and what it covers.
    pub span: Span,
    /// Where the way goes on.
    pub side: Side,
}

impl Step {
    /// The node.
    #[must_use]
    pub const fn node(self) -> Node {
        self.span.node
    }

    /// Whether it is the root of the whole tree.
    #[must_use]
    pub const fn is_root(self) -> bool {
        self.span.node.0 == 0
    }
}

/// The way from the root to a group, see [`Geometry::path`].
#[derive(Debug, Clone)]
pub struct Path {
    span: Span,
    group: GroupIndex,
}

impl Iterator for Path {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.span.groups < 2 {
            return None;
        }
        let span = self.span;
        let (left, right) = span.children();
        let side = if self.group.0 < right.first {
            Side::Left
        } else {
            Side::Right
        };
        self.span = match side {
            Side::Left => left,
            Side::Right => right,
        };
        Some(Step { span, side })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bao_tree::{BaoTree, BlockSize};
    use proptest::prelude::*;

    /// For each inner node in bao-tree's pre-order: the groups it covers.
    fn reference(size: u64) -> Vec<Range<u32>> {
        let tree = BaoTree::new(size, BlockSize::from_chunk_log(crate::limits::GROUP_CHUNK_LOG));
        let mut nodes: Vec<(u64, Range<u32>)> = tree
            .pre_order_nodes_iter()
            .filter_map(|node| {
                let chunks = node.chunk_range();
                let end = (chunks.end.0 / 64).min(size.div_ceil(GROUP_BYTES));
                tree.pre_order_offset(node)
                    .map(|at| (at, (chunks.start.0 / 64) as u32..end as u32))
            })
            .collect();
        nodes.sort_by_key(|(at, _)| *at);
        nodes.into_iter().map(|(_, groups)| groups).collect()
    }

    proptest! {
        #[test]
        fn every_path_names_the_nodes_that_bao_tree_has_at_these_places(size in 0u64..(200 << 16)) {
            let geometry = Geometry::new(size).expect("small");
            let nodes = reference(size);
            prop_assert_eq!(nodes.len() as u32, geometry.node_count());
            let mut seen = vec![false; nodes.len()];
            for group in 0..geometry.group_count() {
                let mut covered = 0..geometry.group_count();
                for step in geometry.path(GroupIndex(group)) {
                    prop_assert_eq!(&nodes[step.node().0 as usize], &covered);
                    prop_assert_eq!(step.span.groups(), covered.clone());
                    seen[step.node().0 as usize] = true;
                    let (left, right) = step.span.children();
                    covered = if step.side == Side::Left { left.groups() } else { right.groups() };
                }
                prop_assert_eq!(covered, group..group + 1);
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }

        #[test]
        fn groups_and_subtrees_cover_every_byte_once(size in 0u64..(300 << 16), log in 0u8..10) {
            let geometry = Geometry::new(size).expect("small");
            let mut at = 0;
            for group in 0..geometry.group_count() {
                let bytes = geometry.bytes_of(GroupIndex(group)).expect("below the count");
                prop_assert_eq!(bytes.start, at);
                prop_assert!(!bytes.is_empty());
                at = bytes.end;
            }
            prop_assert_eq!(at, size);
            let mut at = 0;
            for span in geometry.subtrees(log) {
                prop_assert_eq!(span.bytes(geometry).start, at);
                at = span.bytes(geometry).end;
            }
            prop_assert_eq!(at, size);
        }
    }

    #[test]
    fn a_group_beyond_the_end_has_no_bytes_and_no_path() {
        let geometry = Geometry::new(65_537).expect("small");
        assert_eq!(geometry.bytes_of(GroupIndex(1)), Some(65_536..65_537));
        assert_eq!(geometry.bytes_of(GroupIndex(2)), None);
        assert_eq!(geometry.path(GroupIndex(2)).count(), 0);
        assert_eq!(geometry.path(GroupIndex(1)).count(), 1);
    }

    #[test]
    fn sixteen_tebibytes_have_a_shape_and_one_byte_more_has_none() {
        let most = u64::from(GROUPS_MAX) * GROUP_BYTES;
        let geometry = Geometry::new(most).expect("the most");
        assert_eq!(geometry.path(GroupIndex(GROUPS_MAX - 1)).count(), 28);
        assert!(Geometry::new(most + 1).is_err());
        assert!(Geometry::new(u64::MAX).is_err());
    }
}
