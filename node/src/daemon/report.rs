//! What the tasks that the driver started tell it: one bounded queue, one reader.

use std::time::Duration;

use samara_protocol::id::{LayoutId, ManifestId, NodeId, ProductId, RequestId, ServeId};
use samara_protocol::manifest::layout::Layout;
use samara_protocol::swarm::io::{Distance, FetchFault};
use samara_protocol::tree::ranges::RangeSet;

use super::opening::Opened;
use super::opening::one_entry::NoEntry;
use super::publishing::Imported;
use crate::store::{Checkpoint, GcReport, StoreError};

/// Reports that may wait for the driver. Tasks wait for a place, so this bounds nothing but latency.
pub(super) const REPORTS_MAX: usize = 256;

/// Groups of a fetch that are verified and written.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) request: RequestId,
    /// Whom, and how far away it was: it may be gone by now.
    pub(super) from: (NodeId, Distance),
    pub(super) layout: LayoutId,
    pub(super) groups: RangeSet,
    /// Payload bytes of them.
    pub(super) bytes: u64,
}

impl Verified {
    /// Leaves out groups that are not held any more by now, and their bytes.
    pub(super) fn without(mut self, gone: &RangeSet, layout: &Layout) -> Self {
        let lens = gone.iter().filter_map(|group| layout.group(group));
        self.bytes -= lens.map(|group| u64::from(group.len())).sum::<u64>().min(self.bytes);
        self.groups.subtract(gone);
        self
    }
}

/// Something that a task has done, or could not do.
#[derive(Debug)]
pub(super) enum Report {
    /// The first bytes of a fetch's reply are here.
    FetchBegun { request: RequestId },
    /// Groups of a fetch are verified and written.
    FetchVerified(Verified),
    /// A fetch brought all it was asked for.
    FetchDone { request: RequestId },
    /// A fetch ended early.
    FetchFailed {
        request: RequestId,
        /// Whom it asked.
        peer: NodeId,
        fault: FetchFault,
        what: String,
    },
    /// Writing failed: the disk is full or broken.
    WriteFailed { layout: LayoutId, error: StoreError },
    /// Groups of a serve were taken by the socket.
    ServeSent {
        /// How far away the peer was when it asked: it may be gone by now.
        distance: Distance,
        serve: ServeId,
        groups: RangeSet,
        bytes: u64,
    },
    /// Groups of a serve could not be read or were rotten.
    ServeFailed {
        serve: ServeId,
        layout: LayoutId,
        lost: RangeSet,
    },
    /// The peer took an ask back, or is gone.
    ServeGone { serve: ServeId },
    /// What a peer could not verify was checked here.
    Rechecked { layout: LayoutId, lost: RangeSet },
    /// A checkpoint ended.
    Checkpointed(Checkpoint),
    /// A collection of garbage ended.
    Collected(Result<GcReport, StoreError>),
    /// A release was passed by a verb and is in the store.
    Imported(Imported),
    /// A release's head as the store has it.
    Looked {
        manifest: ManifestId,
        outcome: Result<Option<Vec<u8>>, StoreError>,
    },
    /// A layout is open, or cannot be.
    Opened {
        manifest: ManifestId,
        /// Of the release, which may have been let go and taken up again.
        number: u32,
        outcome: Result<Opened, OpenError>,
    },
    /// A file that a peer was asked for.
    File {
        peer: NodeId,
        product: ProductId,
        name: super::files::FileName,
        outcome: Result<Vec<u8>, FileFault>,
    },
}

/// Why a layout is not open.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The store refuses, for one because the disk is full.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the vendor signed contradicts itself.
    #[error("the release is not what its manifest says: {0}")]
    Release(String),
    /// The one entry that is asked for is none of it.
    #[error(transparent)]
    NoEntry(#[from] NoEntry),
}

/// Why a file did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FileFault {
    /// The peer does not have it or does not show it.
    #[error("the peer does not have it")]
    Absent,
    /// The connection ended, or the peer is busy.
    #[error("the connection ended before it came")]
    Broken,
    /// The connection stands, and nothing comes.
    #[error("nothing of it came for {} s", .0.as_secs())]
    Late(Duration),
    /// It is larger than such a file may be.
    #[error("it is larger than the {0} bytes allowed")]
    TooLarge(u64),
}

#[cfg(test)]
mod tests {
    use samara_protocol::id::{ArtifactId, Part};
    use samara_protocol::limits::GROUP_BYTES;
    use samara_protocol::manifest::layout::ArtifactRef;

    use super::*;

    #[test]
    fn groups_that_are_gone_take_their_bytes_with_them() {
        let artifact = ArtifactRef {
            id: ArtifactId([1; 32]),
            size: 3 * GROUP_BYTES + 1000,
        };
        let layout = Layout::single(artifact).expect("one artifact");
        let verified = || Verified {
            request: RequestId(1),
            from: (NodeId([2; 32]), Distance::Tenant),
            layout: LayoutId {
                manifest: ManifestId([3; 32]),
                part: Part::Payload,
            },
            groups: RangeSet::from(0..4),
            bytes: artifact.size,
        };
        let left = |gone: std::ops::Range<u32>| {
            let left = verified().without(&RangeSet::from(gone), &layout);
            (left.groups, left.bytes)
        };
        assert_eq!(left(3..4), (RangeSet::from(0..3), 3 * GROUP_BYTES));
        assert_eq!(left(0..1), (RangeSet::from(1..4), 2 * GROUP_BYTES + 1000));
        assert_eq!(left(0..4), (RangeSet::new(), 0));
    }
}
