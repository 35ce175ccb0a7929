//! What the next group of a reply has to carry so that the other end can verify it.
//!
//! Invariant: over one reply, each inner node's pair is sent at most once, with the first group below it. Groups come in
//! ascending order, so a node was sent before exactly when the group before lies in it or behind its start: no set of
//! sent nodes is kept. The pairs come from the caller, who reads them from the outboard.

use super::geometry::{Geometry, GroupIndex, Node, Pair};

/// Why there is no proof.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// The artifact has no such group.
    #[error("group {group} was asked for, but the artifact has {count}")]
    NoSuchGroup {
        /// Which.
        group: u32,
        /// How many there are.
        count: u32,
    },
    /// Groups of one reply must ascend.
    #[error("group {group} was asked for after group {last}; a reply carries groups in ascending order")]
    OutOfOrder {
        /// Which.
        group: u32,
        /// The one before.
        last: u32,
    },
    /// A pair could not be read.
    #[error("a pair of the outboard could not be read")]
    Read(#[source] E),
}

/// Proofs for the groups of one artifact in one reply.
#[derive(Debug, Clone)]
pub struct ReplyProver {
    geometry: Geometry,
    last: Option<GroupIndex>,
}

impl ReplyProver {
    /// For a new reply.
    #[must_use]
    pub const fn new(geometry: Geometry) -> Self {
        Self { geometry, last: None }
    }

    /// Bytes of the proof that [`Self::proof`] would append for `group`.
    #[must_use]
    pub fn proof_len(&self, group: GroupIndex) -> usize {
        self.geometry
            .path(group)
            .filter(|step| is_new(self.last, step.span.first))
            .count()
            * 64
    }

    /// Appends the pairs that `group` needs, root first, to `out`; `read` gives the pair of a node.
    ///
    /// # Errors
    /// When groups do not ascend, when there is no such group, or when `read` fails; `out` is then as before.
    pub fn proof<E>(
        &mut self,
        group: GroupIndex,
        out: &mut Vec<u8>,
        mut read: impl FnMut(Node) -> Result<Pair, E>,
    ) -> Result<(), ProveError<E>> {
        let count = self.geometry.group_count();
        if group.0 >= count {
            return Err(ProveError::NoSuchGroup { group: group.0, count });
        }
        if let Some(last) = self.last.filter(|last| *last >= group) {
            return Err(ProveError::OutOfOrder {
                group: group.0,
                last: last.0,
            });
        }
        let start = out.len();
        for step in self
            .geometry
            .path(group)
            .filter(|step| is_new(self.last, step.span.first))
        {
            match read(step.node()) {
                Ok(pair) => out.extend_from_slice(&pair),
                Err(error) => {
                    out.truncate(start);
                    return Err(ProveError::Read(error));
                }
            }
        }
        self.last = Some(group);
        Ok(())
    }
}

/// Whether a node on a group's path, starting at group `first`, was not sent with a group up to `last`.
pub(super) fn is_new(last: Option<GroupIndex>, first: u32) -> bool {
    last.is_none_or(|last| last.0 < first)
}
