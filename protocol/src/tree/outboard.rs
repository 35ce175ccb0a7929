//! Builds an artifact's outboard and root from its bytes.
//!
//! A file is cut into subtrees ([`Geometry::subtrees`]); each is hashed on its own by a [`SubtreeHasher`], on whatever
//! threads the caller has; [`merge`] joins their roots. [`of_bytes`] does all of it for bytes in memory. Each group is
//! one `Hasher::update`, which is what lets BLAKE3 use its widest vectors. The size is needed before the first byte: it
//! says where the nodes lie. A file whose size changes meanwhile is an error here, not a wrong root.

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::geometry::{Geometry, GroupIndex, Node, PAIR_BYTES, Pair, Span};
use crate::id::ArtifactId;
use crate::limits::GROUP_BYTES;

/// The value that stands for a subtree in its parent's pair, or the root when the subtree is the whole tree.
pub type Chaining = [u8; 32];

/// What was hashed is not what the size promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{got} bytes were read where the file's size promised {expected}; it changes while it is read")]
pub struct SizeChanged {
    /// Bytes of the subtree by the size.
    pub expected: u64,
    /// Bytes that came.
    pub got: u64,
}

/// One hashed subtree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedSubtree {
    /// Which one.
    pub span: Span,
    /// Its chaining value; the artifact's root when the subtree is the whole tree.
    pub chaining: Chaining,
    /// The pairs of its own inner nodes, which belong at [`Span::outboard_offset`].
    pub outboard: Vec<u8>,
}

/// Hashes one subtree's bytes in order.
#[derive(Debug)]
pub struct SubtreeHasher {
    geometry: Geometry,
    span: Span,
    /// The group that has begun and its bytes so far.
    group: Hasher,
    group_len: u64,
    got: u64,
    joiner: Joiner,
    outboard: Vec<u8>,
}

impl SubtreeHasher {
    /// For the given subtree of an artifact of the given shape.
    #[must_use]
    pub fn new(geometry: Geometry, span: Span) -> Self {
        let outboard = vec![0; usize::try_from(u64::from(span.node_count()) * PAIR_BYTES).unwrap_or(usize::MAX)];
        Self {
            geometry,
            span,
            group: group_hasher(span.first),
            group_len: 0,
            got: 0,
            joiner: Joiner::new(geometry, span.first),
            outboard,
        }
    }

    /// The next bytes, of any length; multiples of 64 KiB are fastest. Bytes beyond the subtree's end are counted, not
    /// hashed: [`Self::finish`] refuses.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let range = self.span.bytes(self.geometry);
        let left = (range.end - range.start).saturating_sub(self.got);
        self.got += bytes.len() as u64;
        if bytes.len() as u64 > left {
            bytes = &bytes[..usize::try_from(left).expect("less than a slice's length")];
        }
        while !bytes.is_empty() {
            let room = usize::try_from(GROUP_BYTES - self.group_len).expect("at most a group");
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.group.update(now);
            self.group_len += now.len() as u64;
            bytes = later;
            if self.group_len == GROUP_BYTES {
                self.end_group();
            }
        }
    }

    /// The subtree's value and outboard.
    ///
    /// # Errors
    /// When there were fewer or more bytes than the size promised.
    pub fn finish(mut self) -> Result<HashedSubtree, SizeChanged> {
        let range = self.span.bytes(self.geometry);
        let expected = range.end - range.start;
        if self.got != expected {
            return Err(SizeChanged {
                expected,
                got: self.got,
            });
        }
        if self.group_len > 0 {
            self.end_group();
        }
        let base = self.span.outboard_offset();
        let outboard = &mut self.outboard;
        let chaining = self.joiner.finish(&mut |node, pair| save(outboard, base, node, pair));
        // Only the empty artifact has no group at all.
        let chaining = chaining.unwrap_or_else(|| *blake3::hash(&[]).as_bytes());
        Ok(HashedSubtree {
            span: self.span,
            chaining,
            outboard: self.outboard,
        })
    }

    fn end_group(&mut self) {
        let chaining = if self.geometry.group_count() == 1 {
            *self.group.finalize().as_bytes()
        } else {
            self.group.finalize_non_root()
        };
        let group = self.joiner.next;
        let base = self.span.outboard_offset();
        let outboard = &mut self.outboard;
        let one = self.geometry.leaf(group);
        self.joiner
            .push(one, chaining, &mut |node, pair| save(outboard, base, node, pair));
        self.group = group_hasher(group + 1);
        self.group_len = 0;
    }
}

/// Joins subtrees that cover the whole artifact, in order: the root, and the pairs of the nodes above them.
///
/// # Errors
/// When the subtrees do not cover the artifact without a gap (the caller's bug, or parts of another size's cut).
pub fn merge(
    geometry: Geometry,
    parts: impl IntoIterator<Item = (Span, Chaining)>,
) -> Result<(ArtifactId, Vec<(Node, Pair)>), SizeChanged> {
    let mut joiner = Joiner::new(geometry, 0);
    let mut pairs = Vec::new();
    for (span, chaining) in parts {
        if span.first == joiner.next {
            joiner.push(span, chaining, &mut |node, pair| pairs.push((node, pair)));
        }
    }
    if joiner.next != geometry.group_count() {
        return Err(SizeChanged {
            expected: geometry.size(),
            got: u64::from(joiner.next) * GROUP_BYTES,
        });
    }
    let root = joiner.finish(&mut |node, pair| pairs.push((node, pair)));
    let root = root.unwrap_or_else(|| *blake3::hash(&[]).as_bytes());
    Ok((ArtifactId(root), pairs))
}

/// Root and outboard of bytes in memory.
///
/// # Errors
/// When they are more than 16 TiB.
pub fn of_bytes(bytes: &[u8]) -> Result<(ArtifactId, Vec<u8>), super::geometry::TooLarge> {
    let geometry = Geometry::new(bytes.len() as u64)?;
    let mut hasher = SubtreeHasher::new(geometry, geometry.whole());
    hasher.update(bytes);
    let hashed = hasher.finish().expect("the size is that of the bytes");
    Ok((ArtifactId(hashed.chaining), hashed.outboard))
}

/// The value of one group's bytes in an artifact of the given shape: the root itself when there is but one group.
#[must_use]
pub(super) fn hash_group(geometry: Geometry, group: GroupIndex, data: &[u8]) -> Chaining {
    if geometry.group_count() <= 1 {
        return *blake3::hash(data).as_bytes();
    }
    let mut hasher = group_hasher(group.0);
    hasher.update(data);
    hasher.finalize_non_root()
}

/// The value of a node with the given pair: the root when it is the topmost.
#[must_use]
pub(super) fn hash_pair(pair: &Pair, is_root: bool) -> Chaining {
    let (left, right) = pair.split_at(32);
    let left = left.try_into().expect("half of 64 bytes");
    let right = right.try_into().expect("half of 64 bytes");
    if is_root {
        *merge_subtrees_root(left, right, Mode::Hash).as_bytes()
    } else {
        merge_subtrees_non_root(left, right, Mode::Hash)
    }
}

fn group_hasher(group: u32) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(u64::from(group) * GROUP_BYTES);
    hasher
}

fn save(outboard: &mut [u8], base: u64, node: Node, pair: Pair) {
    let at = usize::try_from(node.offset() - base).expect("inside a buffer in memory");
    outboard[at..at + pair.len()].copy_from_slice(&pair);
}

/// Joins neighbouring subtrees as soon as both halves of a node are there. Complete subtrees come first, so equal
/// neighbours always are the halves of one node; at the end the rest joins from the right.
#[derive(Debug)]
struct Joiner {
    geometry: Geometry,
    stack: Vec<(Span, Chaining)>,
    /// The group that the next subtree starts with.
    next: u32,
}

impl Joiner {
    const fn new(geometry: Geometry, next: u32) -> Self {
        Self {
            geometry,
            stack: Vec::new(),
            next,
        }
    }

    fn push(&mut self, span: Span, chaining: Chaining, sink: &mut impl FnMut(Node, Pair)) {
        self.next = span.groups().end;
        self.stack.push((span, chaining));
        while let [.., (left, _), (right, _)] = self.stack.as_slice()
            && left.groups == right.groups
        {
            self.join(sink);
        }
    }

    fn finish(&mut self, sink: &mut impl FnMut(Node, Pair)) -> Option<Chaining> {
        while self.stack.len() > 1 {
            self.join(sink);
        }
        self.stack.pop().map(|(_, chaining)| chaining)
    }

    fn join(&mut self, sink: &mut impl FnMut(Node, Pair)) {
        let (Some((right, right_value)), Some((left, left_value))) = (self.stack.pop(), self.stack.pop()) else {
            return;
        };
        let span = self.geometry.span(left.first, left.groups + right.groups);
        let mut pair = [0; 64];
        pair[..32].copy_from_slice(&left_value);
        pair[32..].copy_from_slice(&right_value);
        let is_root = span.groups == self.geometry.group_count();
        self.stack.push((span, hash_pair(&pair, is_root)));
        sink(span.node, pair);
    }
}

impl Geometry {
    /// One group as a span; its node is never asked for.
    const fn leaf(self, group: u32) -> Span {
        Span {
            first: group,
            groups: 1,
            ..self.whole()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
