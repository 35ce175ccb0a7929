//! Is this group what the root says?
//!
//! [`ReplyVerifier`] checks the groups of one artifact as they arrive in a reply, [`StoredVerifier`] those that lie on
//! disk beside a stored outboard, [`verify_packed`] a packed group. Invariant: only bytes that hash up to the root of
//! the artifact are accepted; lengths are exact. A refused group does not spoil the following ones as long as its proof
//! was right: the pairs that it brought are kept, and come out with the next group that is accepted.

use super::geometry::{Geometry, GroupIndex, Node, Pair, Span, Step};
use super::outboard::{Chaining, hash_group, hash_pair};
use super::prove::is_new;
use crate::id::ArtifactId;
use crate::manifest::layout::ArtifactRef;

/// Why a group is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The artifact has no such group.
    #[error("group {group} was sent, but the artifact has {count}")]
    NoSuchGroup {
        /// Which.
        group: u32,
        /// How many there are.
        count: u32,
    },
    /// Groups of one reply must ascend.
    #[error("group {group} was sent after group {last}; a reply carries groups in ascending order")]
    OutOfOrder {
        /// Which.
        group: u32,
        /// The one before.
        last: u32,
    },
    /// Not the number of bytes that the group has.
    #[error("group {group} has {expected} bytes, {got} were given")]
    DataLength {
        /// Which.
        group: u32,
        /// By the artifact's size.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// Not the number of pairs that the group needs in this place of the reply.
    #[error("the proof of group {group} needs {expected} bytes, {got} were given")]
    ProofLength {
        /// Which.
        group: u32,
        /// Pairs that no earlier group of the reply carried.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// A pair does not hash to what its parent says.
    #[error("a hash on the way from the root to group {group} is wrong")]
    Parent {
        /// Which group.
        group: u32,
        /// Where the wrong pair lies in the outboard, in bytes.
        offset: u64,
    },
    /// A pair came with an earlier group of this reply and was wrong or missing there.
    #[error("group {group} hangs from a hash that an earlier group of the reply got wrong")]
    ParentLost {
        /// Which group.
        group: u32,
    },
    /// The bytes do not hash to what the tree says.
    #[error("the bytes of group {group} are not what the root says")]
    Data {
        /// Which group.
        group: u32,
    },
}

/// A group that is what the root says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifiedGroup {
    /// Pairs that this reply has newly proved: to be saved in the outboard with the group.
    pub pairs: Vec<(Node, Pair)>,
}

/// Checks the groups of one artifact in one reply.
#[derive(Debug)]
pub struct ReplyVerifier {
    way: Way,
    last: Option<GroupIndex>,
    /// Proved pairs that no accepted group has handed out yet.
    unsaved: Vec<(Node, Pair)>,
}

impl ReplyVerifier {
    /// For a new reply.
    #[must_use]
    pub const fn new(artifact: ArtifactId, geometry: Geometry) -> Self {
        Self {
            way: Way::new(artifact, geometry),
            last: None,
            unsaved: Vec::new(),
        }
    }

    /// Checks one group with the pairs that its frame carries.
    ///
    /// # Errors
    /// Says what is wrong; following groups may still be given.
    pub fn verify(&mut self, group: GroupIndex, proof: &[u8], data: &[u8]) -> Result<VerifiedGroup, VerifyError> {
        self.way.check_exists(group)?;
        if let Some(last) = self.last.filter(|last| *last >= group) {
            return Err(VerifyError::OutOfOrder {
                group: group.0,
                last: last.0,
            });
        }
        let last = self.last.replace(group);
        let path = self.way.geometry.path(group);
        let expected = path.filter(|step| is_new(last, step.span.first)).count() * 64;
        if proof.len() != expected {
            return Err(VerifyError::ProofLength {
                group: group.0,
                expected: expected as u64,
                got: proof.len() as u64,
            });
        }
        let mut pairs = proof.as_chunks::<64>().0.iter();
        let read = |step: Step| {
            let pair = pairs.next().filter(|_| is_new(last, step.span.first));
            pair.copied().ok_or(VerifyError::ParentLost { group: group.0 })
        };
        let unsaved = &mut self.unsaved;
        let value = self.way.descend(group, read, |node, pair| unsaved.push((node, pair)))?;
        self.way.check_data(group, data, value)?;
        Ok(VerifiedGroup {
            pairs: std::mem::take(&mut self.unsaved),
        })
    }
}

/// Why a group on disk is not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredError<E> {
    /// The outboard could not be read.
    #[error("a pair of the outboard could not be read")]
    Read(#[source] E),
    /// The bytes or the outboard are not what the root says.
    #[error(transparent)]
    Verify(VerifyError),
}

/// Checks groups on disk against the stored outboard, in any order (ascending is fastest): for recovery, and before
/// serving what does not check for itself.
#[derive(Debug)]
pub struct StoredVerifier {
    way: Way,
}

impl StoredVerifier {
    /// For one artifact.
    #[must_use]
    pub const fn new(artifact: ArtifactId, geometry: Geometry) -> Self {
        Self {
            way: Way::new(artifact, geometry),
        }
    }

    /// Whether the stored pairs lead from the root to `group`, without looking at its bytes.
    ///
    /// # Errors
    /// When `read` fails or a pair is wrong (a pair that was never written, for one).
    pub fn check_path<E>(
        &mut self,
        group: GroupIndex,
        mut read: impl FnMut(Node) -> Result<Pair, E>,
    ) -> Result<(), StoredError<E>> {
        self.way.check_exists(group).map_err(StoredError::Verify)?;
        self.value(group, &mut read).map(|_| ())
    }

    /// Whether `data` is `group`, by the stored pairs; `read` gives the pair of a node.
    ///
    /// # Errors
    /// When `read` fails, or a pair or the data are wrong.
    pub fn verify<E>(
        &mut self,
        group: GroupIndex,
        data: &[u8],
        mut read: impl FnMut(Node) -> Result<Pair, E>,
    ) -> Result<(), StoredError<E>> {
        self.way.check_exists(group).map_err(StoredError::Verify)?;
        let value = self.value(group, &mut read)?;
        self.way.check_data(group, data, value).map_err(StoredError::Verify)
    }

    fn value<E>(
        &mut self,
        group: GroupIndex,
        read: &mut impl FnMut(Node) -> Result<Pair, E>,
    ) -> Result<Chaining, StoredError<E>> {
        self.way
            .descend(group, |step| read(step.node()).map_err(StoredError::Read), |_, _| ())
    }
}

impl<E> From<VerifyError> for StoredError<E> {
    fn from(error: VerifyError) -> Self {
        Self::Verify(error)
    }
}

/// Why a packed group is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackedError {
    /// Not the length of all its artifacts.
    #[error("a packed group of {expected} bytes was expected, {got} were given")]
    Length {
        /// The artifacts' sizes added up.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// An artifact is not what its id says.
    #[error("artifact {0} in a packed group is not what its id says")]
    Artifact(ArtifactId),
}

/// Checks a packed group: the given whole artifacts, one behind the other. All or nothing.
///
/// # Errors
/// Names the first artifact that is wrong.
pub fn verify_packed(artifacts: impl IntoIterator<Item = ArtifactRef>, data: &[u8]) -> Result<(), PackedError> {
    let mut rest = data;
    let mut expected = 0u64;
    let mut short = false;
    let mut wrong = None;
    for artifact in artifacts {
        expected = expected.saturating_add(artifact.size);
        let part = usize::try_from(artifact.size)
            .ok()
            .and_then(|size| rest.split_at_checked(size));
        let Some((part, behind)) = part else {
            short = true;
            continue;
        };
        rest = behind;
        if !short && wrong.is_none() && blake3::hash(part).as_bytes() != artifact.id.as_bytes() {
            wrong = Some(artifact.id);
        }
    }
    if short || !rest.is_empty() {
        return Err(PackedError::Length {
            expected,
            got: data.len() as u64,
        });
    }
    wrong.map_or(Ok(()), |id| Err(PackedError::Artifact(id)))
}

/// The proved pairs on the way to the group that was looked at last. Its spans are nested, so those that hold the next
/// group are a prefix.
#[derive(Debug)]
struct Way {
    artifact: ArtifactId,
    geometry: Geometry,
    known: Vec<(Span, Pair)>,
}

impl Way {
    const fn new(artifact: ArtifactId, geometry: Geometry) -> Self {
        Self {
            artifact,
            geometry,
            known: Vec::new(),
        }
    }

    fn check_exists(&self, group: GroupIndex) -> Result<(), VerifyError> {
        let count = self.geometry.group_count();
        (group.0 < count)
            .then_some(())
            .ok_or(VerifyError::NoSuchGroup { group: group.0, count })
    }

    /// The value that `group`'s bytes must have. `read` gives the pairs not yet known; each is proved before it is
    /// kept and told to `proved`.
    fn descend<E: From<VerifyError>>(
        &mut self,
        group: GroupIndex,
        mut read: impl FnMut(Step) -> Result<Pair, E>,
        mut proved: impl FnMut(Node, Pair),
    ) -> Result<Chaining, E> {
        let keep = self.known.iter().take_while(|(span, _)| span.contains(group)).count();
        self.known.truncate(keep);
        let mut value = *self.artifact.as_bytes();
        for (at, step) in self.geometry.path(group).enumerate() {
            if let Some((_, pair)) = self.known.get(at) {
                value = step.side.of(pair);
                continue;
            }
            let pair = read(step)?;
            if hash_pair(&pair, step.is_root()) != value {
                let (group, offset) = (group.0, step.node().offset());
                return Err(VerifyError::Parent { group, offset }.into());
            }
            self.known.push((step.span, pair));
            proved(step.node(), pair);
            value = step.side.of(&pair);
        }
        Ok(value)
    }

    fn check_data(&self, group: GroupIndex, data: &[u8], value: Chaining) -> Result<(), VerifyError> {
        let bytes = self.geometry.bytes_of(group).unwrap_or(0..0);
        let expected = bytes.end - bytes.start;
        if data.len() as u64 != expected {
            return Err(VerifyError::DataLength {
                group: group.0,
                expected,
                got: data.len() as u64,
            });
        }
        if hash_group(self.geometry, group, data) == value {
            Ok(())
        } else {
            Err(VerifyError::Data { group: group.0 })
        }
    }
}

#[cfg(test)]
mod tests;
