//! A body: one file of groups, with what is known of each group. A large artifact is one; the small artifacts of a
//! layout, packed, are another. Group `i` of a body lies at `i * 64 KiB`.
//!
//! Invariant: `durable` and `volatile` are disjoint, `unchecked` is a part of the two. What is in `durable` or
//! `volatile` and not in `unchecked` was verified by this process, or has not been touched since it was.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use samara_protocol::id::{ArtifactId, LayoutId};
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::manifest::layout::{ArtifactRef, Group, Layout, Placed};
use samara_protocol::tree::geometry::{Geometry, GroupIndex, Node, Pair};
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::tree::verify::{StoredVerifier, verify_packed};

use super::disk::{DiskFile, Stamp, read_exact};
use super::files::{Files, Key};
use super::shared::lock;
use super::write::ZEROS;

/// Pieces of the outboard of which is known that they are written: 32 KiB.
const PIECES_MAX: usize = 4096;

/// A file of groups.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) key: Key,
    pub(super) shape: Shape,
    holding: Mutex<Holding>,
    /// Held while the outboard is made again.
    mending: Mutex<()>,
}

/// What the groups are.
#[derive(Debug)]
pub(super) enum Shape {
    /// Groups of a tree.
    Artifact { id: ArtifactId, geometry: Geometry },
    /// Groups of whole small artifacts.
    Pack {
        layout: Arc<Layout>,
        runs: PackRuns,
        /// What locations name this pack by.
        number: u32,
    },
}

/// What is known of a body's groups.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// In the committed index.
    pub(super) durable: RangeSet,
    /// Verified and written since.
    pub(super) volatile: RangeSet,
    /// To be hashed before it is given to anyone.
    pub(super) unchecked: RangeSet,
    /// The data file when it was looked at last with nothing being written.
    pub(super) stamp: Option<Stamp>,
    /// When the last of `unchecked` went, seconds since 1970.
    pub(super) checked_at: i64,
    /// Making the outboard again was tried since the last loss.
    pub(super) heal_tried: bool,
    /// Threads that are writing to the files now.
    pub(super) writers: u32,
    /// Pairs of the outboard, by their place in it, that this process has written since groups were taken out last or the file
    /// was made. Every group comes with its whole way from the root; most of that is there already.
    pub(super) pairs: RangeSet,
    /// How often groups were taken out. What was written or synced across a loss may be a part of it.
    pub(super) losses: u64,
}

/// What was held when somebody began to look at a body's files. Only of that can he find that it is damaged, and only while
/// nothing is lost: what is not held, or is lost meanwhile, may be written anew before he has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    held: RangeSet,
    losses: u64,
}

impl Seen {
    /// What was held.
    pub(super) const fn held(&self) -> &RangeSet {
        &self.held
    }

    /// Whether nothing was lost between the two.
    pub(super) const fn is_as_old_as(&self, other: &Self) -> bool {
        self.losses == other.losses
    }
}

impl Holding {
    pub(super) fn held(&self) -> RangeSet {
        let mut held = self.durable.clone();
        held.union_with(&self.volatile);
        held
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        self.durable.contains(index) || self.volatile.contains(index)
    }

    /// For who is about to look at the files: before he opens them.
    pub(super) fn seen(&self) -> Seen {
        Seen {
            held: self.held(),
            losses: self.losses,
        }
    }

    /// Takes out what turned out damaged; those that were in, and those of them that were volatile. `None` when something else
    /// was lost since: what was seen says nothing of what is there now.
    pub(super) fn lose_seen(&mut self, groups: &RangeSet, seen: &mut Seen) -> Option<(RangeSet, RangeSet)> {
        if self.losses != seen.losses {
            return None;
        }
        let groups = groups.intersection(&seen.held);
        let volatile = self.volatile.intersection(&groups);
        let lost = self.lose(&groups);
        seen.losses = self.losses;
        seen.held.subtract(&groups);
        Some((lost, volatile))
    }

    /// Takes groups out; those that were in.
    pub(super) fn lose(&mut self, groups: &RangeSet) -> RangeSet {
        let lost = self.held().intersection(groups);
        self.durable.subtract(groups);
        self.volatile.subtract(groups);
        self.unchecked.subtract(groups);
        self.heal_tried = false;
        self.losses += 1;
        self.pairs = RangeSet::new();
        lost
    }

    /// Those of `pairs` that this process has not written.
    pub(super) fn unwritten<'a>(&self, pairs: &'a [(Node, Pair)]) -> Vec<&'a (Node, Pair)> {
        let written = |pair: &&(Node, Pair)| !self.pairs.contains(place_of(pair.0));
        pairs.iter().filter(written).collect()
    }

    /// Pairs were written. Where there are too many pieces of them to keep, some are written again.
    pub(super) fn wrote(&mut self, pairs: &[&(Node, Pair)]) {
        if self.pairs.ranges().len() > PIECES_MAX {
            self.pairs = RangeSet::new();
        }
        for (node, _) in pairs {
            let place = place_of(*node);
            self.pairs.insert(place..place + 1);
        }
    }

    /// The outboard's file is a new one.
    pub(super) fn forget_pairs(&mut self) {
        self.pairs = RangeSet::new();
    }
}

/// Which groups of a layout are packed: the group numbers of each section's packed run, and the first's place in the
/// pack.
#[derive(Debug, Clone, Default)]
pub(super) struct PackRuns(Vec<(Range<u32>, u32)>);

impl PackRuns {
    pub(super) fn of(layout: &Layout) -> Self {
        let (mut runs, mut count) = (Vec::<(Range<u32>, u32)>::new(), 0);
        for placed in layout.placed().iter().filter(|placed| placed.is_packed()) {
            match runs.last_mut() {
                Some((groups, _)) if groups.contains(&placed.first_group) => {}
                Some((groups, _)) if groups.end == placed.first_group => {
                    groups.end += 1;
                    count += 1;
                }
                _ => {
                    runs.push((placed.first_group..placed.first_group + 1, count));
                    count += 1;
                }
            }
        }
        Self(runs)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Range<u32>, u32)> + '_ {
        self.0.iter().cloned()
    }

    pub(super) fn count(&self) -> u32 {
        self.0
            .last()
            .map_or(0, |(groups, first)| first + (groups.end - groups.start))
    }

    fn group_of(&self, index: u32) -> Option<u32> {
        let at = self.0.partition_point(|(_, first)| *first <= index).checked_sub(1)?;
        let (groups, first) = &self.0[at];
        let group = groups.start + (index - first);
        groups.contains(&group).then_some(group)
    }
}

impl Body {
    pub(super) fn artifact(id: ArtifactId, geometry: Geometry, holding: Holding) -> Self {
        Self {
            key: Key::Artifact(id),
            shape: Shape::Artifact { id, geometry },
            holding: Mutex::new(holding),
            mending: Mutex::default(),
        }
    }

    pub(super) fn pack(id: LayoutId, layout: Arc<Layout>, runs: PackRuns, number: u32, holding: Holding) -> Self {
        Self {
            key: Key::Pack(id),
            shape: Shape::Pack { layout, runs, number },
            holding: Mutex::new(holding),
            mending: Mutex::default(),
        }
    }

    pub(super) fn holding(&self) -> MutexGuard<'_, Holding> {
        lock(&self.holding)
    }

    /// See [`Holding::seen`].
    pub(super) fn seen(&self) -> Seen {
        self.holding().seen()
    }

    /// For one who is about to make the outboard again; `None` while another is at it.
    pub(super) fn begin_mending(&self) -> Option<MutexGuard<'_, ()>> {
        match self.mending.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Returns when nobody makes the outboard again any more.
    pub(super) fn wait_for_mending(&self) {
        drop(lock(&self.mending));
    }

    /// Whether every group is held.
    pub(super) fn is_whole(&self) -> bool {
        self.holding().held().contains_range(0..self.group_count())
    }

    /// How many groups.
    pub(super) fn group_count(&self) -> u32 {
        match &self.shape {
            Shape::Artifact { geometry, .. } => geometry.group_count(),
            Shape::Pack { runs, .. } => runs.count(),
        }
    }

    /// Bytes of the data file.
    pub(super) fn len(&self) -> u64 {
        match &self.shape {
            Shape::Artifact { geometry, .. } => geometry.size(),
            Shape::Pack { runs, .. } => u64::from(runs.count()) * GROUP_BYTES,
        }
    }

    /// Bytes of the outboard.
    pub(super) fn outboard_len(&self) -> u64 {
        match &self.shape {
            Shape::Artifact { geometry, .. } => geometry.outboard_len(),
            Shape::Pack { .. } => 0,
        }
    }

    /// Bytes of a group; 0 when there is no such group.
    pub(super) fn group_len(&self, index: u32) -> usize {
        let len = match &self.shape {
            Shape::Artifact { geometry, .. } => geometry
                .bytes_of(GroupIndex(index))
                .map_or(0, |bytes| bytes.end - bytes.start),
            Shape::Pack { layout, runs, .. } => runs
                .group_of(index)
                .and_then(|group| layout.group(group))
                .map_or(0, |group| u64::from(group.len())),
        };
        usize::try_from(len).expect("at most a group")
    }

    /// The artifacts of a packed group; none for a large artifact.
    pub(super) fn packed(&self, index: u32) -> &[Placed] {
        let Shape::Pack { layout, runs, .. } = &self.shape else {
            return &[];
        };
        match runs.group_of(index).and_then(|group| layout.group(group)) {
            Some(Group::Packed { artifacts, .. }) => &layout.placed()[artifacts],
            _ => &[],
        }
    }

    /// All small artifacts of the given groups, each with its offset in the pack.
    pub(super) fn packed_in<'a>(&'a self, groups: &'a RangeSet) -> impl Iterator<Item = (ArtifactRef, u64)> + 'a {
        groups.iter().flat_map(move |index| {
            let base = offset_of(index);
            let place = move |placed: &Placed| (placed.artifact, base + u64::from(placed.offset));
            self.packed(index).iter().map(place)
        })
    }

    /// Groups that lie in the first `len` bytes.
    pub(super) fn groups_within(&self, len: u64) -> RangeSet {
        if len >= self.len() {
            return RangeSet::from(0..self.group_count());
        }
        let first_beyond = u32::try_from(len / GROUP_BYTES).unwrap_or(u32::MAX);
        // The last of them may be short, in a pack.
        let short = len - offset_of(first_beyond) >= self.group_len(first_beyond) as u64;
        RangeSet::from(0..first_beyond + u32::from(short))
    }

    pub(super) fn checker<'a>(&'a self, files: &'a Files) -> GroupChecker<'a> {
        let verifier = match &self.shape {
            Shape::Artifact { id, geometry } => Some(StoredVerifier::new(*id, *geometry)),
            Shape::Pack { .. } => None,
        };
        GroupChecker {
            body: self,
            files,
            verifier,
        }
    }
}

/// A pair's place in the outboard, counted in pairs.
fn place_of(node: Node) -> u32 {
    u32::try_from(node.offset() / 64).expect("as many pairs as groups")
}

/// Where a group starts in its body's file.
pub(super) fn offset_of(index: u32) -> u64 {
    u64::from(index) * GROUP_BYTES
}

/// Hashes groups of one body against what they must be.
pub(super) struct GroupChecker<'a> {
    body: &'a Body,
    files: &'a Files,
    verifier: Option<StoredVerifier>,
}

impl GroupChecker<'_> {
    /// Whether `data` is the group, by the pairs on disk.
    pub(super) fn is_good(&mut self, index: u32, data: &[u8]) -> bool {
        match &mut self.verifier {
            Some(verifier) => {
                let read = |node| read_pair(self.files, node);
                verifier.verify(GroupIndex(index), data, read).is_ok()
            }
            None => verify_packed(self.body.packed(index).iter().map(|placed| placed.artifact), data).is_ok(),
        }
    }

    /// Whether it is worth reading the group at all.
    pub(super) fn may_be_good(&mut self, index: u32) -> bool {
        match &mut self.verifier {
            Some(verifier) => {
                let read = |node| read_pair(self.files, node);
                verifier.check_path(GroupIndex(index), read).is_ok()
            }
            // A hole can only be a group of zeros; the first artifact tells.
            None => {
                let at = offset_of(index);
                let hole = matches!(self.files.data.next_data(at), Ok(next) if next.is_none_or(|next| next >= at + GROUP_BYTES));
                !hole
                    || self
                        .body
                        .packed(index)
                        .first()
                        .is_some_and(|first| is_zeros(first.artifact))
            }
        }
    }

    /// Reads the group into `buffer` and hashes it; `None` when it could not be read or is not what it must be.
    pub(super) fn read<'b>(&mut self, index: u32, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let data = buffer.get_mut(..self.body.group_len(index))?;
        read_exact(&*self.files.data, data, offset_of(index)).ok()?;
        self.is_good(index, data).then_some(&*data)
    }
}

fn is_zeros(artifact: ArtifactRef) -> bool {
    usize::try_from(artifact.size)
        .ok()
        .and_then(|size| ZEROS.get(..size))
        .is_some_and(|zeros| blake3::hash(zeros).as_bytes() == artifact.id.as_bytes())
}

/// The pair of a node; an error when the outboard is not there or was never written at this place.
pub(super) fn read_pair(files: &Files, node: Node) -> io::Result<Pair> {
    let outboard: &dyn DiskFile = &**files.outboard.as_ref().ok_or(io::ErrorKind::NotFound)?;
    let mut pair = [0; 64];
    read_exact(outboard, &mut pair, node.offset())?;
    if pair == [0; 64] {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(pair)
}
