//! Checks a reply to a request against a layout: every group of it, whatever artifacts it spans.
//!
//! Called by the receiving side, off the network thread, with the groups of one reply in the order they came. Only what
//! hashes up to the roots in the layout comes out (AI-5).

use std::sync::Arc;

use super::layout::{Group, Layout};
use crate::tree::geometry::{Geometry, GroupIndex};
use crate::tree::verify::{PackedError, ReplyVerifier, VerifiedGroup, VerifyError, verify_packed};

/// Why a group of a reply is refused. All of these are the sender's doing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The layout has no such group.
    #[error("group {0} was sent, but the layout has no such group")]
    NoSuchGroup(u32),
    /// A packed group came with a proof; it needs none.
    #[error("packed group {0} came with a proof")]
    NeedlessProof(u32),
    /// A group of a large artifact is not what its root says.
    #[error(transparent)]
    Tree(#[from] VerifyError),
    /// A packed group's artifacts are not what their ids say.
    #[error(transparent)]
    Packed(#[from] PackedError),
}

/// Checks the groups of one reply, in the order they came.
#[derive(Debug)]
pub struct LayoutVerifier {
    layout: Arc<Layout>,
    /// The large artifact that the last group belonged to.
    current: Option<(usize, ReplyVerifier)>,
}

impl LayoutVerifier {
    /// For a new reply.
    #[must_use]
    pub const fn new(layout: Arc<Layout>) -> Self {
        Self { layout, current: None }
    }

    /// Checks one group; the pairs in the answer are newly proved and belong into the artifact's outboard.
    ///
    /// # Errors
    /// Says what is wrong with it.
    ///
    /// # Panics
    /// Never: a layout holds no artifact larger than a tree can have.
    pub fn verify(&mut self, group: u32, proof: &[u8], data: &[u8]) -> Result<VerifiedGroup, ReplyError> {
        match self.layout.group(group).ok_or(ReplyError::NoSuchGroup(group))? {
            Group::Packed { artifacts, .. } => {
                if !proof.is_empty() {
                    return Err(ReplyError::NeedlessProof(group));
                }
                verify_packed(
                    self.layout.placed()[artifacts].iter().map(|placed| placed.artifact),
                    data,
                )?;
                Ok(VerifiedGroup::default())
            }
            Group::Large { artifact, index, .. } => {
                let verifier = match &mut self.current {
                    Some((at, verifier)) if *at == artifact => verifier,
                    current => {
                        let wanted = self.layout.placed()[artifact].artifact;
                        let geometry = Geometry::new(wanted.size).expect("a layout holds at most 2^28 groups");
                        &mut current.insert((artifact, ReplyVerifier::new(wanted.id, geometry))).1
                    }
                };
                Ok(verifier.verify(GroupIndex(index), proof, data)?)
            }
        }
    }
}
